"""The three ways to write a predicate."""

from __future__ import annotations

from collections.abc import Mapping

from .._validate import show
from ..exceptions import InvalidArgumentError
from .column import Column
from .mongo import from_mongo
from .predicate import Predicate
from .sql import from_sql

__all__ = ["as_predicate"]


def as_predicate(value: object) -> Predicate:
    """`value` as a predicate.

    Parameters
    ----------
    value : Predicate, str or dict
        What comparing `col` gives; the condition of a SQL ``WHERE``; a Mongo-style dict.

    Raises
    ------
    InvalidArgumentError
        Anything else, and what is wrong in a text or dict.
    UnsupportedError
        A text where sqlglot is not installed.

    Examples
    --------
    >>> from engine import col
    >>> from engine.filters import as_predicate
    >>> as_predicate("year >= 2020") == as_predicate({"year": {"$gte": 2020}}) == (col("year") >= 2020)
    True
    """
    if isinstance(value, Predicate):
        return value
    if isinstance(value, str):
        return from_sql(value)
    if isinstance(value, Mapping):
        return from_mongo(value)
    hint = f"; for a column of bools write {value!r} == True" if isinstance(value, Column) else ""
    raise InvalidArgumentError(
        f"the filter is {show(value)}, expected a comparison of engine.col, SQL text, or a Mongo-style dict{hint}"
    )
