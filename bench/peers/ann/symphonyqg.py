"""rabitqlib: SymphonyQG, a graph whose nodes hold the codes of their neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rabitqlib

from engine.types import Metric

from . import Approximate, Ids, Rows


class SymphonyQG(Approximate):
    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None:
        # Squared distances rank unit rows like cosine, and it found them faster than by inner product.
        self.index = rabitqlib.SymqgIndex(vectors.shape[1], 32, metric="l2")
        self.index.build(vectors, 200, num_threads=n_threads)

    def tune(self, value: int, n_threads: int) -> None:
        self.ef, self.n_threads = value, n_threads

    def search(self, queries: Rows, k: int) -> Ids:
        return np.asarray(self.index.search(queries, k, self.ef, self.n_threads)[0], np.int64)

    def save(self, folder: Path) -> None:
        self.index.save(str(folder / "index"))
