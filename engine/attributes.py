"""Typed columns beside vectors, and the rows for which a predicate is true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._validate import show
from .columns import TypedColumn, named, typed_columns
from .exceptions import InvalidArgumentError
from .filters import ColumnType, PredicateCache, Schema, count

__all__ = ["Attributes", "as_names", "filled"]


class Attributes:
    """Typed columns, any cell of which may be NULL, and the rows for which a predicate is true.

    Parameters
    ----------
    attributes : mapping, list of dicts, DataFrame or Arrow table, optional
        The first rows: what `engine.columns.typed_columns` takes.
    schema : mapping of names to types, optional
        Types of the columns: "keyword", "int64", "float64", "bool", "timestamp" or "keywords" (a set of them). Default:
        as the values are. The first table says what columns there are; `add_column` adds more.

    Raises
    ------
    InvalidArgumentError
        Columns that are not of one type and length.

    Notes
    -----
    Threads may share it. Bitmaps of predicates are kept until rows or values change. What fails changes nothing.

    The first question to a column makes what later ones use, in O(n log n) for numbers and O(n) for others: the rows of
    each keyword, the rows sorted by their numbers. Then a keyword takes O(rows found + n / 64), a range no more than
    n / 16 steps, and either number of rows alone O(log n). Rows that changed since are corrected one by one; when they
    are a thirty-second of all, it is made anew. Beyond the values numbers cost 6 bytes a row, keywords 4 to 12:
    the more, the more of them differ.

    Examples
    --------
    >>> from engine import Attributes, col
    >>> attributes = Attributes({"year": [2019, 2021, None], "tags": [["new"], [], ["new", "red"]]})
    >>> attributes.where((col("year") > 2020) | col("tags").contains("red")).rows().tolist()
    [1, 2]
    >>> attributes.append([{"year": 2022}])
    >>> attributes.count("year >= 2021"), attributes.schema
    (2, {'year': 'int64', 'tags': 'keywords'})
    """

    def __init__(self, attributes: Any = None, *, schema: Schema | None = None) -> None:
        self._columns = _core.Attributes()
        self._cache = PredicateCache()
        self._version = 0
        self._lock = Lock()
        columns = typed_columns(attributes, schema=schema)
        self.append_typed(n_rows(columns), columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return filled, (self.schema, self.take(np.arange(len(self))), len(self), self.version)

    @property
    def schema(self) -> dict[str, Any]:
        """Names and types of the columns, in the order in which they were added."""
        return dict(self._columns.schema)

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the columns take, with what questions made; kept bitmaps are not counted."""
        return self._columns.nbytes()

    def add_column(self, name: str, column_type: ColumnType) -> None:
        """Add a column of `column_type`, NULL in all rows."""
        with self._lock:
            self._columns.add_column(name, column_type)
            self._version += 1

    def append(self, attributes: Any, n: int | None = None) -> None:
        """Add rows at the end.

        Parameters
        ----------
        attributes : mapping, list of dicts, DataFrame or Arrow table
            Columns that it lacks are NULL; where there are no columns yet, it says what they are.
        n : int, optional
            Number of rows that there must be.

        Raises
        ------
        InvalidArgumentError
            Columns that are not there, values of another type, a wrong number of rows.
        """
        columns = typed_columns(attributes, n, schema=self.schema or None)
        self.append_typed(n_rows(columns, n), columns)

    def update(self, rows: ArrayLike, attributes: Any) -> None:
        """Change the values of `rows` in those columns that `attributes` has.

        Parameters
        ----------
        rows : array_like of int, shape (n,)
            Where a row is given twice, the last value counts.
        attributes : mapping, list of dicts, DataFrame or Arrow table
            `n` rows. All are changed or none.

        Raises
        ------
        InvalidArgumentError
            Rows or columns that are not there, values of another type.
        """
        wanted = np.asarray(rows)
        names = {name for name, _ in named(attributes, None)}
        schema = {name: kind for name, kind in self.schema.items() if name in names}
        self.set_typed(wanted, typed_columns(attributes, len(wanted), schema=schema))

    def typed(self, attributes: Any, n: int) -> dict[str, TypedColumn]:
        """`attributes` as columns of `n` rows: of the types that are known here, others as their values are."""
        return typed_columns(attributes, n, schema=self.schema, partial=True)

    def append_typed(self, n: int, columns: Mapping[str, TypedColumn]) -> None:
        """Add `n` rows; columns that are not there yet are added."""
        with self._lock:
            target = self._columns
            if not target.schema:  # new columns stay out of sight until they hold their values
                target = _core.Attributes()
                target.append(len(self), {})
            add_missing(target, columns)
            target.append(n, {name: (column.values, column.nulls) for name, column in columns.items()})
            self._columns = target
            self._version += 1

    def set_typed(self, rows: NDArray[np.int64], columns: Mapping[str, TypedColumn]) -> None:
        """Change values of `rows`, in all of `columns` or none; columns that are not there yet are added."""
        with self._lock:
            add_missing(self._columns, columns)
            before = {name: self._columns.take(name, rows) for name in columns}
            self._version += 1
            try:
                for name, column in columns.items():
                    self._columns.set(name, rows, (column.values, column.nulls))
            except BaseException:
                for name, data in before.items():
                    self._columns.set(name, rows, data)
                raise

    def drop(self, rows: ArrayLike) -> None:
        """Drop `rows`, each given once: from the highest to the lowest, the last row takes the place of each."""
        with self._lock:
            self._columns.drop(np.asarray(rows))
            self._version += 1

    def truncate(self, n: int) -> None:
        """Keep the first `n` rows."""
        with self._lock:
            self._columns.truncate(n)
            self._version += 1

    def take(self, rows: ArrayLike, columns: str | Iterable[str] | None = None) -> dict[str, TypedColumn]:
        """The values of `rows` in some of the columns, or in all."""
        with self._lock:
            schema = self._columns.schema
            names = list(schema) if columns is None else as_names(columns, schema)
            wanted = np.asarray(rows)
            return {name: TypedColumn(schema[name], *self._columns.take(name, wanted)) for name in names}

    def where(self, predicate: object) -> _core.Bitmap:
        """The rows for which `predicate` is true: neither false nor unknown.

        Parameters
        ----------
        predicate : Predicate, str or dict
            What `engine.filters.as_predicate` takes.

        Returns
        -------
        Bitmap
            Over all rows. It is shared with whoever asks the same.

        Raises
        ------
        InvalidArgumentError
            Columns that are not there, values that do not fit their column.
        """
        with self._lock:
            return self._cache.resolve(predicate, self._columns, self._version)

    def count(self, predicate: object) -> int:
        """Number of rows for which `predicate` is true; for one comparison no bitmap is made."""
        with self._lock:
            return count(predicate, self._columns)


