"""What searches return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Calibrated",
    "Executor",
    "GraphLayout",
    "IndexKind",
    "Metric",
    "Plan",
    "RangeResult",
    "SearchResult",
    "SearchStats",
    "VectorDtype",
    "together",
]

Metric = Literal["cosine", "ip", "l2"]
VectorDtype = Literal["float32", "float16", "bfloat16", "int8"]
IndexKind = Literal["exact", "graph"]
GraphLayout = Literal["plain", "fast"]
Executor = Literal["auto", "exact", "in_filter", "sweep"]


class SearchStats(NamedTuple):
    """What one search did.

    Attributes
    ----------
    strategy : str
        ``"certified-4bit"``, ``"certified-8bit"`` (screened by codes, then re-scored), ``"certified-float32"``
        (screened by a float32 pass with a bound on its rounding, then re-scored) or ``"plain"`` (few rows: all scored
        in float64). All of them give the exact answer. ``"graph"``: found by walking links, see docs/graph.md.
    n_scored : int
        Rows looked at, through codes or as they are, summed over the queries.
    n_rescored : int
        Rows whose distance was computed in float64, summed over the queries.
    selectivity : float
        Share of the rows that passed the filter; 1.0 without one.
    seconds : float
        Wall time inside the core.
    executor : {"exact", "in_filter", "sweep"}
        How rows were found: all that pass were looked at; by a walk among those; by a walk among all, filtered after.
    n_fallbacks : int
        Queries whose walk found too little, so that they were searched exactly.
    """

    strategy: str
    n_scored: int
    n_rescored: int
    selectivity: float
    seconds: float
    executor: str = "exact"
    n_fallbacks: int = 0


def together(stats: Sequence[SearchStats]) -> SearchStats:
    """Of several searches as of one."""
    if len(stats) == 1:
        return stats[0]
    return stats[0]._replace(
        strategy="/".join(dict.fromkeys(each.strategy for each in stats)),
        n_scored=sum(each.n_scored for each in stats),
        n_rescored=sum(each.n_rescored for each in stats),
        selectivity=sum(each.selectivity for each in stats) / len(stats),
        seconds=sum(each.seconds for each in stats),
        executor="/".join(dict.fromkeys(each.executor for each in stats)),
        n_fallbacks=sum(each.n_fallbacks for each in stats),
    )


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The nearest rows of each query; unpacks as ``ids, distances``.

    Attributes
    ----------
    ids : ndarray, shape (n_queries, k), int64
        Nearest first; equal distances are ordered by id. -1 where fewer than `k` rows pass.
    distances : ndarray, shape (n_queries, k), float32
        Smaller is closer; +inf where `ids` is -1.
    metric : {"cosine", "ip", "l2"}
        What `distances` measures.
    stats : SearchStats
        What the search did.
    attributes : mapping of str to ndarray
        Columns of the found rows, each of shape (n_queries, k), where a collection was asked for them.

    Examples
    --------
    >>> import numpy as np, engine
    >>> ids, distances = engine.topk(np.eye(2, 4), np.eye(4), k=1)
    >>> ids.ravel().tolist()
    [0, 1]
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.float32]
    metric: Metric
    stats: SearchStats
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter((self.ids, self.distances))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def similarities(self) -> NDArray[np.float32]:
        """Larger is closer: the cosine, the inner product, or minus the squared distance; -inf where `ids` is -1."""
        return similarities(self.distances, self.metric)


class Calibrated(NamedTuple):
    """The share of the `k` nearest that walks with a pool of `ef` rows found, on average, and its standard error."""

    k: int
    ef: int
    recall: float
    error: float


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """How `Index.explain` says that a search would run; its repr shows the table.

    Attributes
    ----------
    kind : {"exact", "graph"}
        That of the index.
    strategy : {"exact", "graph"}
        "graph": links are walked. "exact": all rows that pass the filter are screened, and the answer is the exact one.
    ef : int
        Rows that a walk keeps in its pool; 0 where the strategy is "exact".
    recall : float
        Expected share of the `k` nearest rows among the results: what was asked for, 1.0 where the strategy is "exact".
    reason : str
        Why this strategy; where a recall was out of reach, what was reached.
    calibration : tuple of (k, ef, recall, error)
        What was measured; empty where nothing was.
    executor : {"exact", "in_filter", "sweep"}
        As in `SearchStats`.
    n_scored : float
        Rows looked at for a query, about; 0 where nothing is filtered.
    seconds : float
        Time for a query, about, on the machine that docs/graph.md names; 0 where nothing is filtered.
    """

    kind: IndexKind
    strategy: IndexKind
    ef: int
    recall: float
    reason: str
    calibration: tuple[Calibrated, ...] = ()
    executor: str = "exact"
    n_scored: float = 0.0
    seconds: float = 0.0

    def __repr__(self) -> str:
        executor = f" {self.executor}" if self.strategy == "graph" and self.seconds else ""
        lines = [f"Plan({self.strategy}{executor}, ef={self.ef}, recall={self.recall:g}): {self.reason}"]
        if self.calibration:
            lines.append(f"{'k':>6}{'ef':>7}{'recall':>9}{'error':>9}")
        lines += [f"{p.k:6}{p.ef:7}{p.recall:9.4f}{p.error:9.4f}" for p in self.calibration]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class RangeResult:
    """Every row within a radius of each query, as one flat list with offsets.

    Attributes
    ----------
    offsets : ndarray, shape (n_queries + 1,), int64
        The hits of query ``i`` are ``ids[offsets[i]:offsets[i + 1]]``; ``result[i]`` cuts them out.
    ids : ndarray, shape (n_hits,), int64
        Nearest first within a query; equal distances are ordered by id.
    distances : ndarray, shape (n_hits,), float32
        Smaller is closer, none above the radius.
    metric : {"cosine", "ip", "l2"}
        What `distances` measures.
    stats : SearchStats
        What the search did.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int64]
    distances: NDArray[np.float32]
    metric: Metric
    stats: SearchStats

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if not -len(self) <= query < len(self):
            raise IndexError(f"query {query} of a range result of {len(self)} queries")
        query %= len(self)
        span = slice(self.offsets[query], self.offsets[query + 1])
        return self.ids[span], self.distances[span]

    @property
    def similarities(self) -> NDArray[np.float32]:
        """Larger is closer; parallel to `ids`."""
        return similarities(self.distances, self.metric)


def similarities(distances: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """The other view of `distances`: larger is closer."""
    return (np.float32(1) - distances) if metric == "cosine" else -distances
