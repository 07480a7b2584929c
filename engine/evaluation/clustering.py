"""How well clusters are the classes: whatever numbers the clusters have."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from ._labels import as_labels

__all__ = ["ari", "clustering_accuracy", "nmi", "pairwise_f1"]


def clustering_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of rows that are right under the best one-to-one map of clusters to classes.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n,)
        Classes and clusters: strings or integers. Clusters or classes too many stay without a partner.

    Notes
    -----
    The map is found by the Hungarian method (scipy, which comes with the extra "sklearn").

    Examples
    --------
    >>> clustering_accuracy(["a", "a", "b", "b"], [7, 7, 3, 7])
    0.75
    """
    counts = contingency(y_true, y_pred)
    pairs = require("scipy.optimize", "clustering_accuracy").linear_sum_assignment(-counts)
    return float(counts[pairs].sum() / counts.sum())


def nmi(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mutual information of classes and clusters, over the mean of their entropies: 0 to 1.

    1 also if both are one group only: then there is nothing to tell.

    Examples
    --------
    >>> nmi(["a", "a", "b", "b"], [1, 1, 0, 0]), nmi(["a", "a", "b", "b"], [0, 1, 0, 1])
    (1.0, 0.0)
    """
    counts = contingency(y_true, y_pred)
    joint, true, predicted = (entropy(part) for part in (counts.ravel(), counts.sum(axis=1), counts.sum(axis=0)))
    if true + predicted == 0:
        return 1.0
    return float(np.clip(2 * (true + predicted - joint) / (true + predicted), 0, 1))


def ari(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Adjusted Rand index: agreement on pairs of rows, 0 on average for random clusters, 1 for the classes themselves.

    Examples
    --------
    >>> ari(["a", "a", "b", "b"], [1, 1, 0, 0])
    1.0
    """
    both, true, predicted, every = pair_counts(y_true, y_pred)
    chance = true * predicted / max(every, 1.0)
    largest = (true + predicted) / 2
    return 1.0 if largest == chance else float((both - chance) / (largest - chance))


def pairwise_f1(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """F1 of the pairs of rows that share a cluster, against those that share a class.

    Examples
    --------
    >>> pairwise_f1(["a", "a", "b", "b"], [1, 1, 1, 0])
    0.4
    """
    both, true, predicted, _ = pair_counts(y_true, y_pred)
    return 1.0 if true + predicted == 0 else float(2 * both / (true + predicted))


def contingency(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.int64]:
    """How many rows of each class are in each cluster."""
    true = as_labels(y_true, "y_true")
    predicted = as_labels(y_pred, "y_pred", n=len(true))
    classes, rows = np.unique(true, return_inverse=True)
    clusters, columns = np.unique(predicted, return_inverse=True)
    cells = np.bincount(rows * len(clusters) + columns, minlength=len(classes) * len(clusters))
    return cells.reshape(len(classes), len(clusters))


def entropy(counts: NDArray[np.int64]) -> float:
    """Of the distribution that these counts are, in nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def pair_counts(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[float, float, float, float]:
    """Pairs of rows that share class and cluster, the class, the cluster; and all pairs."""
    counts = contingency(y_true, y_pred).astype(np.float64)
    parts = (counts, counts.sum(axis=1), counts.sum(axis=0), counts.sum())
    both, true, predicted, every = (float((part * (part - 1) / 2).sum()) for part in parts)
    return both, true, predicted, every
