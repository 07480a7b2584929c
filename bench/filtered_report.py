"""Reads the records of `bench filtered` and says, in tables and against the targets, what they mean: worst cell first.

Examples
--------
``python -m bench.filtered_report bench-out/filtered.jsonl`` prints again what the run printed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .ann_report import Race, build_table, notes
from .filtered import ENOUGH
from .peers.filtered import OURS, is_ours
from .report import count, qps, read, table, unjudged, verdict

__all__ = ["report"]

Record = dict[str, Any]
RECALL = 0.99  # what we ask for


class Peer(NamedTuple):
    """The fastest of those that find enough."""

    name: str
    qps: float


@dataclass
class Cell:
    """What every library did in one cell."""

    facts: Record
    points: dict[str, Record] = field(default_factory=dict)

    @property
    def name(self) -> list[str]:
        facts = self.facts
        return [
            facts["kind"],
            facts["correlation"],
            f"{facts['passing']:.4%}",
            f"{facts['local']:.2%}",
            str(facts["k"]),
        ]

    @property
    def ours(self) -> Record | None:
        return self.points.get(OURS)

    def qps(self, library: str, *, with_filter: bool) -> float:
        point = self.points[library]
        return qps({**point, "seconds": point["seconds_in" if with_filter else "seconds"]})

    def best(self, *, with_filter: bool) -> Peer | None:
        peers = [name for name, point in self.points.items() if not is_ours(name) and point["recall"] >= ENOUGH]
        found = [Peer(name, self.qps(name, with_filter=with_filter)) for name in peers]
        return max(found, key=lambda peer: peer.qps, default=None)

    def ratio(self, *, with_filter: bool) -> float | None:
        """Our QPS over that of the best peer; 0 where we do not find enough, None where no peer does."""
        if self.ours is None:
            return None
        if self.ours["recall"] < ENOUGH:
            return 0.0
        best = self.best(with_filter=with_filter)
        return None if best is None else self.qps(OURS, with_filter=with_filter) / best.qps


def report(records: Iterable[Record]) -> str:
    """All data sets among `records`, each with its targets and whether they were met."""
    records = list(records)
    blocks = [heading(record) for record in records if record["figure"] == "run"]
    for facts in (record for record in records if record["figure"] == "data"):
        if "missing" in facts:
            blocks.append(f"DATA {facts['data']}: not measured, {facts['missing']}")
            continue
        here = [record for record in records if record.get("data") == facts["data"]]
        blocks.append("\n".join(described(facts, here)))
    return count("\n\n".join(blocks))


def heading(run: Record) -> str:
    quick = "\nQUICK RUN: few rows, few queries. It shows that all works, not how fast it is." if run["quick"] else ""
    return (
        f"nearfield bench filtered: each query with its own filter, seed {run['seed']}\n"
        f"{run['cpu']}, {run['cores']} cores, {run['isa']}; commit {run['commit']}, python {run['python']}\n"
        f"one query at a time on 1 thread, libraries take turns; median of {run['repeats']}\n"
        f"we are asked for recall {RECALL:g}; a peer counts at its first setting that reaches {ENOUGH:g}\n"
        f"+filter: making the filter counts too, from numpy columns where a library has none; else it lies ready{quick}"
    )


def described(facts: Record, records: list[Record]) -> Iterator[str]:
    builds = {record["library"]: record for record in records if record["figure"] == "build"}
    missing = {name: record["missing"] for name, record in builds.items() if "missing" in record}
    n_groups = 1 + max((record.get("group", 0) for record in records), default=0)
    race = Race(facts, 0, {n: b for n, b in builds.items() if n not in missing}, missing=missing, n_groups=n_groups)
    what = f"{facts['rows']:,} x {facts['dim']}, {facts['metric']}, {facts['n_queries']:,} queries a cell"
    yield f"DATA {facts['data']}: {what}\n{facts['source']}"
    yield build_table(race)
    yield from notes(race)
    cells = cells_of(records)
    if not cells:
        return
    yield ""
    yield cell_table(cells)
    yield ""
    yield library_table(cells)
    yield from failures(records)
    yield from judge(cells)


def failures(records: Iterable[Record]) -> Iterator[str]:
    """Who gave no answer where, and why; each reason once."""
    cells: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record["figure"] == "point" and "missing" in record:
            cell = f"{record['kind']} {record['correlation']} {record['selectivity']:g} k={record['k']}"
            cells.setdefault((record["library"], record["missing"]), []).append(cell)
    for (library, reason), named in cells.items():
        yield f"{library} failed in {len(named)} cells, first {named[0]}: {reason}"


def cells_of(records: Iterable[Record]) -> list[Cell]:
    cells: dict[tuple[Any, ...], Cell] = {}
    for record in records:
        key = tuple(record.get(part) for part in ("kind", "correlation", "selectivity", "k"))
        if record["figure"] == "cell":
            cells.setdefault(key, Cell(record))
        elif record["figure"] == "point" and "missing" not in record:
            cells[key].points[record["library"]] = record
    return list(cells.values())


CELL = ["kind", "correlation", "passes", "near it", "k"]


def cell_table(cells: list[Cell]) -> str:
    """Our figures, the worst ratio first."""
    head = [
        "by",
        "recall",
        "worst tenth",
        "QPS",
        "p50 ms",
        "p99 ms",
        "best peer",
        "ratio",
        "QPS +filter",
        "best peer",
        "ratio",
    ]
    rows = [[*CELL, *head]]

    def ratio_or_last(cell: Cell) -> float:
        ratio = cell.ratio(with_filter=False)
        return math.inf if ratio is None else ratio

    for cell in sorted(cells, key=ratio_or_last):
        ours = cell.ours
        if ours is not None:
            rows.append(
                [
                    *cell.name,
                    "+".join(ours["ways"]),
                    f"{ours['recall']:.4f}",
                    f"{ours['worst_bucket']:.3f}",
                    f"{cell.qps(OURS, with_filter=False):,.0f}",
                    f"{1e3 * ours['p50_s']:.2f}",
                    f"{1e3 * ours['p99_s']:.2f}",
                    *versus(cell, with_filter=False),
                    f"{cell.qps(OURS, with_filter=True):,.0f}",
                    *versus(cell, with_filter=True),
                ]
            )
    return table(rows)


def versus(cell: Cell, *, with_filter: bool) -> list[str]:
    best, ratio = cell.best(with_filter=with_filter), cell.ratio(with_filter=with_filter)
    return ["-" if best is None else f"{best.name} {best.qps:,.0f}", "-" if ratio is None else f"{ratio:.2f}x"]


def library_table(cells: list[Cell]) -> str:
    """QPS of everyone, the filter ready; the recall in parentheses where it is not enough."""
    libraries = list(dict.fromkeys(name for cell in cells for name in cell.points))
    rows = [[*CELL, *libraries]]
    for cell in cells:
        rows.append([*cell.name, *(speed(cell, name) for name in libraries)])
    return table(rows)


def speed(cell: Cell, library: str) -> str:
    point = cell.points.get(library)
    if point is None:
        return "-"
    return f"{cell.qps(library, with_filter=False):,.0f}" if point["recall"] >= ENOUGH else f"({point['recall']:.2f})"


def judge(cells: list[Cell]) -> Iterator[str]:
    found = [(cell, cell.ours) for cell in cells if cell.ours is not None]
    what = f"recall at least {RECALL:g} in every cell"
    if not found:
        yield unjudged(what, f"{OURS} was not measured")
        return
    cell, worst = min(found, key=lambda pair: float(pair[1]["recall"]))
    reached = sum(ours["recall"] >= RECALL for _, ours in found)
    where = f"{reached} of {len(found)}, at worst {worst['recall']:.4f} ({', '.join(cell.name)})"
    yield verdict(what, where, reached == len(found))
    good = sum(ours["complete"] == ours["valid"] == 1 for _, ours in found)
    yield verdict("min(k, matches) rows that pass in every cell", f"{good} of {len(found)}", good == len(found))
    yield from judge_choice(cells)
    for with_filter, words in ((False, "filter ready"), (True, "filter counted")):
        ratios = [ratio for cell, _ in found if (ratio := cell.ratio(with_filter=with_filter)) is not None]
        if not ratios:
            yield unjudged(f"speed, {words}", f"no peer reached {ENOUGH:g}")
            continue
        share = sum(ratio >= 5 for ratio in ratios) / len(ratios)
        yield verdict(f"at least 5x the best peer in 70 % of the cells, {words}", f"{share:.0%}", share >= 0.7)
        yield verdict(
            f"at least 2x the best peer in every cell, {words}", f"at worst {min(ratios):.2f}x", min(ratios) >= 2
        )


def judge_choice(cells: list[Cell]) -> Iterator[str]:
    """Whether we choose how to search as well as could be, among the ways that were measured besides."""
    slower = []
    for cell in cells:
        ways = [name for name, point in cell.points.items() if is_ours(name) and point["recall"] >= ENOUGH]
        if OURS in ways and len(ways) > 1:
            speeds = {name: cell.qps(name, with_filter=False) for name in ways}
            slower.append(max(speeds.values()) / speeds[OURS])
    what = "within {:g}x of our best way to search in {:g} % of the cells"
    if not slower:
        yield unjudged(what.format(1.5, 90), "no other way was measured")
        return
    share = sum(times <= 1.5 for times in slower) / len(slower)
    yield verdict(what.format(1.5, 90), f"{share:.0%}", share >= 0.9)
    yield verdict(what.format(3, 100), f"at worst {max(slower):.2f}x", max(slower) <= 3)


if __name__ == "__main__":
    print(report(read(sys.argv[1])))
