"""engine.evaluation: accuracy, top-k accuracy and the report, against counts made by hand and scikit-learn."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from engine.evaluation import accuracy, class_report, top_k_accuracy
from engine.evaluation._labels import as_labels
from engine.exceptions import InvalidArgumentError

TRUE = ["cat", "cat", "dog", "eel", "dog", "cat"]
PREDICTED = ["cat", "dog", "dog", "cat", "dog", "fox"]


def test_accuracy_counts() -> None:
    assert accuracy(TRUE, PREDICTED) == 0.5
    assert accuracy([True, False], np.array([1, 0])) == 1.0


def test_report_by_hand() -> None:
    report = class_report(TRUE, PREDICTED)
    assert report.classes.tolist() == ["cat", "dog", "eel", "fox"]
    np.testing.assert_allclose(report.precision, [1 / 2, 2 / 3, 0, 0])
    np.testing.assert_allclose(report.recall, [1 / 3, 1, 0, 0])
    np.testing.assert_allclose(report.f1, [0.4, 0.8, 0, 0])
    assert report.support.tolist() == [3, 2, 1, 0]
    assert report.accuracy == 0.5
    assert report.macro_f1 == pytest.approx(0.3)


def test_report_agrees_with_scikit_learn(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    true, predicted = rng.integers(0, 7, 500), rng.integers(2, 9, 500)
    report = class_report(true, predicted)
    expected = metrics.precision_recall_fscore_support(true, predicted, zero_division=0)
    np.testing.assert_allclose(np.array([report.precision, report.recall, report.f1, report.support]), expected)


def test_report_is_json_and_a_table() -> None:
    report = class_report(TRUE, PREDICTED)
    back = json.loads(json.dumps(report.to_dict()))
    assert back["accuracy"] == 0.5
    assert back["n"] == 6
    assert back["classes"]["dog"] == {
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "support": 2,
    }
    lines = str(report).splitlines()
    assert lines[2] == "dog             0.667   1.000  0.800        2"
    assert lines[-1] == "accuracy        0.500"


def test_top_k_ranks_the_true_class() -> None:
    scores = [[0.1, 0.5, 0.4], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]
    assert [top_k_accuracy([1, 2, 1], scores, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    names = ["b", "c", "a"]
    assert top_k_accuracy(["c", "b", "c"], scores, 1, classes=names) == pytest.approx(2 / 3)


def test_top_5_of_three_classes_is_always_a_hit() -> None:
    assert top_k_accuracy([0, 1], [[1, 0, 0], [1, 0, 0]]) == 1.0


def test_top_k_ties_count_against() -> None:
    """A class without a vote is no answer, wherever it stands among the columns."""
    for true in range(1, 6):
        assert top_k_accuracy([true], [[1, 0, 0, 0, 0, 0]], 5) == 0.0


def test_top_k_agrees_with_scikit_learn(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    true, scores = rng.integers(0, 9, 300), rng.random((300, 9), dtype=np.float32)
    for k in (1, 3, 5):
        assert top_k_accuracy(true, scores, k) == metrics.top_k_accuracy_score(true, scores, k=k, labels=range(9))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a"], ["b", "a"]),
        (np.array(["b", "a"], object), ["b", "a"]),
        ([2, 1], [2, 1]),
        ([True, False], [True, False]),
        ([1.0, 2.0], [1.0, 2.0]),
        ((1, np.int8(2)), [1, 2]),
    ],
)
def test_labels_as_they_come(labels: Any, expected: list[Any]) -> None:
    found = as_labels(labels)
    assert found.tolist() == expected
    assert found.dtype != object


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "cat"], "y holds int and str, expected either strings or integers"),
        ([None, "cat"], "y holds NoneType and str"),
        ([float("nan"), "cat"], "y holds float and str"),
        ([("a",), ("b",)], r"y has shape \(2, 1\), expected one label a row"),
        ([{1}, {2}], "y holds set, expected either"),
        ([["a"], ["b", "c"]], "y holds list, expected either"),
        (None, r"y has shape \(\)"),
        ("cat", r"y has shape \(\)"),
        ([], "y is empty"),
        ([1.0, float("nan")], r"y\[1\] is nan, expected strings or integers"),
        ([1.0, float("inf")], r"y\[1\] is inf"),
        ([1.0, 1.5], r"y\[1\] is 1.5"),
        (np.zeros((2, 2), int), r"y has shape \(2, 2\), expected one label a row: \(n,\)"),
        (np.zeros(2, complex), "y has dtype complex128"),
    ],
)
def test_bad_labels(labels: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        as_labels(labels)


def test_bad_pairs() -> None:
    with pytest.raises(InvalidArgumentError, match="y_pred has 1 labels, expected 2"):
        accuracy([1, 2], [1])
    with pytest.raises(InvalidArgumentError, match="y_pred has dtype <U1, y_true int64: expected the same kind"):
        class_report([1, 2], ["1", "2"])
    with pytest.raises(InvalidArgumentError, match="scores has 1 rows, expected 2"):
        top_k_accuracy([0, 1], [[1, 0]])
    with pytest.raises(InvalidArgumentError, match="y_true holds 2, expected one of classes"):
        top_k_accuracy([2], [[1, 0]])
    with pytest.raises(InvalidArgumentError, match="classes has 3 labels, expected 2"):
        top_k_accuracy([1], [[1, 0]], classes=[1, 2, 3])
    with pytest.raises(InvalidArgumentError, match="k is 0"):
        top_k_accuracy([1], [[1, 0]], 0)
