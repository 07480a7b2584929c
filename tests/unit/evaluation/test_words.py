"""Analogies and associations of word vectors: METHODS 7.4."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.evaluation import analogy, weat
from engine.exceptions import InvalidArgumentError


def test_a_planted_parallelogram_is_found(rng: np.random.Generator) -> None:
    words = rng.standard_normal((500, 40))
    unit = words / np.linalg.norm(words, axis=1, keepdims=True)
    planted = unit[1] - unit[0] + unit[2]
    words[3] = 5 * planted  # lengths do not count
    report = analogy(words, [[0, 1, 2, 3], [0, 1, 2, 4]])
    assert report.answers.tolist() == [3, 3]
    assert report.accuracy == 0.5


def test_the_question_is_no_answer(rng: np.random.Generator) -> None:
    words = rng.standard_normal((6, 3))
    for question in ([0, 0, 1, 2], [0, 1, 0, 2], [3, 4, 5, 0]):
        assert analogy(words, [question]).answers[0] not in question[:3]


@pytest.mark.parametrize("questions", [[[0, 1, 2]], [[0, 1, 2, 9]], [[0, 1, 2, -1]], [[0.0, 1.0, 2.0, 3.0]], []])
def test_bad_questions(questions: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="questions"):
        analogy(np.eye(5), questions)


def test_analogies_need_vectors() -> None:
    with pytest.raises(InvalidArgumentError, match="expected at least 4"):
        analogy(np.eye(3), [[0, 1, 2, 0]])
    with pytest.raises(InvalidArgumentError, match="vectors"):
        analogy(np.zeros((5, 2)), [[0, 1, 2, 3]])


def test_associations(rng: np.random.Generator) -> None:
    X, Y, A, B = (rng.standard_normal((n, 8)) for n in (5, 7, 4, 6))
    cos = lambda u, v: u @ v / np.linalg.norm(u) / np.linalg.norm(v)  # noqa: E731
    s = [[np.mean([cos(w, a) for a in A]) - np.mean([cos(w, b) for b in B]) for w in side] for side in (X, Y)]
    expected = (np.mean(s[0]) - np.mean(s[1])) / np.std(s[0] + s[1], ddof=1)
    assert weat(X, Y, A, B) == pytest.approx(expected, rel=1e-4)
    assert weat(Y, X, A, B) == pytest.approx(-expected, rel=1e-4)
    assert weat(X, Y, B, A) == pytest.approx(-expected, rel=1e-4)
    assert np.isnan(weat(A[:1], A[[0, 0]], A, B))
    for bad in ((X, Y, A[:, :3], B), (X[:1], Y[:1], A, B), (X, Y, A, 0 * B)):
        with pytest.raises(InvalidArgumentError):
            weat(*bad)
