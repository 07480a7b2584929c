"""Scores that tell known from unknown, against their definitions and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.evaluation import auroc, average_precision, fpr_at_tpr, oscr, threshold_at_tpr
from engine.exceptions import InvalidArgumentError


@pytest.fixture
def scored(rng: np.random.Generator) -> tuple[Any, Any]:
    """300 rows with many ties."""
    known = rng.random(300) < 0.6
    return known, np.round(rng.standard_normal(300) + known, 1)


def test_auroc_is_mann_whitney_with_ties_at_one_half(scored: Any) -> None:
    known, scores = scored
    pairs = scores[known][:, None] - scores[~known]
    assert auroc(known, scores) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean(), abs=1e-12)
    for monotone in (np.exp, np.arctan, lambda x: 3 * x - 7):
        assert auroc(known, monotone(scores)) == pytest.approx(auroc(known, scores), abs=1e-12)
    assert auroc(known, np.zeros(300)) == 0.5
    assert auroc(known, known * 1.0) == 1.0
    assert auroc(known, -1.0 * known) == 0.0


def test_only_the_order_counts(scored: Any) -> None:
    known, scores = scored
    for measure in (auroc, average_precision, fpr_at_tpr):
        assert measure(known, np.exp(3 * scores)) == pytest.approx(measure(known, scores))  # type: ignore[operator]


def test_against_scikit_learn(scored: Any) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    known, scores = scored
    assert auroc(known, scores) == pytest.approx(metrics.roc_auc_score(known, scores))
    assert average_precision(known, scores) == pytest.approx(metrics.average_precision_score(known, scores))
    fpr, tpr, _ = metrics.roc_curve(known, scores, drop_intermediate=False)
    for share in (0.5, 0.95, 1.0):
        assert fpr_at_tpr(known, scores, share) == pytest.approx(fpr[tpr >= share - 1e-12].min())


def test_oscr_is_the_area_under_its_curve(scored: Any, rng: np.random.Generator) -> None:
    known, scores = scored
    correct = rng.random(300) < 0.7
    thresholds = np.concatenate([[np.inf], np.unique(scores)[::-1]])
    kept_right = [(known & correct & (scores >= t)).sum() / known.sum() for t in thresholds]
    kept_unknown = [(~known & (scores >= t)).sum() / (~known).sum() for t in thresholds]
    area = np.sum(np.diff(kept_unknown) * (np.array(kept_right)[1:] + kept_right[:-1]) / 2)
    assert oscr(known, scores, correct) == pytest.approx(area)
    assert oscr(known, scores, np.ones(300, bool)) == pytest.approx(auroc(known, scores))
    assert oscr(known, scores, ~known) == 0.0


@pytest.mark.parametrize("n", [1, 7, 20, 100])
@pytest.mark.parametrize("tpr", [0.05, 0.5, 0.95, 1.0])
def test_the_threshold_by_the_ceil_rule(n: int, tpr: float, rng: np.random.Generator) -> None:
    scores = rng.permutation(n) / 10.0
    threshold = threshold_at_tpr(scores, tpr)
    assert (scores >= threshold).sum() == np.ceil(tpr * n - 1e-9)


@pytest.mark.parametrize("measure", [auroc, average_precision, fpr_at_tpr])
@pytest.mark.parametrize(
    ("known", "scores", "message"),
    [
        ([True, True], [1, 2], "known is True for every row, expected at least one row of each"),
        ([1, 0], [1, 2], "known has shape .* and dtype int64"),
        ([True, False], [1, 2, 3], r"scores has shape \(3,\), expected \(2,\)"),
        ([True, False], [1, np.nan], r"scores\[1\] is nan"),
        ([[True, False]], [1, 2], r"known has shape \(1, 2\)"),
    ],
)
def test_bad_input(measure: Any, known: Any, scores: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        measure(known, scores)


def test_other_bad_input() -> None:
    with pytest.raises(InvalidArgumentError, match=r"correct has shape \(3,\) .* expected \(2,\) bools"):
        oscr([True, False], [1, 2], [True, False, True])
    for tpr in (0, 1.1, "all"):
        with pytest.raises(InvalidArgumentError, match="tpr is"):
            threshold_at_tpr([1, 2], tpr)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="scores has shape"):
        threshold_at_tpr([])
