"""What the workers of `bench exact` do: each task gets the state of its process and returns what it measured."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import engine
from engine.types import VectorDtype

from . import datasets, peers
from .measure import peak_extra_bytes, seconds
from .oracle import Oracle
from .peers import Ids, Peer

__all__ = [
    "FEW",
    "MASKS",
    "Plan",
    "Result",
    "Shape",
    "State",
    "all_at_once",
    "among_few",
    "encode",
    "extra_memory",
    "int8_peak",
    "make_oracle",
    "masked",
    "one_by_one",
    "one_shot",
]

Result = tuple[float, Ids]
Shape = Literal["single", "batch"]
MASKS = (0.0001, 0.01, 0.1, 0.5)  # the first for what a call costs by itself
FEW = (20, 100, 1000)  # rows, as there are classes
CALLS = 10  # of a task that is over in a millisecond


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes
    ----------
    rows : int or None
        Of the data set; None is all.
    n_single, n_batch, n_memory : int
        Queries in one repeat: one at a time, in one call, and in the call whose memory is measured.
    repeats : int
        Rounds over all libraries; one more comes first and does not count.
    n_threads : int
        Where more than one is used.
    k : int
        Neighbours of each query.
    libraries : tuple of str
        Adapters in bench/peers.
    seed : int
        Of made-up vectors, masks and noise.
    """

    rows: int | None = None
    n_single: int = 100
    n_batch: int = 1000
    n_memory: int = 10_000
    repeats: int = 5
    n_threads: int = 2
    k: int = 10
    libraries: tuple[str, ...] = tuple(peers.NAMES)
    seed: int = 0

    @classmethod
    def quick(cls) -> Plan:
        """A look in about a minute: says whether all works, not how fast it is."""
        return cls(rows=20_000, n_single=20, n_batch=200, n_memory=2000, repeats=3)


class State:
    """What a worker holds: the data, and one library with its index over it, built when it is first used."""

    def __init__(self, plan: Plan, name: str, n_threads: int) -> None:
        self.plan = plan
        self.n_threads = n_threads
        self.adapter = peers.load(name)
        data = datasets.load(plan.rows, seed=plan.seed)
        self.vectors, self.queries = data.vectors, data.queries

    @cached_property
    def library(self) -> Peer:
        return self.adapter(self.vectors, self.n_threads)

    @cached_property
    def index(self) -> engine.Index:
        index = engine.Index(self.vectors.shape[1], n_threads=self.n_threads)
        index.add(self.vectors)
        return index

    @cached_property
    def filters(self) -> dict[float, engine.Bitmap]:
        return {share: engine.Bitmap(mask(len(self.vectors), share, self.plan.seed)) for share in MASKS}


def one_by_one(state: State) -> Result:
    queries, k, library = state.queries[: state.plan.n_single], state.plan.k, state.library
    library.search(state.queries[-1:], k)  # the others have had their turn since the last time: warm the caches again
    took, found = seconds(lambda: [library.search(queries[i : i + 1], k) for i in range(len(queries))])
    return took, np.concatenate(found)


def all_at_once(state: State) -> Result:
    queries, k, library = state.queries[: state.plan.n_batch], state.plan.k, state.library
    return seconds(lambda: library.search(queries, k))


def one_shot(state: State) -> Result:
    return seconds(lambda: state.adapter.one_shot(state.vectors, state.queries[:1], state.plan.k, state.n_threads))


def among_few(state: State) -> Result:
    """All queries in one call, from the raw matrix."""
    vectors, queries, k = state.vectors, state.queries[: state.plan.n_batch], state.plan.k
    state.adapter.one_shot(vectors, queries, k, state.n_threads)
    took, found = seconds(lambda: [state.adapter.one_shot(vectors, queries, k, state.n_threads) for _ in range(CALLS)])
    return took / CALLS, found[-1]


def extra_memory(state: State) -> tuple[int, float]:
    """Bytes and seconds of one call with many queries: the data set's, again and again with a little noise."""
    rng = np.random.default_rng(state.plan.seed)
    copies = np.resize(state.queries, (state.plan.n_memory, state.queries.shape[1]))
    queries = datasets.unit(copies + rng.normal(0, 0.01, copies.shape))
    del copies
    k, library = state.plan.k, state.library
    took: list[float] = []
    extra = peak_extra_bytes(lambda: took.append(seconds(lambda: library.search(queries, k))[0]))
    return extra, took[0]


def int8_peak(state: State) -> float:
    """8-bit operations a second of all threads together."""
    from engine import _core

    with ThreadPoolExecutor(state.n_threads) as pool:
        return float(sum(pool.map(_core.kernels.int8_peak, [0.3] * state.n_threads)))


def masked(state: State, share: float, shape: Shape) -> Result:
    """One query at a time or all at once, with a mask that lets `share` of the rows pass; 1.0 is no mask."""
    queries, k, index = state.queries[: state.plan.n_batch], state.plan.k, state.index
    allowed = state.filters.get(share)
    if shape == "batch":
        return seconds(lambda: index.search(queries, k, filter=allowed).ids)
    index.search(state.queries[-1], k, filter=allowed)
    took, found = seconds(lambda: [index.search(q, k, filter=allowed).ids for q in queries[: state.plan.n_single]])
    return took, np.concatenate(found)


def encode(state: State, dtype: VectorDtype) -> tuple[float, int, int]:
    """Seconds to add all rows to an empty index; bytes of its codes and bookkeeping, and of the vectors in float16."""
    index = engine.Index(state.vectors.shape[1], dtype=dtype, n_threads=state.n_threads)
    took, _ = seconds(lambda: index.add(state.vectors))
    return took, index.codes_nbytes, 2 * state.vectors.size


def make_oracle(plan: Plan, share: float = 1.0) -> Oracle:
    data = datasets.load(plan.rows, seed=plan.seed)
    allowed = None if share == 1 else mask(len(data.vectors), share, plan.seed)
    return Oracle(data.vectors, data.queries[: plan.n_batch], plan.k, allowed)


def mask(n: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Random rows; each share is drawn by itself."""
    chosen = np.zeros(n, np.bool_)
    n_chosen = min(n, max(round(n * share), 12))  # enough for k = 10 in a small set too
    chosen[np.random.default_rng([seed, round(share * 1e6)]).choice(n, n_chosen, replace=False)] = True
    return chosen
