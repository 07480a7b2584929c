"""Predicates: one immutable tree behind `col`, SQL and Mongo-style dicts.

Logic has three values, as in SQL. A tree is kept as it was written, and brought into its one canonical form when it is
first compared, hashed, shown or resolved: negations pushed down to the leaves, groups within groups of one kind
flattened, leaves about one column merged where no row tells the difference (rows with NULL and negations of the whole
included), terms sorted and without repetition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from operator import is_
from typing import Any, Generic, Literal, NoReturn, TypeVar

from .._validate import show
from ..exceptions import InvalidArgumentError

__all__ = ["MAX_DEPTH", "Group", "Leaf", "Op", "Predicate"]

Op = Literal["and", "or"]
T = TypeVar("T")
AnyLeaf = TypeVar("AnyLeaf", bound="Leaf")
DUAL: dict[Op, Op] = {"and": "or", "or": "and"}
MAX_DEPTH = 100  # levels of AND within OR within AND ...; Python's own parser stops at 200 parentheses
MAX_TERMS = 1_000_000
INFIX = 8  # a larger group is shown as a call, which Python parses at any length


class Cached(Generic[T]):
    """`functools.cached_property` without the lock that Python dropped in 3.12: it takes longer than a question."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        value = instance.__dict__[self._name] = self._make(instance)
        return value


class Predicate:
    """A condition on the attributes of a row: true, false, or unknown where it meets a NULL.

    Made by comparing `engine.col`, from SQL or from a dict; combined by ``&``, ``|`` and ``~``. Two predicates are
    equal, and have one hash, when their canonical forms are the same. ``repr`` shows that form as Python code in which
    only `col` must be known.

    Examples
    --------
    >>> from engine import col
    >>> wanted = (col("year") >= 2020) & ~(col("section").isin(["net", "games"]) | col("year").is_null())
    >>> wanted
    ~col('section').isin(['games', 'net']) & (col('year') >= 2020) & col('year').not_null()
    >>> eval(repr(wanted)) == wanted
    True
    """

    def __and__(self, other: object) -> Predicate:
        return Group("and", (self, _operand("&", other)))

    def __or__(self, other: object) -> Predicate:
        return Group("or", (self, _operand("|", other)))

    __rand__, __ror__ = __and__, __or__  # Python gets here only with an `other` to refuse

    def __invert__(self) -> Predicate:
        raise NotImplementedError

    def __bool__(self) -> NoReturn:
        raise InvalidArgumentError(
            "a predicate is true or false for each row, not as a whole: combine predicates by &, | and ~ instead of "
            "`and`, `or` and `not`; write col('x').between(1, 5) instead of 1 <= col('x') <= 5"
        )

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Predicate) and self.key == other.key)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return self.canonical.source

    def __reduce__(self) -> tuple[Any, ...]:
        canonical = self.canonical  # without what is kept beside: hashes are those of this process
        return _built, (
            type(canonical),
            {part.name: getattr(canonical, part.name) for part in fields(canonical) if part.init},
        )

    @Cached
    def _hash(self) -> int:
        return hash(self.key)

    @Cached
    def key(self) -> tuple[Any, ...]:
        """Equal for equal predicates; the keys of any two have an order."""
        raise NotImplementedError

    @property
    def canonical(self) -> Leaf | Group:
        """The one form of all predicates equal to this one."""
        raise NotImplementedError

    @property
    def leaves(self) -> Iterator[Leaf]:
        """Those of the canonical form."""
        raise NotImplementedError

    @property
    def columns(self) -> frozenset[str]:
        """Names of the columns that it asks for."""
        return frozenset().union(*(leaf.names for leaf in self.leaves))

    def map(self, change: Callable[[Leaf], Predicate]) -> Predicate:
        """The canonical form with every leaf changed; `change` sees leaves without their negation."""
        raise NotImplementedError


def _built(kind: type[Predicate], parts: dict[str, Any]) -> Predicate:
    return kind(**parts)


def _operand(operator: str, other: object) -> Predicate:
    if isinstance(other, Predicate):
        return other
    raise InvalidArgumentError(
        f"one side of {operator} is {show(other)}, expected a predicate; & and | bind more tightly than comparisons, "
        "which need parentheses: (col('a') == 1) & (col('b') > 2)"
    )


