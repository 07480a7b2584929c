"""The figures of `bench filtered`: the same filtered queries by every library, judged by bench/filtered_report.py."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import engine
from engine import Bitmap
from engine.evaluation import filtered_ground_truth, recall_at_k, recall_per_query
from engine.exceptions import CorruptIndexError
from engine.filters import PredicateCache

from . import datasets
from .ann import available_bytes, fitting
from .ann_tasks import Facts, costs
from .filtered_cells import CORRELATIONS, KINDS, SELECTIVITIES, grid
from .filtered_data import Asked, Workload, made
from .filtered_files import from_folder
from .filtered_tasks import Held, answers, begin, times
from .measure import MeasureError, Worker, in_turns, why_missing
from .peers import Ids, filtered

__all__ = ["ENOUGH", "Plan", "Record", "measure"]

Record = dict[str, Any]
ENOUGH = 0.95  # the recall at which peers are compared
BUCKETS = 10


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes
    ----------
    datasets : tuple of str
        Names in bench/datasets.py.
    folders : tuple of Path
        Instead of those: data sets of files that bench/filtered_files.py knows, with filters of their own.
    rows : int or None
        Of each; None is all.
    kinds, correlations, selectivities : tuple
        The cells, each of them with each.
    ks : tuple of int
        Neighbours of each query.
    libraries : tuple of str
        Adapters in bench/peers/filtered.
    n_threads : int
        For building; every search runs on one.
    n_queries : int
        Of each cell.
    budget_s : float
        Time in which a library is asked them at one setting; where it is up, the rest is left out.
    repeats : int
        Rounds over all libraries; one more comes first and does not count.
    seed : int
        Of all that is drawn or made up.
    """

    datasets: tuple[str, ...] = field(default_factory=lambda: (datasets.at_hand(),))
    folders: tuple[Path, ...] = ()
    rows: int | None = None
    kinds: tuple[str, ...] = ("equality",)
    correlations: tuple[str, ...] = CORRELATIONS
    selectivities: tuple[float, ...] = SELECTIVITIES
    ks: tuple[int, ...] = (10,)
    libraries: tuple[str, ...] = tuple(filtered.NAMES)
    n_threads: int = 2
    n_queries: int = 300
    budget_s: float = 0.15
    repeats: int = 3
    seed: int = 0

    def quick(self) -> Plan:
        """A look in about a minute: says whether all works, not how fast it is."""
        return replace(self, rows=10_000, n_queries=30, budget_s=0.05, repeats=1)

    @classmethod
    def full(cls) -> Plan:
        """The whole grid."""
        return cls(kinds=KINDS, ks=(1, 10, 100), budget_s=0.25)


def measure(plan: Plan) -> Iterator[Record]:
    """All records of a run but its first."""
    for name, load in workloads(plan):
        try:
            workload = load()
        except (FileNotFoundError, CorruptIndexError) as error:
            yield {"figure": "data", "data": name, "missing": str(error)}
            continue
        for record in race(plan, workload):
            yield {**record, "data": name}


def workloads(plan: Plan) -> Iterator[tuple[str, Callable[[], Workload]]]:
    """Names, and what loads or makes the data."""
    for folder in plan.folders:
        yield folder.name, partial(from_folder, folder, plan.rows, plan.n_queries)
    cells = grid(plan.kinds, plan.correlations, plan.selectivities)
    for name in () if plan.folders else plan.datasets:
        yield name, partial(made, name, plan.rows, plan.n_queries, cells, plan.seed)


@dataclass(frozen=True)
class Task:
    """A cell with its answers.

    Attributes
    ----------
    asked : Asked
    allowed : list of Bitmap
        Rows that pass, for each query.
    local : ndarray, shape (n_queries,)
        Share that passes of the rows nearest to each query.
    right : ndarray, shape (n_queries, most k)
        The exact neighbours, -1 where fewer pass; those that come with the data, where they are enough.
    agreement : float
        Share of them that we find too by exact search.
    """

    asked: Asked
    allowed: list[Bitmap]
    local: NDArray[np.float64]
    right: Ids
    agreement: float = 1.0


