"""The options of an index of kind "graph"."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ._validate import as_choice, as_count, show
from .exceptions import InvalidArgumentError
from .types import IndexKind

__all__ = ["GRAPH_OPTIONS", "graph_options"]

GRAPH_OPTIONS: dict[str, Any] = {"M": 32, "ef_construction": 200, "seed": 0, "layout": "plain"}  # and their defaults
LAYOUTS = ("plain", "fast")


def graph_options(kind: IndexKind, **given: int | str | None) -> dict[str, Any]:
    """The options of a graph, with defaults for those not given; empty for other kinds, which refuse them."""
    options = {}
    for name, default in GRAPH_OPTIONS.items():
        value = given[name]
        if kind != "graph":
            if value is not None:
                raise InvalidArgumentError(f"{name} is {show(value)}, expected None: it is for kind 'graph'")
            continue
        options[name] = default if value is None else CHECKS[name](value, name)
    return options


def as_seed(value: object, name: str) -> int:
    """`value` as an int of 0 to 2**64 - 1."""
    try:
        seed = -1 if isinstance(value, (bool, np.bool_)) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        seed = -1
    if not 0 <= seed < 2**64:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected an integer from 0 to 2**64 - 1")
    return seed


CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "M": as_count,
    "ef_construction": as_count,
    "seed": as_seed,
    "layout": lambda value, name: as_choice(value, name, LAYOUTS),
}
