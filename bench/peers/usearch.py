"""usearch: its exact search, which needs no index."""

from __future__ import annotations

import numpy as np
from usearch.index import MetricKind, search

from . import Ids, Peer, Rows


class Adapter(Peer):
    def __init__(self, vectors: Rows, n_threads: int) -> None:
        self.vectors = vectors
        self.n_threads = n_threads

    def search(self, queries: Rows, k: int) -> Ids:
        found = search(self.vectors, queries, k, MetricKind.IP, exact=True, threads=self.n_threads)
        return np.asarray(found.keys, np.int64).reshape(len(queries), k)
