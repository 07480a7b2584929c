"""What `bench filtered` searches: vectors with columns, and cells of queries that have a filter each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import col
from engine.filters import Predicate, count
from engine.types import Metric

from . import datasets
from .columns import Columns
from .filtered_cells import Cell, Maker
from .peers import Ids, Rows

__all__ = ["Asked", "Workload", "labelled", "made"]


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


# Real columns: where the rows that pass lie, and what is asked for a query with columns of its own.
REAL: dict[str, tuple[str, Callable[[Mapping[str, Any]], Predicate]]] = {
    "own lexfile": ("positive", lambda own: col("lexfile") == own["lexfile"]),
    "own pos": ("positive", lambda own: col("pos") == own["pos"]),
    "own lexfile and lemmas >= 3": ("positive", lambda own: (col("lexfile") == own["lexfile"]) & (col("lemmas") >= 3)),
    "lemmas >= 11": ("as it is", lambda own: col("lemmas") >= 11),
    "lemmas >= 7": ("as it is", lambda own: col("lemmas") >= 7),
    "lemmas >= 4": ("as it is", lambda own: col("lemmas") >= 4),
    "lemmas >= 2 and depth <= 9": ("as it is", lambda own: (col("lemmas") >= 2) & (col("depth") <= 9)),
    "lexfile 0 or lemmas >= 2": ("as it is", lambda own: (col("lexfile") == 0) | (col("lemmas") >= 2)),
    "not own pos": ("negative", lambda own: col("pos") != own["pos"]),
    "another lexfile": ("negative", lambda own: col("lexfile") == (own["lexfile"] + 22) % 45),
}


def made(name: str, rows: int | None, n_queries: int, cells: Iterable[Cell], seed: int) -> Workload:
    """A data set of `bench ann` with columns made so that every cell is what it says; wordnet has real ones besides."""
    data = datasets.named(name, rows, seed=seed)
    rng = np.random.default_rng(seed)
    picked = rng.permutation(len(data.queries))[
        :n_queries
    ]  # their order may mean something, and slow libraries get few
    queries = data.queries[picked]
    maker = Maker(data.vectors, queries, data.metric, seed)
    asked = [Asked(cell, maker.predicates(cell)) for cell in cells]
    note = ""
    if name == "wordnet":
        try:
            held, own = datasets.wordnet_columns(len(data.vectors), picked)
        except (ModuleNotFoundError, FileNotFoundError) as error:
            note = f"; without its real columns: {error}"
        else:
            for column, values in held.items():
                maker.add(column, values, "keyword" if column == "pos" else "int64")
            columns = maker.columns()
            asked += [labelled(kind, where, list(map(ask, own)), columns) for kind, (where, ask) in REAL.items()]
    return Workload(data.name + note, data.vectors, queries, data.metric, maker.columns(), asked)


def labelled(
    kind: str, correlation: str, predicates: list[Predicate], columns: Columns, right: Ids | None = None
) -> Asked:
    """A cell whose selectivity is what it turns out to be."""
    passing = sum(count(predicate, columns) for predicate in predicates) / (len(columns) * len(predicates))
    return Asked(Cell(kind, correlation, passing), predicates, right)
