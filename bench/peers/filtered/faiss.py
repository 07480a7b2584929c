"""faiss: its graph with a selector over a bitmap."""

from __future__ import annotations

from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from engine.filters import resolve

from ..ann.faiss import HNSW as Unfiltered
from . import Columns, Filtered, Ids, Metric, Predicate, Rows

library: Any = faiss  # its stubs do not know what its Python layer adds


class Selector(NamedTuple):
    """What the search takes, and what must live as long."""

    parameters: Any
    selector: Any
    bits: NDArray[np.uint8]


class HNSW(Filtered):
    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.columns, self.graph = columns, Unfiltered(vectors, metric, n_threads)
        faiss.omp_set_num_threads(1)

    def tune(self, value: int) -> None:
        self.ef = value

    def make(self, predicate: Predicate) -> Selector:
        bits = np.packbits(resolve(predicate, self.columns).to_mask(), bitorder="little")
        selector = library.IDSelectorBitmap(bits)
        return Selector(library.SearchParametersHNSW(sel=selector), selector, bits)

    def search(self, query: Rows, k: int, filter: Selector) -> Ids:
        filter.parameters.efSearch = self.ef
        ids: Ids = self.graph.index.search(query[None], k, params=filter.parameters)[1][0]
        return ids

    def nbytes(self) -> int:
        return self.graph.nbytes()
