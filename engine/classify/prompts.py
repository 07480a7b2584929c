"""ProAPO: an evolutionary search for the sentences that describe classes best, by a few labelled rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_count, as_matrix
from ..evaluation._labels import as_labels
from ._base import Estimator, PrototypeClassifier, check_embeddings, unit
from ._prompt_search import Genes, Search
from .prototypes import NearestClassMean

__all__ = ["ProAPOFitness", "PromptOptimizer"]

Self = TypeVar("Self", bound="PromptOptimizer")
Rows = NDArray[np.float64]
SAFE_SCALE = 300.0  # exp(-2 * 300) is a float64, and cosines differ by 2 at most


@dataclass(frozen=True)
class ProAPOFitness:
    """How good class vectors are, by a few labelled rows; larger is better.

    ``top1 * A1 + top5 * A5 + redundancy * R - ce * CE`` with the accuracies A1 and A5 in percent, the norm R of the
    cosines between classes, and the mean cross-entropy CE, which decides where accuracies tie.

    Examples
    --------
    >>> import numpy as np
    >>> fitness = ProAPOFitness(top1=1.0, top5=0.0, ce=0.0, redundancy=0.0)
    >>> fitness(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]), np.eye(2))
    50.0
    """

    top1: float = 0.1
    top5: float = 0.1
    ce: float = 10.0
    redundancy: float = 0.05
    logit_scale: float = 100.0

    def __call__(self, cosines: Rows, codes: NDArray[np.int64], between: Rows) -> float:
        """Of the cosines of rows with class vectors, (n, n_classes), and of class vectors with each other."""
        scores = np.ascontiguousarray(cosines.T)  # so that sums over classes add whole rows
        own = scores[codes, np.arange(len(codes))]
        n_better = beaten(scores, own, np.arange(len(scores)), codes)
        scores -= own
        scores *= self.logit_scale
        largest = scores.max(axis=0)
        scores -= largest
        entropy = (largest + np.log(np.exp(scores, out=scores).sum(axis=0))).mean()
        return self._value(n_better, entropy, square_sum(between) - square_sum(between.diagonal()))

    def ledger(self, cosines: Rows, codes: NDArray[np.int64], between: Rows) -> Ledger | None:
        """What `revised` goes on from; None where sums of exponentials could leave float64."""
        if self.logit_scale > SAFE_SCALE:
            return None
        scores = np.ascontiguousarray(cosines.T)
        own = scores[codes, np.arange(len(codes))]
        powers = self._powers(scores)
        n_better = beaten(scores, own, np.arange(len(scores)), codes)
        return Ledger(scores, powers, powers.sum(axis=0), own, n_better, between, square_sum(between) - len(between))

    def revised(
        self, ledger: Ledger, codes: NDArray[np.int64], changed: NDArray[np.int64], scores: Rows, between: Rows
    ) -> float:
        """What a call would return if the cosines of the classes `changed` were others: with the rows `scores`, shape
        (n_changed, n), with classes `between`, shape (n_changed, n_classes).
        """
        before, old_powers, powers = ledger.scores[changed], ledger.powers[changed], self._powers(scores)
        totals = ledger.totals + (powers.sum(axis=0) - old_powers.sum(axis=0))
        # Rows whose sum was mostly that of changed classes have lost digits, those of changed classes all else.
        place = np.full(len(ledger.scores), -1)
        place[changed] = np.arange(len(changed))
        own, n_better, anew = ledger.own.copy(), ledger.n_better.copy(), place[codes] >= 0
        own[anew] = scores[place[codes[anew]], np.flatnonzero(anew)]
        n_better += beaten(scores, own, changed, codes) - beaten(before, own, changed, codes)
        if anew.any():
            every = ledger.scores[:, anew]
            every[changed] = scores[:, anew]
            n_better[anew] = beaten(every, own[anew], np.arange(len(every)), codes[anew])
        if (lost := totals < 1e-6 * ledger.totals).any():
            every = ledger.powers[:, lost]
            every[changed] = powers[:, lost]
            totals[lost] = every.sum(axis=0)
        entropy = (np.log(totals) - self.logit_scale * (own - 1)).mean()
        squares = ledger.squares
        for sign, part in ((-1, ledger.between[changed]), (1, between)):  # a changed pair is in two rows
            squares += sign * (2 * square_sum(part) - square_sum(part[:, changed]))
        return self._value(n_better, entropy, squares)

    def _powers(self, scores: Rows) -> Rows:
        return np.asarray(np.exp(self.logit_scale * (scores - 1)))

    def _value(self, n_better: NDArray[np.int64], entropy: float, squares: float) -> float:
        top1, top5 = (100 * np.count_nonzero(n_better < k) / len(n_better) for k in (1, 5))
        norm = np.sqrt(max(squares, 0) / 2)  # each pair is in it twice
        return float(self.top1 * top1 + self.top5 * top5 + self.redundancy * norm - self.ce * entropy)


@dataclass(frozen=True)
class Ledger:
    """What the fitness of class vectors is summed from, so that a few classes can change without the rest."""

    scores: Rows  # cosines of classes with rows, (n_classes, n)
    powers: Rows  # exp(logit_scale * (scores - 1))
    totals: Rows  # sums of these over the classes, (n,)
    own: Rows  # scores of the true classes, (n,)
    n_better: NDArray[np.int64]  # classes before the true one, (n,)
    between: Rows  # cosines of classes with each other
    squares: float  # the sum of their squares, but for those with themselves


def beaten(scores: Rows, own: Rows, classes: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of `classes` come before the true one of each row; of equal scores the first class does."""
    before = (scores > own) | ((scores == own) & (classes[:, None] < codes))
    return np.asarray(np.count_nonzero(before, axis=0))


