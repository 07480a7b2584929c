"""usearch: its graph over float32, and over bfloat16, which it is faster with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from usearch.index import Index

from engine.types import Metric

from . import Approximate, Ids, Rows


class Float32(Approximate):
    dtype = "f32"

    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        n, dim = vectors.shape
        kind = {"cosine": "ip", "l2": "l2sq"}[metric]
        self.index = Index(ndim=dim, metric=kind, dtype=self.dtype, connectivity=16, expansion_add=200)
        self.index.add(np.arange(n), vectors, threads=n_threads)

    def tune(self, value: int, n_threads: int) -> None:
        self.index.expansion_search = value
        self.n_threads = n_threads

    def search(self, queries: Rows, k: int) -> Ids:
        found = self.index.search(queries, k, threads=self.n_threads)
        return np.asarray(found.keys, np.int64).reshape(len(queries), k)

    def save(self, folder: Path) -> None:
        self.index.save(str(folder / "index"))


class BFloat16(Float32):
    dtype = "bf16"
