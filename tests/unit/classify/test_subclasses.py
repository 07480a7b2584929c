"""SubclassPrototypes: METHODS 6.4."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.classify import NearestClassMean, SubclassPrototypes
from engine.classify.subclasses import principal_scores, without
from engine.exceptions import InvalidArgumentError

METHODS: list[Any] = ["lelp", "kmeans", "pca_sign"]


@pytest.fixture
def blobs(rng: np.random.Generator) -> tuple[Any, Any]:
    """Two classes of three blobs each, at the corners of two triangles about the same middle."""
    angles = np.pi / 3 * np.arange(6)
    middles = 6 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    blob = np.arange(240) % 6
    X = np.column_stack([middles[blob], np.full(240, 3.0)]) + 0.3 * rng.standard_normal((240, 3))
    return X, np.array(["a", "b"])[blob % 2]


def test_one_subclass_is_the_class_mean(blobs: Any) -> None:
    X, y = blobs
    for method in METHODS:
        for metric in ("cosine", "l2"):
            one = SubclassPrototypes(1, method=method, metric=metric).fit(X, y)  # type: ignore[arg-type]
            plain = NearestClassMean(metric).fit(X, y)  # type: ignore[arg-type]
            np.testing.assert_array_equal(one.prototypes_, plain.prototypes_)
            np.testing.assert_array_equal(one.predict(X), plain.predict(X))
            np.testing.assert_allclose(one.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_three_blobs_need_three_prototypes(blobs: Any, metric: Any) -> None:
    pytest.importorskip("sklearn")
    X, y = blobs
    assert NearestClassMean(metric).fit(X, y).score(X, y) < 0.8
    assert SubclassPrototypes(3, method="kmeans", metric=metric).fit(X, y).score(X, y) == 1.0
    signs = SubclassPrototypes(4, null_space=False, metric=metric, method="pca_sign").fit(X, y)
    assert signs.score(X, y) > NearestClassMean(metric).fit(X, y).score(X, y) + 0.1


def test_lelp_helps_where_classes_vary(rng: np.random.Generator) -> None:
    """Many classes, each with blobs along directions of its own."""
    gains = []
    for _ in range(5):
        y = np.arange(1200) % 6
        parts = rng.integers(3, size=1200)
        X = (4 * rng.standard_normal((6, 3, 40)))[y, parts] + rng.standard_normal((1200, 40))
        train, test = np.arange(1200) < 600, np.arange(1200) >= 600
        plain = NearestClassMean("l2").fit(X[train], y[train]).score(X[test], y[test])
        gains.append(SubclassPrototypes(3, metric="l2").fit(X[train], y[train]).score(X[test], y[test]) - plain)
    assert np.mean(gains) > 0


@pytest.mark.parametrize("method", METHODS)
def test_shares_of_subclasses_sum_to_those_of_classes(blobs: Any, method: Any) -> None:
    pytest.importorskip("sklearn")
    X, y = blobs
    clf = SubclassPrototypes(3, method=method, null_space=False, temperature=0.2).fit(X, y)
    shares = clf.subclass_proba(X)
    assert shares.shape == (240, len(clf.prototypes_))
    for code in range(2):
        np.testing.assert_allclose(shares[:, clf.subclass_of_ == code].sum(axis=1), clf.predict_proba(X)[:, code])
    best = clf.prototypes_[shares.argmax(axis=1)]
    assert best.shape == X.shape


@pytest.mark.parametrize("method", ["lelp", "kmeans", "pca_sign"])
def test_a_soft_mixture_is_the_sum_of_its_parts(blobs: Any, method: Any) -> None:
    X, y = blobs
    clf = SubclassPrototypes(3, method=method, null_space=False, soft=True, metric="l2", temperature=0.3).fit(X, y)
    assert np.bincount(clf.subclass_of_, clf.share_) == pytest.approx(np.ones(len(clf.classes_)))
    away = np.square(X.astype(np.float64)[:, None] - clf.prototypes_).sum(axis=2)
    parts = clf.share_ * np.exp(-(away - away.min(axis=1, keepdims=True)) / 0.3)
    parts /= parts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clf.subclass_proba(X), parts, atol=1e-5)
    whole = np.add.reduceat(parts, np.flatnonzero(np.diff(clf.subclass_of_, prepend=-1)), axis=1)
    np.testing.assert_allclose(clf.predict_proba(X), whole, atol=1e-5)
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[clf.predict_proba(X).argmax(axis=1)])


@pytest.mark.parametrize("method", ["lelp", "kmeans", "pca_sign"])
def test_towards_temperature_0_soft_is_hard(blobs: Any, method: Any) -> None:
    X, y = blobs
    hard = SubclassPrototypes(3, method=method, null_space=False, temperature=1e-6).fit(X, y)
    soft = SubclassPrototypes(3, method=method, null_space=False, temperature=1e-6, soft=True).fit(X, y)
    np.testing.assert_allclose(soft.prototypes_, hard.prototypes_, atol=1e-4)
    np.testing.assert_array_equal(soft.predict(X), hard.predict(X))


def test_nothing_is_left_along_the_class_vectors(rng: np.random.Generator) -> None:
    H, W = rng.standard_normal((50, 12)), rng.standard_normal((4, 12))
    rest = without(H, W)
    assert abs(rest @ W.T).max() < 1e-5
    np.testing.assert_allclose(without(rest, W), rest, atol=1e-12)
    assert np.linalg.matrix_rank(rest) == 8


def test_a_rotation_keeps_the_sum_of_variances(rng: np.random.Generator) -> None:
    scores = principal_scores(rng.standard_normal((80, 10)) * np.arange(1, 11), 4, "a")
    rotation = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert (scores @ rotation).var(axis=0).sum() == pytest.approx(scores.var(axis=0).sum())
    assert (np.diff(scores.var(axis=0)) < 0).all()


def test_prototypes_are_means_of_their_rows(blobs: Any) -> None:
    X, y = blobs
    clf = SubclassPrototypes(3, null_space=False).fit(X, y)
    sizes = [len(clf.prototypes_[clf.subclass_of_ == code]) for code in range(2)]
    assert all(1 < size <= 3 for size in sizes)
    again = SubclassPrototypes(3, null_space=False).fit(X, y)
    np.testing.assert_array_equal(again.prototypes_, clf.prototypes_)
    other = SubclassPrototypes(3, null_space=False, random_state=1).fit(X, y)
    assert other.prototypes_.shape != clf.prototypes_.shape or abs(other.prototypes_ - clf.prototypes_).max() > 1e-3


def test_classes_with_few_rows(blobs: Any) -> None:
    X, y = blobs
    X, y = np.concatenate([X, [[5, 5, 5], [6, 5, 5]]]), np.concatenate([y, ["c", "c"]])
    with pytest.warns(UserWarning, match=r"fewer rows than n_subclasses \(3\) in \['c'\]"):
        clf = SubclassPrototypes(3, null_space=False).fit(X, y)
    assert (clf.subclass_of_ == 2).sum() == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_subclasses": 0}, "n_subclasses is 0"),
        ({"method": "tree"}, "method is 'tree'"),
        ({"metric": "l1"}, "metric is 'l1'"),
        ({"null_space": "no"}, "null_space is 'no', expected True or False"),
        ({"temperature": 0}, r"temperature is 0\.0"),
        ({"n_subclasses": 4}, "class 'a' varies in [12] directions, expected 4: ask for fewer parts"),
    ],
)
def test_bad_settings(blobs: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        SubclassPrototypes(**settings).fit(*blobs)


def test_bad_class_vectors(blobs: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="class_vectors has dim 2, expected 3"):
        SubclassPrototypes(2).fit(*blobs, class_vectors=np.eye(2))
