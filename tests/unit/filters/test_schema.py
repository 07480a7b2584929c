"""Predicates against the types of columns, and what NULL does: the tables of docs/filters.md."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from predicates import SCHEMA, core_attributes

import engine.filters
from engine import col
from engine.exceptions import InvalidArgumentError
from engine.filters import Predicate, as_predicate, bind, count, resolve

DOC = (Path(__file__).parents[3] / "docs" / "filters.md").read_text()
BIG = 2**63


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        (col("yaer") == 1, r"the column 'yaer'; expected 'year'"),
        (col("zzz") == 1, r"the column 'zzz'; expected 'year' or 'price' or 'section'"),
        (col("year") == "x", r"col\('year'\) == 'x': the column 'year' is int64, got the str 'x', expected a number"),
        (col("year") == True, r"'year' is int64, got the bool True, expected a number"),  # noqa: E712
        (col("year") < "x", r"is int64, got the str 'x'"),
        (col("price").isin([1, "x"]), r"'price' is float64, got the str 'x'"),
        (col("section") == 3, r"'section' is keyword, got the int 3, expected a str"),
        (col("section") > "a", r"'section' is keyword, got a range, expected == or isin"),
        (col("archived") == 1, r"'archived' is bool, got the int 1, expected True or False"),
        (col("archived") > False, r"'archived' is bool, got a range"),
        (col("day") > 3, r"'day' is timestamp, got the int 3, expected a datetime or ISO 8601 text"),
        (col("day") > "soon", r"the value of col\('day'\) > 'soon' is 'soon', expected a datetime"),
        (col("tags") > "a", r"'tags' is keywords, got a range, expected contains"),
        (col("tags") == 3, r"'tags' is keywords, got the int 3, expected a str"),
        (col("tags").isin(["a", None]), r"'tags' is keywords, got NULL in a list"),
        (col("section").contains("a"), r"'section' is keyword, got a question for a set, expected == or isin"),
        (col("none").is_null(), r"the column 'none'"),
        (~((col("year") == 1) & (col("zzz") == 1)), r"the column 'zzz'"),
    ],
)
def test_refused(predicate: Predicate, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        bind(predicate, SCHEMA)


@pytest.mark.parametrize("op", ["&", "|"])
def test_terms_are_checked_even_where_others_decide(op: str) -> None:
    attributes = core_attributes({"year": [1], "section": ["a"]}, {"year": "int64", "section": "keyword"})
    for decided, wrong in ((col("year") == 2, col("zzz") == 1), (col("year") == 1, col("section") == 3)):
        with pytest.raises(InvalidArgumentError, match=r"'zzz'|'section' is keyword, got the int 3"):
            resolve(decided & wrong if op == "&" else decided | wrong, attributes)


def test_without_columns() -> None:
    with pytest.raises(InvalidArgumentError, match=r"the column 'year'; there are no columns"):
        bind(col("year") == 1, {})


@pytest.mark.parametrize(
    ("predicate", "bound"),
    [
        (col("year") == 2.0, col("year") == 2),
        (col("year").isin([1, 2.5, BIG]), col("year") == 1),
        (col("year") < 2.5, col("year") <= 2),
        (col("year") > -2.5, col("year") >= -2),
        (col("year") > 2, col("year") >= 3),
        (col("year") < BIG, col("year").between(None, None)),
        (col("year") == 2.5, col("year").between(1, 0)),
        (col("year") > BIG - 1, col("year").between(1, 0)),
        (col("year") < -BIG, col("year").between(1, 0)),
        (col("year").between(-BIG - 1, 3.5), col("year") <= 3),
        (col("price") == 2, col("price") == 2.0),
        (col("price") > 2**53 + 1, col("price") > 2.0**53),
        (col("price") >= 2**53 + 1, col("price") > 2.0**53),
        (col("price") < 2**53 + 3, col("price") < 2.0**53 + 4),
        (col("price") == 2**53 + 1, col("price").between(1, 0)),
        (col("day") == "2024-05-17T10:00:00+02:00", col("day") == datetime(2024, 5, 17, 8, tzinfo=timezone.utc)),
        (col("day") >= "2024-05-17", col("day") >= datetime(2024, 5, 17)),
        (col("tags") == "a", col("tags").contains("a")),
        (col("tags").isin(["a", "b"]), col("tags").contains_any(["a", "b"])),
        (col("tags") != "a", ~col("tags").contains("a")),
    ],
)
def test_values_become_those_of_the_column(predicate: Predicate, bound: Predicate) -> None:
    assert bind(predicate, SCHEMA) == bound


def test_what_fits_is_not_made_again() -> None:
    """Finding a canonical form takes longer than most questions."""
    one, other = (col("year") == 2020) & (col("price") >= 0.5), col("section").isin(["a", "b"])
    for fits in (one, one | ~other, ~one & (other | (col("price") < -1.0))):
        assert bind(fits, SCHEMA) is fits.canonical
    assert bind(one & (col("year") > 2.5), SCHEMA) == one & (col("year") >= 3)


def test_empty_lists_and_turned_limits_find_nothing() -> None:
    attributes = core_attributes({name: [None] for name in SCHEMA} | {"year": [3]}, SCHEMA)
    for nothing in (
        col("year").isin([]),
        col("year").between(5, 1),
        col("day").between("2025-01-01", "2024-01-01"),
        col.any_of(),
    ):
        assert count(nothing, attributes) == len(resolve(nothing, attributes).rows()) == 0
    assert count(~col("year").isin([]), attributes) == count(~col("year").between(5, 1), attributes) == 1


def rows_of(n_cells: int) -> list[list[str]]:
    """The cells of those rows in the docs that begin with code and have `n_cells`."""
    lines = [re.split(r"(?<!\\)\|", line.strip("|")) for line in DOC.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`").replace("\\|", "|") for cell in cells] for cells in lines if len(cells) == n_cells]


def test_the_table_of_null_in_the_docs() -> None:
    """| predicate | value 1 | value 2 | NULL |, with `true`, `false` or `unknown` in each place."""
    names = {"col": col}
    rows = rows_of(4)
    assert len(rows) >= 12
    for source, *truths in rows:
        columns: dict[str, list[Any]] = {"x": [1, 2, None], "tags": [["a"], ["b"], None]}
        attributes = core_attributes(columns, {"x": "int64", "tags": "keywords"})
        predicate: Predicate = eval(source, names)
        true, false = resolve(predicate, attributes).to_mask(), resolve(~predicate, attributes).to_mask()
        found = ["true" if t else "false" if f else "unknown" for t, f in zip(true, false, strict=True)]
        assert found == truths, source


def test_the_notations_in_the_docs_are_one() -> None:
    """| SQL | Python | dict |: three cells of code that give one predicate, where a cell is not a dash."""
    rows = rows_of(3)
    assert len(rows) >= 10
    for sql, python, mongo in rows:
        predicate = eval(python, {"col": col, "datetime": datetime})
        assert as_predicate(sql) == predicate
        if mongo != "–":
            assert as_predicate(eval(mongo)) == predicate, mongo


def test_the_code_in_the_docs_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for block in DOC.split("```python\n")[1:]:
        exec(block.split("```")[0], {})


def test_all_is_sorted_and_there() -> None:
    assert list(engine.filters.__all__) == sorted(engine.filters.__all__)
    for name in engine.filters.__all__:
        assert getattr(engine.filters, name) is not None
