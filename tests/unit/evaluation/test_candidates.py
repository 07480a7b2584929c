"""Ranks of candidates and thresholds of pairs: METHODS 7.2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.evaluation import best_threshold, rank_candidates
from engine.exceptions import InvalidArgumentError


def test_ranks(rng: np.random.Generator) -> None:
    queries, candidates = rng.standard_normal((30, 6)), rng.standard_normal((50, 6))
    lists = [rng.choice(50, rng.integers(1, 40), replace=False) for _ in queries]
    gold = np.array([rng.choice(ids) for ids in lists])
    report = rank_candidates(queries, candidates, lists, gold, ks=(1, 3))
    lengths = np.linalg.norm(candidates, axis=1)
    for query, ids, right, rank in zip(queries, lists, gold, report.ranks, strict=True):
        scores = {i: candidates[i] @ query / lengths[i] for i in ids}
        assert rank == 1 + sum(score > scores[right] for score in scores.values())
    assert report.precision_at_1 == report.recall[1] == np.mean(report.ranks == 1)
    assert report.mrr == pytest.approx(np.mean(1 / report.ranks))
    assert report.recall[3] == np.mean(report.ranks <= 3)


def test_the_right_one_first_is_perfect() -> None:
    report = rank_candidates(np.eye(4), np.eye(4), [[0, 1], [1], [3, 2, 0], range(4)], range(4))
    assert (report.precision_at_1, report.mrr) == (1.0, 1.0)


def test_ties_go_by_id() -> None:
    same = [[1.0, 0.0]] * 3
    for gold, rank in ((0, 1), (2, 3)):
        assert rank_candidates([[1, 1]], same, [[2, 0, 1]], [gold]).ranks.tolist() == [rank]


@pytest.mark.parametrize(
    ("lists", "gold", "message"),
    [
        ([[0, 1], [1]], [0, 0], r"gold\[1\] is 0, expected one of candidate_ids\[1\]"),
        ([[0], []], [0, 0], r"candidate_ids\[1\] is empty"),
        ([[0], [9]], [0, 9], r"candidate_ids\[1\] holds 9, expected rows below 3"),
        ([[0]], [0, 0], "candidate_ids has 1 lists, expected 2"),
        ([[0], [-1]], [0, 0], r"candidate_ids\[1\]"),
    ],
)
def test_bad_candidates(lists: Any, gold: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        rank_candidates(np.eye(3)[:2], np.eye(3), lists, gold)


@pytest.mark.parametrize("metric", ["f1", "accuracy"])
def test_the_best_threshold_is_that_of_trying_all(rng: np.random.Generator, metric: Any) -> None:
    for _ in range(50):
        labels = rng.random(20) < 0.4
        labels[0] = True
        scores = np.round(labels + rng.standard_normal(20), 1)  # with equal ones
        threshold, value = best_threshold(scores, labels, metric=metric)

        def reached(at: float, labels: Any = labels, scores: Any = scores) -> float:
            said = scores >= at
            f1 = 2 * (said & labels).sum() / (said.sum() + labels.sum())
            return float(f1 if metric == "f1" else (said == labels).mean())

        assert value == pytest.approx(max(map(reached, [*scores, np.inf])))
        assert reached(threshold) == pytest.approx(value)


@pytest.mark.parametrize(
    ("scores", "labels"), [([1.0], [False]), ([], []), ([np.nan], [True]), ([1.0], [1]), ([[1.0]], [True])]
)
def test_bad_pairs(scores: Any, labels: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"scores|labels"):
        best_threshold(scores, labels)
