"""The oracle itself: it accepts a plain float64 search and catches every wrong answer that we know how to make."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference import FLOAT32, check_range, check_search, rounded_to, scores
from strategies import Case, cases, metrics

from engine.types import Metric, RangeResult, SearchResult, SearchStats

STATS = SearchStats("plain", 0, 0, 1.0, 0.0)


def plain_search(queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, metric: Metric) -> SearchResult:
    """The rule of the engine in six lines of numpy."""
    found = scores(queries, vectors, metric).astype(np.float64)
    distances = np.clip(found, FLOAT32.min, FLOAT32.max).astype(np.float32)
    outside = np.where(abs(found) > FLOAT32.max, found, 0)
    order = np.lexsort((np.broadcast_to(np.arange(len(vectors)), found.shape), outside, distances))[:, :k]
    short = ((0, 0), (0, max(0, k - len(vectors))))
    ids = np.pad(order, short, constant_values=-1)
    return SearchResult(
        ids, np.pad(np.take_along_axis(distances, order, 1), short, constant_values=np.inf), metric, STATS
    )


@given(case=cases(most=60), metric=metrics, k=st.integers(1, 70))
def test_a_plain_search_passes(case: Case, metric: Metric, k: int) -> None:
    vectors, queries = case.make()
    check_search(plain_search(queries, vectors, k, metric), queries, vectors, k, metric)


def wrong_distance(ids: NDArray[np.int64], distances: NDArray[np.float32]) -> None:
    distances[1, 2] *= np.float32(1 + 1e-6)


def wrong_order(ids: NDArray[np.int64], distances: NDArray[np.float32]) -> None:
    ids[0, :2], distances[0, :2] = ids[0, 1::-1].copy(), distances[0, 1::-1].copy()


def wrong_tie(ids: NDArray[np.int64], distances: NDArray[np.float32]) -> None:
    ids[2, :2] = ids[2, 1::-1].copy()


def twice(ids: NDArray[np.int64], distances: NDArray[np.float32]) -> None:
    ids[0, 1] = ids[0, 0]


def unknown(ids: NDArray[np.int64], distances: NDArray[np.float32]) -> None:
    ids[0, 4] = 1000


def missing(ids: NDArray[np.int64], distances: NDArray[np.float32]) -> None:
    ids[0, 4], distances[0, 4] = -1, np.inf


def shifted(ids: NDArray[np.int64], distances: NDArray[np.float32]) -> None:
    ids[0] += 1


@pytest.mark.parametrize(
    "damage", [wrong_distance, wrong_order, wrong_tie, twice, unknown, missing, shifted], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_a_wrong_answer_fails(
    rng: np.random.Generator, metric: Metric, damage: Callable[[NDArray[np.int64], NDArray[np.float32]], None]
) -> None:
    vectors = rng.standard_normal((40, 8)).astype(np.float32)
    vectors[7] = vectors[31]
    queries = np.vstack([vectors[:2] + np.float32(0.5), vectors[7:8]])
    if metric == "ip":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[7] = vectors[31]
    right = plain_search(queries, vectors, 5, metric)
    check_search(right, queries, vectors, 5, metric)
    wrong = SearchResult(right.ids.copy(), right.distances.copy(), metric, STATS)
    damage(wrong.ids, wrong.distances)
    with pytest.raises(AssertionError):
        check_search(wrong, queries, vectors, 5, metric)


def test_the_next_best_is_not_the_best(rng: np.random.Generator) -> None:
    """Right distances in the right order, but a better row was passed over; or one that the filter forbids."""
    vectors = rng.standard_normal((40, 8)).astype(np.float32)
    whole = plain_search(vectors[:1], vectors, 6, "l2")
    skipped = SearchResult(np.delete(whole.ids, 3, 1), np.delete(whole.distances, 3, 1), "l2", STATS)
    with pytest.raises(AssertionError, match="are nearer than"):
        check_search(skipped, vectors[:1], vectors, 5, "l2")
    allowed = np.arange(40) != whole.ids[0, 3]
    check_search(skipped, vectors[:1], vectors, 5, "l2", allowed=allowed)
    with pytest.raises(AssertionError, match="not allowed"):
        check_search(whole, vectors[:1], vectors, 6, "l2", allowed=allowed)


def test_range_answers_are_judged(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((40, 8)).astype(np.float32)
    whole = plain_search(vectors[:1], vectors, 40, "l2")
    radius = float(whole.distances[0, 9]) * 1.0001

    def result(n: int) -> RangeResult:
        return RangeResult(np.array([0, n]), whole.ids[0, :n], whole.distances[0, :n], "l2", STATS)

    check_range(result(10), vectors[:1], vectors, radius, "l2")
    for n in (9, 11):
        with pytest.raises(AssertionError):
            check_range(result(n), vectors[:1], vectors, radius, "l2")


@given(case=cases(most=20))
def test_bfloat16_rounds_to_nearest_even(case: Case) -> None:
    """Against the definition: the kept 16 bits are the nearest of the two neighbours, the even one on a tie."""
    vectors, _ = Case(case.dim, case.n, 1, case.families, case.seed, "bfloat16").make()
    down = (vectors.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    with np.errstate(over="ignore"):
        up = (down.view(np.uint32) + np.uint32(0x10000)).view(np.float32)
    below, above = abs(vectors.astype(np.float64) - down), abs(up.astype(np.float64) - vectors)
    odd = (down.view(np.uint32) >> 16) & 1 == 1
    expected = np.where((above < below) | ((above == below) & odd), up, down)
    np.testing.assert_array_equal(rounded_to(vectors, "bfloat16"), expected)
