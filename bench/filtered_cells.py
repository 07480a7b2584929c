"""Filters made to order: so many rows pass, near to the query, anywhere or far away, by every kind of predicate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from operator import and_, or_
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import col
from engine.filters import ColumnType, Predicate
from engine.types import Metric

from .columns import Columns

__all__ = ["CORRELATIONS", "KINDS", "SELECTIVITIES", "Cell", "Maker", "grid", "local_order"]

Rows = NDArray[np.float32]
Numbers = NDArray[np.int64]
Predicates = list[Predicate]

CORRELATIONS = ("positive", "none", "negative")
KINDS = ("equality", "range", "any", "all", "exact", "and", "or", "not")
SELECTIVITIES = (1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.9)
OPPOSITE = {"positive": "negative", "none": "none", "negative": "positive"}
LEAF = 4  # rows that are not divided further
SAMPLE = 256  # rows that decide how a part is divided


class Cell(NamedTuple):
    """A kind of predicate, where the rows that pass lie, and their share."""

    kind: str
    correlation: str
    selectivity: float


def grid(
    kinds: Iterable[str] = KINDS,
    correlations: Iterable[str] = CORRELATIONS,
    selectivities: Iterable[float] = SELECTIVITIES,
) -> list[Cell]:
    return [Cell(*cell) for cell in product(kinds, correlations, selectivities)]


class Maker:
    """Makes a predicate for each query, and the columns that they ask.

    Rows have a place in three orders: "near", in which neighbours in the order are neighbours in space, and "random"
    and "other". The rows that pass are a slice of an order: for positive correlation the slice of "near" that is
    nearest to the query on average, for negative the farthest, for none a slice of "random". A filter that lets more
    than one half pass is the negation of its rest, which lies at the opposite side.

    Parameters
    ----------
    vectors, queries : ndarray, shape (n, dim) and (n_queries, dim), float32
    metric : {"cosine", "l2"}
    seed : int

    Examples
    --------
    >>> points = np.eye(8, dtype=np.float32)
    >>> maker = Maker(points, points[:2], "cosine", 0)
    >>> predicates = maker.predicates(Cell("range", "positive", 0.25))
    >>> from engine.filters import count
    >>> [count(predicate, maker.columns()) for predicate in predicates]
    [2, 2]
    """

    def __init__(self, vectors: Rows, queries: Rows, metric: Metric, seed: int) -> None:
        self._n, self._queries, self._metric = len(vectors), queries, metric
        self._rng = np.random.default_rng(seed)
        order = local_order(vectors, self._rng)
        self._vectors = vectors[order]  # slices of it are cheap
        self._norms = np.square(self._vectors).sum(axis=1)
        self._places: dict[str, Numbers] = {"near": places(order)}
        self._places |= {name: self._rng.permutation(self._n) for name in ("random", "other")}
        self._values: dict[str, Any] = {**self._places}
        self._schema: dict[str, ColumnType] = dict.fromkeys(self._places, "int64")

    def columns(self) -> Columns:
        """What the predicates made so far ask."""
        return Columns(self._values, self._schema)

    def add(self, name: str, values: Sequence[Any], kind: ColumnType) -> None:
        """One column more."""
        self._values[name], self._schema[name] = values, kind

    def predicates(self, cell: Cell) -> Predicates:
        """One for each query."""
        kind, correlation, share = cell
        if kind == "and":
            return self._both(and_, self._leaf("range", correlation, share**0.5), self._other(share**0.5))
        if kind == "or":  # most pass by the first, the rest by the second
            first = 0.9 * share
            return self._both(or_, self._leaf("range", correlation, first), self._other(1 - (1 - share) / (1 - first)))
        if kind == "not":
            out = (1 - share) / 10
            kept = self._leaf("range", correlation, share / (1 - out))
            return self._both(and_, kept, [~predicate for predicate in self._other(out)])
        return self._leaf(kind, correlation, share)

    def _both(
        self, op: Callable[[Predicate, Predicate], Predicate], first: Predicates, second: Predicates
    ) -> Predicates:
        return [op(*pair) for pair in zip(first, second, strict=True)]

    def _other(self, share: float) -> Predicates:
        return self._leaf("range", "none", share, order="other")

    def _leaf(self, kind: str, correlation: str, share: float, order: str | None = None) -> Predicates:
        if share > 0.5:
            return [~predicate for predicate in self._leaf(kind, OPPOSITE[correlation], 1 - share, order)]
        order = order or ("random" if correlation == "none" else "near")
        bounds = self._bounds(share)
        chosen = self._chosen(correlation, bounds)
        if kind == "range":
            return [col(order).between(int(bounds[part]), int(bounds[part + 1]) - 1) for part in chosen]
        name = f"{order}_{len(bounds) - 1}"
        parts = np.searchsorted(bounds, self._places[order], side="right") - 1
        if kind == "equality":
            values = [f"v{part}" for part in range(len(bounds))]
            self.add(name, [values[part] for part in parts], "keyword")  # the same objects again and again
            return [col(name) == f"v{part}" for part in chosen]
        name += "_tags"
        sets = [[f"v{part}", "all"] for part in range(len(bounds))]
        self.add(name, [sets[part] for part in parts], "keywords")
        ask = {"any": col(name).contains_any, "all": col(name).contains_all, "exact": col(name).equals_set}[kind]
        return [ask([f"v{part}", "none" if kind == "any" else "all"]) for part in chosen]

    def _bounds(self, share: float) -> Numbers:
        """Where slices of `share` of all rows begin, and the last one ends."""
        share = max(share, 1 / self._n)
        bounds: Numbers = np.round(np.arange(int(1 / share + 1e-9) + 1) * share * self._n).astype(np.int64)
        return bounds

    def _chosen(self, correlation: str, bounds: Numbers) -> Numbers:
        """The slice for each query."""
        if correlation == "none":
            return self._rng.integers(len(bounds) - 1, size=len(self._queries))
        sizes = np.diff(bounds)[:, None]
        end = bounds[-1]
        means = np.add.reduceat(self._vectors[:end], bounds[:-1]) / sizes
        likeness = self._queries @ means.T
        if self._metric == "l2":
            likeness -= np.add.reduceat(self._norms[:end], bounds[:-1]) / sizes[:, 0] / 2
        return np.asarray(likeness.argmax(axis=1) if correlation == "positive" else likeness.argmin(axis=1))


def places(order: Numbers) -> Numbers:
    """Place of each row in `order`."""
    found = np.empty_like(order)
    found[order] = np.arange(len(order))
    return found


def local_order(vectors: Rows, rng: np.random.Generator) -> Numbers:
    """The rows in an order whose slices, short and long, lie together: halved again and again along the widest axis."""
    order = np.arange(len(vectors))
    parts = [(0, len(vectors))]
    while parts:
        start, end = parts.pop()
        if end - start <= LEAF:
            continue
        rows = order[start:end]
        sample = vectors[rows if len(rows) <= SAMPLE else rng.choice(rows, SAMPLE, replace=False)]
        along = vectors[rows] @ widest(sample - sample.mean(axis=0))
        middle = len(rows) // 2
        order[start:end] = rows[np.argpartition(along, middle)]
        parts += [(start, start + middle), (start + middle, end)]
    return order


def widest(centred: Rows) -> Rows:
    """The direction in which `centred` rows vary most, about: a few steps of power iteration."""
    axis: Rows = centred[np.square(centred).sum(axis=1).argmax()]
    for _ in range(4):
        axis = centred.T @ (centred @ axis)
        axis /= max(float(np.linalg.norm(axis)), 1e-30)
    return axis
