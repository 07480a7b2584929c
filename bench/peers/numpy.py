"""numpy: a matrix product, then argpartition, in chunks that bound the memory."""

from __future__ import annotations

import numpy as np

from . import Ids, Peer, Rows

CHUNK = 250


class Adapter(Peer):
    # Its BLAS takes the number of threads from the environment of the process.
    def __init__(self, vectors: Rows, n_threads: int) -> None:
        self.vectors = vectors

    def search(self, queries: Rows, k: int) -> Ids:
        return np.concatenate([self._chunk(queries[at : at + CHUNK], k) for at in range(0, len(queries), CHUNK)])

    def _chunk(self, queries: Rows, k: int) -> Ids:
        # One query as a vector: BLAS is faster at that than at a matrix of one row.
        scores = (self.vectors @ queries[0])[None] if len(queries) == 1 else queries @ self.vectors.T
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        return np.take_along_axis(best, order, 1)
