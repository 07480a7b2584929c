"""What all vectors of a set have in common, and taking it away."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._validate import as_count, as_matrix
from engine.exceptions import NotBuiltError

from .base import Vectors

__all__ = ["AllButTheTop", "principal"]

Self = TypeVar("Self", bound="AllButTheTop")


class AllButTheTop:
    """Take away what all vectors share: their mean, and their `n_components` largest principal directions.

    Parameters
    ----------
    n_components : int, optional
        Default: a hundredth of the dim, at least 1.

    Attributes
    ----------
    mean_ : ndarray, shape (dim,), float64
    components_ : ndarray, shape (n_components, dim), float64
        Orthonormal.

    References
    ----------
    Mu & Viswanath, *All-but-the-Top: Simple and Effective Postprocessing for Word Representations*, ICLR 2018
    (arXiv:1702.01417).

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 4)) + [9, 0, 0, 0]
    >>> top = AllButTheTop(1).fit(X)
    >>> bool(abs(top.transform(X) @ top.components_.T).max() < 1e-5)
    True
    """

    def __init__(self, n_components: int | None = None) -> None:
        self.n_components = n_components

    def fit(self: Self, X: ArrayLike, y: Any = None) -> Self:
        """Find them, in `X`, shape (n, dim); `y` is not used."""
        rows = as_matrix(X, "X").astype(np.float64)
        most = rows.shape[1] - 1
        n = max(1, rows.shape[1] // 100) if self.n_components is None else self.n_components
        n = as_count(n, "n_components", most=max(most, 1))
        self.mean_ = rows.mean(axis=0)
        self.components_ = principal(rows - self.mean_, n)
        return self

    def transform(self, X: ArrayLike) -> Vectors:
        """`X` without them, shape (n, dim), float32."""
        if not hasattr(self, "mean_"):
            raise NotBuiltError("AllButTheTop is not fitted: call fit first")
        centred = as_matrix(X, "X", dim=len(self.mean_)) - self.mean_
        without: Vectors = (centred - centred @ self.components_.T @ self.components_).astype(np.float32)
        return without

    def fit_transform(self, X: ArrayLike, y: Any = None) -> Vectors:
        """As `fit`, then `transform`."""
        return self.fit(X).transform(X)


def principal(rows: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The `n` directions in which `rows`, as they are, are longest, shape (n, dim)."""
    directions: NDArray[np.float64] = np.linalg.eigh(rows.T @ rows)[1][:, ::-1].T[:n]
    return directions
