"""lancedb: an inverted file of full vectors, columns indexed, the filter first; on threads of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import Bitmap, BTree, IvfFlat, LabelList

from engine.filters.leaves import Contains

from . import Columns, Filtered, Ids, Metric, Predicate, Rows, bytes_in, new_folder
from .sql import listed, where

TYPES = {"int64": pa.int64(), "keyword": pa.string(), "keywords": pa.list_(pa.string())}
INDEXES = {"int64": BTree, "keyword": Bitmap, "keywords": LabelList}


class IVF(Filtered):
    separate = False

    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.folder = new_folder()
        n, dim = vectors.shape
        held = {name: pa.array(values, TYPES[columns.schema[name]]) for name, values in columns.values.items()}
        rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim)
        data = pa.table({"id": np.arange(n), "vector": rows, **held})
        self.table: Any = lancedb.connect(self.folder).create_table("rows", data)
        self.metric = {"cosine": "dot", "l2": "l2"}[metric]
        self.table.create_index("vector", config=IvfFlat(distance_type=self.metric, num_partitions=round(n**0.5)))
        for name, kind in columns.schema.items():
            self.table.create_index(name, config=INDEXES[kind]())

    @classmethod
    def grid(cls, k: int) -> Sequence[int]:
        return [2, 4, 8, 16, 32, 64, 128, 256, 512]

    def tune(self, value: int) -> None:
        self.n_probes = value

    def make(self, predicate: Predicate) -> str:
        return where(predicate, contains)

    def search(self, query: Rows, k: int, filter: str) -> Ids:
        asked = self.table.search(query).distance_type(self.metric).nprobes(self.n_probes)
        found = asked.where(filter, prefilter=True).limit(k).select(["id", "_distance"]).to_arrow()
        return np.asarray(found.column("id"), np.int64)

    def nbytes(self) -> int:
        return bytes_in(self.folder)


def contains(leaf: Contains) -> str:
    mode = "any" if leaf.mode == "any" else "all"
    held = f"array_has_{mode}({leaf.column}, {listed(leaf.values, '[]')})"
    if leaf.mode == "exact":
        held = f"({held} AND array_length({leaf.column}) = {len(leaf.values)})"
    return f"NOT {held}" if leaf.negated else held
