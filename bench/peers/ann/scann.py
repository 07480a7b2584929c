"""ScaNN: a tree of leaves, anisotropic codes, re-ranked with the full vectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from scann import scann_ops_pybind

from engine.types import Metric

from . import Approximate, Ids, Rows


class Tree(Approximate):
    parameter = "leaves, reorder per k"

    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        n = len(vectors)
        distance = {"cosine": "dot_product", "l2": "squared_l2"}[metric]
        builder = scann_ops_pybind.builder(vectors, 10, distance).set_n_training_threads(n_threads)
        builder = builder.tree(round(n**0.5), 10, training_sample_size=min(n, 250_000))
        # The threshold is ScaNN's advice for inner products; squared distances do without.
        codes = {"anisotropic_quantization_threshold": 0.2} if metric == "cosine" else {}
        self.index = builder.score_ah(2, **codes).reorder(100).build()

    @classmethod
    def grid(cls, k: int) -> Sequence[tuple[int, int]]:
        return list(product((4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256), (3, 8)))

    def tune(self, value: tuple[int, int], n_threads: int) -> None:
        self.leaves, self.reorder = value
        self.index.set_num_threads(n_threads)
        self.search_batch = self.index.search_batched_parallel if n_threads > 1 else self.index.search_batched

    def search(self, queries: Rows, k: int) -> Ids:
        one = len(queries) == 1
        ask = self.index.search if one else self.search_batch
        found = ask(queries[0] if one else queries, k, self.reorder * k, self.leaves)[0]
        return np.asarray(found, np.int64).reshape(len(queries), k)

    def save(self, folder: Path) -> None:
        self.index.serialize(str(folder))
