"""Vectors at unit length, for metrics that compare directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_matrix
from ..exceptions import InvalidArgumentError

__all__ = ["unit_rows"]


def unit_rows(value: ArrayLike, name: str, *, dim: int | None = None) -> NDArray[np.float64]:
    """`value` as rows of unit length, shape (n, dim); rows of zeros, which have no direction, are refused."""
    rows = as_matrix(value, name, dim=dim).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise InvalidArgumentError(f"{name}[{int(np.argmin(lengths))}] is zero, which has no direction")
    unit: NDArray[np.float64] = rows / lengths
    return unit
