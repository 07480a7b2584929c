"""engine.types: how results unpack, slice and turn into similarities."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine.types import Metric, RangeResult, SearchResult, SearchStats

STATS = SearchStats("plain", 10, 3, 1.0, 0.1)
IDS = np.array([[4, 2], [7, -1]])
DISTANCES = np.array([[0.25, 0.5], [0.0, np.inf]], np.float32)


def found(metric: Metric = "cosine") -> SearchResult:
    return SearchResult(IDS, DISTANCES, metric, STATS)


def within() -> RangeResult:
    return RangeResult(np.array([0, 2, 2, 3]), np.array([5, 1, 9]), np.array([0.1, 0.2, 0.3], np.float32), "l2", STATS)


def test_unpacks_as_ids_and_distances() -> None:
    ids, distances = found()
    assert ids is IDS
    assert distances is DISTANCES
    assert len(found()) == 2


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("cosine", [[0.75, 0.5], [1.0, -np.inf]]),
        ("ip", [[-0.25, -0.5], [0.0, -np.inf]]),
        ("l2", [[-0.25, -0.5], [0.0, -np.inf]]),
    ],
)
def test_similarities_are_larger_is_closer(metric: Metric, expected: list[list[float]]) -> None:
    similarities = found(metric).similarities
    assert similarities.dtype == np.float32
    np.testing.assert_array_equal(similarities, np.array(expected, np.float32))


def test_results_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        found().ids = IDS  # type: ignore[misc]
    with pytest.raises(AttributeError):
        STATS.seconds = 0.0  # type: ignore[misc]


def test_attributes_are_not_shared() -> None:
    assert found().attributes == {}
    assert found().attributes is not found().attributes


def test_a_range_result_is_a_sequence_of_hits() -> None:
    result = within()
    assert len(result) == 3
    hits = [(ids.tolist(), distances.tolist()) for ids, distances in (result[i] for i in range(3))]
    assert [ids for ids, _ in hits] == [[5, 1], [], [9]]
    assert result[-1][0].tolist() == [9]
    np.testing.assert_array_equal(result.similarities, -result.distances)
    for wrong in (3, -4):
        with pytest.raises(IndexError, match=f"query {wrong} of a range result of 3"):
            result[wrong]
