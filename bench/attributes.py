"""Predicates over attributes, beside pandas and polars: what a question takes, and what the columns weigh.

All get one thread and give the rows that pass: nearfield as a bitmap with its count, pandas and polars as a mask. Each
question is asked anew: nothing is kept of the answer. The first question to a column, which makes what later ones use,
has its own time.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from engine.columns import TypedColumn, typed_columns
from engine.filters import PredicateCache, col, resolve

from .measure import in_turns, seconds
from .report import count, table, timing, unjudged, verdict

__all__ = ["Plan", "measure", "report"]

Record = dict[str, Any]
OURS = "nearfield"
LIBRARIES = (OURS, "pandas", "polars")
# Target in seconds, or None: not judged.
QUESTIONS: dict[str, tuple[Any, float | None]] = {
    "equal, 25 % of rows": (col("section") == "s1", 20e-6),
    "equal, 0.05 % of rows": (col("section") == "s150", 20e-6),
    "equal, one row": (col("key") == "id-0000777", 20e-6),
    "range of ints, 0.01 %": (col("views").between(10_000_000, 10_100_000), 2e-3),
    "range of ints, 10 %": (col("views").between(0, 100_000_000), 2e-3),
    "range of floats, 38 %": (col("price").between(-0.5, 0.5), 2e-3),
    "range of times, 50 %": (col("day") >= "1985-01-01", 2e-3),
    "3 terms: equal, range, bool": ((col("section") == "s1") & (col("year") >= 2010) & (col("sold") == True), 1e-3),  # noqa: E712
    "3 terms: ranges": ((col("views") < 300_000_000) & col("price").between(-0.5, 0.5) & (col("year") >= 2010), 1e-3),
    "set contains": (col("tags").contains("t1"), None),
    "set contains two": (col("tags").contains_all(["t1", "t7"]), None),
}
CACHED = ("3 terms: equal, range, bool", 2e-6)
MOST_BYTES = 12


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes
    ----------
    rows : int
        Of the made-up table.
    n_calls : int
        Of one question in a repeat.
    repeats : int
        Rounds over all libraries; one more comes first and does not count.
    seed : int
        Of all values.
    """

    rows: int = 1_000_000
    n_calls: int = 20
    repeats: int = 5
    seed: int = 0

    @classmethod
    def quick(cls) -> Plan:
        """A look in seconds: says whether all works, not how fast it is."""
        return cls(rows=20_000, repeats=2)


