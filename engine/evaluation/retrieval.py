"""How good are search results: against the exact answer, or against labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_count, as_matrix
from ..exceptions import InvalidArgumentError
from ..index import Filter, Index
from ..types import Metric, SearchResult
from ._labels import as_labels

__all__ = ["label_recall_at_k", "recall_at_k", "recall_per_query", "search_others"]


def recall_at_k(ids: ArrayLike, true_ids: ArrayLike, k: int | None = None) -> float:
    """Share of the true `k` nearest that are among the `k` found.

    Parameters
    ----------
    ids : array_like, shape (n_queries, n_found), int
        What a search returned, nearest first; -1 means nothing found.
    true_ids : array_like, shape (n_queries, n_true), int
        The exact answer, nearest first, such as `ground_truth` gives; -1 where fewer rows pass the filter.
    k : int, optional
        Only the first `k` columns of both count. Default: all columns.

    Returns
    -------
    float
        Hits in all rows over true ids in all rows; 1.0 if there is nothing to find.

    Examples
    --------
    >>> recall_at_k([[3, 1, 8]], [[1, 3, 2]]), recall_at_k([[3, 1, 8]], [[1, 3, 2]], k=2)
    (0.6666666666666666, 1.0)
    """
    hits, wanted = counts(ids, true_ids, k)
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def recall_per_query(ids: ArrayLike, true_ids: ArrayLike, k: int | None = None) -> NDArray[np.float64]:
    """Share of each query's true `k` nearest that are among its `k` found: recall against ``min(k, rows that pass)``.

    Parameters
    ----------
    ids, true_ids, k
        As for `recall_at_k`.

    Returns
    -------
    ndarray, shape (n_queries,), float64
        1.0 where there is nothing to find.

    Examples
    --------
    >>> recall_per_query([[3, 1], [4, -1], [-1, -1]], [[1, 2], [4, -1], [-1, -1]]).tolist()
    [0.5, 1.0, 1.0]
    """
    hits, wanted = counts(ids, true_ids, k)
    return np.where(wanted > 0, hits / np.maximum(wanted, 1), 1.0)


def counts(ids: ArrayLike, true_ids: ArrayLike, k: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of the true ids of each row were found, and how many there are."""
    found, true = as_id_rows(ids, "ids"), as_id_rows(true_ids, "true_ids")
    if len(found) != len(true):
        raise InvalidArgumentError(f"ids has {len(found)} rows, true_ids {len(true)}: expected one row a query in both")
    width = min(found.shape[1], true.shape[1])
    if k is not None and as_count(k, "k") > width:
        raise InvalidArgumentError(f"k is {k}, expected at most {width}: the columns of ids and true_ids")
    found, true = found[:, :k], true[:, :k]
    # One number for each (row, id), so that a single set operation serves all rows.
    values, codes = np.unique(np.concatenate([found.ravel(), true.ravel()]), return_inverse=True)
    found_keys, true_keys = codes[: found.size].reshape(found.shape), codes[found.size :].reshape(true.shape)
    offsets = len(values) * np.arange(len(found))[:, None]
    wanted = np.unique((true_keys + offsets)[true >= 0])
    rows = wanted // len(values)
    hits = np.isin(wanted, found_keys + offsets)
    return np.bincount(rows[hits], minlength=len(found)), np.bincount(rows, minlength=len(found))


def label_recall_at_k(
    X: ArrayLike,
    y: ArrayLike,
    ks: Sequence[int] = (1, 2, 4, 8),
    *,
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
    metric: Metric = "cosine",
    batch_size: int = 1024,
) -> dict[int, float]:
    """Share of rows with a row of their own label among the `k` nearest: the Recall@K of metric learning.

    Parameters
    ----------
    X : array_like, shape (n, dim)
        The queries, and, without a `gallery`, also what is searched; a row is never its own neighbour.
    y : array_like, shape (n,)
        Label of each row of `X`.
    ks : sequence of int, default (1, 2, 4, 8)
        At most as many as there are rows to find.
    gallery : (vectors, labels), optional
        What is searched instead of `X`.
    metric : {"cosine", "ip", "l2"}, default "cosine"
    batch_size : int, default 1024
        Queries searched at once.

    Returns
    -------
    dict of int to float
        Recall at each of `ks`.

    References
    ----------
    Song et al., *Deep metric learning via lifted structured feature embedding*, CVPR 2016 (arXiv:1511.06452).

    Examples
    --------
    >>> label_recall_at_k([[1, 0], [1, 0.1], [0, 1], [0.9, 1]], ["a", "a", "b", "a"], ks=(1, 3))
    {1: 0.5, 3: 0.75}
    """
    queries = as_matrix(X, "X")
    labels = as_labels(y, "y", n=len(queries))
    vectors, gallery_labels = (queries, labels) if gallery is None else gallery
    index = Index(queries.shape[1], metric=metric)
    index.add(vectors)
    base_labels = as_labels(gallery_labels, "the labels of gallery", n=len(index))
    n_findable = len(index) - (gallery is None)
    cuts = sorted({as_count(k, "ks") for k in ks})
    if not cuts or cuts[-1] > n_findable:
        raise InvalidArgumentError(
            f"ks is {tuple(ks)}, expected numbers from 1 to {n_findable}: the rows there are to find"
        )
    if len(np.unique(base_labels)) < 2:
        raise InvalidArgumentError(f"y holds one label only: {base_labels[0]}, expected at least two")
    if gallery is None:
        results = search_others(index, cuts[-1], batch_size=batch_size)
    else:
        results = search_batches(index, queries, cuts[-1], batch_size=batch_size)
    hits = np.concatenate([base_labels[found.ids] for found in results]) == labels[:, None]
    return {k: float(hits[:, :k].any(axis=1).mean()) for k in cuts}


def search_batches(
    index: Index, queries: NDArray[np.float32], k: int, *, filter: Filter | None = None, batch_size: int = 1024
) -> Iterator[SearchResult]:
    """The `k` nearest rows of each of `queries`, batch by batch."""
    for start in range(0, len(queries), batch_size):
        yield index.search(queries[start : start + batch_size], k, filter=filter)


def search_others(
    index: Index, k: int, *, filter: Filter | None = None, batch_size: int = 1024
) -> Iterator[SearchResult]:
    """The `k` nearest *other* rows of each row of `index`, batch by batch; a row is left out by id, not by distance."""
    all_ids = index.ids
    for start in range(0, len(all_ids), batch_size):
        own = all_ids[start : start + batch_size]
        found = index.search(index.get(own), k + 1, filter=filter)
        keep = found.ids != own[:, None]
        keep[keep.all(axis=1), -1] = False  # the row itself was not found: its filter, or k + 1 nearer ones
        ids, distances = (part[keep].reshape(len(own), k) for part in found)
        yield replace(found, ids=ids, distances=distances)


def as_id_rows(value: ArrayLike, name: str) -> NDArray[np.int64]:
    """`value` as a 2-D array of ids, -1 for none."""
    rows = as_array(value, name)
    if rows.ndim != 2 or not rows.size:
        raise InvalidArgumentError(f"{name} has shape {rows.shape}, expected (n_queries, k) with at least one entry")
    if rows.dtype.kind not in "iu":
        raise InvalidArgumentError(f"{name} has dtype {rows.dtype}, expected integers")
    return rows.astype(np.int64, copy=False)
