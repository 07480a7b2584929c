"""scalable-vs: Vamana over float32; its compressed kinds run on the processors of one vendor only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import svs

from engine.types import Metric

from . import Approximate, Ids, Rows


class Vamana(Approximate):
    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        graph = svs.VamanaBuildParameters(alpha=1.2, graph_max_degree=32, window_size=200)
        # Squared distances rank unit rows like cosine, and alpha is made for them.
        self.index = svs.Vamana.build(graph, vectors, svs.DistanceType.L2, num_threads=n_threads)

    def tune(self, value: int, n_threads: int) -> None:
        self.index.search_window_size = value
        if self.index.num_threads != n_threads:  # setting it starts threads anew
            self.index.num_threads = n_threads

    def search(self, queries: Rows, k: int) -> Ids:
        return np.asarray(self.index.search(queries, k)[0], np.int64)

    def save(self, folder: Path) -> None:
        self.index.save(*(str(folder / part) for part in ("config", "graph", "data")))
