"""Every classifier that learns from vectors and labels keeps scikit-learn's conventions, and takes what ours take."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import engine
from engine.classify import TEEN, KNNClassifier, NearestClassMean, OpenSetClassifier, SubclassPrototypes, TipAdapter
from engine.exceptions import InvalidArgumentError, NotBuiltError

checks = pytest.importorskip("sklearn.utils.estimator_checks")

pytestmark = pytest.mark.filterwarnings(
    "ignore:Estimator .* does not inherit from", "ignore:y holds one class only", "ignore:Estimator's parameters"
)

SUBCLASSES = SubclassPrototypes(2, method="pca_sign", null_space=False, metric="l2")
OPEN = OpenSetClassifier(NearestClassMean("l2"), threshold=-1e30)  # keeps every row: predictions are those of its base

# What scikit-learn is checked with; "l2" where there is a choice, since its data hold zero rows.
ESTIMATORS = [KNNClassifier(3, metric="l2"), NearestClassMean("l2"), TEEN(), TipAdapter(1.0, 20.0), OPEN, SUBCLASSES]

# The checks of scikit-learn that ask for something else than our contract.
DIFFERENT = {
    "check_estimators_unfitted": "predicting before fit raises engine.NotBuiltError",
    "check_n_features_in_after_fitting": "the message is ours: X has dim 3, expected 2",
    "check_complex_data": "the message is ours: X has dtype complex128",
    "check_dtype_object": "objects that are no numbers are a ValueError, not a TypeError",
    "check_estimators_empty_data_messages": "the message is ours: X has dim 0",
    "check_estimators_nan_inf": "the message is ours: X[0, 0] is nan",
    "check_requires_y_none": "the message is ours: y has shape ()",
    "check_supervised_y_2d": "a column of labels is refused, not guessed",
}

DIFFERENT_FOR = {
    TEEN: {
        "check_fit_score_takes_y": "partial_fit takes new classes only",
        "check_estimators_partial_fit_n_features": "partial_fit takes new classes only",
        "check_estimators_dtypes": "a row of zeros has no cosine",
    },
    TipAdapter: {"check_estimators_dtypes": "a row of zeros has no cosine"},
}

# What a grid search tunes; for the others the temperature.
TUNED: dict[Any, Any] = {
    KNNClassifier: ("n_neighbors", [1, 5]),
    TipAdapter: ("beta", [5, 50]),
    OpenSetClassifier: ("base__metric", ["l2", "cosine"]),
}

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # none of ours inherits from scikit-learn's base
    each_check = checks.parametrize_with_checks(
        ESTIMATORS, expected_failed_checks=lambda estimator: DIFFERENT | DIFFERENT_FOR.get(type(estimator), {})
    )


@each_check
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[Any, Any]:
    """200 rows of 4 overlapping classes, none of them near zero."""
    y = np.arange(200) % 4
    return (3 * rng.standard_normal((4, 8)) + 5)[y] + rng.standard_normal((200, 8)), np.array(["a", "b", "c", "d"])[y]


def ids(estimator: Any) -> str:
    return type(estimator).__name__


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=ids)
def test_pickle_clone_pipeline_and_grid_search(estimator: Any, data: Any) -> None:
    base = pytest.importorskip("sklearn.base")
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = data
    fitted = base.clone(estimator).fit(X, y)
    assert not hasattr(estimator, "classes_")
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    name, values = TUNED.get(type(estimator), ("temperature", [0.1, 1.0]))
    steps = make_pipeline(StandardScaler(), base.clone(estimator))
    search = GridSearchCV(steps, {f"{ids(estimator).lower()}__{name}": values}, cv=3).fit(X, y)
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=ids)
def test_what_training_data_may_be(estimator: Any, data: Any) -> None:
    """float16, 32 and 64, data frames and collections: the same numbers, the same classifier."""
    pandas = pytest.importorskip("pandas")
    base = pytest.importorskip("sklearn.base")
    X, y = data
    X = X.astype(np.float16)
    collection = engine.Collection.create(dim=8, metric="l2")
    collection.add(X, ids=1000 - np.arange(200), attributes={"label": y, "group": y})
    expected = base.clone(estimator).fit(X, y).predict_proba(X)
    for rows, labels in (
        (X.astype(np.float32), y),
        (X.astype(np.float64), y.tolist()),
        (np.asfortranarray(X), y.astype(object)),
        (pandas.DataFrame(X.astype(np.float32)), pandas.Series(y)),
        (collection, "label" if estimator is OPEN else None),
        (collection, "group"),
    ):
        fitted = base.clone(estimator).fit(rows, labels)
        np.testing.assert_array_equal(fitted.classes_, ["a", "b", "c", "d"])
        np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(fitted.predict(collection), fitted.predict(X)[::-1])
    with pytest.raises(InvalidArgumentError, match=r"y is 'colour', expected labels or one of the columns \['group'"):
        base.clone(estimator).fit(collection, "colour")


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=ids)
def test_common_bad_input(estimator: Any, data: Any) -> None:
    base = pytest.importorskip("sklearn.base")
    X, y = data
    fresh = base.clone(estimator)
    with pytest.raises(NotBuiltError, match="has not learned anything yet: call fit first"):
        fresh.predict(X)
    for rows, labels, message in (
        (X[:, 0], y, r"X has shape \(200,\)"),
        (X[:0], y[:0], "expected at least one row"),
        (X[:, :0], y, "X has dim 0"),
        (np.where(np.arange(200)[:, None] == 7, np.nan, X), y, r"X\[7, 0\] is nan"),
        (X.astype(str), y, "X has dtype"),
        (X, y[:-1], "y has 199 labels, expected 200"),
        (X, np.where(y == "a", np.nan, 1.0), r"y\[0\] is nan"),
        (X, y[:, None], "expected one label a row"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            fresh.fit(rows, labels)
    fresh.fit(X, y)
    with pytest.raises(InvalidArgumentError, match="X has dim 3, expected 8"):
        fresh.predict(X[:, :3])
    for temperature in (0, -1.0, np.inf, "warm") if type(estimator) not in TUNED else ():
        with pytest.raises(InvalidArgumentError, match="temperature is"):
            fresh.set_params(temperature=temperature).predict_proba(X)


@pytest.mark.parametrize("estimator", [each for each in ESTIMATORS if hasattr(each, "class_scores")], ids=ids)
def test_scores_agree_with_predictions(estimator: Any, data: Any) -> None:
    base = pytest.importorskip("sklearn.base")
    X, y = data
    fitted = base.clone(estimator).fit(X, y)
    scores = fitted.class_scores(X)
    assert scores.shape == (200, 4)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[scores.argmax(axis=1)])
    np.testing.assert_array_equal(fitted.decision_function(X), scores)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1)
    two = base.clone(estimator).fit(X, y == "a")
    np.testing.assert_array_equal(two.decision_function(X) > 0, two.predict(X))
