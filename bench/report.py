"""Reads the records of a run and says, in a table and against the targets, what they mean.

Examples
--------
``python -m bench.report bench-out/exact.jsonl`` prints again what the run printed.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .measure import Timing
from .peers import OURS

__all__ = ["count", "qps", "read", "report", "table", "timing", "unjudged", "verdict"]

Record = dict[str, Any]
UNITS = {"ms": 1e3, "us": 1e6}  # in a second
MET, MISSED = "[met]     ", "[NOT MET] "


def read(path: str | Path) -> list[Record]:
    """Records of a JSON lines file."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def report(records: Iterable[Record]) -> str:
    """All figures among `records`, each with its target and whether it was met."""
    records = list(records)
    blocks = [heading(record) for record in records if record["figure"] == "run"]
    for figure, describe in DESCRIBE.items():
        found = [record for record in records if record["figure"] == figure]
        if found:
            run = next((record for record in records if record["figure"] == "run"), {})
            blocks.append("\n".join(describe(found, run)))
    return count("\n\n".join(blocks))


def count(text: str) -> str:
    """`text`, and how many of its verdicts are good."""
    n_met, n_missed = text.count(MET), text.count(MISSED)
    return f"{text}\n\ntargets met: {n_met} of {n_met + n_missed}"


def heading(run: Record) -> str:
    quick = "\nQUICK RUN: few rows, few queries. It shows that all works, not how fast it is." if run["quick"] else ""
    return (
        f"nearfield bench exact: {run['rows']:,} x {run['dim']}, cosine, k={run['k']}, seed {run['seed']}\n"
        f"data: {run['data']}\n"
        f"{run['cpu']}, {run['cores']} cores, {run['isa']}; commit {run['commit']}, python {run['python']}\n"
        f"each library in a process of its own, taking turns; median of {run['repeats']} (min - max){quick}"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be: the first to the left, the others to the right.

    Examples
    --------
    >>> print(table([["name", "n"], ["a", "100"]]))
    name    n
    a     100
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def verdict(what: str, measured: str, met: bool) -> str:
    return f"{MET if met else MISSED} {what}: {measured}"


def unjudged(what: str, reason: str) -> str:
    return f"           {what}: not judged, {reason}"


def timing(record: Record) -> Timing:
    return Timing(tuple(record["seconds"]))


def qps(record: Record) -> float:
    return float(record["n_queries"] / timing(record).median)


def percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def spread(record: Record, per: int = 1, unit: str = "ms") -> str:
    times, scale = timing(record), UNITS[unit] / per
    return f"{scale * times.median:,.2f} ({scale * times.min:,.2f} - {scale * times.max:,.2f})"


def race_table(found: list[Record], n: int, unit: str = "ms") -> str:
    """All libraries, the fastest first; those that are missing last."""
    timed = sorted((record for record in found if "seconds" in record), key=qps, reverse=True)
    best = max((qps(record) for record in timed if record["library"] != OURS), default=None)
    rows = [
        [
            "library",
            "version",
            "QPS",
            f"{unit} a query" if n > 1 else unit,
            "against best peer",
            "ids = float64",
            "within float32",
        ]
    ]
    for record in timed:
        ratio = "-" if best is None else f"{qps(record) / best:.2f}x"
        right = [percent(record["identical"]), percent(record["within_float32"])]
        rows.append(
            [record["library"], record["version"] or "-", f"{qps(record):,.1f}", spread(record, n, unit), ratio, *right]
        )
    rows += [[record["library"], record["missing"], *"-----"] for record in found if "missing" in record]
    return table(rows)


def ours_and_best(found: list[Record], peers: Sequence[str] = ()) -> tuple[Record | None, Record | None]:
    """Our record and that of the fastest peer (among `peers`, if given)."""
    timed = [record for record in found if "seconds" in record]
    ours = next((record for record in timed if record["library"] == OURS), None)
    others = [record for record in timed if record["library"] != OURS and (not peers or record["library"] in peers)]
    return ours, max(others, key=qps, default=None)


def faster(found: list[Record], times: float) -> Iterator[str]:
    ours, best = ours_and_best(found)
    if ours is None:
        return
    what = f"at least {times:g}x the fastest peer"
    if best is None:
        yield unjudged(what, "no peer ran")
    else:
        ratio = qps(ours) / qps(best)
        yield verdict(what, f"{ratio:.2f}x {best['library']}", ratio >= times)
    yield right_ids([ours])


def right_ids(ours: list[Record]) -> str:
    worst = min(record["identical"] for record in ours)
    return verdict("ids identical to float64", percent(worst), worst == 1)


def single(found: list[Record], run: Record) -> Iterator[str]:
    n = found[-1]["n_queries"]
    yield f"SINGLE: one query at a time, 1 thread ({n} queries)"
    yield race_table(found, n)
    yield from faster(found, 8)


def batch(found: list[Record], run: Record) -> Iterator[str]:
    n, n_threads = found[-1]["n_queries"], found[-1]["threads"]
    yield f"BATCH: {n:,} queries in one call, {n_threads} threads"
    yield race_table(found, n)
    yield from faster(found, 4)
    ours, _ = ours_and_best(found)
    if ours and run:
        peak = statistics.median(ours["int8_peak"])
        reached = 2 * qps(ours) * run["rows"] * run["dim"]
        measured = f"{percent(reached / peak)} ({reached / 1e9:,.0f} of {peak / 1e9:,.0f} Gop/s on {n_threads} threads)"
        yield verdict("at least 65 % of the int8 peak", measured, reached >= 0.65 * peak)


def memory(found: list[Record], run: Record) -> Iterator[str]:
    n, n_threads = found[-1]["n_queries"], found[-1]["threads"]
    yield f"MEMORY: peak extra memory of one call with {n:,} queries, {n_threads} threads, each in a fresh process"
    rows = [["library", "version", "extra MB", "seconds"]]
    for record in found:
        if "missing" in record:
            rows.append([record["library"], record["missing"], "-", "-"])
        else:
            extra = f"{record['extra_bytes'] / 1e6:,.1f}"
            rows.append([record["library"], record["version"] or "-", extra, f"{timing(record).median:,.2f}"])
    yield table(rows)
    for record in found:
        if record["library"] == OURS and "extra_bytes" in record:
            yield verdict("under 200 MB", f"{record['extra_bytes'] / 1e6:,.1f} MB", record["extra_bytes"] < 200e6)


def masks(found: list[Record], run: Record) -> Iterator[str]:
    yield "MASKS: random rows allowed, time against the same search without a mask"
    rows = [["rows allowed", "threads", "queries", "ms a query", "of unmasked time", "ids = float64"]]
    verdicts, slowest = [], 0.0
    for shape, name in (("single", "one at a time"), ("batch", "one call")):
        shares = {record["share"]: record for record in found if record["shape"] == shape}
        for share, record in sorted(shares.items(), reverse=True):
            n = record["n_queries"]
            part = timing(record).median / timing(shares[1.0]).median
            cells = [str(record["threads"]), f"{n:,}", spread(record, n), percent(part), percent(record["identical"])]
            rows.append([f"{percent(share)}, {name}", *cells])
            if share < 1:
                slowest = max(slowest, part)
            if 0.01 <= share < 1:
                what = f"{percent(share)} mask, {name}: at most 1.5x its share of the unmasked time"
                verdicts.append(verdict(what, f"{part / share:.2f}x", part <= 1.5 * share))
    yield table(rows)
    yield from verdicts
    yield verdict("never slower than unmasked", f"{slowest:.2f}x", slowest <= 1)
    yield right_ids(found)


def one_shot(found: list[Record], run: Record) -> Iterator[str]:
    for n_threads in sorted({record["threads"] for record in found}):
        here = [record for record in found if record["threads"] == n_threads]
        yield f"ONE SHOT: one query from the raw matrix, index creation included, threads: {n_threads}"
        yield race_table(here, 1)
        ours, best = ours_and_best(here, ("faiss", "numpy"))
        if ours is None:
            continue
        what = "at most 1.1x the time of faiss or numpy, whichever is faster"
        if best is None:
            yield unjudged(what, "neither ran")
        else:
            ratio = timing(ours).median / timing(best).median
            yield verdict(what, f"{ratio:.2f}x {best['library']}", ratio <= 1.1)
        yield right_ids([ours])


def few(found: list[Record], run: Record) -> Iterator[str]:
    for n_rows in sorted({record["rows"] for record in found}):
        here = [record for record in found if record["rows"] == n_rows]
        n, k = here[-1]["n_queries"], here[-1]["k"]
        yield f"FEW: {n:,} queries in one call among the {n_rows:,} rows of a raw matrix, 1 thread, k={k}"
        yield race_table(here, n, "us")
        ours, _ = ours_and_best(here)
        if ours:
            yield right_ids([ours])


def codes(found: list[Record], run: Record) -> Iterator[str]:
    yield "CODES: codes and bookkeeping beside the vectors; Index.add of all rows, 1 thread"
    rows = [["vectors kept as", "codes MB", "of float16 vectors", "add ms"]]
    verdicts = []
    for record in found:
        part, took = record["codes_nbytes"] / record["float16_nbytes"], timing(record).median
        rows.append([record["dtype"], f"{record['codes_nbytes'] / 1e6:,.1f}", f"{part:.3f}x", spread(record)])
        verdicts.append(verdict(f"{record['dtype']}: at most 0.7x of the float16 bytes", f"{part:.3f}x", part <= 0.7))
        verdicts.append(
            verdict(f"{record['dtype']}: codes built in under 0.5 s on one core", f"{took:.3f} s", took < 0.5)
        )
    yield table(rows)
    yield from verdicts


def imports(found: list[Record], run: Record) -> Iterator[str]:
    yield "IMPORT: a new interpreter imports it"
    yield table([["module", "ms"], *([record["library"], spread(record)] for record in found)])
    for record in found:
        if record["library"] == "engine":
            took, heavy = timing(record).median, record["heavy"]
            yield verdict("under 0.3 s", f"{took:.3f} s", took < 0.3)
            yield verdict("none of the heavy packages", ", ".join(heavy) or "none", not heavy)


DESCRIBE: dict[str, Callable[[list[Record], Record], Iterator[str]]] = {
    "single": single,
    "batch": batch,
    "memory": memory,
    "masks": masks,
    "one_shot": one_shot,
    "few": few,
    "codes": codes,
    "import": imports,
}


if __name__ == "__main__":
    print(report(read(sys.argv[1])))
