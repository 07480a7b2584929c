"""engine.Index(kind="graph"): its methods one by one. Recall and laws are in tests/property/test_graph.py."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import DIM, clustered, graph_of, links_of, recall_of, state_of
from numpy.typing import NDArray
from reference import check_range, check_search, rounded_to

import engine
from engine import _core, cli
from engine.evaluation import recall_at_k
from engine.storage import read_container, write_container
from engine.types import Metric, VectorDtype

N = 4000
VECTORS = clustered(0, N)
QUERIES = clustered(1, 50)
METRICS: tuple[Metric, ...] = ("cosine", "ip", "l2")


@pytest.fixture(scope="module", name="shared", params=["plain", "fast"])
def built_once(request: pytest.FixtureRequest) -> engine.Index:
    """4,000 rows with even ids; not to be changed."""
    index = engine.Index(DIM, metric="l2", kind="graph", layout=request.param)
    index.add(VECTORS, ids=np.arange(0, 2 * N, 2))
    return index


@pytest.fixture
def index(shared: engine.Index) -> engine.Index:
    """The same, to be changed."""
    return pickle.loads(pickle.dumps(shared))  # type: ignore[no-any-return]


def same_answers(left: engine.Index, right: engine.Index, **options: Any) -> None:
    for ours, theirs in zip(left.search(QUERIES, 10, **options), right.search(QUERIES, 10, **options), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---- arguments


def test_the_default_is_exact() -> None:
    assert engine.Index(DIM).kind == "exact"
    assert (engine.Index(DIM).M, engine.Index(DIM).ef_construction, engine.Index(DIM).seed) == (None, None, None)


def test_a_new_graph() -> None:
    index = engine.Index(DIM, kind="graph")
    assert (index.kind, index.M, index.ef_construction, index.seed) == ("graph", 32, 200, 0)
    assert "kind='graph', M=32, ef_construction=200, seed=0, layout='plain'" in repr(index)
    assert (len(index), index.n_dead, index.calibration) == (0, 0, ())
    assert index.verify()["n_rows"] == 0
    with pytest.raises(engine.NotBuiltError):
        index.search(QUERIES, 1)
    with pytest.raises(engine.NotBuiltError):
        index.range_search(QUERIES, 1.0)
    for name in ("M", "ef_construction", "seed", "layout"):
        with pytest.raises(AttributeError):
            setattr(index, name, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "hnsw"}, "kind is 'hnsw', expected one of 'exact', 'graph'"),
        ({"M": 3}, "M is 3, expected 4 to 63"),
        ({"M": 64}, "M is 64, expected 4 to 63"),
        ({"M": 0}, "M is 0"),
        ({"M": 8.0}, "M is 8.0, expected an integer"),
        ({"M": True}, "M is True, expected an integer"),
        ({"ef_construction": 0}, "ef_construction is 0"),
        ({"ef_construction": 10_001}, "ef_construction is 10001, expected 1 to 10000"),
        ({"seed": -1}, r"seed is -1, expected an integer from 0 to 2\*\*64 - 1"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": True}, "seed is True"),
        ({"kind": "exact", "M": 32}, "M is 32, expected None: it is for kind 'graph'"),
        ({"kind": "exact", "ef_construction": 200}, "ef_construction is 200, expected None"),
        ({"kind": "exact", "seed": 0}, "seed is 0, expected None"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(engine.InvalidArgumentError, match=message):
        engine.Index(DIM, **{"kind": "graph", **options})


@pytest.mark.parametrize("options", [{"M": 4}, {"M": 63}, {"ef_construction": 1}, {"seed": 2**64 - 1}])
def test_options_at_their_limits(options: dict[str, int], tmp_path: Path) -> None:
    index = graph_of(VECTORS[:1500], **options)
    assert index.verify()["n_reached"] == 1500
    index.save(tmp_path / "x")
    loaded = engine.Index.load(tmp_path / "x")
    assert (loaded.M, loaded.ef_construction, loaded.seed) == (index.M, index.ef_construction, index.seed)
    same_answers(index, loaded, ef=50)


def test_every_option_counts() -> None:
    """None is taken and dropped."""
    plain = links_of(graph_of(VECTORS[:1500]))
    for options in ({"M": 16}, {"ef_construction": 40}, {"seed": 1}):
        assert not np.array_equal(links_of(graph_of(VECTORS[:1500], **options)), plain), options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recall": 0}, "recall is 0, expected more than 0, at most 1"),
        ({"recall": 1.01}, "recall is 1.01"),
        ({"recall": -0.5}, "recall is -0.5"),
        ({"recall": np.nan}, "recall is nan"),
        ({"recall": "high"}, "recall is 'high', expected a number"),
        ({"recall": True}, "recall is True"),
        ({"ef": 0}, "ef is 0, expected an integer from 1"),
        ({"ef": -1}, "ef is -1"),
        ({"ef": 10.0}, "ef is 10.0"),
        ({"ef": 10, "recall": 0.9}, "recall is 0.9 and ef 10, expected one of them"),
    ],
)
def test_what_is_asked_for_out_of_range(shared: engine.Index, options: dict[str, Any], message: str) -> None:
    with pytest.raises(engine.InvalidArgumentError, match=message):
        shared.search(QUERIES, 10, **options)
    if "ef" not in options:
        with pytest.raises(engine.InvalidArgumentError, match=message):
            shared.explain(10, **options)


def test_an_exact_index_satisfies_every_recall() -> None:
    index = engine.Index(DIM, metric="l2")
    index.add(VECTORS)
    check_search(index.search(QUERIES, 5, recall=0.5), QUERIES, VECTORS, 5, "l2")
    with pytest.raises(engine.InvalidArgumentError, match="recall is 2"):
        index.search(QUERIES, 5, recall=2)
    with pytest.raises(engine.InvalidArgumentError, match="ef is 50, expected None: an index of kind 'exact'"):
        index.search(QUERIES, 5, ef=50)
    plan = index.explain(5, recall=0.5)
    assert (plan.kind, plan.strategy, plan.ef, plan.recall, plan.calibration) == ("exact", "exact", 0, 1.0, ())
    index.optimize()
    assert (index.n_dead, index.inspect(), index.verify()) == (0, {"n_rows": N}, {"n_rows": N})


# ---- what a search does, and what explain says of it


def test_distances_are_exact_and_in_order(shared: engine.Index) -> None:
    found = shared.search(QUERIES, 10, ef=30)
    assert found.stats.strategy == "graph"
    assert 0 < found.stats.n_rescored < found.stats.n_scored < len(QUERIES) * N
    exact = engine.Index(DIM, metric="l2")
    exact.add(VECTORS, ids=shared.ids)
    for query, ids, distances in zip(QUERIES, *found, strict=True):
        check_search(
            exact.search(query, 10, filter=ids), query[None], VECTORS, 10, "l2", ids=shared.ids,
            allowed=np.isin(shared.ids, ids),
        )  # fmt: skip
        np.testing.assert_array_equal(exact.search(query, 10, filter=ids).ids[0], ids)
        np.testing.assert_array_equal(exact.search(query, 10, filter=ids).distances[0], distances)


@pytest.mark.parametrize("options", [{"recall": 1.0}, {"recall": 1}, {"ef": N}, {"ef": 2**31 - 1}])
def test_exact_where_all_are_wanted(shared: engine.Index, options: dict[str, Any]) -> None:
    check_search(shared.search(QUERIES, 10, **options), QUERIES, VECTORS, 10, "l2", ids=shared.ids)


def test_a_larger_pool_finds_more(shared: engine.Index) -> None:
    recalls = [recall_of(shared, QUERIES, 10, ef=ef) for ef in (10, 40, 200)]
    assert recalls[0] < recalls[1] <= recalls[2]
    assert recalls[2] > 0.99
    work = [shared.search(QUERIES, 10, ef=ef).stats.n_scored for ef in (10, 40, 200)]
    assert work == sorted(work)
    # What is beside the rows looked at is found too: k of them, however few those are.
    few = shared.search(QUERIES, 10, ef=1)
    assert few.stats.strategy == "graph"
    assert (few.ids >= 0).all()
    # One query or many, one thread or two are the same walk.
    same = [shared.search(QUERIES, 10, ef=10), shared.search(QUERIES, 10, ef=10, n_threads=2)]
    np.testing.assert_array_equal(same[0].ids, same[1].ids)
    np.testing.assert_array_equal(shared.search(QUERIES[7], 10, ef=10).ids[0], same[0].ids[7])


def test_recall_chooses_the_pool(shared: engine.Index) -> None:
    """The default is 0.95, and more recall is more work."""
    work = [shared.search(QUERIES, 10, recall=recall).stats.n_scored for recall in (0.5, 0.95, 0.99)]
    assert work[0] <= work[1] < work[2]
    same = (shared.search(QUERIES, 10), shared.search(QUERIES, 10, recall=0.95))
    np.testing.assert_array_equal(same[0].ids, same[1].ids)
    assert same[0].stats.n_scored == work[1]
    assert shared.search(QUERIES, 10, ef=shared.explain().ef).stats.n_scored == work[1]


def test_explain_says_what_search_does(shared: engine.Index) -> None:
    few, unmeasured = graph_of(VECTORS[:1000]), graph_of(VECTORS[:1500])
    mask = np.arange(N) % 2 == 0
    seen = set()
    for index, k, recall, allowed in [
        (shared, 10, None, None), (shared, 1, 0.5, None), (shared, 37, 0.9, None), (shared, 500, 0.9, None),
        (shared, N, 0.5, None), (shared, 10, 1.0, None), (shared, 10, 0.9, mask), (shared, 10, 1 - 1e-12, None),
        (few, 10, 0.9, None), (unmeasured, 10, 0.9, None),
    ]:  # fmt: skip
        plan = index.explain(k, recall=recall, filter=allowed, n_queries=len(QUERIES))
        stats = index.search(QUERIES, k, recall=recall, filter=allowed).stats
        assert (plan.strategy == "graph") == (stats.strategy == "graph"), (k, recall, plan)
        assert plan.kind == "graph"
        if plan.strategy == "graph":
            assert plan.ef >= 1
            assert plan.recall == (0.95 if recall is None else recall)
        else:
            assert (plan.ef, plan.recall) == (0, 1.0)
        seen.add(plan.reason)
    assert len(seen) == 7, seen
    with pytest.raises(engine.InvalidArgumentError, match="1, which is not in the index"):
        shared.explain(filter=[1])
    with pytest.raises(engine.InvalidArgumentError, match="k is 0"):
        shared.explain(0)


def test_what_is_out_of_reach_is_exact_and_explained(shared: engine.Index) -> None:
    plan = shared.explain(10, recall=1 - 1e-12)
    best = max(point.recall for point in plan.calibration if point.k == 10)
    assert "recall 1 was not reached" in plan.reason
    assert f"{best:.4f}" in plan.reason
    check_search(shared.search(QUERIES, 10, recall=1 - 1e-12), QUERIES, VECTORS, 10, "l2", ids=shared.ids)


def test_the_plan_reads_well(shared: engine.Index) -> None:
    lines = repr(shared.explain()).splitlines()
    assert lines[0].startswith("Plan(graph, ef=")
    assert lines[0].endswith("recall=0.95): as measured on rows held out")
    assert lines[1].split() == ["k", "ef", "recall", "error"]
    assert len(lines) == 2 + len(shared.calibration)


def test_calibration_is_a_table(shared: engine.Index) -> None:
    points = shared.calibration
    assert [point.k for point in points] == sorted(point.k for point in points)
    assert {point.k for point in points} == {1, 10, 30, 100}
    assert all(0 <= point.recall <= 1 and 0 <= point.error < 0.1 and point.ef >= 1 for point in points)


def test_many_neighbours_are_found_as_reliably() -> None:
    """Beyond 100 the pool grows faster with k than from 10 to 100."""
    rng = np.random.default_rng(1)
    vectors, queries = (rng.standard_normal((n, 48), dtype=np.float32) for n in (20_500, 60))
    index = engine.Index(48, kind="graph")
    index.add(vectors)
    assert {point.k for point in index.calibration} == {1, 10, 30, 100, 1000}
    for k in (200, 400, 900):
        found = index.search(queries, k, recall=0.98)
        assert found.stats.strategy == "graph"
        assert recall_at_k(found.ids, engine.topk(queries, vectors, k).ids, k) >= 0.975


def test_rows_that_are_gone_are_not_taken_for_found() -> None:
    """They are still walked by, and met, when the next rows make it measure anew."""
    rng = np.random.default_rng(2)
    vectors, queries = (rng.standard_normal((n, 32), dtype=np.float32) for n in (10_000, 200))
    index = engine.Index(32, kind="graph")
    index.add(vectors[:-1])
    before = index.calibration
    index.remove(np.arange(2000))
    index.add(vectors[-1:])
    assert index.calibration != before
    assert index.n_dead == 2000
    right = 2000 + engine.topk(queries, vectors[2000:], 10).ids
    assert recall_at_k(index.search(queries, 10, recall=0.9).ids, right, 10) >= 0.92


@pytest.mark.parametrize("piece", [40, 500])
def test_the_calibration_follows_the_rows(index: engine.Index, piece: int) -> None:
    """It is renewed when a fifth of them has changed, in pieces of any size."""
    before = index.calibration
    index.add(clustered(2, 400))
    assert index.calibration == before
    for seed in range(1000 // piece):
        index.add(clustered(seed, piece) * 3)
    assert index.calibration != before


def test_the_calibration_goes_with_the_rows(index: engine.Index) -> None:
    """What was measured on rows that are gone says nothing of others."""
    before = index.calibration
    index.remove(index.ids)
    index.add(np.random.default_rng(0).standard_normal((1500, DIM)))
    assert index.calibration != before


def test_walks_for_inner_products_start_at_the_longest_rows_that_are_left() -> None:
    index = graph_of(clustered(3, 4000), "ip")
    index.remove(np.argsort(np.linalg.norm(index.get(index.ids), axis=1))[-1500:])  # compacts the graph
    longest = np.argsort(-np.linalg.norm(index._core.parts()["vectors"].view(np.float32).reshape(-1, DIM), axis=1))
    assert set(longest[:8].tolist()) <= set(index._core.parts()["entries"].tolist())


def test_filters_are_exact(shared: engine.Index, rng: np.random.Generator) -> None:
    for share in (0.001, 0.1, 0.9):
        mask = rng.random(N) < share
        mask[0] = True
        for allowed in (mask, shared.ids[mask], engine.Bitmap(mask)):
            found = shared.search(QUERIES[:5], 10, filter=allowed, ef=20)
            check_search(found, QUERIES[:5], VECTORS, 10, "l2", ids=shared.ids, allowed=mask)


@pytest.mark.parametrize("metric", METRICS)
def test_range_search_is_exact(metric: Metric) -> None:
    index = graph_of(VECTORS, metric)
    radius = float(index.search(QUERIES[:1], 50, recall=1.0).distances[0, -1])
    check_range(index.range_search(QUERIES[:5], radius), QUERIES[:5], VECTORS, radius, metric)
    index.remove(np.arange(500))
    allowed = np.arange(N) >= 500
    check_range(index.range_search(QUERIES[:5], radius), QUERIES[:5], VECTORS, radius, metric, allowed=allowed)


def test_fewer_rows_than_k() -> None:
    index = graph_of(VECTORS[:7])
    check_search(index.search(QUERIES, 20), QUERIES, VECTORS[:7], 20, "l2")
    index = graph_of(VECTORS[:1500])
    check_search(index.search(QUERIES[:3], 1600, ef=10), QUERIES[:3], VECTORS[:1500], 1600, "l2")


def test_queries_that_cannot_be(shared: engine.Index) -> None:
    wrong = QUERIES.copy()
    wrong[3, 4] = np.nan
    with pytest.raises(engine.InvalidArgumentError, match=r"queries\[3, 4\] is nan"):
        shared.search(wrong, 10, ef=20)
    with pytest.raises(engine.InvalidArgumentError, match="queries has dim 3, expected 32"):
        shared.search(np.ones((2, 3)), 10)
    with pytest.raises(engine.InvalidArgumentError, match="zero"):
        graph_of(VECTORS, "cosine").search(np.zeros(DIM), 10, ef=20)


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_a_query_without_a_direction(metric: Metric) -> None:
    """Zero, and the mean of all rows, whose code is zero; under ip all rows are as near to zero as any."""
    index = graph_of(VECTORS, metric)
    for query in (np.zeros(DIM), VECTORS.mean(axis=0)):
        expected, found = index.search(query, 10, recall=1.0), index.search(query, 10, ef=400)
        assert np.isin(found.distances, expected.distances).mean() >= 0.9


# ---- add, remove, optimize, get


def test_a_failing_add_changes_nothing(index: engine.Index) -> None:
    before, answers = state_of(index), index.search(QUERIES, 10, ef=50)
    wrong = VECTORS[:200].copy()
    wrong[150, 3] = np.inf
    for vectors, ids in [
        (wrong, None), (VECTORS[:3], [1, 3, 1]), (VECTORS[:3], [1, 3, 4]), (VECTORS[:3], [1, 3]), (VECTORS[:1], [-1]),
        (np.ones((2, DIM + 1)), None), (np.full((2, DIM), 1e39), None),
    ]:  # fmt: skip
        with pytest.raises(engine.InvalidArgumentError):
            index.add(vectors, ids=ids)
        assert state_of(index) == before
    found = index.search(QUERIES, 10, ef=50)
    np.testing.assert_array_equal(found.ids, answers.ids)
    assert index.add(VECTORS[0]).tolist() == [2 * N - 1]


def test_removed_ids_never_come_back(index: engine.Index) -> None:
    """As steps of walks they stay, until a quarter is gone."""
    gone = index.ids[::5]
    assert index.remove(gone) == len(gone)
    assert (len(index), index.n_dead) == (N - len(gone), len(gone))
    kept = np.isin(np.arange(0, 2 * N, 2), index.ids)
    for _ in range(2):
        for options in ({"ef": 10}, {"ef": 100}, {"recall": 0.9}, {"recall": 1.0}):
            assert np.isin(index.search(QUERIES, 100, **options).ids, index.ids).all()
        check_search(
            index.search(QUERIES, 10, recall=1.0), QUERIES, VECTORS, 10, "l2", ids=np.arange(0, 2 * N, 2), allowed=kept
        )
        assert recall_of(index, QUERIES, 10, ef=100) > 0.97
        np.testing.assert_array_equal(index.get(index.ids), VECTORS[index.ids // 2])
        with pytest.raises(engine.InvalidArgumentError, match=f"{gone[1]}, which is not in the index"):
            index.get([2, gone[1]])
        with pytest.raises(engine.InvalidArgumentError, match="0, which is not in the index"):
            index.search(QUERIES, 1, filter=gone)
        index.verify()
        index.optimize()
        assert (len(index), index.n_dead, index.inspect()["n_rows"]) == (N - len(gone), 0, N - len(gone))


def test_filters_follow_the_rows_that_live(index: engine.Index, rng: np.random.Generator) -> None:
    index.remove(index.ids[rng.random(N) < 0.2])
    assert index.n_dead
    for _ in range(2):
        mask = rng.random(len(index)) < 0.3
        for allowed in (mask, index.ids[mask], engine.Bitmap(mask)):
            found = index.search(QUERIES[:5], 10, filter=allowed)
            check_search(found, QUERIES[:5], VECTORS[index.ids // 2], 10, "l2", ids=index.ids, allowed=mask)
        index.optimize()


def test_a_quarter_gone_is_dropped(index: engine.Index) -> None:
    index.remove(index.ids[: N // 4])
    assert index.n_dead == N // 4
    index.remove(index.ids[:1])
    assert (index.n_dead, len(index)) == (0, N - N // 4 - 1)
    assert index.verify()["n_reached"] == len(index)


def test_removing_what_is_not_there_changes_nothing(index: engine.Index) -> None:
    index.remove([4])
    before = state_of(index)
    for wrong, named in (([2, 7], "7"), ([2, 6, 2], "2"), ([2, 4], "4"), ([10**12], str(10**12))):
        with pytest.raises(engine.InvalidArgumentError, match=rf"ids holds {named}\b"):
            index.remove(wrong)
        assert state_of(index) == before
    assert index.remove([]) == 0


def test_removing_everything(index: engine.Index) -> None:
    assert index.remove(index.ids) == N
    assert (len(index), index.n_dead) == (0, 0)
    assert index.ids.tolist() == []
    index.verify()
    index.optimize()
    with pytest.raises(engine.NotBuiltError):
        index.search(QUERIES, 1)
    assert index.add(VECTORS).tolist() == list(range(2 * N - 1, 3 * N - 1))
    assert recall_of(index, QUERIES, 10, ef=100) > 0.98
    assert index.verify()["n_reached"] == N


def test_an_id_may_come_again(index: engine.Index) -> None:
    """While its old row still takes room, and after; it is the new vector that is found."""
    for _ in range(2):
        index.remove([10, 12])
        index.add(VECTORS[:2] + 0.01, ids=[12, 10])
        np.testing.assert_array_equal(index.get([12, 10]), VECTORS[:2] + np.float32(0.01))
        assert index.search(VECTORS[:2] + 0.01, 1, ef=50).ids.tolist() == [[12], [10]]
        assert np.sum(index.ids == 10) == 1
        index.optimize()


def test_whoever_keeps_labels_beside_the_rows_notices(index: engine.Index) -> None:
    """`optimize` gives the rows another order."""
    index.remove(index.ids[:100])
    knn = engine.classify.KNNClassifier(5, metric="l2", index=index).fit(None, index.ids % 4)
    order = index.ids
    index.optimize()
    assert not np.array_equal(index.ids, order)
    with pytest.raises(engine.InvalidArgumentError, match="changed"):
        knn.predict(QUERIES)


def test_memory(shared: engine.Index, index: engine.Index) -> None:
    """As docs/graph.md says: 4 d for vectors, d for codes, 4 M for links, some 40 besides, and codes of neighbours."""
    assert shared.nbytes - shared.codes_nbytes == N * DIM * 4
    beside = 12 * 32 + DIM * 32 / 8 if shared.layout == "fast" else 0
    per_row = shared.codes_nbytes / N - beside
    assert DIM + 4 * 32 + 24 < per_row < DIM + 4 * 32 + 24 + 24
    index.remove(index.ids[:1500])
    assert index.nbytes < 0.7 * shared.nbytes


# ---- save, load, pickle


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_save_load_and_pickle(tmp_path: Path, metric: Metric, dtype: VectorDtype) -> None:
    """Identical answers and bytes, also with dead rows; and it changes like the one that was saved."""
    index = engine.Index(DIM, metric=metric, kind="graph", M=20, ef_construction=60, seed=5, dtype=dtype)
    index.add(VECTORS[:2500])
    index.metadata = {"from": "here"}
    np.testing.assert_array_equal(index.get(index.ids), rounded_to(VECTORS[:2500], dtype))
    for gone in (0, 100):
        index.remove(index.ids[:gone])
        assert index.n_dead == gone
        index.save(tmp_path / "x")
        others = [engine.Index.load(tmp_path / "x", mmap=mmap) for mmap in (True, False)]
        others.append(pickle.loads(pickle.dumps(index)))
        for other in others:
            assert (other.kind, other.M, other.ef_construction, other.seed) == ("graph", 20, 60, 5)
            assert (other.metric, other.dtype, len(other), other.n_dead) == (metric, dtype, 2500 - gone, gone)
            assert (other.metadata, other.calibration) == (index.metadata, index.calibration)
            assert state_of(other) == state_of(index)
            for options in ({"ef": 20}, {"recall": 0.9}, {"recall": 1.0}):
                same_answers(index, other, **options)
    content = (tmp_path / "x").read_bytes()
    for other in others:
        other.add(VECTORS[2500:2600])
        other.remove(np.arange(1000, 1100))
        other.optimize()
        assert other.verify()["n_reached"] == 2400
        np.testing.assert_array_equal(other.get([2550]), rounded_to(VECTORS[2550:2551], dtype))
    assert (tmp_path / "x").read_bytes() == content


def test_an_empty_graph_is_saved(tmp_path: Path) -> None:
    engine.Index(DIM, kind="graph").save(tmp_path / "x")
    loaded = engine.Index.load(tmp_path / "x")
    assert (loaded.kind, len(loaded)) == ("graph", 0)
    assert loaded.add(VECTORS[:2]).tolist() == [0, 1]


@pytest.fixture
def saved(shared: engine.Index, tmp_path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    shared.save(tmp_path / "x")
    return read_container(tmp_path / "x", mmap=False)


def refused(folder: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]], match: str) -> None:
    write_container(folder / "y", header, arrays)
    with pytest.raises(engine.CorruptIndexError, match=match):
        engine.Index.load(folder / "y").verify()


@pytest.mark.parametrize("name", ["links", "entries", "dead", "calibration", "changed"])
def test_a_part_that_does_not_fit(saved: Any, tmp_path: Path, name: str) -> None:
    header, arrays = saved
    refused(tmp_path, header, {key: array for key, array in arrays.items() if key != name}, name)
    other = arrays[name].astype(np.uint16)
    refused(tmp_path, header, {**arrays, name: other}, name)
    for wrong in (arrays[name][:-1], np.append(arrays[name], arrays[name][:1])) if name != "dead" else ():
        if name != "entries":  # any number of them will do
            refused(tmp_path, header, {**arrays, name: wrong}, name)


@pytest.mark.parametrize(
    ("name", "place", "value", "match"),
    [
        ("links", 100, N, "links holds 4000, expected a row"),
        ("links", 100, 2**32 - 2, "links holds 4294967294"),
        ("entries", 0, N, "entries holds 4000, expected a row"),
        ("calibration", 0, 0.0, "calibration"),
        ("calibration", 1, np.nan, "calibration"),
        ("calibration", 2, 1.5, "calibration"),
        ("calibration", 3, -1.0, "calibration"),
    ],
)
def test_numbers_out_of_range(saved: Any, tmp_path: Path, name: str, place: int, value: float, match: str) -> None:
    header, arrays = saved
    arrays[name][place] = value
    refused(tmp_path, header, arrays, match)


def test_no_entries(saved: Any, tmp_path: Path) -> None:
    header, arrays = saved
    refused(tmp_path, header, {**arrays, "entries": arrays["entries"][:0]}, "entries is empty")


@pytest.mark.parametrize("dead", [[N], [2**32 - 1], [5, 5]])
def test_dead_rows_that_are_none(saved: Any, tmp_path: Path, dead: list[int]) -> None:
    header, arrays = saved
    refused(tmp_path, header, {**arrays, "dead": np.array(dead, np.uint32)}, "dead holds")


@pytest.mark.parametrize("key", ["kind", "M", "ef_construction", "seed", "layout"])
def test_a_header_that_does_not_fit(saved: Any, tmp_path: Path, key: str) -> None:
    header, arrays = saved
    refused(tmp_path, {name: value for name, value in header.items() if name != key}, arrays, "y")
    for wrong in ("x", -1, 1.5, "exact", 2**64, [32]):
        refused(tmp_path, {**header, key: wrong}, arrays, "y")
    refused(tmp_path, {**header, "M": 16}, arrays, "links has length")


def test_verify_finds_links_that_are_not_sound(saved: Any, tmp_path: Path) -> None:
    """What can be walked without harm is loaded, and found by `verify` alone."""
    header, arrays = saved
    links = arrays["links"].reshape(N, 32)
    row = int(np.argmax((links[:, 5] < N) & (links[:, 30] >= N)))
    for place, value, match in [
        (0, row, "n_self_links 1"),
        (1, links[row, 0], "n_repeated 1"),
        (31, 0, "n_after_end 1"),
    ]:
        broken = links.copy()
        broken[row, place] = value
        refused(tmp_path, header, {**arrays, "links": broken.ravel()}, match)
    if header["layout"] == "fast":
        broken = links.copy()
        broken[row, :2] = links[row, 1::-1]
        refused(tmp_path, header, {**arrays, "links": broken.ravel()}, "n_not_beside 1")
        beside = arrays["neighbours"].copy()
        beside[:4] = 254  # the first neighbour of the first row
        refused(tmp_path, header, {**arrays, "neighbours": beside}, "neighbours holds one that is no row")
        refused(tmp_path, header, {**arrays, "neighbours": beside[:-1]}, "neighbours has")
        refused(tmp_path, header, {**arrays, "neighbours_origin": arrays["neighbours_origin"][1:]}, "neighbours_origin")
    broken = np.full_like(links, 2**32 - 1)
    refused(tmp_path, header, {**arrays, "links": broken.ravel()}, "n_reached 64 of 4000 rows, expected at least 99.9%")


# ---- collections and the command line


def test_a_collection_may_be_a_graph(tmp_path: Path) -> None:
    collection = engine.Collection.create(dim=DIM, metric="l2", kind="graph")
    collection.add(VECTORS, attributes={"row": range(N)})
    collection.save(tmp_path / "x")
    for each in (collection, engine.Collection.open(tmp_path / "x")):
        assert each.index.kind == "graph"
        exact = each.search(QUERIES, 5, exact=True, columns=["row"])
        check_search(exact, QUERIES, VECTORS, 5, "l2")
        np.testing.assert_array_equal(exact.attributes["row"], exact.ids)
        np.testing.assert_array_equal(each.search(QUERIES, 5, recall=1.0, exact=True).ids, exact.ids)
        work = [each.search(QUERIES, 5, recall=recall).stats for recall in (0.5, None, 0.99)]
        assert [stats.strategy for stats in work] == ["graph"] * 3
        assert work[0].n_scored < work[1].n_scored < work[2].n_scored
        with pytest.raises(engine.InvalidArgumentError, match=r"recall is 0.9 and exact True, expected one of them"):
            each.search(QUERIES, 5, recall=0.9, exact=True)
        with pytest.raises(engine.InvalidArgumentError, match="exact is 1, expected True or False"):
            each.search(QUERIES, 5, exact=1)  # type: ignore[arg-type]


@pytest.fixture
def nearfield(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command: its exit code, and what it wrote."""
    pytest.importorskip("typer")

    def run_command(*argv: object) -> tuple[int, str, str]:
        return (cli.main([str(word) for word in argv]), *capsys.readouterr())

    return run_command


