"""nearfield: the graph; its vectors kept in float32, in float16 or as codes alone, and with codes of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import engine
from engine.types import GraphLayout, Metric, VectorDtype

from . import Approximate, Ids, Rows


class Float32(Approximate):
    dtype: VectorDtype = "float32"
    layout: GraphLayout = "plain"
    targets = (0.9, 0.95, 0.99, 0.999)

    @classmethod
    def grid(cls, k: int) -> Sequence[int]:
        return [*range(1, k), *super().grid(k)]  # what is beside the rows looked at counts too

    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        options: dict[str, Any] = {"kind": "graph", "M": 32, "ef_construction": 200}
        self.index = engine.Index(
            vectors.shape[1], metric=metric, dtype=self.dtype, layout=self.layout, n_threads=n_threads, **options
        )
        self.index.add(vectors)

    def tune(self, value: int, n_threads: int) -> None:
        self.options: dict[str, Any] = {"ef": value, "n_threads": n_threads}

    def aim(self, recall: float, n_threads: int) -> None:
        self.options = {"recall": recall, "n_threads": n_threads}

    def search(self, queries: Rows, k: int) -> Ids:
        return self.index.search(queries, k, **self.options).ids

    def nbytes(self) -> int:
        return self.index.nbytes


class Float16(Float32):
    dtype = "float16"


class Fast(Float32):
    layout = "fast"


class Compact(Float32):
    dtype = "int8"
