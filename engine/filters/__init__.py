"""Predicates on attributes: `col` expressions, SQL conditions and Mongo-style dicts become one tree.

docs/filters.md shows all three, and what NULL does to them.
"""

from .cache import PredicateCache
from .column import Column, col
from .convert import as_predicate
from .evaluate import Attributes, count, resolve
from .function import udf
from .predicate import Predicate
from .schema import ColumnType, Schema, bind

__all__ = [
    "Attributes",
    "Column",
    "ColumnType",
    "Predicate",
    "PredicateCache",
    "Schema",
    "as_predicate",
    "bind",
    "col",
    "count",
    "resolve",
    "udf",
]
