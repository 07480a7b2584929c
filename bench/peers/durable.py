"""Libraries that keep vectors on the disk: made, saved, opened and searched by squared distance, as each does it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import engine

__all__ = ["NAMES", "PACKAGES", "Durable"]

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]
ROOM = 100_000  # rows, for libraries that must know before


class Durable(ABC):
    """Vectors under ids of their own, of which a file or a folder can be made."""

    inner: Any
    in_place = False  # rows that are added change what is on the disk; else a save writes all of it

    @classmethod
    @abstractmethod
    def create(cls, path: str, dim: int) -> Durable: ...

    @classmethod
    @abstractmethod
    def open(cls, path: str, dim: int) -> Durable: ...

    @abstractmethod
    def add(self, ids: Ids, vectors: Rows) -> None: ...

    def save(self, path: str) -> None:
        self.inner.save(path)

    @abstractmethod
    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        """Ids and distances, nearest first."""

    def __len__(self) -> int:
        return len(self.inner)


class NearfieldFile(Durable):
    def __init__(self, index: engine.Index) -> None:
        self.inner = index

    @classmethod
    def create(cls, path: str, dim: int) -> NearfieldFile:
        return cls(engine.Index(dim, metric="l2"))

    @classmethod
    def open(cls, path: str, dim: int) -> NearfieldFile:
        return cls(engine.Index.load(path))

    def add(self, ids: Ids, vectors: Rows) -> None:
        self.inner.add(vectors, ids)

    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        found = self.inner.search(queries, k)
        return found.ids, found.distances


class NearfieldFolder(Durable):
    in_place = True

    def __init__(self, collection: engine.Collection) -> None:
        self.inner = collection

    @classmethod
    def create(cls, path: str, dim: int) -> NearfieldFolder:
        return cls(engine.Collection.create(path, dim=dim, metric="l2"))

    @classmethod
    def open(cls, path: str, dim: int) -> NearfieldFolder:
        return cls(engine.Collection.open(path))

    def add(self, ids: Ids, vectors: Rows) -> None:
        self.inner.upsert(vectors, ids)

    def save(self, path: str) -> None:
        self.inner.commit()

    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        found = self.inner.search(queries, k)
        return found.ids, found.distances


class Faiss(Durable):
    @classmethod
    def create(cls, path: str, dim: int) -> Faiss:
        import faiss

        made = cls()
        made.inner = faiss.IndexIDMap2(faiss.IndexFlatL2(dim))
        return made

    @classmethod
    def open(cls, path: str, dim: int) -> Faiss:
        import faiss

        opened = cls()
        opened.inner = faiss.read_index(path)
        return opened

    def add(self, ids: Ids, vectors: Rows) -> None:
        self.inner.add_with_ids(vectors, ids)

    def save(self, path: str) -> None:
        import faiss

        faiss.write_index(self.inner, path)

    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        distances, ids = self.inner.search(queries, k)
        return ids, distances

    def __len__(self) -> int:
        return int(self.inner.ntotal)


class Hnswlib(Durable):
    @classmethod
    def create(cls, path: str, dim: int) -> Hnswlib:
        made = cls.empty(dim)
        made.inner.init_index(max_elements=ROOM, M=16, ef_construction=100)
        made.inner.set_ef(200)
        return made

    @classmethod
    def open(cls, path: str, dim: int) -> Hnswlib:
        opened = cls.empty(dim)
        opened.inner.load_index(path)
        opened.inner.set_ef(200)
        return opened

    @classmethod
    def empty(cls, dim: int) -> Hnswlib:
        import hnswlib

        made = cls()
        made.inner = hnswlib.Index("l2", dim)
        return made

    def add(self, ids: Ids, vectors: Rows) -> None:
        self.inner.add_items(vectors, ids)

    def save(self, path: str) -> None:
        self.inner.save_index(path)

    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        ids, distances = self.inner.knn_query(queries, k)
        return ids.astype(np.int64), distances

    def __len__(self) -> int:
        return int(self.inner.get_current_count())


class Usearch(Durable):
    @classmethod
    def create(cls, path: str, dim: int) -> Usearch:
        from usearch.index import Index

        made = cls()
        made.inner = Index(ndim=dim, metric="l2sq", dtype="f32")
        return made

    @classmethod
    def open(cls, path: str, dim: int) -> Usearch:
        from usearch.index import Index

        opened = cls()
        opened.inner = Index.restore(path)
        if opened.inner is None:  # how it refuses
            raise ValueError("not an index")
        return opened

    def add(self, ids: Ids, vectors: Rows) -> None:
        self.inner.add(ids, vectors)

    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        found = self.inner.search(queries, k)
        return np.asarray(found.keys).astype(np.int64), np.asarray(found.distances)


class Voyager(Durable):
    @classmethod
    def create(cls, path: str, dim: int) -> Voyager:
        import voyager

        made = cls()
        made.inner = voyager.Index(voyager.Space.Euclidean, num_dimensions=dim)
        return made

    @classmethod
    def open(cls, path: str, dim: int) -> Voyager:
        import voyager

        opened = cls()
        opened.inner = voyager.Index.load(path)
        return opened

    def add(self, ids: Ids, vectors: Rows) -> None:
        self.inner.add_items(np.ascontiguousarray(vectors), ids.tolist())

    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        ids, distances = self.inner.query(np.ascontiguousarray(queries), k, query_ef=200)  # it reads past strides
        return ids.astype(np.int64), distances


class Lancedb(Durable):
    in_place = True

    @classmethod
    def create(cls, path: str, dim: int) -> Lancedb:
        import lancedb
        import pyarrow as pa

        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), dim))])
        made = cls()
        made.inner = lancedb.connect(path).create_table("rows", schema=schema)
        return made

    @classmethod
    def open(cls, path: str, dim: int) -> Lancedb:
        import lancedb

        opened = cls()
        opened.inner = lancedb.connect(path).open_table("rows")
        return opened

    def add(self, ids: Ids, vectors: Rows) -> None:
        import pyarrow as pa

        held = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        new = pa.table({"id": ids, "vector": held})
        self.inner.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(new)

    def save(self, path: str) -> None:
        """What was added is on the disk."""

    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        found = [self.inner.search(query).distance_type("l2").limit(k).to_arrow() for query in queries]
        ids = np.stack([np.asarray(each.column("id"), np.int64) for each in found])
        return ids, np.stack([np.asarray(each.column("_distance"), np.float32) for each in found])

    def __len__(self) -> int:
        return int(self.inner.count_rows())


class QdrantEdge(Durable):
    in_place = True

    @classmethod
    def create(cls, path: str, dim: int) -> QdrantEdge:
        import qdrant_edge as qdrant

        os.makedirs(path, exist_ok=True)
        made = cls()
        vectors = qdrant.EdgeVectorParams(size=dim, distance=qdrant.Distance.Euclid)
        made.inner = qdrant.EdgeShard.create(path, qdrant.EdgeConfig(vectors=vectors))
        return made

    @classmethod
    def open(cls, path: str, dim: int) -> QdrantEdge:
        import qdrant_edge as qdrant

        opened = cls()
        opened.inner = qdrant.EdgeShard.load(path)
        return opened

    def add(self, ids: Ids, vectors: Rows) -> None:
        import qdrant_edge as qdrant

        points = [qdrant.Point(key, row.tolist(), {}) for key, row in zip(ids.tolist(), vectors, strict=True)]
        self.inner.update(qdrant.UpdateOperation.upsert_points(points))

    def save(self, path: str) -> None:
        self.inner.flush()

    def search(self, queries: Rows, k: int) -> tuple[Ids, Rows]:
        import qdrant_edge as qdrant

        asked = [qdrant.SearchRequest(query=qdrant.Query.Nearest(query.tolist()), limit=k) for query in queries]
        found = [self.inner.search(request) for request in asked]
        ids = np.array([[point.id for point in each] for each in found], np.int64)
        return ids, np.array([[point.score for point in each] for each in found], np.float32)

    def __len__(self) -> int:
        import qdrant_edge as qdrant

        return int(self.inner.count(qdrant.CountRequest(exact=True)))


NAMES: dict[str, type[Durable]] = {
    "nearfield folder": NearfieldFolder,
    "nearfield file": NearfieldFile,
    "faiss flat": Faiss,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "voyager": Voyager,
    "lancedb": Lancedb,
    "qdrant-edge": QdrantEdge,
}
# Distributions whose version is reported.
PACKAGES = {
    "nearfield folder": "nearfield",
    "nearfield file": "nearfield",
    "faiss flat": "faiss-cpu",
    "qdrant-edge": "qdrant-edge-py",
}
