"""NGT: a graph of 100 neighbours a node, then optimized to its ONNG."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import ngtpy
import numpy as np

from engine.types import Metric

from . import Approximate, Ids, Rows


class ONNG(Approximate):
    parameter = "epsilon"
    batched = False

    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        self.folder = tempfile.TemporaryDirectory()  # it builds on disk
        raw, optimized = (str(Path(self.folder.name) / name) for name in ("anng", "onng"))
        kind = {"cosine": "Normalized Cosine", "l2": "L2"}[metric]
        ngtpy.create(raw, vectors.shape[1], edge_size_for_creation=100, distance_type=kind)
        index = ngtpy.Index(raw)
        index.batch_insert(vectors, num_threads=n_threads)
        index.save()
        index.close()
        optimizer = ngtpy.Optimizer(num_of_outgoings=10, num_of_incomings=120, log_disabled=True)
        optimizer.set_processing_modes(
            True, False, False, False
        )  # its tuning of parameters takes thousands of searches
        optimizer.execute(raw, optimized)
        self.index = ngtpy.Index(optimized, read_only=True)

    @classmethod
    def grid(cls, k: int) -> Sequence[float]:
        return (-0.1, -0.05, 0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)

    def tune(self, value: float, n_threads: int) -> None:
        self.epsilon = value

    def search(self, queries: Rows, k: int) -> Ids:
        found = [self.index.search(query, k, epsilon=self.epsilon, with_distance=False) for query in queries]
        return np.array(found, np.int64)

    def nbytes(self) -> int:
        return sum(file.stat().st_size for file in (Path(self.folder.name) / "onng").iterdir())
