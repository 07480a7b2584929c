"""The values that predicates compare with: plain, hashable, and with one order over all types."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np

from .._validate import show
from ..exceptions import InvalidArgumentError

__all__ = ["Value", "as_time", "as_value", "as_values", "microseconds", "sort_key", "value_repr"]

Value = bool | int | float | str | datetime
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def as_value(value: object, name: str) -> Value:
    """`value` as one of the five plain types: numpy's scalars unpacked, times in UTC (naive ones are taken as UTC)."""
    if isinstance(value, (date, np.datetime64)):
        return as_time(value, name)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InvalidArgumentError(f"{name} is {show(value)}, expected text that UTF-8 can hold") from None
        return str(value)
    if isinstance(value, int):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgumentError(f"{name} is {value}, expected a finite number")
        return float(value)
    hint = "; is_null() asks for missing values" if value is None else ""
    raise InvalidArgumentError(f"{name} is {show(value)}, expected a str, int, float, bool or datetime{hint}")


def as_values(values: object, name: str) -> tuple[tuple[Value, ...], bool]:
    """The values of a list, and whether None is among them."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidArgumentError(f"{name} is {show(values)}, expected a list of values")
    given = list(values)
    found = tuple(as_value(value, f"{name}[{i}]") for i, value in enumerate(given) if value is not None)
    return found, len(found) < len(given)


def as_time(value: object, name: str) -> datetime:
    """`value`, a datetime, date, datetime64 or ISO 8601 text, as a datetime in UTC."""
    expected = "expected a datetime, a date or an ISO 8601 text such as '2024-05-17T08:30:00Z'"
    plain: object = value
    try:
        if isinstance(value, np.datetime64):
            plain = value.astype("datetime64[us]").item()
            if value.astype("datetime64[us]") != value and not np.isnat(value):
                raise InvalidArgumentError(f"{name} is {value}, expected whole microseconds")
        elif isinstance(value, str):
            plain = datetime.fromisoformat(value[:-1] + "+00:00" if value[-1:] in ("Z", "z") else value)
        if isinstance(plain, datetime):
            # Subclasses become plain; fold tells apart the two 2:30s of the day that clocks go back.
            parts = (plain.hour, plain.minute, plain.second, plain.microsecond, plain.tzinfo or timezone.utc)
            return datetime(plain.year, plain.month, plain.day, *parts, fold=plain.fold).astimezone(timezone.utc)
        if isinstance(plain, date):
            return datetime(plain.year, plain.month, plain.day, tzinfo=timezone.utc)
    except InvalidArgumentError:
        raise
    except (ValueError, TypeError, OverflowError):  # no time, or none that years 1 to 9999 hold
        pass
    raise InvalidArgumentError(f"{name} is {show(value)}, {expected}")


def microseconds(time: datetime) -> int:
    """Since the epoch."""
    return (time - EPOCH) // timedelta(microseconds=1)


def sort_key(value: Value) -> tuple[str, Any]:
    """Equal only for equal values of one type: 1, 1.0 and True stay apart."""
    return type(value).__name__, value


def value_repr(value: Value) -> str:
    if isinstance(value, datetime):
        return f"col.timestamp({value.isoformat().replace('+00:00', 'Z')!r})"
    return repr(value)
