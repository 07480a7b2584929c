"""Graphs of a few thousand made-up rows, and how much of the exact answer they find."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from reference import Rows

import engine
from engine.types import Metric

DIM = 32


def clustered(seed: int, n: int, dim: int = DIM, n_clusters: int = 100) -> Rows:
    """Rows around centers that depend on `dim` and `n_clusters` alone, so that queries can be drawn alike."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(n_clusters).standard_normal((n_clusters, dim))
    rows = centers[rng.integers(n_clusters, size=n)] + 0.5 * rng.standard_normal((n, dim))
    return rows.astype(np.float32)


N = 4000
VECTORS = clustered(0, N)
QUERIES = clustered(1, 50)
METRICS: tuple[Metric, ...] = ("cosine", "ip", "l2")


def graph_of(vectors: Rows, metric: Metric = "l2", **options: Any) -> engine.Index:
    index = engine.Index(vectors.shape[1], metric=metric, kind="graph", **options)
    index.add(vectors)
    return index


def links_of(index: engine.Index) -> NDArray[np.uint32]:
    return np.array(index._core.parts()["links"])


def state_of(index: engine.Index) -> dict[str, bytes]:
    """Every byte that `save` would write."""
    return {name: part.tobytes() for name, part in index._core.parts().items()} | {
        "header": repr(index._header()).encode()
    }


def recall_of(index: engine.Index, queries: Rows, k: int, **options: Any) -> float:
    """The share of the exact answer of `index` that a search with `options` finds."""
    exact = index.search(queries, k, recall=1.0).ids
    found = index.search(queries, k, **options).ids
    return float(np.mean([np.isin(theirs, ours).mean() for theirs, ours in zip(exact, found, strict=True)]))


def same_answers(left: engine.Index, right: engine.Index, **options: Any) -> None:
    for ours, theirs in zip(left.search(QUERIES, 10, **options), right.search(QUERIES, 10, **options), strict=True):
        np.testing.assert_array_equal(ours, theirs)
