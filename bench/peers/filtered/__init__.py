"""One small adapter per library for `bench filtered`: vectors and columns in, then queries, each with a filter."""

from __future__ import annotations

import importlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from multiprocessing.util import Finalize
from pathlib import Path
from shutil import rmtree
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.columns import Columns
from engine.filters import Predicate
from engine.types import Metric

from .. import Ids, Rows, installed
from ..ann import EFS, OURS, Library

__all__ = [
    "NAMES",
    "OURS",
    "Columns",
    "Filtered",
    "Ids",
    "Metric",
    "Predicate",
    "Rows",
    "best",
    "bytes_in",
    "is_ours",
    "load",
    "new_folder",
    "version",
]

NAMES = {
    OURS: Library("nearfield", "Graph", "nearfield"),
    f"{OURS}-fast": Library("nearfield", "Fast", "nearfield"),
    f"{OURS}-exact": Library("nearfield", "Exact", "nearfield"),
    f"{OURS}-in-filter": Library("nearfield", "InFilter", "nearfield"),
    f"{OURS}-sweep": Library("nearfield", "Sweep", "nearfield"),
    f"{OURS}-folder": Library("nearfield", "Folder", "nearfield"),
    "numpy": Library("numpy", "PreFilter", "numpy"),
    "faiss-hnsw": Library("faiss", "HNSW", "faiss-cpu"),
    "hnswlib": Library("hnswlib", "HNSW", "hnswlib"),
    "usearch": Library("usearch", "PostFilter", "usearch"),
    "qdrant-edge": Library("qdrant", "Edge", "qdrant-edge-py"),
    "lancedb": Library("lancedb", "IVF", "lancedb"),
    "zvec": Library("zvec", "HNSW", "zvec"),
}


class Filtered(ABC):
    """An index with columns, searched on one thread.

    Parameters
    ----------
    vectors : ndarray, shape (n, dim), float32
        Row numbers are the ids. Unit rows under cosine.
    columns : Columns
        One entry a row; a library without columns of its own compares these.
    metric : {"cosine", "l2"}
    n_threads : int
        Building uses no more.
    """

    separate: ClassVar[bool] = True  # a filter is made before the search, so that its cost can be told apart

    @abstractmethod
    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None: ...

    @classmethod
    def grid(cls, k: int) -> Sequence[Any]:
        """Values of the search parameter, each more thorough than the one before."""
        return [k, *(ef for ef in EFS if ef > k)]

    @abstractmethod
    def tune(self, value: Any) -> None:
        """How the next searches are done."""

    @abstractmethod
    def make(self, predicate: Predicate) -> Any:
        """The filter as `search` takes it."""

    @abstractmethod
    def search(self, query: Rows, k: int, filter: Any) -> Ids:
        """Rows near to `query`, shape (dim,), that pass: at most `k` of them."""

    def how(self) -> str:
        """The way in which the last query was searched, where the library says so."""
        return ""

    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of the index, vectors included."""


def new_folder() -> Path:
    """An empty folder that is gone when the process has ended; what has files in it knows no better moment."""
    name = tempfile.mkdtemp()
    Finalize(None, rmtree, (name, True), exitpriority=0)  # works in processes of multiprocessing too
    return Path(name)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def best(likeness: NDArray[np.float32], k: int) -> Ids:
    """Where the `k` largest entries are, the largest first."""
    k = min(k, len(likeness))
    found = np.argpartition(-likeness, k - 1)[:k] if k else np.empty(0, np.int64)
    return found[np.argsort(-likeness[found], kind="stable")]


def is_ours(name: str) -> bool:
    return name.partition("-")[0] == OURS


def load(name: str) -> type[Filtered]:
    """The adapter of a library; ImportError where the library is not installed."""
    library = NAMES[name]
    adapter: type[Filtered] = getattr(importlib.import_module(f"{__name__}.{library.module}"), library.adapter)
    return adapter


def version(name: str) -> str | None:
    """Version of a library, None where it is not installed."""
    return installed(NAMES[name].distribution)
