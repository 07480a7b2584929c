"""A collection as one file: an index whose metadata say which of its arrays are columns. docs/file_format.md has it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._packed import packed, unpacked
from ._segments import Segments
from ._table import Table
from .attributes import filled
from .columns import loaded
from .exceptions import CorruptIndexError
from .index import Index
from .storage import write_container

__all__ = ["FORMAT", "read_collection", "write_collection"]

FORMAT = "nearfield.collection"
VERSION = 3  # 2 had columns as JSON


def read_collection(name: str, n_threads: int | None, *, mmap: bool = True) -> tuple[Table, dict[str, Any]]:
    """Rows and columns of the file `name`, and what the collection says besides.

    Raises
    ------
    CorruptIndexError
        It is damaged, or holds no collection.
    """
    index, arrays = Index._load(name, mmap=mmap, n_threads=n_threads)  # those of the columns among them
    meta = index.metadata.pop(FORMAT, None)
    if not isinstance(meta, dict):
        raise CorruptIndexError(f"{name} holds an index but no collection; open it with Index.load")
    if meta.get("version") not in (2, VERSION):
        given = meta.get("version")
        raise CorruptIndexError(f"{name} has collection version {given}, this release reads 2 and {VERSION}")
    try:
        schema = meta["schema"]
        if meta["version"] == 2:
            columns = loaded(schema, meta["columns"], len(index))
        else:
            if mmap:  # else all of them are verified
                arrays.verify(names=[key for held in meta["columns"].values() for key in held.values()])
            columns = {
                column: unpacked(schema[column], {role: arrays[key] for role, key in held.items()}, len(index))
                for column, held in meta["columns"].items()
            }
        if index.n_dead:  # a graph keeps their places, and so does what stands beside it
            places = np.maximum(np.cumsum(~index._dead().to_mask()) - 1, 0)
            columns = {name: column.some(places) for name, column in columns.items()}
        return Table(index, filled(schema, columns, len(index) + index.n_dead)), meta
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise CorruptIndexError(f"{name} is not a valid collection: {error}") from error


def write_collection(path: str | os.PathLike[str], index: Index, table: Table, meta: Mapping[str, Any]) -> None:
    """Write all rows, and what `meta` says besides, atomically."""
    whole = index.whole() if isinstance(index, Segments) else index
    whole._verify_file()
    parts = whole._core.parts()
    described: dict[str, dict[str, str]] = {}
    for i, (name, column) in enumerate(table.take(whole.ids).items()):
        arrays = packed(column)
        described[name] = {role: f"column{i}_{role}" for role in arrays}
        parts |= {described[name][role]: array for role, array in arrays.items()}
    header = whole._header()
    of_collection = {"version": VERSION, "schema": table.schema, "columns": described, **meta}
    header["metadata"] = whole.metadata | {FORMAT: of_collection}
    write_container(path, header, parts)
