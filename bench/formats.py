"""Files that benchmarks of nearest neighbours are shared in; one that is damaged is a `CorruptIndexError`.

======================  ==============================================================================================
``.fvecs .fbin ...``    vectors: as `engine.interop.read_vectors` has them
``.ivecs``              each row: its length as int32, then so many int32; rows may differ in length
``.ibin``               of neighbours: uint32 rows, uint32 k, then all int32 ids, then, mostly, all float32 distances
``.spmat``              int64 rows, columns and entries, then a CSR matrix: int64 starts, int32 columns, float32 values
``.jsonl``              a JSON object a line
======================  ==============================================================================================

All numbers are little-endian.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import interop
from engine.exceptions import CorruptIndexError

__all__ = ["Sparse", "read_jsonl", "read_lists", "read_neighbours", "read_sparse", "read_vectors"]


class Sparse(NamedTuple):
    """Which columns each row has: those of row i are ``columns[starts[i] : starts[i + 1]]``."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    n_columns: int

    def row(self, number: int) -> NDArray[np.int32]:
        return self.columns[self.starts[number] : self.starts[number + 1]]


def read_vectors(path: Path, rows: int | None = None) -> NDArray[np.float32]:
    """The vectors of a file that `engine.interop.read_vectors` reads, all or the first `rows`; as float32."""
    vectors = np.ascontiguousarray(interop.read_vectors(path)[:rows], np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.argmax(~np.isfinite(vectors).all(axis=1)))
        raise CorruptIndexError(f"{path} has a number that is not finite in row {row}")
    return vectors


def read_neighbours(path: Path) -> NDArray[np.int64]:
    """Ids of the ``.ibin`` file of an exact answer."""
    n, k = header(path, "<u4", 2)
    expect_bytes(path, 8 + 8 * n * k, 8 + 4 * n * k)
    return np.fromfile(path, "<i4", n * k, offset=8).reshape(n, k).astype(np.int64)


def read_lists(path: Path) -> NDArray[np.int64]:
    """The rows of a ``.ivecs`` file, which may differ in length: the shorter ones are filled up with -1."""
    numbers = words(path)
    rows: list[NDArray[np.int32]] = []
    at = 0
    while at < len(numbers):
        length = int(numbers[at])
        if not 0 <= length < len(numbers) - at:
            left = len(numbers) - at - 1
            raise CorruptIndexError(f"{path} says that row {len(rows)} has {length} numbers, but {left} are left")
        rows.append(numbers[at + 1 : at + 1 + length])
        at += 1 + length
    table = np.full((len(rows), max([1, *map(len, rows)])), -1, np.int64)
    for filled, row in zip(table, rows, strict=True):
        filled[: len(row)] = row
    return table


def read_sparse(path: Path) -> Sparse:
    """The rows of a ``.spmat`` file; its values, which are all 1 where it holds tags, are left out."""
    n, n_columns, n_entries = header(path, "<i8", 3)
    if min(n, n_columns, n_entries) < 0:
        raise CorruptIndexError(
            f"{path} says {n} rows, {n_columns} columns, {n_entries} entries, expected none below 0"
        )
    expect_bytes(path, 8 * 3 + 8 * (n + 1) + 8 * n_entries)
    starts = np.fromfile(path, "<i8", n + 1, offset=24)
    columns = np.fromfile(path, "<i4", n_entries, offset=24 + starts.nbytes)
    if starts[0] != 0 or starts[-1] != n_entries or (np.diff(starts) < 0).any():
        raise CorruptIndexError(f"{path} has rows that do not follow each other from 0 to {n_entries}")
    if ((columns < 0) | (columns >= n_columns)).any():
        wrong = int(np.argmax((columns < 0) | (columns >= n_columns)))
        raise CorruptIndexError(f"{path} has column {columns[wrong]} in entry {wrong}, expected 0 to {n_columns - 1}")
    return Sparse(starts, columns, n_columns)


def read_jsonl(path: Path, rows: int | None = None) -> list[dict[str, Any]]:
    """The objects of a file, all or the first `rows`."""
    found: list[dict[str, Any]] = []
    number = 0
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if len(found) == rows:
                    break
                if line.strip():
                    found.append(as_object(json.loads(line), path, number))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CorruptIndexError(f"{path}, line {number or 1}: {error}") from error
    return found


def as_object(value: Any, path: Path, line: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CorruptIndexError(f"{path}, line {line} is {value!r}, expected a JSON object")
    return value


def words(path: Path) -> NDArray[np.int32]:
    """The whole file as int32; mapped, not read."""
    size = path.stat().st_size
    if size % 4:
        raise CorruptIndexError(f"{path} has {size} bytes, expected a multiple of 4")
    return np.memmap(path, "<i4", "r") if size else np.empty(0, np.int32)


def header(path: Path, dtype: str, count: int) -> list[int]:
    found: list[int] = np.fromfile(path, dtype, count).tolist()
    if len(found) < count:
        raise CorruptIndexError(f"{path} has {path.stat().st_size} bytes, too few for its header")
    return found


def expect_bytes(path: Path, *sizes: int) -> None:
    size = path.stat().st_size
    if size not in sizes:
        raise CorruptIndexError(f"{path} has {size} bytes, its header asks for {' or '.join(map(str, sizes))}")
