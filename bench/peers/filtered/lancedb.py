"""lancedb: an inverted file of full vectors, columns indexed, the filter first; on threads of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa

from engine.filters.leaves import Contains

from . import Columns, Filtered, Ids, Metric, Predicate, Rows
from .sql import listed, where

TYPES = {"int64": pa.int64(), "keyword": pa.string(), "keywords": pa.list_(pa.string())}
INDEXES: dict[str, Any] = {"int64": "BTREE", "keyword": "BITMAP", "keywords": "LABEL_LIST"}


class IVF(Filtered):
    separate = False

    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        n, dim = vectors.shape
        held = {name: pa.array(values, TYPES[columns.schema[name]]) for name, values in columns.values.items()}
        rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim)
        data = pa.table({"id": np.arange(n), "vector": rows, **held})
        self.table: Any = lancedb.connect(self.folder.name).create_table("rows", data)
        self.metric = {"cosine": "dot", "l2": "l2"}[metric]
        self.table.create_index(metric=self.metric, index_type="IVF_FLAT", num_partitions=round(n**0.5))
        for name, kind in columns.schema.items():
            self.table.create_scalar_index(name, index_type=INDEXES[kind])

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
        return sum(file.stat().st_size for file in Path(self.folder.name).rglob("*") if file.is_file())


def contains(leaf: Contains) -> str:
    mode = "any" if leaf.mode == "any" else "all"
    held = f"array_has_{mode}({leaf.column}, {listed(leaf.values, '[]')})"
    if leaf.mode == "exact":
        held = f"({held} AND array_length({leaf.column}) = {len(leaf.values)})"
    return f"NOT {held}" if leaf.negated else held
