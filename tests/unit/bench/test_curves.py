from __future__ import annotations

import pytest

from bench.curves import Point, front, qps_at

CURVE = [Point(0.9, 10_000), Point(0.99, 1_000), Point(0.999, 10)]


@pytest.mark.parametrize(
    ("recall", "expected"),
    [
        (0.9, 10_000),  # at a point
        (0.99, 1_000),
        (1 - 0.1**1.5, 10_000 / 10**0.5),  # half of the way in log(1 - recall) is half of the way in log QPS
        (1 - 0.1**2.5, 100),
        (0.5, 10_000),  # the weakest setting is better, and at hand
    ],
)
def test_between_two_points_both_logs_are_linear(recall: float, expected: float) -> None:
    assert qps_at(CURVE, recall) == pytest.approx(expected)
    assert qps_at(CURVE[::-1], recall) == pytest.approx(expected)


def test_nothing_is_extrapolated_upwards() -> None:
    assert qps_at(CURVE, 0.9991) is None
    assert qps_at([], 0.5) is None


def test_a_recall_of_one_is_a_point_like_others() -> None:
    speed = qps_at([Point(0.99, 1000), Point(1.0, 10)], 0.9999)
    assert speed is not None
    assert 10 < speed < 1000


def test_points_that_another_beats_do_not_count() -> None:
    slow, worse = Point(0.95, 500), Point(0.9, 9_000)
    assert front([slow, worse, *CURVE]) == CURVE
    assert qps_at([slow, worse, *CURVE], 0.95) == qps_at(CURVE, 0.95)
    assert front([Point(0.9, 100), Point(0.9, 200)]) == [Point(0.9, 200)]
