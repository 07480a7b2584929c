"""scikit-learn: brute force by squared distance, which on unit vectors ranks like cosine and is its fastest way."""

from __future__ import annotations

from sklearn.neighbors import NearestNeighbors

from . import Ids, Peer, Rows


class Adapter(Peer):
    # Threads come from the environment of the process, through OpenMP and BLAS.
    def __init__(self, vectors: Rows, n_threads: int) -> None:
        self.index = NearestNeighbors(algorithm="brute", metric="sqeuclidean").fit(vectors)

    def search(self, queries: Rows, k: int) -> Ids:
        ids: Ids = self.index.kneighbors(queries, k, return_distance=False)
        return ids
