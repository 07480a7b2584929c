"""How soon a saved index answers: opened in a fresh process, mapped where the library can."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import engine

from .measure import MeasureError, Timing, Worker, in_turns, seconds
from .report import Record, count, table, verdict

__all__ = ["Plan", "measure", "report"]

Rows = NDArray[np.float32]
LIMIT = 0.050  # seconds for 1 GB
# Start-up depends on the bytes of an index, not on how well its links were chosen.
M, EF_CONSTRUCTION, RANK = 16, 20, 12


@dataclass(frozen=True)
class Plan:
    """What to open: as many vectors as make 1 GiB in float32."""

    rows: int = 700_000
    dim: int = 384
    repeats: int = 5
    seed: int = 0
    n_threads: int = 2

    @classmethod
    def quick(cls) -> Plan:
        return cls(rows=5_000, repeats=1)


def nearfield(kind: str, vectors: Rows, path: str, n_threads: int) -> None:
    options = {"M": M, "ef_construction": EF_CONSTRUCTION} if kind == "graph" else {}
    index = engine.Index(vectors.shape[1], kind=kind, n_threads=n_threads, **options)  # type: ignore[arg-type]
    index.add(vectors)
    index.save(path)


def open_nearfield(path: str, dim: int) -> Callable[[Rows], object]:
    index = engine.Index.load(path, mmap=True)
    return lambda query: index.search(query, 10)


def hnswlib(vectors: Rows, path: str, n_threads: int) -> None:
    import hnswlib

    index = hnswlib.Index("cosine", vectors.shape[1])
    index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION)
    index.add_items(vectors, num_threads=n_threads)
    index.save_index(path)


def open_hnswlib(path: str, dim: int) -> Callable[[Rows], object]:
    import hnswlib

    index = hnswlib.Index("cosine", dim)
    index.load_index(path)
    return lambda query: index.knn_query(query, 10)


def usearch(vectors: Rows, path: str, n_threads: int) -> None:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="cos", dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION)
    index.add(np.arange(len(vectors)), vectors, threads=n_threads)
    index.save(path)


def open_usearch(path: str, dim: int) -> Callable[[Rows], object]:
    from usearch.index import Index

    index = Index.restore(path, view=True)
    return lambda query: index.search(query, 10)


def faiss(vectors: Rows, path: str, n_threads: int) -> None:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, path)


def open_faiss(path: str, dim: int) -> Callable[[Rows], object]:
    import faiss

    index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
    return lambda query: index.search(query, 10)


# How each is made, and opened.
LIBRARIES: dict[str, tuple[Callable[[Rows, str, int], None], Callable[[str, int], Callable[[Rows], object]]]] = {
    "nearfield graph": (partial(nearfield, "graph"), open_nearfield),
    "nearfield exact": (partial(nearfield, "exact"), open_nearfield),
    "usearch (view)": (usearch, open_usearch),
    "faiss flat (mapped)": (faiss, open_faiss),
    "hnswlib": (hnswlib, open_hnswlib),
}


def measure(plan: Plan) -> Iterator[Record]:
    """Time to open each library's file and time of the first search, all by turns, the file in the system's cache."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder, f"{i}.index")) for i, name in enumerate(LIBRARIES)}
        firsts: dict[str, list[float]] = {}
        for name, path in paths.items():
            try:
                Worker(make, plan, name, path, n_threads=plan.n_threads).close()
                firsts[name] = []
            except MeasureError as error:
                yield {"figure": "startup", "library": name, "missing": str(error).splitlines()[-1]}

        def opened(name: str) -> float:
            with Worker(int, n_threads=1) as worker:
                took, first = worker.run(start, name, paths[name], plan.dim)
            firsts[name].append(first)
            return took

        for name, timing in in_turns(firsts, opened, repeats=plan.repeats).items():
            yield {
                "figure": "startup",
                "library": name,
                "rows": plan.rows,
                "dim": plan.dim,
                "file_bytes": Path(paths[name]).stat().st_size,
                "open_seconds": timing.seconds,
                "first_seconds": firsts[name][-plan.repeats :],
            }


def make(plan: Plan, name: str, path: str) -> None:
    rng = np.random.default_rng(plan.seed)
    vectors = rng.standard_normal((plan.rows, RANK), np.float32) @ rng.standard_normal((RANK, plan.dim), np.float32)
    LIBRARIES[name][0](vectors, path, plan.n_threads)


def start(state: Any, name: str, path: str, dim: int) -> tuple[float, float]:
    """Seconds to open, and those of the first search; the library itself is loaded before."""
    open_index = LIBRARIES[name][1]
    with tempfile.TemporaryDirectory() as folder:
        small = str(Path(folder, "small"))
        LIBRARIES[name][0](np.eye(dim, dtype=np.float32), small, 1)
        open_index(small, dim)(np.ones((1, dim), np.float32))
    query = np.random.default_rng(1).standard_normal((1, dim), dtype=np.float32)
    took, search = seconds(lambda: open_index(path, dim))
    return took, seconds(lambda: search(query))[0]


def report(records: Iterable[Record]) -> str:
    """The table, and whether ours opened in time."""
    found = [record for record in records if record["figure"] == "startup"]
    rows = [["library", "file, GB", "open, ms", "first search, ms"]]
    verdicts = []
    for record in found:
        if "missing" in record:
            rows.append([record["library"], record["missing"], "-", "-"])
            continue
        opened, first = Timing(tuple(record["open_seconds"])), Timing(tuple(record["first_seconds"]))
        size = record["file_bytes"] / 1e9
        rows.append([record["library"], f"{size:.2f}", f"{1e3 * opened.median:.1f}", f"{1e3 * first.median:.1f}"])
        if record["library"].startswith("nearfield"):
            what = f"{record['library']}: {size:.2f} GB open and answering within {1e3 * LIMIT:.0f} ms"
            total = opened.median + first.median
            verdicts.append(verdict(what, f"{1e3 * total:.1f} ms", total < LIMIT))
    return count("\n".join([table(rows), "", *verdicts]))
