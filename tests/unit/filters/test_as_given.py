"""Predicates that the core takes as they are given, and those that Python looks at first: the rows are the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from predicates import SCHEMA, Spec, core_attributes, rows, specs

from engine import Bitmap, _core
from engine.exceptions import InvalidArgumentError
from engine.filters import Predicate, col, resolve
from engine.filters.evaluate import bound_to, true_rows
from engine.filters.leaves import IsIn
from engine.filters.predicate import Group

N = 300


@pytest.fixture(scope="module")
def attributes() -> _core.Attributes:
    attributes = _core.Attributes()
    place = np.arange(N)
    columns: dict[str, tuple[str, Any]] = {
        "keyword": ("keyword", [f"v{i % 40}" for i in place]),
        "whole": ("int64", place % 50),
        "broken": ("float64", place / 4),
        "flag": ("bool", place % 3 == 0),
        "tags": ("keywords", [[f"t{i % 5}", f"t{i % 7}"] for i in place]),
        "time": ("timestamp", place),
    }
    for name, (kind, _) in columns.items():
        attributes.add_column(name, kind)
    nulls = place % 11 == 0
    attributes.append(N, {name: (values, nulls) for name, (_, values) in columns.items()})
    return attributes


def by_python(predicate: Predicate, attributes: _core.Attributes) -> Bitmap:
    return true_rows(bound_to(attributes, predicate), attributes)


@pytest.mark.parametrize(
    "predicate",
    [
        col("keyword") == "v3",
        col("keyword") != "v3",
        col("keyword") == "nowhere",
        col("keyword").isin(["v1", "v2", "v39"]),
        ~col("keyword").isin(["v1", "v2"]),
        col("whole") == 7,
        col("whole") > 40,
        col("whole") <= 3,
        col("whole").between(10, 12),
        col("whole").between(12, 10),
        ~col("whole").between(10, 40),
        (col("whole") > 3) & (col("keyword") == "v9"),
        (col("whole") > 3) & (col("whole") <= 9),
        (col("whole") < 9) & (col("flag") == True) & (col("whole") >= 3),  # noqa: E712
        (col("whole") >= 9) & (col("whole") < 3),
        (col("broken") > 3) & (col("broken") < 9.5) & (col("whole") >= 3) & (col("whole") <= 30),
        col("broken") >= 70,
        col("broken") < 1.5,
        col("broken") == 2,
        col("broken") == 2**53,
        col("broken") < -(2**53),
        col("broken") == -0.0,
        col("whole") > 2**63 - 1,
        col("whole") < -(2**63),
        ~col("time").is_null(),
        Group("or", (Group("or", (col("whole") == 3,)), col("flag") == True)),  # noqa: E712
        col("flag") == True,  # noqa: E712
        col("flag") != True,  # noqa: E712
        col("tags").contains("t1"),
        ~col("tags").contains("t1"),
        col("tags").contains_any(["t1", "t2"]),
        col("tags").contains_all(["t1", "t2"]),
        col("tags").equals_set(["t1", "t6"]),
        col("time").is_null(),
        col("keyword").not_null(),
        (col("whole") < 9) & (col("flag") == True) & (col("broken") > 3),  # noqa: E712
        (col("whole") < 9) | (col("keyword") == "v1") | ~col("tags").contains("t3"),
        (col("whole") == 60) & (col("keyword") == "v1"),
        (col("whole") >= 0) | col("flag").is_null(),
    ],
    ids=repr,
)
def test_what_is_plain_is_taken(predicate: Predicate, attributes: _core.Attributes) -> None:
    found = attributes.rows_as_given(predicate)
    assert found is not None
    assert found == by_python(predicate, attributes)
    assert found == resolve(predicate, attributes)


class Mine(IsIn):
    """Might mean anything."""


@pytest.mark.parametrize(
    "predicate",
    [
        col("keyword").isin([]),
        col("keyword").isin(["v1", None]),
        col("whole") == 2.5,
        col("whole") > 2**63,
        col("broken") == 2**53 + 1,
        col("time") > datetime(1970, 1, 1, tzinfo=UTC),
        col("tags") == "t1",
        col("tags").contains_any([]),
        (col("whole") > 3) & (col("whole") > 9),
        (col("whole") < 3) & (col("whole") < 9),
        (col("whole") > 3) | (col("whole") < 9),
        (col("whole") > 3) & (col("whole") == 9),
        (col("whole") > 3) & ~(col("whole") <= 9),
        (col("whole") < 3) & col("whole").between(1, 9),
        (col("whole") > 3) & (col("whole") < 9) & (col("whole") < 8),
        ~((col("whole") > 3) & (col("flag") == True)),  # noqa: E712
        (col("whole") > 3) & ((col("flag") == True) | (col("broken") > 3)),  # noqa: E712
        Group("and", ()),
        Mine("keyword", ("v1",)),
    ],
    ids=repr,
)
def test_anything_else_is_left_to_python(predicate: Predicate, attributes: _core.Attributes) -> None:
    assert attributes.rows_as_given(predicate) is None
    assert resolve(predicate, attributes) == by_python(predicate, attributes)


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        (col("nowhere") == 1, "nowhere"),
        (col("keyword") == 1, "keyword, got the int 1"),
        (col("flag") == 1, "bool, got the int 1"),
        (col("whole") == "1", "int64, got the str '1'"),
        (col("broken") == True, "float64, got the bool True"),  # noqa: E712
        (col("time") == 5, "timestamp, got the int 5"),
        (col("time").between(5, 6), "timestamp, got the int 5"),
        (col("flag") > 1, "bool, got a range"),
        (col("keyword").contains("v1"), "keyword, got a question for a set"),
        ((col("whole") > 3) & (col("whole") < "9"), "int64, got the str '9'"),
        ((col("whole") == 99) & (col("keyword") == 1), "keyword, got the int 1"),  # the first decides, yet
    ],
    ids=repr,
)
def test_what_is_wrong_is_for_python_to_say(predicate: Any, message: str, attributes: _core.Attributes) -> None:
    assert attributes.rows_as_given(predicate) is None
    with pytest.raises(InvalidArgumentError, match=message):
        resolve(predicate, attributes)


@pytest.mark.parametrize("value", [None, 3, "whole > 3", {"whole": 3}, IsIn, col("whole")], ids=repr)
def test_what_is_no_predicate_is_not_taken(value: Any, attributes: _core.Attributes) -> None:
    assert attributes.rows_as_given(value) is None


@pytest.mark.parametrize("n_terms", [2, 8, 9, 3000])
def test_many_terms(n_terms: int) -> None:
    attributes = _core.Attributes()
    for i in range(n_terms):
        attributes.add_column(f"c{i}", "int64")
    attributes.append(2, {f"c{i}": [1, i % 2] for i in range(n_terms)})
    predicate = col("c0") == 1
    for i in range(1, n_terms):
        predicate &= col(f"c{i}") == 1
    assert (attributes.rows_as_given(predicate) is not None) == (n_terms <= 8)
    assert resolve(predicate, attributes).rows().tolist() == [0]


def test_a_column_that_comes_between_is_found() -> None:
    attributes = _core.Attributes()
    attributes.append(2, {})
    asked = col("late").is_null()
    assert attributes.rows_as_given(asked) is None
    attributes.add_column("late", "keyword")
    found = attributes.rows_as_given(asked)
    assert found is not None
    assert found.count() == 2


@given(specs, rows)
def test_rows_are_the_same(spec: Spec, held: list[dict[str, Any]]) -> None:
    attributes = core_attributes({name: [row[name] for row in held] for name in SCHEMA}, SCHEMA)
    predicate = spec.predicate()
    found = attributes.rows_as_given(predicate)
    assert found is None or found == by_python(predicate, attributes)
