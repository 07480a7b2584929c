"""Predicates against the types of columns: what may be compared, and what that means in the column's own type."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from functools import singledispatch
from typing import Any, Literal

from .._validate import show
from ..exceptions import InvalidArgumentError
from .leaves import Between, Contains, IsIn, IsNull
from .predicate import Group, Leaf, Predicate
from .values import Value, as_time

__all__ = ["ColumnType", "Schema", "bind", "column_type"]

ColumnType = Literal["keyword", "int64", "float64", "bool", "timestamp", "keywords"]
Schema = Mapping[str, ColumnType]
TAKES: dict[ColumnType, tuple[str, tuple[type, ...]]] = {
    "keyword": ("a str", (str,)),
    "keywords": ("a str", (str,)),
    "int64": ("a number", (int, float)),
    "float64": ("a number", (int, float)),
    "bool": ("True or False", (bool,)),
    "timestamp": ("a datetime or ISO 8601 text", (datetime, str)),
}
LEAST, MOST = -(2**63), 2**63 - 1


def bind(predicate: Predicate, schema: Schema) -> Leaf | Group:
    """`predicate` in canonical form, with each value in the type of its column: same rows, only faster to look up.

    Raises
    ------
    InvalidArgumentError
        A column that `schema` lacks (names near it are shown), a value or question that does not fit its type.
    """
    return predicate.map(lambda leaf: bound(leaf, schema)).canonical


def column_type(name: str, schema: Schema) -> ColumnType:
    """The type of the column; an error that shows names near it if there is none."""
    try:
        return schema[name]
    except KeyError:
        near = get_close_matches(name, schema, n=3, cutoff=0.5) or list(schema)[:10]
        expected = f"expected {' or '.join(map(repr, near))}" if near else "there are no columns"
        raise InvalidArgumentError(f"the filter asks for the column {show(name)}; {expected}") from None


@singledispatch
def bound(leaf: Leaf, schema: Schema) -> Predicate:
    """`leaf`, which is not negated, in the types of `schema`. Every kind of leaf registers its own."""
    raise NotImplementedError


@bound.register
def _(leaf: IsNull, schema: Schema) -> Predicate:
    column_type(leaf.column, schema)
    return leaf


@bound.register
def _(leaf: IsIn, schema: Schema) -> Predicate:
    kind = column_type(leaf.column, schema)
    given = [fitting(value, kind, leaf) for value in leaf.values]
    if kind == "keywords":  # a set equals a value if it holds it
        if leaf.null:
            raise mismatch(leaf, kind, "NULL in a list", "keywords only")
        return Contains(leaf.column, tuple(map(str, given)), "any")
    values = tuple(held for value in given if (held := nearest(value, kind)) == value)
    if all(map(operator.is_, values, leaf.values)) and len(values) == len(leaf.values):
        return leaf
    if not values and not leaf.null:
        return never(leaf.column)
    return IsIn(leaf.column, values, leaf.null)


@bound.register
def _(leaf: Between, schema: Schema) -> Predicate:
    kind = column_type(leaf.column, schema)
    if kind in ("keyword", "keywords", "bool"):
        raise mismatch(leaf, kind, "a range", "== or isin" if kind != "keywords" else "contains, contains_any, ...")
    lo, lo_open = (None, False) if leaf.lo is None else limit(leaf.lo, leaf.lo_open, 1, kind, leaf)
    hi, hi_open = (None, False) if leaf.hi is None else limit(leaf.hi, leaf.hi_open, -1, kind, leaf)
    if kind == "int64":
        if (lo is not None and lo > MOST) or (hi is not None and hi < LEAST):
            return never(leaf.column)
        lo, hi = (None if lo is not None and lo <= LEAST else lo), (None if hi is not None and hi >= MOST else hi)
    same = lo is leaf.lo and hi is leaf.hi and (lo_open, hi_open) == (leaf.lo_open, leaf.hi_open)
    return leaf if same else Between(leaf.column, lo, hi, lo_open, hi_open)


@bound.register
def _(leaf: Contains, schema: Schema) -> Predicate:
    kind = column_type(leaf.column, schema)
    if kind != "keywords":
        raise mismatch(leaf, kind, "a question for a set", "== or isin")
    return leaf


def fitting(value: Value, kind: ColumnType, leaf: Leaf) -> Any:
    """`value`, if columns of type `kind` can be compared with it."""
    expected, types = TAKES[kind]
    if type(value) not in types:
        raise mismatch(leaf, kind, f"the {type(value).__name__} {show(value)}", expected)
    return as_time(value, f"the value of {show(leaf)}") if kind == "timestamp" else value


def nearest(value: Any, kind: ColumnType) -> Any:
    """`value` itself where a column of type `kind` can hold it, otherwise a number beside it."""
    if kind == "int64":
        return max(LEAST, min(math.floor(value), MOST))
    if kind == "float64":
        try:
            return float(value)
        except OverflowError:
            return math.copysign(math.inf, value)
    return value


def limit(value: Value, is_open: bool, sign: int, kind: ColumnType, leaf: Leaf) -> tuple[Any, bool]:
    """A lower (`sign` 1) or upper (-1) limit in the column's type, and whether it is open there."""
    given = fitting(value, kind, leaf)
    held = nearest(given, kind)
    if held != given:
        is_open = (held < given) == (sign > 0)
    return (held + sign, False) if kind == "int64" and is_open else (held, is_open)  # so that > 3 and >= 4 are one


def never(column: str) -> Predicate:
    """False for every value, and unknown for NULL as any comparison."""
    return Between(column, 1, 0)


def mismatch(leaf: Leaf, kind: ColumnType, given: str, expected: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{show(leaf)}: the column {leaf.column!r} is {kind}, got {given}, expected {expected}")
