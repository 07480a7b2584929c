"""The figures of `bench ann`: approximate indexes over the same rows, judged by bench/ann_report.py."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .ann_tasks import Built, Facts, Setting, abilities, all_at_once, costs, one_by_one, prepare, recall_of
from .measure import MeasureError, Timing, Worker, in_turns, status_bytes, why_missing
from .peers import ann

__all__ = ["Plan", "Record", "measure"]

Record = dict[str, Any]
ENOUGH = 0.999  # a sweep ends where it is reached
FIGURE = {"tune": "curve", "aim": "calibrated"}
BATCH_AT = 0.95  # batches are measured with the first setting that reaches it


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes
    ----------
    datasets : tuple of str
        Names in bench/datasets.py.
    rows : int or None
        Of each; None is all.
    ks : tuple of int
        Neighbours of each query.
    libraries : tuple of str
        Adapters in bench/peers/ann.
    n_threads : int
        For building and batches.
    builds : tuple of int
        Threads of further builds, of which only the time and memory count.
    n_single : int
        Queries in one repeat, one at a time. Recall is over all queries.
    repeats : int
        Rounds over all points; one more comes first and does not count.
    seed : int
        Of made-up vectors.
    """

    datasets: tuple[str, ...] = ("wordnet",)
    rows: int | None = None
    ks: tuple[int, ...] = (10,)
    libraries: tuple[str, ...] = tuple(ann.NAMES)
    n_threads: int = 2
    builds: tuple[int, ...] = ()
    n_single: int = 500
    repeats: int = 5
    seed: int = 0

    @classmethod
    def quick(cls) -> Plan:
        """A look in under two minutes: says whether all works, not how fast it is."""
        return cls(rows=20_000, n_single=100, repeats=2)


def measure(plan: Plan) -> Iterator[Record]:
    """All records of a run but its first."""
    for name in plan.datasets:
        with tempfile.TemporaryDirectory() as folder:
            try:
                facts = prepare(name, Path(folder), plan.rows, plan.seed, max(plan.ks), plan.n_threads)
            except FileNotFoundError as error:
                yield {"figure": "data", "data": name, "missing": str(error)}
                continue
            described = {key: value for key, value in facts._asdict().items() if key != "folder"}
            yield {"figure": "data", "data": name, **described}
            together = fitting(facts.raw_bytes, available_bytes())
            for at in range(0, len(plan.libraries), together):
                for record in race(plan, facts, plan.libraries[at : at + together]):
                    yield {**record, "data": name, "group": at // together}


def fitting(raw_bytes: int, free_bytes: int) -> int:
    """How many indexes, one of them in the making, fit into memory at a time: each may take four times its rows."""
    return max(2, free_bytes // (4 * raw_bytes))


def available_bytes() -> int:
    try:
        return status_bytes("MemAvailable", "/proc/meminfo")
    except OSError:
        return 8 << 30


def race(plan: Plan, facts: Facts, libraries: Sequence[str]) -> Iterator[Record]:
    """Build every index, then measure their points in turn, so that a slow moment of the machine meets all."""
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in libraries:
            record = {"figure": "build", "library": name, "version": ann.version(name)}
            try:
                for n_threads in plan.builds:
                    with Worker(Built, facts, name, n_threads, n_threads=n_threads) as worker:
                        yield {**record, "threads": n_threads, **worker.run(costs)}
                with ExitStack() as building:
                    worker = building.enter_context(
                        Worker(Built, facts, name, plan.n_threads, n_threads=plan.n_threads)
                    )
                    yield {**record, "threads": plan.n_threads, **worker.run(costs)}
                    stack.push(building.pop_all())
                workers[name] = worker
            except MeasureError as error:
                yield {**record, "threads": plan.n_threads, "missing": why_missing(ann.version(name), error)}
        for k in plan.ks:
            yield from curves(plan, facts, workers, k)


def curves(plan: Plan, facts: Facts, workers: dict[str, Worker], k: int) -> Iterator[Record]:
    """Recall of each setting, then the time it takes, alone and in batches."""
    recalls: dict[tuple[str, Setting], float] = {}
    batches: list[tuple[str, Setting, int]] = []
    parameters: dict[str, str] = {}
    for name, worker in workers.items():
        try:
            able = worker.run(abilities, k)
        except MeasureError as error:  # it failed for the k before
            yield {"figure": "curve", "library": name, "k": k, "missing": why_missing(ann.version(name), error)}
            continue
        parameters[name] = able.parameter
        for method, values in (("tune", able.grid), ("aim", able.targets)):
            try:
                found = sweep(worker, [Setting(method, value) for value in values], k)
            except MeasureError as error:
                reason = why_missing(ann.version(name), error)
                yield {"figure": FIGURE[method], "library": name, "k": k, "missing": reason}
                continue
            recalls |= {(name, setting): reached for setting, reached in found.items()}
            if method == "tune" and able.batched:
                setting = next((setting for setting, reached in found.items() if reached >= BATCH_AT), list(found)[-1])
                batches += [(name, setting, n) for n in sorted({1, plan.n_threads})]

    died: dict[str, str] = {}  # a library that fails here must not cost the others their figures

    def timed(name: str, task: Callable[..., float], *args: Any) -> float:
        if name in died:
            return math.nan
        try:
            return workers[name].run(task, *args)
        except MeasureError as error:
            died[name] = why_missing(ann.version(name), error)
            return math.nan

    def alone(case: tuple[str, Setting]) -> float:
        name, setting = case
        return timed(name, one_by_one, setting, k, plan.n_single)

    def together(case: tuple[str, Setting, int]) -> float:
        name, setting, n_threads = case
        return timed(name, all_at_once, setting, k, n_threads)

    def record(figure: str, name: str, setting: Setting, n_threads: int, n_queries: int, timing: Timing) -> Record:
        return {
            "figure": figure,
            "library": name,
            "k": k,
            "threads": n_threads,
            "parameter": parameters[name] if setting.method == "tune" else "recall",
            "value": setting.value,
            "recall": recalls[name, setting],
            "n_queries": n_queries,
            "seconds": timing.seconds,
        }

    # A short pause: no library keeps threads spinning after one query on one thread.
    n_single = min(plan.n_single, facts.n_queries)
    for (name, setting), timing in in_turns(by_turns(recalls), alone, repeats=plan.repeats, pause=0.01).items():
        if name not in died:
            yield record(FIGURE[setting.method], name, setting, 1, n_single, timing)
    lived = [case for case in batches if case[0] not in died]
    for (name, setting, n_threads), timing in in_turns(lived, together, repeats=plan.repeats).items():
        if name not in died:
            yield record("batch", name, setting, n_threads, facts.n_queries, timing)
    for name, reason in died.items():
        yield {"figure": "curve", "library": name, "k": k, "missing": reason}


def sweep(worker: Worker, settings: Iterable[Setting], k: int) -> dict[Setting, float]:
    """Recall of each setting in turn, until one is good enough."""
    found: dict[Setting, float] = {}
    for setting in settings:
        found[setting] = worker.run(recall_of, setting, k)
        if setting.method == "tune" and found[setting] >= ENOUGH:
            break
    return found


def by_turns(cases: Iterable[tuple[str, Setting]]) -> list[tuple[str, Setting]]:
    """The first case of every library, then the second of each: neighbours in time have different libraries."""
    queues: dict[str, list[tuple[str, Setting]]] = {}
    for case in cases:
        queues.setdefault(case[0], []).append(case)
    return [case for turn in zip_longest(*queues.values()) for case in turn if case is not None]
