"""The one place where user input becomes C-order arrays, with helpful errors."""

from __future__ import annotations

import json
import math
import operator
import os
from contextlib import suppress
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .exceptions import InvalidArgumentError

__all__ = [
    "as_array",
    "as_choice",
    "as_count",
    "as_finite",
    "as_flag",
    "as_ids",
    "as_json",
    "as_k",
    "as_mask",
    "as_matrix",
    "as_numpy",
    "as_path",
    "as_positive",
    "as_share",
    "as_threads",
    "refuse_infinite",
]

MAX_DIM = 65_536  # int32 sums of 8-bit products stay exact up to here
FLOAT32 = np.dtype(np.float32)
PLACE_BYTES = 12  # of a result: an int64 and a float32
REAL = (int, float, np.integer, np.floating, np.bool_)  # what an array of objects may hold


def show(value: object, limit: int = 60) -> str:
    """`repr`, cut to fit an error message."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def as_choice(value: object, name: str, choices: tuple[str, ...]) -> str:
    """`value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected one of {', '.join(map(repr, choices))}")
    return choices[choices.index(value)]  # a str, whatever else `value` is


def as_count(value: object, name: str, *, most: int = 2**31 - 1) -> int:
    """`value` as an int of at least 1; bools and floats are refused."""
    if type(value) is int and 1 <= value <= most:
        return value
    if isinstance(value, (bool, np.bool_)):
        raise InvalidArgumentError(f"{name} is {value!r}, expected an integer of at least 1")
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected an integer of at least 1") from None
    if not 1 <= count <= most:
        raise InvalidArgumentError(f"{name} is {count}, expected an integer from 1 to {most}")
    return count


def as_k(value: object, n_queries: int) -> int:
    """`value` as a number of neighbours; results that alone would take more than half of the memory are refused."""
    k = as_count(value, "k")
    n_bytes = PLACE_BYTES * n_queries * k
    if n_bytes > 2**28 and n_bytes > memory_bytes() // 2:
        most = memory_bytes() // 2 // PLACE_BYTES // n_queries
        raise InvalidArgumentError(
            f"k is {k}, expected at most {most} for {n_queries} queries: the results alone would take {n_bytes} bytes, "
            "more than half of the memory"
        )
    return k


@cache
def memory_bytes() -> int:
    """Memory of the machine, or of the container that this process runs in."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2 and 1 of control groups
        with suppress(OSError, ValueError):
            sizes.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(sizes)


def as_threads(value: object) -> int:
    """Number of threads to use: all the process may run on when `value` is None."""
    if value is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return as_count(value, "n_threads", most=1024)


def as_finite(value: object, name: str) -> float:
    """`value` as a finite float; bools, texts and complex numbers are refused."""
    number = value if type(value) is float else as_float(value, name)
    if not math.isfinite(number):
        raise InvalidArgumentError(f"{name} is {number}, expected a finite number")
    return number


def as_float(value: object, name: str) -> float:
    """`value` as a float, which may be infinite or NaN."""
    plain = value.item() if getattr(value, "ndim", None) == 0 else value  # type: ignore[attr-defined]
    try:
        if isinstance(plain, bool) or not isinstance(plain, Real):
            raise TypeError
        return float(plain)
    except (TypeError, OverflowError):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected a number") from None


def as_positive(value: object, name: str) -> float:
    """`value` as a finite number above 0."""
    number = as_finite(value, name)
    if number <= 0:
        raise InvalidArgumentError(f"{name} is {number}, expected a number above 0")
    return number


def as_share(value: object, name: str) -> float:
    """`value` as a number from 0 to 1."""
    share = as_finite(value, name)
    if not 0 <= share <= 1:
        raise InvalidArgumentError(f"{name} is {share}, expected a number from 0 to 1")
    return share


def as_flag(value: object, name: str) -> bool:
    """`value` as a bool; anything else, even 0 and 1, is more likely a mistake."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected True or False")
    return bool(value)


def as_json(value: object, name: str) -> str:
    """`value` as JSON; refused if reading it would not give the same."""
    try:
        text = json.dumps(value, allow_nan=False)
        same = json.loads(text) == value
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{name} cannot be written as JSON: {error}") from None
    if not same:
        raise InvalidArgumentError(f"{name} changes on the way through JSON: use str keys and lists, no tuples")
    return text


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


def as_numpy(value: object, name: str, what: str = "a rectangular array of numbers", dtype: Any = None) -> NDArray[Any]:
    """`value` as an array of whatever it holds; masked arrays, whose mask would be lost, are refused."""
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidArgumentError(f"{name} is a masked array; fill it or drop the masked rows first")
    try:
        return np.asarray(value, dtype)
    except (ValueError, TypeError, RuntimeError) as error:  # the last from tensors that need their gradient
        raise InvalidArgumentError(f"{name} is not {what}: {error}") from None


def as_array(value: object, name: str) -> NDArray[Any]:
    """`value` as a numeric array, whatever its shape; a clear error for everything numpy would misread."""
    array = as_numpy(value, name)
    if array.dtype.kind == "O" and array.size and all(isinstance(x, REAL) for x in array.flat):
        try:
            array = array.astype(np.float64)
        except OverflowError:
            raise InvalidArgumentError(f"{name} holds an integer that no float can hold") from None
    if array.dtype.kind not in "fiub" and not is_bfloat16(array.dtype):
        raise InvalidArgumentError(f"{name} has dtype {array.dtype}, expected real numbers (float16, float32, ...)")
    return array


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """True for the bfloat16 of ml_dtypes, which numpy itself does not have."""
    return dtype.name == "bfloat16"


def as_matrix(value: ArrayLike, name: str, *, dim: int | None = None, check: bool = True) -> NDArray[np.float32]:
    """`value` as a (n, dim) float32 C-order matrix: a view if it already is one, one copy otherwise.

    A single vector becomes one row. Refused: other ranks, no columns, no rows, another `dim`, NaN, Inf,
    and numbers that float32 cannot hold. ``check=False`` leaves the last three to the core, which sees every number it
    needs; `refuse_infinite` then says which one it was.
    """
    # Nothing needs to be read into what is float32 already: a search of one query is over in few microseconds.
    plain = type(value) is np.ndarray and value.dtype == FLOAT32
    array: NDArray[Any] = value if plain else as_array(value, name)  # type: ignore[assignment]
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise InvalidArgumentError(f"{name} has shape {array.shape}, expected (n, dim) or (dim,)")
    n, n_columns = array.shape
    if dim is not None and n_columns != dim:
        raise InvalidArgumentError(f"{name} has dim {n_columns}, expected {dim}")
    if not 1 <= n_columns <= MAX_DIM:
        raise InvalidArgumentError(f"{name} has dim {n_columns}, expected 1 to {MAX_DIM}")
    if not n:
        raise InvalidArgumentError(f"{name} has shape {array.shape}, expected at least one row")
    matrix = array if plain and array.flags.carray else as_float32(array)
    if check and not np.isfinite(matrix).all():
        refuse_infinite(array, name)
    return matrix


def as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """`array` in float32 and C order, numbers beyond it as infinity."""
    flags = array.flags
    if array.dtype == FLOAT32 and flags.c_contiguous and flags.aligned:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(array, np.float32, ["C", "A"])


def refuse_infinite(value: ArrayLike, name: str, rows: NDArray[np.int64] | None = None) -> None:
    """Names the first number (of `rows`, if given) that is NaN, infinite, or too large for float32."""
    array = np.atleast_2d(as_array(value, name))
    finite = np.isfinite(as_float32(array if rows is None else array[rows]))
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    row = row if rows is None else rows[row]
    given = array[row, column]
    expected = "a number within float32" if np.isfinite(given) else "finite numbers"
    raise InvalidArgumentError(f"{name}[{row}, {column}] is {given}, expected {expected}")


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
    array = as_numpy(value, name, "a list of bools")
    if array.dtype != np.bool_:
        raise InvalidArgumentError(f"{name} has dtype {array.dtype}, expected bool")
    if array.shape != (n,):
        raise InvalidArgumentError(f"{name} has shape {array.shape}, expected ({n},): one entry a row")
    return np.ascontiguousarray(array)
