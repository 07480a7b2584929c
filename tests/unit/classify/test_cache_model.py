"""TipAdapter: METHODS 3.4."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.classify import KNNClassifier, TipAdapter
from engine.classify.cache_model import ALPHAS, BETAS, SCALES
from engine.exceptions import InvalidArgumentError

Rows = NDArray[np.float64]


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Text vectors of 5 classes, 4 shots each, 200 queries and their labels; names do not sort as rows."""
    names = np.array(["e", "b", "d", "a", "c"])
    text = rng.standard_normal((5, 16))
    images = text + 1.5 * rng.standard_normal((5, 16))
    codes = np.arange(200) % 5
    X = images[np.arange(20) % 5] + rng.standard_normal((20, 16))
    return text, (X, names[np.arange(20) % 5]), (images[codes] + rng.standard_normal((200, 16)), names[codes]), names


def unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def oracle(queries: Rows, X: Rows, y: Any, text: Rows, names: Any, alpha: float, beta: float) -> Rows:
    """100 x W^T + alpha exp(-beta (1 - x F^T)) Y, columns sorted by class."""
    order = np.argsort(names)
    one_hot = y[:, None] == names[order]
    affinity = np.exp(-beta * (1 - unit(queries) @ unit(X).T))
    return 100 * unit(queries) @ unit(text)[order].T + alpha * affinity @ one_hot


