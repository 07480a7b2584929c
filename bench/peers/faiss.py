"""faiss: IndexFlatIP; for one shot its `knn`, which spares the copy that an index makes."""

from __future__ import annotations

import faiss

from . import Ids, Peer, Rows


class Adapter(Peer):
    def __init__(self, vectors: Rows, n_threads: int) -> None:
        faiss.omp_set_num_threads(n_threads)
        self.index = faiss.IndexFlatIP(vectors.shape[1])
        self.index.add(vectors)

    def search(self, queries: Rows, k: int) -> Ids:
        ids: Ids = self.index.search(queries, k)[1]
        return ids

    @classmethod
    def one_shot(cls, vectors: Rows, queries: Rows, k: int, n_threads: int) -> Ids:
        faiss.omp_set_num_threads(n_threads)
        ids: Ids = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)[1]
        return ids
