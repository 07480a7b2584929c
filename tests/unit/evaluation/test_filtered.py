"""engine.evaluation: the exact answer under filters, and recall against what there is to find."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predicates import SCHEMA, PlainAttributes, rows, specs

import engine
from engine.evaluation import filtered_ground_truth, ground_truth, recall_at_k, recall_per_query
from engine.exceptions import InvalidArgumentError
from engine.types import Metric

VECTORS = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
EVEN = np.arange(200) % 2 == 0


def same(found: engine.SearchResult, mask: Any, k: int, metric: Metric = "cosine") -> None:
    right = ground_truth(QUERIES, VECTORS, k, metric=metric, mask=mask)
    np.testing.assert_array_equal(found.ids, right.ids)
    np.testing.assert_allclose(found.distances, right.distances, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize(
    "filters", [EVEN, EVEN.tolist(), np.flatnonzero(EVEN), range(0, 200, 2), engine.Bitmap(EVEN)], ids=type
)
def test_one_filter_for_all(filters: Any, metric: Metric) -> None:
    filters = list(filters) if isinstance(filters, range) else filters
    found = filtered_ground_truth(QUERIES, VECTORS, 7, filters=filters, metric=metric)
    same(found, EVEN, 7, metric)
    assert found.stats.selectivity == 0.5


def test_a_filter_for_each_whatever_its_form() -> None:
    masks = np.random.default_rng(2).random((6, 200)) < 0.3
    masks[4], masks[5] = True, False
    few = [engine.Bitmap(masks[0]), masks[1], np.flatnonzero(masks[2]).tolist(), masks[3].tolist(), None, []]
    for filters in (few, tuple(few), masks, list(masks)):
        found = filtered_ground_truth(QUERIES, VECTORS, 70, filters=filters, n_threads=1)
        same(found, masks, 70)
        assert (found.ids[5] == -1).all()
        assert found.stats.selectivity == pytest.approx(masks.mean())


def test_predicates_in_three_notations_share_their_rows() -> None:
    year = np.arange(200) % 7
    table = PlainAttributes({"year": year.tolist()}, {"year": "int64"})
    filters = [engine.col("year") == 3, "year = 3", {"year": 3}, {"year": {"$gte": 5}}, engine.col("year") >= 5, None]
    masks = np.stack([year == 3] * 3 + [year >= 5] * 2 + [year >= 0])
    same(filtered_ground_truth(QUERIES, VECTORS, 40, filters=filters, attributes=table), masks, 40)
    same(filtered_ground_truth(QUERIES, VECTORS, 5, filters="year = 3", attributes=table), year == 3, 5)


@given(st.data())
def test_any_predicate_gives_the_rows_for_which_it_is_true(data: st.DataObject) -> None:
    held, specification = data.draw(rows), data.draw(specs)
    table = PlainAttributes({name: [row[name] for row in held] for name in SCHEMA}, SCHEMA)
    mask = np.array([specification.truth(row) is True for row in held])
    vectors = VECTORS[: len(held)]
    found = filtered_ground_truth(QUERIES, vectors, 5, filters=specification.predicate(), attributes=table)
    np.testing.assert_array_equal(found.ids, ground_truth(QUERIES, vectors, 5, mask=mask).ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": [EVEN] * 5}, "filters has 5 entries, expected 6: one for each query"),
        ({"filters": EVEN[:3]}, r"filters has shape \(3,\), expected \(200,\)"),
        ({"filters": engine.Bitmap(EVEN[:3])}, "filters has a Bitmap over 3 rows, expected 200"),
        ({"filters": [1, 200]}, "200"),
        ({"filters": np.ones(200)}, "filters has dtype float64, expected integers"),
        ({"filters": "year = 3"}, r"attributes is None, expected the columns that .*year.* asks"),
        ({"filters": EVEN, "k": 0}, "k is 0"),
        ({"filters": EVEN, "queries": QUERIES[:, :3]}, "3"),
        (
            {"filters": None, "attributes": PlainAttributes({"year": [1]}, {"year": "int64"})},
            "attributes has 1 rows, expected 200",
        ),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"queries": QUERIES, "vectors": VECTORS, "k": 3, **options}
    with pytest.raises(InvalidArgumentError, match=message):
        filtered_ground_truth(**arguments)


def test_recall_of_each_counts_against_what_passes() -> None:
    found, true = [[1, 2, 3], [4, -1, -1], [9, 9, -1]], [[1, 5, 6], [4, 7, -1], [-1, -1, -1]]
    np.testing.assert_allclose(recall_per_query(found, true), [1 / 3, 1 / 2, 1])
    assert recall_at_k(found, true) == pytest.approx(2 / 5)
    np.testing.assert_allclose(recall_per_query(found, true, k=1), [1, 1, 1])
    with pytest.raises(InvalidArgumentError, match="one row a query in both"):
        recall_per_query(found, true[:2])


def test_timestamps_are_compared_as_times() -> None:
    days = [datetime(2024, 1, 1 + row % 10, tzinfo=timezone.utc) for row in range(200)]
    table = PlainAttributes({"day": days}, {"day": "timestamp"})
    found = filtered_ground_truth(QUERIES, VECTORS, 5, filters="day >= '2024-01-06'", attributes=table)
    same(found, np.arange(200) % 10 >= 5, 5)