def test_the_formula_and_its_numbers(data: Any) -> None:
    text, (X, y), (queries, _), names = data
    tip = TipAdapter(30.0, 5.5).fit(X, y, text, classes=names)
    scores = oracle(queries, X, y, text, names, 30.0, 5.5)
    np.testing.assert_allclose(tip.class_scores(queries), scores, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(tip.predict(queries), np.sort(names)[scores.argmax(axis=1)])
    for beta, phi in ((1.0, 0.60653), (5.5, 0.06393)):  # of a cosine of 0.5
        one = TipAdapter(1.0, beta).fit([[0.5, np.sqrt(0.75)], [-1, 0]], ["a", "b"])
        assert one.class_scores([[1, 0]])[0, 0] == pytest.approx(phi, abs=5e-6)


def test_no_alpha_is_zero_shot(data: Any) -> None:
    text, (X, y), (queries, _), names = data
    tip = TipAdapter(0).fit(X, y, text, classes=names)
    np.testing.assert_allclose(
        tip.class_scores(queries), 100 * unit(queries) @ unit(text)[np.argsort(names)].T, rtol=1e-4
    )


def test_no_beta_adds_the_shots_of_each_class(data: Any) -> None:
    text, (X, y), (queries, _), names = data
    plain = TipAdapter(0).fit(X, y, text, classes=names)
    tip = TipAdapter(2.5, 0).fit(X, y, text, classes=names)
    np.testing.assert_allclose(tip.class_scores(queries) - plain.class_scores(queries), 2.5 * 4, atol=1e-4)
    np.testing.assert_array_equal(tip.predict(queries), plain.predict(queries))


def test_a_huge_beta_keeps_exact_duplicates_alone(data: Any) -> None:
    text, (X, y), (queries, _), names = data
    tip = TipAdapter(1000, 1e9).fit(X, y, text, classes=names)
    plain = TipAdapter(0).fit(X, y, text, classes=names)
    np.testing.assert_allclose(tip.class_scores(queries), plain.class_scores(queries))
    np.testing.assert_array_equal(tip.predict(X), y)
    own = tip.class_scores(X) - plain.class_scores(X)
    np.testing.assert_allclose(own, 1000.0 * (y[:, None] == np.sort(names)), rtol=1e-5)


@pytest.mark.parametrize("n_neighbors", [None, 1, 7, 20, 50])
def test_without_text_it_is_the_weighted_vote(data: Any, n_neighbors: int | None) -> None:
    """exp(-beta (1 - s)) = exp(-beta) exp(s / T) with T = 1 / beta."""
    _, (X, y), (queries, _), _ = data
    beta = 5.5
    tip = TipAdapter(1.0, beta, n_neighbors=n_neighbors).fit(X, y).class_scores(queries)
    knn = KNNClassifier(min(n_neighbors or 20, 20), temperature=1 / beta).fit(X, y).predict_proba(queries)
    np.testing.assert_allclose(tip / tip.sum(axis=1, keepdims=True), knn, rtol=1e-5, atol=1e-6)


def test_the_grid_against_a_plain_loop(data: Any) -> None:
    text, (X, y), (queries, labels), names = data
    tip = TipAdapter().fit(X, y, text, classes=names, X_val=queries, y_val=labels)
    table = np.array(
        [
            [np.mean(np.sort(names)[oracle(queries, X, y, text, names, a, b).argmax(axis=1)] == labels) for a in ALPHAS]
            for b in BETAS
        ]
    )
    assert tip.validation_accuracy_ == pytest.approx(table.max())
    i, j = np.argwhere(table == table.max())[0]
    assert (tip.beta_, tip.alpha_) == (BETAS[i], ALPHAS[j])
    assert tip.score(queries, labels) == pytest.approx(table.max())
    assert (len(BETAS), len(ALPHAS)) == (200, 20)
    assert (BETAS[0], ALPHAS[0]) == (0.1, 0.1)
    assert BETAS[-1] == pytest.approx(0.1 + 199 * 6.9 / 200)


def test_the_logit_scale_is_chosen_by_validation_rows_too(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text, (X, y), (queries, labels), names = data
    few: dict[str, Any] = {"classes": names, "X_val": queries[:40], "y_val": labels[:40]}
    monkeypatch.setattr("engine.classify.cache_model.BETAS", BETAS[::40])
    found = [TipAdapter(logit_scale=scale).fit(X, y, text, **few) for scale in SCALES]
    best = TipAdapter(search="scales").fit(X, y, text, **few)
    accuracies = [tip.validation_accuracy_ for tip in found]
    assert best.validation_accuracy_ == max(accuracies)
    first = found[int(np.argmax(accuracies))]
    assert (best.logit_scale_, best.beta_, best.alpha_) == (first.logit_scale_, first.beta_, first.alpha_)
    np.testing.assert_array_equal(best.predict(queries), first.predict(queries))
    assert TipAdapter(search="scales").fit(X, y, text, classes=names).logit_scale_ == 100


def test_labelled_rows_help(data: Any) -> None:
    text, (X, y), (queries, labels), names = data
    zero_shot = TipAdapter(0).fit(X, y, text, classes=names)
    tip = TipAdapter().fit(X, y, text, classes=names, X_val=queries[:100], y_val=labels[:100])
    wide = TipAdapter(60, 5).fit(X, y, text, classes=names)
    assert tip.score(queries[100:], labels[100:]) >= zero_shot.score(queries[100:], labels[100:])
    assert wide.score(queries, labels) > zero_shot.score(queries, labels) + 0.1


def test_batches_and_pickles_change_nothing(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text, (X, y), (queries, labels), names = data
    few = {"X_val": queries[:20], "y_val": labels[:20]}
    tip = TipAdapter().fit(X, y, text, classes=names, **few)
    scores = tip.class_scores(queries)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tip)).class_scores(queries), scores)
    monkeypatch.setattr("engine.classify.cache_model.TILE", 70)
    np.testing.assert_allclose(tip.class_scores(queries), scores, rtol=1e-6)
    again = TipAdapter().fit(X, y, text, classes=names, **few)
    assert (again.alpha_, again.beta_) == (tip.alpha_, tip.beta_)


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"alpha": -1}, {}, "alpha is -1.0, expected a number of at least 0"),
        ({"beta": -0.5}, {}, "beta is -0.5, expected a number of at least 0"),
        ({"beta": np.nan}, {}, "beta is nan"),
        ({"logit_scale": 0}, {}, "logit_scale is 0.0"),
        ({"n_neighbors": 0}, {}, "n_neighbors is 0"),
        ({"search": "random"}, {}, "search is 'random', expected 'grid', 'scales' or None"),
        ({}, {"classes": ["a", "c"], "class_embeddings": np.eye(2)}, "y holds 'b', expected one of classes"),
        ({}, {"classes": ["a", "a"], "class_embeddings": np.eye(2)}, "classes holds 'a' twice"),
        ({}, {"class_embeddings": np.eye(3)}, "class_embeddings has dim 3, expected 2"),
        ({}, {"class_embeddings": [[1, 0]]}, "class_embeddings has 1 rows, expected 2"),
        ({}, {"class_embeddings": [[1, 0], [0, 0]]}, r"class_embeddings\[1\] is zero"),
        ({}, {"X_val": np.eye(2)}, "X_val and y_val: one is None"),
        ({}, {"y_val": ["a", "b"]}, "X_val and y_val: one is None"),
        ({}, {"X_val": np.eye(2), "y_val": ["a", "z"]}, "y_val holds 'z', expected one of classes"),
        ({}, {"X_val": np.eye(3), "y_val": ["a", "b", "a"]}, "X_val has dim 3, expected 2"),
        ({"search": None}, {"X_val": np.eye(2), "y_val": ["a", "b"]}, "X_val is given, expected None"),
    ],
)
def test_bad_input(settings: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        TipAdapter(**settings).fit(np.eye(2), ["a", "b"], **arguments)
