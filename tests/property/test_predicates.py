"""Predicates against their truth, told row by row in three values; and the three notations against each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from predicates import (
    SCHEMA,
    Many,
    PlainAttributes,
    Spec,
    Test,
    core_attributes,
    rows,
    specs,
    specs_without_null,
    tests,
)

from engine.exceptions import InvalidArgumentError
from engine.filters import Attributes, Predicate, PredicateCache, as_predicate, bind, col, count, resolve


def columns_of(held: list[dict[str, Any]]) -> list[Attributes]:
    """The same rows twice: as plain lists, which look at what reaches them, and in the core."""
    columns = {name: [row[name] for row in held] for name in SCHEMA}
    return [PlainAttributes(columns, SCHEMA), core_attributes(columns, SCHEMA)]


def expected(spec: Spec, held: list[dict[str, Any]]) -> list[int]:
    return [i for i, row in enumerate(held) if spec.truth(row) is True]


@given(specs, rows)
@settings(max_examples=max(200, settings.default.max_examples))
def test_the_rows_are_those_where_it_is_true(spec: Spec, held: list[dict[str, Any]]) -> None:
    predicate = spec.predicate()
    true, false = expected(spec, held), expected(Many("not", (spec,)), held)
    for attributes in columns_of(held):
        assert resolve(predicate, attributes).rows().tolist() == true
        assert count(predicate, attributes) == len(true)
        assert resolve(~predicate, attributes).rows().tolist() == false
        assert count(~predicate, attributes) == len(false)
        assert PredicateCache().resolve(predicate, attributes).rows().tolist() == true


@given(tests, rows)
def test_counts_of_one_question_are_exact(spec: Test, held: list[dict[str, Any]]) -> None:
    for attributes in columns_of(held):
        assert count(spec.predicate(), attributes) == len(expected(spec, held))
        assert count(~spec.predicate(), attributes) == len(expected(Many("not", (spec,)), held))


@given(specs)
def test_repr_gives_it_again(spec: Spec) -> None:
    predicate = spec.predicate()
    again = eval(repr(predicate), {"col": col})
    assert again == predicate
    assert hash(again) == hash(predicate)
    assert repr(again) == repr(predicate)


@given(specs, specs, st.sampled_from([lambda p, q: p & q, lambda p, q: p | q, lambda p, q: ~p, lambda p, q: ~(p & ~q)]))
def test_equal_predicates_may_stand_for_each_other(
    spec: Spec, other: Spec, combine: Callable[[Predicate, Predicate], Predicate]
) -> None:
    """What is built from canonical forms equals what is built from the trees as they were written."""
    p, q = spec.predicate(), other.predicate()
    assert combine(p.canonical, q.canonical) == combine(p, q)
    assert hash(combine(p.canonical, q.canonical)) == hash(combine(p, q))


@given(specs, specs, specs)
def test_laws(a: Spec, b: Spec, c: Spec) -> None:
    p, q, r = a.predicate(), b.predicate(), c.predicate()
    assert ~~p == p
    assert p & q == q & p
    assert p | q == q | p
    assert (p & q) & r == p & (q & r)
    assert (p | q) | r == p | (q | r)
    assert p & p == p == p | p
    assert ~(p & q) == ~p | ~q
    assert col.all_of(p, q, r) == p & q & r
    assert col.any_of(p, q, r) == p | q | r


@given(specs)
def test_binding_changes_nothing_the_second_time(spec: Spec) -> None:
    bound = bind(spec.predicate(), SCHEMA)
    assert bound.columns <= spec.predicate().columns
    assert bound == bound.canonical


@given(specs)
def test_sql_and_col_give_one_tree(spec: Spec) -> None:
    assert as_predicate(spec.sql()) == spec.predicate()


@given(specs_without_null, rows)
def test_mongo_and_col_give_one_tree(spec: Spec, held: list[dict[str, Any]]) -> None:
    """Equal rows, not equal trees: a list of members there is $in, which may be of a column of any type."""
    for attributes in columns_of(held):
        found = resolve(spec.mongo(), attributes).rows().tolist()
        assert found == resolve(spec.predicate(), attributes).rows().tolist()


def predicate_or_refusal(value: Any) -> None:
    try:
        predicate = as_predicate(value)
    except InvalidArgumentError:
        return
    assert isinstance(predicate, Predicate)
    assert eval(repr(predicate), {"col": col}) == predicate


WORDS = r"""
year "x" section tags 'x' '' 'it''s' 1 -2 1.5 1e9 .5 NULL TRUE FALSE = <> != < <= > >= == IN NOT AND OR IS
BETWEEN ( ) [ ] , * + - / % || . ; -- /* */ SELECT FROM WHERE LIKE EXISTS ARRAY ARRAY_CONTAINS ARRAY_CONTAINS_ANY ANY
DATE TIMESTAMP CAST AS '2024-01-01' DISTINCT CASE WHEN THEN END :: ? : @ $1 { } {{ }} && ~ ! -> ->> => ^ & | << COLLATE
INTERVAL ESCAPE ILIKE ISNULL LIMIT ORDER BY UNION # ` \ $$ N'a' E'a' X'1F' 0x1 FILTER OVER lambda
"""

words = st.sampled_from(WORDS.split())


@given(st.text(max_size=40) | st.lists(words, max_size=12).map(" ".join))
def test_any_text_is_a_predicate_or_refused(text: str) -> None:
    predicate_or_refusal(text)


@given(specs, st.data())
def test_sql_with_a_word_changed_is_a_predicate_or_refused(spec: Spec, data: st.DataObject) -> None:
    parts = spec.sql().split(" ")
    parts[data.draw(st.integers(0, len(parts) - 1))] = data.draw(words)
    predicate_or_refusal(" ".join(parts))


OPERATORS = [
    "year",
    "tags",
    "$and",
    "$or",
    "$nor",
    "$not",
    "$eq",
    "$ne",
    "$gt",
    "$lte",
    "$in",
    "$nin",
    "$exists",
    "$all",
    "$regex",
    "$",
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=2)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(OPERATORS) | st.text(max_size=2) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(OPERATORS), trees, max_size=3))
def test_any_dict_is_a_predicate_or_refused(query: dict[Any, Any]) -> None:
    predicate_or_refusal(query)


@given(specs)
def test_a_wrong_schema_is_refused_and_nothing_else(spec: Spec) -> None:
    """Every question, over columns of every type."""
    for kind in set(SCHEMA.values()):
        with suppress(InvalidArgumentError):
            bind(spec.predicate(), dict.fromkeys(SCHEMA, kind))
