from __future__ import annotations

import numpy as np
import pytest

from bench.oracle import CHUNK, Oracle


def test_order_is_by_distance_then_row(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    vectors[200:250] = vectors[:50]
    queries = rng.normal(size=(2 * CHUNK + 1, 16)).astype(np.float32)
    unit = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
    unit_queries = queries.astype(float) / np.linalg.norm(queries.astype(float), axis=1, keepdims=True)
    distances = (1 - unit_queries @ unit.T).astype(np.float32)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(Oracle(vectors, queries, 7).ids, expected)


def test_ties_with_the_last_go_to_the_smaller_row() -> None:
    oracle = Oracle(np.ones((9, 3), np.float32), np.ones((1, 3), np.float32), 4)
    assert oracle.ids.tolist() == [[0, 1, 2, 3]]


def test_only_allowed_rows(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(100, 8)).astype(np.float32)
    allowed = rng.random(100) < 0.3
    ids = Oracle(vectors, vectors[:10], 5, allowed).ids
    assert allowed[ids].all()
    rows = np.flatnonzero(allowed)
    np.testing.assert_array_equal(ids, rows[Oracle(vectors[rows], vectors[:10], 5).ids])


@pytest.mark.parametrize(
    ("ids", "identical", "within_float32"),
    [
        ([0, 1, 2], 1.0, 1.0),
        ([0, 2, 1], 0.0, 1.0),  # rows 1 and 2 are equal vectors
        ([1, 0, 2], 0.0, 0.0),  # row 1 is farther than row 0
        ([0, 1, 3], 0.0, 0.0),
        ([0, 1, 1], 0.0, 0.0),  # a row twice
    ],
)
def test_agreement(ids: list[int], identical: float, within_float32: float) -> None:
    vectors = np.array([[1, 0], [1, 1], [1, 1], [0, 1]], np.float32)
    oracle = Oracle(vectors, vectors[:1], 3)
    assert oracle.agreement(np.array([ids])) == {"identical": identical, "within_float32": within_float32}


def test_agreement_is_a_share_of_the_queries_answered(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    oracle = Oracle(vectors, vectors[:8], 3)
    ids = oracle.ids[:4].copy()
    ids[0, 0] = 49
    assert oracle.agreement(ids) == {"identical": 0.75, "within_float32": 0.75}
