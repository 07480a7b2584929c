"""Every search of the core against the oracle, and the laws that hold between searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference import FLOAT32, Rows, check_range, check_search, rounded_to, scores
from strategies import FAMILIES, TYPICAL_DIMS, Case, cases, metrics

import engine
from engine.types import Metric, RangeResult, SearchResult, VectorDtype

DTYPES: tuple[VectorDtype, ...] = ("float32", "float16", "bfloat16")
every_metric = pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
filter_forms = st.sampled_from(["mask", "ids", "bitmap"])


def build(case: Case, metric: Metric, vectors: Rows, ids: NDArray[np.int64] | None = None) -> engine.Index:
    index = engine.Index(case.dim, metric=metric, dtype=case.dtype, n_threads=1)
    index.add(vectors, ids=ids)
    return index


def some_ids(case: Case) -> NDArray[np.int64]:
    """Distinct ids in no order, many above 2**32."""
    rng = np.random.default_rng(case.seed)
    return rng.permutation(case.n) * np.int64(rng.choice([1, 3, 2**33 + 1])) + int(rng.integers(100))


def some_mask(case: Case) -> NDArray[np.bool_]:
    rng = np.random.default_rng(case.seed + 1)
    return np.asarray(rng.random(case.n) < rng.choice([0.0, 0.01, 0.1, 0.5, 0.9, 1.0]))


def as_filter(form: str, mask: NDArray[np.bool_], ids: NDArray[np.int64]) -> Any:
    """The same allowed rows in each form that a filter may have."""
    if form == "ids":
        return np.random.default_rng(0).permutation(ids[mask])
    return engine.Bitmap(mask) if form == "bitmap" else mask


def identical(left: SearchResult | RangeResult, right: SearchResult | RangeResult) -> None:
    """Demand the same ids and the same distances, bit by bit."""
    np.testing.assert_array_equal(left.ids, right.ids)
    assert left.distances.tobytes() == right.distances.tobytes()


# ---- against the oracle


@given(case=cases(), metric=metrics, k=st.integers(1, 320), masked=st.booleans())
def test_topk(case: Case, metric: Metric, k: int, masked: bool) -> None:
    vectors, queries = case.make()
    mask = some_mask(case) if masked else None
    result = engine.topk(queries, vectors, k, metric=metric, mask=mask, n_threads=1)
    check_search(result, queries, vectors, k, metric, allowed=mask)


@given(case=cases(dtypes=DTYPES), metric=metrics, k=st.integers(1, 320), form=filter_forms | st.none())
def test_index_search(case: Case, metric: Metric, k: int, form: str | None) -> None:
    vectors, queries = case.make()
    ids, mask = some_ids(case), some_mask(case) if form else None
    index = build(case, metric, vectors, ids)
    allowed = as_filter(form, mask, ids) if form and mask is not None else None
    result = index.search(queries, k, filter=allowed)
    check_search(result, queries, rounded_to(vectors, case.dtype), k, metric, ids=ids, allowed=mask)


@given(case=cases(dtypes=DTYPES), metric=metrics, form=filter_forms | st.none(), at=st.floats(0, 1))
def test_range_search(case: Case, metric: Metric, form: str | None, at: float) -> None:
    """The radius is one of the distances, or just beside it, or between two."""
    vectors, queries = case.make()
    kept = rounded_to(vectors, case.dtype)
    found = np.unique(scores(queries, kept, metric).astype(np.float64))
    place = at * (len(found) - 1)
    radius = float(np.interp(place, np.arange(len(found)), found))
    ids, mask = some_ids(case), some_mask(case) if form else None
    allowed = as_filter(form, mask, ids) if form and mask is not None else None
    result = build(case, metric, vectors, ids).range_search(queries, radius, filter=allowed)
    check_range(result, queries, kept, radius, metric, ids=ids, allowed=mask)


@every_metric
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_many_rows_of_one_kind(metric: Metric, family: str) -> None:
    """Enough rows and queries that screening by codes pays, whatever the rows are like."""
    for dim, dtype in zip((24, 33, 64), DTYPES, strict=True):
        case = Case(dim, 3000, 20, (family,), seed=dim, dtype=dtype)
        vectors, queries = case.make()
        index, kept = build(case, metric, vectors), rounded_to(vectors, dtype)
        check_search(index.search(queries, 10), queries, kept, 10, metric)
        check_search(index.search(queries[:1], 10), queries[:1], kept, 10, metric)


@every_metric
@pytest.mark.parametrize("dims", [range(1, 33), range(33, 65), range(65, 98)], ids=["1-32", "33-64", "65-97"])
def test_every_dim(metric: Metric, dims: range) -> None:
    for dim in dims:
        case = Case(dim, 150, 9, ("gaussian", "lattice", "cluster"), seed=dim)
        vectors, queries = case.make()
        index = build(case, metric, vectors)
        for some in (queries, queries[:1]):
            check_search(index.search(some, 10), some, vectors, 10, metric)
            check_search(engine.topk(some, vectors, 10, metric=metric), some, vectors, 10, metric)


@every_metric
@every_dtype
@pytest.mark.parametrize("dim", TYPICAL_DIMS)
def test_typical_dims(dim: int, metric: Metric, dtype: VectorDtype) -> None:
    for families in (("gaussian", "near_ties", "constant"), ("unit", "cluster"), tuple(sorted(FAMILIES))):
        case = Case(dim, 120, 3, families, seed=dim, dtype=dtype)
        vectors, queries = case.make()
        index, kept = build(case, metric, vectors), rounded_to(vectors, dtype)
        for some in (queries, queries[:1]):
            check_search(index.search(some, 10), some, kept, 10, metric)


@every_metric
@pytest.mark.parametrize("dim", [65_535, 65_536])
def test_largest_dims(dim: int, metric: Metric) -> None:
    case = Case(dim, 12, 2, ("gaussian", "constant", "dominant"), seed=dim)
    vectors, queries = case.make()
    check_search(build(case, metric, vectors).search(queries, 5), queries, vectors, 5, metric)
    check_search(engine.topk(queries, vectors, 5, metric=metric), queries, vectors, 5, metric)


@every_metric
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1023, 1025, 4096, 4097])
def test_row_counts_around_blocks(n: int, metric: Metric) -> None:
    case = Case(17, n, 40, ("gaussian", "lattice"), seed=n)
    vectors, queries = case.make()
    index = build(case, metric, vectors)
    for n_queries in (1, 2, 5, 33, 40):
        for k in (1, 10, n):
            some = queries[:n_queries]
            if k < 1000:
                check_search(index.search(some, k), some, vectors, k, metric)
    check_search(index.search(queries[:2], n + 3), queries[:2], vectors, n + 3, metric)


@pytest.mark.slow
@every_metric
@every_dtype
@settings(max_examples=100)
@given(data=st.data())
def test_large_cases(metric: Metric, dtype: VectorDtype, data: st.DataObject) -> None:
    """As `test_index_search`, with more rows, queries and dims than a fast test may have."""
    case = data.draw(cases(dims=st.integers(1, 300), most=6000, dtypes=(dtype,)))
    case = Case(case.dim, case.n, case.n_queries * 6, case.families, case.seed, dtype)
    vectors, queries = case.make()
    k = data.draw(st.sampled_from([1, 10, 100]))
    index = build(case, metric, vectors)
    check_search(index.search(queries, k), queries, rounded_to(vectors, dtype), k, metric)


# ---- laws


@given(case=cases(dtypes=DTYPES), metric=metrics, form=filter_forms, k=st.integers(1, 30))
def test_a_filter_is_an_index_of_the_allowed_subset(case: Case, metric: Metric, form: str, k: int) -> None:
    vectors, queries = case.make()
    ids, mask = some_ids(case), some_mask(case)
    mask[0] = True
    filtered = build(case, metric, vectors, ids).search(queries, k, filter=as_filter(form, mask, ids))
    identical(filtered, build(case, metric, vectors[mask], ids[mask]).search(queries, k))


@given(case=cases(dtypes=DTYPES), metric=metrics, data=st.data())
def test_fewer_are_the_first_of_all(case: Case, metric: Metric, data: st.DataObject) -> None:
    """k results are the first k of all n; each query alone, in any batch, gets the same; so does a range search."""
    vectors, queries = case.make()
    index = build(case, metric, vectors, some_ids(case))
    whole = index.search(queries, case.n)
    k = data.draw(st.integers(1, case.n))
    few = index.search(queries, k)
    np.testing.assert_array_equal(few.ids, whole.ids[:, :k])
    np.testing.assert_array_equal(few.distances, whole.distances[:, :k])
    for number, query in enumerate(queries):
        alone = index.search(query, k)
        np.testing.assert_array_equal(alone.ids[0], whole.ids[number, :k])
        np.testing.assert_array_equal(alone.distances[0], whole.distances[number, :k])
        radius = float(alone.distances[0, -1])
        if abs(radius) == FLOAT32.max:  # it may stand for any larger number
            continue
        within = index.range_search(query, radius)
        n_within = int((whole.distances[number] <= radius).sum())
        np.testing.assert_array_equal(within.ids, whole.ids[number, :n_within])
        np.testing.assert_array_equal(within.distances, whole.distances[number, :n_within])


@given(case=cases(), metric=metrics, k=st.integers(1, 30))
def test_topk_is_an_index_of_one_call(case: Case, metric: Metric, k: int) -> None:
    vectors, queries = case.make()
    identical(engine.topk(queries, vectors, k, metric=metric), build(case, metric, vectors).search(queries, k))


@given(case=cases(dtypes=DTYPES), metric=metrics, data=st.data())
def test_the_order_of_adding_does_not_matter(case: Case, metric: Metric, data: st.DataObject) -> None:
    vectors, queries = case.make()
    ids = some_ids(case)
    order = np.random.default_rng(case.seed).permutation(case.n)
    cuts = sorted(data.draw(st.lists(st.integers(0, case.n), max_size=3)))
    index = engine.Index(case.dim, metric=metric, dtype=case.dtype)
    for part in np.split(order, cuts):
        if len(part):
            index.add(vectors[part], ids=ids[part])
    identical(index.search(queries, 20), build(case, metric, vectors, ids).search(queries, 20))


@given(case=cases(dtypes=DTYPES), k=st.integers(1, 30), exponent=st.integers(-20, 20))
def test_scaling_a_query_keeps_cosine(case: Case, k: int, exponent: int) -> None:
    vectors, queries = case.make()
    with np.errstate(over="ignore"):
        scaled = np.ldexp(queries, exponent)
    if (np.isfinite(scaled) & (np.ldexp(scaled, -exponent) == queries)).all():
        index = build(case, "cosine", vectors)
        identical(index.search(queries, k), index.search(scaled, k))


@given(case=cases(dtypes=DTYPES), metric=metrics, mmap=st.booleans(), data=st.data())
def test_save_load_search(
    tmp_path_factory: pytest.TempPathFactory, case: Case, metric: Metric, mmap: bool, data: st.DataObject
) -> None:
    vectors, queries = case.make()
    index = build(case, metric, vectors, some_ids(case))
    index.remove(data.draw(st.lists(st.sampled_from(index.ids.tolist()), unique=True, max_size=case.n - 1)))
    path = tmp_path_factory.getbasetemp() / "saved.nrf"
    index.save(path)
    loaded = engine.Index.load(path, mmap=mmap)
    assert (len(loaded), loaded.dim, loaded.metric, loaded.dtype, loaded.kind) == (
        len(index), case.dim, metric, case.dtype, "exact"
    )  # fmt: skip
    np.testing.assert_array_equal(loaded.ids, index.ids)
    np.testing.assert_array_equal(loaded.get(loaded.ids), index.get(index.ids))
    identical(loaded.search(queries, 10), index.search(queries, 10))
    radius = float(index.search(queries, 1).distances[0, 0])
    identical(loaded.range_search(queries, radius), index.range_search(queries, radius))
    loaded.add(queries)
    index.add(queries)
    identical(loaded.search(queries, 10), index.search(queries, 10))


@every_dtype
@every_metric
def test_get_gives_back_what_was_given(dtype: VectorDtype, metric: Metric, rng: np.random.Generator) -> None:
    case = Case(31, 200, 1, ("gaussian", "dominant", "lattice"), 5, dtype)
    vectors, _ = case.make()
    ids = some_ids(case)
    index = build(case, metric, vectors, ids)
    order = rng.permutation(case.n)
    np.testing.assert_array_equal(index.get(ids[order]), rounded_to(vectors, dtype)[order])


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    case = Case(31, 200, 1, ("gaussian",), 5)
    index = build(case, "cosine", case.make()[0])
    index.save(tmp_path / "a")
    engine.Index.load(tmp_path / "a").save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
