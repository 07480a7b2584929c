"""zvec: its graph, every column indexed for equality and ranges."""

from __future__ import annotations

import numpy as np
import zvec

from engine.exceptions import UnsupportedError
from engine.filters.leaves import Contains

from . import Columns, Filtered, Ids, Metric, Predicate, Rows, bytes_in, new_folder
from .sql import listed, where

BATCH = 500
TYPES = {"int64": zvec.DataType.INT64, "keyword": zvec.DataType.STRING, "keywords": zvec.DataType.ARRAY_STRING}


class HNSW(Filtered):
    separate = False

    def __init__(self, vectors: Rows, columns: Columns, metric: Metric, n_threads: int) -> None:
        zvec.init(query_threads=1, optimize_threads=n_threads, log_level=zvec.LogLevel.ERROR)
        self.folder = new_folder()
        kind = {"cosine": zvec.MetricType.IP, "l2": zvec.MetricType.L2}[metric]
        index = zvec.HnswIndexParam(metric_type=kind, m=16, ef_construction=200)
        ordered = zvec.InvertIndexParam(enable_range_optimization=True)
        schema = zvec.CollectionSchema(
            name="rows",
            fields=[zvec.FieldSchema(name, TYPES[of], index_param=ordered) for name, of in columns.schema.items()],
            vectors=zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, vectors.shape[1], index_param=index),
        )
        self.rows = zvec.create_and_open(str(self.folder / "rows"), schema)
        for start in range(0, len(vectors), BATCH):
            self.rows.insert(
                [
                    zvec.Doc(
                        id=str(row),
                        vectors={"vector": vectors[row]},
                        fields={
                            name: held[row].item() if isinstance(held[row], np.generic) else held[row]
                            for name, held in columns.values.items()
                        },
                    )
                    for row in range(start, min(start + BATCH, len(vectors)))
                ]
            )
        self.rows.optimize()

    def tune(self, value: int) -> None:
        self.parameters = zvec.HnswQueryParam(ef=value)

    def make(self, predicate: Predicate) -> str:
        return where(predicate, contains)

    def search(self, query: Rows, k: int, filter: str) -> Ids:
        asked = zvec.Query(field_name="vector", vector=query, param=self.parameters)
        found = self.rows.query(asked, topk=k, filter=filter, output_fields=[])
        return np.array([int(row.id) for row in found], np.int64)

    def nbytes(self) -> int:
        self.rows.flush()
        return bytes_in(self.folder)


def contains(leaf: Contains) -> str:
    if leaf.mode == "exact":
        raise UnsupportedError("zvec does not compare sets as a whole")
    return f"{leaf.column} {'NOT ' * leaf.negated}CONTAIN_{leaf.mode.upper()} {listed(leaf.values)}"
