"""Predicates in Python code: what they look like, what they refuse, how large they may be."""

from __future__ import annotations

import copy
import functools
import operator
import pickle
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from predicates import SCHEMA, core_attributes

from engine import col
from engine.exceptions import InvalidArgumentError
from engine.filters import Predicate, as_predicate, bind, count, resolve

year, section, tags, day = col("year"), col("section"), col("tags"), col("day")
NOON = datetime(2024, 5, 17, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("predicate", "shown"),
    [
        (year == 2020, "col('year') == 2020"),
        (year != np.int32(3), "col('year') != 3"),
        (~(year > 3), "col('year') <= 3"),
        (3 < year, "col('year') > 3"),  # noqa: SIM300
        (year.between(1, 5), "col('year').between(1, 5)"),
        ((year >= 1) & (year <= 5), "col('year').between(1, 5)"),
        ((year > 1) & (year <= 5), "(col('year') > 1) & (col('year') <= 5)"),
        (~((year > 1) & (year <= 5)), "~((col('year') > 1) & (col('year') <= 5))"),
        ((year > 1) | (year > 5), "col('year') > 1"),
        (~year.between(1, 5) | ~year.between(3, 9), "~col('year').between(3, 5)"),
        (year.between(None, 5), "col('year') <= 5"),
        (year.isin([3, 1, 3]), "col('year').isin([1, 3])"),
        (year.isin({1}), "col('year') == 1"),
        (year.isin(np.arange(3)), "col('year').isin([0, 1, 2])"),
        (year.isin([None, 1]), "col('year').isin([1, None])"),
        ((section == "b") | (section == "a"), "col('section').isin(['a', 'b'])"),
        ((section != "b") & (section != "a"), "~col('section').isin(['a', 'b'])"),
        ((section == "b") & (section == "a"), "(col('section') == 'a') & (col('section') == 'b')"),
        (section == np.str_("a"), "col('section') == 'a'"),
        (year.not_null() | ~year.is_null(), "col('year').not_null()"),
        (tags.contains("a") & tags.contains_all(["b"]), "col('tags').contains_all(['a', 'b'])"),
        (tags.contains("a") | tags.contains_any(["b", "c"]), "col('tags').contains_any(['a', 'b', 'c'])"),
        (~tags.contains("a") & ~tags.contains("b"), "~col('tags').contains_any(['a', 'b'])"),
        (~tags.contains("a") | ~tags.contains("b"), "~col('tags').contains_all(['a', 'b'])"),
        (~tags.equals_set(["b", "a", "b"]), "~col('tags').equals_set(['a', 'b'])"),
        (day > NOON, "col('day') > col.timestamp('2024-05-17T12:00:00Z')"),
        (day > NOON.replace(tzinfo=None), "col('day') > col.timestamp('2024-05-17T12:00:00Z')"),
        (day > NOON.astimezone(timezone(timedelta(hours=5))), "col('day') > col.timestamp('2024-05-17T12:00:00Z')"),
        (day > np.datetime64("2024-05-17T12", "ns"), "col('day') > col.timestamp('2024-05-17T12:00:00Z')"),
        (day > pd.Timestamp(NOON), "col('day') > col.timestamp('2024-05-17T12:00:00Z')"),
        (day > date(2024, 5, 17), "col('day') > col.timestamp('2024-05-17T00:00:00Z')"),
        (year == True, "col('year') == True"),  # noqa: E712
        ((year == 1) & ((section == "a") | (section > "b")), "(col('year') == 1) & "
         "((col('section') > 'b') | (col('section') == 'a'))"),
        (col.all_of(), "col.all_of()"),
        (~col.all_of(), "col.any_of()"),
        (col.any_of(year == 1), "col('year') == 1"),
        ((year == 1) | col.any_of(), "col('year') == 1"),
    ],
)  # fmt: skip
def test_repr_is_the_canonical_form(predicate: Predicate, shown: str) -> None:
    assert repr(predicate) == shown
    assert eval(shown, {"col": col}) == predicate


