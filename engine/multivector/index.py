"""An index of items that are sets of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._validate import MAX_DIM, as_array, as_choice, as_count, as_ids, as_k, as_positive, as_share, as_threads, show
from ..exact import as_bitmap
from ..exceptions import InvalidArgumentError, NotBuiltError
from ..index import Filter, Index
from ..types import IndexKind, SearchResult, SearchStats
from ._sets import Sets, as_sets, unit
from .similarity import costs

__all__ = ["MultiVectorIndex"]

METRICS = ("maxsim", "ct", "chamfer", "mean")
BLOCK_BYTES = 32 << 20  # of cosines at once
ROUNDING = 2.0**-23  # of a float32 sum of products, for each dim; twice what it can be


class MultiVectorIndex:
    """Items of several vectors each, searched by queries of several vectors.

    Parameters
    ----------
    dim : int
        Length of every vector. Only directions count: vectors are scaled to length 1.
    metric : {"maxsim", "ct", "chamfer", "mean"}, default "maxsim"
        "maxsim": minus the sum over the vectors of the query of the largest cosine with one of the item. "ct": the cost
        of `conditional_transport`. "chamfer": what that becomes at temperature 0. "mean": 1 minus the product of the
        mean vectors.
    temperature : float, default 0.05
        Of "ct".
    lam : float from 0 to 1, default 0.5
        Of "ct" and "chamfer": how much the way from the query to the item counts.
    kind : {"exact", "graph"}, default "exact"
        Of the index of all vectors that searches with `n_candidates` ask; built by the first of them.
    n_threads : int, optional
        Default: every core the process may use.

    Notes
    -----
    A search without `n_candidates` scores every item in float32, and again in float64 those that rounding might have
    misplaced: the answer is that of float64, equal distances ordered by id. It takes O(dim) operations for each vector
    of a query and each vector of an item; "maxsim" runs in the core, without a matrix of all cosines. The memory is
    ``4 * dim`` bytes a vector, and that of the index of vectors once there is one.

    Examples
    --------
    >>> import engine
    >>> index = engine.multivector.MultiVectorIndex(2)
    >>> index.add([[[1, 0], [0, 1]], [[1, 0.1]], [[-1, 0], [0, -1], [1, -1]]]).tolist()
    [0, 1, 2]
    >>> found = index.search([[[2, 0], [0, 3]]], k=2)
    >>> found.ids.tolist(), [round(distance, 2) for distance in found.distances[0].tolist()]
    ([[0, 1]], [-2.0, -1.09])
    """

    def __init__(
        self,
        dim: int,
        *,
        metric: Literal["maxsim", "ct", "chamfer", "mean"] = "maxsim",
        temperature: float = 0.05,
        lam: float = 0.5,
        kind: IndexKind = "exact",
        n_threads: int | None = None,
    ) -> None:
        self.dim = as_count(dim, "dim", most=MAX_DIM)
        as_choice(metric, "metric", METRICS)
        as_choice(kind, "kind", ("exact", "graph"))
        self.metric, self.kind = metric, kind
        self.temperature, self.lam = as_positive(temperature, "temperature"), as_share(lam, "lam")
        self.n_threads = as_threads(n_threads)
        self._sets = Sets(np.empty((0, self.dim), np.float32), np.zeros(1, np.int64))
        self._ids = np.empty(0, np.int64)
        self._next = 0
        self._vectors: Index | None = None  # all of them, with the number of the row as the id

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"MultiVectorIndex(dim={self.dim}, metric={self.metric!r}, items={len(self)}, vectors={self.n_vectors})"

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids in the order of the items, which is what bool masks and bitmaps refer to; shape (n,)."""
        return self._ids.copy()

    @property
    def n_vectors(self) -> int:
        """Vectors of all items."""
        return len(self._sets.rows)

    @property
    def nbytes(self) -> int:
        """Memory of vectors, offsets and ids, and of the index of vectors where there is one."""
        own = self._sets.rows.nbytes + self._sets.offsets.nbytes + self._ids.nbytes
        return own + (0 if self._vectors is None else self._vectors.nbytes)

    def add(
        self, items: Sequence[ArrayLike] | tuple[ArrayLike, ArrayLike], ids: ArrayLike | None = None
    ) -> NDArray[np.int64]:
        """Add items; all of them or, after an error, none. Takes time for all items there are: add many at once.

        Parameters
        ----------
        items : list of array_like of shape (n_vectors, dim), or pair of all vectors and offsets
            With offsets item ``i`` is ``vectors[offsets[i]:offsets[i + 1]]``.
        ids : array_like, shape (n,), int, optional
            0 to 2**63 - 1, none of them in the index or given twice. Default: on from the largest ever used.

        Returns
        -------
        ndarray, shape (n,), int64
            The ids.

        Raises
        ------
        InvalidArgumentError
            An item without a vector, another dim, NaN or Inf, a zero vector, offsets that do not rise from 0 to the
            number of vectors, an id that is negative, known or repeated.
        """
        given = as_sets(items, "items", dim=self.dim)
        rows = unit(given.rows, "items")
        new = np.arange(self._next, self._next + len(given)) if ids is None else as_ids(ids, n=len(given))
        every = np.concatenate([self._ids, new])
        known, counts = np.unique(every, return_counts=True)
        if (counts > 1).any():
            raise InvalidArgumentError(f"ids holds {known[counts > 1][0]}, which is there already, expected new ids")
        offsets = np.concatenate([self._sets.offsets, self._sets.offsets[-1] + given.offsets[1:]])
        self._replace(Sets(np.concatenate([self._sets.rows, rows]), offsets), every)
        self._next = max(self._next, int(new.max()) + 1)
        return new

    def remove(self, ids: ArrayLike) -> int:
        """Remove items by id; all of them or, after an error, none. Returns how many."""
        gone = np.unique(as_ids(ids))
        if len(unknown := np.setdiff1d(gone, self._ids)):
            raise InvalidArgumentError(f"ids holds {unknown[0]}, which is not in the index")
        kept = np.flatnonzero(~np.isin(self._ids, gone))
        self._replace(self._sets.take(kept), self._ids[kept])
        return len(gone)

    def get(self, item: int) -> NDArray[np.float32]:
        """The unit vectors of the item of that id, shape (n_vectors, dim)."""
        places = np.flatnonzero(self._ids == item)
        if not len(places):
            raise InvalidArgumentError(f"item is {show(item)}, which is not in the index")
        return self._sets[int(places[0])].copy()

    def search(
        self,
        queries: Sequence[ArrayLike] | tuple[ArrayLike, ArrayLike],
        k: int,
        *,
        n_candidates: int | None = None,
        filter: Filter | None = None,
    ) -> SearchResult:
        """Find the `k` nearest items of each query.

        Parameters
        ----------
        queries : list of array_like of shape (n_vectors, dim), or pair of all vectors and offsets
            As for `add`.
        k : int
            At least 1. Where fewer items pass, the places left hold id -1 and distance +inf.
        n_candidates : int, optional
            Score only the items that own one of so many nearest vectors of a vector of the query; all items where these
            are fewer than `k`. From the number of vectors on, nothing is missed. Default: score all items.
        filter : bool mask over items, array of allowed ids, or Bitmap, optional
            Items that may be results: ``min(k, items that pass)`` of them always come back.

        Returns
        -------
        SearchResult
            ``ids`` and ``distances`` of shape (n_queries, k), nearest first. `stats.n_scored` counts items.

        Raises
        ------
        InvalidArgumentError
            A query without a vector, another dim, NaN or Inf, a zero vector, ``k < 1``, ``n_candidates < 1``, a filter
            that does not fit.
        NotBuiltError
            The index holds no items.
        """
        began = perf_counter()
        asked = self._as_queries(queries)
        k = as_k(k, len(asked))
        allowed = self._allowed(filter)
        owners = (
            None if n_candidates is None else self._owners(asked, as_count(n_candidates, "n_candidates"), allowed, k)
        )
        ids, distances = np.full((len(asked), k), -1), np.full((len(asked), k), np.inf, np.float32)
        n_scored = n_rescored = 0
        for i, (places, rough) in enumerate(self._rough(asked, allowed, owners)):
            finalists = places[self._may_be_among(rough, k, len(asked[i]))]
            exact = self._costs(asked[i].astype(np.float64), finalists)
            best = np.lexsort((self._ids[finalists], exact))[:k]
            ids[i, : len(best)], distances[i, : len(best)] = self._ids[finalists[best]], exact[best]
            n_scored, n_rescored = n_scored + len(places), n_rescored + len(finalists)
        strategy = "all items" if n_candidates is None else "candidates"
        selectivity = len(allowed) / len(self)
        stats = SearchStats(strategy, n_scored, n_rescored, selectivity, perf_counter() - began)
        return SearchResult(ids, distances, "ip" if self.metric == "maxsim" else "cosine", stats)

    def scores(self, queries: Sequence[ArrayLike] | tuple[ArrayLike, ArrayLike]) -> NDArray[np.float32]:
        """Similarity of each query with each item in the order of `ids`, shape (n_queries, n_items); larger is closer.

        As `SearchResult.similarities`: for "maxsim" the sum of the largest cosines, else 1 minus the distance. float32
        sums, which a search rounds once only.
        """
        asked = self._as_queries(queries)
        sign = 0 if self.metric == "maxsim" else 1
        return np.array([sign - rough for _, rough in self._rough(asked, np.arange(len(self)), None)], np.float32)

    def _replace(self, sets: Sets, ids: NDArray[np.int64]) -> None:
        self._sets, self._ids, self._vectors = sets, ids, None

    def _as_queries(self, queries: Any) -> Sets:
        if not len(self):
            raise NotBuiltError("the index holds no items: call add first")
        given = as_sets(queries, "queries", dim=self.dim)
        return Sets(unit(given.rows, "queries"), given.offsets)

    def _allowed(self, filter: Filter | None) -> NDArray[np.int64]:
        """Places of the items that pass."""
        if filter is None:
            return np.arange(len(self))
        if not isinstance(filter, _core.Bitmap) and as_array(filter, "filter").dtype != np.bool_:
            return np.flatnonzero(np.isin(self._ids, as_ids(filter, "filter")))
        return as_bitmap(filter, len(self), "filter").rows()

    def _owners(self, asked: Sets, n: int, allowed: NDArray[np.int64], k: int) -> list[NDArray[np.int64]] | None:
        """For each query the places of the items that own vectors nearest to its own; None: all that are allowed."""
        if n >= self.n_vectors or not len(allowed):
            return None
        if self._vectors is None:
            self._vectors = Index(self.dim, kind=self.kind, n_threads=self.n_threads)
            self._vectors.add(self._sets.rows)
        passes = np.zeros(len(self), np.bool_)
        passes[allowed] = True
        found = self._vectors.search(
            asked.rows, n, filter=None if passes.all() else np.repeat(passes, self._sets.sizes)
        )
        owner = np.repeat(np.arange(len(self)), self._sets.sizes)
        parts = [ids[ids >= 0] for ids in np.split(found.ids, asked.offsets[1:-1])]
        owners = [np.unique(owner[part]) for part in parts]
        return [places if len(places) >= min(k, len(allowed)) else allowed for places in owners]

    def _rough(
        self, asked: Sets, allowed: NDArray[np.int64], owners: list[NDArray[np.int64]] | None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each query the items that are scored, and their distances in float32."""
        if owners is None and self.metric == "maxsim":  # many queries at a time are faster than one
            step = max(1, BLOCK_BYTES // (4 * max(1, len(allowed))))
            for start in range(0, len(asked), step):
                some = asked.take(np.arange(start, min(start + step, len(asked))))
                yield from ((allowed, -row) for row in self._maxsim(some, allowed))
            return
        for i in range(len(asked)):
            places = allowed if owners is None else owners[i]
            if self.metric == "maxsim":
                yield places, -self._maxsim(asked.take(np.array([i])), places)[0]
            else:
                yield places, self._costs(asked[i], places)

    def _maxsim(self, asked: Sets, places: NDArray[np.int64]) -> NDArray[np.float32]:
        return _core.maxsim(asked.rows, asked.offsets, self._sets.rows, self._sets.offsets, places, self.n_threads)

    def _costs(self, query: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
        """Distances in the dtype of `query`, a block of items at a time."""
        found = np.empty(len(places), query.dtype)
        step = max(1, BLOCK_BYTES // (query.itemsize * len(query)))  # vectors of items whose cosines fit a block
        start, ends = 0, np.cumsum(self._sets.sizes[places])
        while start < len(places):
            before = ends[start - 1] if start else 0
            end = max(start + 1, int(np.searchsorted(ends, before + step, side="right")))
            items = self._sets.take(places[start:end])
            found[start:end] = costs(query, items, self.metric, self.temperature, self.lam)
            start = end
        return found

    def _may_be_among(self, rough: NDArray[np.float32], k: int, n_rows: int) -> NDArray[np.bool_]:
        """Which items rounding leaves in question: among the `k` nearest or so near to them that float64 has to say."""
        if len(rough) <= k:
            return np.ones(len(rough), np.bool_)
        slack = ROUNDING * (self.dim + 16) * (n_rows if self.metric == "maxsim" else 1)
        if self.metric == "ct":
            slack *= 1 + 4 / self.temperature  # a cosine moves its share too
        return np.asarray(rough <= np.partition(rough, k - 1)[k - 1] + 2 * slack)