def as_names(value: Any, known: Iterable[str]) -> list[str]:
    """`value`, one name or several, as a list of names that are among `known`."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise InvalidArgumentError(f"columns is {show(value)}, expected some of {list(known)}")
    names = list(names)
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise InvalidArgumentError(f"columns has {show(name)}, expected some of {list(known)}")
    return names


def n_rows(columns: Mapping[str, TypedColumn], n: int | None = None) -> int:
    """Rows of `columns`; `n` where there are none of these."""
    return next((len(column.nulls) for column in columns.values()), n or 0)


def add_missing(target: _core.Attributes, columns: Mapping[str, TypedColumn]) -> None:
    """Add those of `columns` that `target` lacks, once the others are known to be of the types that it has."""
    known = target.schema
    for name, column in columns.items():
        if known.get(name, column.type) != column.type:
            raise InvalidArgumentError(f"attributes[{name!r}] is {column.type}, expected {known[name]}")
    for name, column in columns.items():
        if name not in known:
            target.add_column(name, column.type)


def filled(schema: Schema, columns: Mapping[str, TypedColumn], n: int, version: int = 0) -> Attributes:
    """Attributes of `n` rows."""
    attributes = Attributes(schema=schema)
    attributes.append_typed(n, columns)
    attributes._version = max(attributes._version, version)
    return attributes
