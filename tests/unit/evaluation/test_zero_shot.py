"""Retrieval of unseen classes: METHODS 8.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.evaluation import ground_truth, label_recall_at_k, map_at_r, r_precision, zero_shot_retrieval
from engine.exceptions import InvalidArgumentError


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[Any, Any]:
    """120 rows of 7 classes of different size, one of them a single row."""
    y = np.repeat(np.arange(7), [40, 30, 20, 15, 10, 4, 1])
    return rng.standard_normal((7, 6))[y] + 0.8 * rng.standard_normal((120, 6)), y


def oracle(X: Any, y: Any, metric: Any) -> tuple[float, float]:
    precisions, averages = [], []
    for row, ids in enumerate(ground_truth(X, X, 120, metric=metric).ids):
        others = [i for i in ids if i != row]
        n = (y == y[row]).sum() - 1
        if n:
            hits = [y[i] == y[row] for i in others[:n]]
            precisions.append(sum(hits) / n)
            averages.append(sum(sum(hits[: i + 1]) / (i + 1) for i in range(n) if hits[i]) / n)
    return float(np.mean(precisions)), float(np.mean(averages))


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
@pytest.mark.parametrize("batch_size", [7, 1024])
def test_against_plain_python(data: Any, metric: Any, batch_size: int) -> None:
    X, y = data
    precision, average = oracle(X, y, metric)
    report = zero_shot_retrieval(X, y, (1, 5, 119), metric=metric, clusters=False, batch_size=batch_size)
    assert report.r_precision == pytest.approx(precision) == r_precision(X, y, metric=metric, batch_size=batch_size)
    assert report.map_at_r == pytest.approx(average) == map_at_r(X, y, metric=metric, batch_size=batch_size)
    assert report.recall == label_recall_at_k(X, y, (1, 5, 119), metric=metric)
    assert report.recall[119] == pytest.approx(119 / 120)
    assert report.n_alone == 1
    assert np.isnan(report.nmi)


def test_ranks_by_hand() -> None:
    """R = 2 and the ranks are (hit, miss, hit): R-precision 0.5, MAP@R 0.5."""
    X = np.array([[0.0], [1], [2], [3]]) + 10
    y = ["a", "a", "b", "a"]
    report = zero_shot_retrieval(X, y, (1, 2), metric="l2", clusters=False)
    by_row = {"first": (0.5, 0.5), "second": (0.5, 0.5), "fourth": (0.5, 0.25)}  # the fourth: miss, hit
    assert report.r_precision == pytest.approx(np.mean([p for p, _ in by_row.values()]))
    assert report.map_at_r == pytest.approx(np.mean([m for _, m in by_row.values()]))


def test_perfect_clusters(rng: np.random.Generator) -> None:
    pytest.importorskip("sklearn")
    y = np.arange(60) % 4
    report = zero_shot_retrieval(np.eye(4)[y] + 0.01 * rng.standard_normal((60, 4)), y)
    assert set(report.recall.values()) == {1.0}
    assert (report.r_precision, report.map_at_r, report.nmi, report.f1, report.n_alone) == (1.0, 1.0, 1.0, 1.0, 0)
    assert str(report).startswith("R@1 1.0000, R@2 1.0000")


def test_one_row_a_class(rng: np.random.Generator) -> None:
    report = zero_shot_retrieval(rng.standard_normal((20, 3)), np.arange(20), clusters=False)
    assert set(report.recall.values()) == {0.0}
    assert np.isnan(report.map_at_r)
    assert np.isnan(r_precision(rng.standard_normal((20, 3)), np.arange(20)))
    assert report.n_alone == 20


def test_random_labels_hit_by_chance(rng: np.random.Generator) -> None:
    y = np.arange(2000) % 10
    report = zero_shot_retrieval(rng.standard_normal((2000, 8)), y, (1,), clusters=False)
    chance = 199 / 1999  # (n_c - 1) / (n - 1)
    assert abs(report.recall[1] - chance) < 3 * np.sqrt(chance * (1 - chance) / 2000)


def test_duplicates_are_found_and_the_row_itself_is_not() -> None:
    X = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert zero_shot_retrieval(X, ["a", "b", "a", "b"], (1,), clusters=False).recall == {1: 0.0}
    assert zero_shot_retrieval(X, ["a", "a", "b", "b"], (1,), clusters=False).recall == {1: 1.0}


def test_bad_input(data: Any) -> None:
    X, y = data
    for ks in ((), (0,), (120,)):
        with pytest.raises(InvalidArgumentError, match="ks is"):
            zero_shot_retrieval(X, y, ks)
    for measure in (zero_shot_retrieval, r_precision, map_at_r):
        with pytest.raises(InvalidArgumentError, match="y holds one label only"):
            measure(X, np.zeros(120, int))  # type: ignore[operator]
        with pytest.raises(InvalidArgumentError, match="y has 119 labels, expected 120"):
            measure(X, y[1:])  # type: ignore[operator]
