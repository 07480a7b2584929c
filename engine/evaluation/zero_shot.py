"""Metric learning's protocol: every row of unseen classes is a query, and all others are what it is searched in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from .._validate import as_count, as_matrix
from ..exceptions import InvalidArgumentError
from ..index import Index
from ..types import Metric
from ._labels import as_labels
from .clustering import nmi, pairwise_f1
from .retrieval import search_others

__all__ = ["RetrievalReport", "map_at_r", "r_precision", "zero_shot_retrieval"]


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """What `zero_shot_retrieval` found; prints as a line.

    Attributes
    ----------
    recall : mapping of int to float
        Share of the rows with one of their class among the k nearest others.
    r_precision, map_at_r : float
        Means over the rows that share their class with another; NaN without any.
    nmi, f1 : float
        Of k-means with as many clusters as classes; NaN if not asked for.
    n_alone : int
        Rows that are the only one of their class: misses in `recall`, left out of the other two.
    """

    recall: Mapping[int, float]
    r_precision: float
    map_at_r: float
    nmi: float
    f1: float
    n_alone: int

    def __str__(self) -> str:
        recalls = ", ".join(f"R@{k} {value:.4f}" for k, value in self.recall.items())
        return (
            f"{recalls}, R-precision {self.r_precision:.4f}, MAP@R {self.map_at_r:.4f}, NMI {self.nmi:.4f}, "
            f"F1 {self.f1:.4f}, {self.n_alone} alone"
        )


def zero_shot_retrieval(
    X: ArrayLike,
    y: ArrayLike,
    ks: Sequence[int] = (1, 2, 4, 8),
    *,
    metric: Metric = "cosine",
    clusters: bool = True,
    batch_size: int = 1024,
    random_state: int | None = 0,
) -> RetrievalReport:
    """Recall@K, R-precision and MAP@R of all rows against each other, and how well k-means finds the classes.

    Parameters
    ----------
    X : array_like, shape (n, dim)
    y : array_like, shape (n,)
        At least two classes.
    ks : sequence of int, default (1, 2, 4, 8)
        At most n - 1.
    metric : {"cosine", "ip", "l2"}, default "cosine"
    clusters : bool, default True
        Whether to cluster (scikit-learn; rows at unit length under "cosine").
    batch_size : int, default 1024
        Queries searched at once; no n x n matrix exists.
    random_state : int, optional, default 0
        Of k-means.

    References
    ----------
    Chen & Deng, *Energy Confused Adversarial Metric Learning for Zero-Shot Image Retrieval and Clustering*, AAAI 2019
    (arXiv:1901.07169). Musgrave et al., *A Metric Learning Reality Check*, ECCV 2020 (arXiv:2003.08505), for MAP@R.

    Examples
    --------
    >>> X, y = [[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 1]], ["a", "a", "b", "b", "c"]
    >>> print(zero_shot_retrieval(X, y, ks=(1, 2)))
    R@1 0.8000, R@2 0.8000, R-precision 1.0000, MAP@R 1.0000, NMI 1.0000, F1 1.0000, 1 alone
    """
    vectors, labels, others = checked(X, y)
    cuts = sorted({as_count(k, "ks") for k in ks})
    if not cuts or cuts[-1] > len(vectors) - 1:
        raise InvalidArgumentError(f"ks is {tuple(ks)}, expected numbers from 1 to {len(vectors) - 1}: the other rows")
    hits_at = np.zeros(len(cuts))
    precisions, averages = [], []
    for hits, n_others in ranked(vectors, labels, others, max(cuts[-1], int(others.max())), metric, batch_size):
        hits_at += [hits[:, :k].any(axis=1).sum() for k in cuts]
        precision, average = at_r(hits, n_others)
        precisions.append(precision)
        averages.append(average)
    found = clustered(vectors, labels, metric, random_state) if clusters else (float("nan"), float("nan"))
    return RetrievalReport(
        recall={k: float(n / len(vectors)) for k, n in zip(cuts, hits_at, strict=True)},
        r_precision=mean(precisions),
        map_at_r=mean(averages),
        nmi=found[0],
        f1=found[1],
        n_alone=int((others == 0).sum()),
    )


def r_precision(X: ArrayLike, y: ArrayLike, *, metric: Metric = "cosine", batch_size: int = 1024) -> float:
    """Share of a row's class among its R nearest others, R being how many others there are of it; mean over rows.

    Parameters
    ----------
    X, y, metric, batch_size
        As for `zero_shot_retrieval`. Rows that are alone in their class are left out; NaN if all are.

    Examples
    --------
    >>> r_precision([[1, 0], [1, 0.3], [1, 0.2], [1, 0.1]], ["a", "a", "b", "a"])
    0.5
    """
    return over_rows(X, y, metric, batch_size, 0)


def map_at_r(X: ArrayLike, y: ArrayLike, *, metric: Metric = "cosine", batch_size: int = 1024) -> float:
    """Like `r_precision`, but hits count by the precision down to their rank: early ones for more.

    Parameters
    ----------
    X, y, metric, batch_size
        As for `r_precision`.

    Examples
    --------
    >>> map_at_r([[1, 0], [1, 0.3], [1, 0.2], [1, 0.1]], ["a", "a", "b", "a"])
    0.3333333333333333
    """
    return over_rows(X, y, metric, batch_size, 1)


def over_rows(X: ArrayLike, y: ArrayLike, metric: Metric, batch_size: int, which: int) -> float:
    vectors, labels, others = checked(X, y)
    if not others.max():
        return float("nan")
    batches = ranked(vectors, labels, others, int(others.max()), metric, batch_size)
    return mean([at_r(hits, n_others)[which] for hits, n_others in batches])


def checked(X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Vectors, classes as numbers, and for each row how many others there are of its class."""
    vectors = as_matrix(X, "X")
    names, codes = np.unique(as_labels(y, n=len(vectors)), return_inverse=True)
    if len(names) < 2:
        raise InvalidArgumentError(f"y holds one label only: {names[0]}, expected at least two")
    return vectors, codes, np.bincount(codes)[codes] - 1


def ranked(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    others: NDArray[np.int64],
    k: int,
    metric: Metric,
    batch_size: int,
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Batch by batch: which of the `k` nearest others share the class, and how many there are to find."""
    index = Index(vectors.shape[1], metric=metric)
    index.add(vectors)
    for i, found in enumerate(search_others(index, k, batch_size=as_count(batch_size, "batch_size"))):
        own = slice(i * batch_size, (i + 1) * batch_size)
        yield labels[found.ids] == labels[own, None], others[own]


def at_r(hits: NDArray[np.bool_], n_others: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """R-precision and MAP@R of each row that has something to find."""
    hits, n_others = hits[n_others > 0], n_others[n_others > 0]
    ranks = np.arange(1, hits.shape[1] + 1)
    inside = hits & (ranks <= n_others[:, None])
    precision = np.cumsum(inside, axis=1) / ranks
    return inside.sum(axis=1) / n_others, (precision * inside).sum(axis=1) / n_others


def mean(parts: list[NDArray[np.float64]]) -> float:
    values = np.concatenate(parts)
    return float(values.mean()) if len(values) else float("nan")


def clustered(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], metric: Metric, random_state: int | None
) -> tuple[float, float]:
    """NMI and F1 of k-means."""
    kmeans = require("sklearn.cluster", "clusters=True").KMeans
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if metric == "cosine" else vectors
    found = kmeans(len(np.unique(labels)), n_init=3, random_state=random_state).fit_predict(rows)
    return nmi(labels, found), pairwise_f1(labels, found)
