"""Columns as numpy arrays: what predicates ask, and what a user without a filter engine would compare by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Bitmap
from engine.filters import ColumnType

__all__ = ["Columns"]

Mask = NDArray[np.bool_]


class Columns:
    """Typed columns without index: every question is a comparison of whole arrays.

    Parameters
    ----------
    values : mapping of str to sequence
        One entry a row: numbers, texts, or lists of texts; None is NULL.
    schema : mapping of str to {"int64", "float64", "bool", "keyword", "keywords"}

    Notes
    -----
    It answers as `engine.filters.Attributes` asks.

    Examples
    --------
    >>> from engine.filters import col, resolve
    >>> columns = Columns({"year": [2019, 2021], "tags": [["a"], ["a", "b"]]}, {"year": "int64", "tags": "keywords"})
    >>> resolve((col("year") > 2020) & col("tags").contains("a"), columns).rows().tolist()
    [1]
    """

    def __init__(self, values: Mapping[str, Sequence[Any]], schema: Mapping[str, ColumnType]) -> None:
        self.schema = dict(schema)
        self.values = dict(values)
        self._n = len(next(iter(self.values.values())))
        self._nulls: dict[str, Mask] = {}
        self._numbers: dict[str, NDArray[Any]] = {}
        self._codes: dict[str, dict[str, int]] = {}
        self._rows: dict[str, NDArray[np.int64]] = {}  # of each member of the sets
        for name, held in self.values.items():
            self._add(name, held)

    def _add(self, name: str, held: Sequence[Any]) -> None:
        is_array = isinstance(held, np.ndarray)
        nulls = np.zeros(self._n, bool) if is_array else np.array([value is None for value in held], bool)
        self._nulls[name] = nulls
        kind = self.schema[name]
        if kind in ("keyword", "keywords"):
            members = [value or () for value in held] if kind == "keywords" else [(value or "",) for value in held]
            self._rows[name] = np.repeat(np.arange(self._n), [len(value) for value in members])
            codes: dict[str, int] = {}
            flat = [codes.setdefault(value, len(codes)) for value in chain.from_iterable(members)]
            self._codes[name], self._numbers[name] = codes, np.array(flat, np.int32)
        else:
            dtype = {"int64": np.int64, "float64": np.float64, "bool": np.bool_}[kind]
            self._numbers[name] = np.asarray(held if is_array else [0 if v is None else v for v in held], dtype)

    def __len__(self) -> int:
        return self._n

    def take(self, name: str, rows: NDArray[np.int64]) -> tuple[Any, Mask]:
        values = [self.values[name][row] for row in rows]
        nulls = self._nulls[name][rows]
        return (values if name in self._codes else self._numbers[name][rows]), nulls

    def equal(self, name: str, values: Sequence[Any]) -> Bitmap:
        wanted: Sequence[Any] = values
        if name in self._codes:
            wanted = [self._codes[name][value] for value in values if value in self._codes[name]]
        numbers = self._numbers[name]
        return self._known(name, numbers == wanted[0] if len(wanted) == 1 else np.isin(numbers, wanted))

    def between(self, name: str, lo: Any, hi: Any, lo_open: bool, hi_open: bool) -> Bitmap:
        numbers = self._numbers[name]
        inside = np.ones(self._n, bool)
        if lo is not None:
            inside &= numbers > lo if lo_open else numbers >= lo
        if hi is not None:
            inside &= numbers < hi if hi_open else numbers <= hi
        return self._known(name, inside)

    def contains(self, name: str, values: Sequence[str], mode: str) -> Bitmap:
        known = [self._codes[name][value] for value in values if value in self._codes[name]]
        rows = self._rows[name]
        hits = np.bincount(rows[np.isin(self._numbers[name], known)], minlength=self._n)
        if mode == "any":
            return self._known(name, hits > 0)
        inside = hits == len(values)
        return self._known(name, inside if mode == "all" else inside & (np.bincount(rows, minlength=self._n) == hits))

    def nulls(self, name: str) -> Bitmap:
        return Bitmap(self._nulls[name])

    def count_equal(self, name: str, values: Sequence[Any]) -> int:
        return self.equal(name, values).count()

    def count_between(self, name: str, lo: Any, hi: Any, lo_open: bool, hi_open: bool) -> int:
        return self.between(name, lo, hi, lo_open, hi_open).count()

    def _known(self, name: str, mask: Mask) -> Bitmap:
        return Bitmap(mask & ~self._nulls[name])
