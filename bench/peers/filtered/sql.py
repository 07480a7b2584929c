"""Predicates as the condition of a SQL WHERE, for the libraries that take one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.exceptions import UnsupportedError
from engine.filters.leaves import Between, Contains, IsIn
from engine.filters.predicate import Group, Leaf

from . import Predicate

__all__ = ["listed", "literal", "where"]


def where(predicate: Predicate, contains: Callable[[Contains], str]) -> str:
    """`predicate` as text; `contains` writes what sets are asked, in which dialects differ.

    Negations stand at the leaves, as operators where there are some.

    Examples
    --------
    >>> from engine import col
    >>> where((col("a") != "x") | ~col("n").between(1, 5), lambda leaf: "")
    "(a != 'x') OR (n < 1 OR n > 5)"
    """
    canonical = predicate.canonical
    if isinstance(canonical, Group):
        op = f" {canonical.op.upper()} "
        return op.join(f"({where(term, contains)})" for term in canonical.terms)
    return asked(canonical, contains)


def asked(leaf: Leaf, contains: Callable[[Contains], str]) -> str:
    if isinstance(leaf, IsIn):
        if leaf.is_comparison:
            return f"{leaf.column} {'!=' if leaf.negated else '='} {literal(leaf.values[0])}"
        return f"{leaf.column} {'NOT ' * leaf.negated}IN {listed(leaf.values)}"
    if isinstance(leaf, Between):
        # An open limit, negated, belongs to the other side.
        low = ("<=" if leaf.lo_open else "<") if leaf.negated else (">" if leaf.lo_open else ">=")
        high = (">=" if leaf.hi_open else ">") if leaf.negated else ("<" if leaf.hi_open else "<=")
        limits = [(op, limit) for op, limit in ((low, leaf.lo), (high, leaf.hi)) if limit is not None]
        return (" OR " if leaf.negated else " AND ").join(
            f"{leaf.column} {op} {literal(limit)}" for op, limit in limits
        )
    if isinstance(leaf, Contains):
        return contains(leaf)
    raise UnsupportedError(f"the predicate has {leaf}, expected comparisons, ranges and sets")


def literal(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def listed(values: tuple[Any, ...], brackets: str = "()") -> str:
    return f"{brackets[0]}{', '.join(map(literal, values))}{brackets[1]}"
