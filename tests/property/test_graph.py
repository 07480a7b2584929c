"""Laws of engine.Index(kind="graph"), and how much it finds; the oracle is the certified exact search."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import pytest
from graphs import clustered, graph_of, recall_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from reference import Rows, check_search, rounded_to
from strategies import Case, cases, metrics

import engine
from engine.types import GraphLayout, Metric, VectorDtype

N = 5000
METRICS: tuple[Metric, ...] = ("cosine", "ip", "l2")


def uniform(seed: int, n: int) -> Rows:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 12)).astype(np.float32)


def duplicates(seed: int, n: int) -> Rows:
    """Of eight rows, seven are copies of others; the distinct ones are the same for every seed."""
    rng = np.random.default_rng(seed)
    return clustered(77, N // 8)[rng.integers(N // 8, size=n)] + (rng.random((n, 1)) < 0.125).astype(np.float32)


def by_class(seed: int, n: int) -> Rows:
    """One cluster after the other, as folders of images come."""
    rows = clustered(seed, n)
    centers = np.random.default_rng(100).standard_normal((100, rows.shape[1]))
    return rows[np.argsort(np.square(rows[:, None, :4] - centers[None, :, :4]).sum(axis=2).argmin(axis=1))]


def of_all_lengths(seed: int, n: int) -> Rows:
    """From a twentieth to twenty times as long as others."""
    lengths = np.random.default_rng(seed + 1000).lognormal(0, 1, (n, 1))
    return (clustered(seed, n) * lengths).astype(np.float32)


DATA = {data.__name__: data for data in (clustered, uniform, duplicates, by_class, of_all_lengths)}


def found_share(index: engine.Index, queries: Rows, k: int, **options: Any) -> float:
    """Recall by distance: of rows as near as each other, any will do."""
    exact = index.search(queries, k, recall=1.0).distances
    found = index.search(queries, k, **options).distances
    return float(np.mean([np.isin(found[i], exact[i]).mean() for i in range(len(queries))]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("data", sorted(DATA))
def test_recall_of_a_wide_walk(data: str, metric: Metric) -> None:
    index = graph_of(DATA[data](0, N), metric)
    report = index.verify()
    assert report["n_reached"] == report["n_rows"] == N
    assert found_share(index, DATA[data](1, 100), 10, ef=200) > 0.95


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("metric", METRICS)
def test_recall_of_other_dtypes(metric: Metric, dtype: VectorDtype) -> None:
    index = graph_of(clustered(0, 3000), metric, dtype=dtype)
    assert found_share(index, clustered(1, 100), 10, ef=200) > 0.95


@pytest.mark.parametrize("layout", ["plain", "fast"])
@pytest.mark.parametrize("metric", METRICS)
def test_recall_is_what_was_asked_for(metric: Metric, layout: GraphLayout) -> None:
    """On queries that the index never saw, drawn like its rows."""
    index = graph_of(clustered(0, 8000), metric, layout=layout)
    queries = clustered(1, 2000)
    for k in (1, 10, 100, 5, 30):
        exact = index.search(queries, k, recall=1.0).ids
        for recall in (0.8, 0.9, 0.95, 0.99):
            result = index.search(queries, k, recall=recall)
            found = np.mean([np.isin(a, b).mean() for a, b in zip(exact, result.ids, strict=True)])
            assert found > recall - 0.02, (k, recall, found, index.explain(k, recall=recall))
            assert result.stats.strategy == "graph"


@settings(max_examples=15)
@given(
    n=st.integers(1001, 2500),
    dim=st.integers(1, 40),
    metric=metrics,
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    k=st.sampled_from([1, 3, 10, 100, 1200]),
    ef=st.sampled_from([1, 7, 50, 300, 2500]),
    M=st.sampled_from([8, 33]),
    layout=st.sampled_from(["plain", "fast"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_laws_of_a_result(
    n: int, dim: int, metric: Metric, dtype: VectorDtype, k: int, ef: int, M: int, layout: GraphLayout, seed: int
) -> None:
    """Sorted by (distance, id), unique, with the right distances, as many as there are; exact from ef = n on."""
    rng = np.random.default_rng(seed)
    vectors = rounded_to(clustered(seed, n, dim), dtype)
    vectors[rng.random(n) < 0.1] = vectors[0]
    ids = rng.permutation(10 * n)[:n]
    index = engine.Index(dim, metric=metric, kind="graph", M=M, ef_construction=30, dtype=dtype, layout=layout)
    index.add(vectors, ids=ids)
    queries = clustered(seed + 1, 3, dim)
    result = index.search(queries, k, ef=ef)
    for i, query in enumerate(queries):
        found = result.ids[i][: min(k, n)]
        assert len(set(found.tolist())) == min(k, n)
        assert (result.ids[i][n:] == -1).all()
        again = index.search(query, len(found), filter=found)  # exact over those alone: right distances and order
        np.testing.assert_array_equal(again.ids[0], found)
        np.testing.assert_array_equal(again.distances[0], result.distances[i][: len(found)])
    for options in ({"ef": n}, {"recall": 1.0}):
        check_search(index.search(queries, k, **options), queries, vectors, k, metric, ids=ids)


@settings(max_examples=20)
@given(case=cases(dims=st.integers(1, 40), most=1600), metric=metrics, layout=st.sampled_from(["plain", "fast"]))
def test_vectors_that_hurt(case: Case, metric: Metric, layout: GraphLayout) -> None:
    """The build ends, links are sound, and what comes back is sorted and unique."""
    vectors, queries = case.make()
    index = graph_of(vectors, metric, ef_construction=30, layout=layout)
    report = index.inspect()
    assert [report[name] for name in ("n_out_of_range", "n_self_links", "n_repeated", "n_after_end")] == [0] * 4
    result = index.search(queries, 10, ef=20)
    for ids, distances in zip(*result, strict=True):
        n = min(10, len(vectors))
        assert len(set(ids[:n].tolist())) == n
        assert (np.lexsort((ids[:n], distances[:n])) == np.arange(n)).all() or np.isin(
            abs(distances), np.float32(3.4028235e38)
        ).any()
    check_search(index.search(queries, 5, recall=1.0), queries, vectors, 5, metric)


@pytest.mark.parametrize("metric", METRICS)
def test_pieces_or_all_at_once(metric: Metric) -> None:
    vectors, queries = clustered(0, N), clustered(1, 200)
    whole, pieces = graph_of(vectors, metric), engine.Index(vectors.shape[1], metric=metric, kind="graph")
    for start in range(0, N, 250):
        pieces.add(vectors[start : start + 250])
    pieces.verify()
    for ef in (20, 50, 100):
        assert recall_of(pieces, queries, 10, ef=ef) > recall_of(whole, queries, 10, ef=ef) - 0.02
    assert recall_of(pieces, queries, 10, recall=0.9) > 0.88


@pytest.mark.parametrize("metric", METRICS)
def test_removing_half_and_adding_it_again(metric: Metric) -> None:
    """Recall stays that of a fresh build, before and after `optimize`; no removed id comes back."""
    vectors, queries = clustered(0, N), clustered(1, 200)
    rng = np.random.default_rng(2)
    fresh = {n: graph_of(vectors[:n], metric) for n in (N // 2, N)}
    for n_calls in (1, 20):
        index = graph_of(vectors, metric)
        for gone in np.split(rng.permutation(np.arange(N // 2, N)), n_calls):
            index.remove(gone)
            assert np.isin(index.search(queries, 50, ef=50).ids, index.ids).all()
        for _ in range(2):
            index.verify()
            for ef in (20, 100):
                assert recall_of(index, queries, 10, ef=ef) > recall_of(fresh[N // 2], queries, 10, ef=ef) - 0.02
            index.optimize()
        for again in np.split(np.arange(N // 2, N), 10):
            index.add(vectors[again], ids=again)
        index.verify()
        for ef in (20, 100):
            assert recall_of(index, queries, 10, ef=ef) > recall_of(fresh[N], queries, 10, ef=ef) - 0.02


def test_other_rows_after_all_were_removed() -> None:
    """Under ip nothing of the former lengths is left."""
    vectors, queries = clustered(0, 4000), clustered(1, 100)
    index = graph_of(vectors * np.float32(1e6), "ip")
    index.remove(index.ids)
    index.add(vectors)
    assert recall_of(index, queries, 10, ef=100) > recall_of(graph_of(vectors, "ip"), queries, 10, ef=100) - 0.02


def test_longer_rows_that_come_later() -> None:
    vectors, queries = of_all_lengths(0, 4000), clustered(1, 100)
    order = np.argsort(np.linalg.norm(vectors, axis=1))
    later = engine.Index(vectors.shape[1], metric="ip", kind="graph")
    for part in np.split(vectors[order], 4):
        later.add(part)
    later.verify()
    # Links made while shorter rows were the longest are a little worse.
    assert recall_of(later, queries, 10, ef=100) > recall_of(graph_of(vectors, "ip"), queries, 10, ef=100) - 0.06


@pytest.mark.parametrize("metric", METRICS)
def test_a_loaded_graph_changes_as_well_as_any(metric: Metric) -> None:
    vectors, queries = of_all_lengths(0, 4000), of_all_lengths(1, 100)
    index = graph_of(vectors, metric)
    with tempfile.TemporaryDirectory() as folder:
        index.save(os.path.join(folder, "x"))
        loaded = engine.Index.load(os.path.join(folder, "x"))
    for changed in (index, loaded):
        changed.remove(np.arange(0, 4000, 2))
        changed.add(vectors[::2])
    loaded.verify()
    for ef in (20, 100):
        assert recall_of(loaded, queries, 10, ef=ef) > recall_of(index, queries, 10, ef=ef) - 0.02


class GraphModel(RuleBasedStateMachine):
    """A graph against a dict: `self.model` maps id to vector. More than 1,000 rows, so that links are walked."""

    @initialize(metric=metrics, dtype=st.sampled_from(["float32", "float16"]), seed=st.integers(0, 2**32 - 1))
    def create(self, metric: Metric, dtype: VectorDtype, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.index = engine.Index(6, metric=metric, kind="graph", M=8, ef_construction=20, dtype=dtype, n_threads=1)
        self.model: dict[int, Rows] = {}
        self.largest = -1
        self.add(1100)

    @rule(n=st.sampled_from([1, 30, 400]))
    def add(self, n: int) -> None:
        """Small integers without zero rows: many duplicates, exact in every dtype."""
        vectors = self.rng.integers(-8, 9, (n, 6)).astype(np.float32)
        vectors[~vectors.any(axis=1), 0] = 1
        ids = self.index.add(vectors).tolist()
        assert ids == list(range(self.largest + 1, self.largest + 1 + n))
        self.model.update(zip(ids, vectors, strict=True))
        self.largest = ids[-1]

    @rule(known=st.booleans(), wrong=st.sampled_from([np.nan, np.inf]))
    def add_what_cannot_be_added(self, known: bool, wrong: float) -> None:
        vectors = np.ones((5, 6), np.float32)
        ids = self.largest + 1 + np.arange(5)
        if known and self.model:
            ids[-1] = next(iter(self.model))
        else:
            vectors[-1, -1] = wrong
        with pytest.raises(engine.InvalidArgumentError):
            self.index.add(vectors, ids=ids)

    @precondition(lambda self: self.model)
    @rule(share=st.sampled_from([0.01, 0.1, 0.5, 1.0]), unknown=st.booleans())
    def remove(self, share: float, unknown: bool) -> None:
        known = np.array(sorted(self.model))
        gone = known[self.rng.random(len(known)) < share]
        if unknown:
            with pytest.raises(engine.InvalidArgumentError, match=str(2**50)):
                self.index.remove([*gone, 2**50])
            return
        assert self.index.remove(gone) == len(gone)
        for i in gone.tolist():
            del self.model[i]

    @precondition(lambda self: self.largest >= 0)
    @rule()
    def optimize(self) -> None:
        self.index.optimize()
        assert self.index.n_dead == 0

    @precondition(lambda self: self.model)
    @rule(k=st.integers(1, 50), ef=st.sampled_from([1, 20, 200]), masked=st.booleans())
    def search(self, k: int, ef: int, masked: bool) -> None:
        queries = self.rng.integers(-8, 9, (2, 6)).astype(np.float32) + np.float32(0.5)
        ids = self.index.ids
        mask = self.rng.random(len(ids)) < 0.5 if masked else None
        vectors = np.array([self.model[i] for i in ids.tolist()], np.float32)
        exact = self.index.search(queries, k, recall=1.0, filter=mask)
        check_search(exact, queries, vectors, k, self.index.metric, ids=ids, allowed=mask)
        found = self.index.search(queries, k, ef=ef, filter=mask)
        assert (found.ids >= 0).sum() == (exact.ids >= 0).sum()
        assert np.isin(found.ids[found.ids >= 0], ids if mask is None else ids[mask]).all()
        assert (found.distances >= exact.distances).all()

    @rule(mmap=st.booleans())
    def save_and_load(self, mmap: bool) -> None:
        if not hasattr(self, "index"):
            return
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.nrf")
            self.index.save(path)
            self.index = engine.Index.load(path, mmap=mmap, n_threads=1)

    @invariant()
    def same_content(self) -> None:
        if hasattr(self, "index"):
            ids = self.index.ids.tolist()
            assert len(self.index) == len(ids) == len(self.model)
            assert sorted(ids) == sorted(self.model)
            kept = np.array([self.model[i] for i in ids], np.float32).reshape(-1, 6)
            np.testing.assert_array_equal(self.index.get(ids), kept)
            report = self.index.inspect()
            assert report["n_rows"] == len(self.model) + self.index.n_dead
            assert [report[name] for name in ("n_out_of_range", "n_self_links", "n_repeated", "n_after_end")] == [0] * 4


GraphModel.TestCase.settings = settings(max_examples=10, stateful_step_count=20)
TestGraphModel = GraphModel.TestCase
