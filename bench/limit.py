"""Capacity tests: what free embeddings solve and how fast, recall on LIMIT, and the audit of given documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

import engine
from engine import limit
from engine._validate import as_threads
from engine.limit import _descent
from engine.limit.free import steps_for, unit

from . import datasets
from .measure import Worker, peak_extra_bytes, seconds
from .report import Record, count, table, unjudged, verdict

__all__ = ["Plan", "measure", "report"]

ENCODER = "sbert:all-MiniLM-L6-v2"
SMALL, LARGE = tuple(range(4, 13)), 16  # dimensions whose critical n is to be found within 60 s together, and 300 s
STEPS = ((12, 47), (32, 296))  # dimension and documents of timed steps
# Recall on LIMIT-small in percent, and by how much it may differ.
EXPECTED = {
    "BM25": ({2: 99.15, 10: 100, 20: 100}, 0.3),
    ENCODER: ({2: 16.2, 10: 48.0, 20: 69.5}, 0.5),
    "random additive 32": ({2: 16.5, 10: 50.9, 20: 75.1}, 3),
    "random additive 128": ({2: 41.8, 10: 80.1, 20: 93.0}, 3),
    "random additive 512": ({2: 87.9, 10: 99.3, 20: 99.9}, 3),
}


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    rows: int = 50_000
    repeats: int = 5
    seed: int = 42
    n_threads: int = 2
    dims: tuple[int, ...] = (*SMALL, LARGE)
    steps: tuple[tuple[int, int], ...] = STEPS
    n_samples: int = 1000

    @classmethod
    def quick(cls) -> Plan:
        return cls(rows=1000, repeats=1, dims=(4, 5), steps=((4, 10),), n_samples=20)


def measure(plan: Plan) -> Iterator[Record]:
    """One record for each dimension, size of step, retriever and audit; each kind in a process of its own."""
    with Worker(warm, n_threads=plan.n_threads) as worker:
        for d in plan.dims:
            yield worker.run(critical, d, plan.seed)
        for d, n in plan.steps:
            yield worker.run(steps, d, n, plan.repeats, plan.seed)
    for work, arguments in (
        (recalls, (plan.seed,)),
        (full_size, (plan.rows, plan.seed)),
        (audits, (plan.rows, plan.n_samples, plan.seed)),
        (precision, ()),
    ):
        with Worker(int, n_threads=plan.n_threads) as worker:
            yield from worker.run(work, *arguments)


def warm() -> None:
    """Compile before the clock runs."""
    limit.FreeEmbedding(2, max_iter=1).fit(limit.make_qrels(4), 4)


def critical(state: Any, d: int, seed: int) -> Record:
    took, found = seconds(lambda: limit.critical_n(d, time_limit=300, random_state=seed))
    return {"figure": "critical", "dim": d, "n": found.n, "exhausted": found.exhausted, "seconds": took}


def steps(state: Any, d: int, n: int, repeats: int, seed: int) -> Record:
    """Time of one step in the form that `FreeEmbedding` uses and in plain numpy, taking turns.

    Each is given all cores in its own way: starts in threads of their own, a step of which takes one, and numpy's
    products, which take them all.
    """
    rng = np.random.default_rng(seed)
    qrels = limit.make_qrels(n)
    forms = {"ours": (steps_for("float32")[0], min(3, as_threads(None))), "numpy": (_descent.descend, 1)}
    times: dict[str, list[float]] = {name: [] for name in forms}
    n_steps = max(1, 2_000_000 // (len(qrels) * n))
    for _ in range(repeats + 1):
        for name, (descend, n_starts) in forms.items():
            starts = []
            for _ in range(n_starts):
                queries, documents = (unit(rng.standard_normal((m, d))).astype(np.float32) for m in (len(qrels), n))
                moments = (*np.zeros((2, *queries.shape), np.float32), *np.zeros((2, *documents.shape), np.float32))
                starts.append((queries, documents, moments, qrels, np.zeros(n_steps), 0, 0.1, 0.01, False))
            with ThreadPoolExecutor(n_starts) as pool:
                took, _ = seconds(lambda: list(pool.map(descend, *zip(*starts, strict=True))))  # noqa: B023
            times[name].append(took / (n_steps * n_starts))
    each = {name: took[1:] for name, took in times.items()}
    return {"figure": "steps", "dim": d, "n": n, "n_starts": forms["ours"][1], **each}


def recalls(state: Any, seed: int) -> list[Record]:
    """Recall on the real LIMIT-small; the mean of three seeds where vectors are random."""
    folder = datasets.data_folder() / "limit"
    if not folder.is_dir():
        return [{"figure": "recall", "name": name, "missing": f"{folder} is missing"} for name in EXPECTED]
    data = limit.load_limit(folder)
    found = {"BM25": [limit.evaluate(data, limit.BM25(data.documents))]}
    for d in (32, 128, 512):
        runs = [limit.evaluate(data, limit.RandomAdditive(data, d, seed + i)) for i in range(3)]
        found[f"random additive {d}"] = runs
    records: list[Record] = []
    try:
        import encoders

        found[ENCODER] = [limit.evaluate(data, encoders.get(ENCODER))]
    except engine.UnsupportedError as error:
        records.append({"figure": "recall", "name": ENCODER, "missing": str(error)})
    for name, runs in found.items():
        means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        records.append({"figure": "recall", "name": name, **means})
    strength, density = limit.average_query_strength(data.qrels), limit.graph_density(data.qrels)
    return [*records, {"figure": "strength", "strength": strength, "density": density}]


def full_size(state: Any, rows: int, seed: int) -> list[Record]:
    """Time and memory to evaluate a retriever on a generated corpus of the full size."""
    data = limit.make_limit_dataset(rows, random_state=seed)
    records = []
    for name, make in (
        ("random additive 512", lambda: limit.RandomAdditive(data, 512, seed)),
        ("BM25", lambda: limit.BM25(data.documents)),
    ):
        found: dict[str, Any] = {}

        def work() -> None:
            found["seconds"], found["recall"] = seconds(lambda: limit.evaluate(data, make()))  # noqa: B023

        n_bytes = peak_extra_bytes(work)
        records.append({"figure": "full", "name": name, "rows": rows, "bytes": n_bytes, **found})
    return records


def audits(state: Any, rows: int, n_samples: int, seed: int) -> list[Record]:
    """Time to say which pairs of documents some query could find."""
    rng = np.random.default_rng(seed)
    limit.realizable_subsets(rng.standard_normal((5, 2)))  # loads scipy
    real = datasets.load(rows)
    few = unit(rng.standard_normal((20, 4)))
    # In fewer dimensions most pairs are out of reach, so that linear programmes have to say so.
    cases: list[tuple[str, NDArray[Any], float]] = [
        ("20 random documents in 4 dimensions", few, 0.5),
        (f"{len(real.vectors)} x {real.vectors.shape[1]}, {real.name}", real.vectors, 60),
        (f"the first 32 dimensions of {len(real.vectors)}", real.vectors[:, :32], 60),
    ]
    records = []
    for name, vectors, most in cases:
        took, found = seconds(lambda: limit.realizable_subsets(vectors, n_samples=n_samples, time_limit=600))  # noqa: B023
        facts = {"pairs": len(found.mask), "fraction": found.fraction, "exhausted": found.exhausted}
        records.append({"figure": "audit", "name": name, "seconds": took, "most": most, **facts})
    return records


def precision(state: Any) -> list[Record]:
    """Share of all pairs of 46 documents on the moment curve that searches in float32 and float16 find."""
    embedding, pairs = limit.cyclic_embedding(46, 2), limit.make_qrels(46)
    records = []
    for dtype in ("float32", "float16"):
        ids = engine.topk(embedding.query(pairs).astype(dtype), embedding.documents.astype(dtype), 2).ids
        share = float((np.sort(ids, axis=1) == pairs).all(axis=1).mean())
        records.append({"figure": "precision", "dtype": dtype, "share": share})
    return records


def report(records: Iterable[Record]) -> str:
    """Tables, and which targets were met."""
    by_figure: dict[str, list[Record]] = {}
    for record in records:
        by_figure.setdefault(record["figure"], []).append(record)
    parts = [part for name, tell in TELL.items() if (found := by_figure.get(name)) for part in [*tell(found), ""]]
    return count("\n".join(parts[:-1]))


def tell_critical(found: list[Record]) -> Iterator[str]:
    rows = [["dimension", "critical n", "published", "seconds"]]
    for one in found:
        published = limit.CRITICAL_N.get(one["dim"], 0)
        n = f"{'at least ' if one['exhausted'] else ''}{one['n']}"
        rows.append([str(one["dim"]), n, str(published), f"{one['seconds']:.1f}"])
    yield table(rows)
    for dims, most in ((SMALL, 60), ((LARGE,), 300)):
        some = [one for one in found if one["dim"] in dims]
        if {one["dim"] for one in some} == set(dims):
            total = sum(one["seconds"] for one in some)
            outside = [one["dim"] for one in some if not -1 <= one["n"] - limit.CRITICAL_N[one["dim"]] <= 4]
            what = f"dimensions {dims[0]} to {dims[-1]}: within -1 and +4 of the published n, in {most} s"
            where = f", outside: {outside}" if outside else ""
            yield verdict(what, f"{total:.1f} s{where}", total < most and not outside)


def tell_steps(found: list[Record]) -> Iterator[str]:
    for one in found:
        ours, plain = (float(np.median(one[name])) for name in ("ours", "numpy"))
        n = one["n"]
        what = f"a step in {one['dim']} dimensions, {n} documents, {comb(n, 2)} queries: 3x as fast as plain numpy"
        measured = (
            f"{plain / ours:.1f}x, {1e6 * ours:.0f} us against {1e6 * plain:.0f}, {one['n_starts']} starts at once"
        )
        yield verdict(what, measured, plain >= 3 * ours)


def tell_recall(found: list[Record]) -> Iterator[str]:
    for one in found:
        expected, slack = EXPECTED[one["name"]]
        what = f"{one['name']}: recall on LIMIT-small of {expected}, +-{slack}"
        if "missing" in one:
            yield unjudged(what, one["missing"])
            continue
        measured = {k: round(100 * one[f"recall@{k}"], 2) for k in expected}
        yield verdict(what, str(measured), all(abs(measured[k] - expected[k]) <= slack for k in expected))


def tell_strength(found: list[Record]) -> Iterator[str]:
    for one in found:
        measured = f"{one['strength']:.4f}, density {one['density']:.4f}"
        yield verdict("average query strength of LIMIT-small 28.4653", measured, abs(one["strength"] - 28.4653) < 1e-4)


def tell_full(found: list[Record]) -> Iterator[str]:
    for one in found:
        what = f"{one['name']} on {one['rows']} generated documents: within 30 s and 1 GB"
        recall = ", ".join(f"{key} {100 * share:.1f}" for key, share in one["recall"].items())
        measured = f"{one['seconds']:.1f} s, {one['bytes'] / 1e9:.2f} GB; {recall}"
        yield verdict(what, measured, one["seconds"] < 30 and one["bytes"] < 1e9)


def tell_audit(found: list[Record]) -> Iterator[str]:
    for one in found:
        what = f"which of {one['pairs']} pairs a query can find, {one['name']}: within {one['most']} s"
        measured = f"{one['seconds']:.2f} s, {100 * one['fraction']:.1f} %"
        yield verdict(what, measured, one["seconds"] < one["most"] and not one["exhausted"])


def tell_precision(found: list[Record]) -> Iterator[str]:
    shares = {one["dtype"]: one["share"] for one in found}
    measured = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    what = "46 documents on the moment curve: float32 finds all pairs, float16 does not"
    yield verdict(what, measured, shares["float32"] == 1 > shares["float16"])


TELL = {
    "critical": tell_critical,
    "steps": tell_steps,
    "recall": tell_recall,
    "strength": tell_strength,
    "full": tell_full,
    "audit": tell_audit,
    "precision": tell_precision,
}
