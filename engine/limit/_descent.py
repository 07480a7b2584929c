"""Steps of the optimiser in numpy: what the compiled form must agree with, and what runs without numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BETA_1", "BETA_2", "EPSILON", "descend"]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # Adam's own defaults

Matrix = NDArray[Any]


def descend(
    queries: Matrix,
    documents: Matrix,
    moments: tuple[Matrix, Matrix, Matrix, Matrix],
    qrels: NDArray[np.int64],
    losses: NDArray[np.float64],
    done: int,
    temperature: float,
    lr: float,
    summed: bool,
) -> None:
    """As many steps of Adam as `losses` has places, all in place.

    Parameters
    ----------
    queries, documents : ndarray, shape (m, d) and (n, d)
        Unit rows, and so they stay.
    moments : tuple of ndarray
        First and second moments of the queries, then of the documents.
    qrels : ndarray, shape (m, k), int64
    losses : ndarray, shape (n_steps,), float64
        Gets the loss before each step.
    done : int
        Steps before these.
    temperature, lr : float
    summed : bool
        The loss of a query is -log of the sum of its relevant documents' softmax, not the mean of their -logs.
    """
    for i in range(len(losses)):
        scores = queries @ documents.T
        losses[i] = softmax_gradient(scores, qrels, temperature, summed)
        of_queries, of_documents = scores @ documents, scores.T @ queries
        adam(queries, of_queries, moments[0], moments[1], done + i + 1, lr)
        adam(documents, of_documents, moments[2], moments[3], done + i + 1, lr)


def softmax_gradient(scores: Matrix, qrels: NDArray[np.int64], temperature: float, summed: bool) -> float:
    """Replace `scores` by the gradient of the loss by them; the loss."""
    scores -= scores.max(axis=1, keepdims=True)
    scores /= temperature
    own = np.take_along_axis(scores, qrels, axis=1)
    np.exp(scores, out=scores)
    totals = scores.sum(axis=1, keepdims=True)
    if summed:
        target = np.exp(own)
        shares = target.sum(axis=1, keepdims=True)
        loss = np.log(totals / shares).mean()
        target /= shares
    else:
        loss = np.log(totals).mean() - own.mean()
        target = np.full_like(own, 1 / own.shape[1])
    scores /= totals
    np.put_along_axis(scores, qrels, np.take_along_axis(scores, qrels, axis=1) - target, axis=1)
    scores /= len(scores) * temperature
    return float(loss)


def adam(rows: Matrix, gradient: Matrix, first: Matrix, second: Matrix, step: int, lr: float) -> None:
    """One step on unit `rows`; they are scaled back to unit length, the moments are left alone."""
    first += (1 - BETA_1) * (gradient - first)
    second += (1 - BETA_2) * (gradient * gradient - second)
    rows -= (lr / (1 - BETA_1**step)) * first / (np.sqrt(second / (1 - BETA_2**step)) + EPSILON)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
