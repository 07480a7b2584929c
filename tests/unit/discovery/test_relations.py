"""Class relations and balanced assignment: METHODS 4.2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.discovery import class_relation, known_gate, sinkhorn_assign
from engine.exceptions import InvalidArgumentError


def test_relations_are_a_softmax_of_cosines(rng: np.random.Generator) -> None:
    X, known = rng.standard_normal((30, 5)), rng.standard_normal((4, 5))
    cosines = X @ known.T / np.linalg.norm(X, axis=1, keepdims=True) / np.linalg.norm(known, axis=1)
    powers = np.exp(cosines / 0.3)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(class_relation(X, known, temperature=0.3), expected, rtol=1e-5)
    assert class_relation(known, known, temperature=1e-3).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_the_gate_has_mean_one(rng: np.random.Generator) -> None:
    shares = rng.dirichlet(np.ones(6), 50)
    gate = known_gate(shares, 4)
    assert gate.mean() == pytest.approx(1)
    np.testing.assert_allclose(gate, shares[:, :4].sum(axis=1) / shares[:, :4].sum() * 50)


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_rows_and_columns_sum_to_what_they_should(rng: np.random.Generator, epsilon: float) -> None:
    scores = rng.random((60, 6))
    errors = []
    for n_iter in (1, 3, 10, 100):
        shares = sinkhorn_assign(scores, n_iter=n_iter, epsilon=epsilon)
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        errors.append(abs(shares.sum(axis=0) - 10).max())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3


def test_it_is_the_product_form_of_the_paper(rng: np.random.Generator) -> None:
    scores = rng.random((8, 4))
    Q = np.exp(scores / 0.5)
    for _ in range(3):
        Q /= Q.sum(axis=0, keepdims=True) * 4
        Q /= Q.sum(axis=1, keepdims=True) * 8
    np.testing.assert_allclose(sinkhorn_assign(scores, epsilon=0.5), 8 * Q)


def test_a_large_epsilon_is_even(rng: np.random.Generator) -> None:
    np.testing.assert_allclose(sinkhorn_assign(rng.random((9, 3)), epsilon=1e9), 1 / 3, atol=1e-6)


def test_a_small_epsilon_is_the_best_balanced_assignment(rng: np.random.Generator) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    scores = rng.random((6, 6))
    _, columns = optimize.linear_sum_assignment(-scores)
    shares = sinkhorn_assign(scores, n_iter=20_000, epsilon=0.002)
    np.testing.assert_array_equal(shares.argmax(axis=1), columns)


def test_duplicates_get_equal_rows(rng: np.random.Generator) -> None:
    scores = rng.random((10, 3))
    shares = sinkhorn_assign(np.concatenate([scores, scores]))
    np.testing.assert_allclose(shares[:10], shares[10:])


def test_nothing_overflows() -> None:
    shares = sinkhorn_assign([[1e6, -1e6], [-1e6, 1e6]], epsilon=1e-3)
    np.testing.assert_allclose(shares, np.eye(2))


@pytest.mark.parametrize(
    ("scores", "settings", "message"),
    [
        ([[1, np.inf]], {}, r"scores\[0, 1\] is inf, expected finite numbers"),
        ([[np.nan, 1]], {}, r"scores\[0, 0\] is nan"),
        ([1, 2], {}, r"scores has shape \(2,\)"),
        (np.empty((0, 3)), {}, r"scores has shape \(0, 3\)"),
        (np.eye(2), {"epsilon": 0}, "epsilon is 0.0, expected a number above 0"),
        (np.eye(2), {"n_iter": 0}, "n_iter is 0"),
    ],
)
def test_bad_scores(scores: Any, settings: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        sinkhorn_assign(scores, **settings)


def test_other_bad_input() -> None:
    with pytest.warns(UserWarning, match="scores has 3 clusters and 2 rows"):
        sinkhorn_assign([[1, 0, 0], [0, 1, 0]])
    with pytest.raises(InvalidArgumentError, match="known_prototypes has dim 3, expected 2"):
        class_relation(np.eye(2), np.eye(3))
    with pytest.raises(InvalidArgumentError, match=r"X\[0\] is zero"):
        class_relation([[0, 0]], np.eye(2))
    with pytest.raises(InvalidArgumentError, match=r"temperature is 0\.0"):
        class_relation(np.eye(2), np.eye(2), temperature=0)
    with pytest.raises(InvalidArgumentError, match="n_known is 2, expected fewer than the 2 classes"):
        known_gate([[0.5, 0.5]], 2)
    with pytest.raises(InvalidArgumentError, match="no row is of a known class"):
        known_gate([[0.0, 1.0]], 1)
