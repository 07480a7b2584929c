"""Mongo-style dicts to predicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from .._validate import as_flag, show
from ..exceptions import InvalidArgumentError
from .column import Column
from .predicate import MAX_DEPTH, Predicate

__all__ = ["from_mongo"]

ALL_OF, ANY_OF = Column.all_of, Column.any_of
GROUPS: dict[str, Callable[..., Predicate]] = {
    "$and": ALL_OF,
    "$or": ANY_OF,
    "$nor": lambda *terms: ~ANY_OF(*terms),
}


def from_mongo(query: Mapping[str, Any]) -> Predicate:
    """The predicate of a Mongo-style dict.

    Parameters
    ----------
    query : mapping
        Names of columns with a value each (``{"year": 2020}``, None asking for missing ones) or with operators
        (``{"year": {"$gte": 2020}}``): ``$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $all, $not``; and lists of
        such dicts under ``$and``, ``$or`` and ``$nor``. What stands side by side must hold together; ``{}`` is true.

    Notes
    -----
    NULL is treated as in SQL, not as in MongoDB: ``$ne``, ``$nin``, ``$not`` and ``$nor`` leave out rows without a
    value. None means a missing value wherever it stands. A list as a value is a set: ``{"tags": ["a", "b"]}`` asks for
    just these two members, ``{"tags": "a"}`` and ``{"tags": {"$in": ["a", "b"]}}`` for sets that hold one of the
    values.

    Raises
    ------
    InvalidArgumentError
        An unknown operator (those near it are shown), an operator with a value that it does not take.
    """
    return _query(query, "the filter", 0)


def _query(query: object, where: str, depth: int) -> Predicate:
    _check_mapping(query, where, depth, "a dict of columns and conditions")
    terms = []
    for name, value in query.items():  # type: ignore[attr-defined]
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(
                f"{where} has the key {show(name)}, expected the name of a column or an operator"
            )
        if name in GROUPS:
            if not isinstance(value, (list, tuple)) or not value:
                raise InvalidArgumentError(f"{name} is {show(value)}, expected a list of dicts")
            inner = (_query(part, f"{name}[{i}]", depth + 1) for i, part in enumerate(value))
            terms.append(GROUPS[name](*inner))
        elif name.startswith("$"):
            raise _unknown(name, GROUPS, "a column's operators stand inside: {'year': {'$gte': 2020}}")
        else:
            terms.append(_condition(Column(name), value, depth + 1))
    return terms[0] if len(terms) == 1 else ALL_OF(*terms)


def _condition(column: Column, value: object, depth: int) -> Predicate:
    if not isinstance(value, Mapping):
        return _equal(column, value)
    where = f"the condition on {column.name!r}"
    _check_mapping(value, where, depth, "operators such as {'$gte': 2020}")
    if not value:
        raise InvalidArgumentError(f"{where} is {{}}, expected operators such as {{'$gte': 2020}}")
    terms = []
    for name, operand in value.items():
        if name == "$not":
            if not isinstance(operand, Mapping):
                raise InvalidArgumentError(f"$not of {column.name!r} is {show(operand)}, expected a dict of operators")
            terms.append(~_condition(column, operand, depth + 1))
        elif name in OPERATORS:
            terms.append(OPERATORS[name](column, operand))
        elif name in GROUPS:
            raise InvalidArgumentError(
                f"{name} stands inside {where}, expected it around: {{{name!r}: [{{...}}, {{...}}]}}"
            )
        else:
            raise _unknown(name, {**OPERATORS, "$not": None}, f"in {where}")
    return terms[0] if len(terms) == 1 else ALL_OF(*terms)


def _equal(column: Column, value: object) -> Predicate:
    if value is None:
        return column.is_null()
    if isinstance(value, (list, tuple, set, frozenset)):
        return column.equals_set(value)
    return column == value


def _among(column: Column, values: object) -> Predicate:
    """$in, where None stands for missing values."""
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise InvalidArgumentError(f"$in or $nin of {column.name!r} is {show(values)}, expected a list of values")
    present = column.isin([value for value in values if value is not None])
    if None not in values:
        return present
    return present | column.is_null() if len(values) > 1 else column.is_null()


def _exists(column: Column, value: object) -> Predicate:
    return column.not_null() if as_flag(value, f"$exists of {column.name!r}") else column.is_null()


def _all(column: Column, values: object) -> Predicate:
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise InvalidArgumentError(f"$all of {column.name!r} is {show(values)}, expected a list of keywords")
    return column.contains_all(values)


OPERATORS: dict[str, Callable[[Column, Any], Predicate]] = {
    "$eq": _equal,
    "$ne": lambda column, value: ~_equal(column, value),
    "$gt": lambda column, value: column > value,
    "$gte": lambda column, value: column >= value,
    "$lt": lambda column, value: column < value,
    "$lte": lambda column, value: column <= value,
    "$in": _among,
    "$nin": lambda column, values: ~_among(column, values),
    "$exists": _exists,
    "$all": _all,
}


def _check_mapping(value: object, where: str, depth: int, expected: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"{where} is {show(value)}, expected {expected}")
    if depth > 2 * MAX_DEPTH:
        raise InvalidArgumentError(f"the filter nests more than {2 * MAX_DEPTH} dicts")


def _unknown(name: object, known: Mapping[str, Any], where: str) -> InvalidArgumentError:
    near = get_close_matches(str(name), known, n=3, cutoff=0.4) or list(known)
    return InvalidArgumentError(f"{show(name)} is no operator: {where}; expected {', '.join(near)}")
