"""What `bench filtered` searches: vectors with columns, and cells of queries that have a filter each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.filters import Predicate
from engine.types import Metric

from . import datasets
from .columns import Columns
from .filtered_cells import Cell, Maker
from .peers import Ids, Rows

__all__ = ["Asked", "Workload", "made"]


@dataclass(frozen=True)
class Asked:
    """A cell of the grid: what it is, a predicate for each query, and the exact answer where it comes with the data."""

    cell: Cell
    predicates: list[Predicate]
    right: Ids | None = None


@dataclass(frozen=True)
class Workload:
    """Rows with columns, and what is asked of them.

    Attributes
    ----------
    name : str
        Says where they come from.
    vectors : ndarray, shape (n, dim), float32
    queries : ndarray, shape (n_queries, dim), float32
    metric : {"cosine", "l2"}
    columns : Columns
        One entry a row.
    asked : list of Asked
    """

    name: str
    vectors: Rows
    queries: Rows
    metric: Metric
    columns: Columns
    asked: list[Asked]


def made(name: str, rows: int | None, n_queries: int, cells: Iterable[Cell], seed: int) -> Workload:
    """A data set of `bench ann` with columns made so that every cell is what it says."""
    data = datasets.named(name, rows, seed=seed)
    queries = data.queries[:n_queries]
    maker = Maker(data.vectors, queries, data.metric, seed)
    asked = [Asked(cell, maker.predicates(cell)) for cell in cells]
    return Workload(data.name, data.vectors, queries, data.metric, maker.columns(), asked)
