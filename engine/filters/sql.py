"""The condition of a SQL WHERE to a predicate, parsed by sqlglot."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .._validate import show
from ..exceptions import InvalidArgumentError, UnsupportedError
from .column import Column
from .leaves import IsIn
from .predicate import Group, Predicate
from .values import Value, as_time

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["from_sql"]

# By the names of sqlglot's expressions. Turned around: `5 < year` is `year > 5`.
COMPARISONS: dict[str, tuple[str, Callable[[Column, Any], Predicate]]] = {
    "EQ": ("EQ", lambda column, value: column == value),
    "NEQ": ("NEQ", lambda column, value: column != value),
    "LT": ("GT", lambda column, value: column < value),
    "LTE": ("GTE", lambda column, value: column <= value),
    "GT": ("LT", lambda column, value: column > value),
    "GTE": ("LTE", lambda column, value: column >= value),
}
TIMES = ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPNTZ", "DATETIME", "DATE")
LONG = 4096  # characters; longer texts are parsed each time


def from_sql(text: str) -> Predicate:
    """The predicate of a SQL condition: what may stand after ``WHERE``, without that word.

    Parameters
    ----------
    text : str
        Comparisons (``=, <>, !=, <, <=, >, >=``) of a column with a literal, ``[NOT] IN (...)``,
        ``[NOT] BETWEEN ... AND ...``, ``IS [NOT] NULL | TRUE | FALSE``, columns of bools, ``TRUE``, ``FALSE``, combined
        by ``AND, OR, NOT`` and parentheses. Sets: ``'a' IN tags`` and ``ARRAY_CONTAINS(tags, 'a')``,
        ``ARRAY_CONTAINS_ANY(tags, ['a', 'b'])``, ``ARRAY_CONTAINS_ALL(tags, ['a', 'b'])``, ``tags = ['a', 'b']``.
        Times: ``TIMESTAMP '2024-05-17 08:30:00'``, ``DATE '2024-05-17'`` or just the text. Names of columns are taken
        as they are written, upper and lower case; ``"quoted"`` where they are not plain words.

    Raises
    ------
    InvalidArgumentError
        A syntax error, with its line and column; anything that is more than a predicate.
    UnsupportedError
        sqlglot is not installed.
    """
    return _parse_and_keep(text) if len(text) <= LONG else _parse(text)


def _parse(text: str) -> Predicate:
    try:
        import sqlglot
    except ImportError as error:
        raise UnsupportedError(f"SQL filters need sqlglot ({error}): pip install 'nearfield[sql]'") from error
    try:
        return _condition(_parsed(text, sqlglot))
    except RecursionError:
        raise InvalidArgumentError(
            f"the SQL filter {show(text)} nests too deeply, expected 40 levels at most"
        ) from None


_parse_and_keep = lru_cache(1024)(_parse)


def _parsed(text: str, sqlglot: Any) -> exp.Expression:
    """The one expression that `text` is."""
    dialect = sqlglot.Dialect.get_or_raise(None)
    try:
        tokens = dialect.tokenize(text)
    except sqlglot.errors.TokenError:  # a quote or comment without an end
        lines = text.split("\n")
        raise _syntax_error(text, len(lines), len(lines[-1]), "the text ends within a quote or a comment") from None
    for token in tokens:
        if token.comments or token.token_type.name == "SEMICOLON":
            what = "a comment" if token.comments else "a semicolon"
            raise _syntax_error(text, token.line, token.col, f"it has {what}, expected one condition and nothing else")
    if not tokens:
        raise InvalidArgumentError(f"the SQL filter is {show(text)}, expected a condition such as year >= 2020")
    try:
        expressions = dialect.parser().parse_into(sqlglot.exp.Condition, tokens, text)
    except sqlglot.ParseError as error:
        first = error.errors[0] if error.errors else {}
        mark = first.get("highlight") or ""
        place = first.get("line") or 1, (first.get("col") or 1) - max(len(mark) - 1, 0)
        what = first.get("description") or "no condition"
        raise _syntax_error(text, *place, f"{what.split(' for <')[0]} near {show(mark)}") from None
    except RecursionError:
        raise
    except Exception as error:  # whatever else a parser does with any text
        raise _syntax_error(text, 1, 1, f"sqlglot cannot read it: {show(error)}") from error
    if len(expressions) != 1:
        raise _syntax_error(text, 1, 1, "expected one condition")
    return expressions[0]


def _syntax_error(text: str, line: int, column: int, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"the SQL filter {show(text)} is wrong at line {line}, column {column}: {what}")


def _refused(node: exp.Expression, why: str) -> InvalidArgumentError:
    try:
        text = node.sql()
    except Exception:  # trees of half a text need not be ones that sqlglot can write
        text = "..."
    return InvalidArgumentError(f"the SQL filter has {show(text)}, {why}")


def _parts(node: exp.Expression, *names: str) -> list[Any]:
    """The arguments of `node` by name; refused if it has others, which would be lost."""
    others = [name for name, value in node.args.items() if value and name not in names]
    if others:
        raise _refused(node, f"whose {' and '.join(others)} a predicate does not take")
    return [node.args.get(name) for name in names]


def _kind(node: object) -> str:
    return type(node).__name__


def _bare(node: Any) -> Any:
    """`node` without the parentheses around it."""
    while _kind(node) == "Paren":
        (node,) = _parts(node, "this")
    return node


def _condition(node: Any) -> Predicate:
    node = _bare(node)
    kind = _kind(node)
    if kind in ("And", "Or"):
        terms, pending = [], [node]
        while pending:  # a chain of thousands is a deep tree of one operator
            term = _bare(pending.pop())
            if _kind(term) == kind:
                pending.extend(_parts(term, "this", "expression"))
            else:
                terms.append(_condition(term))
        return Group("and" if kind == "And" else "or", tuple(terms))
    if kind == "Not":
        return ~_condition(*_parts(node, "this"))
    if kind == "Boolean":
        return Column.all_of() if node.this else Column.any_of()
    if kind == "Column":
        return IsIn(_column(node).name, (True,))
    if kind in COMPARISONS:
        left, right = map(_bare, _parts(node, "this", "expression"))
        if _kind(right) == "Column" and _kind(left) != "Column":
            left, right, kind = right, left, COMPARISONS[kind][0]
        return _compared(kind, left, right)
    if kind == "Between":
        this, low, high = _parts(node, "this", "low", "high")
        return _compared("GTE", this, low) & _compared("LTE", this, high)
    if kind == "Is":
        this, value = _parts(node, "this", "expression")
        column = _column(this)
        if _kind(value) == "Null":
            return column.is_null()
        if _kind(value) == "Boolean":
            return IsIn(column.name, (bool(value.this),)) & column.not_null()
    if kind == "In":
        this, expressions, field = _parts(node, "this", "expressions", "field")
        if field is None:
            return _column(this).isin([_literal(value) for value in expressions or ()])
        return _column(field).contains(_literal(this))  # type: ignore[arg-type]
    if kind == "ArrayContains":
        this, value = _parts(node, "this", "expression")
        return _column(this).contains(_literal(value))  # type: ignore[arg-type]
    if kind == "ArrayContainsAll":
        this, values = _parts(node, "this", "expression")
        return _column(this).contains_all(_list(values))
    if kind == "Anonymous" and str(node.this).upper() == "ARRAY_CONTAINS_ANY" and len(node.expressions) == 2:
        this, values = node.expressions
        return _column(this).contains_any(_list(values))
    raise _refused(node, "expected comparisons of a column with a literal, IN, BETWEEN, IS NULL, AND, OR and NOT only")


def _compared(kind: str, left: Any, right: Any) -> Predicate:
    column, right = _column(left), _bare(right)
    if _kind(right) == "Array" and kind in ("EQ", "NEQ"):
        found = column.equals_set(_list(right))
        return ~found if kind == "NEQ" else found
    value = _literal(right)
    return IsIn(column.name, (), null=True) if value is None else COMPARISONS[kind][1](column, value)


def _column(node: Any) -> Column:
    node = _bare(node)
    if _kind(node) != "Column":
        raise _refused(node, "expected the name of a column there")
    (name,) = _parts(node, "this")
    if _kind(name) != "Identifier" or not name.name:
        raise _refused(node, "expected the name of a column there")
    return Column(name.name)


def _list(node: Any) -> list[Value | None]:
    node = _bare(node)
    if _kind(node) != "Array":
        raise _refused(node, "expected a list such as ['a', 'b'] there")
    return [_literal(value) for value in _parts(node, "expressions")[0] or ()]


def _literal(node: Any) -> Value | None:
    node = _bare(node)
    kind = _kind(node)
    if kind == "Null":
        return None
    if kind == "Boolean":
        return bool(node.this)
    if kind == "Neg":
        (inner,) = map(_bare, _parts(node, "this"))
        if _kind(inner) == "Literal" and not inner.is_string:
            return -_number(inner)
    if kind == "Literal":
        return str(node.this) if node.is_string else _number(node)
    if kind == "Cast":
        this, to = _parts(node, "this", "to")
        if _kind(this) == "Literal" and this.is_string and to.sql() in TIMES:
            return as_time(this.this, f"{to.sql()} in the SQL filter")
    raise _refused(node, "expected a literal there: a text in '...', a number, TRUE, FALSE, NULL, a TIMESTAMP or DATE")


def _number(node: Any) -> int | float:
    text = str(node.this)
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise InvalidArgumentError(
            f"the SQL filter has the number {show(text)}, expected one of fewer digits"
        ) from None
