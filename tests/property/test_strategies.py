"""Every way of ruling rows out, forced on problems of every size, and attacks on the bounds that it rests on.

All ways must give the same bits; the plain one, which computes every distance, is held against the oracle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference import Rows, check_range, check_search, rounded_to
from strategies import FAMILIES, Case, cases, metrics

import engine
from engine import _core
from engine.types import Metric, RangeResult, SearchResult, VectorDtype

STRATEGIES = ("plain", "floats", "scan", "tiles")
DTYPES: tuple[VectorDtype, ...] = ("float32", "float16", "bfloat16")
every_metric = pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
more_cases = cases(dims=st.integers(1, 64), most=700, dtypes=DTYPES)


def build(vectors: Rows, metric: Metric, dtype: VectorDtype = "float32") -> Any:
    index = engine.Index(vectors.shape[1], metric=metric, dtype=dtype, n_threads=1)
    index.add(vectors)
    return index


def search(index: Any, queries: Rows, k: int, strategy: str, allowed: Any = None, n_threads: int = 1) -> SearchResult:
    found: SearchResult = index._core.search(queries, k, allowed, n_threads, strategy)
    return found


def identical(found: SearchResult | RangeResult, expected: SearchResult | RangeResult, what: str) -> None:
    np.testing.assert_array_equal(found.ids, expected.ids, err_msg=what)
    np.testing.assert_array_equal(found.distances, expected.distances, err_msg=what)


def check_all(vectors: Rows, queries: Rows, metric: Metric, k: int = 5, dtype: VectorDtype = "float32") -> None:
    """Plain against the oracle, and each other way against plain: in a batch and alone, with an index and without."""
    index, kept = build(vectors, metric, dtype), rounded_to(vectors, dtype)
    plain = search(index, queries, k, "plain")
    check_search(plain, queries, kept, k, metric)
    for strategy in STRATEGIES[1:]:
        identical(search(index, queries, k, strategy), plain, strategy)
        without = _core.topk(queries, kept, "float32", k, metric, None, 1, strategy)
        identical(without, plain, f"{strategy} without an index")
        for number, query in enumerate(queries):
            alone = search(index, query[None], k, strategy)
            np.testing.assert_array_equal(alone.ids[0], plain.ids[number], err_msg=f"{strategy}, query {number} alone")


@given(case=more_cases, metric=metrics, k=st.sampled_from([1, 2, 10, 100]))
def test_every_way_gives_the_same(case: Case, metric: Metric, k: int) -> None:
    vectors, queries = case.make()
    check_all(vectors, queries, metric, k, case.dtype)


@every_metric
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_way_on_each_kind_of_row(metric: Metric, family: str) -> None:
    for dim in (1, 2, 3, 40):
        vectors, queries = Case(dim, 400, 12, (family,), seed=dim).make()
        check_all(vectors, queries, metric)


@every_metric
@pytest.mark.parametrize("rows", sorted(FAMILIES))
def test_every_way_where_queries_are_of_another_kind(metric: Metric, rows: str) -> None:
    """Tiny queries on huge rows and so on: what is scaled by the one must hold for the other."""
    vectors, _ = Case(6, 300, 1, (rows,), seed=1).make()
    queries = np.vstack([Case(6, 1, 1, (family,), seed=2).make()[1] for family in sorted(FAMILIES)])
    check_all(vectors, queries, metric)


@given(case=more_cases, metric=metrics, seed=st.integers(0, 2**32 - 1), n_threads=st.integers(1, 3))
def test_every_way_with_a_filter(case: Case, metric: Metric, seed: int, n_threads: int) -> None:
    vectors, queries = case.make()
    rng = np.random.default_rng(seed)
    mask = rng.random(case.n) < rng.choice([0.02, 0.3, 0.9])
    allowed = engine.Bitmap(mask)
    index = build(vectors, metric, case.dtype)
    plain = search(index, queries, 5, "plain", allowed)
    check_search(plain, queries, rounded_to(vectors, case.dtype), 5, metric, allowed=mask)
    for strategy in STRATEGIES[1:]:
        identical(search(index, queries, 5, strategy, allowed, n_threads), plain, strategy)


@given(case=more_cases, metric=metrics, rank=st.floats(0, 1), inside=st.booleans())
def test_every_way_of_range_search(case: Case, metric: Metric, rank: float, inside: bool) -> None:
    """The radius is a distance that occurs, or the number just below it."""
    vectors, queries = case.make()
    index = build(vectors, metric, case.dtype)
    distances = np.sort(search(index, queries[:1], case.n, "plain").distances[0])
    radius = float(distances[int(rank * (case.n - 1))])
    radius = radius if inside else float(np.nextafter(radius, -np.inf))

    def within(strategy: str) -> RangeResult:
        offsets, ids, found, stats = index._core.range_search(queries, radius, None, 1, strategy)
        return RangeResult(offsets, ids, found, metric, stats)

    plain = within("plain")
    check_range(plain, queries, rounded_to(vectors, case.dtype), radius, metric)
    for strategy in STRATEGIES[1:]:
        identical(within(strategy), plain, strategy)


# ---- attacks


def left_out(w: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """What a code of `levels` steps with the least-squares scale leaves of each row, to which its bound is blind."""
    scale = -np.abs(w).max(axis=1, keepdims=True) * np.sign(w[np.arange(len(w)), np.abs(w).argmax(axis=1)])[:, None]
    z = np.rint(w / scale * levels)
    best = (w * z).sum(axis=1, keepdims=True) / np.maximum((z * z).sum(axis=1, keepdims=True), 1)
    return np.asarray(w - best * z)


@every_metric
@pytest.mark.parametrize("levels", [8, 136])
@pytest.mark.parametrize("dim", [2, 3, 8, 33, 128])
def test_queries_along_what_the_code_leaves_out(
    metric: Metric, levels: int, dim: int, rng: np.random.Generator
) -> None:
    """The estimate of such a row is 0 while its score is |e|: the bound must hold with equality."""
    half = rng.standard_normal((200, dim))
    rows = np.vstack([half, -half]) / np.linalg.norm(np.vstack([half, half]), axis=1, keepdims=True)
    rest = left_out(rows, levels)[::13]
    queries = np.vstack([rest, rest / np.linalg.norm(rest, axis=1, keepdims=True), rest + rows[::13]]).astype(
        np.float32
    )
    queries[~queries.any(axis=1)] = 1
    check_all(rows.astype(np.float32), queries, metric)


@every_metric
@pytest.mark.parametrize("a", [2e36, 1e37, 2e37, 2.5e37, 3e37, 3.5e37, 1e38, 3e38])
def test_sums_beyond_float32(metric: Metric, a: float, rng: np.random.Generator) -> None:
    """The estimate overflows to -inf while the bound on its error does not: such a row was once lost."""
    vectors = np.zeros((640, 2))
    vectors[:, 0] = a * rng.choice([-1, 1], 640)
    vectors[:, 1] = -a * rng.uniform(0.075, 0.08, 640)
    vectors[400:410, 1] = -a * 0.0665
    for query in ([0, 1], [1e-3, 1], [0, -1], [0, 1e-30], [0, 1e30], [0, a]):
        check_all(vectors.astype(np.float32), np.array([query], np.float32), metric)


@every_metric
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-22, 1e-19, 1e-16, 1e-10, 1e10, 1e16, 1e19, 1e22, 1e30, 1e37])
def test_one_scale_for_all(metric: Metric, scale: float) -> None:
    """Where squares leave the range of float32, and where the constants in the bounds begin to count."""
    vectors, queries = Case(9, 400, 9, ("gaussian", "cluster", "lattice"), seed=3).make()
    check_all((vectors * np.float32(scale)), queries, metric)
    check_all((vectors * np.float32(scale)), (queries * np.float32(scale)), metric)


@every_metric
@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6])
def test_a_cluster_far_away(metric: Metric, offset: float, rng: np.random.Generator) -> None:
    """Distances are a tiny difference of large numbers."""
    center = rng.standard_normal(12) * offset
    vectors = (center + rng.standard_normal((500, 12))).astype(np.float32)
    queries = np.vstack([vectors[:4], center + rng.standard_normal((4, 12)), -vectors[:1]]).astype(np.float32)
    check_all(vectors, queries, metric)


@every_metric
def test_rows_that_moved_away_from_the_center(metric: Metric, rng: np.random.Generator) -> None:
    """The codes keep the center of the first half; the second half lies elsewhere."""
    first, second = rng.standard_normal((300, 20)) + 5, rng.standard_normal((250, 20)) - 50
    vectors = np.vstack([first, second]).astype(np.float32)
    queries = np.vstack([vectors[::60], np.zeros((1, 20)) + 1]).astype(np.float32)
    index = engine.Index(20, metric=metric)
    index.add(vectors[:300])
    index.add(vectors[300:])
    index.remove(np.arange(0, 250))
    kept = index.get(index.ids)
    plain = search(index, queries, 5, "plain")
    check_search(plain, queries, kept, 5, metric, ids=index.ids)
    for strategy in STRATEGIES[1:]:
        identical(search(index, queries, 5, strategy), plain, strategy)


@every_metric
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_nearest_come_last(metric: Metric, strategy: str, rng: np.random.Generator) -> None:
    """Sorted rows keep the limit high until the end: slow, and right."""
    query = rng.standard_normal((1, 16)).astype(np.float32)
    rows = rng.standard_normal((5000, 16)).astype(np.float32)
    order = np.argsort(engine.topk(query, rows, 5000, metric=metric).ids[0])[::-1]
    vectors = rows[np.argsort(order)]
    found = search(build(vectors, metric), np.repeat(query, 9, axis=0), 10, strategy, n_threads=2)
    check_search(found, np.repeat(query, 9, axis=0), vectors, 10, metric)


@every_metric
def test_ties_by_the_thousand(metric: Metric, rng: np.random.Generator) -> None:
    """Five vectors, a thousand times each: every tie must fall to the smallest ids, whichever thread saw it."""
    kinds = rng.standard_normal((5, 10)).astype(np.float32)
    vectors = kinds[rng.integers(5, size=5000)]
    ids = rng.permutation(5000)
    index = engine.Index(10, metric=metric)
    index.add(vectors, ids=ids)
    for strategy in STRATEGIES:
        for n_threads in (1, 2):
            found = search(index, np.repeat(kinds, 3, axis=0), 30, strategy, n_threads=n_threads)
            check_search(found, np.repeat(kinds, 3, axis=0), vectors, 30, metric, ids=ids)
