"""MaxSim and conditional transport against loops in float64, their limits, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import engine
from engine.multivector import Transport, conditional_transport, maxsim

Rows = NDArray[np.float64]


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def slow_transport(X: Rows, Y: Rows, temperature: float, theta: Rows, beta: Rows) -> tuple[float, float]:
    """The two sums of the definition, term by term."""
    similar = unit(X) @ unit(Y).T
    forward = backward = 0.0
    for i, row in enumerate(similar):
        pulls = beta * np.exp(row / temperature)
        forward += theta[i] * sum(pulls[j] / pulls.sum() * (1 - row[j]) for j in range(len(Y)))
    for j, column in enumerate(similar.T):
        pulls = theta * np.exp(column / temperature)
        backward += beta[j] * sum(pulls[i] / pulls.sum() * (1 - column[i]) for i in range(len(X)))
    return forward, backward


@settings(max_examples=50)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    dim=st.integers(1, 20),
    temperature=st.floats(0.05, 10),
    lam=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_transport_is_its_definition(n: int, m: int, dim: int, temperature: float, lam: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, Y, theta, beta = rng.standard_normal((n, dim)), rng.standard_normal((m, dim)), rng.random(n), rng.random(m)
    X, Y = X.astype(np.float32).astype(np.float64), Y.astype(np.float32).astype(np.float64)
    found = conditional_transport(X, Y, temperature, theta, beta, lam=lam, return_plan=True)
    forward, backward = slow_transport(X, Y, temperature, theta / theta.sum(), beta / beta.sum())
    assert (found.forward, found.backward) == pytest.approx((forward, backward), abs=1e-12)
    assert found.cost == pytest.approx(lam * forward + (1 - lam) * backward, abs=1e-12)
    assert 0 <= found.cost <= 2 + 1e-12
    assert found.plan.sum(axis=1) == pytest.approx(np.ones(n))
    assert found.back_plan.sum(axis=0) == pytest.approx(np.ones(m))


@settings(max_examples=50)
@given(n=st.integers(1, 9), m=st.integers(1, 9), dim=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_maxsim_is_its_definition(n: int, m: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    Q, D = rng.standard_normal((n, dim)).astype(np.float32), rng.standard_normal((m, dim)).astype(np.float32)
    similar = unit(Q.astype(np.float64)) @ unit(D.astype(np.float64)).T
    assert maxsim(Q, D) == pytest.approx(sum(max(row) for row in similar), abs=1e-12)


@pytest.fixture
def sets(rng: np.random.Generator) -> tuple[Rows, Rows]:
    return rng.standard_normal((5, 8)), rng.standard_normal((7, 8))


def test_at_temperature_0_transport_is_chamfer_and_its_way_from_the_query_maxsim(sets: tuple[Rows, Rows]) -> None:
    X, Y = sets
    found = conditional_transport(X, Y, 1e-4, return_plan=True)
    assert found.forward == pytest.approx(1 - maxsim(X, Y) / len(X), abs=1e-6)
    assert found.backward == pytest.approx(1 - maxsim(Y, X) / len(Y), abs=1e-6)


def test_at_infinite_temperature_transport_is_the_product_of_means(sets: tuple[Rows, Rows]) -> None:
    X, Y = sets
    expected = 1 - unit(X).mean(axis=0) @ unit(Y).mean(axis=0)
    assert conditional_transport(X, Y, 1e9) == pytest.approx(expected, abs=1e-6)


def test_a_set_is_at_no_distance_from_itself(sets: tuple[Rows, Rows]) -> None:
    assert conditional_transport(sets[0], sets[0], 1e-3) == pytest.approx(0, abs=1e-6)


def test_of_single_vectors_transport_is_the_cosine_distance() -> None:
    assert conditional_transport([[3, 4]], [[1, 0]], 0.7) == pytest.approx(1 - 0.6, abs=1e-7)


def test_sets_change_over_with_the_directions(sets: tuple[Rows, Rows]) -> None:
    there = conditional_transport(*sets, 0.1, return_plan=True)
    back = conditional_transport(*reversed(sets), 0.1, return_plan=True)
    assert (there.forward, there.backward) == pytest.approx((back.backward, back.forward))
    assert there.plan == pytest.approx(back.back_plan.T)


def test_copies_and_order_change_nothing(sets: tuple[Rows, Rows]) -> None:
    X, Y = sets
    cost = conditional_transport(X, Y, 0.1)
    assert conditional_transport(np.repeat(X, 2, axis=0), np.repeat(Y, 2, axis=0), 0.1) == pytest.approx(cost)
    assert conditional_transport(X[::-1], Y[[3, 1, 2, 0, 6, 5, 4]], 0.1) == pytest.approx(cost)


def test_a_vector_of_weight_0_is_not_there(sets: tuple[Rows, Rows]) -> None:
    X, Y = sets
    cost = conditional_transport(X, Y, 0.01, [1, 1, 0, 2, 0], np.eye(7)[6])
    assert cost == pytest.approx(conditional_transport(X[[0, 1, 3]], Y[6:], 0.01, [1, 1, 2]))


def test_the_plan_says_which_label_a_patch_is_evidence_of() -> None:
    patches, labels = [[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0]], np.eye(3)
    found = conditional_transport(patches, labels, 0.05, return_plan=True)
    assert isinstance(found, Transport)
    assert found.plan.mean(axis=0).argsort()[::-1].tolist() == [0, 1, 2]


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("an empty set", {"X": np.empty((0, 2))}, "X has shape"),
    ("another dim", {"Y": [[1, 2, 3]]}, "Y has dim 3, expected 2"),
    ("NaN", {"X": [[np.nan, 1]]}, r"X\[0, 0\] is nan"),
    ("a zero vector", {"Y": [[1, 0], [0, 0]]}, "row 1 of Y is zero"),
    ("negative weights", {"weights_x": [1, -1]}, "weights_x is"),
    ("no weight", {"weights_y": [0, 0]}, "weights_y is"),
    ("too many weights", {"weights_y": [1, 1, 1]}, r"weights_y has shape \(3,\), expected \(2,\)"),
    ("temperature 0", {"temperature": 0}, "temperature is 0.0"),
    ("negative temperature", {"temperature": -1}, "temperature is -1.0"),
    ("lam", {"lam": 1.5}, "lam is 1.5"),
    ("return_plan", {"return_plan": 1}, "return_plan is 1"),
]


@pytest.mark.parametrize(("changes", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"X": [[1, 0], [0, 1]], "Y": [[1, 1], [1, 0]]}
    with pytest.raises(engine.InvalidArgumentError, match=message):
        conditional_transport(**arguments | changes)
