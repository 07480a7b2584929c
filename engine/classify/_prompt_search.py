"""What ProAPO's search works on: sets of sentences, what follows from them, and how new sets are made."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._validate import as_finite, show
from ..evaluation._labels import as_labels
from ..exceptions import InvalidArgumentError
from ._base import check_embeddings, places_of, unit

__all__ = ["Child", "Genes", "Search", "State"]

Rows = NDArray[np.float64]
Mask = NDArray[np.bool_]
FOCUS = 0.2  # share of the classes, the worst ones, whose descriptions are changed


@dataclass
class State:
    """Which sentences are in use, and what follows from that."""

    active: Mask  # (n_genes,)
    sums: Rows  # of the vectors of each class, (n_classes, dim)
    products: Rows  # of class sums with labelled rows, (n_classes, n)
    gram: Rows  # of class sums with each other
    fitness: float = -np.inf
    ledger: Any = None  # what the fitness of a child is told from, where it can be

    def settle(self) -> State:
        """Itself."""
        return self

    @property
    def cosines(self) -> Rows:
        """Of labelled rows with classes, (n, n_classes)."""
        return np.asarray((self.products * (1 / self.lengths)[:, None]).T)

    @property
    def between(self) -> Rows:
        """Cosines of classes with each other."""
        inverse = 1 / self.lengths
        return np.asarray(self.gram * inverse * inverse[:, None])

    @property
    def lengths(self) -> Rows:
        """Of the class sums."""
        return np.asarray(np.sqrt(self.gram.diagonal()))


@dataclass
class Child:
    """A state by what differs from its parent: most die young, and most differ in a class or two."""

    parent: State
    active: Mask
    changed: NDArray[np.int64]  # classes; the rest is of these alone
    rows: Rows  # their sums
    products: Rows  # with labelled rows
    gram: Rows  # with all class sums
    fitness: float = -np.inf

    def settle(self) -> State:
        """The whole state."""
        sums, products, gram = self.parent.sums.copy(), self.parent.products.copy(), self.parent.gram.copy()
        sums[self.changed], products[self.changed] = self.rows, self.products
        gram[self.changed], gram[:, self.changed] = self.gram, self.gram.T
        return State(self.active, sums, products, gram, self.fitness)

    @property
    def lengths(self) -> Rows:
        """Of all class sums."""
        lengths = self.parent.lengths
        lengths[self.changed] = np.sqrt(self.gram[np.arange(len(self.changed)), self.changed])
        return lengths


@dataclass(frozen=True)
class Genes:
    """All sentences: templates first, each of which serves every class, then the descriptions, class by class."""

    classes: NDArray[Any]
    codes: NDArray[np.int64]  # true class of each row
    templates: Rows  # unit vectors (n_templates, n_classes, dim)
    template_products: Rows  # with the rows, (n_templates, n_classes, n)
    descriptions: Rows  # unit vectors (n_descriptions, dim)
    products: Rows  # with the rows, (n_descriptions, n)
    offsets: NDArray[np.int64]  # of the descriptions of each class, (n_classes + 1,)

    @classmethod
    def of(cls, library: Any, templates: Any, rows: Rows, y: NDArray[Any]) -> Genes:
        if library is None and templates is None:
            raise InvalidArgumentError("library is None, expected sentences of each class, or templates")
        if library is not None and not (isinstance(library, Mapping) and library):
            raise InvalidArgumentError(f"library is {show(library)}, expected a mapping of classes to vectors")
        classes = np.unique(y) if library is None else np.unique(as_labels(list(library), "library"))
        codes = places_of(y, classes, "y")
        if len(silent := np.setdiff1d(np.arange(len(classes)), codes)):
            warnings.warn(f"y has no row of {show(classes[silent].tolist())}: they cannot be judged", stacklevel=3)
        dim = rows.shape[1]
        shared = np.empty((0, len(classes), dim)) if templates is None else np.asarray(templates, np.float64)
        if shared.ndim != 3 or shared.shape[1:] != (len(classes), dim):
            raise InvalidArgumentError(f"templates has shape {shared.shape}, expected (n, {len(classes)}, {dim})")
        if len(shared):
            shared = unit(shared.reshape(-1, dim), "templates").reshape(shared.shape)
        parts = [np.empty((0, dim))] * len(classes)
        if library is not None:
            parts = [as_sentence_rows(library[name], name, dim, len(shared)) for name in classes.tolist()]
        flat = np.concatenate(parts)
        return cls(
            classes=classes,
            codes=codes,
            templates=shared,
            template_products=shared @ rows.T,
            descriptions=flat,
            products=flat @ rows.T,
            offsets=np.concatenate([[0], np.cumsum([len(part) for part in parts])]),
        )

    @property
    def n_templates(self) -> int:
        return len(self.templates)

    @property
    def n(self) -> int:
        return self.n_templates + len(self.descriptions)

    def has(self, kind: str) -> bool:
        return bool(self.n_templates) if kind == "templates" else bool(len(self.descriptions))

    def span(self, c: int) -> slice:
        """The descriptions of class `c` among all genes."""
        return slice(self.n_templates + self.offsets[c], self.n_templates + self.offsets[c + 1])

    def whole(self, active: Mask) -> State:
        """A state from nothing."""
        n_classes, dim = len(self.classes), self.descriptions.shape[1]
        zeros = np.zeros((n_classes, dim)), np.zeros((n_classes, self.products.shape[1])), np.zeros((n_classes,) * 2)
        return self.changed(State(np.zeros_like(active), *zeros), active).settle()

    def changed(self, parent: State, active: Mask, other: State | None = None) -> Child:
        """The state with other sentences than its parent's: only what differs is added or taken off.

        Where all sentences of the classes that differ are those of `other`, so are their sums.
        """
        flips = np.flatnonzero(active != parent.active)
        signs = np.where(active[flips], 1.0, -1.0)[:, None]
        n_shared = int(np.searchsorted(flips, self.n_templates))
        shared, own = flips[:n_shared], flips[n_shared:] - self.n_templates
        owner = np.searchsorted(self.offsets, own, side="right") - 1
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        owners = owner[starts]
        changed = np.arange(len(self.classes)) if n_shared else owners
        given = parent if other is None else other
        rows, products = given.sums[changed], given.products[changed]
        if n_shared:
            rows += np.tensordot(signs[:n_shared, 0], self.templates[shared], 1)
            products += np.tensordot(signs[:n_shared, 0], self.template_products[shared], 1)
        if len(own) and other is None:
            places = owners if n_shared else slice(None)
            rows[places] += summed(signs[n_shared:] * self.descriptions[own], starts)
            products[places] += summed(signs[n_shared:] * self.products[own], starts)
        gram = rows @ parent.sums.T
        gram[:, changed] = rows @ rows.T
        return Child(parent, active, changed, rows, products, gram)

    def complete(self, active: Mask) -> bool:
        """Whether every class has a sentence."""
        if active[: self.n_templates].any():
            return True
        counts = np.add.reduceat(np.append(active[self.n_templates :], False), self.offsets[:-1], dtype=np.int64)
        return bool((counts > 0).all() and (np.diff(self.offsets) > 0).all())


Born = TypeVar("Born", State, Child)


class Search:
    """Makes sets of sentences and judges them."""

    def __init__(self, genes: Genes, fitness: Any, rng: np.random.Generator) -> None:
        self.genes, self.fitness, self.rng = genes, fitness, rng

    def judge(self, state: Born) -> Born:
        """Sets the fitness."""
        lengths = state.lengths
        if not (lengths > 1e-6).all():  # sentences that cancel out describe nothing
            return state
        codes = self.genes.codes
        if isinstance(state, Child) and (ledger := self._ledger(state.parent)) is not None:
            own = 1 / lengths[state.changed, None]
            value = self.fitness.revised(ledger, codes, state.changed, state.products * own, state.gram * own / lengths)
        else:
            whole = state.settle()
            value = self.fitness(whole.cosines, codes, whole.between)
        state.fitness = as_finite(value, "what fitness returned")
        return state

    def _ledger(self, parent: State) -> Any:
        """What the fitness of children is told from; None where it has to be computed from all."""
        if parent.ledger is None and hasattr(self.fitness, "ledger") and (parent.lengths > 1e-6).all():
            parent.ledger = self.fitness.ledger(parent.cosines, self.genes.codes, parent.between)
        return parent.ledger

    def fittest(self, states: Sequence[State | Child], n: int) -> list[State]:
        """The best different ones; of equals the earliest."""
        different: dict[bytes, State | Child] = {}
        for state in states:
            different.setdefault(state.active.tobytes(), state)
        return [state.settle() for state in sorted(different.values(), key=lambda state: -state.fitness)[:n]]

    def start(self, n_init: int, population: int) -> list[State]:
        """Random sets: some with a share of all sentences, some with about one a class; and the set of all."""
        genes = self.genes
        masks = [np.ones(genes.n, np.bool_)]
        for i in range(n_init):
            few = 1 / np.maximum(np.concatenate([np.full(genes.n_templates, genes.n_templates), self._sizes()]), 1)
            masks.append(self.rng.random(genes.n) < (few if i % 2 else self.rng.uniform(0.1, 0.9)))
        for mask in masks:
            self._mend(mask)
        return self.fittest([self.judge(genes.whole(mask)) for mask in masks], population)

    def children(
        self, parents: list[State], kind: str, n_change: int, n_crossover: int, n_mutation: int
    ) -> list[Child]:
        """New sets from `parents`, judged."""
        born: list[tuple[State, Mask, State | None]] = []
        pools = [self._pool(parent, kind) for parent in parents]
        for parent, pool in zip(parents, pools, strict=True):
            for add, remove in ((True, False), (False, True), (True, True)):
                born += [(parent, self._flipped(parent.active, pool, add, remove), None) for _ in range(n_change)]
        span = slice(0, self.genes.n_templates) if kind == "templates" else slice(self.genes.n_templates, None)
        for _ in range(n_crossover):
            left, right = (parents[i] for i in self.rng.integers(len(parents), size=2))
            mask = left.active.copy()
            taken = self._crossing(kind, len(mask[span]))
            mask[span] = np.where(taken, right.active[span], mask[span])
            shared = slice(0, self.genes.n_templates)
            whole = kind == "descriptions" and np.array_equal(left.active[shared], right.active[shared])
            born.append((left, mask, right if whole else None))
        for _ in range(n_mutation):
            which = int(self.rng.integers(len(parents)))
            parent, pool, mask = parents[which], pools[which], parents[which].active
            for _ in range(int(self.rng.integers(2, 5))):
                mask = self._flipped(mask, pool, *((True, False), (False, True), (True, True))[self.rng.integers(3)])
            born.append((parent, mask, None))
        fresh = {each[1].tobytes(): each for each in born if self.genes.complete(each[1])}
        for parent in parents:
            fresh.pop(parent.active.tobytes(), None)
        return [self.judge(self.genes.changed(*each)) for each in fresh.values()]

    def _pool(self, state: State, kind: str) -> NDArray[np.int64]:
        """Genes to change: templates, or the descriptions of the classes that are classified worst."""
        genes = self.genes
        if kind == "templates":
            return np.arange(genes.n_templates)
        cosines = state.cosines
        predicted = cosines.argmax(axis=1)
        wrong = predicted != genes.codes
        n_classes = len(genes.classes)
        errors = np.bincount(np.concatenate([genes.codes[wrong], predicted[wrong]]), minlength=n_classes)
        # With nothing wrong, the classes whose rows are surest of another one.
        own = cosines[np.arange(len(predicted)), genes.codes]
        rest = np.where(np.arange(n_classes) == genes.codes[:, None], -np.inf, cosines).max(axis=1, initial=-1)
        doubt = np.full(n_classes, -np.inf)
        np.maximum.at(doubt, genes.codes, rest - own)
        worst = np.lexsort((-doubt, -errors))[: max(2, int(np.ceil(FOCUS * n_classes)))]
        return np.concatenate([np.arange(genes.n)[genes.span(c)] for c in worst])

    def _flipped(self, active: Mask, pool: NDArray[np.int64], add: bool, remove: bool) -> Mask:
        """A copy with one more sentence, one fewer, or one replaced by another of the same class."""
        mask = active.copy()
        if remove and len(inside := pool[mask[pool]]):
            out = int(self.rng.choice(inside))
            mask[out] = False
            if add:
                pool = pool[self._owner(pool) == self._owner(np.array([out]))]
        if add and len(outside := pool[~active[pool]]):
            mask[int(self.rng.choice(outside))] = True
        return mask

    def _owner(self, genes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The class of descriptions; -1 of templates."""
        return np.searchsorted(self.genes.offsets, genes - self.genes.n_templates, side="right") - 1

    def _crossing(self, kind: str, n: int) -> Mask:
        """Which genes come from the other parent: any templates, or whole classes."""
        if kind == "templates":
            return self.rng.random(n) < 0.5
        return np.repeat(self.rng.random(len(self.genes.classes)) < 0.5, np.diff(self.genes.offsets))

    def _sizes(self) -> NDArray[np.int64]:
        """For each description, how many its class has."""
        return np.repeat(np.diff(self.genes.offsets), np.diff(self.genes.offsets))

    def _mend(self, mask: Mask) -> None:
        """Give a sentence to classes that have none."""
        if mask[: self.genes.n_templates].any():
            return
        if self.genes.n_templates:
            mask[int(self.rng.integers(self.genes.n_templates))] = True
            return
        for c in range(len(self.genes.classes)):
            if not mask[span := self.genes.span(c)].any():
                mask[int(self.rng.integers(span.start, span.stop))] = True


def summed(rows: Rows, starts: NDArray[np.int64]) -> Rows:
    """Sums of runs of rows that begin at `starts`; where each is a run of its own there is nothing to add."""
    return rows if len(starts) == len(rows) else np.asarray(np.add.reduceat(rows, starts))


def as_sentence_rows(value: Any, name: Any, dim: int, n_templates: int) -> Rows:
    """Unit vectors of the descriptions of a class; may be none where templates describe it."""
    if n_templates and not len(value):
        return np.empty((0, dim))
    if not len(value):
        raise InvalidArgumentError(f"library[{name!r}] is empty, expected at least one sentence")
    return unit(check_embeddings(value, f"library[{name!r}]", dim=dim), f"library[{name!r}]")
