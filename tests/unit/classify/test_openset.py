"""Open sets: METHODS 4.3."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from engine.classify import DomainStandardizer, NearestClassMean, OpenSetClassifier, ZeroShotClassifier
from engine.evaluation import auroc
from engine.exceptions import InvalidArgumentError, NotBuiltError

CRITERIA: list[Any] = ["max_cosine", "max_probability", "energy", "ratio", "margin", "knn", "mahalanobis"]


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """150 rows of 3 classes, and 60 rows far from all of them."""
    y = np.arange(150) % 3
    X = 6 * np.eye(3, 5)[y] + rng.standard_normal((150, 5))
    return X, np.array(["a", "b", "c"])[y], -6 * np.eye(5)[3 + np.arange(60) % 2] + rng.standard_normal((60, 5))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_criteria_against_plain_numpy(data: Any, criterion: Any, metric: Any) -> None:
    X, y, strange = data
    base = NearestClassMean(metric)
    clf = OpenSetClassifier(base, criterion=criterion, temperature=0.5, n_neighbors=3, shrinkage=0.2).fit(X, y)
    assert not hasattr(base, "classes_")
    scores = clf.base_.class_scores(strange).astype(np.float64)
    ordered = np.sort(scores, axis=1)
    means = np.stack([X[y == c].mean(axis=0) for c in "abc"])
    centred = X - means[np.unique(y, return_inverse=True)[1]]
    covariance = 0.8 * centred.T @ centred / 150
    covariance += 0.2 * np.trace(centred.T @ centred / 150) / 5 * np.eye(5)
    differences = strange[:, None] - means
    inverse = np.linalg.inv(covariance)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (strange, X)]
    rows = 1 - unit[0] @ unit[1].T if metric == "cosine" else np.square(strange[:, None] - X).sum(axis=2)
    farthest = 1.0 if metric == "cosine" else 0.0
    expected = {
        "max_cosine": ordered[:, -1],
        "max_probability": clf.base_.predict_proba(strange).max(axis=1),
        "energy": 0.5 * np.log(np.exp(scores / 0.5).sum(axis=1)) if metric == "cosine" else None,
        "ratio": -(farthest - ordered[:, -1]) / (farthest - ordered[:, -2]),
        "margin": ordered[:, -1] - ordered[:, -2],
        "knn": -np.sort(rows, axis=1)[:, 2],
        "mahalanobis": -np.einsum("nci,ij,ncj->nc", differences, inverse, differences).min(axis=1),
    }[criterion]
    if expected is not None:
        np.testing.assert_allclose(clf.score_samples(strange), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("tpr", [0.5, 0.9, 0.95, 1.0])
def test_the_threshold_keeps_what_it_was_asked_to(data: Any, criterion: Any, tpr: float) -> None:
    X, y, _ = data
    clf = OpenSetClassifier(NearestClassMean(), criterion=criterion, target_tpr=tpr)
    clf.fit(X[:90], y[:90], X_val=X[90:])
    kept = (clf.predict(X[90:]) != "unknown").sum()
    assert kept == np.ceil(tpr * 60)


def test_a_threshold_for_each_class(data: Any) -> None:
    X, y, _ = data
    X = np.where((y == "a")[:, None], 3 * X, X)  # far from the mean, under squared distance
    one = OpenSetClassifier(NearestClassMean("l2"), target_tpr=0.9).fit(X, y)
    each = OpenSetClassifier(NearestClassMean("l2"), target_tpr=0.9, per_class=True).fit(X, y)
    assert each.threshold_.shape == (3,)
    labels = each.base_.predict(X)
    for name in "abc":
        own = labels == name
        assert (each.predict(X[own]) != "unknown").sum() == np.ceil(0.9 * own.sum())
    assert (one.predict(X[labels == "a"]) != "unknown").mean() < 0.8


@pytest.mark.parametrize("criterion", ["max_cosine", "knn", "mahalanobis"])
def test_what_is_far_away_is_told_apart(data: Any, criterion: Any) -> None:
    X, y, strange = data
    clf = OpenSetClassifier(NearestClassMean(), criterion=criterion).fit(X[:90], y[:90])
    known = np.arange(120) < 60
    assert auroc(known, clf.score_samples(np.concatenate([X[90:], strange]))) == 1.0
    assert (clf.predict(strange) == "unknown").all()
    assert (clf.predict(X[90:]) == y[90:]).mean() > 0.8


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_same_distribution_is_not_told_apart(data: Any, criterion: Any, rng: np.random.Generator) -> None:
    X, y, _ = data
    clf = OpenSetClassifier(NearestClassMean(), criterion=criterion).fit(X, y)
    more = 6 * np.eye(3, 5)[np.arange(600) % 3] + rng.standard_normal((600, 5))
    known = rng.permutation(np.arange(600) < 300)
    deviation = np.sqrt((300 + 300 + 1) / (12 * 300 * 300))
    assert abs(auroc(known, clf.score_samples(more)) - 0.5) < 3 * deviation


def test_calibration_by_neighbours_leaves_each_row_out(data: Any) -> None:
    X, y, _ = data
    clf = OpenSetClassifier(NearestClassMean(), criterion="knn", target_tpr=1.0).fit(X, y)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    distances = 1 - unit @ unit.T + 2 * np.eye(150)
    assert clf.threshold_ == pytest.approx(-distances.min(axis=1).max(), abs=1e-6)


def test_a_trained_base_is_calibrated_alone() -> None:
    encoders = pytest.importorskip("encoders")
    encoder = encoders.get("hashing")
    names = ["lost card", "bank transfer"]
    with pytest.raises(NotBuiltError, match="this ZeroShotClassifier has not learned"):
        OpenSetClassifier(ZeroShotClassifier(encoder, templates=["{}"])).fit(np.eye(2))
    base = ZeroShotClassifier(encoder, templates=["{}"]).fit(names)
    rows = encoder.encode_queries(["my card is lost", "a transfer to my bank", "the bank transfer"])
    clf = OpenSetClassifier(base, target_tpr=1.0).fit(rows)
    assert clf.base_ is base
    assert clf.predict(rows).tolist() == ["lost card", "bank transfer", "bank transfer"]
    assert clf.predict(encoder.encode_queries(["a red bus"])).tolist() == ["unknown"]
    by_hand = OpenSetClassifier(base, threshold=clf.threshold_).fit()
    np.testing.assert_array_equal(by_hand.predict(rows), clf.predict(rows))


def test_settings_of_the_base_are_its_own(data: Any) -> None:
    base = pytest.importorskip("sklearn.base")
    X, y, strange = data
    clf = OpenSetClassifier(NearestClassMean(), criterion="knn")
    assert clf.get_params()["base__metric"] == "cosine"
    clf.set_params(base__metric="l2", target_tpr=0.9)
    assert clf.base.metric == "l2"
    fitted = base.clone(clf).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(strange), fitted.predict(strange))
    numbers = OpenSetClassifier(NearestClassMean()).fit(X, np.where(y == "a", 5, 7))
    assert set(numbers.predict(np.concatenate([X, strange]))) == {5, 7, -1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"criterion": "softmax"}, "criterion is 'softmax', expected one of 'max_cosine'"),
        ({"target_tpr": 0}, "tpr is 0.0, expected a number above 0 and up to 1"),
        ({"target_tpr": 1.2}, "tpr is 1.2"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"per_class": 1}, "per_class is 1, expected True or False"),
        ({"temperature": 0}, "temperature is 0.0"),
        ({"n_neighbors": 0}, "n_neighbors is 0"),
        ({"shrinkage": 2}, "shrinkage is 2.0, expected a number from 0 to 1"),
        ({"unknown_label": "b"}, "unknown_label is 'b', which is a class"),
        ({"unknown_label": -1}, "unknown_label is -1, expected what the classes are"),
    ],
)
def test_bad_settings(data: Any, settings: dict[str, Any], message: str) -> None:
    X, y, _ = data
    with pytest.raises(InvalidArgumentError, match=message):
        OpenSetClassifier(NearestClassMean(), **settings).fit(X, y)


def test_bad_fits(data: Any) -> None:
    X, y, _ = data
    trained = NearestClassMean().fit(X, y)
    with pytest.raises(InvalidArgumentError, match="threshold is None, expected a number, or rows of known classes"):
        OpenSetClassifier(trained).fit()
    for criterion in ("knn", "mahalanobis"):
        with pytest.raises(InvalidArgumentError, match=f"y is None, expected labels: criterion '{criterion}'"):
            OpenSetClassifier(trained, criterion=criterion).fit(X)  # type: ignore[arg-type]
    for criterion in ("ratio", "margin"):
        with (
            pytest.warns(UserWarning, match="one class only"),
            pytest.raises(InvalidArgumentError, match="two classes"),
        ):
            OpenSetClassifier(NearestClassMean(), criterion=criterion).fit(X, np.full(150, "a"))  # type: ignore[arg-type]
    flat = np.column_stack([X, X[:, 0]])
    singular = OpenSetClassifier(NearestClassMean(), criterion="mahalanobis", shrinkage=0)
    with pytest.raises(InvalidArgumentError, match=r"shrinkage is 0, expected more: .* is singular"):
        singular.fit(flat, y)
    with pytest.raises(InvalidArgumentError, match="X has dim 2, expected 5"):
        singular.fit(X, y).predict(np.eye(2))


# Domains


def test_a_shift_and_a_scale_of_a_domain_are_removed(data: Any) -> None:
    X, _, _ = data
    domains = np.array(["photo", "sketch", "photo"])[np.arange(150) % 3]
    moved = np.where((domains == "sketch")[:, None], 3 * X + np.arange(5), X)
    plain = DomainStandardizer().fit(X, domains).transform(X, domains)
    np.testing.assert_allclose(DomainStandardizer().fit(moved, domains).transform(moved, domains), plain, atol=1e-5)
    for name in ("photo", "sketch"):
        np.testing.assert_allclose(plain[domains == name].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(plain[domains == name].std(axis=0), 1, atol=1e-6)


def test_constant_features_stay_finite_and_strange_domains_are_refused() -> None:
    standardizer = DomainStandardizer().fit([[1, 2], [1, 4], [5, 5]], [0, 0, 1])
    np.testing.assert_allclose(standardizer.transform([[1, 2], [6, 5]], [0, 1]), [[0, -1], [1, 0]])
    with pytest.raises(InvalidArgumentError, match="domains holds 2, expected one of"):
        standardizer.transform([[1, 2]], [2])
    with pytest.raises(NotBuiltError, match="this DomainStandardizer"):
        DomainStandardizer().transform([[1]], [0])


def test_a_base_without_scores_is_refused(data: Any) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y, strange = data
    base = linear_model.LogisticRegression()
    with pytest.raises(InvalidArgumentError, match=r"base is Log.*, expected one with class_scores"):
        OpenSetClassifier(base).fit(X, y)
    clf = OpenSetClassifier(base, criterion="mahalanobis").fit(X, y)
    assert (clf.predict(strange) == "unknown").all()
