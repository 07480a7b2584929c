"""Columns beside the vectors: plain values in, arrays out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._validate import show
from .exceptions import InvalidArgumentError

__all__ = ["as_columns", "as_names", "column_array"]


def as_columns(attributes: Mapping[str, Any] | None, n: int) -> dict[str, list[Any]]:
    """`attributes` as lists of `n` plain values."""
    columns: dict[str, list[Any]] = {}
    if attributes is None:
        return columns
    if not isinstance(attributes, Mapping):
        raise InvalidArgumentError(f"attributes is {show(attributes)}, expected a mapping of names to {n} values each")
    for name, values in attributes.items():
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"attributes has the key {show(name)}, expected a name")
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise InvalidArgumentError(f"attributes[{name!r}] is {show(values)}, expected {n} values")
        column = [value.item() if isinstance(value, np.generic) else value for value in values]
        if len(column) != n:
            raise InvalidArgumentError(f"attributes[{name!r}] has {len(column)} values, expected {n}")
        for row, value in enumerate(column):
            if not (value is None or isinstance(value, (str, int)) or (isinstance(value, float) and isfinite(value))):
                where = f"attributes[{name!r}][{row}]"
                raise InvalidArgumentError(f"{where} is {show(value)}, expected a str, int, finite float, bool or None")
        columns[name] = column
    return columns


def as_names(value: Any, known: Iterable[str]) -> list[str]:
    """`value`, one name or several, as a list of names that are among `known`."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise InvalidArgumentError(f"columns is {show(value)}, expected some of {list(known)}")
    names = list(names)
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise InvalidArgumentError(f"columns has {show(name)}, expected some of {list(known)}")
    return names


def column_array(column: list[Any]) -> NDArray[Any]:
    """A column as an array: str, bool, int64 or float64 where all values are, otherwise objects."""
    kinds = set(map(type, column))
    plain = kinds <= {int, float} or kinds in ({bool}, {str})
    if plain and not (kinds == {str} and any(value.endswith("\0") for value in column)):  # numpy drops NULs at the end
        array = np.array(column)
        if array.dtype.kind in "biUf":
            return array
    return np.array([*column, None], dtype=object)[:-1]  # the None keeps numpy from unpacking
