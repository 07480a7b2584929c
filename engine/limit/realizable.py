"""The audit of given documents: which sets of k some query could find, whatever its text."""

from __future__ import annotations

from math import comb
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_choice, as_count, as_matrix, as_positive
from ..exceptions import InvalidArgumentError, UnsupportedError
from .free import margins
from .patterns import as_qrels, check_k, make_qrels

__all__ = ["Realizable", "realizable_subsets"]

Matrix = NDArray[np.float64]
FIRST = 64  # documents that a linear programme starts with, and that each round adds
LONGEST = 1e3  # entries of its query: HiGHS's tolerance of 1e-7 is then one of 1e-10
ROUNDING = 1e-12  # score differences of unit vectors that float64 does not tell from 0


class Realizable(NamedTuple):
    """What `realizable_subsets` found.

    Attributes
    ----------
    fraction : float
        Share of `subsets` that some query can find.
    mask : ndarray, shape (n_subsets,), bool
        Which of them.
    subsets : ndarray, shape (n_subsets, k), int64
    exhausted : bool
        The time limit came first: only these subsets, not all that were asked for, are decided.
    """

    fraction: float
    mask: NDArray[np.bool_]
    subsets: NDArray[np.int64]
    exhausted: bool


def realizable_subsets(
    docs: ArrayLike,
    k: int = 2,
    subsets: ArrayLike | None = None,
    n_samples: int = 2000,
    method: str = "lp",
    time_limit: float | None = None,
    random_state: int | None = 42,
) -> Realizable:
    """Which sets of `k` documents are exactly the `k` best of some query vector.

    Parameters
    ----------
    docs : array_like, shape (n, dim)
        Embeddings; scores are inner products.
    k : int, default 2
        Less than `n`.
    subsets : array_like, shape (n_subsets, k), int, optional
        Default: all sets, or `n_samples` random ones where there are more.
    n_samples : int, default 2000
    method : {"lp"}, default "lp"
        Linear programmes by HiGHS, in scipy, for what no simple query finds.
    time_limit : float, optional
        Seconds after which the sets decided so far are the result.
    random_state : int, optional

    Returns
    -------
    Realizable

    Raises
    ------
    InvalidArgumentError
        ``k >= n``, subsets of another size or of unknown documents, NaN.
    UnsupportedError
        scipy is not installed.

    Notes
    -----
    A set is realizable if a hyperplane separates it from all other documents. Its sum, that less the mean document,
    and that whitened are tried as queries first; then a linear programme looks for the widest separation from a few
    documents, to which those that its query confuses are added until there are none, or until there is no query. So
    True is always shown by a query (its gap is above rounding), False by HiGHS's tolerance. Documents that are equal to
    one of a set make it unrealizable.

    References
    ----------
    Weller et al., *On the theoretical limitations of embedding-based retrieval*, ICLR 2026 (arXiv:2508.21038).

    Examples
    --------
    Of points on a circle, a query finds neighbours together, and no others:

    >>> import numpy as np
    >>> angles = 2 * np.pi * np.arange(12) / 12
    >>> found = realizable_subsets(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    >>> int(found.mask.sum()), len(found.subsets)
    (12, 66)
    """
    as_choice(method, "method", ("lp",))
    vectors = as_matrix(docs, "docs").astype(np.float64)
    n, k = check_k(len(vectors), k)
    rows = chosen(n, k, as_count(n_samples, "n_samples"), random_state) if subsets is None else as_qrels(subsets, n)
    if rows.shape[1] != k or (rows < 0).any():
        raise InvalidArgumentError(f"subsets has rows of up to {rows.shape[1]} documents, expected {k} in each")
    until = np.inf if time_limit is None else perf_counter() + as_positive(time_limit, "time_limit")
    vectors /= np.linalg.norm(vectors, axis=1).max() or 1  # so that one tolerance fits all

    mask = np.zeros(len(rows), np.bool_)
    guesses = candidates(vectors, rows)
    for guess in guesses:
        left = np.flatnonzero(~mask)
        mask[left] = margins(guess[left], vectors, rows[left]) > ROUNDING
    decided = mask.copy()
    for i in np.flatnonzero(~mask):
        if perf_counter() > until:
            break
        mask[i], decided[i] = separable(vectors, rows[i], guesses[0][i]), True
    exhausted = not decided.all()
    mask, rows = mask[decided], rows[decided]
    return Realizable(float(mask.mean()) if len(mask) else 0.0, mask, rows, exhausted)


def chosen(n: int, k: int, n_samples: int, random_state: int | None) -> NDArray[np.int64]:
    """All sets of `k`, or `n_samples` random ones."""
    return make_qrels(n, k=k) if comb(n, k) <= n_samples else make_qrels(n, n_samples, k, "random", random_state)


def candidates(vectors: Matrix, subsets: NDArray[np.int64]) -> list[Matrix]:
    """Queries of unit length that find most sets which any query finds."""
    mean = vectors.mean(axis=0)
    sums = vectors[subsets].sum(axis=1)
    centred = sums - subsets.shape[1] * mean
    spread = np.cov(vectors.T).reshape(len(mean), len(mean))
    ridge = 1e-6 * np.trace(spread) / len(mean) + 1e-12
    white = np.linalg.solve(spread + ridge * np.eye(len(mean)), centred.T).T
    return [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) for rows in (sums, centred, white)]


def separable(vectors: Matrix, subset: NDArray[np.int64], query: Matrix) -> bool:
    """Whether a hyperplane separates `subset` from all other documents; `query` is a first guess of its direction."""
    faced = np.zeros(len(vectors), np.bool_)
    most = min(FIRST, len(vectors))
    while True:
        scores = vectors @ query
        least = scores[subset].min()
        scores[subset] = -np.inf
        rivals = np.argpartition(-scores, most - 1)[:most]
        if faced.any():
            if scores[faced].max() >= least - ROUNDING:  # there is no better query for these
                return False
            rivals = rivals[scores[rivals] >= least - ROUNDING]
            if not len(rivals):
                return True
        faced[rivals[np.isfinite(scores[rivals])]] = True
        query = widest(vectors[subset], vectors[faced])


def widest(inside: Matrix, outside: Matrix) -> Matrix:
    """The direction of entries of bounded size that separates the rows of `inside` and `outside` most, scaled to 1."""
    try:
        from scipy.optimize import linprog
    except ImportError as error:
        raise UnsupportedError(f"realizable_subsets needs scipy ({error}): pip install 'nearfield[limit]'") from error
    d = inside.shape[1]
    # Query u, threshold t, width w: u.x - t >= w inside, <= -w outside; the widest.
    signs = np.repeat([-1.0, 1.0], [len(inside), len(outside)])[:, None]
    constraints = np.hstack([signs * np.concatenate([inside, outside]), -signs, np.ones((len(signs), 1))])
    bounds = [(-LONGEST, LONGEST)] * d + [(None, None), (0, None)]
    aim = np.zeros(d + 2)
    aim[-1] = -1
    solved: Any = linprog(aim, A_ub=constraints, b_ub=np.zeros(len(signs)), bounds=bounds, method="highs")
    if solved.x is None:
        raise UnsupportedError(f"HiGHS did not solve a linear programme: {solved.message}")
    return np.asarray(solved.x[:d]) / LONGEST
