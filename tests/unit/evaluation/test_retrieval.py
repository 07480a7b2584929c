"""engine.evaluation: recall against ids and against labels, and the exact answer to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine
from engine.evaluation import ground_truth, label_recall_at_k, recall_at_k
from engine.evaluation.retrieval import search_others
from engine.exceptions import InvalidArgumentError
from engine.types import Metric

METRICS: tuple[Metric, ...] = ("cosine", "ip", "l2")


def test_recall_counts_ids_whatever_their_order() -> None:
    true = [[0, 1, 2], [3, 4, 5]]
    assert recall_at_k([[2, 1, 0], [9, 4, 8]], true) == pytest.approx(4 / 6)
    assert recall_at_k([[2, 1, 0], [9, 4, 8]], true, k=1) == 0.0
    assert recall_at_k(true, true) == 1.0


def test_recall_of_one_query_does_not_leak_into_another() -> None:
    assert recall_at_k([[3, 4], [0, 1]], [[0, 1], [3, 4]]) == 0.0


def test_recall_ignores_missing_ids_and_repetitions() -> None:
    assert recall_at_k([[7, -1, -1]], [[7, -1, -1]]) == 1.0
    assert recall_at_k([[-1, -1, -1]], [[7, 8, -1]]) == 0.0
    assert recall_at_k([[-1, -1]], [[-1, -1]]) == 1.0
    assert recall_at_k([[7, 7]], [[7, 8]]) == 0.5


def test_recall_takes_the_largest_ids() -> None:
    assert recall_at_k([[2**62, 2**63 - 1]], [[2**63 - 1, 5]]) == 0.5


@pytest.mark.parametrize(
    ("ids", "true_ids", "k", "message"),
    [
        ([[1]], [[1], [2]], None, "ids has 1 rows, true_ids 2"),
        ([[1, 2]], [[1]], 2, "k is 2, expected at most 1"),
        ([1], [[1]], None, r"ids has shape \(1,\)"),
        ([[1.0]], [[1]], None, "ids has dtype float64, expected integers"),
        (np.empty((0, 3), int), [[1]], None, r"ids has shape \(0, 3\)"),
        ([[1]], [[1]], 0, "k is 0"),
    ],
)
def test_bad_ids(ids: Any, true_ids: Any, k: int | None, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        recall_at_k(ids, true_ids, k)


# label_recall_at_k


def test_perfect_clusters_are_all_found(rng: np.random.Generator) -> None:
    labels = np.repeat(np.arange(4), 5)
    points = 100 * np.eye(4)[labels] + rng.random((20, 4))
    assert label_recall_at_k(points, labels, (1, 4), metric="l2") == {1: 1.0, 4: 1.0}


def test_one_row_per_class_finds_nothing(rng: np.random.Generator) -> None:
    assert label_recall_at_k(rng.random((9, 3)), np.arange(9), (1, 8)) == {1: 0.0, 8: 0.0}


def test_random_labels_meet_their_expectation(rng: np.random.Generator) -> None:
    """E[Recall@1] = (n_c - 1) / (n - 1)."""
    n, per_class = 2000, 200
    labels = rng.permutation(np.repeat(np.arange(n // per_class), per_class))
    recall = label_recall_at_k(rng.standard_normal((n, 8)), labels, (1,))[1]
    expected = (per_class - 1) / (n - 1)
    assert recall == pytest.approx(expected, abs=5 * np.sqrt(expected / n))


def test_a_duplicate_is_a_neighbour_but_the_row_itself_is_not() -> None:
    points = [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert label_recall_at_k(points, [0, 0, 1, 2], (1,))[1] == 0.5


def test_gallery_is_searched_instead() -> None:
    gallery = ([[1, 0], [0, 1], [-1, 0]], ["east", "north", "west"])
    queries = [[0.9, 0.1], [0.2, 0.9], [0.4, 0.6]]
    labels = ["east", "north", "east"]
    assert label_recall_at_k(queries, labels, (1, 2), gallery=gallery) == {1: pytest.approx(2 / 3), 2: 1.0}


def test_batches_change_nothing(rng: np.random.Generator) -> None:
    points, labels = rng.random((100, 4)), rng.integers(0, 5, 100)
    assert label_recall_at_k(points, labels, batch_size=7) == label_recall_at_k(points, labels)


@pytest.mark.parametrize(
    ("labels", "ks", "message"),
    [
        ([0, 1, 0], (1, 3), r"ks is \(1, 3\), expected numbers from 1 to 2"),
        ([0, 1, 0], (), r"ks is \(\)"),
        ([0, 1, 0], (0,), "ks is 0"),
        ([0, 0, 0], (1,), "y holds one label only: 0, expected at least two"),
        ([0, 1], (1,), "y has 2 labels, expected 3"),
    ],
)
def test_bad_label_recall(labels: list[int], ks: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        label_recall_at_k(np.eye(3), labels, ks)


def test_others_leave_out_the_row_among_many_duplicates() -> None:
    index = engine.Index(2, metric="l2")
    index.add(np.ones((9, 2)), ids=np.arange(9) * 10)
    (found,) = search_others(index, 3)
    for own, ids in zip(index.ids, found.ids, strict=True):
        assert ids.tolist() == [i for i in range(0, 90, 10) if i != own][:3]


# ground_truth


def naive(queries: np.ndarray, vectors: np.ndarray, k: int, metric: Metric, mask: np.ndarray) -> np.ndarray:
    """The definition, in float64."""
    q, x = queries.astype(np.float64)[:, None], vectors.astype(np.float64)
    if metric == "l2":
        distances = ((q - x) ** 2).sum(-1)
    elif metric == "ip":
        distances = -(q * x).sum(-1)
    else:
        distances = 1 - (q * x).sum(-1) / np.linalg.norm(q, axis=-1) / np.linalg.norm(x, axis=-1)
    distances = np.where(mask, distances.astype(np.float32), np.inf)
    ids = np.argsort(distances, axis=1, kind="stable")
    return np.where(np.take_along_axis(distances, ids, 1) < np.inf, ids, -1)[:, :k]


@pytest.mark.parametrize("metric", METRICS)
def test_ground_truth_is_the_definition(rng: np.random.Generator, metric: Metric) -> None:
    queries, vectors = rng.standard_normal((20, 6)), rng.integers(-2, 3, (300, 6)) + 0.5
    queries, vectors = queries.astype(np.float32), vectors.astype(np.float32)
    for mask in (None, rng.random(300) < 0.1, rng.random((20, 300)) < 0.02, np.zeros(300, bool)):
        found = ground_truth(queries, vectors, 12, metric=metric, mask=mask)
        expected = naive(queries, vectors, 12, metric, np.ones(300, bool) if mask is None else mask)
        np.testing.assert_array_equal(found.ids, expected)
        assert (np.diff(np.where(found.ids < 0, 9e9, found.distances), axis=1) >= 0).all()
        assert np.isposinf(found.distances[found.ids < 0]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_ground_truth_agrees_with_the_engine(rng: np.random.Generator, metric: Metric) -> None:
    queries, vectors = rng.standard_normal((50, 33)), rng.standard_normal((2000, 33))
    vectors[500:600] = vectors[:100]
    mask = rng.random(2000) < 0.3
    for chosen in (None, mask):
        truth, ours = (
            search(queries, vectors, 10, metric=metric, mask=chosen) for search in (ground_truth, engine.topk)
        )
        np.testing.assert_array_equal(truth.ids, ours.ids)
        np.testing.assert_allclose(truth.distances, ours.distances, rtol=1e-6, atol=1e-7)
        assert truth.stats.selectivity == pytest.approx(1.0 if chosen is None else mask.mean())


@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_are_ordered_by_row(metric: Metric) -> None:
    vectors = np.tile(np.array([[0.1, 0.7, 1 / 3]]), (50, 1))
    assert ground_truth(np.ones((1, 3)), vectors, 5, metric=metric).ids.tolist() == [[0, 1, 2, 3, 4]]


def test_beyond_the_largest_float32_the_float64_decides() -> None:
    vectors = np.float32([[3e38, 0], [1e38, 0], [2e38, 0]])
    found = ground_truth([[1e20, 0]], vectors, 3, metric="ip")
    assert found.ids.tolist() == [[0, 2, 1]]
    assert np.isfinite(found.distances).all()


def test_blocks_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, vectors = rng.standard_normal((11, 5)), rng.standard_normal((40, 5))
    mask = rng.random((11, 40)) < 0.5
    whole = ground_truth(queries, vectors, 4, mask=mask)
    monkeypatch.setattr("engine.evaluation.brute_force.BLOCK_BYTES", 3 * 40 * 8)
    np.testing.assert_array_equal(ground_truth(queries, vectors, 4, mask=mask).ids, whole.ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "hamming"}, "metric is 'hamming'"),
        ({"k": 0}, "k is 0"),
        ({"mask": [True]}, r"mask has shape \(1,\), expected \(3,\) or \(2, 3\)"),
        ({"mask": [1, 0, 1]}, "mask has dtype int64, expected bool"),
        ({"queries": np.ones((2, 3))}, "queries has dim 3, expected 2"),
        ({"vectors": [[1, 0], [0, 0], [0, 1]]}, r"vectors\[1\] is zero"),
    ],
)
def test_bad_ground_truth(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"queries": np.ones((2, 2)), "vectors": np.ones((3, 2)), "k": 2, **options}
    with pytest.raises(InvalidArgumentError, match=message):
        ground_truth(**arguments)
