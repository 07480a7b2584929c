"""Class relations: what new rows have of known classes, and clusters of equal size."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_count
from ..classify._base import as_temperature, batches, check_embeddings, refuse_zero, similarities, softmax
from ..exceptions import InvalidArgumentError

__all__ = ["class_relation", "known_gate", "sinkhorn_assign"]

Shares = NDArray[np.float64]


def class_relation(X: ArrayLike, known_prototypes: ArrayLike, *, temperature: float = 0.1) -> Shares:
    """How much each row resembles each known class: "this new cluster is 0.6 tench, 0.3 trout".

    Parameters
    ----------
    X : array_like, shape (n, dim)
        Rows, or the means of new clusters.
    known_prototypes : array_like, shape (n_classes, dim)
        Such as ``NearestClassMean().fit(X, y).prototypes_``.
    temperature : float, default 0.1
        Divides the cosines before the softmax.

    Returns
    -------
    ndarray, shape (n, n_classes), float64
        Rows sum to 1.

    References
    ----------
    Gu et al., *Class-relation Knowledge Distillation for Novel Class Discovery*, ICCV 2023 (arXiv:2307.09158).

    Examples
    --------
    >>> class_relation([[3, 1]], [[1, 0], [0, 1]], temperature=1.0).round(2).tolist()
    [[0.65, 0.35]]
    """
    scale = as_temperature(temperature)
    rows = refuse_zero(check_embeddings(X))
    known = refuse_zero(check_embeddings(known_prototypes, "known_prototypes", dim=rows.shape[1]), "known_prototypes")
    return np.concatenate([softmax(similarities(part, known), scale) for part in batches(rows)])


def known_gate(probs: ArrayLike, n_known: int) -> Shares:
    """How much more each row is of known classes than the rows are on average; it weighs what known classes teach.

    Parameters
    ----------
    probs : array_like, shape (n, n_classes)
        Over known classes, which come first, and new ones.
    n_known : int

    Returns
    -------
    ndarray, shape (n,), float64
        The mean is 1.

    Examples
    --------
    >>> known_gate([[0.6, 0.2, 0.2], [0.1, 0.1, 0.8]], n_known=2).tolist()
    [1.6, 0.4]
    """
    shares = as_array(probs, "probs").astype(np.float64)
    if shares.ndim != 2 or not shares.size:
        raise InvalidArgumentError(f"probs has shape {shares.shape}, expected (n, n_classes)")
    if as_count(n_known, "n_known") >= shares.shape[1]:
        raise InvalidArgumentError(f"n_known is {n_known}, expected fewer than the {shares.shape[1]} classes")
    known: Shares = shares[:, :n_known].sum(axis=1)
    if not known.mean() > 0:
        raise InvalidArgumentError("probs says that no row is of a known class, expected some share")
    return np.asarray(known / known.mean())


def sinkhorn_assign(scores: ArrayLike, *, n_iter: int = 3, epsilon: float = 0.05) -> Shares:
    """Spread rows over clusters so that each gets about the same share of them (Sinkhorn and Knopp).

    Parameters
    ----------
    scores : array_like, shape (n, n_clusters)
        Larger: fits better.
    n_iter : int, default 3
        Rounds of making columns, then rows, sum to what they should.
    epsilon : float, default 0.05
        Divides the scores: small, and each row goes to one cluster; large, and all are spread evenly.

    Returns
    -------
    ndarray, shape (n, n_clusters), float64
        Rows sum to 1; columns to ``n / n_clusters``, the nearer the more rounds.

    Warns
    -----
    UserWarning
        More clusters than rows: no row can be whole in one.

    Examples
    --------
    Three rows prefer the first cluster; it keeps the two that fit it best:

    >>> sinkhorn_assign([[1.0, 0.0], [0.9, 0.0], [0.6, 0.5], [0.1, 0.3]], n_iter=100).round(2).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    rounds, scale = as_count(n_iter, "n_iter"), as_temperature(epsilon, "epsilon")
    given = as_array(scores, "scores").astype(np.float64)
    if given.ndim != 2 or not given.size:
        raise InvalidArgumentError(f"scores has shape {given.shape}, expected (n, n_clusters)")
    if not np.isfinite(given).all():
        row, column = np.argwhere(~np.isfinite(given))[0]
        raise InvalidArgumentError(f"scores[{row}, {column}] is {given[row, column]}, expected finite numbers")
    n, n_clusters = given.shape
    if n_clusters > n:
        warnings.warn(f"scores has {n_clusters} clusters and {n} rows: clusters get less than a row each", stacklevel=2)
    # In logarithms, so that no exp overflows however small epsilon is.
    logs = given / scale
    for _ in range(rounds):
        logs = logs - log_sum(logs, axis=0) + np.log(n / n_clusters)
        logs = logs - log_sum(logs, axis=1)
    shares: Shares = np.exp(logs)
    return shares


def log_sum(logs: Shares, axis: int) -> Shares:
    """log(sum(exp(logs))) along `axis`, kept as an axis of length 1."""
    largest = logs.max(axis=axis, keepdims=True)
    total: Shares = largest + np.log(np.exp(logs - largest).sum(axis=axis, keepdims=True))
    return total
