"""Predicates over columns: which rows they are true for, and how many."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import datetime
from functools import reduce, singledispatch
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from .._core import Attributes as CoreAttributes
from .._core import Bitmap
from .convert import as_predicate
from .leaves import Between, Contains, IsIn, IsNull, Mode
from .predicate import Group, Leaf, Predicate
from .schema import Schema, bind
from .values import Value, microseconds

__all__ = ["Attributes", "count", "resolve"]


class Attributes(Protocol):
    """What predicates ask of columns. Rows with NULL are in none of the bitmaps but that of `nulls`.

    Timestamps are int64 microseconds since the epoch in UTC. `take` gives the values of rows and where they are NULL.
    """

    @property
    def schema(self) -> Schema: ...
    def __len__(self) -> int: ...
    def take(self, name: str, rows: NDArray[np.int64]) -> tuple[Any, NDArray[np.bool_]]: ...
    def equal(self, name: str, values: Sequence[Any]) -> Bitmap: ...
    def between(self, name: str, lo: Any, hi: Any, lo_open: bool, hi_open: bool) -> Bitmap: ...
    def contains(self, name: str, values: Sequence[str], mode: Mode) -> Bitmap: ...
    def nulls(self, name: str) -> Bitmap: ...
    def count_equal(self, name: str, values: Sequence[Any]) -> int: ...
    def count_between(self, name: str, lo: Any, hi: Any, lo_open: bool, hi_open: bool) -> int: ...


def resolve(predicate: object, attributes: Attributes) -> Bitmap:
    """The rows for which `predicate` is true: neither false nor unknown.

    Parameters
    ----------
    predicate : Predicate, str or dict
        What `as_predicate` takes.
    attributes : Attributes
        The columns.

    Returns
    -------
    Bitmap
        Over all rows; its ``count()`` is exact.

    Raises
    ------
    InvalidArgumentError
        Unknown columns, values that do not fit their column.
    """
    if isinstance(attributes, CoreAttributes) and (rows := attributes.rows_as_given(predicate)) is not None:
        return rows  # a few plain questions, which the core answers in less time than it takes here to look at them
    return true_rows(bound_to(attributes, as_predicate(predicate)), attributes)


def count(predicate: object, attributes: Attributes) -> int:
    """Number of rows for which `predicate` is true; for one comparison no bitmap is made."""
    bound = bound_to(attributes, as_predicate(predicate))
    if isinstance(bound, Group):
        return true_rows(bound, attributes).count()
    if not bound.negated:
        return true_count(bound, attributes)
    if isinstance(bound, IsIn) and bound.null:
        return 0
    return len(attributes) - true_count(~bound, attributes) - unknown_rows(bound, attributes).count()


def bound_to(attributes: Attributes, predicate: Predicate) -> Leaf | Group:
    """`bind`, once for a predicate and columns in the core: they show one schema until there is another column."""
    schema = attributes.schema
    known, form = predicate.__dict__.get("_bound", (None, None))
    if known is not schema:
        form = bind(predicate, schema)
        if form is predicate:
            form = None  # kept by itself it would be a cycle, which only the collector takes apart
        if isinstance(attributes, CoreAttributes):
            predicate.__dict__["_bound"] = schema, form
    return cast("Leaf | Group", predicate if form is None else form)


def no_rows(attributes: Attributes) -> Bitmap:
    return Bitmap.from_rows(len(attributes), [])


def true_rows(predicate: Leaf | Group, attributes: Attributes) -> Bitmap:
    """Of a canonical form. Its negations stand at the leaves: only there must unknown be told from false."""
    if isinstance(predicate, Leaf):
        rows = leaf_rows(predicate, attributes)
        if not predicate.negated:
            return rows
        unknown = unknown_rows(predicate, attributes)
        return ~(rows | unknown) if unknown.count() else ~rows
    both = predicate.op == "and"
    combined: Bitmap | None = None
    for term in predicate.terms:
        found = true_rows(term.canonical, attributes)
        combined = found if combined is None else combined & found if both else combined | found
        if combined.count() == (0 if both else len(attributes)):
            break
    if combined is None:
        return ~no_rows(attributes) if both else no_rows(attributes)
    return combined


def unknown_rows(leaf: Leaf, attributes: Attributes) -> Bitmap:
    """At least where `leaf` is unknown, and nowhere where it is false."""
    if isinstance(leaf, IsIn) and leaf.null:
        return ~no_rows(attributes)  # nothing is known to differ from NULL
    if isinstance(leaf, IsNull) or (isinstance(leaf, IsIn) and not leaf.values):  # even NULL is not in an empty list
        return no_rows(attributes)
    return reduce(operator.or_, (attributes.nulls(name) for name in leaf.names))


def core_value(value: Value | None) -> Any:
    return microseconds(value) if isinstance(value, datetime) else value


def limits(leaf: Between) -> tuple[Any, Any, bool, bool]:
    return core_value(leaf.lo), core_value(leaf.hi), leaf.lo_open, leaf.hi_open


@singledispatch
def leaf_rows(leaf: Leaf, attributes: Attributes) -> Bitmap:
    """Where `leaf` is true, its negation left aside. Every kind of leaf registers its own."""
    raise NotImplementedError


@singledispatch
def true_count(leaf: Leaf, attributes: Attributes) -> int:
    """The number of `leaf_rows`."""
    return leaf_rows(leaf, attributes).count()


@leaf_rows.register
def _(leaf: IsNull, attributes: Attributes) -> Bitmap:
    return attributes.nulls(leaf.column)


@leaf_rows.register
def _(leaf: IsIn, attributes: Attributes) -> Bitmap:
    return attributes.equal(leaf.column, [*map(core_value, leaf.values)]) if leaf.values else no_rows(attributes)


@true_count.register
def _(leaf: IsIn, attributes: Attributes) -> int:
    return attributes.count_equal(leaf.column, [*map(core_value, leaf.values)]) if leaf.values else 0


@leaf_rows.register
def _(leaf: Between, attributes: Attributes) -> Bitmap:
    if leaf.is_empty:
        return no_rows(attributes)
    if leaf.lo is leaf.hi is None:
        return ~attributes.nulls(leaf.column)
    return attributes.between(leaf.column, *limits(leaf))


@true_count.register
def _(leaf: Between, attributes: Attributes) -> int:
    if leaf.is_empty:
        return 0
    if leaf.lo is leaf.hi is None:
        return len(attributes) - attributes.nulls(leaf.column).count()
    return attributes.count_between(leaf.column, *limits(leaf))


@leaf_rows.register
def _(leaf: Contains, attributes: Attributes) -> Bitmap:
    if leaf.values or leaf.mode == "exact":
        return attributes.contains(leaf.column, leaf.values, leaf.mode)
    return no_rows(attributes) if leaf.mode == "any" else ~attributes.nulls(leaf.column)
