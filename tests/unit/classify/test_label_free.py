"""LabelFreeAdapter: METHODS 3.5."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from engine.classify import LabelFreeAdapter, NearestClassMean, ensemble_logits, select_confident
from engine.classify._network import NetworkClassifier, forward, gradients
from engine.exceptions import InvalidArgumentError, NotBuiltError

HEADS: list[Any] = ["mlp", "linear", "knn", "prototype"]


@pytest.fixture
def views(rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Weak vectors near text vectors under much noise, strong ones in clear clusters, the text, the classes."""
    codes = np.arange(600) % 4
    text = np.linalg.qr(rng.standard_normal((16, 4)))[0].T
    weak = text[codes] + 0.6 * rng.standard_normal((600, 16))
    strong = 4 * rng.standard_normal((4, 24))[codes] + rng.standard_normal((600, 24))
    return weak, strong, text, np.array(["a", "b", "c", "d"])[codes]


@pytest.mark.parametrize("head", HEADS)
def test_strong_vectors_learn_from_weak_labels(views: Any, head: Any) -> None:
    weak, strong, text, y = views
    zero_shot = NearestClassMean().fit(text, ["a", "b", "c", "d"]).score(weak, y)
    assert 0.6 < zero_shot < 0.8
    adapter = LabelFreeAdapter(head).fit(weak, text, strong, classes=["a", "b", "c", "d"])
    assert adapter.score(strong, y) > zero_shot + 0.15
    assert adapter.score(strong, y) > 0.95
    assert adapter.predict_proba(strong).shape == (600, 4)
    np.testing.assert_allclose(adapter.predict_proba(strong).sum(axis=1), 1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(adapter)).predict(strong), adapter.predict(strong))


@pytest.mark.parametrize("head", HEADS)
def test_weak_vectors_that_say_nothing_teach_nothing(views: Any, head: Any, rng: np.random.Generator) -> None:
    _, strong, text, y = views
    shares = []
    for _ in range(4):
        noise = rng.standard_normal((600, 16))
        shares.append(LabelFreeAdapter(head, epochs=10).fit(noise, text, strong, classes=list("abcd")).score(strong, y))
    assert abs(np.mean(shares) - 0.25) < 0.2


def test_the_selection_is_the_surest_of_each_class(views: Any) -> None:
    weak, strong, text, _ = views
    adapter = LabelFreeAdapter("prototype").fit(weak, text, strong)
    scores = 100 * weak @ text.T / np.linalg.norm(weak, axis=1, keepdims=True)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    for c in range(4):
        own = np.flatnonzero(shares.argmax(axis=1) == c)
        best = own[np.argsort(-shares[own, c], kind="stable")][:30]  # 0.2 * 600 / 4
        assert set(adapter.selected_[adapter.pseudo_labels_ == c]) == set(best)
    assert len(set(adapter.selected_)) == len(adapter.selected_)
    np.testing.assert_allclose(adapter.confidence_, shares[adapter.selected_].max(axis=1), rtol=1e-4)


def test_the_rule_by_hand() -> None:
    probs = [[0.9, 0.1, 0], [0.6, 0.4, 0], [0.9, 0, 0.1], [0.3, 0.7, 0], [0.95, 0.05, 0]]
    for k, expected in ((1, [4, 3]), (2, [4, 0, 3]), (9, [4, 0, 2, 1, 3])):
        indices, labels, confidence = select_confident(probs, k)
        assert indices.tolist() == expected
        assert labels.tolist() == [0] * (len(expected) - 1) + [1]
        assert confidence.tolist() == [max(probs[i]) for i in expected]
    for n, n_classes, k in ((100, 2, 16), (1000, 2, 100), (1009, 5, 40)):  # max(16, floor(0.2 n / C))
        many = np.full((n, n_classes), 0.5 / (n_classes - 1))
        many[:, 1] = 0.5
        assert len(select_confident(many)[0]) == min(n, k)


def test_classes_without_a_row_are_listed(views: Any) -> None:
    weak, strong, text, _ = views
    far = np.concatenate([text, -text[:1] - text[1:2] - text[2:3]])
    with pytest.warns(UserWarning, match=r"no row is of the classes \['e'\]: they will not be predicted"):
        adapter = LabelFreeAdapter("prototype").fit(weak + text.sum(axis=0), far, strong, classes=list("abcde"))
    assert adapter.missing_ == ["e"]
    assert adapter.classes_.tolist() == list("abcde")
    assert (adapter.predict_proba(strong)[:, 4] == 0).all()
    with pytest.raises(InvalidArgumentError, match="no row is of class 'e'"):
        LabelFreeAdapter("prototype", missing="raise").fit(weak + text.sum(axis=0), far, strong, classes=list("abcde"))


# The network


