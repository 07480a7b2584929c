"""The kinds of leaves: what can be asked of one column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..exceptions import InvalidArgumentError
from .predicate import Leaf, Op
from .values import Value, sort_key, value_repr

__all__ = ["Between", "Contains", "IsIn", "IsNull", "Mode"]

Mode = Literal["any", "all", "exact"]


def unique(values: Iterable[Value]) -> tuple[Value, ...]:
    """In order, each once."""
    kept = {sort_key(value): value for value in values}
    return tuple(kept[key] for key in sorted(kept))


def in_brackets(values: Iterable[Value | None]) -> str:
    return f"[{', '.join('None' if value is None else value_repr(value) for value in values)}]"


@dataclass(frozen=True, eq=False, repr=False)
class IsIn(Leaf):
    """The value is one of `values`; with `null`, NULL is in the list too, so that the others are unknown, not false."""

    values: tuple[Value, ...]
    null: bool = False

    def __post_init__(self) -> None:
        if len(self.values) > 1:
            object.__setattr__(self, "values", unique(self.values))

    @property
    def payload(self) -> tuple[Any, ...]:
        return tuple(map(sort_key, self.values)), self.null

    @classmethod
    def merged(cls, leaves: list[IsIn], op: Op) -> Iterable[Leaf]:
        for negated in (False, True):
            some = [leaf for leaf in leaves if leaf.negated == negated]
            if len(some) > 1 and (op == "and") == negated:
                values = tuple(value for leaf in some for value in leaf.values)
                some = [IsIn(some[0].column, values, any(leaf.null for leaf in some), negated=negated)]
            yield from some

    @property
    def is_comparison(self) -> bool:
        return len(self.values) == 1 and not self.null

    @property
    def call(self) -> str:
        return f"isin({in_brackets([*self.values, *[None] * self.null])})"

    @property
    def source(self) -> str:
        if not self.is_comparison:
            return super().source
        return f"{self.subject} {'!=' if self.negated else '=='} {value_repr(self.values[0])}"

    @property
    def operand(self) -> str:
        return f"({self.source})" if self.is_comparison else self.source


@dataclass(frozen=True, eq=False, repr=False)
class Between(Leaf):
    """The value lies between `lo` and `hi`, where None is no limit; a limit that is open does not itself count."""

    lo: Value | None
    hi: Value | None
    lo_open: bool = False
    hi_open: bool = False

    def __post_init__(self) -> None:
        if self.lo is not None and self.hi is not None and order_of(self.lo) != order_of(self.hi):
            raise InvalidArgumentError(
                f"between of {self.subject} has the limits {self.lo!r} and {self.hi!r}, expected two of one type"
            )
        if self.lo is None or self.hi is None:  # one limit: the negation is the other side
            if self.negated and (self.lo is not None or self.hi is not None):
                flipped = (self.hi, self.lo, not self.hi_open, not self.lo_open, False)
                for name, value in zip(("lo", "hi", "lo_open", "hi_open", "negated"), flipped, strict=True):
                    object.__setattr__(self, name, value)
            object.__setattr__(self, "lo_open", self.lo is not None and self.lo_open)
            object.__setattr__(self, "hi_open", self.hi is not None and self.hi_open)

    @property
    def payload(self) -> tuple[Any, ...]:
        limits = (("", None) if limit is None else sort_key(limit) for limit in (self.lo, self.hi))
        return *limits, self.lo_open, self.hi_open

    @classmethod
    def merged(cls, leaves: list[Between], op: Op) -> Iterable[Leaf]:
        """Ranges that must all hold are one; so are, turned around, those of which one must fail."""
        ranges: dict[str, list[Between]] = defaultdict(list)
        for leaf in leaves:
            inside = leaf if op == "and" else ~leaf
            if inside.negated or inside.lo is inside.hi is None:
                yield leaf
            else:
                ranges[order_of(inside.hi if inside.lo is None else inside.lo)].append(inside)
        for some in ranges.values():
            lo = max(((x.lo, x.lo_open, type(x.lo).__name__) for x in some if x.lo is not None), default=(None, False))
            hi = min(
                ((x.hi, not x.hi_open, type(x.hi).__name__) for x in some if x.hi is not None), default=(None, True)
            )
            inside = Between(some[0].column, lo[0], hi[0], lo[1], not hi[1])
            yield inside if op == "and" else ~inside

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies between the limits."""
        if self.lo is None or self.hi is None:
            return False
        lo: Any = self.lo
        return bool(lo > self.hi or (lo == self.hi and (self.lo_open or self.hi_open)))

    @property
    def is_comparison(self) -> bool:
        """Whether it is shown by operators, not by a call."""
        return self.lo_open or self.hi_open or (self.lo is None) != (self.hi is None)

    @property
    def call(self) -> str:
        lo, hi = ("None" if limit is None else value_repr(limit) for limit in (self.lo, self.hi))
        return f"between({lo}, {hi})"

    @property
    def source(self) -> str:
        if not self.is_comparison:
            return super().source
        sides = []
        if self.lo is not None:
            sides.append(f"{self.subject} {'>' if self.lo_open else '>='} {value_repr(self.lo)}")
        if self.hi is not None:
            sides.append(f"{self.subject} {'<' if self.hi_open else '<='} {value_repr(self.hi)}")
        text = sides[0] if len(sides) == 1 else f"({sides[0]}) & ({sides[1]})"
        return f"~({text})" if self.negated else text

    @property
    def operand(self) -> str:
        return f"({self.source})" if self.is_comparison and not self.negated else self.source


def order_of(value: Value | None) -> str:
    """Values of one order can be compared."""
    return "number" if type(value) in (int, float) else type(value).__name__


@dataclass(frozen=True, eq=False, repr=False)
class Contains(Leaf):
    """The set holds any of `values`, or all of them, or exactly them."""

    values: tuple[str, ...]
    mode: Mode

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(sorted(set(self.values))))
        if self.mode == "all" and len(self.values) == 1:
            object.__setattr__(self, "mode", "any")

    @property
    def payload(self) -> tuple[Any, ...]:
        return self.mode, self.values

    @classmethod
    def merged(cls, leaves: list[Contains], op: Op) -> Iterable[Leaf]:
        for negated in (False, True):
            mode: Mode = "all" if (op == "and") != negated else "any"
            some = []
            for leaf in leaves:
                if leaf.negated == negated:
                    if leaf.mode == mode or (leaf.mode == "any" and len(leaf.values) == 1):
                        some.append(leaf)
                    else:
                        yield leaf
            if some:
                values = tuple(value for leaf in some for value in leaf.values)
                yield Contains(some[0].column, values, mode, negated=negated)

    @property
    def call(self) -> str:
        if self.mode == "any" and len(self.values) == 1:
            return f"contains({self.values[0]!r})"
        name = {"any": "contains_any", "all": "contains_all", "exact": "equals_set"}[self.mode]
        return f"{name}({in_brackets(self.values)})"


@dataclass(frozen=True, eq=False, repr=False)
class IsNull(Leaf):
    """There is no value. The one question that NULL answers by true or false."""

    @property
    def call(self) -> str:
        return "is_null()"

    @property
    def source(self) -> str:
        return f"{self.subject}.not_null()" if self.negated else super().source
