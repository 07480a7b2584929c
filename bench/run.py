"""Runs a benchmark: `python -m bench.run exact`, `ann`, `filtered`, ..., or `nearfield bench exact`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import engine

from . import ann, ann_report, attributes, datasets, encoders, filtered, filtered_report, limit, peers, startup
from .exact import FIGURES, Record
from .filtered_cells import CORRELATIONS, KINDS
from .measure import machine
from .peers import OURS
from .peers.ann import NAMES as APPROXIMATE
from .peers.filtered import NAMES as FILTERED
from .report import report
from .tasks import Plan

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    args = argparse.ArgumentParser(prog="nearfield bench", description="Measure nearfield beside other libraries.")
    workloads = args.add_subparsers(dest="workload", metavar="workload", required=True)

    default = Plan()
    exact = workload(
        workloads, "exact", run_exact, default.repeats, "exact search, everything the README's table shows"
    )
    exact.add_argument(
        "--only", metavar="NAME", action="append", choices=FIGURES, help=f"one of {', '.join(FIGURES)}; again for more"
    )
    exact.add_argument(
        "--peers",
        dest="libraries",
        metavar="NAMES",
        type=names_among(peers.NAMES, first=OURS),
        help=f"comma-separated: {', '.join(peers.NAMES)}; default all",
    )
    exact.add_argument(
        "--threads", dest="n_threads", type=at_least(1), help=f"for batches, default {default.n_threads}"
    )

    curves = ann.Plan()
    approximate = workload(workloads, "ann", run_ann, curves.repeats, "recall-QPS curves of approximate indexes")
    race_options(approximate, curves, APPROXIMATE)
    approximate.add_argument(
        "--builds",
        metavar="NUMBERS",
        type=whole_numbers,
        help="threads of further builds, comma-separated; only their time and memory count",
    )
    approximate.add_argument("--no-plot", dest="plot", action="store_false", help="do not draw the curves")

    cells = filtered.Plan()
    selective = workload(workloads, "filtered", run_filtered, cells.repeats, "filtered search, cell by cell of a grid")
    race_options(selective, cells, FILTERED)
    selective.add_argument(
        "--folder",
        dest="folders",
        action="append",
        type=Path,
        help="instead of the grid: files of arxiv-for-fanns or of big-ann-benchmarks' filter track; again for more",
    )
    selective.add_argument("--full", action="store_true", help="every kind of predicate, and 1, 10 and 100 neighbours")
    selective.add_argument(
        "--kinds",
        metavar="NAMES",
        type=names_among(KINDS),
        help=f"comma-separated: {', '.join(KINDS)}; default equality",
    )
    selective.add_argument(
        "--correlations",
        metavar="NAMES",
        type=names_among(CORRELATIONS),
        help=f"comma-separated: {', '.join(CORRELATIONS)}; default all",
    )
    selective.add_argument(
        "--selectivities",
        metavar="SHARES",
        type=shares,
        help=f"of rows that pass, comma-separated, default {', '.join(f'{share:g}' for share in cells.selectivities)}",
    )
    selective.add_argument(
        "--queries", dest="n_queries", type=at_least(10), help=f"of each cell, default {cells.n_queries}"
    )

    args_of: dict[str, argparse.ArgumentParser] = {}
    for name, task, summary in (
        ("startup", startup, "how soon a saved index answers"),
        ("attributes", attributes, "predicates over attributes, beside pandas and polars"),
        ("limit", limit, "capacity tests: free embeddings, LIMIT, and the audit of documents"),
        ("encoders", encoders, "encoders: speed beside the models' own loops, accuracy, and what a killed run costs"),
    ):
        args_of[name] = workload(workloads, name, partial(run_one, task), task.Plan.repeats, summary)
    args_of["encoders"].add_argument("--folder", type=Path, help="images, one subfolder a class; default: of Omniglot")
    args_of["encoders"].add_argument(
        "--only",
        dest="figures",
        metavar="NAMES",
        type=names_among(encoders.Plan.figures),
        help=f"comma-separated: {', '.join(encoders.Plan.figures)}; default all",
    )
    return args


def race_options(args: argparse.ArgumentParser, plan: ann.Plan | filtered.Plan, libraries: Iterable[str]) -> None:
    """Options of the workloads in which indexes are built and raced."""
    args.add_argument(
        "--datasets",
        metavar="NAMES",
        type=names_among(datasets.NAMED),
        help=f"comma-separated: {', '.join(datasets.NAMED)}; default {', '.join(plan.datasets)}",
    )
    args.add_argument(
        "--libraries",
        metavar="NAMES",
        type=names_among(libraries),
        help=f"comma-separated: {', '.join(libraries)}; default all",
    )
    args.add_argument(
        "--k", dest="ks", metavar="NUMBERS", type=whole_numbers, help="neighbours, comma-separated, default 10"
    )
    args.add_argument(
        "--threads", dest="n_threads", type=at_least(1), help=f"for building and batches, default {plan.n_threads}"
    )


def workload(
    workloads: Any, name: str, run: Callable[[argparse.Namespace], Run], repeats: int, summary: str
) -> argparse.ArgumentParser:
    """A subcommand with the options that all have."""
    args: argparse.ArgumentParser = workloads.add_parser(name, help=summary, description=f"Measure {summary}.")
    args.set_defaults(run=run)
    args.add_argument("--quick", action="store_true", help="few rows and queries: does all work?")
    args.add_argument("--rows", type=at_least(1000), help="use only so many rows")
    args.add_argument("--repeats", type=at_least(1), help=f"rounds that count, default {repeats}")
    args.add_argument("--seed", type=int, help="of all that is drawn or made up, default 0")
    args.add_argument(
        "--out", type=Path, default=Path(f"bench-out/{name}.jsonl"), help="raw measurements, default %(default)s"
    )
    args.add_argument("--json", action="store_true", help="print the raw measurements instead of the tables")
    return args


def at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is not at least {least}")
        return number

    return whole_number


def whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(map(at_least(1), text.split(",")))


def shares(text: str) -> tuple[float, ...]:
    found = tuple(map(float, text.split(",")))
    if not all(0 < share < 1 for share in found):
        raise argparse.ArgumentTypeError(f"{text} is not all between 0 and 1")
    return found


def names_among(known: Iterable[str], first: str | None = None) -> Callable[[str], tuple[str, ...]]:
    """Comma-separated names; `first` is always among them."""

    def names(text: str) -> tuple[str, ...]:
        given = text.split(",")
        unknown = set(given) - set(known)
        if unknown:
            expected = ", ".join(known)
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; expected some of {expected}")
        return tuple(dict.fromkeys(given if first is None else [first, *given]))

    return names


@dataclasses.dataclass(frozen=True)
class Run:
    """Records as they are measured, what they mean, and more to do with them at the end."""

    records: Iterator[Record]
    report: Callable[[Iterable[Record]], str]
    finish: Callable[[list[Record]], None] = lambda records: None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, keep the records as JSON lines, and print what they mean.

    Parameters
    ----------
    argv : sequence of str, optional
        For example ``["exact", "--only", "batch"]``. Default: those of the process.

    Returns
    -------
    int
        0: it ran. Whether the targets were met is in what it prints.
    """
    args = parser().parse_args(argv)
    run: Run = args.run(args)
    records: list[Record] = []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w") as out:
        for record in run.records:
            records.append(record)
            line = json.dumps(record)
            print(line, file=out, flush=True)
            if args.json:
                print(line, flush=True)
    if not args.json:
        print(run.report(records))
        print(f"\nraw measurements: {args.out}")
    run.finish(records)
    return 0


