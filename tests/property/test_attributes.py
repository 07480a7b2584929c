"""Columns of the core against lists of Python values: any sequence of changes, and every question after each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from predicates import contains

from engine import InvalidArgumentError
from engine._core import Attributes, Bitmap

LEAST, MOST = -(2**63), 2**63 - 1
words = st.sampled_from(["", "a", "b", "é", "日本", "\0", "a\0", "𝄞" * 40, "x" * 3000])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "keyword": words,
    "int64": st.sampled_from([0, 1, -1, 7, LEAST, LEAST + 1, MOST - 1, MOST]),
    "float64": st.sampled_from([0.0, -0.0, 1.5, -2.0, math.inf, -math.inf, 5e-324, 1e308, math.nan]),
    "bool": st.booleans(),
    "timestamp": st.sampled_from([0, 1, LEAST, MOST]),
    "keywords": st.lists(words, max_size=4).map(tuple),
}
FILL = {"keyword": "", "int64": 0, "float64": 0.0, "bool": False, "timestamp": 0, "keywords": ()}
WRONG: dict[str, list[Any]] = {
    "keyword": [1, b"a", ["a"], "\ud800"],
    "int64": ["1", 1.0, True, MOST + 1, LEAST - 1],
    "float64": ["1", 1, False],
    "bool": [0, "x", 1.0],
    "timestamp": ["2024-01-01", 2**70],
    "keywords": ["a", 1, [1], ["\ud800"]],
}
columns = st.sampled_from(sorted(VALUES))


def cells(kind: str, n: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | VALUES[kind], min_size=n, max_size=n)


def data(values: list[Any], kind: str) -> tuple[list[Any], Any]:
    """What the core takes for `values`, in which None is NULL."""
    nulls = np.array([value is None for value in values], bool)
    return [FILL[kind] if value is None else value for value in values], nulls if nulls.any() else None


def held(value: Any) -> Any:
    """What is kept of a value: NaN is NULL, a set has each member once."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value