def test_verify_of_sound_files(shared: engine.Index, tmp_path: Path, nearfield: Callable[..., Any]) -> None:
    shared.save(tmp_path / "graph")
    collection = engine.Collection.create(dim=2)
    collection.add([[1, 0], [0, 1]])
    collection.save(tmp_path / "collection")
    code, out, _ = nearfield("verify", tmp_path / "graph")
    assert (code, out.splitlines()[0]) == (0, f"{tmp_path}/graph is sound: {N} rows, kind graph")
    assert ["n_reached", str(N)] in [line.split() for line in out.splitlines()]
    assert nearfield("verify", tmp_path / "collection")[:2] == (
        0,
        f"{tmp_path}/collection is sound: 2 rows, kind exact\n",
    )
    facts = json.loads(nearfield("verify", tmp_path / "graph", "--json")[1])
    assert (facts["file"], facts["kind"], facts["rows"], facts["sound"]) == (f"{tmp_path}/graph", "graph", N, True)
    assert facts["report"] == shared.inspect()


def test_verify_of_damaged_files(saved: Any, tmp_path: Path, nearfield: Callable[..., Any]) -> None:
    """A flipped bit, links that are not sound, columns that do not fit, no file at all: each is exit code 1."""
    header, arrays = saved
    damaged = bytearray((tmp_path / "x").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "bit").write_bytes(damaged)
    links = arrays["links"].copy()
    links[0] = 0
    write_container(tmp_path / "links", header, {**arrays, "links": links})
    meta = {
        "version": 2,
        "schema": {"label": "keyword"},
        "columns": {"label": ["a"]},
        "skipped": [],
        "encoder": {},
        "items": None,
    }
    write_container(tmp_path / "columns", {**header, "metadata": {"nearfield.collection": meta}}, arrays)
    expected = {"bit": "checksum", "links": "n_self_links 1", "columns": "label", "no": "No such file"}
    for name, message in expected.items():
        code, out, error = nearfield("verify", tmp_path / name)
        assert (code, out) == (1, "")
        assert message in error
        code, out, error = nearfield("verify", tmp_path / name, "--json")
        assert (code, error) == (1, "")
        assert message in json.loads(out)["error"]


