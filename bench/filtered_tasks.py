"""What the workers of `bench filtered` do: one library, its vectors and columns, and a filter for each query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.filters import Predicate

from .ann_tasks import Facts
from .columns import Columns
from .measure import peak_extra_bytes, seconds
from .peers import Ids, filtered

__all__ = ["Held", "answers", "begin", "times"]

LEAST = 10  # queries that are asked even where the time is up
WARM_S = 0.05  # of asking before anything is timed
Seconds = NDArray[np.float64]


class Held:
    """An index with columns, and what it took to build it.

    Parameters
    ----------
    facts : Facts
        Of the data set.
    name : str
        An adapter of bench/peers/filtered.
    columns : Columns
    n_threads : int
        For building.
    """

    def __init__(self, facts: Facts, name: str, columns: Columns, n_threads: int) -> None:
        adapter = filtered.load(name)
        vectors = np.load(facts.folder / "vectors.npy")
        self.queries = np.load(facts.folder / "queries.npy")
        self.predicates: Sequence[Predicate] = []  # of the cell, and the filters made of them
        self.filters: list[Any] = []

        def build() -> None:
            self.seconds, self.library = seconds(lambda: adapter(vectors, columns, facts.metric, n_threads))

        self.peak_bytes = peak_extra_bytes(build)

    def ask(self, query: int, k: int) -> Ids:
        return self.library.search(self.queries[query], k, self.filters[query])


def begin(state: Held, predicates: Sequence[Predicate], k: int) -> tuple[list[Any], bool]:
    """Make the filters of a cell, each once; the values of the search parameter, and whether filters can be made."""
    made = {predicate: state.library.make(predicate) for predicate in dict.fromkeys(predicates)}
    state.predicates, state.filters = predicates, [made[predicate] for predicate in predicates]
    return list(state.library.grid(k)), state.library.separate


def answers(state: Held, value: Any, k: int, budget_s: float) -> tuple[Ids, dict[str, int]]:
    """Ids of the first queries, as many as fit into the time; -1 where fewer were found. And how they were searched."""
    state.library.tune(value)
    found: list[Ids] = []
    ways: Counter[str] = Counter()
    took = 0.0
    while len(found) < len(state.queries) and (took < budget_s or len(found) < LEAST):
        spent, ids = seconds(lambda: state.ask(len(found), k))
        took += spent
        found.append(np.pad(ids, (0, k - len(ids)), constant_values=-1))
        ways[state.library.how()] += 1
    return np.stack(found), dict(ways)


def times(state: Held, value: Any, k: int, n: int, with_filter: bool) -> Seconds:
    """Seconds of each of `n` queries, one at a time on one thread; with the making of its filter or without.

    They are asked for a while before: the other libraries have had their turn, and the first queries after a pause of
    seconds were seen to take milliseconds on a virtual machine, where the rest took ten microseconds.
    """
    library = state.library
    library.tune(value)

    def one(query: int) -> float:
        vector, filter = state.queries[query], state.filters[query]
        predicate = copy(state.predicates[query])  # new to the library, which may keep what it learned of one
        if with_filter:
            return seconds(lambda: library.search(vector, k, library.make(predicate)))[0]
        return seconds(lambda: library.search(vector, k, filter))[0]

    warmed, again = 0.0, cycle(range(n))
    while warmed < WARM_S:
        warmed += one(next(again))
    return np.array([one(query) for query in range(n)])
