"""Columns of anything that speaks Arrow's C stream protocol, read through nanoarrow.

Buffers are decoded here: nanoarrow 0.9 copies arrays of string views, which is what polars has, wrongly (it crashes).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exceptions import InvalidArgumentError, UnsupportedError

__all__ = ["Raw", "arrow_array", "arrow_columns"]

# Values, and where there are none. A list says that by None itself.
Raw = tuple[NDArray[Any], NDArray[np.bool_]] | tuple[list[Any], None]

NUMBERS = {"c": "i1", "C": "u1", "s": "i2", "S": "u2", "i": "i4", "I": "u4", "l": "i8", "L": "u8"}
NUMBERS |= {"e": "f2", "f": "f4", "g": "f8", "tdD": "datetime64[D]", "tdm": "datetime64[ms]"}
OFFSETS: dict[str, Any] = {"u": np.int32, "U": np.int64, "+l": np.int32, "+L": np.int64}
INLINE = 12  # bytes that a string view holds itself


def arrow_columns(table: Any, name: str) -> list[tuple[str, Raw]]:
    """Names and values of the columns of `table`, which has ``__arrow_c_stream__``.

    Raises
    ------
    InvalidArgumentError
        No table, or a column of a type that attributes do not have.
    UnsupportedError
        nanoarrow is not installed.
    """
    stream = stream_of(table)
    schema = stream.get_schema()
    if schema.format != "+s":
        raise InvalidArgumentError(f"{name} is an Arrow array of format {schema.format!r}, expected a table")
    chunks = list(stream)
    columns = []
    for i in range(schema.n_children):
        column = schema.child(i)
        where = f"{name}[{column.name!r}]"
        columns.append((column.name, joined([decoded(chunk.child(i).view(), column, where) for chunk in chunks])))
    return columns


def arrow_array(values: Any, name: str) -> Raw:
    """`values`, which has ``__arrow_c_stream__`` or ``__arrow_c_array__``, as one column."""
    stream = stream_of(values)
    schema = stream.get_schema()
    return joined([decoded(chunk.view(), schema, name) for chunk in stream])


def stream_of(values: Any) -> Any:
    try:
        from nanoarrow import c_array_stream
    except ImportError as error:
        raise UnsupportedError(f"Arrow data needs nanoarrow ({error}): pip install 'nearfield[arrow]'") from error
    return c_array_stream(values)


def joined(chunks: list[Raw]) -> Raw:
    arrays = [(values, nulls) for values, nulls in chunks if isinstance(values, np.ndarray) and nulls is not None]
    if arrays:
        return np.concatenate([values for values, _ in arrays]), np.concatenate([nulls for _, nulls in arrays])
    return [value for values, _ in chunks for value in values], None


def decoded(view: Any, schema: Any, where: str) -> Raw:
    """The values of one array."""
    n, kind = view.length, schema.format
    if kind == "n":
        return [None] * n, None
    present = bits(view, 0, absent=True)
    if schema.dictionary is not None:
        codes = numbers(view, NUMBERS[kind]).tolist()
        values, nulls = decoded(view.dictionary, schema.dictionary, where)
        if nulls is not None:
            raise InvalidArgumentError(
                f"{where} is an Arrow dictionary of {schema.dictionary.format!r}, expected texts"
            )
        return [values[code] if there else None for code, there in zip(codes, present, strict=True)], None
    if kind == "b":
        return bits(view, 1, absent=False), ~present
    if kind in NUMBERS:
        return numbers(view, NUMBERS[kind]), ~present
    if kind.startswith("ts"):
        return numbers(view, f"datetime64[{kind[2]}]" if kind[2] == "s" else f"datetime64[{kind[2]}s]"), ~present
    if kind in OFFSETS:
        limits = buffer(view, 1, OFFSETS[kind])[view.offset : view.offset + n + 1].tolist() if n else [0]
        if kind.startswith("+"):
            held, nulls = decoded(view.child(0), schema.child(0), where)
            if nulls is not None:
                raise InvalidArgumentError(f"{where} has lists of format {schema.child(0).format!r}, expected of texts")
            pieces: list[Any] = [held[start:end] for start, end in pairwise(limits)]
        else:
            data = bytes(view.buffer(2))
            pieces = [data[start:end].decode() for start, end in pairwise(limits)]
        return [piece if there else None for piece, there in zip(pieces, present, strict=True)], None
    if kind == "vu":
        return viewed(view, present), None
    raise InvalidArgumentError(
        f"{where} has the Arrow format {kind!r}, expected integers, floats, bools, texts, dates, timestamps or lists "
        "of texts"
    )


def viewed(view: Any, present: NDArray[np.bool_]) -> list[str | None]:
    """Texts of string views: 16 bytes each, with the text in them or where it stands in a buffer of its own."""
    n = view.length
    if not n:
        return []
    raw = buffer(view, 1, np.uint8).reshape(-1, 16)[view.offset : view.offset + n]
    parts = np.ascontiguousarray(raw).view(np.int32)
    data = [bytes(view.buffer(i)) for i in range(2, view.n_buffers - 1)]  # the last holds their sizes
    texts: list[str | None] = []
    for row, (length, _, which, start) in enumerate(parts.tolist()):
        if not present[row]:
            texts.append(None)
        elif length <= INLINE:
            texts.append(raw[row, 4 : 4 + length].tobytes().decode())
        else:
            texts.append(data[which][start : start + length].decode())
    return texts


def buffer(view: Any, i: int, dtype: Any) -> NDArray[Any]:
    return np.frombuffer(view.buffer(i), dtype)


def numbers(view: Any, dtype: str) -> NDArray[Any]:
    if not view.length:
        return np.empty(0, dtype)
    stored = {"datetime64[D]": "i4"}.get(dtype, "i8" if dtype.startswith("datetime64") else dtype)
    found = buffer(view, 1, stored)[view.offset : view.offset + view.length]
    return found.astype("i8").view(dtype) if dtype.startswith("datetime64") else found


def bits(view: Any, i: int, *, absent: bool) -> NDArray[np.bool_]:
    """One bit a row, least significant first; `absent` for all where there is no buffer."""
    if not view.length or not view.buffer(i).size_bytes:
        return np.full(view.length, absent)
    unpacked = np.unpackbits(buffer(view, i, np.uint8), bitorder="little")
    return unpacked[view.offset : view.offset + view.length].astype(np.bool_)
