"""Mongo-style dicts: what they mean and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from engine import col
from engine.exceptions import InvalidArgumentError
from engine.filters import Predicate, as_predicate

x, y, tags = col("x"), col("y"), col("tags")


@pytest.mark.parametrize(
    ("query", "predicate"),
    [
        ({}, col.all_of()),
        ({"x": 1}, x == 1),
        ({"x": 1, "y": "a"}, (x == 1) & (y == "a")),
        ({"x": {"$gte": 1, "$lt": 5}}, (x >= 1) & (x < 5)),
        ({"x": {"$eq": 1}, "y": {"$ne": 2}}, (x == 1) & (y != 2)),
        ({"x": {"$gt": 1}, "y": {"$lte": 2}}, (x > 1) & (y <= 2)),
        ({"x": {"$in": [1, 2]}}, x.isin([1, 2])),
        ({"x": {"$in": []}}, x.isin([])),
        ({"x": {"$nin": [1, 2]}}, ~x.isin([1, 2])),
        ({"x": {"$in": [1, None]}}, (x == 1) | x.is_null()),
        ({"x": {"$nin": [1, None]}}, (x != 1) & x.not_null()),
        ({"x": {"$in": [None]}}, x.is_null()),
        ({"x": None}, x.is_null()),
        ({"x": {"$ne": None}}, x.not_null()),
        ({"x": {"$exists": True}, "y": {"$exists": False}}, x.not_null() & y.is_null()),
        ({"x": {"$not": {"$gt": 5}}}, x <= 5),
        ({"x": {"$not": {"$gt": 5, "$ne": 7}}}, ~((x > 5) & (x != 7))),
        ({"$or": [{"x": 1}, {"y": 2}]}, (x == 1) | (y == 2)),
        ({"$and": [{"x": 1}, {"y": 2}]}, (x == 1) & (y == 2)),
        ({"$nor": [{"x": 1}, {"y": 2}]}, (x != 1) & (y != 2)),
        ({"z": 3, "$or": [{"x": 1}, {"y": 2}]}, ((x == 1) | (y == 2)) & (col("z") == 3)),
        ({"tags": {"$all": ["a", "b"]}}, tags.contains_all(["a", "b"])),
        ({"tags": ["a", "b"]}, tags.equals_set(["a", "b"])),
        ({"tags": {"$ne": ["a"]}}, ~tags.equals_set(["a"])),
    ],
)
def test_meaning(query: dict[str, Any], predicate: Predicate) -> None:
    assert as_predicate(query) == predicate


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"x": {"$gtt": 1}}, r"'\$gtt' is no operator: in the condition on 'x'; expected \$gt"),
        ({"x": {"$regex": "a"}}, r"'\$regex' is no operator"),
        ({"$an": [{"x": 1}]}, r"'\$an' is no operator: .*expected \$and"),
        ({"$gte": 1}, r"'\$gte' is no operator: a column's operators stand inside"),
        ({"x": {"$or": [1]}}, r"\$or stands inside the condition on 'x', expected it around"),
        ({"x": {"y": 1}}, r"'y' is no operator"),
        ({"x": {"$gte": 1, "y": 2}}, r"'y' is no operator"),
        ({"x": {}}, r"the condition on 'x' is {}, expected operators"),
        ({"$or": []}, r"\$or is \[\], expected a list of dicts"),
        ({"$or": {"x": 1}}, r"\$or is {'x': 1}, expected a list of dicts"),
        ({"$and": [{"x": 1}, 3]}, r"\$and\[1\] is 3, expected a dict of columns"),
        ({"x": {"$in": 3}}, r"\$in or \$nin of 'x' is 3, expected a list"),
        ({"x": {"$in": "abc"}}, r"\$in or \$nin of 'x' is 'abc', expected a list"),
        ({"x": {"$all": "abc"}}, r"\$all of 'x' is 'abc', expected a list"),
        ({"x": {"$exists": 1}}, r"\$exists of 'x' is 1, expected True or False"),
        ({"x": {"$not": 5}}, r"\$not of 'x' is 5, expected a dict of operators"),
        ({"x": {"$gt": None}}, r"is None, expected"),
        ({"x": {"$gt": [1]}}, r"is \[1\], expected"),
        ({"x": float("nan")}, r"is nan, expected a finite number"),
        ({3: 1}, r"has the key 3, expected the name"),
        ({"": 1}, r"has the key '', expected the name"),
    ],
)
def test_refused(query: dict[Any, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        as_predicate(query)


def test_deep_dicts_are_refused() -> None:
    query: dict[str, Any] = {"x": 1}
    condition: dict[str, Any] = {"$gt": 1}
    for _ in range(10_000):
        query, condition = {"$nor": [query]}, {"$not": condition}
    for deep in (query, {"x": condition}):
        with pytest.raises(InvalidArgumentError, match=r"nests more than 200 dicts"):
            as_predicate(deep)
