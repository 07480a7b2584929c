from __future__ import annotations

import numpy as np
import pytest

import engine
from bench import datasets
from bench.filtered_cells import CORRELATIONS, KINDS, SELECTIVITIES, Cell, Maker, grid, local_order
from bench.peers.filtered.sql import where
from engine.filters import as_predicate, resolve
from engine.filters.leaves import Contains

ROWS, QUERIES = 3000, 20
DATA = datasets.clustered(ROWS, 0)
VECTORS, ASKED = (datasets.unit(rows[:, :32]) for rows in (DATA.vectors, DATA.queries[:QUERIES]))
NEAR = engine.topk(ASKED, VECTORS, 150).ids


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_is_what_it_says(kind: str, metric: engine.Metric) -> None:
    maker = Maker(VECTORS, ASKED, metric, 0)
    made = {cell: maker.predicates(cell) for cell in grid([kind])}  # type: ignore[list-item]
    columns = maker.columns()
    for share in SELECTIVITIES:
        local = {}
        for correlation in CORRELATIONS:
            masks = [resolve(predicate, columns).to_mask() for predicate in made[Cell(kind, correlation, share)]]  # type: ignore[arg-type]
            passing = np.array([mask.mean() for mask in masks])
            # Of what is combined with "and" only about so many pass both.
            spread = 5 * (share / ROWS) ** 0.5 if kind in ("and", "or", "not") else 0
            assert np.abs(passing.mean() - share).max() <= 1 / ROWS + spread
            local[correlation] = np.mean([mask[ids].mean() for mask, ids in zip(masks, NEAR, strict=True)])
        if share >= 0.01:  # of fewer hardly any is near
            assert local["none"] == pytest.approx(share, rel=0.1, abs=0.02)
            # Of what passes or of what does not, whichever is less, as the other is near the query whatever is done.
            low, high = ("negative", "positive") if share <= 0.5 else ("positive", "negative")
            less = {name: part if share <= 0.5 else 1 - part for name, part in local.items()}
            assert less[low] < 0.95 * less["none"] < 0.9 * less[high]


def test_slices_of_the_local_order_lie_together() -> None:
    order = local_order(VECTORS, np.random.default_rng(0))
    assert np.sort(order).tolist() == list(range(ROWS))
    for width in (30, 300):
        means = VECTORS[order].reshape(-1, width, 32).mean(axis=1)
        assert np.linalg.norm(means, axis=1).mean() > 2 * np.linalg.norm(VECTORS[:width].mean(axis=0))


def test_equal_rows_have_an_order_too() -> None:
    assert np.sort(local_order(np.ones((50, 3), np.float32), np.random.default_rng(0))).tolist() == list(range(50))


def test_the_same_seed_makes_the_same_cells() -> None:
    cell = Cell("and", "none", 0.1)
    one, two = (Maker(VECTORS, ASKED[:5], "cosine", 3).predicates(cell) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("kind", KINDS)
def test_as_sql_it_means_the_same(kind: str) -> None:
    pytest.importorskip("sqlglot")
    maker = Maker(VECTORS, ASKED[:1], "cosine", 0)
    predicates = [p for cell in grid([kind]) for p in maker.predicates(cell)]  # type: ignore[list-item]

    def contains(leaf: Contains) -> str:
        values = ", ".join(f"'{value}'" for value in leaf.values)
        asked = (
            f"{leaf.column} = [{values}]"
            if leaf.mode == "exact"
            else f"array_contains_{leaf.mode}({leaf.column}, [{values}])"
        )
        return f"NOT ({asked})" if leaf.negated else asked

    columns = maker.columns()
    for predicate in predicates:
        text = where(predicate, contains)
        assert resolve(as_predicate(text), columns) == resolve(predicate, columns), text
