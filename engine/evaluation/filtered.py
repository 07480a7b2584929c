"""The exact answer where each query may find other rows: what filtered searches are judged by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from numbers import Real
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import Bitmap
from .._validate import as_array, as_ids, as_k, as_mask, as_matrix, show
from ..exceptions import InvalidArgumentError
from ..filters import Attributes, Predicate, PredicateCache, as_predicate
from ..index import Index
from ..types import Metric, SearchResult, SearchStats

__all__ = ["AnyFilter", "filtered_ground_truth"]

AnyFilter = ArrayLike | Bitmap | Predicate | str | Mapping[str, Any] | None


def filtered_ground_truth(
    queries: ArrayLike,
    vectors: ArrayLike,
    k: int,
    *,
    filters: AnyFilter | Sequence[AnyFilter],
    attributes: Attributes | None = None,
    metric: Metric = "cosine",
    n_threads: int | None = None,
) -> SearchResult:
    """The `k` nearest rows of each query among those that its filter lets pass, by certified exact search.

    Parameters
    ----------
    queries : array_like, shape (n_queries, dim)
    vectors : array_like, shape (n, dim)
    k : int
        Where fewer rows pass, the rest of the ids is -1 and of the distances +inf.
    filters : filter, or sequence of n_queries filters
        A filter is a bool mask over rows, an array of allowed rows, a Bitmap, None for all rows, or a predicate:
        ``engine.col`` expression, SQL text or Mongo-style dict. One serves all queries; a list or tuple of filters, or
        a bool array of shape (n_queries, n), has one for each query.
    attributes : Attributes, optional
        The columns that predicates ask, one entry a row of `vectors`.
    metric : {"cosine", "ip", "l2"}, default "cosine"
    n_threads : int, optional
        Default: all cores.

    Returns
    -------
    SearchResult
        ids are row numbers; equal distances are ordered by row. ``stats.selectivity`` is the mean over queries.

    Raises
    ------
    InvalidArgumentError
        Filters that do not fit the rows, not as many as queries, or predicates without `attributes`; and whatever
        `Index.search` refuses.

    See Also
    --------
    ground_truth : the same by brute force in float64, with masks.
    recall_per_query : compare the ids of another search with these, against ``min(k, rows that pass)``.

    Notes
    -----
    Queries that share a filter are searched together: the same object, or equal predicates. Threads divide those
    queries, so that filters of one query each run on one thread.

    Examples
    --------
    >>> vectors = [[1, 0], [0, 1], [1, 1]]
    >>> filtered_ground_truth([[1, 0.1], [1, 0]], vectors, k=2, filters=[[1, 2], [False, True, False]]).ids.tolist()
    [[2, 1], [1, -1]]
    """
    began = perf_counter()
    base = as_matrix(vectors, "vectors")
    points = as_matrix(queries, "queries", dim=base.shape[1])
    k = as_k(k, len(points))
    n = len(base)
    if attributes is not None and len(attributes) != n:
        raise InvalidArgumentError(f"attributes has {len(attributes)} rows, expected {n}: one for each of vectors")
    index = Index(base.shape[1], metric=metric, n_threads=n_threads)
    index.add(base)

    ids = np.full((len(points), k), -1, np.int64)
    distances = np.full((len(points), k), np.inf, np.float32)
    n_scored = n_rescored = n_passed = 0
    cache = PredicateCache()
    for filter, rows in groups(filters, len(points)):
        allowed = None if filter is None else as_rows(filter, n, attributes, cache)
        found = index.search(points[rows], k, filter=allowed)
        ids[rows], distances[rows] = found.ids, found.distances
        n_scored += found.stats.n_scored
        n_rescored += found.stats.n_rescored
        n_passed += len(rows) * (n if allowed is None else allowed.count())
    share = n_passed / (n * len(points))
    stats = SearchStats("exact", n_scored, n_rescored, share, perf_counter() - began)
    return SearchResult(ids, distances, metric, stats)


def groups(filters: Any, n_queries: int) -> list[tuple[Any, list[int]]]:
    """Each different filter, with the queries that it is for."""
    if not is_one_for_each(filters):
        return [(filters, list(range(n_queries)))]
    if len(filters) != n_queries:
        raise InvalidArgumentError(f"filters has {len(filters)} entries, expected {n_queries}: one for each query")
    filters = list(filters)  # of an array: rows that live as long as their id is a key
    queries: dict[Hashable, list[int]] = defaultdict(list)
    for query, filter in enumerate(filters):
        shared = filter if isinstance(filter, (Predicate, str)) else id(filter)
        queries[shared].append(query)
    return [(filters[group[0]], group) for group in queries.values()]


def is_one_for_each(filters: Any) -> bool:
    """Whether `filters` are many: a list of numbers or bools is one."""
    if isinstance(filters, (list, tuple)):
        return not all(isinstance(entry, (Real, np.bool_)) for entry in filters)
    return isinstance(filters, np.ndarray) and filters.ndim == 2


def as_rows(filter: Any, n: int, attributes: Attributes | None, cache: PredicateCache) -> Bitmap:
    """The rows, of `n`, that `filter` lets pass."""
    if isinstance(filter, Bitmap):
        if len(filter) != n:
            raise InvalidArgumentError(f"filters has a Bitmap over {len(filter)} rows, expected {n}")
        return filter
    if isinstance(filter, (Predicate, str, Mapping)):
        predicate = as_predicate(filter)
        if attributes is None:
            raise InvalidArgumentError(f"attributes is None, expected the columns that {show(predicate)} asks")
        return cache.resolve(predicate, attributes)
    array: NDArray[Any] = as_array(filter, "filters")
    if array.dtype == np.bool_:
        return Bitmap(as_mask(array, n, "filters"))
    return Bitmap.from_rows(n, as_ids(array, "filters"))
