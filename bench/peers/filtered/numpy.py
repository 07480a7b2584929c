"""numpy: compare the columns, then a matrix product over the rows that pass, or over all where many do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.filters import resolve

from . import Columns, Filtered, Ids, Metric, Predicate, Rows, best

MANY = 0.2  # above it copying the rows costs more than scoring all


class PreFilter(Filtered):
    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.vectors, self.columns = vectors, columns
        self.halves = np.square(vectors).sum(axis=1) / 2 if metric == "l2" else np.zeros(len(vectors), np.float32)

    @classmethod
    def grid(cls, k: int) -> Sequence[str]:
        return ["exact"]

    def tune(self, value: str) -> None: ...

    def make(self, predicate: Predicate) -> Ids:
        return resolve(predicate, self.columns).rows()

    def search(self, query: Rows, k: int, filter: Ids) -> Ids:
        if len(filter) > MANY * len(self.vectors):
            likeness = (self.vectors @ query - self.halves)[filter]
        else:
            likeness = self.vectors[filter] @ query - self.halves[filter]
        return filter[best(likeness, k)]

    def nbytes(self) -> int:
        return self.vectors.nbytes