def test_index_with_a_kind(tmp_path: Path, nearfield: Callable[..., Any]) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    call = ("index", tmp_path, "--encoder", "pixels", "--out", tmp_path / "x.nrf")
    assert nearfield(*call, "--kind", "graph")[0] == 0
    assert engine.Collection.open(tmp_path / "x.nrf").index.kind == "graph"
    assert nearfield(*call)[0] == 0
    assert engine.Collection.open(tmp_path / "x.nrf").index.kind == "exact"
    assert nearfield(*call, "--kind", "tree")[0] == 2


# ---- odd data


@pytest.mark.parametrize("metric", METRICS)
def test_many_copies_of_one_vector(metric: Metric) -> None:
    """The build ends, every row can be reached, and k copies come back."""
    vectors = np.concatenate([VECTORS[:1000], np.repeat(VECTORS[:1], 10_000, axis=0), VECTORS[1000:2000]])
    index = graph_of(vectors, metric, ef_construction=50)
    assert index.verify()["n_reached"] == len(vectors)
    found = index.search(VECTORS[0], 100, ef=200)
    assert found.stats.strategy == "graph"
    assert len(set(found.ids[0].tolist())) == 100
    if metric != "ip":  # where others may be larger
        assert (found.distances == found.distances[0, 0]).all()
    others = clustered(7, 50)
    assert recall_of(index, others, 10, ef=200) > 0.9


