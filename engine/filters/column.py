"""Columns in Python code: what comparing one gives is a predicate."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NoReturn

from .._validate import show
from ..exceptions import InvalidArgumentError
from .leaves import Between, Contains, IsIn, IsNull, Mode
from .predicate import Group, Op, Predicate
from .values import as_time, as_value, as_values

__all__ = ["Column", "col"]


class Column:
    """A column of attributes, by name, to build predicates with; `engine.col` is the short name of this class.

    Parameters
    ----------
    name : str
        Whether there is such a column is seen when the predicate is used.

    Notes
    -----
    ``==, !=, <, <=, >, >=`` compare with a value and give a predicate; predicates combine by ``&``, ``|`` and ``~``.
    As in SQL, a comparison with NULL is neither true nor false but unknown, and a row passes only where the predicate
    is true: ``col("year") != 2020`` leaves out rows without a year. docs/filters.md has the table.

    Raises
    ------
    InvalidArgumentError
        A value that is not a str, int, finite float, bool or datetime; a predicate used as one truth value, which is
        what ``and``, ``or``, ``not`` and ``1 < col("x") < 5`` do.

    Examples
    --------
    >>> from engine import col
    >>> (col("year") >= 2020) & col("section").isin(["net", "games"]) & ~col("tags").contains("draft")
    col('section').isin(['games', 'net']) & ~col('tags').contains('draft') & (col('year') >= 2020)
    """

    __slots__ = ("name",)
    __hash__ = None  # type: ignore[assignment]
    name: str

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"name is {show(name)}, expected the name of a column")
        self.name = name

    def __repr__(self) -> str:
        return f"col({self.name!r})"

    def __bool__(self) -> NoReturn:
        raise InvalidArgumentError(f"{self!r} is a column, not a truth value: write {self!r} == True")

    def __eq__(self, value: object) -> Predicate:  # type: ignore[override]
        return IsIn(self.name, (as_value(value, f"{self!r} == value"),))

    def __ne__(self, value: object) -> Predicate:  # type: ignore[override]
        return IsIn(self.name, (as_value(value, f"{self!r} != value"),), negated=True)

    def __lt__(self, value: object) -> Predicate:
        return Between(self.name, None, as_value(value, f"{self!r} < value"), hi_open=True)

    def __le__(self, value: object) -> Predicate:
        return Between(self.name, None, as_value(value, f"{self!r} <= value"))

    def __gt__(self, value: object) -> Predicate:
        return Between(self.name, as_value(value, f"{self!r} > value"), None, lo_open=True)

    def __ge__(self, value: object) -> Predicate:
        return Between(self.name, as_value(value, f"{self!r} >= value"), None)

    def isin(self, values: Any) -> Predicate:
        """The value is one of `values`, a list or other iterable.

        An empty list is false for every row. None in the list is SQL's NULL: rows that equal none of the others are
        unknown, so that neither ``isin([1, None])`` nor its negation finds them.
        """
        return IsIn(self.name, *as_values(values, f"isin of {self!r}"))

    def between(self, lo: object, hi: object) -> Predicate:
        """``lo <= value <= hi``, where None is no limit; ``lo > hi`` finds nothing."""
        lo, hi = (None if limit is None else as_value(limit, f"between of {self!r}") for limit in (lo, hi))
        return Between(self.name, lo, hi)

    def is_null(self) -> Predicate:
        """There is no value."""
        return IsNull(self.name)

    def not_null(self) -> Predicate:
        """There is a value."""
        return ~IsNull(self.name)

    def contains(self, value: str) -> Predicate:
        """The set of keywords holds `value`."""
        return self._contains([value], "any", "contains")

    def contains_any(self, values: Any) -> Predicate:
        """The set of keywords holds at least one of `values`."""
        return self._contains(values, "any", "contains_any")

    def contains_all(self, values: Any) -> Predicate:
        """The set of keywords holds all of `values`."""
        return self._contains(values, "all", "contains_all")

    def equals_set(self, values: Any) -> Predicate:
        """The set of keywords holds `values` and nothing else."""
        return self._contains(values, "exact", "equals_set")

    def _contains(self, values: Any, mode: Mode, name: str) -> Predicate:
        found, null = as_values(values, f"{name} of {self!r}")
        for value in [None, *found] if null else found:
            if not isinstance(value, str):
                raise InvalidArgumentError(f"{name} of {self!r} has {show(value)}, expected keywords (str)")
        return Contains(self.name, tuple(map(str, found)), mode)

    @staticmethod
    def all_of(*predicates: Predicate) -> Predicate:
        """True where all are: ``p & q & ...`` for any number of predicates. Of none: every row."""
        return _group("and", predicates)

    @staticmethod
    def any_of(*predicates: Predicate) -> Predicate:
        """True where at least one is: ``p | q | ...`` for any number of predicates. Of none: no row."""
        return _group("or", predicates)

    @staticmethod
    def timestamp(text: str) -> datetime:
        """A time in UTC from ISO 8601 text; without an offset it is taken as UTC.

        >>> from engine import col
        >>> col.timestamp("2024-05-17T10:30:00+02:00")
        datetime.datetime(2024, 5, 17, 8, 30, tzinfo=datetime.timezone.utc)
        """
        return as_time(text, "timestamp")


def _group(op: Op, predicates: tuple[Predicate, ...]) -> Predicate:
    for i, predicate in enumerate(predicates):
        if not isinstance(predicate, Predicate):
            raise InvalidArgumentError(f"predicates[{i}] is {show(predicate)}, expected a predicate")
    return Group(op, predicates)


col = Column
