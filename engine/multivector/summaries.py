"""Fewer vectors for an item: summaries of its tokens, made without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_choice, as_count, as_flag, as_matrix, as_positive
from ..classify._base import Estimator, softmax
from ..exceptions import InvalidArgumentError
from ._sets import as_sets, unit
from .similarity import maxsim

__all__ = ["TokenSummarizer"]

Self = TypeVar("Self", bound="TokenSummarizer")
Matrix = NDArray[np.float32]
Rows = NDArray[np.float64]
METHODS = ("selector", "kmeans", "tome", "pool")
SAMPLE = 20_000  # tokens that shared selectors are chosen from
ROUNDS = 50  # of k-means at most


class TokenSummarizer(Estimator):
    """Replace the tokens of each item by at most `n_tokens` vectors.

    Parameters
    ----------
    n_tokens : int, default 20
        An item that has no more is kept as it is.
    method : {"selector", "kmeans", "tome", "pool"}, default "selector"
        ``"selector"``: the same `n_tokens` selectors for all items, each of which takes the mean of the tokens that it
        resembles: ``softmax(S X^T / temperature) X``. ``"kmeans"``: the means of an item's own clusters. ``"tome"``:
        tokens are dealt out alternately to two groups, the most similar pairs between them are merged into means
        weighted by how many tokens are in them, and so on. ``"pool"``: the one mean of all.
    temperature : float, optional
        For "selector"; *divides* the products of selectors and tokens. Towards 0 each takes the one token nearest to
        it. Default: the root of the dim.
    selectors : array_like, shape (n_tokens, dim), optional
        For "selector": learned elsewhere. Default: centres of clusters of tokens of all items.
    pad : bool, default False
        Repeat the tokens of shorter items until there are `n_tokens`; MaxSim stays the same.
    random_state : int, optional, default 0
        Draws the tokens that selectors are chosen from, where there are many.

    Attributes
    ----------
    selectors_ : ndarray, shape (n_tokens, dim), float32, or None

    Notes
    -----
    O(tokens * n_tokens * dim) for an item; "tome" O(tokens^2 * dim). All but "tome" give the same, up to rounding,
    whatever the order of the tokens.

    References
    ----------
    De Min et al., *Less is more: Summarizing Patch Tokens for efficient Multi-Label Class-Incremental Learning*
    (MULTI-LANE), CoLLAs 2024 (arXiv:2405.15633), whose selectors are learned. Bolya et al., *Token Merging: Your ViT
    But Faster*, ICLR 2023 (arXiv:2210.09461).

    Examples
    --------
    >>> from engine.multivector import TokenSummarizer
    >>> patches = [[[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], [[0, 3]]]
    >>> for item in TokenSummarizer(2, method="kmeans").fit_transform(patches):
    ...     print(item.round(2).tolist())
    [[0.949999988079071, 0.05000000074505806], [0.05000000074505806, 0.949999988079071]]
    [[0.0, 3.0]]
    """

    def __init__(
        self,
        n_tokens: int = 20,
        *,
        method: Literal["selector", "kmeans", "tome", "pool"] = "selector",
        temperature: float | None = None,
        selectors: ArrayLike | None = None,
        pad: bool = False,
        random_state: int | None = 0,
    ) -> None:
        self.n_tokens = n_tokens
        self.method = method
        self.temperature = temperature
        self.selectors = selectors
        self.pad = pad
        self.random_state = random_state

    def fit(self: Self, items: Sequence[ArrayLike], y: object = None) -> Self:
        """Choose the selectors; the other methods learn nothing.

        Parameters
        ----------
        items : list of array_like of shape (n_vectors, dim), or pair of all vectors and offsets

        Raises
        ------
        InvalidArgumentError
            Settings that cannot be used, an empty item, another dim, NaN, selectors of another dim or number.
        """
        n = as_count(self.n_tokens, "n_tokens")
        as_choice(self.method, "method", METHODS)
        as_flag(self.pad, "pad")
        if self.temperature is not None:
            as_positive(self.temperature, "temperature")
        given = as_sets(items, "items")
        self.selectors_ = None
        if self.method == "selector" and self.selectors is not None:
            self.selectors_ = as_matrix(self.selectors, "selectors", dim=given.rows.shape[1])
            if len(self.selectors_) != n:
                raise InvalidArgumentError(f"selectors has {len(self.selectors_)} rows, expected {n}: n_tokens")
        elif self.method == "selector":
            rows = given.rows
            if len(rows) > SAMPLE:
                rows = rows[np.random.default_rng(self.random_state).choice(len(rows), SAMPLE, replace=False)]
            self.selectors_ = centres(rows.astype(np.float64), n).astype(np.float32)
        self.n_features_in_ = given.rows.shape[1]
        return self

    def transform(self, items: Sequence[ArrayLike]) -> list[Matrix]:
        """Summaries, each of shape (at most `n_tokens`, dim) float32; not of unit length."""
        self.check_fitted()
        given = as_sets(items, "items", dim=self.n_features_in_)
        return [self._summary(given[i]) for i in range(len(given))]

    def fit_transform(self, items: Sequence[ArrayLike], y: object = None) -> list[Matrix]:
        """`fit`, then `transform` of the same items."""
        return self.fit(items).transform(items)

    def error(self, items: Sequence[ArrayLike], queries: Sequence[ArrayLike]) -> float:
        """What summaries cost: the mean change of MaxSim, a vector of a query, over all queries and items."""
        self.check_fitted()
        given = as_sets(items, "items", dim=self.n_features_in_)
        asked = as_sets(queries, "queries", dim=self.n_features_in_)
        changes = [
            abs(maxsim(asked[j], self._summary(given[i])) - maxsim(asked[j], given[i])) / len(asked[j])
            for i in range(len(given))
            for j in range(len(asked))
        ]
        return float(np.mean(changes))

    def _summary(self, tokens: Matrix) -> Matrix:
        n = self.n_tokens
        if self.method == "pool":
            return np.asarray(tokens.mean(axis=0, keepdims=True, dtype=np.float64), np.float32)
        if len(tokens) <= n:
            return tokens[np.arange(n) % len(tokens)] if self.pad else tokens.copy()
        rows = tokens.astype(np.float64)
        if self.method == "kmeans":
            return centres(rows, n).astype(np.float32)
        if self.method == "tome":
            return merged(rows, n)[0].astype(np.float32)
        assert self.selectors_ is not None
        temperature = np.sqrt(rows.shape[1]) if self.temperature is None else self.temperature
        return np.asarray(softmax(self.selectors_ @ rows.T, temperature) @ rows, np.float32)


def centres(rows: Rows, n: int) -> Rows:
    """Means of `n` clusters by k-means, from seeds far from each other: the same whatever the order of the rows."""
    seeds = [int(np.square(rows - rows.mean(axis=0)).sum(axis=1).argmax())]
    away = np.square(rows - rows[seeds[0]]).sum(axis=1)
    while len(seeds) < n:
        seeds.append(int(away.argmax()))
        away = np.minimum(away, np.square(rows - rows[seeds[-1]]).sum(axis=1))
    middles, before = rows[seeds], np.empty(0)
    for _ in range(ROUNDS):
        owner = (np.square(middles).sum(axis=1) - 2 * rows @ middles.T).argmin(axis=1)
        if np.array_equal(owner, before):
            break
        before = owner
        counts = np.bincount(owner, minlength=n)[:, None]
        sums = np.zeros_like(middles)
        np.add.at(sums, owner, rows)
        middles = np.where(counts > 0, sums / np.maximum(counts, 1), middles)
    return middles


def merged(rows: Rows, n: int) -> tuple[Rows, NDArray[np.int64]]:
    """`n` means of the rows by bipartite soft matching, and how many rows are in each; they stay in order."""
    sizes = np.ones(len(rows), np.int64)
    while len(rows) > n:
        directions = unit(np.where(rows.any(axis=1, keepdims=True), rows, 1.0), "items")
        similar = directions[::2] @ directions[1::2].T
        best = similar.argmax(axis=1)
        n_pairs = min(len(rows) - n, len(rows) // 2)
        chosen = np.argsort(-similar.max(axis=1), kind="stable")[:n_pairs]
        gone, into = 2 * chosen, 2 * best[chosen] + 1
        weighted = rows * sizes[:, None]
        np.add.at(weighted, into, weighted[gone])
        np.add.at(sizes, into, sizes[gone])
        kept = np.setdiff1d(np.arange(len(rows)), gone)
        sizes = sizes[kept]
        rows = weighted[kept] / sizes[:, None]
    return rows, sizes
