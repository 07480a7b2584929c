"""Ranking a few candidates for each query, as MMEB does, and the threshold that tells pairs apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_choice, as_count, as_ids, as_mask
from ..exceptions import InvalidArgumentError
from ._rows import unit_rows

__all__ = ["CandidateReport", "best_threshold", "rank_candidates"]


@dataclass(frozen=True)
class CandidateReport:
    """Where the right candidate of each query came.

    Attributes
    ----------
    precision_at_1, mrr : float
        Share of queries whose first candidate is right; mean of 1 / rank.
    recall : dict of int to float
        Share of queries with the right one among the first k, for each k.
    ranks : ndarray, shape (n_queries,), int64
        From 1.
    """

    precision_at_1: float
    mrr: float
    recall: dict[int, float]
    ranks: NDArray[np.int64]


def rank_candidates(
    queries: ArrayLike,
    candidates: ArrayLike,
    candidate_ids: Sequence[ArrayLike],
    gold: ArrayLike,
    *,
    ks: Sequence[int] = (1, 5, 10),
) -> CandidateReport:
    """Rank the candidates of each query by cosine; equal ones by their id.

    Parameters
    ----------
    queries : array_like, shape (n_queries, dim)
    candidates : array_like, shape (n_candidates, dim)
    candidate_ids : sequence of array_like of int
        Rows of `candidates` among which each query chooses; lists may differ in length.
    gold : array_like, shape (n_queries,), int
        The right one of them.
    ks : sequence of int, default (1, 5, 10)

    Raises
    ------
    InvalidArgumentError
        A query without candidates, or whose right one is not among them; the message says which.

    References
    ----------
    Jiang et al., *VLM2Vec: Training Vision-Language Models for Massive Multimodal Embedding Tasks* (arXiv:2410.05160).

    Examples
    --------
    >>> report = rank_candidates([[1, 0], [0, 1]], [[1, 0], [1, 1], [0, 1]], [[0, 1], [0, 1, 2]], [0, 1], ks=(1, 2))
    >>> report.ranks.tolist(), report.precision_at_1, report.mrr, report.recall
    ([1, 2], 0.5, 0.75, {1: 0.5, 2: 1.0})
    """
    rows = unit_rows(queries, "queries")
    base = unit_rows(candidates, "candidates", dim=rows.shape[1])
    right = as_ids(gold, "gold", n=len(rows))
    if len(candidate_ids) != len(rows):
        raise InvalidArgumentError(f"candidate_ids has {len(candidate_ids)} lists, expected {len(rows)}: one a query")
    counts = [as_count(k, "ks") for k in ks]
    ranks = np.empty(len(rows), np.int64)
    for i, (row, given) in enumerate(zip(rows, candidate_ids, strict=True)):
        ids = np.unique(as_ids(given, f"candidate_ids[{i}]"))
        if not len(ids):
            raise InvalidArgumentError(f"candidate_ids[{i}] is empty, expected at least one")
        if ids[-1] >= len(base):
            raise InvalidArgumentError(f"candidate_ids[{i}] holds {ids[-1]}, expected rows below {len(base)}")
        if right[i] not in ids:
            raise InvalidArgumentError(f"gold[{i}] is {right[i]}, expected one of candidate_ids[{i}]")
        order = ids[np.argsort(-(base[ids] @ row), kind="stable")]
        ranks[i] = np.flatnonzero(order == right[i])[0] + 1
    recall = {k: float((ranks <= k).mean()) for k in counts}
    return CandidateReport(float((ranks == 1).mean()), float((1 / ranks).mean()), recall, ranks)


def best_threshold(
    scores: ArrayLike, labels: ArrayLike, *, metric: Literal["f1", "accuracy"] = "f1"
) -> tuple[float, float]:
    """The score from which on to say yes, so that it is best for these pairs.

    Parameters
    ----------
    scores : array_like, shape (n,)
        Larger is more alike.
    labels : array_like, shape (n,), bool
        True for pairs that belong together; at least one.
    metric : {"f1", "accuracy"}, default "f1"

    Returns
    -------
    threshold, value : float
        One of `scores`, the largest of those that are equally good, or +inf where it is best to never say yes; and
        what it reaches.

    Examples
    --------
    >>> best_threshold([0.9, 0.8, 0.3, 0.1], [True, True, False, False])
    (0.8, 1.0)
    """
    as_choice(metric, "metric", ("f1", "accuracy"))
    values: NDArray[Any] = as_array(scores, "scores").astype(np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InvalidArgumentError(f"scores has shape {values.shape}, expected (n,) finite numbers, at least one")
    positive = as_mask(labels, len(values), "labels")
    if not positive.any():
        raise InvalidArgumentError("labels holds no True, expected at least one")
    order = np.argsort(-values, kind="stable")
    last = np.append(np.diff(values[order]) != 0, True)  # of equal scores: all of them are above a threshold, or none
    hits = np.append(0, np.cumsum(positive[order])[last])
    said = np.append(0, np.flatnonzero(last) + 1)
    if metric == "f1":
        reached = 2 * hits / (said + positive.sum())
    else:
        reached = (hits + (~positive).sum() - (said - hits)) / len(values)
    best = int(np.argmax(reached))
    return float(np.append(np.inf, values[order][last])[best]), float(reached[best])
