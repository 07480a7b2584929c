"""Search of sets of vectors against all scores in float64: exact and in two stages, filters, changes, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import engine
from engine import _core
from engine.multivector import MultiVectorIndex, conditional_transport, maxsim

METRICS = ("maxsim", "ct", "chamfer", "mean")
every_metric = pytest.mark.parametrize("metric", METRICS)


def some_sets(rng: np.random.Generator, n: int, dim: int, most: int = 6) -> list[NDArray[np.float32]]:
    return [rng.standard_normal((rng.integers(1, most + 1), dim)).astype(np.float32) for _ in range(n)]


def unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    """As the index keeps them: unit length in float32."""
    kept = (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)
    return kept.astype(np.float64)


def distance(query: NDArray[Any], item: NDArray[Any], metric: str, temperature: float = 0.05) -> float:
    """The definition, in float64."""
    query, item = unit(query), unit(item)
    similar = query @ item.T
    if metric == "maxsim":
        return float(-similar.max(axis=1).sum())
    if metric == "mean":
        return float(1 - query.mean(axis=0) @ item.mean(axis=0))
    if metric == "chamfer":
        return float(1 - (similar.max(axis=1).mean() + similar.max(axis=0).mean()) / 2)
    return conditional_transport(query, item, temperature)


def expected(queries: list[Any], items: list[Any], metric: str, k: int, allowed: Any = None) -> NDArray[np.int64]:
    every = np.array([[distance(query, item, metric) for item in items] for query in queries])
    if allowed is not None:
        every[:, ~allowed] = np.inf
    return np.argsort(every, axis=1, kind="stable")[:, :k]


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 30),
    dim=st.integers(1, 40),
    metric=st.sampled_from(METRICS),
    k=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_search_is_exact(n: int, dim: int, metric: Any, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, queries = some_sets(rng, n, dim), some_sets(rng, 3, dim)
    index = MultiVectorIndex(dim, metric=metric)
    index.add(items)
    found = index.search(queries, k)
    every = np.array([[distance(query, item, metric) for item in items] for query in queries])
    shown = min(k, n)
    assert (found.ids[:, shown:] == -1).all()
    assert np.isinf(found.distances[:, shown:]).all()
    # In one dim there are ties that only rounding tells apart: compare distances, not ids.
    assert found.distances[:, :shown] == pytest.approx(np.sort(every, axis=1)[:, :shown], abs=1e-6)
    assert np.take_along_axis(every, found.ids[:, :shown], axis=1) == pytest.approx(
        found.distances[:, :shown], abs=1e-6
    )
    assert index.scores(queries) == pytest.approx((0 if metric == "maxsim" else 1) - every, abs=1e-4)


@every_metric
def test_all_candidates_and_a_filter_of_all_are_the_exact_search(metric: Any, rng: np.random.Generator) -> None:
    items, queries = some_sets(rng, 60, 16), some_sets(rng, 8, 16)
    index = MultiVectorIndex(16, metric=metric)
    index.add(items)
    ids = index.search(queries, 7).ids
    assert (ids == expected(queries, items, metric, 7)).all()
    for more in ({"n_candidates": index.n_vectors}, {"n_candidates": 10**6}, {"filter": np.ones(60, np.bool_)}):
        assert (index.search(queries, 7, **more).ids == ids).all()


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_two_stages_find_nearly_all_and_look_at_few(kind: Any, rng: np.random.Generator) -> None:
    middles = rng.standard_normal((300, 4, 24))
    items = [(rows + 0.3 * rng.standard_normal(rows.shape)).astype(np.float32) for rows in middles]
    queries = [rows[:3] + 0.3 * rng.standard_normal((3, 24)) for rows in middles[:40]]
    index = MultiVectorIndex(24, kind=kind)
    index.add(items)
    exact, fast = index.search(queries, 5), index.search(queries, 5, n_candidates=20)
    assert fast.stats.n_scored < 0.25 * exact.stats.n_scored
    assert fast.ids[:, 0].tolist() == exact.ids[:, 0].tolist() == list(range(40))
    both = [len(np.intersect1d(a, b)) for a, b in zip(fast.ids, exact.ids, strict=True)]
    assert np.mean(both) / 5 > 0.8


@every_metric
@pytest.mark.parametrize("n_candidates", [None, 1, 30])
def test_a_filter_is_a_search_of_what_passes(metric: Any, n_candidates: int | None, rng: np.random.Generator) -> None:
    items, queries, mask = some_sets(rng, 50, 8), some_sets(rng, 5, 8), rng.random(50) < 0.3
    index = MultiVectorIndex(8, metric=metric)
    index.add(items, ids=np.arange(100, 150))
    ids = 100 + np.flatnonzero(mask)
    for given_filter in (mask, ids, engine.Bitmap(mask)):
        found = index.search(queries, 6, filter=given_filter, n_candidates=n_candidates)
        assert np.isin(found.ids, ids).all(), "min(k, passing) results always come back, all of them allowed"
        assert found.stats.selectivity == mask.mean()
        if n_candidates is None:
            assert (found.ids - 100 == expected(queries, items, metric, 6, mask)).all()
    none = index.search(queries, 2, filter=np.zeros(50, np.bool_), n_candidates=n_candidates)
    assert (none.ids == -1).all()


@every_metric
def test_too_few_candidates_are_followed_by_all_items(metric: Any, rng: np.random.Generator) -> None:
    items, queries = some_sets(rng, 20, 8), some_sets(rng, 3, 8, most=1)
    index = MultiVectorIndex(8, metric=metric)
    index.add(items)
    assert (index.search(queries, 9, n_candidates=1).ids == index.search(queries, 9).ids).all()


def test_equal_items_are_ordered_by_id(rng: np.random.Generator) -> None:
    item = rng.standard_normal((3, 5))
    index = MultiVectorIndex(5)
    index.add([item, item[::-1], item[[1, 0, 2]]], ids=[7, 3, 5])
    assert index.search([item], 3).ids.tolist() == [[3, 5, 7]]


def test_order_of_tokens_and_items_changes_nothing(rng: np.random.Generator) -> None:
    items, queries, order = some_sets(rng, 30, 6), some_sets(rng, 4, 6), rng.permutation(30)
    here, there = MultiVectorIndex(6), MultiVectorIndex(6)
    here.add(items)
    there.add([items[i][::-1] for i in order], ids=order)
    assert (here.search(queries, 5).ids == there.search([query[::-1] for query in queries], 5).ids).all()


def test_offsets_are_as_good_as_a_list(rng: np.random.Generator) -> None:
    items = some_sets(rng, 9, 6)
    here, there = MultiVectorIndex(6), MultiVectorIndex(6)
    flat = (np.concatenate(items), np.cumsum([0, *map(len, items)]))
    assert (here.add(items) == there.add(flat)).all()
    assert (here.search(items, 3).ids == there.search(flat, 3).ids).all()
    assert there.get(4) == pytest.approx(unit(items[4]))


def test_items_come_and_go(rng: np.random.Generator) -> None:
    items = some_sets(rng, 10, 6)
    index = MultiVectorIndex(6)
    assert index.add(items[:4]).tolist() == [0, 1, 2, 3]
    index.search(items[:1], 1, n_candidates=2)
    assert index.add(items[4:], ids=[20, 10, 11, 12, 13, 14]).tolist() == [20, 10, 11, 12, 13, 14]
    assert index.remove([1, 20]) == 2
    assert index.ids.tolist() == [0, 2, 3, 10, 11, 12, 13, 14]
    assert index.n_vectors == sum(len(item) for i, item in enumerate(items) if i not in (1, 4))
    for n_candidates in (None, 3):
        found = index.search([items[5], items[9]], 1, n_candidates=n_candidates)
        assert found.ids.tolist() == [[10], [14]]
    assert index.add(items[:1]).tolist() == [21]
    assert index.nbytes >= 4 * 6 * index.n_vectors
    assert repr(index) == f"MultiVectorIndex(dim=6, metric='maxsim', items=9, vectors={index.n_vectors})"


def test_blocks_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    items, queries = some_sets(rng, 40, 8), some_sets(rng, 6, 8)
    for metric in METRICS:
        index = MultiVectorIndex(8, metric=metric)  # type: ignore[arg-type]
        index.add(items)
        whole = index.search(queries, 5)
        monkeypatch.setattr("engine.multivector.index.BLOCK_BYTES", 64)
        assert (index.search(queries, 5).ids == whole.ids).all()
        monkeypatch.undo()


def test_many_vectors_and_few_threads(rng: np.random.Generator) -> None:
    items, queries = some_sets(rng, 400, 33, most=60), some_sets(rng, 40, 33, most=40)  # queries of several blocks
    one, two = MultiVectorIndex(33, n_threads=1), MultiVectorIndex(33, n_threads=2)
    one.add(items)
    two.add(items)
    assert (one.scores(queries) == two.scores(queries)).all()
    pairs = rng.integers(400, size=40)
    slow = [maxsim(query, items[i]) for query, i in zip(queries, pairs, strict=True)]
    assert one.scores(queries)[np.arange(40), pairs] == pytest.approx(slow, abs=1e-4)


BAD: list[tuple[str, Any, str]] = [
    ("no items", [], "items is empty"),
    ("an empty set", [np.ones((1, 3)), np.empty((0, 3))], r"items\[1\] has shape"),
    ("another dim", [np.ones((1, 2))], r"items\[0\] has dim 2, expected 3"),
    ("NaN", [[[1, np.nan, 0]]], r"items\[0\]\[0, 1\] is nan"),
    ("a zero vector", [[[1, 0, 0]], [[0, 0, 0]]], "row 1 of items is zero"),
    ("one matrix", np.ones((2, 3)), "expected a list of matrices"),
    ("no list", 7, "items is 7"),
    ("offsets that fall", (np.ones((3, 3)), [0, 2, 1, 3]), "offsets of items go from 2 to 1"),
    ("an empty set by offsets", (np.ones((3, 3)), [0, 2, 2, 3]), "offsets of items go from 2 to 2"),
    ("offsets too short", (np.ones((3, 3)), [0, 2]), "offsets of items are"),
    ("offsets of floats", (np.ones((3, 3)), [0.0, 3.0]), "offsets of items are"),
]


@pytest.mark.parametrize(("items", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_items_are_refused_and_nothing_is_added(items: Any, message: str) -> None:
    index = MultiVectorIndex(3)
    index.add([np.eye(3)])
    with pytest.raises(engine.InvalidArgumentError, match=message):
        index.add(items)
    with pytest.raises(engine.InvalidArgumentError, match=message.replace("items", "queries")):
        index.search(items, 1)
    assert len(index) == 1
    assert index.search([np.eye(3)], 1).ids.tolist() == [[0]]


def test_bad_settings_are_refused() -> None:
    for setting, message in (
        ({"dim": 0}, "dim is 0"),
        ({"metric": "cosine"}, "metric is 'cosine'"),
        ({"temperature": 0}, "temperature is 0.0"),
        ({"lam": -1}, "lam is -1.0"),
        ({"kind": "flat"}, "kind is 'flat'"),
    ):
        with pytest.raises(engine.InvalidArgumentError, match=message):
            MultiVectorIndex(**{"dim": 3} | setting)  # type: ignore[arg-type]
    index = MultiVectorIndex(3)
    with pytest.raises(engine.NotBuiltError, match="no items"):
        index.search([np.eye(3)], 1)
    index.add([np.eye(3)])
    for arguments, message in (
        ({"k": 0}, "k is 0"),
        ({"n_candidates": 0}, "n_candidates is 0"),
        ({"filter": [True, False]}, "filter has shape"),
        ({"filter": "x"}, "filter"),
    ):
        with pytest.raises(engine.InvalidArgumentError, match=message):
            index.search([np.eye(3)], **{"k": 1} | arguments)  # type: ignore[arg-type]
    for ids, message in (([0], "ids holds 0"), ([5, 5], "ids holds 5"), ([-1], "is -1"), ([1, 2, 3], "length 3")):
        with pytest.raises(engine.InvalidArgumentError, match=message):
            index.add([np.eye(3)] * (2 if len(ids) == 2 else 1), ids=ids)
    for call in (lambda: index.remove([4]), lambda: index.get(4)):
        with pytest.raises(engine.InvalidArgumentError, match="4, which is not in the index"):
            call()
    assert index.ids.tolist() == [0]


def test_the_core_checks_again() -> None:
    rows, offsets = np.ones((3, 2), np.float32), np.array([0, 1, 3])
    for wrong, message in (
        ((rows, np.array([0, 3, 2]), rows, offsets, [0], 1), "offsets"),
        ((rows, np.array([0, 3, 3]), rows, offsets, [0], 1), "is empty"),
        ((rows, offsets, np.ones((3, 4), np.float32), offsets, [0], 1), "dim"),
        ((rows, offsets, rows, offsets, [2], 1), "item 2"),
        ((rows, offsets, rows, offsets, [-1], 1), "item -1"),
        ((rows, np.empty(0, np.int64), rows, offsets, [0], 1), "offsets"),
    ):
        *sets, listed, n_threads = wrong
        with pytest.raises(engine.InvalidArgumentError, match=message):
            _core.maxsim(*sets, np.array(listed, np.int64), n_threads)  # type: ignore[call-arg]
