"""engine.Index(kind="graph"): what it is asked and answers. Recall and laws are in tests/property/test_graph.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import DIM, METRICS, QUERIES, VECTORS, N, clustered, graph_of, links_of, recall_of, same_answers
from isas import OTHERS, is_outer, pass_with
from reference import check_range, check_search

import engine
from engine.evaluation import recall_at_k
from engine.types import Metric

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


# ---- the others


@pytest.mark.parametrize("isa", OTHERS)
@is_outer
def test_the_other_instruction_sets(isa: str) -> None:
    """Walks may differ among them in the last bit of a score; how much they find may not."""
    pass_with(isa, Path(__file__).parent, "-k", "pool or test_dims or test_save_load")


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
