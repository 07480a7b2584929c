"""Results of several indexes as one."""

from __future__ import annotations

import numpy as np
import pytest

from engine import InvalidArgumentError, _core


def test_the_nearest_of_all_come_first_and_ties_by_id() -> None:
    ids, distances = _core.merge_hits(
        [np.array([[4, 1], [7, -1]]), np.array([[3, 2, -1], [-1, -1, -1]])],
        [np.array([[0, 2], [1, np.inf]], np.float32), np.array([[0, 1, np.inf], [np.inf] * 3], np.float32)],
        k=6,
    )
    assert ids.tolist() == [[3, 4, 2, 1, -1, -1], [7, -1, -1, -1, -1, -1]]
    assert distances.dtype == np.float32
    assert distances.tolist() == [[0, 0, 1, 2, np.inf, np.inf], [1] + 5 * [np.inf]]
    assert _core.merge_hits([np.array([[4, 1]])], [np.array([[0, 2]], np.float32)], 1)[0].tolist() == [[4]]


@pytest.mark.parametrize(
    ("ids", "distances", "message"),
    [
        ([], [], "not as many, or none"),
        ([np.zeros((1, 2), np.int64)], [], "not as many, or none"),
        ([np.zeros((1, 2), np.int64)], [np.zeros((1, 3), np.float32)], "differ in shape"),
        (
            [np.zeros((1, 2), np.int64), np.zeros((2, 2), np.int64)],
            [np.zeros((1, 2), np.float32), np.zeros((2, 2), np.float32)],
            "differ in shape",
        ),
        ([np.zeros(2, np.int64)], [np.zeros(2, np.float32)], "1 dimensions, expected 2"),
    ],
)
def test_results_that_are_not_of_the_same_queries(ids: list[object], distances: list[object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        _core.merge_hits(ids, distances, 2)