class AttributesModel(RuleBasedStateMachine):
    """`self.model` has a list of values for each column, None for NULL. Columns have the names of their types."""

    @initialize(first=st.lists(columns, unique=True), n=st.sampled_from([0, 3, 200]))
    def create(self, first: list[str], n: int) -> None:
        self.attributes = Attributes()
        self.model: dict[str, list[Any]] = {}
        self.n = 0
        for kind in first:
            self.add_column(kind)
        self.append_many(n)

    @rule(kind=columns)
    def add_column(self, kind: str) -> None:
        if kind in self.model:
            with pytest.raises(InvalidArgumentError, match=f"a column '{kind}' already"):
                self.attributes.add_column(kind, kind)
            return
        self.attributes.add_column(kind, kind)
        self.model[kind] = [None] * self.n

    @rule(draw=st.data(), n=st.integers(0, 5))
    def append(self, draw: st.DataObject, n: int) -> None:
        some = [kind for kind in self.model if draw.draw(st.booleans())]
        added = {kind: draw.draw(cells(kind, n)) for kind in some}
        self.attributes.append(n, {kind: data(values, kind) for kind, values in added.items()})
        for kind, column in self.model.items():
            column.extend(map(held, added.get(kind, [None] * n)))
        self.n += n

    @rule(n=st.sampled_from([100, 300]))
    def append_many(self, n: int) -> None:
        """So many that what readers made is made anew."""
        values: dict[str, Callable[[int], Any]] = {
            "keyword": lambda i: str(i % 7) if i % 3 else f"only {i}",
            "int64": lambda i: i % 50 - 25,
            "float64": lambda i: i / 8,
            "bool": lambda i: i % 3 == 0,
            "timestamp": lambda i: i * 10**12,
            "keywords": lambda i: (*map(str, range(i % 5)), f"only {i}"),
        }
        added = {kind: [values[kind](i) if i % 11 else None for i in range(n)] for kind in self.model}
        self.attributes.append(n, {kind: data(column, kind) for kind, column in added.items()})
        for kind, column in added.items():
            self.model[kind].extend(column)
        self.n += n

    @precondition(lambda self: self.model)
    @rule(draw=st.data())
    def append_what_is_wrong(self, draw: st.DataObject) -> None:
        """In one column; the others are as they should be, and nothing may be left of them."""
        kind = draw.draw(st.sampled_from(sorted(self.model)))
        added = {other: data(draw.draw(cells(other, 3)), other) for other in self.model}
        if draw.draw(st.booleans()):
            added[kind] = data(draw.draw(cells(kind, draw.draw(st.sampled_from([0, 2, 4])))), kind)
        else:
            added[kind] = ([draw.draw(st.sampled_from(WRONG[kind])), *[FILL[kind]] * 2], None)
        with pytest.raises(InvalidArgumentError, match=rf"(data|nulls) of '{kind}'.* expected "):
            self.attributes.append(3, added)

    @precondition(lambda self: self.model and self.n)
    @rule(draw=st.data())
    def set(self, draw: st.DataObject) -> None:
        kind = draw.draw(st.sampled_from(sorted(self.model)))
        rows = draw.draw(st.lists(st.integers(0, self.n - 1), max_size=5))
        values = draw.draw(cells(kind, len(rows)))
        self.attributes.set(kind, rows, data(values, kind))
        for row, value in zip(rows, values, strict=True):
            self.model[kind][row] = held(value)

    @precondition(lambda self: self.model and self.n)
    @rule(draw=st.data())
    def set_what_is_wrong(self, draw: st.DataObject) -> None:
        kind = draw.draw(st.sampled_from(sorted(self.model)))
        good, row = [FILL[kind]], draw.draw(st.sampled_from([-1, self.n]))
        with pytest.raises(InvalidArgumentError, match=f"rows holds {row}, expected 0 to"):
            self.attributes.set(kind, [0, row], good * 2)
        with pytest.raises(InvalidArgumentError, match=f"data of '{kind}' has length 1, expected 2"):
            self.attributes.set(kind, [0, 0], good)
        with pytest.raises(InvalidArgumentError, match=rf"data of '{kind}'\[1\]"):
            self.attributes.set(kind, [0, 0], [*good, draw.draw(st.sampled_from(WRONG[kind]))])

    @rule(draw=st.data(), share=st.sampled_from([0.02, 0.3, 1.0]))
    def drop(self, draw: st.DataObject, share: float) -> None:
        rng = np.random.default_rng(draw.draw(st.integers(0, 99)))
        rows = np.flatnonzero(rng.random(self.n) < share)
        self.attributes.drop(rng.permutation(rows))
        for column in self.model.values():
            for row in reversed(rows.tolist()):
                column[row] = column[-1]
                column.pop()
        self.n -= len(rows)

    @precondition(lambda self: self.n)
    @rule()
    def drop_what_cannot_be(self) -> None:
        for rows, message in (
            ([0, self.n], f"holds {self.n}, expected"),
            ([0, 0], "holds 0 twice"),
            ([-1], "holds -1"),
        ):
            with pytest.raises(InvalidArgumentError, match=message):
                self.attributes.drop(rows)

    @rule(draw=st.data())
    def truncate(self, draw: st.DataObject) -> None:
        self.n = draw.draw(st.integers(self.n // 2, self.n))
        self.attributes.truncate(self.n)
        for column in self.model.values():
            del column[self.n :]
        with pytest.raises(InvalidArgumentError, match=f"n is {self.n + 1}, expected 0 to {self.n}"):
            self.attributes.truncate(self.n + 1)

    @invariant()
    def same_cells(self) -> None:
        if not hasattr(self, "attributes"):
            return
        assert len(self.attributes) == self.n
        assert self.attributes.schema == {kind: kind for kind in self.model}
        assert self.attributes.nbytes() == sum(map(self.attributes.nbytes, self.model))
        for kind, column in self.model.items():
            values, nulls = self.attributes.take(kind, range(self.n))
            values = values if isinstance(values, list) else values.tolist()
            expected = [FILL[kind] if value is None else value for value in column]
            assert list(map(repr, values)) == list(map(repr, expected))  # -0.0 is not 0.0
            assert nulls.tolist() == [value is None for value in column]
            assert self.attributes.nulls(kind).rows().tolist() == np.flatnonzero(nulls).tolist()

    def check(self, kind: str, found: Bitmap, truth: Callable[[Any], bool]) -> int:
        expected = [row for row, value in enumerate(self.model[kind]) if value is not None and truth(value)]
        assert found.rows().tolist() == expected
        assert (len(found), found.count()) == (self.n, len(expected))
        return len(expected)

    @precondition(lambda self: self.model.keys() - {"keywords"})
    @rule(draw=st.data())
    def equal(self, draw: st.DataObject) -> None:
        for kind in self.model.keys() - {"keywords"}:
            held = [value for value in self.model[kind] if value is not None] or [FILL[kind]]
            values = draw.draw(st.lists(VALUES[kind] | st.sampled_from(held), max_size=3))
            n = self.check(kind, self.attributes.equal(kind, values), lambda value: value in values)  # noqa: B023
            assert self.attributes.count_equal(kind, values) == n

    @precondition(lambda self: self.model.keys() & {"int64", "float64", "timestamp"})
    @rule(draw=st.data(), lo_open=st.booleans(), hi_open=st.booleans())
    def between(self, draw: st.DataObject, lo_open: bool, hi_open: bool) -> None:
        for kind in self.model.keys() & {"int64", "float64", "timestamp"}:
            of = VALUES[kind].filter(lambda value: value == value) | st.sampled_from([FILL[kind], FILL[kind] + 5])
            lo, hi = draw.draw(st.none() | of), draw.draw(st.none() | of)

            def inside(value: Any) -> bool:
                above = lo is None or (value > lo if lo_open else value >= lo)  # noqa: B023
                return above and (hi is None or (value < hi if hi_open else value <= hi))  # noqa: B023

            n = self.check(kind, self.attributes.between(kind, lo, hi, lo_open, hi_open), inside)
            assert self.attributes.count_between(kind, lo, hi, lo_open, hi_open) == n

    @precondition(lambda self: "keywords" in self.model)
    @rule(
        values=st.lists(words | st.sampled_from([*"0123", "only 1", "only 99"]), max_size=4),
        mode=st.sampled_from(["any", "all", "exact"]),
    )
    def contains(self, values: list[str], mode: str) -> None:
        found = self.attributes.contains("keywords", values, mode)
        self.check("keywords", found, lambda held: contains(held, values, mode))


AttributesModel.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestAttributesModel = AttributesModel.TestCase