@pytest.mark.parametrize("metric", METRICS)
def test_all_vectors_identical(metric: Metric) -> None:
    index = graph_of(np.ones((3000, 8), np.float32), metric)
    assert index.verify()["n_reached"] == 3000
    found = index.search(np.ones(8), 20, ef=50)
    assert len(set(found.ids[0].tolist())) == 20
    assert (found.distances == found.distances[0, 0]).all()
    check_search(index.search(np.ones((1, 8)), 20, recall=1.0), np.ones((1, 8)), np.ones((3000, 8)), 20, metric)


@pytest.mark.parametrize(("dim", "n"), [(1, 3000), (3, 3000), (4096, 400)])
@pytest.mark.parametrize("metric", METRICS)
def test_dims(dim: int, n: int, metric: Metric) -> None:
    vectors = clustered(3, n, dim)
    index = graph_of(vectors, metric, ef_construction=60)
    assert index.verify()["n_reached"] == n
    queries = clustered(4, 20, dim)
    if (dim, metric) != (1, "cosine"):  # two directions only: all ties
        assert recall_of(index, queries, 10, recall=0.9) > 0.87
    check_search(index.search(vectors[:1], 3, recall=1.0), vectors[:1], vectors, 3, metric)


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e15, 1e20, 1e30])
def test_numbers_of_any_size(metric: Metric, scale: float) -> None:
    """Squares of these leave float32; distances and links must not."""
    index = graph_of(VECTORS * np.float32(scale), metric)
    assert recall_of(index, QUERIES * np.float32(scale), 10, ef=200) > 0.95