def test_numbers_of_two_types_stay_apart_until_the_column_is_known() -> None:
    one = [year == 1, year == 1.0, year == True]  # noqa: E712
    assert len(set(one)) == 3
    assert bind(one[0], SCHEMA) == bind(one[1], SCHEMA)
    assert bind(year > 3, SCHEMA) == bind(year >= 4, SCHEMA) == bind(year >= 3.5, SCHEMA)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: year == None, r"col\('year'\) == value is None, .*is_null\(\)"),  # noqa: E711
        (lambda: year >= float("nan"), r"is nan, expected a finite number"),
        (lambda: year < float("inf"), r"is inf, expected a finite number"),
        (lambda: year == b"a", r"is b'a', expected a str, int, float, bool or datetime"),
        (lambda: year == year, r"is col\('year'\), expected a str"),
        (lambda: year == "\ud800", r"expected text that UTF-8 can hold"),
        (lambda: year == [1], r"is \[1\], expected a str"),
        (lambda: day == np.datetime64("2024-05-17T12:00:00.000000001"), r"expected whole microseconds"),
        (lambda: day == np.datetime64("NaT"), r"expected a datetime"),
        (lambda: day == pd.NaT, r"expected a datetime"),
        (lambda: day == datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=3))), r"expected a datetime"),
        (lambda: col.timestamp("yesterday"), r"timestamp is 'yesterday', expected a datetime"),
        (lambda: year.isin("abc"), r"isin of col\('year'\) is 'abc', expected a list"),
        (lambda: year.isin(3), r"is 3, expected a list"),
        (lambda: year.isin([1, [2]]), r"isin of col\('year'\)\[1\] is \[2\]"),
        (lambda: year.between(1, "a"), r"limits 1 and 'a', expected two of one type"),
        (lambda: tags.contains(3), r"contains of col\('tags'\) has 3, expected keywords"),
        (lambda: tags.contains_any("ab"), r"contains_any of col\('tags'\) is 'ab', expected a list"),
        (lambda: tags.contains_all(["a", None]), r"has None, expected keywords"),
        (lambda: col(""), r"name is '', expected the name of a column"),
        (lambda: col(3), r"name is 3"),  # type: ignore[arg-type]
        (lambda: bool(year), r"is a column, not a truth value"),
        (lambda: (year == 1) and (year == 2), r"combine predicates by &"),
        (lambda: (year == 1) or (year == 2), r"instead of `and`, `or` and `not`"),
        (lambda: operator.not_(year == 1), r"instead of `and`"),
        (lambda: 1 <= year <= 5, r"between\(1, 5\) instead of 1 <= col\('x'\) <= 5"),
        (lambda: 3 in [year], r"is true or false for each row"),
        (lambda: (year == 1) & 3, r"one side of & is 3, .*need parentheses"),
        (lambda: True | (year == 1), r"one side of \| is True"),
        (lambda: (year == 1) & "a = 1", r"one side of & is 'a = 1', expected a predicate"),
        (lambda: col.all_of(year == 1, 3), r"predicates\[1\] is 3, expected a predicate"),  # type: ignore[arg-type]
    ],
)
def test_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make()


def test_predicates_do_not_change() -> None:
    predicate = year == 1
    for name in ("values", "column", "negated", "other"):
        with pytest.raises(AttributeError):
            setattr(predicate, name, 3)
    with pytest.raises(AttributeError):
        (predicate & (section == "a")).terms = ()  # type: ignore[attr-defined]
    assert predicate != 3
    assert predicate != "col('year') == 1"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_predicates_can_be_sent(protocol: int) -> None:
    predicate = ((year > 1) & ~tags.contains("a")) | section.isin(["a", None]) | (day > NOON) | ~year.between(3, 4)
    hash(predicate)
    again = pickle.loads(pickle.dumps(predicate, protocol))
    assert again == predicate == copy.deepcopy(predicate) == copy.copy(predicate)
    assert "_hash" not in vars(pickle.loads(pickle.dumps(year == 1, protocol)))  # texts hash otherwise elsewhere


def test_ten_thousand_terms() -> None:
    several = [col(f"c{i}") == i for i in range(10_000)]
    for combine in (operator.and_, operator.or_):
        predicate = functools.reduce(combine, several)
        other_way = functools.reduce(combine, reversed(several))
        assert predicate == other_way
        assert eval(repr(predicate), {"col": col}) == predicate == ~~predicate
        assert len(predicate.columns) == 10_000
    listed = functools.reduce(operator.or_, [year == i for i in range(10_000)])
    assert listed == year.isin(range(10_000))
    negated = year == 1
    for _ in range(10_001):
        negated = ~negated
    assert negated == (year != 1)


def test_ten_thousand_terms_resolve() -> None:
    attributes = core_attributes({name: [None, None] for name in SCHEMA} | {"year": [5, 20_002]}, SCHEMA)
    ranges = functools.reduce(operator.or_, [year.between(3 * i, 3 * i) for i in range(10_000)])
    assert resolve(ranges, attributes).rows().tolist() == []
    assert count(~ranges, attributes) == 2
    assert as_predicate(" OR ".join(f"year BETWEEN {3 * i} AND {3 * i}" for i in range(10_000))) == ranges
    assert as_predicate({"$or": [{"year": {"$gte": 3 * i, "$lte": 3 * i}} for i in range(10_000)]}) == ranges


def nested(levels: int) -> Predicate:
    predicate = year == 0
    for i in range(levels):
        predicate = (predicate & (col(f"c{i}") == i)) if i % 2 else (predicate | (col(f"c{i}") == i))
    return predicate


def test_a_hundred_levels_work_and_more_are_refused() -> None:
    predicate = nested(100)
    assert eval(repr(predicate), {"col": col}) == predicate
    assert hash(~predicate) == hash(~predicate.canonical)
    assert pickle.loads(pickle.dumps(predicate)) == predicate
    with pytest.raises(InvalidArgumentError, match=r"101 levels of AND within OR, expected 100 at most"):
        nested(101)


def test_doubling_ends_in_a_clear_error() -> None:
    predicate = year == 1
    for _ in range(19):
        predicate = predicate & predicate
    assert repr(predicate) == "col('year') == 1"
    with pytest.raises(InvalidArgumentError, match=r"1048576 terms, expected 1000000 at most"):
        predicate & predicate


def test_anything_else_is_no_filter() -> None:
    with pytest.raises(InvalidArgumentError, match=r"the filter is 3, expected a comparison of engine.col, SQL text"):
        as_predicate(3)
    with pytest.raises(InvalidArgumentError, match=r"for a column of bools write col\('archived'\) == True"):
        as_predicate(col("archived"))
