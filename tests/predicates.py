"""Predicates for tests: drawn at random, in three notations, with their truth told row by row; and columns."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import Bitmap
from engine._core import Attributes
from engine.columns import FILL
from engine.filters import ColumnType, Predicate, Schema, col

SCHEMA: dict[str, ColumnType] = {
    "year": "int64",
    "price": "float64",
    "section": "keyword",
    "archived": "bool",
    "day": "timestamp",
    "tags": "keywords",
}
FIRST = datetime(2024, 1, 1, tzinfo=timezone.utc)
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
MONGO = {"==": "$eq", "!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


class PlainAttributes:
    """The columns that `engine.filters` asks, as lists of Python values, None for NULL: slow and plain."""

    def __init__(self, columns: Mapping[str, Sequence[Any]], schema: Schema) -> None:
        self.schema = dict(schema)
        self.columns = {
            name: [as_number(value) if schema[name] == "timestamp" else value for value in values]
            for name, values in columns.items()
        }

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, name: str, test: Callable[[Any], bool]) -> Bitmap:
        return Bitmap(np.array([value is not None and test(value) for value in self.columns[name]], bool))

    def take(self, name: str, rows: NDArray[np.int64]) -> tuple[Any, NDArray[np.bool_]]:
        values = [self.columns[name][row] for row in rows]
        nulls = np.array([value is None for value in values], bool)
        dtype: dict[str, Any] = {"int64": np.int64, "float64": np.float64, "bool": np.bool_, "timestamp": np.int64}
        if self.schema[name] not in dtype:
            return values, nulls
        return np.array([0 if value is None else value for value in values], dtype[self.schema[name]]), nulls

    def equal(self, name: str, values: Sequence[Any]) -> Bitmap:
        check(self.schema[name], values)
        return self.where(name, lambda value: value in values)

    def between(self, name: str, lo: Any, hi: Any, lo_open: bool, hi_open: bool) -> Bitmap:
        def inside(value: Any) -> bool:
            above = lo is None or (value > lo if lo_open else value >= lo)
            return above and (hi is None or (value < hi if hi_open else value <= hi))

        check(self.schema[name], [limit for limit in (lo, hi) if limit is not None])
        return self.where(name, inside)

    def contains(self, name: str, values: Sequence[str], mode: str) -> Bitmap:
        return self.where(name, lambda held: contains(held, values, mode))

    def nulls(self, name: str) -> Bitmap:
        return Bitmap(np.array([value is None for value in self.columns[name]], bool))

    def count_equal(self, name: str, values: Sequence[Any]) -> int:
        return self.equal(name, values).count()

    def count_between(self, name: str, lo: Any, hi: Any, lo_open: bool, hi_open: bool) -> int:
        return self.between(name, lo, hi, lo_open, hi_open).count()


def core_attributes(columns: Mapping[str, Sequence[Any]], schema: Schema) -> Attributes:
    """The same columns in the core."""
    plain = PlainAttributes(columns, schema)
    attributes = Attributes()
    for name, kind in schema.items():
        attributes.add_column(name, kind)
    data = {
        name: (
            [FILL[schema[name]] if value is None else value for value in values],
            np.array([value is None for value in values], bool),
        )
        for name, values in plain.columns.items()
    }
    attributes.append(len(plain), data)
    return attributes


def check(kind: ColumnType, values: Sequence[Any]) -> None:
    """Values reach the columns in their own type, at least one of them."""
    types = {"int64": int, "timestamp": int, "float64": float, "bool": bool}
    assert {type(value) for value in values} == {types.get(kind, str)}
    assert kind not in ("int64", "timestamp") or all(-(2**63) <= value < 2**63 for value in values)


def as_number(time: datetime | None) -> int | None:
    return (
        None if time is None else round((time - datetime(1970, 1, 1, tzinfo=timezone.utc)) / timedelta(microseconds=1))
    )


def contains(held: Sequence[str], values: Sequence[str], mode: str) -> bool:
    return {"any": bool({*held} & {*values}), "all": {*held} >= {*values}, "exact": {*held} == {*values}}[mode]


@dataclass(frozen=True)
class Test:
    """A question for one column: an operator of `COMPARE`, "in", "between", "null", "any", "all" or "exact"."""

    __test__ = False
    name: str
    what: str
    value: Any = None

    def truth(self, row: Mapping[str, Any]) -> bool | None:
        held = row[self.name]
        if self.what == "null":
            return held is None
        if self.what == "in":
            return any_of(Test(self.name, "==", value).truth(row) for value in self.value)
        if self.what == "between":
            lo, hi = self.value
            return all_of([Test(self.name, ">=", lo).truth(row), Test(self.name, "<=", hi).truth(row)])
        if held is None or self.value is None:
            return None
        if self.what in ("any", "all", "exact"):
            return contains(held, self.value, self.what)
        return COMPARE[self.what](held, self.value)

    def predicate(self) -> Predicate:
        column = col(self.name)
        if self.what in COMPARE:
            return COMPARE[self.what](column, self.value)  # type: ignore[return-value]
        methods: dict[str, Callable[[], Predicate]] = {
            "in": lambda: column.isin(self.value),
            "between": lambda: column.between(*self.value),
            "null": column.is_null,
            "any": lambda: column.contains_any(self.value),
            "all": lambda: column.contains_all(self.value),
            "exact": lambda: column.equals_set(self.value),
        }
        return methods[self.what]()

    def sql(self) -> str:
        if self.what in COMPARE:
            return f"{self.name} {'=' if self.what == '==' else self.what} {literal(self.value)}"
        if self.what == "in":
            return f"{self.name} IN ({', '.join(map(literal, self.value))})"
        if self.what == "between":
            return f"{self.name} BETWEEN {literal(self.value[0])} AND {literal(self.value[1])}"
        if self.what == "null":
            return f"{self.name} IS NULL"
        values = f"[{', '.join(map(literal, self.value))}]"
        return (
            f"{self.name} = {values}" if self.what == "exact" else f"array_contains_{self.what}({self.name}, {values})"
        )

    def mongo(self) -> dict[str, Any]:
        if self.what == "between":
            return {self.name: {"$gte": self.value[0], "$lte": self.value[1]}}
        if self.what == "null":
            return {self.name: {"$exists": False}}
        if self.what == "exact":
            return {self.name: list(self.value)}
        return {self.name: {{**MONGO, "in": "$in", "any": "$in", "all": "$all"}[self.what]: self.value}}


@dataclass(frozen=True)
class Many:
    """Tests combined by "and", "or"; or one by "not"."""

    op: str
    terms: tuple[Any, ...]

    def truth(self, row: Mapping[str, Any]) -> bool | None:
        found = [term.truth(row) for term in self.terms]
        return inverse(found[0]) if self.op == "not" else (all_of if self.op == "and" else any_of)(found)

    def predicate(self) -> Predicate:
        first, *others = (term.predicate() for term in self.terms)
        if self.op == "not":
            return ~first
        for other in others:
            first = first & other if self.op == "and" else first | other
        return first

    def sql(self) -> str:
        if self.op == "not":
            return f"NOT ({self.terms[0].sql()})"
        return f" {self.op.upper()} ".join(f"({term.sql()})" for term in self.terms)

    def mongo(self) -> dict[str, Any]:
        terms = [term.mongo() for term in self.terms]
        return {{"not": "$nor", "and": "$and", "or": "$or"}[self.op]: terms}


Spec = Test | Many


def inverse(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def all_of(truths: Any) -> bool | None:
    found = list(truths)
    return False if False in found else None if None in found else True


def any_of(truths: Any) -> bool | None:
    return inverse(all_of(map(inverse, truths)))


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    return repr(value).upper()


# ---- strategies

# Few values, so that tests meet rows; some that no row of the type can equal.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "year": st.sampled_from([0, 1, 2, 3, -1, 2.0, 1.5, 2**63, -(2**70), 2**63 - 1]),
    "price": st.sampled_from([0.0, 0.5, 1.0, 2, 3, -1, 2**53 + 1, -0.25, 1e300]),
    "section": st.sampled_from(["", "a", "b", "it's", "é", 'x"', "NULL"]),
    "archived": st.booleans(),
    "day": st.integers(0, 3).map(lambda days: FIRST + timedelta(days=days)),
    "tags": st.lists(st.sampled_from(["a", "b", "c", "d'"]), max_size=3, unique=True),
}
HELD = {
    **VALUES,
    "year": st.sampled_from([0, 1, 2, 3, -1, 2**63 - 1, -(2**63)]),
    "price": st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, -1.0, 2.0**53, 1e300]),
}
rows = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in HELD.items()}), min_size=1, max_size=12
)


def questions(name: str, null: bool) -> st.SearchStrategy[Test]:
    """Questions for one column; with `null`, lists hold NULL at times."""
    value = VALUES[name]
    of = [st.builds(Test, st.just(name), st.just("null"))]
    if name == "tags":
        of.append(st.builds(Test, st.just(name), st.sampled_from(["any", "all", "exact"]), value))
        return st.one_of(of)
    ordered = SCHEMA[name] in ("int64", "float64", "timestamp")
    operators = list(COMPARE) if ordered else ["==", "!="]
    of.append(st.builds(Test, st.just(name), st.sampled_from(operators), value))
    of.append(st.builds(Test, st.just(name), st.just("in"), st.lists(st.none() | value if null else value, max_size=4)))
    if ordered:
        of.append(st.builds(Test, st.just(name), st.just("between"), st.tuples(value, value)))
    return st.one_of(of)


def trees(tests: st.SearchStrategy[Test]) -> st.SearchStrategy[Spec]:
    return st.recursive(
        tests,
        lambda inner: st.one_of(
            st.builds(Many, st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=4).map(tuple)),
            st.builds(Many, st.just("not"), st.tuples(inner)),
        ),
        max_leaves=8,
    )


tests = st.one_of([questions(name, True) for name in SCHEMA])
# Of all columns, and of one, where leaves are merged.
specs = st.one_of([trees(tests)] * 4 + [trees(questions(name, True)) for name in SCHEMA])
specs_without_null = trees(st.one_of([questions(name, False) for name in SCHEMA]))
