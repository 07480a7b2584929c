"""faiss: its graph, and its fastest codes (4-bit product quantizer, FastScan) re-ranked with the full vectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import faiss

from engine.types import Metric

from . import Approximate, Ids, Rows

METRICS = {"cosine": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2}


class Faiss(Approximate):
    index: Any

    def search(self, queries: Rows, k: int) -> Ids:
        ids: Ids = self.index.search(queries, k)[1]
        return ids

    def save(self, folder: Path) -> None:
        faiss.write_index(self.index, str(folder / "index"))


class HNSW(Faiss):
    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        faiss.omp_set_num_threads(n_threads)
        self.index = faiss.IndexHNSWFlat(vectors.shape[1], 32, METRICS[metric])
        self.index.hnsw.efConstruction = 200
        self.index.add(vectors)

    def tune(self, value: int, n_threads: int) -> None:
        self.index.hnsw.efSearch = value
        faiss.omp_set_num_threads(n_threads)


class IVFPQ(Faiss):
    parameter = "nprobe, k_factor"

    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        faiss.omp_set_num_threads(n_threads)
        n, dim = vectors.shape
        n_lists = round(1.5 * n**0.5)  # more of them were slower at every recall
        self.index = faiss.index_factory(dim, f"IVF{n_lists},PQ{dim // 2}x4fs,RFlat", METRICS[metric])
        self.index.train(vectors)
        self.index.add(vectors)
        self.lists = faiss.extract_index_ivf(self.index.base_index)

    @classmethod
    def grid(cls, k: int) -> Sequence[tuple[int, int]]:
        return list(product((4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256), (3, 8)))

    def tune(self, value: tuple[int, int], n_threads: int) -> None:
        self.lists.nprobe, self.index.k_factor = value
        faiss.omp_set_num_threads(n_threads)
