"""engine.limit.realizable_subsets: closed forms, hulls, brute force, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.exceptions import InvalidArgumentError
from engine.limit import cyclic_embedding, make_qrels, realizable_subsets, simplex_embedding
from engine.limit import realizable as module

pytest.importorskip("scipy")


def circle(n: int) -> np.ndarray[Any, Any]:
    angles = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("n", [5, 12, 30])
def test_neighbours_on_a_circle_and_no_others(n: int) -> None:
    found = realizable_subsets(circle(n))
    assert {tuple(pair) for pair in found.subsets[found.mask].tolist()} == {
        *((i, i + 1) for i in range(n - 1)),
        (0, n - 1),
    }
    assert found.fraction == n / (n * (n - 1) / 2)
    assert not found.exhausted


def test_everything_on_the_constructions() -> None:
    assert realizable_subsets(cyclic_embedding(30, 2).documents).fraction == 1
    assert realizable_subsets(cyclic_embedding(12, 3).documents, k=3).fraction == 1
    assert realizable_subsets(simplex_embedding(9).documents, k=4).fraction == 1


def test_in_the_plane_against_every_direction(rng: np.random.Generator) -> None:
    """Orders of points change only where two of them are level: one direction between each two such suffices."""
    points = rng.standard_normal((9, 2))
    differences = (points[:, None] - points)[np.triu_indices(9, 1)]
    level = np.arctan2(differences[:, 0], -differences[:, 1])
    level = np.sort(np.concatenate([level, level + np.pi]) % (2 * np.pi))
    between = (level + np.roll(level, -1)) / 2 + np.where(np.roll(level, -1) < level, np.pi, 0)
    scores = points @ np.stack([np.cos(between), np.sin(between)])
    for k in (1, 2, 4):
        expected = {tuple(sorted(np.argsort(-column)[:k].tolist())) for column in scores.T}
        found = realizable_subsets(points, k)
        assert {tuple(row) for row in found.subsets[found.mask].tolist()} == expected


def test_random_documents_as_measured(rng: np.random.Generator) -> None:
    """Shares of the 190 pairs of 20 unit vectors in METHODS: 50.0 % in 4 dimensions, 97.9 % in 8."""
    for d, expected in ((4, 0.50), (8, 0.98)):
        runs = []
        for _ in range(4):
            documents = rng.standard_normal((20, d))
            runs.append(realizable_subsets(documents / np.linalg.norm(documents, axis=1, keepdims=True)).fraction)
        assert np.mean(runs) == pytest.approx(expected, abs=0.1)


def test_added_constraints_decide_as_all_at_once(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    documents = rng.standard_normal((60, 4))
    subsets = make_qrels(60, 60, pattern="random")
    at_once = realizable_subsets(documents, subsets=subsets)
    monkeypatch.setattr(module, "FIRST", 5)
    assert (realizable_subsets(documents, subsets=subsets).mask == at_once.mask).all()
    assert 0 < at_once.fraction < 1


def test_the_size_of_the_vectors_does_not_matter(rng: np.random.Generator) -> None:
    documents = rng.standard_normal((15, 3))
    masks = [realizable_subsets(documents * scale).mask for scale in (1, 1e-6, 1e6)]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] == masks[2]).all()


def test_a_duplicate_takes_the_place_of_its_original(rng: np.random.Generator) -> None:
    documents = rng.standard_normal((20, 6))
    documents[7] = documents[3]
    found = realizable_subsets(documents)
    n_of_them = np.isin(found.subsets, [3, 7]).sum(axis=1)
    assert not found.mask[n_of_them == 1].any()
    assert found.mask[n_of_them == 2].all()


def test_equal_documents_have_no_sets() -> None:
    assert realizable_subsets(np.ones((8, 3))).fraction == 0
    assert realizable_subsets(np.zeros((8, 3))).fraction == 0
    assert realizable_subsets(np.ones((200, 3)), n_samples=3).fraction == 0


def test_samples_and_time(rng: np.random.Generator) -> None:
    documents = rng.standard_normal((40, 3))
    some = realizable_subsets(documents, n_samples=30)
    assert some.subsets.shape == (30, 2)
    assert not some.exhausted
    late = realizable_subsets(documents, n_samples=400, time_limit=1e-6)
    assert late.exhausted
    assert len(late.mask) == len(late.subsets) < 400


@pytest.mark.parametrize(
    ("docs", "arguments", "message"),
    [
        (np.eye(3), {"k": 3}, "k is 3, expected less than the number of documents, 3"),
        (np.eye(3), {"k": 0}, "k is 0"),
        (np.eye(3), {"subsets": [[0, 5]]}, "expected documents below 3"),
        (np.eye(3), {"subsets": [[0]]}, "subsets has rows of up to 1 documents, expected 2"),
        (np.eye(3) * np.nan, {}, r"docs\[0, 0\] is nan"),
        (np.eye(3), {"method": "guess"}, "method is 'guess'"),
        (np.eye(3), {"n_samples": 0}, "n_samples is 0"),
        (np.eye(3), {"time_limit": 0}, "time_limit is 0.0"),
    ],
)
def test_bad_input(docs: Any, arguments: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        realizable_subsets(docs, **arguments)
