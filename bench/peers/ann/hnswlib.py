"""hnswlib: the graph that others are compared with, M=16 and ef_construction=200."""

from __future__ import annotations

from pathlib import Path

import hnswlib
import numpy as np

from engine.types import Metric

from . import Approximate, Ids, Rows


class HNSW(Approximate):
    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        n, dim = vectors.shape
        self.index = hnswlib.Index({"cosine": "ip", "l2": "l2"}[metric], dim)
        self.index.init_index(max_elements=n, M=16, ef_construction=200, random_seed=100)
        self.index.add_items(vectors, num_threads=n_threads)

    def tune(self, value: int, n_threads: int) -> None:
        self.index.set_ef(value)
        self.n_threads = n_threads

    def search(self, queries: Rows, k: int) -> Ids:
        return np.asarray(self.index.knn_query(queries, k, num_threads=self.n_threads)[0], np.int64)

    def save(self, folder: Path) -> None:
        self.index.save_index(str(folder / "index"))
