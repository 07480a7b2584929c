"""The oracle: every distance computed one by one, in more precision than the core has.

A score is a `numpy.longdouble` (64 bits of mantissa on x86). The rule of the engine: a distance is computed in float64
and rounded to float32; results are ordered by that float32, then by id. Beyond the largest float32 the returned
distance saturates and the float64 decides the order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.types import Metric, RangeResult, SearchResult

FLOAT32 = np.finfo(np.float32)
Rows = NDArray[np.float32]
Scores = NDArray[np.longdouble]


def rounded_to(vectors: Rows, dtype: str) -> Rows:
    """`vectors` as an index of `dtype` keeps them: to nearest, ties to even."""
    if dtype == "float16":
        return vectors.astype(np.float16).astype(np.float32)
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32).astype(np.uint64)
        kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        return np.asarray(kept.astype(np.uint32).view(np.float32))
    return vectors


def scores(queries: Rows, vectors: Rows, metric: Metric) -> Scores:
    """Distance of each query to each row, shape (n_queries, n)."""
    rows = vectors.astype(np.longdouble)
    found = np.empty((len(queries), len(rows)), np.longdouble)
    for out, query in zip(found, queries.astype(np.longdouble), strict=True):
        if metric == "l2":
            out[:] = np.square(rows - query).sum(axis=1)
        else:
            out[:] = -(rows * query).sum(axis=1)
            if metric == "cosine":
                out[:] = 1 + out / np.sqrt(np.square(rows).sum(axis=1) * np.square(query).sum())
    return found


def slack(queries: Rows, vectors: Rows, metric: Metric, found: Scores) -> Scores:
    """How far float64 may be from `found`: the terms of an inner product can cancel, those of the others cannot."""
    ulps = (vectors.shape[1] + 4) * np.longdouble(2) ** -53
    if metric == "ip":
        return np.asarray(-ulps * scores(abs(queries), abs(vectors), "ip"))
    return np.asarray(ulps * found) if metric == "l2" else np.full_like(found, 1e-15)


def rounding(found: Scores) -> Scores:
    """How far rounding to float32 moves `found` at most: half a step; 0 where float64 decides."""
    size = np.minimum(abs(found), FLOAT32.max)
    steps = np.maximum(size * np.longdouble(2) ** -24, np.longdouble(2) ** -150)
    return np.where(abs(found) > FLOAT32.max, 0, steps)


def check_search(
    result: SearchResult,
    queries: Rows,
    vectors: Rows,
    k: int,
    metric: Metric,
    *,
    ids: NDArray[np.int64] | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> None:
    """Demand that `result` is the exact answer, row by row; `vectors` as the index keeps them."""
    oracle = Oracle(queries, vectors, metric, ids, allowed)
    n_found = min(k, len(oracle.rows))
    assert result.metric == metric
    assert result.ids.dtype == np.int64
    assert result.distances.dtype == np.float32
    assert result.ids.shape == result.distances.shape == (len(queries), k)
    assert (result.ids[:, n_found:] == -1).all()
    assert np.isposinf(result.distances[:, n_found:]).all()
    for query in range(len(queries)):
        rows = oracle.check_hits(query, result.ids[query, :n_found], result.distances[query, :n_found])
        oracle.check_nearest(query, rows)
        oracle.check_duplicates(rows)


def check_range(
    result: RangeResult,
    queries: Rows,
    vectors: Rows,
    radius: float,
    metric: Metric,
    *,
    ids: NDArray[np.int64] | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> None:
    """Demand that `result` holds exactly the rows within `radius`."""
    oracle = Oracle(queries, vectors, metric, ids, allowed)
    assert result.metric == metric
    assert len(result) == len(queries)
    assert result.offsets[0] == 0
    assert result.offsets[-1] == len(result.ids) == len(result.distances)
    for query in range(len(queries)):
        found_ids, distances = result[query]
        rows = oracle.check_hits(query, found_ids, distances)
        # Where distances are cut to the float32 range, so is what they are compared with.
        most = float(np.finfo(np.float32).max)
        assert (distances.astype(np.float64) <= np.clip(radius, -most, most)).all()
        returned = np.isin(oracle.rows, rows)
        gap = oracle.found[query, oracle.rows] - radius
        unclear = abs(gap) <= oracle.tolerance[query, oracle.rows]
        assert (returned == (gap <= 0))[~unclear].all(), f"query {query}: {rows} is not all within {radius}"


class Oracle:
    """The scores of all allowed rows, and the checks that searches and range searches share."""

    def __init__(
        self,
        queries: Rows,
        vectors: Rows,
        metric: Metric,
        ids: NDArray[np.int64] | None,
        allowed: NDArray[np.bool_] | None,
    ) -> None:
        self.ids = np.arange(len(vectors)) if ids is None else ids
        self.rows = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
        self.row_of = {int(self.ids[row]): int(row) for row in self.rows}
        self.group = np.unique(vectors, axis=0, return_inverse=True)[1].reshape(-1)  # equal rows, equal numbers
        self.found = scores(queries, vectors, metric)
        self.slack = slack(queries, vectors, metric, self.found)
        self.tolerance = rounding(self.found) + 2 * self.slack

    def check_hits(self, query: int, ids: NDArray[np.int64], distances: Rows) -> NDArray[np.intp]:
        """Demand allowed ids, each once, right distances, right order; their rows."""
        wrong = [i for i in ids.tolist() if i not in self.row_of]
        assert not wrong, f"query {query}: ids {wrong} do not exist or are not allowed"
        rows = np.array([self.row_of[i] for i in ids.tolist()], np.intp)
        assert len(set(rows)) == len(rows), f"query {query}: an id twice in {ids}"
        found = self.found[query, rows]
        error = abs(distances - np.clip(found, FLOAT32.min, FLOAT32.max))
        assert (error <= self.tolerance[query, rows]).all(), f"query {query}: {distances} should be {found}"
        inside = abs(found) <= FLOAT32.max
        order = np.lexsort((ids[inside], distances[inside]))
        assert (order == np.arange(len(order))).all(), f"query {query}: {ids} at {distances} not by (distance, id)"
        least = np.maximum.accumulate(found - self.tolerance[query, rows])
        assert (least <= found + self.tolerance[query, rows]).all(), f"query {query}: scores {found} fall"
        return rows

    def check_nearest(self, query: int, rows: NDArray[np.intp]) -> None:
        """Demand that no row left out is nearer than one of `rows`, by more than float32 can tell."""
        left = self.rows[~np.isin(self.rows, rows)]
        if len(left) and len(rows):
            furthest = (self.found[query, rows] - self.tolerance[query, rows]).max()
            nearer = left[self.found[query, left] + self.tolerance[query, left] < furthest]
            assert not len(nearer), f"query {query}: rows {nearer} are nearer than some of {rows}"

    def check_duplicates(self, rows: NDArray[np.intp]) -> None:
        """Demand that of equal vectors those with the smallest ids came back, in that order."""
        for one in set(self.group[rows]):
            got: list[Any] = self.ids[rows[self.group[rows] == one]].tolist()
            equal = sorted(self.ids[self.rows[self.group[self.rows] == one]].tolist())
            assert got == equal[: len(got)], f"of the equal rows {equal} came {got}"
