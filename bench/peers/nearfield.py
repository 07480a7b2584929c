"""nearfield: certified exact search under cosine, float32 vectors."""

from __future__ import annotations

import engine

from . import Ids, Peer, Rows


class Adapter(Peer):
    def __init__(self, vectors: Rows, n_threads: int) -> None:
        self.index = engine.Index(vectors.shape[1], metric="cosine", n_threads=n_threads)
        self.index.add(vectors)

    def search(self, queries: Rows, k: int) -> Ids:
        return self.index.search(queries, k).ids

    @classmethod
    def one_shot(cls, vectors: Rows, queries: Rows, k: int, n_threads: int) -> Ids:
        return engine.topk(queries, vectors, k, metric="cosine", n_threads=n_threads).ids
