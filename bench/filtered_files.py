"""Data sets of filtered search that come as files: arxiv-for-fanns, and the filter track of big-ann-benchmarks.

============================  ========================================================================================
arxiv-for-fanns               ``database_vectors.fvecs``, ``query_vectors.fvecs``, ``database_attributes.jsonl``, and
                              for each kind of filter ``*_query_attributes.jsonl`` and ``ground_truth_*.ivecs``: ``em``,
                              exact match, number_of_sub_categories is ``label``; ``r``, range, update_date lies in
                              ``range_start`` .. ``range_end``; ``emis``, exact match in a set, main_categories has
                              ``label``
filter track (yfcc)           ``base.*.u8bin``, ``query.*.u8bin`` (or ``fbin``), ``base.metadata.*.spmat``,
                              ``query.metadata.*.spmat``: rows pass that have all tags of the query; ``GT.*.ibin``
============================  ========================================================================================

Both are searched by squared Euclidean distance.

References
----------
Iff et al., *Benchmarking Filtered Approximate Nearest Neighbor Search Algorithms on Transformer-based Embedding
Vectors*, arXiv:2507.21989. The filter track: https://github.com/harsha-simhadri/big-ann-benchmarks, NeurIPS'23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine import col
from engine.exceptions import CorruptIndexError, InvalidArgumentError
from engine.filters import Predicate

from .columns import Columns
from .filtered_data import Workload, labelled
from .formats import read_jsonl, read_lists, read_neighbours, read_sparse, read_vectors
from .peers import Ids

__all__ = ["from_folder"]

Attributes = Mapping[str, Any]
ARXIV = "database_vectors.fvecs"
SUBS, DATE, MAINS = "number_of_sub_categories", "update_date", "main_categories"
ARXIV_FILTERS: dict[str, Callable[[Attributes], Predicate]] = {
    "em": lambda asked: col(SUBS).isin([asked["label"]]),
    "r": lambda asked: col(DATE).between(asked["range_start"], asked["range_end"]),
    "emis": lambda asked: col(MAINS).contains(asked["label"]),
}


def from_folder(folder: Path, rows: int | None, n_queries: int) -> Workload:
    """The data set in `folder`, known by its files; the first `rows` and queries of it.

    Raises
    ------
    FileNotFoundError
        There is none, or a file of it is missing.
    CorruptIndexError
        A file is damaged, or does not fit the others.
    """
    if (folder / ARXIV).exists():
        return arxiv(folder, rows, n_queries)
    if list(folder.glob("base.metadata*.spmat")):
        return filter_track(folder, rows, n_queries)
    raise FileNotFoundError(f"{folder} has neither {ARXIV} nor base.metadata*.spmat")


def arxiv(folder: Path, rows: int | None, n_queries: int) -> Workload:
    vectors = read_vectors(folder / ARXIV, rows)
    queries = read_vectors(folder / "query_vectors.fvecs", n_queries)
    path = folder / "database_attributes.jsonl"
    held = read_jsonl(path, len(vectors))
    fitting(path, len(held), len(vectors))
    values = {name: [row.get(name) for row in held] for name in (SUBS, DATE, MAINS)}
    for name, entries in values.items():
        is_good = is_texts if name == MAINS else is_whole
        for line, value in enumerate(entries, 1):
            if value is not None and not is_good(value):
                expected = "a list of texts" if name == MAINS else "a whole number"
                raise CorruptIndexError(f"{path}, line {line}: {name} is {value!r}, expected {expected}")
    columns = Columns(values, {SUBS: "int64", DATE: "int64", MAINS: "keywords"})
    asked = []
    for kind, predicate in ARXIV_FILTERS.items():
        path = folder / f"{kind}_query_attributes.jsonl"
        wanted = read_jsonl(path, len(queries))
        fitting(path, len(wanted), len(queries))
        right = whole(folder / f"ground_truth_{kind}.ivecs", read_lists, rows, len(vectors), len(queries))
        try:
            asked.append(labelled(kind.upper(), "as given", [predicate(row) for row in wanted], columns, right))
        except (KeyError, InvalidArgumentError) as error:
            raise CorruptIndexError(f"{path} has a row that asks nothing: {error}") from error
    return Workload(f"arxiv-for-fanns in {folder}", vectors, queries, "l2", columns, asked)


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(member, str) for member in value)


def filter_track(folder: Path, rows: int | None, n_queries: int) -> Workload:
    vectors = read_vectors(one(folder, "base.*bin"), rows)
    queries = read_vectors(one(folder, "query.*bin"), n_queries)
    paths = [one(folder, f"{part}.metadata*.spmat") for part in ("base", "query")]
    base, wanted = map(read_sparse, paths)
    fitting(paths[0], len(base.starts) - 1, len(vectors), exactly=rows is None)
    fitting(paths[1], len(wanted.starts) - 1, len(queries))
    columns = Columns(
        {"tags": [base.row(row).astype(str).tolist() for row in range(len(vectors))]}, {"tags": "keywords"}
    )
    predicates = [col("tags").contains_all(wanted.row(row).astype(str).tolist()) for row in range(len(queries))]
    right = whole(one(folder, "GT*.ibin"), read_neighbours, rows, len(vectors), len(queries))
    name = f"filter track in {folder}"
    return Workload(name, vectors, queries, "l2", columns, [labelled("tags", "as given", predicates, columns, right)])


def one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{folder} has no {pattern}")
    return found[0]


def whole(path: Path, read: Callable[[Path], Ids], rows: int | None, n: int, n_queries: int) -> Ids | None:
    """The exact answer, for the first queries; None where only some rows are searched, as it is for all."""
    if rows is not None:
        return None
    right = read(path)
    fitting(path, len(right), n_queries)
    if (right >= n).any():
        raise CorruptIndexError(f"{path} has the row {right.max()}, expected 0 to {n - 1}")
    return right[:n_queries]


def fitting(path: Path, found: int, expected: int, *, exactly: bool = False) -> None:
    if found < expected or (exactly and found != expected):
        raise CorruptIndexError(f"{path} has {found} rows, expected {expected}")
