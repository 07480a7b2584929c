"""Reads the records of `bench ann` and says, in tables and against the targets, what they mean.

Examples
--------
``python -m bench.ann_report bench-out/ann.jsonl`` prints again what the run printed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .curves import Point, qps_at
from .peers.ann import OURS
from .report import count, qps, read, table, timing, unjudged, verdict

__all__ = ["RECALLS", "Race", "races", "report"]

Record = dict[str, Any]
RECALLS = (0.9, 0.95, 0.99, 0.999)
BASELINE = "hnswlib"
COMPACT = f"{OURS}-compact"
JUDGED_K = 10  # the figures are for ten neighbours


@dataclass
class Race:
    """All that was measured on one data set for one k."""

    facts: Record
    k: int
    builds: dict[str, Record] = field(default_factory=dict)
    curves: dict[str, list[Point]] = field(default_factory=dict)
    calibrated: list[Record] = field(default_factory=list)
    batches: dict[tuple[str, int], Record] = field(default_factory=dict)
    single: dict[tuple[str, str], float] = field(default_factory=dict)  # QPS by library and value
    missing: dict[str, str] = field(default_factory=dict)
    more_builds: list[Record] = field(default_factory=list)
    n_groups: int = 1

    def at(self, library: str, recall: float) -> float | None:
        return qps_at(self.curves.get(library, ()), recall)

    def best(self, recall: float, *, ours: bool) -> tuple[str, float] | None:
        """The fastest of our rows, or of all others."""
        found = [(name, self.at(name, recall)) for name in self.curves if is_ours(name) == ours]
        reached = [(name, speed) for name, speed in found if speed is not None]
        return max(reached, key=lambda pair: pair[1], default=None)

    def why_missing(self, library: str) -> str:
        return f"{library} {'is missing' if library in self.missing else 'was not measured'}"


def is_ours(library: str) -> bool:
    return library.partition("-")[0] == OURS


def races(records: Iterable[Record]) -> list[Race]:
    """One for each data set and k, in the order measured."""
    records = list(records)
    found = []
    for facts in (record for record in records if record["figure"] == "data" and "missing" not in record):
        here = [record for record in records if record["figure"] != "data" and record.get("data") == facts["data"]]
        for k in dict.fromkeys(record["k"] for record in here if "k" in record):
            found.append(race(facts, k, [record for record in here if record.get("k", k) == k]))
        if not any("k" in record for record in here):
            found.append(race(facts, 0, here))
    return found


def race(facts: Record, k: int, records: list[Record]) -> Race:
    this = Race(facts, k, n_groups=1 + max((record["group"] for record in records), default=0))
    for record in records:
        name = record["library"]
        if "missing" in record:
            if record["figure"] != "calibrated":
                this.missing[name] = record["missing"]
        elif record["figure"] == "build":
            if name in this.builds:  # the one that is searched comes last
                this.more_builds.append(this.builds[name])
            this.builds[name] = record
        elif record["figure"] == "curve":
            this.curves.setdefault(name, []).append(Point(record["recall"], qps(record)))
            this.single[name, str(record["value"])] = qps(record)
        elif record["figure"] == "batch":
            this.batches[name, record["threads"]] = record
        else:
            this.calibrated.append(record)
    return this


def report(records: Iterable[Record]) -> str:
    """All data sets among `records`, each with its targets and whether they were met."""
    records = list(records)
    blocks = [heading(record) for record in records if record["figure"] == "run"]
    blocks += [
        f"DATA {record['data']}: not measured, {record['missing']}"
        for record in records
        if record["figure"] == "data" and "missing" in record
    ]
    found = races(records)
    for this in found:
        lines = [title(this), build_table(this), *notes(this), "", speed_table(this)]
        lines += filter(None, (batch_table(this), calibrated_table(this)))
        if this.k == JUDGED_K:
            lines += [line for judge in JUDGES for line in judge(this)]
        lines += judge_calibration(this)
        blocks.append("\n".join(lines))
    grown = "\n".join(judge_growth(found))
    return count("\n\n".join(filter(None, [*blocks, grown])))


def heading(run: Record) -> str:
    quick = "\nQUICK RUN: few rows, few queries. It shows that all works, not how fast it is." if run["quick"] else ""
    return (
        f"nearfield bench ann: approximate indexes, seed {run['seed']}\n"
        f"{run['cpu']}, {run['cores']} cores, {run['isa']}; commit {run['commit']}, python {run['python']}\n"
        f"each library in a process of its own, taking turns; median of {run['repeats']}\n"
        "QPS at a recall: between the two nearest points of a curve log QPS is linear in log(1 - recall); a library\n"
        f"whose weakest setting is better than that has the QPS of it, - is a recall that was not reached{quick}"
    )


def title(this: Race) -> str:
    facts = this.facts
    what = f"{facts['rows']:,} x {facts['dim']}, {facts['metric']}, k={this.k}, {facts['n_queries']:,} queries"
    return f"DATA {facts['data']}: {what}\n{facts['source']}"


def ratio(value: float | None, base: float | None) -> str:
    return "-" if value is None or not base else f"{value / base:.2f}x"


def build_table(this: Race) -> str:
    rows = [["library", "version", "build s", "of hnswlib's", "peak MB", "bytes/row", "of float32", "of hnswlib's"]]
    base = this.builds.get(BASELINE)
    base_took, base_nbytes = (timing(base).median, base["index_bytes"]) if base else (None, None)
    n, raw = this.facts["rows"], this.facts["raw_bytes"]
    for name, record in this.builds.items():
        took, nbytes = timing(record).median, record["index_bytes"]
        built = [f"{took:,.1f}", ratio(took, base_took), f"{record['peak_bytes'] / 1e6:,.0f}"]
        kept = [f"{nbytes / n:,.0f}", ratio(nbytes, raw), ratio(nbytes, base_nbytes)]
        rows.append([name, record["version"] or "-", *built, *kept])
    rows += [[name, "missing", *"------"] for name in this.missing]
    return table(rows)


def notes(this: Race) -> Iterator[str]:
    threads = {record["threads"] for record in this.builds.values()}
    if threads:
        yield f"built with {max(threads)} threads"
    for record in this.more_builds:
        yield f"{record['library']} with {record['threads']}: {timing(record).median:,.1f} s"
    for name, reason in this.missing.items():
        yield f"{name} is missing: {reason}"
    if this.n_groups > 1:
        yield f"the indexes did not fit into memory together: measured in {this.n_groups} groups, one after the other"


def speed_table(this: Race) -> str:
    rows = [["QPS at recall (of hnswlib's, of the best peer's)", *(f"{recall:g}" for recall in RECALLS), "best recall"]]
    bests = {recall: this.best(recall, ours=False) for recall in RECALLS}
    for name, points in this.curves.items():
        cells = []
        for recall in RECALLS:
            speed, best = this.at(name, recall), bests[recall]
            of_base, of_best = ratio(speed, this.at(BASELINE, recall)), ratio(speed, best and best[1])
            cells.append("-" if speed is None else f"{speed:,.0f} ({of_base}, {of_best})")
        rows.append([name, *cells, f"{max(point.recall for point in points):.4f}"])
    return table(rows)


def batch_table(this: Race) -> str:
    rows = [["all queries in one call", "value", "recall", "threads", "QPS", "of one at a time"]]
    for (name, n_threads), record in this.batches.items():
        alone = this.single.get((name, str(record["value"])))
        value = str(record["value"]).strip("[]()")
        cells = [f"{record['recall']:.4f}", str(n_threads), f"{qps(record):,.0f}", ratio(qps(record), alone)]
        rows.append([name, value, *cells])
    return "\n" + table(rows) if len(rows) > 1 else ""


def calibrated_table(this: Race) -> str:
    rows = [["recall asked for", "asked", "reached", "QPS"]]
    for record in this.calibrated:
        rows.append([record["library"], f"{record['value']:g}", f"{record['recall']:.4f}", f"{qps(record):,.0f}"])
    return "\n" + table(rows) if len(rows) > 1 else ""


def judge_speed(this: Race) -> Iterator[str]:
    for recall in RECALLS:
        ours, best = this.best(recall, ours=True), this.best(recall, ours=False)
        base, default = this.at(BASELINE, recall), this.at(OURS, recall)
        hnsw = None if base is None else (BASELINE, base)
        yield compare(this, f"recall {recall:g}: at least 3x hnswlib", ours, hnsw, 3)
        yield compare(this, f"recall {recall:g}: at least 1.1x the best peer", ours, best, 1.1)
        ours_default = None if default is None else (OURS, default)
        yield compare(this, f"recall {recall:g}: the default at least 2x hnswlib", ours_default, hnsw, 2)


def compare(
    this: Race, what: str, ours: tuple[str, float] | None, other: tuple[str, float] | None, times: float
) -> str:
    if not any(is_ours(name) for name in this.curves):
        return unjudged(what, this.why_missing(OURS))
    if other is None:
        return unjudged(what, "it was not reached by what we compare with")
    if ours is None:
        return verdict(what, "not reached", False)
    factor = ours[1] / other[1]
    measured, met = f"{factor:.2f}x {other[0]} ({ours[0]})", factor >= times
    return verdict(what, measured if met else f"{measured}; {floors(this, ours[0], other[0])}", met)


def floors(this: Race, *libraries: str) -> str:
    """What a query costs at least: the part of the time that no setting changes. docs/graph.md says what it is made of."""
    weakest = {name: max(this.curves[name], key=lambda point: point.qps) for name in libraries}
    costs = (f"{name} {1e6 / point.qps:.1f} us for {point.recall:.2f}" for name, point in weakest.items())
    return f"at the weakest settings {' and '.join(costs)}"


def judge_batch(this: Race) -> Iterator[str]:
    what = "batch on 2 threads at least 1.9x one at a time on 1"
    record = this.batches.get((OURS, 2))
    alone = None if record is None else this.single.get((OURS, str(record["value"])))
    if record is None or alone is None:
        yield unjudged(what, this.why_missing(OURS) if OURS in this.missing else "2 threads were not measured")
    else:
        yield verdict(what, f"{qps(record) / alone:.2f}x", qps(record) >= 1.9 * alone)


def judge_build(this: Race) -> Iterator[str]:
    what = "built in at most 0.5x hnswlib's time, at equal or better curves"
    ours, base = this.builds.get(OURS), this.builds.get(BASELINE)
    if ours is None or base is None:
        yield unjudged(what, this.why_missing(BASELINE if ours else OURS))
        return
    factor = timing(ours).median / timing(base).median
    worst = min(
        ((this.at(OURS, recall) or 0) / speed for recall in RECALLS if (speed := this.at(BASELINE, recall))),
        default=0.0,
    )
    yield verdict(what, f"{factor:.2f}x, curves at least {worst:.2f}x", factor <= 0.5 and worst >= 1)


def judge_bytes(this: Race) -> Iterator[str]:
    raw, base = this.facts["raw_bytes"], this.builds.get(BASELINE)
    what = "compact at most 0.40x hnswlib's bytes, recall 0.99 reachable"
    compact = this.builds.get(COMPACT)
    if compact is None or base is None:
        yield unjudged(what, this.why_missing(BASELINE if compact else COMPACT))
    else:
        factor = compact["index_bytes"] / base["index_bytes"]
        best = max((point.recall for point in this.curves.get(COMPACT, ())), default=0.0)
        yield verdict(what, f"{factor:.2f}x, best recall {best:.4f}", factor <= 0.4 and best >= 0.99)
    what = "default at most 1.15x the raw float32 bytes"
    ours = this.builds.get(OURS)
    if ours is None:
        yield unjudged(what, this.why_missing(OURS))
    else:
        factor = ours["index_bytes"] / raw
        beside = (ours["index_bytes"] - raw) / this.facts["rows"]
        yield verdict(what, f"{factor:.3f}x, {beside:,.0f} bytes a row beside the vectors", factor <= 1.15)


def judge_calibration(this: Race) -> Iterator[str]:
    what = f"k={this.k}: recall asked for reached within 0.01 on unseen queries"
    if not this.calibrated:
        yield unjudged(what, this.why_missing(OURS))
        return
    worst = min(this.calibrated, key=lambda record: record["recall"] - record["value"])
    gap = worst["recall"] - worst["value"]
    where = f"{worst['recall']:.4f} for {worst['value']:g} ({worst['library']})"
    yield verdict(what, f"at worst {where}", round(gap, 9) >= -0.01)


JUDGES: tuple[Callable[[Race], Iterator[str]], ...] = (judge_speed, judge_batch, judge_build, judge_bytes)


def judge_growth(found: list[Race]) -> Iterator[str]:
    """What ten times the rows cost, where both sizes of the made-up clusters were measured in full."""
    sizes = {this.facts["data"]: this for this in found if this.k == JUDGED_K}
    small, large = sizes.get("clustered-100k"), sizes.get("clustered")
    if small is None or large is None:
        return
    if (small.facts["rows"], large.facts["rows"]) != (100_000, 1_000_000):
        return
    yield "GROWTH: from 100,000 to 1,000,000 rows"
    rows = [["library", "QPS at 0.95 falls by", "build time grows by"]]
    for name in small.builds:
        if name not in large.builds:
            continue
        fall = ratio(small.at(name, 0.95), large.at(name, 0.95))
        rows.append([name, fall, ratio(timing(large.builds[name]).median, timing(small.builds[name]).median)])
    yield table(rows)
    before, after = small.at(OURS, 0.95), large.at(OURS, 0.95)
    what = "QPS at 0.95 falls by less than 2.2x"
    if OURS not in small.builds or OURS not in large.builds:
        yield unjudged(what, large.why_missing(OURS))
        return
    if before is None or after is None:
        yield verdict(what, "0.95 was not reached", False)
    else:
        yield verdict(what, f"{before / after:.2f}x", before / after < 2.2)
    grown = timing(large.builds[OURS]).median / timing(small.builds[OURS]).median
    yield verdict("build time grows by less than 13x", f"{grown:.2f}x", grown < 13)


if __name__ == "__main__":
    print(report(read(sys.argv[1])))