@pytest.mark.parametrize("far", [False, True])
def test_rows_added_in_small_pieces_are_within_reach(index: engine.Index, far: bool) -> None:
    """Copies of rows that are there, or rows far from all others."""
    for seed in range(10):
        index.add(clustered(seed, 100) + 30 if far else VECTORS[:100])
    index.verify()


# ---- threads, Ctrl-C, memory


@pytest.mark.parametrize("metric", METRICS)
def test_threads_do_not_change_the_links(metric: Metric) -> None:
    one, two, three = (graph_of(VECTORS[:2500], metric, n_threads=n, seed=3) for n in (1, 2, 3))
    assert state_of(one) == state_of(two) == state_of(three)
    for index in (one, two, three):
        index.remove(np.arange(0, 2500, 3))
    assert state_of(one) == state_of(two) == state_of(three)


def test_searches_go_on_while_others_change_the_index(index: engine.Index) -> None:
    """No removed id, no error; an add is seen whole or not at all."""
    piece, n_pieces = 100, 10
    marked = np.tile(np.full(DIM, 30, np.float32), (piece, 1)) + clustered(5, piece)
    first = 10**6
    done = threading.Event()
    errors: list[BaseException] = []
    gone: set[int] = set()

    def change() -> None:
        try:
            for i in range(n_pieces):
                index.add(marked, ids=first + i * piece + np.arange(piece))
                victims = index.ids[index.ids < first][:30]
                index.remove(victims)
                gone.update(victims.tolist())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    def search() -> None:
        try:
            while not done.is_set():
                before = set(gone)
                found = set(index.search(QUERIES[:8], 50, ef=60).ids.ravel().tolist())
                assert not found & before
                n_marked = int((index.search(marked[0], n_pieces * piece, recall=1.0).ids >= first).sum())
                assert n_marked % piece == 0, n_marked
                ids = index.ids
                assert (ids >= first).sum() % piece == 0
                assert len(set(ids.tolist())) == len(ids)
                index.explain()
                index.range_search(marked[0], 10.0)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)] + [threading.Thread(target=change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert len(index) == N + n_pieces * (piece - 30)
    assert recall_of(index, QUERIES, 10, ef=100) > 0.97


def test_what_is_saved_while_another_thread_adds_can_be_loaded(index: engine.Index, tmp_path: Path) -> None:
    thread = threading.Thread(target=lambda: [index.add(VECTORS[:50]) for _ in range(20)])
    thread.start()
    n_saved = 0
    while thread.is_alive() or not n_saved:
        index.save(tmp_path / "x")
        loaded = engine.Index.load(tmp_path / "x")
        assert (len(loaded) - N) % 50 == 0
        assert len(loaded.search(QUERIES, 10, ef=50)) == len(QUERIES)
        n_saved += 1
    thread.join()


INTERRUPTED = """
import sys, threading, time
import numpy as np, engine
from graphs import clustered, graph_of, state_of
index = graph_of(clustered(0, 4000), {metric!r}, n_threads={n_threads})
more = clustered(1, 60_000)
before, answers = state_of(index), index.search(more[:50], 10, ef=50)
print("ready", flush=True)
try:
    index.add(more)
except KeyboardInterrupt:
    after = state_of(index)
    changed = [name for name in before if before[name] != after[name]]
    same = (index.search(more[:50], 10, ef=50).ids == answers.ids).all()
    print(len(index), index.inspect()["n_reached"], changed, bool(same), index.add(more[0]).tolist(), flush=True)
    sys.exit(3)
"""


def run(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_ctrl_c_during_add_leaves_the_index_as_it_was(metric: str, n_threads: int) -> None:
    process = run(INTERRUPTED.format(metric=metric, n_threads=n_threads))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        threading.Event().wait(1.0)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (3, "4000 4000 [] True [4000]\n"), stderr


NO_MEMORY = """
import resource
import numpy as np, engine
from graphs import clustered, graph_of, state_of
index = graph_of(clustered(0, 2500, 1), "l2")
index.save({path!r})
index = engine.Index.load({path!r}, mmap={mmap})
before = state_of(index)
more = np.ones((4_000_000, 1), np.float32)  # 16 MB, and 512 for their links
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
try:
    index.add(more)
except MemoryError:
    print("refused", state_of(index) == before, index.add(more[:3]).tolist(), index.verify()["n_rows"])
"""


@pytest.mark.parametrize("mmap", [True, False])
def test_memory_that_runs_out_leaves_the_index_as_it_was(tmp_path: Path, mmap: bool) -> None:
    process = run(NO_MEMORY.format(path=str(tmp_path / "x"), mmap=mmap))
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, "refused True [2500, 2501, 2502] 2503\n"), stderr


INTERRUPTED_REMOVE = """
import sys
import numpy as np, engine
from graphs import clustered, graph_of, state_of
index = graph_of(clustered(0, 30_000), n_threads=1, ef_construction=20)
before = state_of(index)
print("ready", flush=True)
try:
    index.remove(np.arange(15_000))
except KeyboardInterrupt:
    print(len(index), state_of(index) == before, index.inspect()["n_reached"], flush=True)
    sys.exit(3)
"""


def test_ctrl_c_during_remove_leaves_the_index_as_it_was() -> None:
    """Dropping the rows takes a while; it is all or nothing like any other change."""
    process = run(INTERRUPTED_REMOVE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        threading.Event().wait(0.1)
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (3, "30000 True 30000\n"), stderr


# ---- the others


@pytest.mark.parametrize("isa", [isa for isa in _core.supported_isas() if isa != _core.isa()])
@pytest.mark.skipif("NEARFIELD_INNER" in os.environ, reason="this run is such a repetition")
def test_the_other_instruction_sets(isa: str) -> None:
    """Walks may differ among them in the last bit of a score; how much they find may not."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            __file__,
            "-k",
            "pool or test_dims or test_save_load",
        ],
        env={**os.environ, "ENGINE_ISA": isa, "NEARFIELD_INNER": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert " passed" in ran.stdout


@pytest.mark.parametrize("metric", METRICS)
def test_codes_alone(metric: Metric, tmp_path: Path) -> None:
    """int8 keeps what the codes say: distances are those of the vectors as `get` gives them."""
    index = engine.Index(VECTORS.shape[1], metric=metric, kind="graph", dtype="int8")
    index.add(VECTORS[:2000])
    index.add(VECTORS[2000:4000])
    kept = index.get(index.ids)
    assert index.nbytes < 0.5 * VECTORS[:4000].nbytes + 4000 * (4 * 32 + 60)
    if metric != "cosine":  # which keeps directions
        error = np.sqrt(np.mean((kept - VECTORS[:4000]) ** 2, axis=1))
        assert np.median(error / abs(VECTORS[:4000]).max(axis=1)) < 0.01
    exact = engine.topk(QUERIES, kept, 10, metric=metric)
    for found in (index.search(QUERIES, 10, recall=1), index.search(QUERIES, 10, ef=400)):
        assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids, exact.ids, strict=True)]) > 0.98
    np.testing.assert_array_equal(index.search(QUERIES, 10, recall=1).ids, exact.ids)
    index.remove(np.arange(1500))
    index.verify()
    index.save(tmp_path / "x")
    loaded = engine.Index.load(tmp_path / "x")
    np.testing.assert_array_equal(loaded.search(QUERIES, 10, ef=50).ids, index.search(QUERIES, 10, ef=50).ids)
    with pytest.raises(engine.InvalidArgumentError, match="dtype"):
        engine.Index(4, dtype="int8")


@pytest.mark.parametrize("metric", METRICS)
def test_removed_ids_stay_free_when_the_index_grows(metric: Metric) -> None:
    """The map of ids grows while removed rows, and their old ids, still take room."""
    index = graph_of(VECTORS[:1100], metric)
    index.remove(np.arange(100))
    index.add(VECTORS[1100:4000])
    assert not np.isin(np.arange(100), index.ids).any()
    with pytest.raises(engine.InvalidArgumentError, match="ids"):
        index.get([5])
    index.add(VECTORS[:50] + 0.01, ids=np.arange(50))
    index.remove(np.arange(2000, 3500))  # more than a quarter: rows move
    index.optimize()
    index.verify()
    np.testing.assert_array_equal(index.get(np.arange(50)), VECTORS[:50] + np.float32(0.01))
    assert len(np.unique(index.ids)) == len(index) == 1100 - 100 + 2900 + 50 - 1500
