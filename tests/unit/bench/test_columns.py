from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from predicates import SCHEMA, PlainAttributes, questions, rows, trees

from bench.columns import Columns
from engine.filters import count, resolve
from engine.filters.schema import ColumnType

PLAIN: dict[str, ColumnType] = {name: kind for name, kind in SCHEMA.items() if kind != "timestamp"}
specs = trees(st.one_of([questions(name, True) for name in PLAIN]))


@given(rows, specs)
def test_whole_arrays_say_what_single_values_say(held: list[dict[str, object]], specification: object) -> None:
    values = {name: [row[name] for row in held] for name in PLAIN}
    predicate = specification.predicate()  # type: ignore[attr-defined]
    columns = Columns(values, PLAIN)
    right = resolve(predicate, PlainAttributes(values, PLAIN))
    assert resolve(predicate, columns) == right
    assert count(predicate, columns) == right.count()


def test_values_are_taken_by_row() -> None:
    columns = Columns(
        {"n": np.array([5, 6, 7]), "tags": [["a"], None, []], "word": ["x", None, "y"]},
        {"n": "int64", "tags": "keywords", "word": "keyword"},
    )
    at = np.array([2, 1])
    assert columns.take("n", at)[0].tolist() == [7, 6]
    taken, nulls = columns.take("word", at)
    assert (list(taken), nulls.tolist()) == (["y", None], [False, True])
    assert columns.take("tags", at)[1].tolist() == [False, True]
    assert len(columns) == 3