def planned(plan: Any, args: argparse.Namespace) -> Any:
    """`plan` with what was given instead."""
    given = {field.name: getattr(args, field.name, None) for field in dataclasses.fields(plan)}
    return dataclasses.replace(plan, **{name: value for name, value in given.items() if value is not None})


def progress(text: str) -> None:
    print(f"measuring {text} ...", file=sys.stderr, flush=True)


def run_exact(args: argparse.Namespace) -> Run:
    plan: Plan = planned(Plan.quick() if args.quick else Plan(), args)

    def records() -> Iterator[Record]:
        yield describe(plan, quick=args.quick)
        for figure in args.only or FIGURES:
            progress(figure)
            yield from FIGURES[figure](plan)

    return Run(records(), report)


def run_one(task: Any, args: argparse.Namespace) -> Run:
    """A workload that is one module: its Plan, what it measures and what it says of that."""
    plan = planned(task.Plan.quick() if args.quick else task.Plan(), args)

    def records() -> Iterator[Record]:
        yield {**where(plan, quick=args.quick), "rows": plan.rows}
        yield from task.measure(plan)

    return Run(records(), task.report)


def describe(plan: Plan, *, quick: bool) -> Record:
    """The first record: what is measured, where."""
    data = datasets.load(plan.rows, seed=plan.seed)
    rows, dim = data.vectors.shape
    return {
        **where(plan, quick=quick),
        "data": data.name,
        "rows": rows,
        "dim": dim,
        "k": plan.k,
    }


def where(plan: Any, *, quick: bool) -> Record:
    seed, repeats = plan.seed, plan.repeats
    return {"figure": "run", **machine(), "isa": engine.isa(), "seed": seed, "repeats": repeats, "quick": quick}


def run_ann(args: argparse.Namespace) -> Run:
    plan: ann.Plan = planned(ann.Plan.quick() if args.quick else ann.Plan(), args)

    return Run(
        raced(plan, ann.measure(plan), args),
        ann_report.report,
        (lambda found: draw(found, args.out)) if args.plot else Run.finish,
    )


def run_filtered(args: argparse.Namespace) -> Run:
    plan = filtered.Plan.full() if args.full else filtered.Plan()
    plan = planned(plan.quick() if args.quick else plan, args)
    return Run(raced(plan, filtered.measure(plan), args), filtered_report.report)


def raced(plan: ann.Plan | filtered.Plan, records: Iterable[Record], args: argparse.Namespace) -> Iterator[Record]:
    """`records` after that of the run; says on the way what is ready."""
    yield {**where(plan, quick=args.quick), "threads": plan.n_threads}
    for record in records:
        if record["figure"] in ("data", "build"):
            name = ", ".join(record[key] for key in ("data", "library") if key in record)
            print(f"{name}: {'missing' if 'missing' in record else 'ready'}", file=sys.stderr, flush=True)
        elif record["figure"] == "cell":
            progress(f"{record['kind']}, {record['correlation']}, {record['selectivity']:g}, k={record['k']}")
        yield record


def draw(records: list[Record], out: Path) -> None:
    try:
        from .plot import plot

        for path in plot(ann_report.races(records), out):
            print(f"curves: {path}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"no plot: it needs {error.name}, pip install 'nearfield[plot]'", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
