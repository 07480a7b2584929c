"""qdrant-edge: one segment in memory, its graph built with the columns indexed."""

from __future__ import annotations

from typing import Any

import numpy as np
import qdrant_edge as qdrant

from engine.exceptions import UnsupportedError
from engine.filters.leaves import Between, Contains, IsIn
from engine.filters.predicate import Group, Leaf

from . import Columns, Filtered, Ids, Metric, Predicate, Rows, bytes_in, new_folder

BATCH = 1000
MUCH = 1 << 30  # a segment may take all rows


class Edge(Filtered):
    separate = False

    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        self.folder = new_folder()
        distance = {"cosine": qdrant.Distance.Dot, "l2": qdrant.Distance.Euclid}[metric]
        hnsw = qdrant.HnswIndexConfig(
            m=16, ef_construct=200, full_scan_threshold=10_000, max_indexing_threads=n_threads
        )
        self.shard = qdrant.EdgeShard.create(
            str(self.folder),
            qdrant.EdgeConfig(
                vectors=qdrant.EdgeVectorParams(size=vectors.shape[1], distance=distance, on_disk=False),
                hnsw_config=hnsw,
                on_disk_payload=False,
                optimizers=qdrant.EdgeOptimizersConfig(
                    default_segment_number=1, indexing_threshold=1000, max_segment_size=MUCH
                ),
                max_search_threads=1,
            ),
        )
        for name, kind in columns.schema.items():
            schema = qdrant.PayloadSchemaType.Integer if kind == "int64" else qdrant.PayloadSchemaType.Keyword
            self.shard.update(qdrant.UpdateOperation.create_field_index(name, schema))
        for start in range(0, len(vectors), BATCH):
            points = [
                qdrant.Point(
                    row, vectors[row].tolist(), {name: plain(held[row]) for name, held in columns.values.items()}
                )
                for row in range(start, min(start + BATCH, len(vectors)))
            ]
            self.shard.update(qdrant.UpdateOperation.upsert_points(points))
        self.shard.optimize()

    def tune(self, value: int) -> None:
        self.parameters = qdrant.SearchParams(hnsw_ef=value)

    def make(self, predicate: Predicate) -> qdrant.Filter:
        return as_filter(predicate.canonical)

    def search(self, query: Rows, k: int, filter: qdrant.Filter) -> Ids:
        found = self.shard.search(
            qdrant.SearchRequest(query=query_of(query), limit=k, filter=filter, params=self.parameters)
        )
        return np.array([point.id for point in found], np.int64)

    def nbytes(self) -> int:
        self.shard.flush()
        return bytes_in(self.folder)


def query_of(query: Rows) -> Any:
    return qdrant.Query.Nearest(query.tolist())


def plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def as_filter(predicate: Leaf | Group) -> qdrant.Filter:
    if isinstance(predicate, Group):
        terms: Any = [as_filter(term.canonical) for term in predicate.terms]
        return qdrant.Filter(must=terms) if predicate.op == "and" else qdrant.Filter(should=terms)
    asked = conditions(predicate)
    if predicate.negated:
        return qdrant.Filter(must_not=[qdrant.Filter(must=asked)] if len(asked) > 1 else asked)
    return qdrant.Filter(must=asked)


def conditions(leaf: Leaf) -> list[Any]:
    """What must all be true for `leaf`, its negation left aside."""

    def match(values: Any) -> Any:
        return qdrant.MatchValue(values[0]) if len(values) == 1 else qdrant.MatchAny(list(values))

    if isinstance(leaf, IsIn):
        return [qdrant.FieldCondition(leaf.column, match=match(leaf.values))]
    if isinstance(leaf, Between):
        low, high = ("gt" if leaf.lo_open else "gte"), ("lt" if leaf.hi_open else "lte")
        limits: dict[str, Any] = {name: limit for name, limit in ((low, leaf.lo), (high, leaf.hi)) if limit is not None}
        return [qdrant.FieldCondition(leaf.column, range=qdrant.RangeFloat(**limits))]
    if isinstance(leaf, Contains):
        if leaf.mode == "any":
            return [qdrant.FieldCondition(leaf.column, match=match(leaf.values))]
        held = [qdrant.FieldCondition(leaf.column, match=match([value])) for value in leaf.values]
        n = len(leaf.values)
        exact = leaf.mode == "exact"
        return held + [qdrant.FieldCondition(leaf.column, values_count=qdrant.ValuesCount(gte=n, lte=n))] * exact
    raise UnsupportedError(f"the predicate has {leaf}, expected comparisons, ranges and sets")