def test_gradients_against_finite_differences(rng: np.random.Generator) -> None:
    X, codes = rng.standard_normal((7, 5)), rng.integers(3, size=7)
    weights: Any = [rng.standard_normal(shape) for shape in ((5, 4), (4,), (4, 3), (3,))]

    def loss() -> float:
        scores: Any = forward(X, weights)[-1]  # type: ignore[arg-type]
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(7), codes]))

    for part, slope in zip(weights, gradients(X, codes, weights), strict=True):  # type: ignore[arg-type]
        for place in np.ndindex(part.shape):
            before = part[place]
            part[place] = before + 1e-5
            above = loss()
            part[place] = before - 1e-5
            assert slope[place] == pytest.approx((above - loss()) / 2e-5, abs=1e-5)
            part[place] = before


@pytest.mark.parametrize("hidden", [None, 16])
def test_numpy_and_torch_end_at_the_same_weights(views: Any, hidden: int | None) -> None:
    pytest.importorskip("torch")
    _, strong, _, y = views
    ours, theirs = (
        NetworkClassifier(hidden, epochs=3, backend=backend, random_state=5).fit(strong, y)
        for backend in ("numpy", "torch")  # type: ignore[arg-type]
    )
    for left, right in zip(ours.weights_, theirs.weights_, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)
    np.testing.assert_allclose(ours.class_scores(strong), theirs.class_scores(strong), atol=1e-2)


def test_the_same_seed_gives_the_same_network(views: Any) -> None:
    weak, strong, text, _ = views
    first, again, other = (
        LabelFreeAdapter(epochs=2, random_state=seed).fit(weak, text, strong).predict_proba(strong)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert abs(first - other).max() > 1e-3


@pytest.mark.parametrize("setting", [{"hidden": 8}, {"epochs": 1}, {"lr": 1e-4}, {"k": 4}, {"logit_scale": 1.0}])
def test_every_setting_counts(views: Any, setting: dict[str, Any]) -> None:
    weak, strong, text, _ = views
    plain = LabelFreeAdapter(epochs=3).fit(weak, text, strong)
    changed = LabelFreeAdapter(**({"epochs": 3} | setting)).fit(weak, text, strong)
    assert not np.array_equal(changed.predict_proba(strong), plain.predict_proba(strong))


# Ensembles


def test_ensembles(rng: np.random.Generator) -> None:
    first, second = rng.standard_normal((2, 9, 4))
    for weight, alone in ((1.0, first), (0.0, second)):
        mixed = np.exp(ensemble_logits(first, second, weight))
        np.testing.assert_allclose(mixed, np.exp(alone) / np.exp(alone).sum(axis=1, keepdims=True))
    mixed = np.exp(ensemble_logits(first + 5, second * 1000, 2 / 3))
    np.testing.assert_allclose(mixed.sum(axis=1), 1)
    product = np.exp(first) ** (2 / 3) * np.exp(second) ** (1 / 3)
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(ensemble_logits(first, second, 2 / 3)), expected)


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "tree"}, "head is 'tree', expected one of 'mlp'"),
        ({"backend": "jax"}, "backend is 'jax'"),
        ({"missing": "ignore"}, "missing is 'ignore'"),
        ({"hidden": 0}, "hidden is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": 0}, "lr is 0.0, expected a number above 0"),
        ({"logit_scale": -1}, "logit_scale is -1.0"),
        ({"k": 0}, "k is 0"),
        ({"k": "all"}, "k is 'all', expected an integer"),
    ],
)
def test_bad_settings(views: Any, settings: dict[str, Any], message: str) -> None:
    weak, strong, text, _ = views
    with pytest.raises(InvalidArgumentError, match=message):
        LabelFreeAdapter(**settings).fit(weak, text, strong)


def test_bad_data(views: Any) -> None:
    weak, strong, text, _ = views
    for arguments, message in (
        ((weak, text, strong[:-1]), "X_visual has 599 rows, expected 600: those of X_clip"),
        ((weak[:, :3], text, strong), "class_embeddings has dim 16, expected 3"),
        ((0 * weak, text, strong), r"X_clip\[0\] is zero"),
        ((weak, text, strong * np.nan), r"X_visual\[0, 0\] is nan"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            LabelFreeAdapter("prototype").fit(*arguments)
    with pytest.raises(InvalidArgumentError, match="class_embeddings has 4 rows, expected 3"):
        LabelFreeAdapter("prototype").fit(weak, text, strong, classes=["a", "b", "c"])
    with pytest.raises(NotBuiltError, match="this LabelFreeAdapter"):
        LabelFreeAdapter().predict(strong)
    for probs, message in (
        ([[0.5, 0.4]], r"probs\[0\] sums to 0.9, expected shares that sum to 1"),
        ([[0.5, 0.5], [1.5, -0.5]], r"probs\[1\] sums to 1"),
        ([[np.nan, 1]], r"probs\[0\] sums to nan"),
        ([0.5, 0.5], r"probs has shape \(2,\)"),
        (np.empty((0, 2)), r"probs has shape \(0, 2\)"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            select_confident(probs)
    with pytest.raises(InvalidArgumentError, match=r"weight is 2\.0, expected a number from 0 to 1"):
        ensemble_logits([[1, 2]], [[1, 2]], 2)
    with pytest.raises(InvalidArgumentError, match=r"second has shape \(1, 3\), first \(1, 2\)"):
        ensemble_logits([[1, 2]], [[1, 2, 3]])
