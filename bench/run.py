"""Runs a benchmark: `python -m bench.run exact`, or `nearfield bench exact`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import engine

from . import datasets
from .exact import FIGURES, Record
from .measure import machine
from .peers import NAMES, OURS
from .report import report
from .tasks import Plan

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    default = Plan()
    args = argparse.ArgumentParser(prog="nearfield bench", description="Measure nearfield beside other libraries.")
    args.add_argument("workload", choices=["exact"], help="exact: exact search, everything the README's table shows")
    args.add_argument(
        "--only", metavar="NAME", action="append", choices=FIGURES, help=f"one of {', '.join(FIGURES)}; again for more"
    )
    args.add_argument("--quick", action="store_true", help="few rows and queries: does all work?")
    args.add_argument(
        "--peers", metavar="NAMES", type=library_names, help=f"comma-separated: {', '.join(NAMES)}; default all"
    )
    args.add_argument("--rows", type=at_least(1000), help="use only so many rows")
    args.add_argument("--repeats", type=at_least(1), help=f"rounds that count, default {default.repeats}")
    args.add_argument("--threads", dest="n_threads", type=at_least(1), help=f"for batches, default {default.n_threads}")
    args.add_argument("--seed", type=int, help="of masks, noise and made-up data, default 0")
    args.add_argument(
        "--out", type=Path, default=Path("bench-out/exact.jsonl"), help="raw measurements, default %(default)s"
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


def library_names(text: str) -> tuple[str, ...]:
    names = text.split(",")
    unknown = set(names) - set(NAMES)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; expected some of {', '.join(NAMES)}")
    return (OURS, *(name for name in names if name != OURS))


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
    plan = Plan.quick() if args.quick else Plan()
    given = {name: getattr(args, name) for name in ("rows", "repeats", "n_threads", "seed")} | {"libraries": args.peers}
    plan = dataclasses.replace(plan, **{name: value for name, value in given.items() if value is not None})
    records: list[Record] = []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w") as out:

        def keep(record: Record) -> None:
            records.append(record)
            line = json.dumps(record)
            print(line, file=out, flush=True)
            if args.json:
                print(line, flush=True)

        keep(describe(plan, quick=args.quick))
        for figure in args.only or FIGURES:
            print(f"measuring {figure} ...", file=sys.stderr, flush=True)
            for record in FIGURES[figure](plan):
                keep(record)
    if not args.json:
        print(report(records))
        print(f"\nraw measurements: {args.out}")
    return 0


def describe(plan: Plan, *, quick: bool) -> Record:
    """The first record: what is measured, where."""
    data = datasets.load(plan.rows, seed=plan.seed)
    rows, dim = data.vectors.shape
    return {
        "figure": "run",
        **machine(),
        "isa": engine.isa(),
        "data": data.name,
        "rows": rows,
        "dim": dim,
        "k": plan.k,
        "seed": plan.seed,
        "repeats": plan.repeats,
        "quick": quick,
    }


if __name__ == "__main__":
    raise SystemExit(main())
