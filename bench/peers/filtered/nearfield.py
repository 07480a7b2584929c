"""nearfield: the graph and the certified exact index, asked for a recall; predicates become bitmaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import engine
from engine import _core
from engine.filters import Attributes, resolve
from engine.types import Executor, GraphLayout, IndexKind

from . import Columns, Filtered, Ids, Metric, Predicate, Rows, bytes_in, new_folder


def attributes_of(columns: Columns) -> Attributes:
    """What answers predicates."""
    attributes = _core.Attributes()
    for name, kind in columns.schema.items():
        attributes.add_column(name, kind)
    attributes.append(len(columns), columns.values)
    return attributes


class Asked(Filtered):
    """Asked for a recall, and it says how it searched."""

    found: engine.SearchResult

    @classmethod
    def grid(cls, k: int) -> Sequence[float]:
        return [0.99]

    def tune(self, value: float) -> None:
        self.recall = value

    def how(self) -> str:
        return self.found.stats.executor


class Graph(Asked):
    kind: IndexKind = "graph"
    layout: GraphLayout = "plain"
    executor: Executor = "auto"

    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.attributes = attributes_of(columns)
        layout: dict[str, Any] = {"layout": self.layout} if self.kind == "graph" else {}
        self.index = engine.Index(vectors.shape[1], metric=metric, kind=self.kind, n_threads=n_threads, **layout)
        self.index.add(vectors)

    def make(self, predicate: Predicate) -> engine.Bitmap:
        return resolve(predicate, self.attributes)

    def search(self, query: Rows, k: int, filter: engine.Bitmap) -> Ids:
        found = self.index.search(query, k, recall=self.recall, filter=filter, n_threads=1, executor=self.executor)
        self.found = found
        ids: Ids = found.ids[0]
        return ids

    def nbytes(self) -> int:
        return self.index.nbytes


class Exact(Graph):
    kind = "exact"

    @classmethod
    def grid(cls, k: int) -> Sequence[float]:
        return [1.0]


class Fast(Graph):
    layout = "fast"


class InFilter(Graph):
    """Walks among the rows that pass, whatever the planner thinks of it."""

    executor = "in_filter"


class Sweep(Graph):
    """Walks among all rows, likewise."""

    executor = "sweep"


class Folder(Asked):
    """A collection as it is used: in a folder, opened, and with a row removed since it was made."""

    separate = False

    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.folder = new_folder()
        path = self.folder / "collection"
        engine.Collection.create(path, dim=vectors.shape[1], metric=metric, kind="graph", schema=columns.schema).close()
        with engine.Collection.open(path, mode="w", n_threads=n_threads) as made:
            first = made.add(vectors[:1])
            ids = made.add(vectors, attributes=columns.values)
            made.commit()
            made.delete(first)
            made.commit()
        self.base = int(ids[0])
        self.collection = engine.Collection.open(path, n_threads=1)

    def make(self, predicate: Predicate) -> Predicate:
        return predicate

    def search(self, query: Rows, k: int, filter: Predicate) -> Ids:
        self.found = self.collection.search(query, k, recall=self.recall, filter=filter)
        ids: Ids = self.found.ids[0]
        return np.where(ids < 0, ids, ids - self.base)

    def nbytes(self) -> int:
        return bytes_in(self.folder)
