"""Predicates that users write as Python functions, compiled by numba."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import Bitmap
from .._validate import show
from ..exceptions import InvalidArgumentError, UnsupportedError
from .evaluate import Attributes, leaf_rows
from .predicate import Leaf, Predicate
from .schema import ColumnType, Schema, bound, column_type

__all__ = ["Block", "Udf", "udf"]

BLOCK_ROWS = 65_536
DTYPES: dict[ColumnType, type[np.generic]] = {
    "int64": np.int64,
    "float64": np.float64,
    "bool": np.bool_,
    "timestamp": np.int64,
}
# What numba compiles around the function: `addresses` are those of the columns' first values.
BLOCK = """
def block(addresses, n, passes):
    columns = carray(addresses, {n_columns})
    {arrays}
    out = carray(passes, n)
    row = 0
    try:
        for row in range(n):
            out[row] = function({values})
    except Exception:
        return row
    return -1
"""


def udf(function: Callable[..., bool], columns: Iterable[str]) -> Predicate:
    """A predicate from a function of one row, which numba compiles to machine code.

    Parameters
    ----------
    function : callable
        Takes a value of each column, returns a bool. Numbers come as int or float, bools as bool, timestamps as
        microseconds since the epoch (int); what numba's nopython mode knows may be used.
    columns : list of str
        Names of the columns, in the order of the function's parameters: int64, float64, bool or timestamp.

    Returns
    -------
    Predicate
        To combine with others. Unknown where any of the columns is NULL; the function does not see these rows. Equal
        only to a predicate of the same function and columns. Its ``repr`` names the function.

    Raises
    ------
    InvalidArgumentError
        The function does not take as many values; when the predicate is used: a column of keywords, a function that
        numba cannot compile, that returns no bool, or that raises for a row (dividing by zero does not).
    UnsupportedError
        numba is not installed.

    Notes
    -----
    Compiled once (0.5 s, about) for a function and the types of its columns; then on the order of 1 ns a row.

    Examples
    --------
    >>> import engine
    >>> def affordable(price, stock):
    ...     return price * stock < 1000.0
    >>> engine.udf(affordable, columns=["price", "stock"]) & (engine.col("section") == "net")
    udf(affordable, columns=['price', 'stock']) & (col('section') == 'net')
    """
    if find_spec("numba") is None:
        raise UnsupportedError("udf needs numba: pip install 'nearfield[jit]'")
    names = [columns] if isinstance(columns, str) else columns
    names = tuple(names) if isinstance(names, Iterable) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidArgumentError(f"columns is {show(columns)}, expected names of columns")
    plain = getattr(function, "py_func", function)  # of a function that numba has compiled already
    if not inspect.isfunction(plain):
        raise InvalidArgumentError(f"function is {show(function)}, expected a Python function")
    try:
        inspect.signature(plain).bind(*names)
    except TypeError as error:
        raise InvalidArgumentError(f"function {plain.__name__} does not take {len(names)} values: {error}") from None
    return Udf(names[0], plain, names)


@dataclass(frozen=True, eq=False, repr=False)
class Udf(Leaf):
    """A function of a row's values is true."""

    function: Callable[..., bool]
    arguments: tuple[str, ...]

    @property
    def payload(self) -> tuple[Any, ...]:
        return self.arguments, id(self.function)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.arguments))

    @property
    def source(self) -> str:
        return f"{'~' * self.negated}udf({self.function.__name__}, columns={list(self.arguments)})"

    def block(self, schema: Schema) -> Block:
        """Compiled for the types of the columns."""
        for name in self.names:
            kind = column_type(name, schema)
            if kind not in DTYPES:
                raise InvalidArgumentError(
                    f"{show(self)}: the column {name!r} is {kind}, expected {', '.join(DTYPES)}; compare keywords by "
                    f"col({name!r}) and combine both by &"
                )
        return compiled(self.function, tuple(DTYPES[schema[name]] for name in self.arguments))


class Block:
    """A function compiled over arrays.

    Attributes
    ----------
    address : int
        Of ``int64_t block(const void* const* columns, int64_t n, bool* passes)``, which fills `passes` and returns -1,
        or the row for which the function raised. Callable from any thread, without Python.
    """

    def __init__(self, code: Any) -> None:
        self._code = code  # keeps the machine code
        self.address: int = code.address
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
        self._call = prototype(self.address)

    def __call__(self, columns: list[NDArray[Any]]) -> tuple[NDArray[np.bool_], int]:
        """Where the function is true, and the row for which it raised (-1: none). C-order arrays of one length."""
        addresses = np.array([column.ctypes.data for column in columns], np.uintp)
        passes = np.zeros(len(columns[0]), np.bool_)
        return passes, self._call(addresses.ctypes.data, len(passes), passes.ctypes.data)


@lru_cache(maxsize=256)
def compiled(function: Callable[..., bool], dtypes: tuple[type[np.generic], ...]) -> Block:
    """`function` over blocks of rows of these types."""
    import numba
    from numba import types

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def as_pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], numba.core.cgutils.voidptr_t)

        return types.voidptr(types.uintp), generate

    n_columns = range(len(dtypes))
    names: dict[str, Any] = {"carray": numba.carray, "as_pointer": as_pointer}
    names.update((f"dtype{i}", dtype) for i, dtype in enumerate(dtypes))
    source = BLOCK.format(
        n_columns=len(dtypes),
        arrays="; ".join(f"x{i} = carray(as_pointer(columns[{i}]), n, dtype{i})" for i in n_columns),
        values=", ".join(f"x{i}[row]" for i in n_columns),
    )
    of_types = tuple(numba.from_dtype(np.dtype(dtype)) for dtype in dtypes)
    try:
        row_function = numba.njit(error_model="numpy")(function)
        row_function.compile(of_types)
        gives = row_function.nopython_signatures[0].return_type
        if gives == types.boolean:
            names["function"] = row_function
            exec(source, names)
            signature = types.int64(types.CPointer(types.uintp), types.int64, types.CPointer(types.boolean))
            return Block(numba.cfunc(signature, nopython=True)(names["block"]))
    except Exception as error:  # numba's own and those of what runs while compiling
        reason = " ".join(str(error).split()[:40])
        raise InvalidArgumentError(f"numba cannot compile the function {function.__name__}: {reason}") from error
    raise InvalidArgumentError(f"the function {function.__name__} returns {gives}, expected bool")


@bound.register
def _(leaf: Udf, schema: Schema) -> Predicate:
    leaf.block(schema)
    return leaf


@leaf_rows.register
def _(leaf: Udf, attributes: Attributes) -> Bitmap:
    block = leaf.block(attributes.schema)
    mask = np.zeros(len(attributes), np.bool_)
    for start in range(0, len(mask), BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, len(mask)))
        taken = [attributes.take(name, rows) for name in leaf.arguments]
        known = ~np.logical_or.reduce([nulls for _, nulls in taken])
        values = [np.ascontiguousarray(np.asarray(column)[known]) for column, _ in taken]
        mask[rows[known]], failed = block(values)
        if failed >= 0:
            raise failure(leaf, [column[failed].item() for column in values], int(rows[known][failed]))
    return Bitmap(mask)


def failure(leaf: Udf, values: list[Any], row: int) -> InvalidArgumentError:
    """What the function raises for these values of `row`, told by the function itself."""
    try:
        leaf.function(*values)
        reason = "an error"
    except Exception as error:
        reason = repr(error)
    return InvalidArgumentError(f"the function {leaf.function.__name__} raised {reason} for row {row}: {show(values)}")
