"""Recall-QPS curves: which of the measured points count, and what lies between two of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Point", "front", "qps_at"]

LEAST_MISSED = 1e-5  # a measured recall of 1 means: fewer missed than could be seen


class Point(NamedTuple):
    """One setting of one index."""

    recall: float
    qps: float


def front(points: Iterable[Point]) -> list[Point]:
    """Those that no other beats in both, by rising recall.

    Examples
    --------
    >>> front([Point(0.9, 100), Point(0.8, 90), Point(0.95, 50)])
    [Point(recall=0.9, qps=100), Point(recall=0.95, qps=50)]
    """
    kept: list[Point] = []
    for point in sorted(points, reverse=True):  # the best recall first, then the fastest
        if not kept or point.qps > kept[-1].qps:
            kept.append(point)
    return kept[::-1]


def qps_at(points: Iterable[Point], recall: float) -> float | None:
    """Queries a second at a recall: between two points log QPS is linear in log(1 - recall).

    Nothing is extrapolated: None above the best recall; below the least one, the speed of that point, which is at hand.

    Examples
    --------
    >>> round(qps_at([Point(0.9, 400), Point(0.999, 100)], 0.99))
    200
    >>> qps_at([Point(0.9, 400)], 0.5), qps_at([Point(0.9, 400)], 0.95)
    (400, None)
    """
    curve = front(points)
    above = next((i for i, point in enumerate(curve) if point.recall >= recall), None)
    if above is None:
        return None
    if above == 0 or curve[above].recall == recall:
        return curve[above].qps
    low, high = curve[above - 1], curve[above]
    start, end, wanted = (math.log(max(1 - share, LEAST_MISSED)) for share in (low.recall, high.recall, recall))
    part = (wanted - start) / (end - start)
    return math.exp(math.log(low.qps) + part * (math.log(high.qps) - math.log(low.qps)))
