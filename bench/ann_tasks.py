"""What the workers of `bench ann` do: one library and its index each, searched at one setting after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import engine
from engine.types import Metric

from . import datasets
from .measure import peak_extra_bytes, seconds
from .peers import Ids, ann

__all__ = [
    "Abilities",
    "Built",
    "Facts",
    "Setting",
    "abilities",
    "all_at_once",
    "costs",
    "one_by_one",
    "prepare",
    "recall",
    "recall_of",
]


class Setting(NamedTuple):
    """How to search: `method` is "tune" with a value of the library's own, or "aim" with a recall."""

    method: str
    value: Any


class Abilities(NamedTuple):
    """What a library can be told: values of its parameter, recalls, and whether many queries in one call."""

    parameter: str
    grid: tuple[Any, ...]
    targets: tuple[float, ...]
    batched: bool


class Facts(NamedTuple):
    """What is known of a data set that lies in a folder, ready for the workers."""

    folder: Path
    source: str
    rows: int
    dim: int
    n_queries: int
    metric: Metric
    raw_bytes: int


def prepare(name: str, folder: Path, rows: int | None, seed: int, k: int, n_threads: int) -> Facts:
    """Write rows, queries and the exact answers for as many as `k` neighbours."""
    data = datasets.named(name, rows, seed=seed)
    right = engine.topk(data.queries, data.vectors, k, metric=data.metric, n_threads=n_threads).ids
    for part, array in (("vectors", data.vectors), ("queries", data.queries), ("right", right)):
        np.save(folder / f"{part}.npy", array)
    rows, dim = data.vectors.shape
    return Facts(folder, data.name, rows, dim, len(data.queries), data.metric, data.vectors.nbytes)


class Built:
    """An index, and what it took to build it.

    Parameters
    ----------
    facts : Facts
        Of the data set.
    name : str
        An adapter of bench/peers/ann.
    n_threads : int
        For building.
    """

    def __init__(self, facts: Facts, name: str, n_threads: int) -> None:
        adapter = ann.load(name)
        vectors = np.load(facts.folder / "vectors.npy")
        self.queries = np.load(facts.folder / "queries.npy")
        self.right = np.load(facts.folder / "right.npy")

        def build() -> None:
            self.seconds, self.library = seconds(lambda: adapter(vectors, facts.metric, n_threads))

        self.peak_bytes = peak_extra_bytes(build)

    def set(self, setting: Setting, n_threads: int) -> None:
        getattr(self.library, setting.method)(setting.value, n_threads)


def costs(state: Built) -> dict[str, Any]:
    """Figures of the build, for its record."""
    return {"seconds": (state.seconds,), "peak_bytes": state.peak_bytes, "index_bytes": state.library.nbytes()}


def abilities(state: Built, k: int) -> Abilities:
    library = state.library
    return Abilities(library.parameter, tuple(library.grid(k)), library.targets, library.batched)


def recall_of(state: Built, setting: Setting, k: int) -> float:
    """Recall over all queries, asked one at a time on one thread."""
    state.set(setting, 1)
    return recall(ask(state, k, len(state.queries)), state.right[:, :k])


def one_by_one(state: Built, setting: Setting, k: int, n: int) -> float:
    """Seconds for `n` queries, one at a time on one thread."""
    state.set(setting, 1)
    state.library.search(state.queries[-1:], k)  # the others have had their turn: warm the caches again
    return seconds(lambda: ask(state, k, n))[0]


def ask(state: Built, k: int, n: int) -> Ids:
    queries, library = state.queries, state.library
    return np.concatenate([library.search(queries[i : i + 1], k) for i in range(n)])


def all_at_once(state: Built, setting: Setting, k: int, n_threads: int) -> float:
    """Seconds for all queries in one call."""
    state.set(setting, n_threads)
    state.library.search(state.queries[-16:], k)
    return seconds(lambda: state.library.search(state.queries, k))[0]


def recall(found: Ids, right: Ids) -> float:
    """Share of the exact neighbours that were found.

    Examples
    --------
    >>> recall(np.array([[1, 2], [5, 5]]), np.array([[2, 1], [5, 6]]))
    0.75
    """
    return float(
        np.mean([len(np.intersect1d(ours, exact)) / len(exact) for ours, exact in zip(found, right, strict=True)])
    )
