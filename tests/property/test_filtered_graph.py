"""Filters on a graph: every executor against the exact answer over the rows that pass."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from graphs import DIM, clustered, graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference import Rows, check_search
from strategies import metrics

import engine
from bench.datasets import named
from engine.types import Executor, GraphLayout, Metric, SearchResult

N = 3000
WALKS: tuple[Executor, ...] = ("in_filter", "sweep")
EXECUTORS: tuple[Executor, ...] = ("auto", "exact", *WALKS)
Mask = NDArray[np.bool_]


def mask_of(kind: str, rng: np.random.Generator, vectors: Rows, query: Rows, n_allowed: int) -> Mask:
    """`n_allowed` rows: the nearest of the query, the furthest, or any."""
    distance = np.square(vectors - query).sum(axis=1)
    order = {"near": np.argsort(distance), "far": np.argsort(-distance), "any": rng.permutation(len(vectors))}[kind]
    mask = np.zeros(len(vectors), np.bool_)
    mask[order[:n_allowed]] = True
    return mask


def check_laws(found: SearchResult, allowed: NDArray[np.int64], k: int) -> None:
    """As many as there are, each once, all allowed, in order."""
    for ids, distances in zip(found.ids, found.distances, strict=True):
        n = min(k, len(allowed))
        assert len(set(ids[:n].tolist())) == n
        assert np.isin(ids[:n], allowed).all()
        assert (ids[n:] == -1).all()
        assert np.isinf(distances[n:]).all()
        assert sorted(zip(distances[:n].tolist(), ids[:n].tolist(), strict=True)) == list(
            zip(distances[:n].tolist(), ids[:n].tolist(), strict=True)
        )


@settings(max_examples=25)
@given(
    n=st.integers(30, 1500),
    dim=st.integers(8, 40),
    share=st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.5, 0.95, 1.0]),
    kind=st.sampled_from(["near", "far", "any"]),
    metric=metrics,
    layout=st.sampled_from(["plain", "fast"]),
    k=st.sampled_from([1, 10, 100]),
    n_removed=st.integers(0, 7),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_executor_against_all_rows_that_pass(
    n: int, dim: int, share: float, kind: str, metric: Metric, layout: GraphLayout, k: int, n_removed: int, seed: int
) -> None:
    """Laws for any pool, equality for one that holds all rows."""
    rng = np.random.default_rng(seed)
    vectors, queries = clustered(seed, n, dim), clustered(seed + 1, 3, dim)
    ids = rng.permutation(10 * n)[:n]
    index = engine.Index(dim, metric=metric, kind="graph", M=8, ef_construction=30, layout=layout)
    index.add(vectors, ids=ids)
    index.remove(ids[:n_removed])
    mask = mask_of(kind, rng, vectors, queries[0], int(np.ceil(share * n)))[n_removed:]
    order = np.argsort(ids[n_removed:])[np.searchsorted(np.sort(ids[n_removed:]), index.ids)]
    given_mask = mask[order]
    allowed = index.ids[given_mask]
    inside = np.isin(ids, allowed)
    for filter in (given_mask, allowed, engine.Bitmap(given_mask)):
        for executor in EXECUTORS:
            check_laws(index.search(queries, k, ef=7, filter=filter, executor=executor), allowed, k)
            found = index.search(queries, k, ef=n, filter=filter, executor=executor)
            if inside.any():
                check_search(found, queries, vectors[inside], k, metric, ids=ids[inside])
            else:
                assert (found.ids == -1).all()


@pytest.fixture(scope="module", params=["plain", "fast"])
def index(request: pytest.FixtureRequest) -> engine.Index:
    return graph_of(clustered(0, 8000), layout=request.param)


@pytest.mark.parametrize("executor", WALKS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_walks_find_what_was_asked_for(index: engine.Index, executor: Executor, share: float) -> None:
    """And it was walks that did, not the exact search behind them."""
    queries = clustered(1, 400)
    mask = np.random.default_rng(2).random(len(index)) < share
    exact = index.search(queries, 10, filter=mask, executor="exact")
    found = index.search(queries, 10, recall=0.95, filter=mask, executor=executor)
    assert (found.stats.strategy, found.stats.executor) == ("graph", executor)
    assert found.stats.n_fallbacks < 0.1 * len(queries)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(exact.ids, found.ids, strict=True)]) > 0.94


def test_a_sweep_goes_no_further_than_the_filter_makes_it() -> None:
    """As many rows pass, but near the query: the k-th of them is met earlier."""
    vectors, queries = clustered(0, 8000), clustered(1, 30)
    index = graph_of(vectors, "l2")
    rng = np.random.default_rng(3)

    def n_scored(kind: str) -> int:
        total, recalls = 0, []
        for query in queries:
            mask = mask_of(kind, rng, vectors, query, 1600)
            found = index.search(query, 10, recall=0.99, filter=mask, executor="sweep")
            exact = index.search(query, 10, filter=mask, executor="exact")
            recalls.append(np.isin(found.ids, exact.ids).mean())
            total += found.stats.n_scored
        assert np.mean(recalls) >= 0.95
        return total

    assert n_scored("near") < 0.7 * n_scored("any")


def rank_from(query: Rows, vectors: Rows) -> Any:
    return np.square(vectors - query).sum(axis=1).argsort().argsort()


@pytest.mark.parametrize("executor", WALKS)
@pytest.mark.parametrize("n_out", [30, 3000, 7800])
def test_a_query_in_a_hole_is_searched_exactly(index: engine.Index, executor: Executor, n_out: int) -> None:
    """What passes lies all around it, and the more of it the farther away: a walk would find the odd one."""
    vectors, query = clustered(0, 8000), clustered(1, 1)
    mask = rank_from(query, vectors) >= n_out
    found = index.search(query, 10, recall=0.99, filter=mask, executor=executor)
    exact = index.search(query, 10, filter=mask, executor="exact")
    assert found.stats.n_fallbacks == 1
    np.testing.assert_array_equal(found.ids, exact.ids)


@pytest.mark.parametrize("executor", WALKS)
def test_where_a_sweep_finds_too_little_a_walk_goes_on(index: engine.Index, executor: Executor) -> None:
    vectors, query = clustered(0, 8000), clustered(1, 1)
    rank = rank_from(query, vectors)
    mask = (rank >= 30) | (rank % 6 == 0)
    found = index.search(query, 10, recall=0.99, filter=mask, executor=executor)
    exact = index.search(query, 10, filter=mask, executor="exact")
    assert found.stats.n_fallbacks == 0
    assert np.isin(found.ids, exact.ids).mean() >= 0.9


@pytest.fixture(scope="module")
def many() -> tuple[engine.Index, Rows, Rows]:
    """A graph of many rows, the rows and queries: where an exact search would take long."""
    data = named("clustered-100k")
    return graph_of(data.vectors, "cosine"), data.vectors, data.queries[:100]


@pytest.mark.slow
def test_of_many_rows_a_wider_sweep_reaches_over_a_hole(many: tuple[engine.Index, Rows, Rows]) -> None:
    """Where few rows have to be gone past; of those beyond, few are looked at in full."""
    index, vectors, queries = many
    recalls, n_fallbacks, n_rescored = [], 0, []
    for query in queries:
        mask = np.ones(len(index), np.bool_)
        mask[np.argsort(-(vectors @ query))[:40]] = False
        found = index.search(query, 10, recall=0.99, filter=mask)
        n_fallbacks += found.stats.n_fallbacks
        if not found.stats.n_fallbacks:
            n_rescored.append(found.stats.n_rescored)
        recalls.append(np.isin(found.ids, index.search(query, 10, filter=mask, executor="exact").ids).mean())
    assert np.mean(recalls) >= 0.99
    assert n_fallbacks <= 25  # 21; all 100 without a wider sweep
    assert np.mean(n_rescored) <= 55  # 47; 63 where all that pass among the nearest of the last pool are


@pytest.mark.slow
def test_no_walk_is_tried_in_a_wide_hole(many: tuple[engine.Index, Rows, Rows]) -> None:
    index, vectors, queries = many
    n_beside = []
    for query in queries:
        mask = np.ones(len(index), np.bool_)
        mask[np.argsort(-(vectors @ query))[:3000]] = False
        stats = index.search(query, 10, recall=0.99, filter=mask).stats
        assert (stats.executor, stats.n_fallbacks) == ("sweep", 1)
        n_beside.append(stats.n_scored - mask.sum())
    assert np.mean(n_beside) <= 1000  # 446, of 16 rows that were expanded; 4,826 where a wider sweep came first


def test_explain_says_what_a_search_does(index: engine.Index) -> None:
    queries = clustered(1, 20)
    for share in (0.0, 0.01, 0.3, 0.97, 1.0):
        mask = np.arange(len(index)) < share * len(index)
        for recall in (0.5, 0.9, 1.0):
            plan = index.explain(10, recall=recall, filter=mask, n_queries=len(queries))
            stats = index.search(queries, 10, recall=recall, filter=mask).stats
            assert (plan.executor, plan.strategy == "graph") == (stats.executor, stats.strategy == "graph"), plan
            assert f"{mask.sum()} of {len(index)} rows pass" in repr(plan)
            assert plan.seconds > 0


def test_the_more_rows_pass_the_more_walks_are_worth() -> None:
    """A crossover in the number of rows that pass: exact below, walks above."""
    index = graph_of(clustered(0, 20_000, 128), "cosine")
    chosen = [
        index.explain(10, recall=0.9, filter=np.arange(len(index)) < share * len(index)).executor != "exact"
        for share in np.linspace(0, 1, 21)
    ]
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (False, True)


def test_an_executor_that_cannot_be(index: engine.Index) -> None:
    query = clustered(1, 1)
    with pytest.raises(engine.InvalidArgumentError, match="executor is 'sweep', expected"):
        index.search(query, 3, executor="sweep")
    unknown: Any = "other"
    with pytest.raises(engine.InvalidArgumentError, match="executor is 'other', expected"):
        index.search(query, 3, filter=[1, 2], executor=unknown)
    flat = engine.Index(DIM)
    flat.add(query)
    with pytest.raises(engine.InvalidArgumentError, match="executor is 'in_filter', expected"):
        flat.search(query, 1, filter=[0], executor="in_filter")


@pytest.mark.parametrize("layout", ["plain", "fast"])
def test_filtered_searches_go_on_while_rows_are_added(layout: GraphLayout) -> None:
    index = graph_of(clustered(0, N), layout=layout)
    queries, allowed = clustered(1, 4), np.arange(0, N, 3)
    errors: list[BaseException] = []
    thread = threading.Thread(target=lambda: [index.add(clustered(i + 5, 60)) for i in range(5)])

    def search() -> None:
        try:
            while thread.is_alive():
                for executor in EXECUTORS:
                    found = index.search(queries, 10, ef=60, filter=allowed, executor=executor)
                    check_laws(found, allowed, 10)
        except engine.InvalidArgumentError:  # the bitmap is of the rows before an add that just ended
            search()
        except BaseException as error:
            errors.append(error)

    thread.start()
    search()
    thread.join()
    assert not errors, errors


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["plain", "fast"])
def test_recall_on_real_vectors_in_every_cell(layout: GraphLayout) -> None:
    """Rows near the query pass, any do, or those near it do not."""
    try:
        data = named("wordnet", 60_000)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    index = graph_of(data.vectors, "cosine", layout=layout)
    rng, n = np.random.default_rng(0), len(data.vectors)
    for share in (1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.9):
        n_allowed = max(int(share * n), 1)
        for kind in ("near", "any", "not near"):
            recalls: list[float] = []
            for anchor in data.queries[:8]:
                queries = data.queries[np.argsort(-(data.queries @ anchor))[:50]]
                order = np.argsort(-(data.vectors @ anchor))
                if kind != "near":
                    order = rng.permutation(order[min(n // 10, n - n_allowed) if kind == "not near" else 0 :])
                exact = index.search(queries, 10, filter=order[:n_allowed], executor="exact")
                found = index.search(queries, 10, recall=0.99, filter=order[:n_allowed])
                check_laws(found, order[:n_allowed], 10)
                recalls += [np.isin(a, b).mean() for a, b in zip(exact.ids, found.ids, strict=True)]
            assert np.mean(recalls) >= 0.99, (share, kind, found.stats)
