"""The largest number of documents of which free embeddings still tell all sets of k apart."""

from __future__ import annotations

from time import perf_counter
from typing import Literal, NamedTuple

from .._validate import as_choice, as_count, as_positive
from ..exceptions import InvalidArgumentError
from .free import FreeEmbedding
from .patterns import check_k, make_qrels

__all__ = ["CRITICAL_N", "CriticalN", "critical_n", "critical_n_fit"]

# Table 6 of arXiv:2508.21038: k = 2, by dimension
CRITICAL_N = dict(
    enumerate(
        [10, 14, 19, 24, 28, 32, 36, 42, 47, 54, 62, 70, 79, 89, 99, 109, 120, 132, 144, 157, 170]
        + [184, 198, 213, 229, 245, 261, 278, 296, 314, 333, 352, 372, 392, 413, 434, 460, 484, 505, 545, 605, 626],
        start=4,
    )
)


class CriticalN(NamedTuple):
    """What `critical_n` found.

    Attributes
    ----------
    n : int
        The largest number of documents that was solved; ``k`` if none was.
    tried : dict of int to float
        Best accuracy for each number that was tried.
    solved : tuple of int
        Those of accuracy 1.
    exhausted : bool
        The time limit ended the search: `n` is a lower bound only.
    """

    n: int
    tried: dict[int, float]
    solved: tuple[int, ...]
    exhausted: bool

    @property
    def reached_most(self) -> bool:
        """No larger n was tried, so that `n` is a lower bound only."""
        return self.n == max(self.tried, default=-1)


def critical_n_fit(d: float) -> float:
    """The cubic that the paper fits to its table, for dimensions beyond it.

    Notes
    -----
    Its rounded coefficients miss the table itself by up to 22: compare with `CRITICAL_N`, and take this to extrapolate.

    Examples
    --------
    >>> round(critical_n_fit(1024) / 1e6, 1)
    4.0
    """
    return -10.5322 + 4.0309 * d + 0.0520 * d**2 + 0.0037 * d**3


def critical_n(
    d: int,
    k: int = 2,
    start: int | None = None,
    search: Literal["gallop", "up"] = "gallop",
    n_restarts: int = 3,
    time_limit: float = 60,
    random_state: int = 42,
    *,
    most: int | None = None,
) -> CriticalN:
    """The largest n of which `FreeEmbedding` of dimension `d` tells all sets of `k` apart.

    Parameters
    ----------
    d : int
    k : int, default 2
    start : int, optional
        The first n to try. Default: the published one, or, for another `k`, ``k + 2``.
    search : {"gallop", "up"}, default "gallop"
        By steps that double and then halve, or one by one from `start` to the first that is not solved.
    n_restarts : int, default 3
        Starts for each n; more of them solve larger n.
    time_limit : float, default 60
        Seconds for all.
    random_state : int, default 42
    most : int, optional
        No larger n is tried. Default: 4 more than the published one where there is one, about as far as the paper's own
        last sweep goes; restarts may solve more, so pass a larger number to see how far they get.

    Returns
    -------
    CriticalN

    Notes
    -----
    That smaller n can be solved too is true of what exists, and mostly true of what descent finds. The result says
    what descent reaches: by theory, 4 dimensions are enough for all pairs of any n (`cyclic_embedding`).

    References
    ----------
    Weller et al., *On the theoretical limitations of embedding-based retrieval*, ICLR 2026 (arXiv:2508.21038), Table 6.

    Examples
    --------
    >>> critical_n(3, start=4).n
    4
    """
    d, k = as_count(d, "d"), as_count(k, "k")
    as_choice(search, "search", ("gallop", "up"))
    if start is None:
        start = max(k + 2, CRITICAL_N.get(d, round(critical_n_fit(d)))) if k == 2 else k + 2
    start, _ = check_k(start, k)
    if most is None:
        most = max(start, CRITICAL_N[d]) + 4 if k == 2 and d in CRITICAL_N else 2**31 - 1
    if as_count(most, "most") < start:
        raise InvalidArgumentError(f"most is {most}, expected at least {start}: the first n to try")
    until = perf_counter() + as_positive(time_limit, "time_limit")
    tried: dict[int, float] = {}
    cut_short = False

    def solves(n: int) -> bool:
        nonlocal cut_short
        if n > most:
            return False
        left = until - perf_counter()
        if left <= 0:
            cut_short = True
            return False
        free = FreeEmbedding(d, k, n_restarts=n_restarts, time_limit=left, force=True, random_state=random_state)
        free.fit(make_qrels(n, k=k), n)
        tried[n] = free.accuracy_
        cut_short |= free.stop_reason_ == "time_limit"
        return free.accuracy_ == 1

    # `low` is solved, `high` is not; k documents have one set of k, which is always found.
    low, high, step = k, k, 1
    if solves(start):
        low, high = start, start + 1
        while solves(high) and not cut_short:
            step *= 1 if search == "up" else 2
            low, high = high, high + step
    else:
        high = start
        low = max(k, high - 1)
        while low > k and not solves(low) and not cut_short:
            step *= 1 if search == "up" else 2
            low, high = max(k, low - step), low
    while high - low > 1 and not cut_short:
        middle = (low + high) // 2
        low, high = (middle, high) if solves(middle) else (low, middle)
    solved = tuple(sorted(n for n, share in tried.items() if share == 1))
    return CriticalN(max(solved, default=k), dict(sorted(tried.items())), solved, cut_short)
