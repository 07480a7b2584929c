"""usearch: its Python search takes no filter, so that more rows are fetched than wanted, and those that pass kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.filters import resolve

from ..ann.usearch import Float32 as Unfiltered
from . import Columns, Filtered, Ids, Metric, Predicate, Rows


class PostFilter(Filtered):
    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.columns, self.library = columns, Unfiltered(vectors, metric, n_threads)

    @classmethod
    def grid(cls, k: int) -> Sequence[int]:
        return [round(k * 1.5**step) for step in range(20)]

    def tune(self, value: int) -> None:
        self.n_fetched = value
        self.library.tune(max(value, 64), 1)

    def make(self, predicate: Predicate) -> NDArray[np.bool_]:
        return resolve(predicate, self.columns).to_mask()

    def search(self, query: Rows, k: int, filter: NDArray[np.bool_]) -> Ids:
        fetched = np.asarray(self.library.index.search(query, self.n_fetched, threads=1).keys, np.int64)
        return fetched[filter[fetched]][:k]

    def nbytes(self) -> int:
        return self.library.nbytes()
