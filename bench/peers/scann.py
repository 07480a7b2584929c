"""ScaNN: brute force scoring of float32 vectors."""

from __future__ import annotations

import numpy as np
from scann import scann_ops_pybind

from . import Ids, Peer, Rows


class Adapter(Peer):
    def __init__(self, vectors: Rows, n_threads: int) -> None:
        self.index = scann_ops_pybind.builder(vectors, 10, "dot_product").score_brute_force().build()
        self.index.set_num_threads(n_threads)
        self.search_batch = self.index.search_batched_parallel if n_threads > 1 else self.index.search_batched

    def search(self, queries: Rows, k: int) -> Ids:
        if len(queries) == 1:
            return np.asarray(self.index.search(queries[0], k)[0], np.int64)[None]
        return np.asarray(self.search_batch(queries, k)[0], np.int64)
