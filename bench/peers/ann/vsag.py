"""vsag: HGraph over 8-bit codes, re-ranked with the full vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyvsag

from engine.types import Metric

from . import Approximate, Ids, Rows


class HGraph(Approximate):
    batched = False

    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        n, dim = vectors.shape
        graph = {"max_degree": 32, "ef_construction": 200, "build_thread_count": n_threads}
        codes = {"base_quantization_type": "sq8", "use_reorder": True, "precise_quantization_type": "fp32"}
        kind = {"dtype": "float32", "metric_type": {"cosine": "ip", "l2": "l2"}[metric], "dim": dim}
        self.index = pyvsag.Index("hgraph", json.dumps({**kind, "index_param": {**graph, **codes}}))
        self.index.build(vectors.ravel(), np.arange(n), n, dim)

    def tune(self, value: int, n_threads: int) -> None:
        self.options = json.dumps({"hgraph": {"ef_search": value}})

    def search(self, queries: Rows, k: int) -> Ids:
        return np.stack([self.index.knn_search(query, k, self.options)[0] for query in queries])

    def save(self, folder: Path) -> None:
        self.index.save(str(folder / "index"))
