"""A network with at most one hidden layer, trained by Adam: in numpy, or the same in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from ._base import Matrix, ScoreClassifier, check_training, softmax

__all__ = ["NetworkClassifier"]

Self = TypeVar("Self", bound="NetworkClassifier")
Weights = list[Matrix]
BATCH = 32
DECAY, DECAY_SQUARES, EPSILON = 0.9, 0.999, 1e-8  # of Adam


class NetworkClassifier(ScoreClassifier):
    """Linear, ReLU, Linear; or one Linear alone, where `hidden` is None. Cross-entropy, Adam, batches of 32.

    Both backends start from the same weights and see the same batches, so they end at the same ones, up to rounding.
    """

    def __init__(
        self,
        hidden: int | None = 256,
        *,
        epochs: int = 50,
        lr: float = 1e-3,
        backend: Literal["numpy", "torch"] = "numpy",
        random_state: int | None = 0,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.lr = lr
        self.backend = backend
        self.random_state = random_state

    def fit(self: Self, X: ArrayLike, y: ArrayLike) -> Self:
        X, self.classes_, codes = check_training(X, y)
        rng = np.random.default_rng(self.random_state)
        widths = [X.shape[1], *([self.hidden] if self.hidden else []), len(self.classes_)]
        weights = [drawn(rng, rows, columns) for rows, columns in pairwise(widths)]
        order = [rng.permutation(len(X)) for _ in range(self.epochs)]
        steps = (rows[i : i + BATCH] for rows in order for i in range(0, len(rows), BATCH))
        train: Callable[..., Weights] = train_torch if self.backend == "torch" else train_numpy
        self.weights_ = train(X, codes, [part for layer in weights for part in layer], steps, self.lr)
        self.n_features_in_ = X.shape[1]
        return self

    def _score(self, X: Matrix) -> Matrix:
        return forward(X, self.weights_)[-1]


def drawn(rng: np.random.Generator, n_inputs: int, n_outputs: int) -> tuple[Matrix, Matrix]:
    """Weights and biases of a layer, uniform within 1 / sqrt(n_inputs), as torch begins."""
    limit = 1 / np.sqrt(n_inputs)
    weights = rng.uniform(-limit, limit, (n_inputs, n_outputs)).astype(np.float32)
    return weights, rng.uniform(-limit, limit, n_outputs).astype(np.float32)


def forward(X: Matrix, weights: Weights) -> list[Matrix]:
    """What goes into each layer, and the scores at the end."""
    values = [X]
    for i in range(0, len(weights), 2):
        scores = values[-1] @ weights[i] + weights[i + 1]
        values.append(scores if i + 2 == len(weights) else np.maximum(scores, 0))
    return values


def gradients(X: Matrix, codes: NDArray[np.int64], weights: Weights) -> Weights:
    """Of the mean cross-entropy, for each of `weights`."""
    values = forward(X, weights)
    error = softmax(values.pop()).astype(np.float32)
    error[np.arange(len(codes)), codes] -= 1
    error /= np.float32(len(codes))
    found: Weights = []
    for i in range(len(weights) - 2, -1, -2):
        inputs = values.pop()
        found[:0] = [inputs.T @ error, error.sum(axis=0)]
        error = (error @ weights[i].T) * (inputs > 0)
    return found


def train_numpy(
    X: Matrix, codes: NDArray[np.int64], weights: Weights, steps: Iterator[NDArray[np.int64]], lr: float
) -> Weights:
    means, squares = ([np.zeros_like(part) for part in weights] for _ in range(2))
    for step, rows in enumerate(steps, 1):
        rate = lr / (1 - DECAY**step)
        correction = np.sqrt(1 - DECAY_SQUARES**step)
        slopes = gradients(X[rows], codes[rows], weights)
        for part, slope, mean, square in zip(weights, slopes, means, squares, strict=True):
            mean += (1 - DECAY) * (slope - mean)
            square += (1 - DECAY_SQUARES) * (slope * slope - square)
            part -= (rate * mean / (np.sqrt(square) / correction + EPSILON)).astype(np.float32)
    return weights


def train_torch(
    X: Matrix, codes: NDArray[np.int64], weights: Weights, steps: Iterator[NDArray[np.int64]], lr: float
) -> Weights:
    torch: Any = require("torch", "backend='torch'", "encoders")
    inputs, targets = torch.from_numpy(np.array(X)), torch.from_numpy(codes)
    parts = [torch.from_numpy(part).requires_grad_() for part in weights]
    adam = torch.optim.Adam(parts, lr=lr, betas=(DECAY, DECAY_SQUARES), eps=EPSILON)
    for rows in steps:
        values = inputs[rows]
        for i in range(0, len(parts), 2):
            values = values @ parts[i] + parts[i + 1]
            values = values if i + 2 == len(parts) else values.relu()
        adam.zero_grad()
        torch.nn.functional.cross_entropy(values, targets[rows]).backward()
        adam.step()
    return [part.detach().numpy() for part in parts]