def square_sum(rows: Rows) -> float:
    flat = rows.ravel()
    return float(flat @ flat)


class PromptOptimizer(Estimator):
    """Find the templates, then the descriptions of each class, with which a few labelled rows are classified best.

    The vector of a class is the mean of the unit vectors of its sentences, at unit length. Sentences are encoded once
    (by you); the search is algebra on their vectors. In each round the best sets of sentences have children, by adding,
    removing or replacing one, by crossing two sets, and by several changes at once; the best of all live on. First the
    templates that all classes share are chosen, then, for the classes that are classified worst, the descriptions.

    Parameters
    ----------
    fitness : callable, default `ProAPOFitness()`
        Takes cosines of rows and classes (n, n_classes), codes of the true classes (n,), and cosines between classes.
    population : int, default 4
        Sets that live on.
    n_iter : int, default 8
        Rounds for templates.
    n_iter_descriptions : int, default 12
        Rounds for descriptions.
    n_change : int, default 8
        Children of each set by adding, as many by removing, and by replacing.
    n_crossover, n_mutation : int, default 16 and 8
        Children of the whole population.
    n_init : int, default 32
        Random sets to start from.
    random_state : int, optional

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted.
    best_templates_ : ndarray, int64
        Rows of `templates` in use.
    best_prompts_ : dict
        For each class the rows of its part of `library` in use.
    class_embeddings_ : ndarray, shape (n_classes, dim), float32
        At unit length.
    best_fitness_ : float
    history_ : list of float
        The best fitness at the start and after each round; it never falls.

    Notes
    -----
    The calls of a language model that make the sentences are yours. A child costs O(n n_classes): only what changes
    is computed anew.

    References
    ----------
    Qu et al., *ProAPO: Progressively Automatic Prompt Optimization for Visual Classification*, CVPR 2025
    (arXiv:2502.19844).

    Examples
    --------
    >>> import numpy as np
    >>> from engine.classify import ProAPOFitness, PromptOptimizer
    >>> rows, labels = np.eye(2), ["cat", "dog"]
    >>> library = {"cat": [[1, 0], [0, 1]], "dog": [[0.6, 0.8], [0, 1]]}
    >>> fitness = ProAPOFitness(redundancy=0, logit_scale=10)
    >>> best = PromptOptimizer(fitness=fitness, random_state=0).fit(rows, labels, library)
    >>> {name: rows.tolist() for name, rows in best.best_prompts_.items()}
    {'cat': [0], 'dog': [1]}
    """

    def __init__(
        self,
        *,
        fitness: Any = None,
        population: int = 4,
        n_iter: int = 8,
        n_iter_descriptions: int = 12,
        n_change: int = 8,
        n_crossover: int = 16,
        n_mutation: int = 8,
        n_init: int = 32,
        random_state: int | None = None,
    ) -> None:
        self.fitness = fitness
        self.population = population
        self.n_iter = n_iter
        self.n_iter_descriptions = n_iter_descriptions
        self.n_change = n_change
        self.n_crossover = n_crossover
        self.n_mutation = n_mutation
        self.n_init = n_init
        self.random_state = random_state

    def fit(
        self: Self,
        X: ArrayLike,
        y: ArrayLike,
        library: Mapping[Any, ArrayLike] | None = None,
        *,
        templates: ArrayLike | None = None,
    ) -> Self:
        """Search.

        Parameters
        ----------
        X : array_like, shape (n, dim)
            A few labelled rows.
        y : array_like, shape (n,)
            Their classes.
        library : mapping of classes to arrays of shape (n_sentences, dim), optional
            Vectors of descriptions of each class.
        templates : array_like, shape (n_templates, n_classes, dim), optional
            Vectors of templates, filled with the class names, classes in sorted order.

        Raises
        ------
        InvalidArgumentError
            Settings or vectors that cannot be used, neither a library nor templates, a class without a sentence, labels
            of other classes, a fitness that is no finite number.

        Warns
        -----
        UserWarning
            Classes without a labelled row: nothing says what describes them well.
        """
        for name in ("population", "n_iter", "n_iter_descriptions", "n_change", "n_crossover", "n_mutation", "n_init"):
            as_count(getattr(self, name), name)
        rows = unit(check_embeddings(X))
        genes = Genes.of(library, templates, rows, as_labels(y, n=len(rows)))
        rng = np.random.default_rng(self.random_state)
        search = Search(genes, self.fitness or ProAPOFitness(), rng)
        best = search.start(self.n_init, self.population)
        self.history_ = [best[0].fitness]
        for kind, n_rounds in (("templates", self.n_iter), ("descriptions", self.n_iter_descriptions)):
            for _ in range(n_rounds if genes.has(kind) else 0):
                children = search.children(best, kind, self.n_change, self.n_crossover, self.n_mutation)
                best = search.fittest([*best, *children], self.population)
                self.history_.append(best[0].fitness)
        winner = best[0]
        used = [np.flatnonzero(winner.active[genes.span(c)]) for c in range(len(genes.classes))]
        self.best_prompts_ = dict(zip(genes.classes.tolist(), used, strict=True))
        self.best_templates_ = np.flatnonzero(winner.active[: genes.n_templates])
        self.classes_, self.best_fitness_, self.n_features_in_ = genes.classes, winner.fitness, rows.shape[1]
        self.class_embeddings_ = as_matrix(unit(winner.sums, "the class vectors"), "X")
        return self

    def classifier(self) -> PrototypeClassifier:
        """A classifier that predicts the nearest of `class_embeddings_`."""
        self.check_fitted()
        return NearestClassMean().fit(self.class_embeddings_, self.classes_)
