"""engine.topk: the call itself. That its answers are exact is the matter of tests/property."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from reference import check_search

import engine
from engine.types import Metric

VECTORS = np.random.default_rng(0).standard_normal((500, 24)).astype(np.float32)
QUERIES = np.random.default_rng(1).standard_normal((7, 24)).astype(np.float32)


def test_a_result_by_hand() -> None:
    rows = [[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]
    assert engine.topk([2.0, 0.0], rows, 3, metric="cosine").ids.tolist() == [[0, 2, 1]]
    assert engine.topk([2.0, 0.0], rows, 3, metric="cosine").distances.tolist() == [[0, 0, 1]]
    assert engine.topk([2.0, 0.0], rows, 3, metric="ip").ids.tolist() == [[2, 0, 1]]
    assert engine.topk([2.0, 0.0], rows, 3, metric="ip").distances.tolist() == [[-6, -2, 0]]
    assert engine.topk([2.0, 0.0], rows, 3, metric="l2").ids.tolist() == [[0, 2, 1]]
    assert engine.topk([2.0, 0.0], rows, 3, metric="l2").distances.tolist() == [[1, 1, 8]]


def test_shapes_and_dtypes() -> None:
    found = engine.topk(QUERIES, VECTORS, 3)
    assert found.metric == "cosine"
    assert found.ids.shape == found.distances.shape == (7, 3)
    assert found.ids.dtype == np.int64
    assert found.distances.dtype == np.float32
    assert engine.topk(QUERIES[0], VECTORS, 3).ids.shape == (1, 3)
    assert engine.topk(QUERIES[0], VECTORS[0], 3).ids.tolist() == [[0, -1, -1]]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_masks(share: float, rng: np.random.Generator) -> None:
    mask = rng.random(500) < share
    found = engine.topk(QUERIES, VECTORS, 10, mask=mask)
    check_search(found, QUERIES, VECTORS, 10, "cosine", allowed=mask)
    assert found.stats.selectivity == pytest.approx(mask.mean())


def test_a_mask_keeps_row_numbers() -> None:
    mask = np.zeros(500, bool)
    mask[[3, 499]] = True
    assert sorted(engine.topk(VECTORS[499], VECTORS, 2, mask=mask).ids[0].tolist()) == [3, 499]


@pytest.mark.parametrize("n_threads", [None, 1, 2, 3, 64])
def test_threads_do_not_change_the_answer(n_threads: int | None) -> None:
    expected = engine.topk(QUERIES, VECTORS, 10, n_threads=1)
    found = engine.topk(QUERIES, VECTORS, 10, n_threads=n_threads)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_equal_rows_come_by_row_number() -> None:
    rows = np.tile(VECTORS[:1], (300, 1))
    for metric in ("cosine", "ip", "l2"):
        for some in (QUERIES[:1], QUERIES, np.tile(QUERIES, (20, 1))):
            assert (engine.topk(some, rows, 10, metric=metric).ids == np.arange(10)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_only_rows_that_the_mask_allows_are_checked(dtype: Any) -> None:
    """The others may hold anything, as padding does."""
    rows = np.array([[np.nan, 1], [1, 1], [0, 0], [np.inf, 0], [2, 1]], dtype)
    if dtype == np.float64:
        rows[3, 1] = 1e39
    allowed = np.array([False, True, False, False, True])
    assert engine.topk([1.0, 1.0], rows, 3, mask=allowed).ids.tolist() == [[1, 4, -1]]
    with pytest.raises(engine.InvalidArgumentError, match=r"vectors\[2\] is a zero vector"):
        engine.topk([1.0, 1.0], rows, 3, mask=engine.Bitmap(np.array([False, True, True, False, True])))
    with pytest.raises(engine.InvalidArgumentError, match=r"vectors\[3, 0\] is inf, expected finite"):
        engine.topk([1.0, 1.0], rows, 3, mask=[False, True, False, True, True])


def test_the_strategy_says_what_was_done() -> None:
    """Without codes few queries; codes made for a batch; those of an index; nearly all rows wanted anyway."""
    index = engine.Index(24, n_threads=1)
    index.add(VECTORS)
    batch = np.tile(QUERIES, (60, 1))
    for found, strategy in (
        (engine.topk(QUERIES, VECTORS, 10), "certified-float32"),
        (engine.topk(batch, VECTORS, 10), "certified-8bit"),
        (index.search(QUERIES[0], 10), "certified-4bit"),
        (index.search(batch, 10), "certified-8bit"),
        (index.search(QUERIES, 400), "plain"),
        (index.search(QUERIES, 10, filter=np.arange(100)), "certified-4bit"),
        (index.search(QUERIES, 10, filter=np.arange(30)), "plain"),
        (index.search(batch, 10, filter=np.arange(100)), "certified-float32"),
        (index.search(batch, 10, filter=np.arange(129)), "certified-8bit"),
        (engine.topk(np.tile(batch, (4, 1)), VECTORS[:100], 10), "certified-float32"),
    ):
        assert found.stats.strategy == strategy


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("lengths", [(1.0, 1.0), (1e-9, 1e9), (1e-18, 1e16)])
@pytest.mark.parametrize("n_rows", [17, 64, 65, 128])
def test_many_queries_among_few_rows(metric: Metric, lengths: tuple[float, float], n_rows: int) -> None:
    """They are taken as they are, unless one of them is so short or long that all are scaled."""
    rng = np.random.default_rng(n_rows)
    queries = rng.standard_normal((200, 24)).astype(np.float32) * rng.choice(lengths, (200, 1)).astype(np.float32)
    index = engine.Index(24, metric=metric, n_threads=1)
    index.add(VECTORS)
    allowed = np.zeros(500, bool)
    allowed[rng.permutation(500)[:n_rows]] = True
    check_search(index.search(queries, 5, filter=allowed), queries, VECTORS, 5, metric, allowed=allowed)
    check_search(
        engine.topk(queries, VECTORS, 5, metric=metric, mask=allowed), queries, VECTORS, 5, metric, allowed=allowed
    )


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("n_queries", [1, 7, 40])
def test_rows_wait_until_float32_has_seen_them_all(metric: Metric, n_queries: int) -> None:
    """What is left then is little more than the results, however many were the nearest for a while."""
    queries = np.tile(QUERIES, (6, 1))[:n_queries]
    found = engine.topk(queries, VECTORS, 10, metric=metric)
    assert found.stats.strategy == "certified-float32"
    assert found.stats.n_rescored <= 11 * n_queries


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("n_queries", [1, 7, 40])
def test_rows_that_floats_say_nothing_about(metric: Metric, n_queries: int) -> None:
    """Sums beyond float32, lengths near its smallest number; and zero vectors, named where they have no cosine."""
    rows, queries = VECTORS.copy(), np.tile(QUERIES, (6, 1))[:n_queries]
    rows[100], rows[200], rows[300] = 1e25, 1e-30, -1e-22
    check_search(engine.topk(queries, rows, 10, metric=metric), queries, rows, 10, metric)
    rows[400] = 0
    if metric == "cosine":
        with pytest.raises(engine.InvalidArgumentError, match=r"vectors\[400\] is a zero vector"):
            engine.topk(queries, rows, 10)
    else:
        check_search(engine.topk(queries, rows, 10, metric=metric), queries, rows, 10, metric)


@pytest.mark.parametrize("n", [130, 600, 2100, 4096])
def test_few_rows_whose_codes_say_little(n: int) -> None:
    """Allowed rows closer to each other than a step of their codes: it does not take thousands of them to notice."""
    rng = np.random.default_rng(2)
    rows = np.vstack([5 + 0.1 * rng.standard_normal((n, 24)), rng.standard_normal((2000, 24))]).astype(np.float32)
    queries = (5 + 0.1 * rng.standard_normal((30, 24))).astype(np.float32)
    index = engine.Index(24, metric="l2", n_threads=1)
    index.add(rows)
    found = index.search(queries, 10, filter=np.arange(n))
    check_search(found, queries, rows, 10, "l2", allowed=np.arange(len(rows)) < n)
    assert found.stats.strategy == "certified-float32"
    assert found.stats.n_rescored < 0.6 * n * len(queries)


def test_small_batches_scan_what_waits_in_memory() -> None:
    rows = np.random.default_rng(0).standard_normal((40_000, 256), np.float32)
    index = engine.Index(256, n_threads=1)
    index.add(rows)
    wanted = index.search(rows[:12], 5)
    assert wanted.stats.strategy == "certified-8bit"
    found = index.search(rows[:11], 5)
    assert found.stats.strategy == "certified-4bit"
    assert found.ids.tolist() == wanted.ids[:11].tolist()
    for share in (0.84, 0.95):  # gathered, and past a mask
        mask = np.random.default_rng(1).random(len(rows)) < share
        each = [index.search(query, 5, filter=mask).ids[0].tolist() for query in rows[:11]]
        found = index.search(rows[:11], 5, filter=mask)
        assert found.stats.strategy == "certified-4bit"
        assert found.ids.tolist() == each


def test_stats() -> None:
    stats = engine.topk(QUERIES, VECTORS, 10).stats
    assert stats.selectivity == 1.0
    assert stats.seconds > 0
    assert stats.n_scored == 7 * 500
    assert 7 * 10 <= stats.n_rescored <= 7 * 500


def test_inputs_stay_as_they_are() -> None:
    queries, vectors = QUERIES.copy(), VECTORS.copy()
    engine.topk(queries, vectors, 10)
    np.testing.assert_array_equal(queries, QUERIES)
    np.testing.assert_array_equal(vectors, VECTORS)


def test_no_matrix_of_all_pairs() -> None:
    """20,000 queries on 20,000 rows would be 1.6 GB of scores; the search may take a fraction of that."""

    code = (
        "import resource, numpy as np, engine; a = np.random.default_rng(0).standard_normal((20000, 8), np.float32); "
        "engine.topk(a[:5], a[:5], 1); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "engine.topk(a, a, 5, metric='l2'); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 100_000
