"""The one place where user input becomes C-order arrays, with helpful errors."""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .exceptions import InvalidArgumentError

__all__ = ["as_choice", "as_count", "as_finite", "as_ids", "as_mask", "as_matrix", "as_path", "as_threads"]

MAX_DIM = 65_536  # int32 sums of 8-bit products stay exact up to here


def show(value: object, limit: int = 60) -> str:
    """`repr`, cut to fit an error message."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def as_choice(value: object, name: str, choices: tuple[str, ...]) -> str:
    """`value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected one of {', '.join(map(repr, choices))}")
    return value


def as_count(value: object, name: str, *, most: int = 2**31 - 1) -> int:
    """`value` as an int of at least 1; bools and floats are refused."""
    if isinstance(value, (bool, np.bool_)):
        raise InvalidArgumentError(f"{name} is {value!r}, expected an integer of at least 1")
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected an integer of at least 1") from None
    if not 1 <= count <= most:
        raise InvalidArgumentError(f"{name} is {count}, expected an integer from 1 to {most}")
    return count


def as_threads(value: object) -> int:
    """Number of threads to use: all the process may run on when `value` is None."""
    if value is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return as_count(value, "n_threads", most=1024)


def as_finite(value: object, name: str) -> float:
    """`value` as a finite float."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected a number") from None
    if not np.isfinite(number):
        raise InvalidArgumentError(f"{name} is {number}, expected a finite number")
    return number


def as_path(value: object, name: str = "path") -> str:
    """`value` as a file system path in text form."""
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected a path") from None
    path = os.fsdecode(path)
    if not path or "\0" in path:
        raise InvalidArgumentError(f"{name} is {show(path)}, expected a path")
    return path


def as_array(value: object, name: str) -> NDArray[Any]:
    """`value` as a numeric array, whatever its shape; a clear error for everything numpy would misread."""
    if np.ma.isMaskedArray(value):
        raise InvalidArgumentError(f"{name} is a masked array; fill it or drop the masked rows first")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError(f"{name} is not a rectangular array of numbers: {error}") from None
    if array.dtype == object and array.size and all(isinstance(x, (int, float, np.number)) for x in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiub" and not is_bfloat16(array.dtype):
        raise InvalidArgumentError(f"{name} has dtype {array.dtype}, expected real numbers (float16, float32, ...)")
    return array


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """True for the bfloat16 of ml_dtypes, which numpy itself does not have."""
    return dtype.name == "bfloat16"


def as_matrix(
    value: ArrayLike, name: str, *, dim: int | None = None, empty: bool = False, check: bool = True
) -> NDArray[np.float32]:
    """`value` as a (n, dim) float32 C-order matrix: a view if it already is one, one copy otherwise.

    A single vector becomes one row. Refused: other ranks, no columns, no rows unless `empty`, another `dim`, NaN, Inf,
    and numbers that float32 cannot hold. ``check=False`` leaves NaN and Inf to the core, which sees every number.
    """
    array = as_array(value, name)
    if array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2:
        raise InvalidArgumentError(f"{name} has shape {array.shape}, expected (n, dim) or (dim,)")
    if dim is not None and array.shape[1] != dim:
        raise InvalidArgumentError(f"{name} has dim {array.shape[1]}, expected {dim}")
    if not 1 <= array.shape[1] <= MAX_DIM:
        raise InvalidArgumentError(f"{name} has dim {array.shape[1]}, expected 1 to {MAX_DIM}")
    if not empty and not len(array):
        raise InvalidArgumentError(f"{name} has shape {array.shape}, expected at least one row")
    exact = array.dtype in (np.float32, np.float16)
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = np.require(np.asarray(array), np.float32, ["C", "A"])
    if check or not exact:
        finite = np.isfinite(matrix)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            given = array[row, column]
            expected = "a number within float32" if np.isfinite(given) else "finite numbers"
            raise InvalidArgumentError(f"{name}[{row}, {column}] is {given}, expected {expected}")
    return matrix


def as_ids(value: ArrayLike, name: str = "ids", *, n: int | None = None) -> NDArray[np.int64]:
    """`value` as a 1-D int64 array of non-negative numbers, `n` of them if given."""
    array = as_array(value, name)
    if array.ndim == 0:
        array = array[None]
    if array.ndim != 1:
        raise InvalidArgumentError(f"{name} has shape {array.shape}, expected one dimension")
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise InvalidArgumentError(f"{name} has dtype {array.dtype}, expected integers")
    if n is not None and len(array) != n:
        raise InvalidArgumentError(f"{name} has length {len(array)}, expected {n}")
    wrong = (array < 0) | (array > np.iinfo(np.int64).max)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidArgumentError(f"{name}[{row}] is {array[row]}, expected 0 to 2**63 - 1")
    return np.require(np.asarray(array), np.int64, ["C", "A"])


def as_mask(value: ArrayLike, n: int, name: str = "mask") -> NDArray[np.bool_]:
    """`value` as a bool array of length `n`."""
    array = np.asarray(value)
    if array.dtype != np.bool_:
        raise InvalidArgumentError(f"{name} has dtype {array.dtype}, expected bool")
    if array.shape != (n,):
        raise InvalidArgumentError(f"{name} has shape {array.shape}, expected ({n},): one entry a row")
    return np.ascontiguousarray(array)
