"""The figures of `bench exact`: each is a function that yields records, which bench/report.py judges."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from engine.types import VectorDtype

from . import peers
from .measure import MeasureError, Timing, Worker, in_turns, why_missing
from .oracle import Oracle
from .peers import OURS, Ids
from .tasks import (
    FEW,
    MASKS,
    Plan,
    Result,
    Shape,
    State,
    all_at_once,
    among_few,
    encode,
    extra_memory,
    int8_peak,
    make_oracle,
    masked,
    one_by_one,
    one_shot,
)

__all__ = ["FIGURES", "Record"]

Record = dict[str, Any]
HEAVY = {
    "PIL", "faiss", "hnswlib", "joblib", "matplotlib", "nanoarrow", "numba", "pandas", "polars", "pyarrow", "rich",
    "scann", "scipy", "sklearn", "sentence_transformers", "sqlglot", "torch", "transformers", "typer", "usearch",
}  # fmt: skip


def single(plan: Plan) -> Iterator[Record]:
    """One query at a time, one thread."""
    yield from race(plan, "single", one_by_one, plan.n_single, 1)


def batch(plan: Plan) -> Iterator[Record]:
    """All queries in one call."""
    yield from race(plan, "batch", all_at_once, plan.n_batch, plan.n_threads)


def one_shots(plan: Plan) -> Iterator[Record]:
    """One query from the raw matrix, before there is an index."""
    for n_threads in sorted({1, plan.n_threads}):
        yield from race(plan, "one_shot", one_shot, 1, n_threads)


def few(plan: Plan) -> Iterator[Record]:
    """Many queries among as many rows as there may be classes."""
    k = min(plan.k, 5)
    for n_rows in FEW:
        for record in race(replace(plan, rows=n_rows, k=k), "few", among_few, plan.n_batch, 1):
            yield {**record, "rows": n_rows, "k": k}


def race(plan: Plan, figure: str, task: Callable[[State], Result], n_queries: int, n_threads: int) -> Iterator[Record]:
    """The same task by every library in turn, and whether the answers are right."""
    common = {"figure": figure, "threads": n_threads, "n_queries": n_queries}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in plan.libraries:
            try:
                workers[name] = stack.enter_context(Worker(State, plan, name, n_threads, n_threads=n_threads))
            except MeasureError as error:
                yield {**common, "library": name, "missing": why_missing(peers.version(name), error)}
        answers: dict[str, Ids] = {}
        peaks: list[float] = []

        def timed(name: str) -> float:
            took, answers[name] = workers[name].run(task)
            if figure == "batch" and name == OURS:
                peaks.append(workers[name].run(int8_peak))  # in the same breath: clocks drift
            return took

        timings = in_turns(workers, timed, repeats=plan.repeats)
    with Worker(make_oracle, plan, n_threads=plan.n_threads) as oracle:
        for name, timing in timings.items():
            yield {
                **common,
                "library": name,
                "version": peers.version(name),
                "seconds": timing.seconds,
                **oracle.run(Oracle.agreement, answers[name]),
                **({"int8_peak": peaks[-plan.repeats :]} if name == OURS and peaks else {}),
            }


def memory(plan: Plan) -> Iterator[Record]:
    """Memory of one call with many queries, each library in a process that has searched nothing before."""
    for name in plan.libraries:
        record = {"figure": "memory", "library": name, "threads": plan.n_threads, "n_queries": plan.n_memory}
        try:
            with Worker(State, plan, name, plan.n_threads, n_threads=plan.n_threads) as worker:
                extra, took = worker.run(extra_memory)
            yield {**record, "version": peers.version(name), "extra_bytes": extra, "seconds": (took,)}
        except MeasureError as error:
            yield {**record, "missing": why_missing(peers.version(name), error)}


def masks(plan: Plan) -> Iterator[Record]:
    """Searches that may return only some rows, against the same search over all of them."""
    shapes: dict[Shape, int] = {"single": 1, "batch": plan.n_threads}
    shares = (1.0, *MASKS)
    timings: dict[tuple[Shape, float], Timing] = {}
    answers: dict[tuple[Shape, float], Ids] = {}
    for shape, n_threads in shapes.items():
        with Worker(State, plan, OURS, n_threads, n_threads=n_threads) as worker:

            def timed(case: tuple[Shape, float], worker: Worker = worker) -> float:
                shape, share = case
                took, answers[case] = worker.run(masked, share, shape)
                return took

            timings |= in_turns([(shape, share) for share in shares], timed, repeats=plan.repeats)
    for share in shares:
        with Worker(make_oracle, plan, share, n_threads=plan.n_threads) as oracle:
            for shape, n_threads in shapes.items():
                yield {
                    "figure": "masks",
                    "library": OURS,
                    "shape": shape,
                    "share": share,
                    "threads": n_threads,
                    "n_queries": len(answers[shape, share]),
                    "seconds": timings[shape, share].seconds,
                    **oracle.run(Oracle.agreement, answers[shape, share]),
                }


def codes(plan: Plan) -> Iterator[Record]:
    """What codes and bookkeeping weigh, and how long one thread takes to add all rows."""
    sizes: dict[VectorDtype, tuple[int, int]] = {}
    dtypes: tuple[VectorDtype, ...] = ("float32", "float16")
    with Worker(State, plan, OURS, 1, n_threads=1) as worker:

        def timed(dtype: VectorDtype) -> float:
            took, codes_nbytes, float16_nbytes = worker.run(encode, dtype)
            sizes[dtype] = codes_nbytes, float16_nbytes
            return took

        timings = in_turns(dtypes, timed, repeats=plan.repeats)
    for dtype in dtypes:
        codes_nbytes, float16_nbytes = sizes[dtype]
        yield {
            "figure": "codes",
            "library": OURS,
            "dtype": dtype,
            "threads": 1,
            "seconds": timings[dtype].seconds,
            "codes_nbytes": codes_nbytes,
            "float16_nbytes": float16_nbytes,
        }


def imports(plan: Plan) -> Iterator[Record]:
    """How long `import engine` takes in a new interpreter, beside numpy alone, and what it pulls in."""
    loaded: dict[str, set[str]] = {}

    def timed(module: str) -> float:
        code = (
            f"import json, sys, time; start = time.perf_counter(); import {module}; "
            "print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        took, modules = json.loads(ran.stdout)
        loaded[module] = {name.partition(".")[0] for name in modules}
        return float(took)

    for module, timing in in_turns(("engine", "numpy"), timed, repeats=max(plan.repeats, 5)).items():
        heavy = sorted(loaded[module] & HEAVY)
        yield {"figure": "import", "library": module, "seconds": timing.seconds, "heavy": heavy}


FIGURES: dict[str, Callable[[Plan], Iterator[Record]]] = {
    "single": single,
    "batch": batch,
    "memory": memory,
    "masks": masks,
    "one_shot": one_shots,
    "few": few,
    "codes": codes,
    "import": imports,
}