def race(plan: Plan, workload: Workload) -> Iterator[Record]:
    """Build every index, then let all of them answer one cell after another."""
    rows, dim = workload.vectors.shape
    n_near = max(100, rows // 100)
    near = engine.topk(workload.queries, workload.vectors, n_near, metric=workload.metric, n_threads=plan.n_threads).ids
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "vectors.npy", workload.vectors)
        np.save(folder / "queries.npy", workload.queries)
        raw_bytes = workload.vectors.nbytes
        facts = Facts(folder, workload.name, rows, dim, len(workload.queries), workload.metric, raw_bytes)
        yield {"figure": "data", **{key: value for key, value in facts._asdict().items() if key != "folder"}}
        together = fitting(raw_bytes, available_bytes())
        for at in range(0, len(plan.libraries), together):
            for record in group_race(plan, facts, workload, near, plan.libraries[at : at + together]):
                yield {**record, "group": at // together}


def with_answers(plan: Plan, workload: Workload, asked: Asked, near: Ids) -> Task:
    """`asked` with the exact answers; `near` has the rows nearest to each query, whatever passes."""
    k = max(plan.ks)
    cache = PredicateCache()
    allowed = [cache.resolve(predicate, workload.columns) for predicate in asked.predicates]
    found = filtered_ground_truth(
        workload.queries, workload.vectors, k, filters=allowed, metric=workload.metric, n_threads=plan.n_threads
    )
    given = found.ids if asked.right is None else asked.right
    agreement = recall_at_k(found.ids, given, min(k, given.shape[1]))
    if given.shape[1] < k:  # they do not reach as far
        given = found.ids
    local = [rows.to_mask()[ids[ids >= 0]].mean() for rows, ids in zip(allowed, near, strict=True)]
    return Task(asked, allowed, np.array(local), given, agreement)


def group_race(plan: Plan, facts: Facts, workload: Workload, near: Ids, libraries: Sequence[str]) -> Iterator[Record]:
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in libraries:
            version = filtered.version(name)
            record = {"figure": "build", "library": name, "version": version, "threads": plan.n_threads}
            try:
                # One thread in the environment: what builds with more is told so.
                worker = Worker(Held, facts, name, workload.columns, plan.n_threads, n_threads=1)
                workers[name] = stack.enter_context(worker)
                yield {**record, **worker.run(costs)}
            except MeasureError as error:
                workers.pop(name, None)
                yield {**record, "missing": why_missing(version, error)}
        for asked in workload.asked:
            task = with_answers(plan, workload, asked, near)
            for k in plan.ks:
                yield from answered(plan, task, k, workers)


def answered(plan: Plan, task: Task, k: int, workers: dict[str, Worker]) -> Iterator[Record]:
    """One cell by every library; one that fails is named with its reason."""
    passing = np.array([rows.count() for rows in task.allowed])
    cell = {**task.asked.cell._asdict(), "k": k}
    yield {
        "figure": "cell",
        **cell,
        "passing": float(passing.mean() / len(task.allowed[0])),
        "local": float(task.local.mean()),
        "agreement": task.agreement,
        "n_filters": len(set(task.asked.predicates)),
        "n_queries": len(passing),
    }
    points: dict[str, Record] = {}
    failed: dict[str, str] = {}

    def by(name: str, work: Callable[[Worker], Any]) -> Any:
        try:
            return work(workers[name])
        except MeasureError as error:
            failed[name] = why_missing(filtered.version(name), error)
            return None

    for name in workers:
        point = by(name, lambda worker: sweep(plan, task, k, worker))
        if point is not None:
            points[name] = point

    taken: dict[tuple[str, bool], list[NDArray[np.float64]]] = {}

    def timed(case: tuple[str, bool]) -> float:
        name, with_filter = case
        point = points[name]
        if name not in failed:
            took = by(name, lambda worker: worker.run(times, point["value"], k, point["n_queries"], with_filter))
            if took is not None:
                taken.setdefault(case, []).append(took)
                return float(took.sum())
        return float("nan")

    cases = [
        (name, with_filter) for name, point in points.items() for with_filter in (False, True)[: 1 + point["separate"]]
    ]
    timings = in_turns(cases, timed, repeats=plan.repeats, pause=0.01)
    for name, point in points.items():
        if name in failed:
            continue
        record = {"figure": "point", "library": name, **cell, **point}
        for with_filter, suffix in ((False, ""), (True, "_in")):
            case = (name, with_filter and point["separate"])
            each = np.concatenate(taken[case][-plan.repeats :])
            record[f"seconds{suffix}"] = timings[case].seconds
            record[f"p50_s{suffix}"], record[f"p99_s{suffix}"] = np.percentile(each, [50, 99]).tolist()
        yield record
    for name, reason in failed.items():
        yield {"figure": "point", "library": name, **cell, "missing": reason}


def sweep(plan: Plan, task: Task, k: int, worker: Worker) -> Record:
    """The first setting that reaches enough recall, found by halving; the best one where none does."""
    values, separate = worker.run(begin, task.asked.predicates, k)
    found: dict[int, Ids] = {}
    recalls: dict[int, float] = {}
    ways: dict[int, dict[str, int]] = {}
    low, high = 0, len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        ids, ways[middle] = worker.run(answers, values[middle], k, plan.budget_s)
        found[middle] = ids
        recalls[middle] = recall_at_k(ids, task.right[: len(ids), :k])
        low, high = (low, middle - 1) if recalls[middle] >= ENOUGH else (middle + 1, high)
    enough = [setting for setting, recall in recalls.items() if recall >= ENOUGH]
    chosen = min(enough) if enough else max(recalls, key=lambda setting: recalls[setting])
    return {
        "value": values[chosen],
        "separate": separate,
        "ways": ways[chosen],
        "tried": {str(values[setting]): recall for setting, recall in sorted(recalls.items())},
        **judged(found[chosen], task, k),
    }


def judged(ids: Ids, task: Task, k: int) -> Record:
    """How good `ids` of the first queries are.

    Returns
    -------
    dict
        ``recall`` of all that was to be found; ``worst_bucket``, mean recall of the worst tenth of the queries in the
        order of their local selectivity; ``worst_query``; ``complete``, share of queries with
        ``min(k, rows that pass)`` different ids; ``valid``, share of ids that pass.
    """
    n = len(ids)
    right = task.right[:n, :k]
    each = recall_per_query(ids, right)
    by_local = each[np.argsort(task.local[:n], kind="stable")]
    passes = [rows.to_mask()[row[row >= 0]] for rows, row in zip(task.allowed, ids, strict=False)]
    n_found = np.array([len(np.unique(row[row >= 0])) for row in ids])
    return {
        "n_queries": n,
        "recall": recall_at_k(ids, right),
        "worst_bucket": float(min(part.mean() for part in np.array_split(by_local, min(BUCKETS, n)))),
        "worst_query": float(each.min()),
        "complete": float((n_found == (right >= 0).sum(axis=1)).mean()),
        "valid": float(np.concatenate(passes).mean()) if n_found.any() else 1.0,
    }
