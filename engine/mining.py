"""Rows to train an encoder with: those that are near a query and are no answer to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ._validate import as_count, as_ids, as_matrix, as_share
from .exceptions import InvalidArgumentError, UnsupportedError
from .types import SearchResult, SearchStats, together

if TYPE_CHECKING:
    from .index import Index

__all__ = ["hard_negatives"]

PLACES = 1 << 22  # that one search fills, at most: those who find few look at ever more rows


def hard_negatives(
    queries: ArrayLike,
    positives: Sequence[ArrayLike],
    index: Index,
    k: int = 10,
    *,
    max_ratio: float = 0.95,
    n_threads: int | None = None,
) -> SearchResult:
    """Find for each query the `k` nearest rows that are not among its answers, nor so near that they may be one.

    A row is left out if its similarity to the query is above `max_ratio` times that of the query's least similar
    positive: among such rows are answers that nobody marked, and they teach the wrong thing.

    Parameters
    ----------
    queries : array-like, shape (n_queries, dim)
        What was asked, encoded as queries.
    positives : sequence of n_queries ids or lists of ids
        The answers of each query, which are rows of the index; at least one each.
    index : Index
        Of documents, with metric "cosine" or "ip". It is searched exactly.
    k : int, default 10
        Negatives of each query.
    max_ratio : float, default 0.95
        From 0 to 1. A positive whose similarity s is negative allows rows up to s - (1 - max_ratio) |s|.
    n_threads : int, optional
        Threads of the search; default: all.

    Returns
    -------
    SearchResult
        ``ids`` and ``distances`` of shape (n_queries, k), the hardest first; id -1 and distance +inf where the index
        has no more of them.

    Raises
    ------
    InvalidArgumentError
        A query without positives, an id that is not in the index, a value out of range.
    UnsupportedError
        Under metric "l2", which knows no ratio of similarities.

    Notes
    -----
    Exact searches for ever more rows, twice as many each time, until each query has its `k`: O(n dim) a query and
    search. The filter is that of positive-aware mining: Moreira et al., NV-Retriever,
    `2407.15831 <https://arxiv.org/abs/2407.15831>`_, with ratio 0.95; LG-ANNA, `2506.07438
    <https://arxiv.org/abs/2506.07438>`_, keeps negatives below a margin in the same way.

    Examples
    --------
    >>> import numpy as np, engine
    >>> from engine.mining import hard_negatives
    >>> index = engine.Index(2)
    >>> index.add([[1, 0], [1, 0.1], [1, 1], [0, 1]])
    array([0, 1, 2, 3])
    >>> hard_negatives([[1, 0]], [0], index, k=2).ids  # row 1 may well be an answer, too
    array([[2, 3]])
    """
    if index.metric == "l2":
        raise UnsupportedError("hard_negatives needs similarities: metric is 'l2', expected 'cosine' or 'ip'")
    points = as_matrix(queries, "queries", dim=index.dim)
    answers = as_answers(positives, len(points))
    k, ratio = as_count(k, "k"), as_share(max_ratio, "max_ratio")
    limits = np.array([least_similar(index, *pair) for pair in zip(points, answers, strict=True)])
    limits -= (1 - ratio) * np.abs(limits)

    ids = np.full((len(points), k), -1, np.int64)
    distances = np.full((len(points), k), np.inf, np.float32)
    left = np.arange(len(points))
    stats: list[SearchStats] = []
    n_found = min(len(index), 2 * k + max(map(len, answers)))
    while len(left):
        short = []
        n_at_once = max(1, PLACES // n_found)
        for rows in (left[start : start + n_at_once] for start in range(0, len(left), n_at_once)):
            found = index.search(points[rows], n_found, n_threads=n_threads, executor="exact")
            stats.append(found.stats)
            for row, near, similar, away in zip(rows, found.ids, found.similarities, found.distances, strict=True):
                kept = np.flatnonzero((similar <= limits[row]) & (near >= 0) & ~np.isin(near, answers[row]))[:k]
                ids[row, : len(kept)], distances[row, : len(kept)] = near[kept], away[kept]
                if len(kept) < k:
                    short.append(row)
        left = np.array(short if n_found < len(index) else [], np.int64)
        n_found = min(len(index), 2 * n_found)
    return SearchResult(ids, distances, index.metric, together(stats))


def as_answers(positives: Sequence[ArrayLike], n: int) -> list[Any]:
    """Ids of each query."""
    if len(positives) != n:
        raise InvalidArgumentError(f"positives has length {len(positives)}, expected {n}, one entry for each query")
    answers = [as_ids(np.atleast_1d(np.asarray(each)), f"positives[{i}]") for i, each in enumerate(positives)]
    for i, each in enumerate(answers):
        if not len(each):
            raise InvalidArgumentError(f"positives[{i}] is empty, expected at least one id")
    return answers


def least_similar(index: Index, query: Any, ids: Any) -> float:
    """Of the rows `ids`, in float64."""
    rows, point = index.get(ids).astype(np.float64), query.astype(np.float64)
    if index.metric == "cosine":
        rows, point = rows / np.linalg.norm(rows, axis=1, keepdims=True), point / np.linalg.norm(point)
    return float((rows @ point).min())
