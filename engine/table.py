"""Typed columns beside the rows of a collection, and which rows a predicate lets pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .columns import STORED, TypedColumn, typed, typed_columns
from .exceptions import InvalidArgumentError
from .filters import PredicateCache, Schema, count

__all__ = ["Table", "as_array_of", "loaded", "plain_values", "some"]


class Table:
    """Rows of typed, nullable values.

    Parameters
    ----------
    schema : mapping of names to types, optional
        Columns to begin with. Others come with the first values they get.

    Attributes
    ----------
    version : int
        Grows with every change.
    """

    def __init__(self, schema: Schema | None = None) -> None:
        self._core = _core.Attributes()
        self._cache = PredicateCache()
        self.version = 0
        for name, column in typed_columns({}, 0, schema=schema).items():
            self._core.add_column(name, column.type)

    @property
    def schema(self) -> Schema:
        return self._core.schema

    @property
    def nbytes(self) -> int:
        return self._core.nbytes()

    def __len__(self) -> int:
        return len(self._core)

    def __reduce__(self) -> tuple[Any, ...]:
        return filled, (self.schema, {name: self.take(name) for name in self.schema}, len(self), self.version)

    def __contains__(self, name: object) -> bool:
        return name in self._core.schema

    def typed(self, attributes: Any, n: int) -> dict[str, TypedColumn]:
        """`attributes` as columns of `n` rows, of the types that are known here and as they are where none is."""
        return typed_columns(attributes, n, schema=self.schema, partial=True)

    def append(self, n: int, columns: Mapping[str, TypedColumn]) -> None:
        """Add `n` rows, NULL where `columns` has no column; all or none."""
        self._take_in(columns)
        self._core.append(n, {name: (column.values, column.nulls) for name, column in columns.items()})
        self.version += 1

    def set(self, rows: NDArray[np.int64], columns: Mapping[str, TypedColumn]) -> None:
        """Other values for `rows`; all or none."""
        self._take_in(columns)
        before = {name: self._core.take(name, rows) for name in columns}
        self.version += 1
        try:
            for name, column in columns.items():
                self._core.set(name, rows, (column.values, column.nulls))
        except BaseException:
            for name, data in before.items():
                self._core.set(name, rows, data)
            raise

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Remove `rows`, from the last to the first; the last row then takes the place of each."""
        self._core.drop(rows)
        self.version += 1

    def where(self, predicate: object) -> _core.Bitmap:
        """The rows for which `predicate` is true; kept until a change."""
        return self._cache.resolve(predicate, self._core, self.version)

    def count(self, predicate: object) -> int:
        return count(predicate, self._core)

    def take(self, name: str, rows: ArrayLike | None = None) -> TypedColumn:
        """Values of some rows, or of all."""
        wanted = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        return TypedColumn(self.schema[name], *self._core.take(name, wanted))

    def _take_in(self, columns: Mapping[str, TypedColumn]) -> None:
        known = self.schema
        for name, column in columns.items():
            if known.get(name, column.type) != column.type:
                raise InvalidArgumentError(f"attributes[{name!r}] is {column.type}, expected {known[name]}")
        for name, column in columns.items():
            if name not in known:
                self._core.add_column(name, column.type)
                self.version += 1


def some(column: TypedColumn, rows: NDArray[np.int64]) -> TypedColumn:
    """A column of those rows."""
    values = column.values
    held = values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
    return TypedColumn(column.type, held, column.nulls[rows])


def filled(schema: Schema, columns: Mapping[str, TypedColumn], n: int, version: int = 0) -> Table:
    """A table of `n` rows."""
    table = Table(schema)
    table.append(n, columns)
    table.version = max(table.version, version)
    return table


def loaded(schema: Schema, columns: Mapping[str, list[Any]], n: int) -> Table:
    """The table that `plain_values` of its columns came from."""
    found = {}
    for name, kind in schema.items():
        values = columns[name]
        column = typed(f"columns[{name!r}]", (list(values), None), "int64" if kind == "timestamp" else kind)
        if len(column.nulls) != n:
            raise InvalidArgumentError(f"columns[{name!r}] has {len(column.nulls)} values, expected {n}")
        found[name] = column._replace(type=kind)
    return filled(schema, found, n)


def plain_values(column: TypedColumn) -> list[Any]:
    """As Python has them, None where NULL; timestamps are whole microseconds."""
    values = column.values.tolist() if isinstance(column.values, np.ndarray) else column.values
    return [None if null else value for value, null in zip(values, column.nulls.tolist(), strict=True)]


def as_array_of(column: TypedColumn) -> NDArray[Any]:
    """As an array: numbers and times in their dtype (NaN and NaT where NULL), str where all are; otherwise objects."""
    if column.type in ("float64", "timestamp"):
        array = np.array(column.values, STORED[column.type])
        array = array.view("datetime64[us]") if column.type == "timestamp" else array
        array[column.nulls] = "NaT" if column.type == "timestamp" else np.nan
        return array
    if not column.nulls.any():
        if column.type in STORED:
            return np.array(column.values, STORED[column.type])
        if column.type == "keyword" and not any(value.endswith("\0") for value in column.values):
            return np.array(column.values, np.str_)  # which drops NULs at the end
    return np.array([*plain_values(column), None], dtype=object)[:-1]  # the None keeps numpy from unpacking
