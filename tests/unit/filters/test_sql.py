"""SQL conditions: what they mean, where they are wrong, what is more than a predicate."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import pytest

from engine import col
from engine.exceptions import InvalidArgumentError, UnsupportedError
from engine.filters import Predicate, as_predicate

x, y, tags = col("x"), col("y"), col("tags")


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("x = 1", x == 1),
        ("x == 1", x == 1),
        ("1 = x", x == 1),
        ("x <> -1.5", x != -1.5),
        ("x != 1e3", x != 1000.0),
        ("5 > x", x < 5),
        ("5 <= x", x >= 5),
        ("(x) = ((1))", x == 1),
        ("x = 1 AND y = 2 OR NOT x = 3", ((x == 1) & (y == 2)) | (x != 3)),
        ("x = 1 and (y = 2 or not x = 3)", (x == 1) & ((y == 2) | (x != 3))),
        ("x IN (1, 2) AND x NOT IN (2)", x.isin([1, 2]) & (x != 2)),
        ("x IN ()", x.isin([])),
        ("x IN (1, NULL)", x.isin([1, None])),
        ("x BETWEEN 1 AND 5 AND y NOT BETWEEN 1 AND 5", x.between(1, 5) & ~y.between(1, 5)),
        ("x IS NULL OR y IS NOT NULL", x.is_null() | y.not_null()),
        ("x = NULL", x.isin([None])),
        ("x < NULL", x.isin([None])),
        ("archived", col("archived") == True),  # noqa: E712
        ("NOT archived", col("archived") != True),  # noqa: E712
        ("x IS TRUE", (x == True) & x.not_null()),  # noqa: E712
        ("x IS NOT FALSE", (x != False) | x.is_null()),  # noqa: E712
        ("TRUE", col.all_of()),
        ("NOT TRUE OR FALSE", col.any_of()),
        ("x = 'it''s'", x == "it's"),
        ("x = '-- no /* comment */; here'", x == "-- no /* comment */; here"),
        ("x = ''", x == ""),
        ("x = 'ä\n😀'", x == "ä\n😀"),
        ('"a b" = 1 AND "Group" = 2', (col("a b") == 1) & (col("Group") == 2)),
        ("Year = 1", col("Year") == 1),
        ("date >= DATE '2024-05-17'", col("date") >= datetime(2024, 5, 17)),
        ("t < TIMESTAMP '2024-05-17 08:30:00'", col("t") < datetime(2024, 5, 17, 8, 30)),
        ("t < CAST('2024-05-17' AS TIMESTAMP)", col("t") < datetime(2024, 5, 17)),
        ("t = TIMESTAMP '2024-05-17T10:30:00+02:00'", col("t") == datetime(2024, 5, 17, 8, 30, tzinfo=timezone.utc)),
        ("'a' IN tags", tags.contains("a")),
        ("'a' NOT IN tags", ~tags.contains("a")),
        ("ARRAY_CONTAINS(tags, 'a')", tags.contains("a")),
        ("array_contains_any(tags, ['a', 'b'])", tags.contains_any(["a", "b"])),
        ("ARRAY_CONTAINS_ALL(tags, ARRAY['a', 'b'])", tags.contains_all(["a", "b"])),
        ("tags = ['a', 'b']", tags.equals_set(["a", "b"])),
        ("tags <> []", ~tags.equals_set([])),
        ("year >= 2020 AND section IN ('net','games') AND NOT archived",
         (col("year") >= 2020) & col("section").isin(["net", "games"]) & (col("archived") != True)),  # noqa: E712
    ],
)  # fmt: skip
def test_meaning(text: str, predicate: Predicate) -> None:
    assert as_predicate(text) == predicate


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("x = ", 1, 3),
        ("x = 1 AND", 1, 7),
        ("x = 1 y", 1, 7),
        ("x =\n 1 ~ 2", 2, 4),
        ("(x = 1", 1, 6),
        ("x = 1)", 1, 6),
        ("x = 'abc", 1, 8),
        ("x = 1\n/* a", 2, 4),
        ("x = 1; y = 2", 1, 6),
        ("x = 1;", 1, 6),
        ("x = 1 -- all", 1, 5),
        ("x = /* all */ 1", 1, 3),
        ("x = 1 LIMIT 3", 1, 7),
        ("x = 1 UNION SELECT 1", 1, 7),
        ("SELECT x FROM t", 1, 1),
        ("x IN (1, 2", 1, 10),
        ("ELSE x", 1, 1),
    ],
)
def test_syntax_errors_say_where(text: str, line: int, column: int) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"is wrong at line {line}, column {column}: "):
        as_predicate(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is '', expected a condition"),
        ("  \n", r"expected a condition"),
        ("-- x = 1", r"expected a condition"),
        ("x IN (SELECT 1)", r"has 'x IN \(SELECT 1\)', whose query"),
        ("EXISTS (SELECT 1)", r"'EXISTS\(SELECT 1\)', expected comparisons"),
        ("(SELECT 1) = x", r"'\(SELECT 1\)', expected a literal"),
        ("x = (SELECT 1)", r"expected a literal"),
        ("lower(x) = 'a'", r"LOWER\(x\).*, expected the name of a column"),
        ("x = now()", r"expected a literal"),
        ("x = 1 + 2", r"'1 \+ 2', expected a literal"),
        ("x + 1 = 2", r"'x \+ 1', expected the name of a column"),
        ("x = y", r"'y', expected a literal"),
        ("1 = 1", r"'1', expected the name of a column"),
        ("x LIKE 'a%'", r"x LIKE .*, expected comparisons"),
        ("x = ?", r"expected a literal"),
        ("x = :name", r"expected a literal"),
        ("t.x = 1", r"'t.x', whose table"),
        ("* = 1", r"expected the name of a column"),
        ("x::int = 1", r"expected the name of a column"),
        ("x = CAST(1 AS INT)", r"expected a literal"),
        ("x = CAST('1' AS INT)", r"expected a literal"),
        ("CASE WHEN x THEN y END", r"expected comparisons"),
        ("x IS DISTINCT FROM 1", r"expected comparisons"),
        ("x = - - 1", r"expected a literal"),
        ("x IN (y)", r"'y', expected a literal"),
        ("x = DATE 'soon'", r"DATE in the SQL filter is 'soon', expected a datetime"),
        ("x = 1e999", r"is inf, expected a finite number"),
        ("x = " + "9" * 5000, r"the number '999.*, expected one of fewer digits"),
        ("ARRAY_CONTAINS(tags, 3)", r"has 3, expected keywords"),
        ("3 IN tags", r"has 3, expected keywords"),
        ("x = 'a' 'b'", r"expected a literal"),
        ("{{ x }} = 1", r"expected the name of a column"),
        ("+", r"expected comparisons"),
        ("(" * 500 + "x = 1" + ")" * 500, r"nests too deeply"),
        ("NOT " * 5000 + "x = 1", r"nests too deeply"),
    ],
)
def test_more_than_a_predicate_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        as_predicate(text)
    assert len(str(caught.value)) < 400


def test_thirty_parentheses_work() -> None:
    assert as_predicate("(" * 30 + "x = 1" + ")" * 30) == (x == 1)


def test_long_texts_are_not_kept_but_work() -> None:
    text = f"x IN ({', '.join(map(str, range(10_000)))})"
    assert as_predicate(text) == x.isin(range(10_000))
    assert as_predicate("x = 1") is as_predicate("x = 1")


def test_without_sqlglot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    with pytest.raises(UnsupportedError, match=r"SQL filters need sqlglot .*pip install 'nearfield\[sql\]'"):
        as_predicate("not_parsed_before = 1")
