"""Typed columns as plain arrays and back: how they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import STORED, TypedColumn
from .exceptions import CorruptIndexError
from .filters.schema import ColumnType

__all__ = ["packed", "unpacked"]

Arrays = Mapping[str, NDArray[Any]]


def packed(column: TypedColumn) -> dict[str, NDArray[Any]]:
    """The arrays of one column.

    Parameters
    ----------
    column : TypedColumn

    Returns
    -------
    dict of str to ndarray
        ``nulls``, bool, where any is NULL. Numbers, bools and times (int64 microseconds): ``values``. Keywords:
        ``codes``, uint32, places in a dictionary of distinct words, whose UTF-8 bytes are ``text``, uint8, one after
        the other; ``text_ends``, int64, is where each of them ends. Sets of keywords have the codes of all members, and
        in ``set_ends``, int64, where those of each row end.

    Examples
    --------
    >>> from engine.columns import typed_columns
    >>> arrays = packed(typed_columns({"label": ["cat", "dog", None, "cat"]})["label"])
    >>> {name: array.tolist() for name, array in arrays.items() if name != "text"}
    {'nulls': [False, False, True, False], 'codes': [0, 1, 0, 0], 'text_ends': [3, 6]}
    >>> bytes(arrays["text"])
    b'catdog'
    >>> unpacked("keyword", arrays, 4).plain()
    ['cat', 'dog', None, 'cat']
    """
    arrays: dict[str, NDArray[Any]] = {"nulls": column.nulls} if column.nulls.any() else {}
    if column.type in STORED:
        return arrays | {"values": np.asarray(column.values)}
    rows = zip(column.values, column.nulls.tolist(), strict=True)
    if column.type == "keyword":
        codes: dict[str, int] = {}
        coded = [0 if null else codes.setdefault(value, len(codes)) for value, null in rows]
        return arrays | {"codes": np.array(coded, np.uint32)} | dictionary(codes)
    sets = [() if null else value for value, null in rows]
    codes = {}
    coded = [codes.setdefault(member, len(codes)) for member in chain.from_iterable(sets)]
    ends = np.cumsum([len(members) for members in sets], dtype=np.int64)
    return arrays | {"codes": np.array(coded, np.uint32), "set_ends": ends} | dictionary(codes)


def unpacked(kind: ColumnType, arrays: Arrays, n: int) -> TypedColumn:
    """The column of `n` rows that `packed` took apart; CorruptIndexError where it cannot be."""
    nulls = arrays["nulls"] if "nulls" in arrays else np.zeros(n, np.bool_)
    require(flat(nulls, np.bool_, n) and (nulls.view(np.uint8) <= 1).all(), "nulls")
    if kind in STORED:
        values = arrays.get("values")
        require(values is not None and flat(values, STORED[kind], n), "values")
        assert values is not None
        require(kind != "bool" or (values.view(np.uint8) <= 1).all(), "values")
        require(kind != "float64" or np.isfinite(values[~nulls]).all(), "values")
        return TypedColumn(kind, values, nulls)
    words = words_of(arrays)
    codes = arrays.get("codes")
    require(codes is not None and flat(codes, np.uint32), "codes")
    assert codes is not None
    if kind == "keyword":
        require(len(codes) == n and (codes[~nulls] < len(words)).all(), "codes")
        if not words:
            return TypedColumn(kind, [""] * n, nulls)
        held: list[Any] = [words[code] for code in np.where(nulls, 0, codes).tolist()]
        return TypedColumn(kind, held, nulls)
    ends = arrays.get("set_ends")
    require(ends is not None and flat(ends, np.int64, n) and rising(ends, len(codes)), "set_ends")
    assert ends is not None
    require((codes < len(words)).all(), "codes")
    members = [words[code] for code in codes.tolist()]
    sets = [tuple(members[begin:end]) for begin, end in pairwise([0, *ends.tolist()])]
    return TypedColumn(kind, sets, nulls)


def dictionary(words: Iterable[str]) -> dict[str, NDArray[Any]]:
    pieces = [word.encode() for word in words]
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    return {"text": np.frombuffer(b"".join(pieces), np.uint8), "text_ends": ends}


def words_of(arrays: Arrays) -> list[str]:
    text, ends = arrays.get("text"), arrays.get("text_ends")
    require(text is not None and flat(text, np.uint8), "text")
    require(ends is not None and flat(ends, np.int64), "text_ends")
    assert text is not None
    assert ends is not None
    require(rising(ends, len(text)), "text_ends")
    data = text.tobytes()
    try:
        return [data[begin:end].decode() for begin, end in pairwise([0, *ends.tolist()])]
    except UnicodeDecodeError as error:
        raise CorruptIndexError(f"text is not UTF-8: {error}") from None


def flat(array: NDArray[Any], dtype: Any, n: int | None = None) -> bool:
    return array.ndim == 1 and array.dtype == dtype and (n is None or len(array) == n)


def rising(ends: NDArray[np.int64], total: int) -> bool:
    """Whether `ends` cut `total` items into parts, one after the other."""
    steps = np.diff(ends, prepend=0)
    return bool((steps >= 0).all()) and (int(ends[-1]) if len(ends) else 0) == total


def require(holds: Any, name: str) -> None:
    if not holds:
        raise CorruptIndexError(f"array {name!r} of a column cannot be")
