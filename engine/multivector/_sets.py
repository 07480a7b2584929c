"""Sets of vectors as one matrix and offsets: what user input becomes, and sums over each set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_matrix, show
from ..exceptions import InvalidArgumentError

__all__ = ["Sets", "as_sets", "as_unit_set", "unit"]

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sets:
    """Set ``i`` is ``rows[offsets[i]:offsets[i + 1]]``; none is empty."""

    rows: Matrix
    offsets: NDArray[np.int64]

    def __getitem__(self, i: int) -> Matrix:
        return self.rows[self.offsets[i] : self.offsets[i + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each."""
        return np.diff(self.offsets)

    def take(self, listed: NDArray[np.int64]) -> Sets:
        """Some of them, in the order of `listed`."""
        sizes = self.sizes[listed]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[listed], sizes)
        return Sets(self.rows[places], offsets)


def as_sets(value: Any, name: str, *, dim: int | None = None) -> Sets:
    """A list of matrices, or a matrix and offsets, as `Sets` of finite float32 rows of one dim."""
    if isinstance(value, tuple) and len(value) == 2 and np.ndim(value[1]) == 1 and np.ndim(value[0]) == 2:
        rows = as_matrix(value[0], name, dim=dim)
        return Sets(rows, as_offsets(value[1], len(rows), name))
    if isinstance(value, np.ndarray) and value.ndim < 3:
        raise InvalidArgumentError(f"{name} has shape {value.shape}, expected a list of matrices, one for each item")
    try:
        parts = [as_matrix(part, f"{name}[{i}]", dim=dim) for i, part in enumerate(value)]
    except TypeError:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected a list of matrices") from None
    if not parts:
        raise InvalidArgumentError(f"{name} is empty, expected at least one set of vectors")
    for i, part in enumerate(parts):
        if part.shape[1] != parts[0].shape[1]:
            raise InvalidArgumentError(f"{name}[{i}] has dim {part.shape[1]}, expected {parts[0].shape[1]}")
    return Sets(np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))


def as_offsets(value: ArrayLike, n_rows: int, name: str) -> NDArray[np.int64]:
    offsets = as_array(value, f"offsets of {name}")
    if offsets.dtype.kind not in "iu" or len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != n_rows:
        raise InvalidArgumentError(
            f"offsets of {name} are {show(offsets.tolist())}, expected integers from 0 to {n_rows}: the number of rows"
        )
    if (wrong := np.diff(offsets) < 1).any():
        i = int(wrong.argmax())
        raise InvalidArgumentError(f"offsets of {name} go from {offsets[i]} to {offsets[i + 1]}, expected them to rise")
    return offsets.astype(np.int64)


def as_unit_set(value: ArrayLike, name: str, *, dim: int | None = None) -> NDArray[np.float64]:
    """One set at unit length in float64."""
    return unit(as_matrix(value, name, dim=dim).astype(np.float64), name)


def unit(rows: NDArray[Any], name: str) -> NDArray[Any]:
    """Rows divided by their lengths; a zero row has no direction."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64, casting="safe"))
    if not lengths.all():
        raise InvalidArgumentError(f"row {int(lengths.argmin())} of {name} is zero, expected a direction")
    return np.asarray(np.divide(rows, lengths[:, None], dtype=rows.dtype, casting="same_kind"))
