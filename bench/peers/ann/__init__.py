"""One small adapter per library for `bench ann`: an index built once, then searched at one setting after another."""

from __future__ import annotations

import importlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from engine.types import Metric

from .. import Ids, Rows, installed

__all__ = ["NAMES", "OURS", "Approximate", "Ids", "Library", "Rows", "load", "version"]

OURS = "nearfield"
EFS = (10, 16, 24, 36, 54, 80, 120, 180, 270, 400, 600, 900, 1350, 2000)


class Library(NamedTuple):
    """Where an adapter is, and the distribution whose version is reported."""

    module: str
    adapter: str
    distribution: str


NAMES = {
    OURS: Library("nearfield", "Float32", "nearfield"),
    f"{OURS}-fast": Library("nearfield", "Fast", "nearfield"),
    f"{OURS}-float16": Library("nearfield", "Float16", "nearfield"),
    f"{OURS}-compact": Library("nearfield", "Compact", "nearfield"),
    "hnswlib": Library("hnswlib", "HNSW", "hnswlib"),
    "faiss-hnsw": Library("faiss", "HNSW", "faiss-cpu"),
    "faiss-ivfpq": Library("faiss", "IVFPQ", "faiss-cpu"),
    "usearch": Library("usearch", "Float32", "usearch"),
    "usearch-bf16": Library("usearch", "BFloat16", "usearch"),
    "scann": Library("scann", "Tree", "scann"),
    "vsag": Library("vsag", "HGraph", "pyvsag"),
    "symphonyqg": Library("symphonyqg", "SymphonyQG", "rabitqlib"),
    "svs": Library("svs", "Vamana", "scalable-vs"),
    "ngt": Library("ngt", "ONNG", "ngt"),
}


class Approximate(ABC):
    """An approximate index, built the way its library recommends.

    Parameters
    ----------
    vectors : ndarray, shape (n, dim), float32
        Row numbers are the ids. Unit rows under cosine, where a library without it may use another metric that ranks
        them alike.
    metric : {"cosine", "l2"}
    n_threads : int
        Building uses no more.
    """

    parameter: ClassVar[str] = "ef"
    batched: ClassVar[bool] = True  # takes many queries in one call, on as many threads as it is told
    targets: ClassVar[tuple[float, ...]] = ()  # recalls that `aim` takes

    @abstractmethod
    def __init__(self, vectors: Rows, metric: Metric, n_threads: int) -> None: ...

    @classmethod
    def grid(cls, k: int) -> Sequence[Any]:
        """Values of the search parameter, each more thorough than the one before."""
        return [k, *(ef for ef in EFS if ef > k)]

    @abstractmethod
    def tune(self, value: Any, n_threads: int) -> None:
        """How the next searches are done."""

    def aim(self, recall: float, n_threads: int) -> None:
        """The same by the recall that is wanted."""
        raise NotImplementedError(f"{type(self).__name__} has no setting for a recall of {recall}")

    @abstractmethod
    def search(self, queries: Rows, k: int) -> Ids:
        """Rows near to each of `queries`, shape (n_queries, k)."""

    def save(self, folder: Path) -> None:
        """Write the index into an empty folder."""
        raise NotImplementedError(f"{type(self).__name__} has neither `save` nor `nbytes`")

    def nbytes(self) -> int:
        """Bytes of the whole index, vectors included: those of its files, where the library does not count."""
        with tempfile.TemporaryDirectory() as name:
            self.save(Path(name))
            return sum(file.stat().st_size for file in Path(name).rglob("*") if file.is_file())


def load(name: str) -> type[Approximate]:
    """The adapter of a library; ImportError where the library is not installed."""
    library = NAMES[name]
    adapter: type[Approximate] = getattr(importlib.import_module(f"{__name__}.{library.module}"), library.adapter)
    return adapter


def version(name: str) -> str | None:
    """Version of a library, None where it is not installed."""
    return installed(NAMES[name].distribution)
