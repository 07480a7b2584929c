"""Typed columns of attributes, from whatever holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ._arrow import Raw, arrow_array, arrow_columns
from ._validate import as_choice, show
from .exceptions import InvalidArgumentError
from .filters.schema import ColumnType, Schema
from .filters.values import as_time, microseconds

__all__ = ["TypedColumn", "loaded", "typed_columns"]

TYPES: tuple[str, ...] = get_args(ColumnType)
OF_DTYPE: dict[str, ColumnType] = {"b": "bool", "i": "int64", "u": "int64", "f": "float64", "M": "timestamp"}
STORED: dict[ColumnType, type[np.generic]] = {
    "int64": np.int64,
    "float64": np.float64,
    "bool": np.bool_,
    "timestamp": np.int64,
}
FILL: dict[ColumnType, Any] = {"keyword": "", "keywords": (), "int64": 0, "float64": 0.0, "bool": False, "timestamp": 0}
# What a schema may ask of values that look like another type.
CONVERTS = {("int64", "float64"), ("keyword", "timestamp")}


class TypedColumn(NamedTuple):
    """Values of one type.

    Attributes
    ----------
    type : {"keyword", "int64", "float64", "bool", "timestamp", "keywords"}
    values : ndarray or list
        Shape (n,): int64, float64, bool, or int64 microseconds since the epoch (UTC); for keywords a list of str, for
        sets of keywords a list of tuples of distinct str. Without meaning where `nulls`.
    nulls : ndarray, shape (n,), bool
        True where there is no value.
    """

    type: ColumnType
    values: NDArray[Any] | list[Any]
    nulls: NDArray[np.bool_]

    def some(self, rows: NDArray[np.int64]) -> TypedColumn:
        """Those rows of it."""
        values = self.values
        held = values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
        return TypedColumn(self.type, held, self.nulls[rows])

    def plain(self) -> list[Any]:
        """As Python has the values, None where NULL; timestamps are whole microseconds."""
        values = self.values.tolist() if isinstance(self.values, np.ndarray) else self.values
        return [None if null else value for value, null in zip(values, self.nulls.tolist(), strict=True)]

    def array(self) -> NDArray[Any]:
        """Numbers and times in their dtype (NaN and NaT where NULL), str where all are; otherwise objects."""
        if self.type in ("float64", "timestamp"):
            array = np.array(self.values, STORED[self.type])
            array = array.view("datetime64[us]") if self.type == "timestamp" else array
            array[self.nulls] = "NaT" if self.type == "timestamp" else np.nan
            return array
        if not np.count_nonzero(self.nulls):
            if self.type in STORED:
                return np.array(self.values, STORED[self.type])
            if self.type == "keyword" and not any_ends_in_nul(self.values):
                return np.array(self.values, np.str_)  # which drops NULs at the end
        return np.array([*self.plain(), None], dtype=object)[:-1]  # the None keeps numpy from unpacking


def any_ends_in_nul(values: NDArray[Any] | list[Any]) -> bool:
    """Seldom is there one at all, which is seen at once."""
    return "\0" in "".join(values) and any(value.endswith("\0") for value in values)


def typed_columns(
    attributes: Any, n: int | None = None, *, schema: Schema | None = None, partial: bool = False
) -> dict[str, TypedColumn]:
    """`attributes` as columns of the types that filters know.

    Parameters
    ----------
    attributes : mapping, list of dicts, DataFrame or Arrow table
        Names with a sequence of values each (lists, arrays, pandas or polars series); or one dict a row, in which names
        may be missing; or a pandas or polars DataFrame; or anything with ``__arrow_c_stream__``.
    n : int, optional
        Number of rows that there must be.
    schema : mapping of names to types, optional
        Types of the columns; one that `attributes` lacks is NULL everywhere. Default: as the values are. Whole numbers
        among floats are floats; a column without values is of keywords.
    partial : bool, default False
        `schema` names some columns: others are as their values are, and those that `attributes` lacks are left out.

    Returns
    -------
    dict of str to TypedColumn

    Raises
    ------
    InvalidArgumentError
        Columns of unequal length, values of more than one type in a column (with the rows of both), values of a type
        that there is no column for, numbers beyond int64, NaN and Inf, columns that `schema` lacks.
    UnsupportedError
        An Arrow table where nanoarrow is not installed.

    Notes
    -----
    None is NULL; so is NaN in a pandas series, NaT, and null in Arrow. Times without a zone are taken as UTC; what they
    have beyond microseconds is cut off.

    Examples
    --------
    >>> from engine.columns import typed_columns
    >>> columns = typed_columns([{"year": 2020, "tags": ["new", "red"]}, {"year": None, "tags": []}])
    >>> columns["year"].type, columns["year"].values.tolist(), columns["year"].nulls.tolist()
    ('int64', [2020, 0], [False, True])
    >>> columns["tags"].type, columns["tags"].values
    ('keywords', [('new', 'red'), ()])
    """
    for name, kind in (schema or {}).items():
        as_choice(kind, f"schema[{name!r}]", TYPES)
    if isinstance(attributes, list) and n is not None and len(attributes) != n:
        raise InvalidArgumentError(f"attributes has {len(attributes)} rows, expected {n}")
    raw: dict[str, Raw] = {}
    for name, values in named(attributes, schema):
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"attributes has the key {show(name)}, expected a name")
        if name in raw:
            raise InvalidArgumentError(f"attributes has two columns {name!r}")
        if schema is not None and name not in schema and not partial:
            raise InvalidArgumentError(
                f"attributes has the column {name!r}, expected those of the schema: {list(schema)}"
            )
        raw[name] = values
        n = len(values[0]) if n is None else n
        if len(values[0]) != n:
            raise InvalidArgumentError(f"attributes[{name!r}] has {len(values[0])} values, expected {n}")
    types = schema or {}
    for name in () if partial else types:
        raw.setdefault(name, ([None] * (n or 0), None))
    names = raw if schema is None or partial else schema
    return {name: typed(f"attributes[{name!r}]", raw[name], types.get(name)) for name in names}


def named(attributes: Any, schema: Schema | None) -> Iterable[tuple[Any, Raw]]:
    """The columns as they come, with their names."""
    if attributes is None:
        return []
    if isinstance(attributes, Mapping):
        return [(name, sequence(f"attributes[{show(name)}]", values)) for name, values in attributes.items()]
    if hasattr(attributes, "iloc") and hasattr(attributes, "items"):  # pandas, without importing it
        return [(name, sequence(f"attributes[{show(name)}]", series)) for name, series in attributes.items()]
    if hasattr(attributes, "__arrow_c_stream__"):
        return arrow_columns(attributes, "attributes")
    if isinstance(attributes, Sequence) and not isinstance(attributes, (str, bytes)):
        names: dict[Any, None] = {}
        for row, values in enumerate(attributes):
            if not isinstance(values, Mapping):
                raise InvalidArgumentError(f"attributes[{row}] is {show(values)}, expected a dict of names and values")
            names.update(dict.fromkeys(values))
        return [(name, ([row.get(name) for row in attributes], None)) for name in names]
    raise InvalidArgumentError(
        f"attributes is {show(attributes)}, expected a dict of columns, a list of dicts, a DataFrame or an Arrow table"
    )


def sequence(where: str, values: Any) -> Raw:
    """One column: an array of numbers with its nulls, or a list."""
    if hasattr(values, "isna") and hasattr(values, "to_numpy"):
        return from_pandas(values)
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"):
        return arrow_array(values, where)
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise InvalidArgumentError(f"{where} is {show(values)}, expected one value a row")
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidArgumentError(f"{where} is a masked array, expected one without a mask, or a list with None")
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise InvalidArgumentError(f"{where} has shape {values.shape}, expected one dimension")
        if values.dtype.kind in OF_DTYPE:
            return values, np.isnat(values) if values.dtype.kind == "M" else np.zeros(len(values), np.bool_)
    return list(values), None


def from_pandas(series: Any) -> Raw:
    nulls = np.asarray(series.isna(), np.bool_)
    kind = getattr(series.dtype, "kind", "O")
    if kind == "M":
        return np.asarray(series.to_numpy("datetime64[us]")), nulls
    if kind in OF_DTYPE:
        return np.asarray(series.to_numpy(f"{kind}{1 if kind == 'b' else 8}", na_value=0)), nulls
    values = series.to_numpy(object)
    return [None if missing else value for value, missing in zip(values, nulls, strict=True)], None


def typed(where: str, raw: Raw, wanted: ColumnType | None) -> TypedColumn:
    """A column in its own type, or in the one `wanted`."""
    values, given = raw
    found: ColumnType | None
    if isinstance(values, np.ndarray):
        nulls, found = np.asarray(given), OF_DTYPE[values.dtype.kind]
    else:
        nulls, found = np.array([value is None for value in values], np.bool_), one_type(where, values)
    kind = wanted or found or "keyword"
    if nulls.all():
        held: Any = [FILL[kind]] * len(nulls)
    elif found is None or (found != kind and (found, kind) not in CONVERTS):
        row = int(np.argmin(nulls))
        raise InvalidArgumentError(f"{where}[{row}] is {show(values[row])} ({found}), expected {kind} as in the schema")
    elif isinstance(values, np.ndarray):
        held = from_array(where, values, nulls, kind)
    else:
        convert = CONVERT[kind]
        held = [FILL[kind] if value is None else convert(where, row, value) for row, value in enumerate(values)]
    return TypedColumn(kind, np.asarray(held, STORED[kind]) if kind in STORED else held, nulls)


def type_of(python_type: type) -> ColumnType | None:
    """The type of the column that values of a Python type make."""
    return next((kind for types, kind in PYTHON if issubclass(python_type, types)), None)


PYTHON: tuple[tuple[tuple[type, ...], ColumnType], ...] = (
    ((bool, np.bool_), "bool"),
    ((int, np.integer), "int64"),
    ((float, np.floating), "float64"),
    ((str,), "keyword"),
    ((date, np.datetime64), "timestamp"),
    ((list, tuple, set, frozenset, np.ndarray), "keywords"),
)


def one_type(where: str, values: list[Any]) -> ColumnType | None:
    """The type of all values; None where there are none."""
    kinds = {type_of(python_type) for python_type in set(map(type, values)) - {type(None)}}
    if len(kinds) <= 1 and None not in kinds:
        return next(iter(kinds), None)
    rows: dict[ColumnType, int] = {}  # the first of each type
    for row, value in enumerate(values):
        kind = value if value is None else type_of(type(value))
        if kind is not None:
            rows.setdefault(kind, row)
        elif value is not None:
            expected = "a str, int, float, bool, datetime, list of str or None"
            raise InvalidArgumentError(f"{where}[{row}] is {show(value)}, expected {expected}")
        if len(rows) > 1 and rows.keys() != {"int64", "float64"}:
            (first, at), *_ = rows.items()
            raise InvalidArgumentError(
                f"{where}[{row}] is {show(value)} ({kind}), but {where}[{at}] is {show(values[at])} ({first}): "
                "expected one type in a column"
            )
    return "float64"


def from_array(where: str, values: NDArray[Any], nulls: NDArray[np.bool_], kind: ColumnType) -> NDArray[Any]:
    """`values` in the dtype of `kind`, with the fill where `nulls`."""
    if values.dtype.kind == "M":
        held = values.astype("datetime64[us]")
        coarse = np.datetime_data(values.dtype)[0] not in ("ns", "ps", "fs", "as")
        refuse(where, values, ~nulls & (held.astype(values.dtype) != values) & coarse, "a time that int64 can hold")
        held = held.astype(np.int64)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            held = values.astype(STORED[kind])
            rounded = values.dtype.kind in "iu" and kind == "float64"
            same = held.astype(values.dtype) == values if rounded else (held < 0) == (values < 0)
        refuse(where, values, ~nulls & ~(same & np.isfinite(held)), f"a finite number that {kind} can hold")
    held[nulls] = FILL[kind]
    return held


def refuse(where: str, values: NDArray[Any], wrong: Any, expected: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidArgumentError(f"{where}[{row}] is {values[row]}, expected {expected}")


def as_keyword(where: str, row: int, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{where}[{row}] has {show(value)}, expected keywords (str)")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"{where}[{row}] is {show(value)}, expected text that UTF-8 can hold") from None
    return str(value)


def as_keywords(where: str, row: int, value: Any) -> tuple[str, ...]:
    members = sorted(value) if isinstance(value, (set, frozenset)) else value
    return tuple(dict.fromkeys(as_keyword(where, row, member) for member in members))


def as_integer(where: str, row: int, value: Any) -> int:
    if not -(2**63) <= value < 2**63:
        raise InvalidArgumentError(f"{where}[{row}] is {show(value)}, expected a number that int64 can hold")
    return int(value)


def as_float(where: str, row: int, value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number) or number != value:
        expected = (
            "a finite number, or None" if isinstance(value, (float, np.floating)) else "a number float64 can hold"
        )
        raise InvalidArgumentError(f"{where}[{row}] is {show(value)}, expected {expected}")
    return number


CONVERT: dict[ColumnType, Callable[[str, int, Any], Any]] = {
    "keyword": as_keyword,
    "keywords": as_keywords,
    "int64": as_integer,
    "float64": as_float,
    "bool": lambda where, row, value: bool(value),
    "timestamp": lambda where, row, value: microseconds(as_time(value, f"{where}[{row}]")),
}


def loaded(schema: Schema, columns: Mapping[str, list[Any]], n: int) -> dict[str, TypedColumn]:
    """The columns of `n` rows that `TypedColumn.plain` came from."""
    found = {}
    for name, kind in schema.items():
        values = columns[name]
        column = typed(f"columns[{name!r}]", (list(values), None), "int64" if kind == "timestamp" else kind)
        if len(column.nulls) != n:
            raise InvalidArgumentError(f"columns[{name!r}] has {len(column.nulls)} values, expected {n}")
        found[name] = column._replace(type=kind)
    return found
