"""Rows as an Arrow table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..columns import TypedColumn
from ..exceptions import InvalidArgumentError
from .vectors import imported

__all__ = ["arrow_table"]


def arrow_table(ids: NDArray[np.int64], vectors: NDArray[np.float32], columns: Mapping[str, TypedColumn]) -> Any:
    """A ``pyarrow.Table`` of ``id`` (int64), ``vector`` (fixed-size list of float32) and the columns, NULL as null.

    Keywords are dictionaries of strings, sets of them lists of strings, timestamps microseconds in UTC.
    """
    for name in ("id", "vector"):
        if name in columns:
            raise InvalidArgumentError(f"the schema has a column {name!r}, which the table has already")
    arrow = imported("pyarrow", "pyarrow")
    types = {
        "keyword": arrow.dictionary(arrow.int32(), arrow.string()),
        "keywords": arrow.list_(arrow.string()),
        "int64": arrow.int64(),
        "float64": arrow.float64(),
        "bool": arrow.bool_(),
        "timestamp": arrow.timestamp("us", "UTC"),
    }
    held = {
        "id": arrow.array(ids),
        "vector": arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), vectors.shape[1]),
    }
    for name, column in columns.items():
        if column.type == "keyword":
            held[name] = arrow.array(column.values, arrow.string(), mask=column.nulls).dictionary_encode()
        else:
            held[name] = arrow.array(column.values, types[column.type], mask=column.nulls)
    return arrow.table(held)
