"""PromptOptimizer: METHODS 3.7."""

from __future__ import annotations

import pickle
from itertools import product
from typing import Any

import numpy as np
import pytest

from engine.classify import ProAPOFitness, PromptOptimizer
from engine.classify._prompt_search import Genes, Search
from engine.exceptions import InvalidArgumentError, NotBuiltError

PLAIN = ProAPOFitness(redundancy=0, logit_scale=10)  # cross-entropy that still counts where all is right
NAMES = np.array(["ant", "bee", "cow", "doe", "elk"])


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def planted(rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Rows of 5 classes; of the 12 sentences of each class, 4 are the class mean under little noise, 8 only noise."""
    means = unit(rng.standard_normal((5, 24)))
    codes = np.arange(20) % 5
    X = means[codes] + 0.12 * rng.standard_normal((20, 24))
    library = {
        name: np.concatenate([means[c] + 0.05 * rng.standard_normal((4, 24)), unit(rng.standard_normal((8, 24)))])
        for c, name in enumerate(NAMES)
    }
    return X, NAMES[codes], library, means


def oracle(X: Any, y: Any, vectors: Any, weights: ProAPOFitness) -> float:
    """The fitness of class vectors, sorted by class, written out."""
    cosines = unit(X) @ unit(vectors).T
    codes = np.searchsorted(NAMES, y)
    ranks = np.array(
        [sorted(range(5), key=lambda c: -row[c]).index(code) for row, code in zip(cosines, codes, strict=True)]
    )
    logits = weights.logit_scale * cosines
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    entropy = -np.log(shares[np.arange(len(y)), codes]).mean()
    between = unit(vectors) @ unit(vectors).T
    norm = np.linalg.norm(between[np.triu_indices(5, 1)])
    top1, top5 = 100 * (ranks < 1).mean(), 100 * (ranks < 5).mean()
    return float(weights.top1 * top1 + weights.top5 * top5 + weights.redundancy * norm - weights.ce * entropy)


@pytest.mark.parametrize("weights", [ProAPOFitness(), ProAPOFitness(0.5, 0.05, 1.0, 0.3, 20.0)])
def test_the_fitness_against_its_formula(planted: Any, weights: Any) -> None:
    X, y, library, _ = planted
    best = PromptOptimizer(fitness=weights, n_iter_descriptions=3, random_state=0).fit(X, y, library)
    vectors = np.array([unit(library[name])[best.best_prompts_[name]].mean(axis=0) for name in NAMES])
    np.testing.assert_allclose(best.class_embeddings_, unit(vectors), atol=1e-6)
    assert best.best_fitness_ == pytest.approx(oracle(X, y, vectors, weights), abs=1e-6)


def test_the_planted_sentences_are_found(planted: Any, rng: np.random.Generator) -> None:
    X, y, library, means = planted
    codes = np.arange(500) % 5
    tests = means[codes] + 0.25 * rng.standard_normal((500, 24))
    best = PromptOptimizer(fitness=PLAIN, n_iter_descriptions=60, random_state=0).fit(X, y, library)
    found = best.classifier().score(tests, NAMES[codes])
    ideal = (unit(tests) @ np.array([unit(library[name][:4]).mean(axis=0) for name in NAMES]).T).argmax(axis=1)
    everything = (unit(tests) @ unit(np.array([unit(library[name]).mean(axis=0) for name in NAMES])).T).argmax(axis=1)
    assert found >= (ideal == codes).mean() - 0.03
    assert found > (everything == codes).mean()


def test_the_best_never_gets_worse_and_the_seed_decides(planted: Any) -> None:
    X, y, library, _ = planted
    first, again, other = (PromptOptimizer(random_state=seed).fit(X, y, library) for seed in (3, 3, 4))
    assert len(first.history_) == 13
    assert (np.diff(first.history_) >= 0).all()
    assert first.history_[-1] == first.best_fitness_ > first.history_[0]
    assert first.history_ == again.history_
    for name in NAMES:
        np.testing.assert_array_equal(first.best_prompts_[name], again.best_prompts_[name])
    assert other.history_ != first.history_
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).class_embeddings_, first.class_embeddings_)


@pytest.mark.parametrize("with_templates", [False, True])
def test_what_changes_is_the_same_as_all_anew(planted: Any, rng: np.random.Generator, with_templates: bool) -> None:
    X, y, library, _ = planted
    templates = rng.standard_normal((6, 5, 24)) if with_templates else None
    genes = Genes.of(library, templates, unit(X), y)
    search = Search(genes, ProAPOFitness(), rng)
    state = search.judge(genes.whole(np.ones(genes.n, bool)))
    for _ in range(50):
        mask = state.active.copy()
        mask[rng.integers(genes.n, size=3)] ^= True
        if genes.complete(mask):
            state = search.judge(genes.changed(state, mask)).settle()
            anew = search.judge(genes.whole(mask))
            assert state.fitness == pytest.approx(anew.fitness, abs=1e-6)
            np.testing.assert_allclose(state.products, anew.products, atol=1e-9)


@pytest.mark.parametrize("logit_scale", [10.0, 100.0, 400.0])
def test_a_child_of_two_is_the_same_as_all_anew(planted: Any, rng: np.random.Generator, logit_scale: float) -> None:
    """Sums of whole classes are taken over; rows that a change leaves with lost digits are summed anew."""
    X, y, library, _ = planted
    genes = Genes.of(library, None, unit(X), y)
    search = Search(genes, ProAPOFitness(logit_scale=logit_scale), rng)
    for _ in range(20):
        masks = [rng.random(genes.n) < 0.5 for _ in range(2)]
        if not all(genes.complete(mask) for mask in masks):
            continue
        left, right = (search.judge(genes.whole(mask)) for mask in masks)
        taken = search._crossing("descriptions", genes.n)
        mask = np.where(taken, masks[1], masks[0])
        child, anew = search.judge(genes.changed(left, mask, right)), search.judge(genes.whole(mask))
        assert child.fitness == pytest.approx(anew.fitness, rel=1e-9)
        np.testing.assert_allclose(child.settle().gram, anew.gram, atol=1e-9)


def test_a_tiny_library_is_searched_to_its_optimum(rng: np.random.Generator) -> None:
    for _ in range(2):
        X, y = rng.standard_normal((6, 8)), np.array(["ant", "bee"])[np.arange(6) % 2]
        library = {name: rng.standard_normal((4, 8)) for name in ("ant", "bee")}
        genes = Genes.of(library, None, unit(X), y)
        search = Search(genes, ProAPOFitness(), rng)
        masks = [np.array(bits, bool) for bits in product([0, 1], repeat=8)]
        best = max(search.judge(genes.whole(mask)).fitness for mask in masks if genes.complete(mask))
        found = PromptOptimizer(n_iter_descriptions=20, random_state=0).fit(X, y, library)
        assert found.best_fitness_ == pytest.approx(best)


def test_templates_are_shared_by_all_classes(planted: Any, rng: np.random.Generator) -> None:
    X, y, library, means = planted
    templates = np.concatenate([means[None] + 0.1 * rng.standard_normal((3, 5, 24)), rng.standard_normal((9, 5, 24))])
    best = PromptOptimizer(fitness=ProAPOFitness(redundancy=0), n_iter=20, random_state=0).fit(
        X, y, templates=templates
    )
    assert set(best.best_templates_) & {0, 1, 2}
    vectors = unit(templates[best.best_templates_]).mean(axis=0)
    np.testing.assert_allclose(best.class_embeddings_, unit(vectors), atol=1e-6)
    both = PromptOptimizer(random_state=0).fit(X, y, library, templates=templates)
    assert len(both.history_) == 1 + 8 + 12
    vectors = [
        np.concatenate([unit(templates[both.best_templates_, c]), unit(library[name])[both.best_prompts_[name]]]).mean(
            axis=0
        )
        for c, name in enumerate(NAMES)
    ]
    np.testing.assert_allclose(both.class_embeddings_, unit(np.array(vectors)), atol=1e-6)


def test_every_class_keeps_a_sentence(planted: Any) -> None:
    X, y, library, _ = planted
    best = PromptOptimizer(random_state=0, n_mutation=40).fit(X, y, {**library, "elk": library["elk"][:1]})
    assert all(len(rows) for rows in best.best_prompts_.values())
    assert best.best_prompts_["elk"].tolist() == [0]


def test_classes_without_rows_warn(planted: Any) -> None:
    X, y, library, _ = planted
    keep = y != "cow"
    with pytest.warns(UserWarning, match=r"y has no row of \['cow'\]: they cannot be judged"):
        best = PromptOptimizer(n_iter_descriptions=2, random_state=0).fit(X[keep], y[keep], library)
    assert best.classes_.tolist() == NAMES.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 0}, "population is 0"),
        ({"n_iter_descriptions": 0}, "n_iter_descriptions is 0"),
        ({"n_change": 1.5}, r"n_change is 1\.5"),
        ({"fitness": lambda *_: np.nan}, "what fitness returned is nan, expected a finite number"),
        ({"fitness": lambda *_: "good"}, "what fitness returned is 'good'"),
    ],
)
def test_bad_settings(planted: Any, settings: dict[str, Any], message: str) -> None:
    X, y, library, _ = planted
    with pytest.raises(InvalidArgumentError, match=message):
        PromptOptimizer(**settings).fit(X, y, library)


def test_bad_data(planted: Any) -> None:
    X, y, library, _ = planted
    fit = PromptOptimizer(random_state=0).fit
    for arguments, message in (
        ({}, "library is None, expected sentences of each class, or templates"),
        ({"library": {}}, "library is {}, expected a mapping"),
        ({"library": library | {"ant": []}}, r"library\['ant'\] is empty, expected at least one sentence"),
        ({"library": library | {"ant": np.eye(3)}}, r"library\['ant'\] has dim 3, expected 24"),
        ({"library": library | {"ant": np.zeros((1, 24))}}, r"library\['ant'\]\[0\] is zero"),
        ({"library": {"ant": library["ant"]}}, "y holds 'bee', expected one of"),
        ({"templates": np.ones((3, 4, 24))}, r"templates has shape \(3, 4, 24\), expected \(n, 5, 24\)"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            fit(X, y, **arguments)  # type: ignore[arg-type]
    with pytest.raises(NotBuiltError, match="this PromptOptimizer"):
        PromptOptimizer().classifier()
