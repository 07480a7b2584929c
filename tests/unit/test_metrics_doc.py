"""docs/metrics.md against the engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import engine
from engine.types import Metric

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \|[^|`]*\| `(.+?)` \| `(.+?)` \|$", re.MULTILINE)
FORMULAS = {name: (distance, similarity) for name, distance, similarity in ROW.findall(DOCUMENT.read_text("utf-8"))}


def evaluate(expression: str, **values: Any) -> Any:
    return eval(expression, {"np": np, **values})


def test_every_metric_has_its_row() -> None:
    assert tuple(FORMULAS) == get_args(Metric)


@pytest.mark.parametrize("metric", FORMULAS)
def test_the_formulas_are_what_is_computed(metric: Metric, rng: np.random.Generator) -> None:
    distance, similarity = FORMULAS[metric]
    query, row = rng.standard_normal((2, 50)).astype(np.float32)
    found = engine.topk(query, row, 1, metric=metric)
    expected = evaluate(distance, q=query.astype(np.float64), x=row.astype(np.float64))
    np.testing.assert_allclose(found.distances[0, 0], expected, rtol=1e-6)
    assert found.similarities[0, 0] == evaluate(similarity, distance=found.distances[0, 0])


def test_smaller_is_closer(rng: np.random.Generator) -> None:
    row = rng.standard_normal(50).astype(np.float32)
    for metric in get_args(Metric):
        found = engine.topk(row, [-row, 0.1 * row + 0.1, row], 3, metric=metric)
        assert found.ids.tolist() == [[2, 1, 0]]
        assert (np.diff(found.distances) > 0).all()
        assert (np.diff(found.similarities) < 0).all()
