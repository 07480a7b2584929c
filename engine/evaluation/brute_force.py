"""The exact answer by brute force in float64: slow, plain, and what the fast searches are judged by."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_choice, as_k, as_matrix
from ..exact import METRICS
from ..exceptions import InvalidArgumentError
from ..types import Metric, SearchResult, SearchStats

__all__ = ["ground_truth"]

BLOCK_BYTES = 64 << 20  # distances of one block of queries to all rows


def ground_truth(
    queries: ArrayLike, vectors: ArrayLike, k: int, *, metric: Metric = "cosine", mask: ArrayLike | None = None
) -> SearchResult:
    """The `k` nearest rows of each query, computed in float64 with numpy alone.

    Distances are rounded to float32 in the end; equal ones are ordered by row. That is the rule of every search here,
    so the ids can be compared one by one.

    Parameters
    ----------
    queries : array_like, shape (n_queries, dim)
    vectors : array_like, shape (n, dim)
        Kept as float64 during the call: 8 bytes a number.
    k : int
        If fewer rows pass, the rest of the ids is -1 and of the distances +inf.
    metric : {"cosine", "ip", "l2"}, default "cosine"
    mask : array_like of bool, shape (n,) or (n_queries, n), optional
        Which rows may be found: the same for all queries, or one filter a query.

    Returns
    -------
    SearchResult
        ids are row numbers.

    See Also
    --------
    recall_at_k : compare the ids of another search with these.

    Examples
    --------
    >>> vectors = [[1, 0], [0, 1], [1, 1]]
    >>> ground_truth([[1, 0.1]], vectors, k=2).ids.tolist()
    [[0, 2]]
    >>> ground_truth([[1, 0.1]], vectors, k=2, mask=[False, True, True]).ids.tolist()
    [[2, 1]]
    """
    began = perf_counter()
    as_choice(metric, "metric", METRICS)
    base = as_matrix(vectors, "vectors").astype(np.float64)
    points = as_matrix(queries, "queries", dim=base.shape[1]).astype(np.float64)
    masks = as_masks(mask, len(points), len(base))
    k = as_k(k, len(points))
    if metric == "cosine":
        base, points = normalise(base, "vectors"), normalise(points, "queries")

    ids = np.full((len(points), k), -1, np.int64)
    distances = np.full((len(points), k), np.inf, np.float32)
    norms = np.square(base).sum(axis=1)
    step = max(1, BLOCK_BYTES // norms.nbytes)
    n_rescored = 0
    for start in range(0, len(points), step):
        block = points[start : start + step]
        near = norms - 2 * (block @ base.T) if metric == "l2" else -(block @ base.T)
        for query, scores in enumerate(near, start):
            # Twice what float32 cannot tell apart, so that every row that may tie with the k-th is compared one by one.
            slack = 2.0**-21 * (points[query] @ points[query] + norms.max()) + np.finfo(np.float32).tiny
            rows = shortlist(scores, np.flatnonzero(masks[query]), k, slack)
            best, rounded = ordered(rows, pairwise(points[query], base[rows], metric), k)
            ids[query, : len(best)], distances[query, : len(best)] = best, rounded
            n_rescored += len(rows)
    stats = SearchStats("brute-force", len(points) * len(base), n_rescored, float(masks.mean()), perf_counter() - began)
    return SearchResult(ids, distances, metric, stats)


def as_masks(mask: ArrayLike | None, n_queries: int, n: int) -> NDArray[np.bool_]:
    """`mask` as a view of shape (n_queries, n)."""
    masks = np.ones(n, np.bool_) if mask is None else as_array(mask, "mask")
    if masks.dtype != np.bool_:
        raise InvalidArgumentError(f"mask has dtype {masks.dtype}, expected bool")
    if masks.shape not in ((n,), (n_queries, n)):
        raise InvalidArgumentError(f"mask has shape {masks.shape}, expected ({n},) or ({n_queries}, {n})")
    return np.broadcast_to(masks, (n_queries, n))


def normalise(rows: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """`rows` at unit length."""
    lengths: NDArray[np.float64] = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    if not lengths.all():
        raise InvalidArgumentError(f"{name}[{int(np.argmin(lengths))}] is zero, expected a direction: it has no cosine")
    return rows / lengths


def shortlist(scores: NDArray[np.float64], rows: NDArray[np.intp], k: int, slack: float) -> NDArray[np.intp]:
    """Those of `rows` that score within `slack` of the `k` best."""
    if len(rows) <= k:
        return rows
    limit = np.partition(scores[rows], k - 1)[k - 1] + slack
    near: NDArray[np.bool_] = scores[rows] <= limit
    return rows[near]


def pairwise(query: NDArray[np.float64], rows: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Distance of `query` to each row, summed in the same order for each: equal rows get equal distances."""
    terms = np.square(rows - query) if metric == "l2" else -rows * query
    sums: NDArray[np.float64] = terms.sum(axis=1)
    return 1 + sums if metric == "cosine" else sums


def ordered(
    rows: NDArray[np.intp], distances: NDArray[np.float64], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The `k` nearest by (float32 distance, row); beyond the largest float32 the float64 decides."""
    largest = np.finfo(np.float32).max
    rounded = np.clip(distances, -largest, largest).astype(np.float32)
    overflow = np.where(abs(distances) > largest, distances, 0)
    best = np.lexsort((rows, overflow, rounded))[:k]
    return rows[best], rounded[best]
