"""One small adapter per library; a library that is not installed is left out of a run, which says so."""

from __future__ import annotations

import importlib
import importlib.metadata
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

__all__ = ["NAMES", "OURS", "Peer", "installed", "load", "version"]

OURS = "nearfield"
# Adapter (a module of this package) -> distribution whose version is reported.
NAMES = {
    OURS: OURS,
    "numpy": "numpy",
    "torch": "torch",
    "faiss": "faiss-cpu",
    "usearch": "usearch",
    "sklearn": "scikit-learn",
    "scann": "scann",
}
Rows = NDArray[np.float32]
Ids = NDArray[np.int64]


class Peer(ABC):
    """Exact search over unit vectors, the way its library does it fastest.

    Parameters
    ----------
    vectors : ndarray, shape (n, dim), float32
        Unit rows; row numbers are the ids.
    n_threads : int
        The library uses no more.
    """

    @abstractmethod
    def __init__(self, vectors: Rows, n_threads: int) -> None: ...

    @abstractmethod
    def search(self, queries: Rows, k: int) -> Ids:
        """Rows nearest to each of `queries`, nearest first; shape (n_queries, k)."""

    @classmethod
    def one_shot(cls, vectors: Rows, queries: Rows, k: int, n_threads: int) -> Ids:
        """The same from the raw matrix, where no index is there yet."""
        return cls(vectors, n_threads).search(queries, k)


def load(name: str) -> type[Peer]:
    """The adapter of a library; ImportError where the library is not installed."""
    adapter: type[Peer] = importlib.import_module(f"{__name__}.{name}").Adapter
    return adapter


def version(name: str) -> str | None:
    """Version of a library, None where it is not installed."""
    return installed(NAMES[name])


def installed(distribution: str) -> str | None:
    """Version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
