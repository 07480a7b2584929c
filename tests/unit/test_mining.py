"""Hard negatives beside a loop over all rows in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine import mining
from engine.exceptions import InvalidArgumentError, UnsupportedError
from engine.mining import hard_negatives
from engine.types import IndexKind, Metric


def expected(queries: Any, positives: Any, rows: Any, k: int, metric: Metric, ratio: float) -> list[list[int]]:
    """Ids, nearest first."""
    if metric == "cosine":
        queries, rows = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, rows))
    found = []
    for similar, answers in zip(queries @ rows.T, positives, strict=True):
        least = similar[answers].min()
        limit = least - (1 - ratio) * abs(least)
        kept = [i for i in np.argsort(-similar, kind="stable") if similar[i] <= limit and i not in answers][:k]
        found.append([int(i) for i in kept] + [-1] * (k - len(kept)))
    return found


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from(["cosine", "ip"]), st.sampled_from([0.0, 0.7, 0.95])
)
@settings(max_examples=60, deadline=None)
def test_as_the_loop_finds_them(seed: int, k: int, metric: Metric, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    rows, queries = rng.standard_normal((60, 6)), rng.standard_normal((5, 6))
    rows, queries = rows.astype(np.float32).astype(np.float64), queries.astype(np.float32).astype(np.float64)
    positives = [rng.choice(60, rng.integers(1, 4), replace=False) for _ in queries]
    index = engine.Index(6, metric=metric)
    index.add(rows)
    found = hard_negatives(queries, positives, index, k, max_ratio=ratio)
    assert found.ids.tolist() == expected(queries, positives, rows, k, metric, ratio)
    assert np.isinf(found.distances[found.ids < 0]).all()
    assert np.isfinite(found.distances[found.ids >= 0]).all()
    assert found.metric == metric


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_rows_that_may_be_answers_are_left_out(kind: IndexKind) -> None:
    """More near duplicates of the answer than a first search looks at."""
    rng = np.random.default_rng(0)
    answer = rng.standard_normal(16)
    rows = np.vstack([answer + 0.01 * rng.standard_normal((300, 16)), rng.standard_normal((300, 16))])
    index = engine.Index(16, kind=kind)
    index.add(rows)
    found = hard_negatives(answer[None], [7], index, k=5)
    assert (found.ids >= 300).all()
    assert found.stats.n_scored > 0


def test_one_search_fills_so_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    index = engine.Index(8)
    index.add(rng.standard_normal((50, 8)))
    queries, positives = rng.standard_normal((30, 8)), list(range(30))
    whole = hard_negatives(queries, positives, index, k=7)
    monkeypatch.setattr(mining, "PLACES", 40)
    np.testing.assert_array_equal(hard_negatives(queries, positives, index, k=7).ids, whole.ids)


def test_where_all_are_too_near_or_answers() -> None:
    index = engine.Index(2)
    index.add([[1, 0], [1, 0.01], [0, 1]], ids=[5, 6, 7])
    found = hard_negatives([[1, 0], [0, 1]], [[5, 7], [7]], index, k=2)
    assert found.ids.tolist() == [[-1, -1], [6, 5]]


def test_bad_input() -> None:
    index = engine.Index(2)
    index.add(np.eye(2))
    with pytest.raises(InvalidArgumentError, match=r"positives has length 2, expected 1"):
        hard_negatives([[1, 0]], [0, 1], index)
    with pytest.raises(InvalidArgumentError, match=r"positives\[0\] is empty"):
        hard_negatives([[1, 0]], [[]], index)
    with pytest.raises(InvalidArgumentError, match=r"ids holds 9, which is not in the index"):
        hard_negatives([[1, 0]], [9], index)
    with pytest.raises(InvalidArgumentError, match=r"max_ratio is 1.5"):
        hard_negatives([[1, 0]], [0], index, max_ratio=1.5)
    with pytest.raises(InvalidArgumentError, match=r"k is 0"):
        hard_negatives([[1, 0]], [0], index, k=0)
    with pytest.raises(UnsupportedError, match=r"'l2'"):
        hard_negatives([[1, 0]], [0], engine.Index(2, metric="l2"))
