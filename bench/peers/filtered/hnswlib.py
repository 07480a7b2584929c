"""hnswlib: a callback for each row; it refuses to return fewer than asked for, which counts as nothing found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.filters import resolve

from ..ann.hnswlib import HNSW as Unfiltered
from . import Columns, Filtered, Ids, Metric, Predicate, Rows


class Passing(NamedTuple):
    """A byte for each row, the cheapest that Python can be asked for, and how many are 1."""

    mask: bytes
    n: int


class HNSW(Filtered):
    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.columns, self.library = columns, Unfiltered(vectors, metric, n_threads)

    def tune(self, value: int) -> None:
        self.library.tune(value, 1)

    def make(self, predicate: Predicate) -> Passing:
        passing = resolve(predicate, self.columns)
        return Passing(passing.to_mask().tobytes(), passing.count())

    def search(self, query: Rows, k: int, filter: Passing) -> Ids:
        k = min(k, filter.n)
        try:
            found = self.library.index.knn_query(query[None], k, num_threads=1, filter=filter.mask.__getitem__)[0]
        except RuntimeError:  # "Cannot return the results in a contiguous 2D array"
            return np.empty(0, np.int64)
        return np.asarray(found[0], np.int64)

    def nbytes(self) -> int:
        return self.library.nbytes()
