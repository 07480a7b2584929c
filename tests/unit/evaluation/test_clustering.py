"""Clusters against classes: definitions, permutations, scikit-learn."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from engine.evaluation import ari, clustering_accuracy, nmi, pairwise_f1
from engine.exceptions import InvalidArgumentError

ALL = (clustering_accuracy, nmi, ari, pairwise_f1)


@pytest.fixture
def grouped(rng: np.random.Generator) -> tuple[Any, Any]:
    y = rng.integers(5, size=200)
    return y, np.where(rng.random(200) < 0.7, (y + 2) % 5, rng.integers(5, size=200))


def test_the_names_of_clusters_do_not_count(grouped: Any, rng: np.random.Generator) -> None:
    pytest.importorskip("scipy")
    y, clusters = grouped
    renamed = rng.permutation(10)[clusters] * 3
    for measure in ALL:
        assert measure(y, renamed) == pytest.approx(measure(y, clusters))
        assert measure(y, y) == 1.0


@pytest.mark.parametrize("n_classes", [1, 2, 5, 7])
def test_accuracy_is_the_best_of_all_maps(n_classes: int, rng: np.random.Generator) -> None:
    pytest.importorskip("scipy")
    y, clusters = rng.integers(n_classes, size=(2, 60))
    best = max(np.mean(np.array(order)[clusters] == y) for order in permutations(range(n_classes)))
    assert clustering_accuracy(y, clusters) == pytest.approx(best)


def test_too_many_clusters_or_classes_stay_alone() -> None:
    pytest.importorskip("scipy")
    assert clustering_accuracy([0, 0, 0, 0], [0, 0, 1, 2]) == 0.5
    assert clustering_accuracy([0, 1, 2, 2], [0, 0, 0, 0]) == 0.5


def test_against_scikit_learn(grouped: Any) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for y, clusters in (grouped, (grouped[0], np.arange(200)), (np.zeros(200, int), grouped[1])):
        assert nmi(y, clusters) == pytest.approx(metrics.normalized_mutual_info_score(y, clusters), abs=1e-12)
        assert ari(y, clusters) == pytest.approx(metrics.adjusted_rand_score(y, clusters), abs=1e-12)


def test_pairs_by_hand(grouped: Any) -> None:
    y, clusters = grouped
    i, j = np.triu_indices(200, 1)
    same, found = y[i] == y[j], clusters[i] == clusters[j]
    precision, recall = (same & found).sum() / found.sum(), (same & found).sum() / same.sum()
    assert pairwise_f1(y, clusters) == pytest.approx(2 * precision * recall / (precision + recall))


def test_one_group_and_single_rows() -> None:
    assert nmi([1, 1], [0, 0]) == ari([1, 1], [0, 0]) == pairwise_f1([1, 1], [0, 0]) == 1.0
    assert nmi([0, 1], [0, 0]) == 0.0
    assert ari([0, 1, 2], [5, 6, 7]) == pairwise_f1([0, 1, 2], [5, 6, 7]) == 1.0
    assert nmi([0], [4]) == ari([0], [4]) == 1.0


@pytest.mark.parametrize("measure", ALL)
def test_bad_input(measure: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="y_pred has 2 labels, expected 3"):
        measure([0, 1, 2], [0, 1])
    with pytest.raises(InvalidArgumentError, match="y_true is empty"):
        measure([], [])
    with pytest.raises(InvalidArgumentError, match=r"y_pred\[1\] is nan"):
        measure([0, 1], [0, np.nan])