def made_up(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    members = (rng.zipf(1.5, (n, 4)) % 200).tolist()
    return {
        "section": [f"s{value}" for value in (rng.zipf(1.3, n) % 1000).tolist()],
        "key": [f"id-{row:07d}" for row in range(n)],
        "views": rng.integers(0, 10**9, n),
        "price": rng.normal(size=n),
        "year": rng.integers(1990, 2025, n),
        "sold": rng.random(n) < 0.3,
        "day": rng.integers(0, 30 * 365 * 86400 * 10**6, n).astype("datetime64[us]"),
        "tags": [[f"t{value}" for value in dict.fromkeys(row)] for row in members],
    }


def measure(plan: Plan) -> Iterator[Record]:
    """Questions to each library in turn, the first of each library apart, then the bytes of our columns."""
    data = made_up(plan.rows, plan.seed)
    ours = core_attributes(typed_columns(data))
    ask: dict[str, Callable[[str], Any]] = {OURS: lambda question: resolve(QUESTIONS[question][0], ours)}
    for name in LIBRARIES[1:]:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield {"figure": "attributes", "library": name, "missing": "not installed"}
        else:
            ask[name] = {"pandas": pandas, "polars": polars}[name](data)
    asked = [
        (question, name) for question, name in product(QUESTIONS, ask) if not (name == "pandas" and "set" in question)
    ]
    first = {(question, name): seconds(lambda: ask[name](question)) for question, name in asked}  # noqa: B023

    def turn(key: tuple[str, str]) -> float:
        question, name = key
        ask[name](question)  # the others have had their turn since the last time: warm the caches again
        return seconds(lambda: again(partial(ask[name], question), plan.n_calls))[0] / plan.n_calls

    took = in_turns(asked, turn, repeats=plan.repeats, pause=0.01)
    for question, name in asked:
        found = first[question, name][1]
        yield {
            "figure": "attributes",
            "question": question,
            "library": name,
            "count": int(found.count() if name == OURS else found.sum()),
            "first": first[question, name][0],
            "seconds": took[question, name].seconds,
        }
    cache, predicate = PredicateCache(), QUESTIONS[CACHED[0]][0]
    n_cached = 1000 * plan.n_calls
    kept = in_turns(
        ["kept"],
        lambda _: seconds(lambda: again(partial(cache.resolve, predicate, ours, 0), n_cached))[0] / n_cached,
        repeats=plan.repeats,
    )
    yield {"figure": "kept", "seconds": kept["kept"].seconds}
    for name, values in data.items():
        raw = sum(map(len, values)) if ours.schema[name] == "keyword" else getattr(values, "nbytes", None)
        yield {"figure": "bytes", "column": name, "type": ours.schema[name], "nbytes": ours.nbytes(name), "raw": raw}


def again(ask: Callable[[], object], times: int) -> None:
    """Answers are dropped: kept ones would need new pages of memory each, which take longer than some questions do."""
    for _ in range(times):
        ask()


def core_attributes(columns: dict[str, TypedColumn]) -> Any:
    from engine._core import Attributes

    attributes = Attributes()
    for name, column in columns.items():
        attributes.add_column(name, column.type)
    n = len(next(iter(columns.values())).nulls)
    attributes.append(n, {name: (column.values, column.nulls) for name, column in columns.items()})
    return attributes


def pandas(data: dict[str, Any]) -> Callable[[str], Any]:
    import pandas as pd

    frame = pd.DataFrame({name: values for name, values in data.items() if name != "tags"})
    day = pd.Timestamp("1985-01-01")
    questions: dict[str, Callable[[], Any]] = {
        "equal, 25 % of rows": lambda: frame["section"] == "s1",
        "equal, 0.05 % of rows": lambda: frame["section"] == "s150",
        "equal, one row": lambda: frame["key"] == "id-0000777",
        "range of ints, 0.01 %": lambda: frame["views"].between(10_000_000, 10_100_000),
        "range of ints, 10 %": lambda: frame["views"].between(0, 100_000_000),
        "range of floats, 38 %": lambda: frame["price"].between(-0.5, 0.5),
        "range of times, 50 %": lambda: frame["day"] >= day,
        "3 terms: equal, range, bool": lambda: (frame["section"] == "s1") & (frame["year"] >= 2010) & frame["sold"],
        "3 terms: ranges": lambda: (
            (frame["views"] < 300_000_000) & frame["price"].between(-0.5, 0.5) & (frame["year"] >= 2010)
        ),
    }
    return lambda question: questions[question]()


def polars(data: dict[str, Any]) -> Callable[[str], Any]:
    os.environ["POLARS_MAX_THREADS"] = "1"  # read when it is imported
    from datetime import datetime

    import polars as pl

    frame = pl.DataFrame(data)
    c = pl.col
    questions: dict[str, Any] = {
        "equal, 25 % of rows": c("section") == "s1",
        "equal, 0.05 % of rows": c("section") == "s150",
        "equal, one row": c("key") == "id-0000777",
        "range of ints, 0.01 %": c("views").is_between(10_000_000, 10_100_000),
        "range of ints, 10 %": c("views").is_between(0, 100_000_000),
        "range of floats, 38 %": c("price").is_between(-0.5, 0.5),
        "range of times, 50 %": c("day") >= datetime(1985, 1, 1),
        "3 terms: equal, range, bool": (c("section") == "s1") & (c("year") >= 2010) & c("sold"),
        "3 terms: ranges": (c("views") < 300_000_000) & c("price").is_between(-0.5, 0.5) & (c("year") >= 2010),
        "set contains": c("tags").list.contains("t1"),
        "set contains two": c("tags").list.contains("t1") & c("tags").list.contains("t7"),
    }
    return lambda question: frame.select(questions[question]).to_series()


def report(records: Iterable[Record]) -> str:
    """The questions with how many times longer others take, the bytes, and whether targets are met."""
    records = list(records)
    run = records[0]
    asked = [record for record in records if record["figure"] == "attributes"]
    names = list(dict.fromkeys(record["library"] for record in asked if "question" in record))
    rows = [["QUESTIONS, us", "rows", *names, *(f"{name} / ours" for name in names[1:]), "first time, ms"]]
    verdicts = []
    for question, (_, target) in QUESTIONS.items():
        by = {record["library"]: record for record in asked if record.get("question") == question}
        took = {name: timing(record).median for name, record in by.items()}
        speeds = [f"{1e6 * took[name]:.1f}" if name in took else "-" for name in names]
        ratios = [f"{took[name] / took[OURS]:.0f} x" if name in took else "-" for name in names[1:]]
        rows.append([question, str(by[OURS]["count"]), *speeds, *ratios, f"{1e3 * by[OURS]['first']:.1f}"])
        differ = {record["count"] for record in by.values()} != {by[OURS]["count"]}
        if target is not None:
            verdicts.append(judged(f"{question} in {1e6 * target:.0f} us", took[OURS], target, run))
        if differ:
            verdicts.append(verdict(f"{question} as others", "other rows", met=False))
    for record in records:
        if "missing" in record:
            verdicts.append(unjudged(record["library"], record["missing"]))
        if record["figure"] == "kept":
            verdicts.append(judged(f"kept bitmap in {1e6 * CACHED[1]:.0f} us", timing(record).median, CACHED[1], run))
    columns = [["BYTES A ROW", "type", "all", "beyond the values"]]
    for record in (record for record in records if record["figure"] == "bytes"):
        per_row = record["nbytes"] / run["rows"]
        beyond = None if record["raw"] is None else per_row - record["raw"] / run["rows"]
        columns.append([record["column"], record["type"], f"{per_row:.1f}", "-" if beyond is None else f"{beyond:.1f}"])
        if beyond is not None:
            what = f"{record['column']}: at most {MOST_BYTES} bytes a row beyond the values"
            verdicts.append(verdict(what, f"{beyond:.1f}", beyond <= MOST_BYTES))
    return "\n\n".join([heading(run), table(rows), table(columns), count("\n".join(verdicts))])


def heading(run: Record) -> str:
    quick = "\nQUICK RUN: few rows. It shows that all works, not how fast it is." if run["quick"] else ""
    return (
        f"nearfield bench attributes: {run['rows']:,} rows, seed {run['seed']}\n"
        f"{run['cpu']}, {run['isa']}; commit {run['commit']}, python {run['python']}\n"
        f"one thread each, taking turns; median of {run['repeats']}{quick}"
    )


def judged(what: str, took: float, target: float, run: Record) -> str:
    if run["quick"]:
        return unjudged(what, "few rows")
    return verdict(what, f"{1e6 * took:.1f} us", took <= target)