@dataclass(frozen=True, eq=False, repr=False)
class Leaf(Predicate):
    """A condition on one column, or its negation. Each kind of leaf is a class of `leaves`."""

    column: str
    negated: bool = field(default=False, kw_only=True)

    def __invert__(self: AnyLeaf) -> AnyLeaf:
        return replace(self, negated=not self.negated)

    @property
    def payload(self) -> tuple[Any, ...]:
        """What tells the leaves of one kind and column apart."""
        return ()

    @Cached
    def key(self) -> tuple[Any, ...]:
        return 0, self.column, type(self).__name__, self.negated, *self.payload

    @property
    def canonical(self) -> Leaf:
        return self

    @property
    def leaves(self) -> Iterator[Leaf]:
        yield self

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns that are asked."""
        return (self.column,)

    def map(self, change: Callable[[Leaf], Predicate]) -> Predicate:
        if not self.negated:
            return change(self)
        plain = ~self
        changed = change(plain)
        return self if changed is plain else ~changed

    @classmethod
    def merged(cls, leaves: list[Any], op: Op) -> Iterable[Leaf]:
        """Leaves of this kind and of one column, combined by `op`, as few as possible."""
        return leaves

    @property
    def call(self) -> str:
        """The method of a column, with arguments, that gives this leaf without its negation."""
        raise NotImplementedError

    @property
    def subject(self) -> str:
        return f"col({self.column!r})"

    @property
    def source(self) -> str:
        return f"{'~' * self.negated}{self.subject}.{self.call}"

    @property
    def operand(self) -> str:
        """`source`, in parentheses if operators would tear it apart."""
        return self.source


@dataclass(frozen=True, eq=False, repr=False)
class Group(Predicate):
    """All (`op` "and") or any ("or") of the `terms`, or the negation of that; of no terms, true or false."""

    op: Op
    terms: tuple[Predicate, ...]
    negated: bool = False
    depth: int = field(init=False)  # levels of AND within OR within AND ...
    n_terms: int = field(init=False)  # leaves, as often as they occur

    def __post_init__(self) -> None:
        inner = [term for term in self.terms if isinstance(term, Group)]
        depth = max((term.depth + (term.true_op != self.op) for term in inner), default=1)
        n_terms = len(self.terms) - len(inner) + sum(term.n_terms for term in inner)
        if depth > MAX_DEPTH:
            raise InvalidArgumentError(
                f"the predicate has {depth} levels of AND within OR, expected {MAX_DEPTH} at most"
            )
        if n_terms > MAX_TERMS:
            raise InvalidArgumentError(f"the predicate has {n_terms} terms, expected {MAX_TERMS} at most")
        object.__setattr__(self, "depth", depth)
        object.__setattr__(self, "n_terms", n_terms)

    @property
    def true_op(self) -> Op:
        """What the group is once its negation has been pushed into its terms."""
        return DUAL[self.op] if self.negated else self.op

    def __invert__(self) -> Group:
        return Group(self.op, self.terms, not self.negated)

    @property
    def canonical(self) -> Leaf | Group:
        return self if self._other_form is None else self._other_form

    @Cached
    def _other_form(self) -> Leaf | Group | None:
        """The canonical form; None where that is this very object."""
        op = self.true_op
        leaves: dict[tuple[type[Leaf], str], list[Leaf]] = defaultdict(list)
        found: dict[tuple[Any, ...], Leaf | Group] = {}
        pending: list[tuple[Predicate, bool]] = [(self, False)]
        while pending:  # a long chain of & is a deep tree of one operator: no recursion for that
            term, negate = pending.pop()
            signed = ~term if negate else term
            if isinstance(signed, Leaf):
                leaves[type(signed), signed.column].append(signed)
            elif isinstance(signed, Group) and signed.true_op == op:
                pending.extend((inner, signed.negated) for inner in signed.terms)
            elif isinstance(inner := signed.canonical, Group) and inner.op != op:
                found[inner.key] = inner
            else:
                pending.append((inner, False))
        for (kind, _), some in leaves.items():
            found.update((leaf.key, leaf) for leaf in kind.merged(some, op))
        terms = tuple(found[key] for key in sorted(found))
        if len(terms) == 1:
            return terms[0]
        result = Group(op, terms)
        result.__dict__["_other_form"] = None
        return result

    @Cached
    def key(self) -> tuple[Any, ...]:
        if self.canonical is not self:
            return self.canonical.key
        return 1, self.op, *(term.key for term in self.terms)

    @property
    def leaves(self) -> Iterator[Leaf]:
        canonical = self.canonical
        for term in canonical.terms if isinstance(canonical, Group) else (canonical,):
            yield from term.leaves

    def map(self, change: Callable[[Leaf], Predicate]) -> Predicate:
        canonical = self.canonical
        if isinstance(canonical, Leaf):
            return canonical.map(change)
        terms = tuple(term.map(change) for term in canonical.terms)
        if all(map(is_, terms, canonical.terms)):  # a form found anew takes longer than most questions
            return canonical
        return Group(canonical.op, terms).canonical

    @property
    def source(self) -> str:
        terms: Any = self.terms  # of a canonical form: leaves and groups
        if 2 <= len(terms) <= INFIX:
            return (" & " if self.op == "and" else " | ").join(term.operand for term in terms)
        name = "all_of" if self.op == "and" else "any_of"
        return f"col.{name}({', '.join(term.source for term in terms)})"

    @property
    def operand(self) -> str:
        return f"({self.source})" if 2 <= len(self.terms) <= INFIX else self.source
