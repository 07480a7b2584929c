"""Class means and TEEN: METHODS 2's numbers, limits and claims, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.classify import TEEN, NearestClassMean, calibrate_prototypes
from engine.evaluation import FSCILReport, fscil, fscil_sessions
from engine.exceptions import InvalidArgumentError, NotBuiltError

Rows = NDArray[np.float64]


def unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def split(rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """20 rows each of 6 base classes, 3 each of 3 new ones, in 10 dimensions."""
    means = rng.standard_normal((9, 10)) * 3
    y_base, y_new = np.arange(6).repeat(20), np.arange(6, 9).repeat(3)
    return (
        means[y_base] + rng.standard_normal((120, 10)), y_base, means[y_new] + rng.standard_normal((9, 10)), y_new,
    )  # fmt: skip


# The worked example


@pytest.mark.parametrize(("alpha", "expected"), [(0.5, [0.89959, 0.32036, 1.4e-6]), (0.1, [0.81992, 0.54407, 2.8e-7])])
def test_the_worked_example(alpha: float, expected: list[float]) -> None:
    calibrated, weights = calibrate_prototypes([[0.8, 0.6, 0]], np.eye(3), alpha=alpha)
    np.testing.assert_allclose(weights[0], [0.96083, 0.03917, 2.65e-6], rtol=2e-3, atol=5e-6)
    assert weights[0, 2] == pytest.approx(2.65e-6, abs=5e-9)
    np.testing.assert_allclose(calibrated[0, :2], expected[:2], atol=5e-6)
    assert calibrated[0, 2] == pytest.approx(expected[2], abs=1e-7)


# Means


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("normalised", [False, True])
def test_means_against_plain_numpy(split: Any, metric: Any, normalised: bool) -> None:
    X, y, queries, _ = split
    rows = unit(X) if normalised else X
    means = np.stack([rows[y == c].mean(axis=0) for c in range(6)])
    similar = {
        "cosine": unit(queries) @ unit(means).T,
        "ip": queries @ means.T,
        "l2": -np.square(queries[:, None] - means).sum(axis=2),
    }[metric]
    ncm = NearestClassMean(metric, normalize_before_mean=normalised, temperature=0.5).fit(X, y)
    np.testing.assert_allclose(ncm.prototypes_, means, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ncm.class_scores(queries), similar, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ncm.predict(queries), similar.argmax(axis=1))
    shares = np.exp(2 * (similar - similar.max(axis=1, keepdims=True)))
    np.testing.assert_allclose(ncm.predict_proba(queries), shares / shares.sum(axis=1, keepdims=True), atol=1e-4)


def test_squared_distance_agrees_with_scikit_learn(split: Any) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    X, y, queries, _ = split
    theirs = neighbors.NearestCentroid().fit(X, y)
    ours = NearestClassMean("l2").fit(X, y)
    np.testing.assert_array_equal(ours.predict(queries), theirs.predict(queries))


def test_partial_fit_is_fit_on_all_rows(split: Any) -> None:
    X, y, X_new, y_new = split
    parts = NearestClassMean().fit(X[::2], y[::2]).partial_fit(X_new, y_new).partial_fit(X[1::2], y[1::2])
    whole = NearestClassMean().fit(np.concatenate([X, X_new]), np.concatenate([y, y_new]))
    np.testing.assert_array_equal(parts.classes_, whole.classes_)
    np.testing.assert_array_equal(parts.class_count_, [20] * 6 + [3] * 3)
    np.testing.assert_allclose(parts.prototypes_, whole.prototypes_, rtol=1e-6)


def test_of_equal_scores_the_first_class_wins() -> None:
    ncm = NearestClassMean().fit([[0, 1], [1, 0]], ["b", "a"])
    assert ncm.predict([[1, 1]]).tolist() == ["a"]


# TEEN's limits


def test_no_shift_is_the_nearest_class_mean(split: Any, rng: np.random.Generator) -> None:
    X, y, X_new, y_new = split
    queries = 3 * rng.standard_normal((500, 10))
    teen = TEEN(0).fit(X, y).partial_fit(X_new, y_new)
    ncm = NearestClassMean().fit(X, y).partial_fit(X_new, y_new)
    np.testing.assert_array_equal(teen.predict(queries), ncm.predict(queries))
    np.testing.assert_allclose(teen.prototypes_, unit(ncm.prototypes_), atol=1e-7)


def test_full_shift_is_inside_the_cone_of_base_prototypes(split: Any) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    X, y, X_new, y_new = split
    teen = TEEN(1).fit(X, y).partial_fit(X_new, y_new)
    for prototype in teen.prototypes_[~teen.base_mask_]:
        _, residual = optimize.nnls(
            teen.prototypes_[teen.base_mask_].T.astype(np.float64), prototype.astype(np.float64)
        )
        assert residual < 1e-6
        assert np.linalg.norm(prototype) == pytest.approx(1, abs=1e-6)


def test_a_tiny_tau_draws_to_the_mean_of_the_unit_base_prototypes(split: Any) -> None:
    X, y, X_new, _ = split
    base = np.stack([(1 + c) * X[y == c].mean(axis=0) for c in range(6)])  # lengths do not count
    calibrated, weights = calibrate_prototypes(X_new, base, alpha=1, tau=1e-9)
    np.testing.assert_allclose(weights, 1 / 6)
    np.testing.assert_allclose(calibrated, unit(unit(base).mean(axis=0, keepdims=True)).repeat(9, axis=0), atol=1e-7)


def test_a_huge_tau_draws_to_the_nearest_base_prototype(split: Any) -> None:
    X, y, X_new, _ = split
    base = unit(np.stack([X[y == c].mean(axis=0) for c in range(6)]))
    calibrated, _ = calibrate_prototypes(X_new, base, alpha=1, tau=1e6)
    np.testing.assert_allclose(calibrated, base[(X_new @ base.T).argmax(axis=1)], atol=1e-9)


def test_weights_sum_to_one_and_follow_the_base_classes(split: Any, rng: np.random.Generator) -> None:
    X, y, X_new, _ = split
    order = rng.permutation(6)
    base = np.stack([X[y == c].mean(axis=0) for c in range(6)])
    calibrated, weights = calibrate_prototypes(X_new, base)
    permuted, permuted_weights = calibrate_prototypes(X_new, base[order])
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(permuted_weights, weights[:, order])
    np.testing.assert_allclose(permuted, calibrated)


def test_rotating_everything_rotates_the_prototypes(split: Any, rng: np.random.Generator) -> None:
    X, y, X_new, y_new = split
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    plain = TEEN().fit(X, y).partial_fit(X_new, y_new)
    turned = TEEN().fit(X @ rotation, y).partial_fit(X_new @ rotation, y_new)
    np.testing.assert_allclose(turned.prototypes_, plain.prototypes_ @ rotation, atol=1e-5)


def test_base_classes_stay_as_they_were(split: Any, rng: np.random.Generator) -> None:
    X, y, X_new, y_new = split
    queries = rng.standard_normal((200, 10))
    teen = TEEN().fit(X, y)
    before, scores = teen.prototypes_.copy(), teen.class_scores(queries)
    teen.partial_fit(X_new, y_new)
    np.testing.assert_array_equal(teen.prototypes_[teen.base_mask_], before)
    np.testing.assert_array_equal(teen.class_scores(queries)[:, :6], scores)


def test_sessions_do_not_see_each_other(split: Any) -> None:
    """Each new class is calibrated by base classes alone, whatever came before it, and in one call as in many."""
    X, y, X_new, y_new = split
    together = TEEN().fit(X, y).partial_fit(X_new, y_new)
    apart = TEEN().fit(X, y)
    for c in (8, 6, 7):
        apart.partial_fit(X_new[y_new == c], y_new[y_new == c])
    at_once = TEEN(base_classes=range(6)).fit(np.concatenate([X_new, X]), np.concatenate([y_new, y]))
    for other in (apart, at_once):
        np.testing.assert_array_equal(other.classes_, together.classes_)
        np.testing.assert_array_equal(other.base_mask_, together.base_mask_)
        np.testing.assert_allclose(other.prototypes_, together.prototypes_, atol=1e-7)
        np.testing.assert_allclose(other.weights_, together.weights_, rtol=1e-5)


def test_new_classes_may_sort_before_the_base(split: Any) -> None:
    X, y, X_new, y_new = split
    teen = TEEN().fit(X, [f"m{c}" for c in y]).partial_fit(X_new, [{6: "z", 7: "a", 8: "n"}[c] for c in y_new])
    assert teen.classes_.tolist() == ["a", "m0", "m1", "m2", "m3", "m4", "m5", "n", "z"]
    assert teen.base_mask_.tolist() == [False] + [True] * 6 + [False] * 2
    plain = TEEN().fit(X, y).partial_fit(X_new, y_new)
    np.testing.assert_allclose(teen.prototypes_[[8, 0, 7]], plain.prototypes_[6:], atol=1e-7)
    np.testing.assert_allclose(teen.weights_, plain.weights_[[1, 2, 0]], rtol=1e-6)


# What it is for


def few_shot_errors(rng: np.random.Generator, related: bool) -> tuple[float, float]:
    """Mean angle between the true and the learned means of new classes, without and with calibration."""
    n_base, n_new, dim, rank = 40, 20, 64, 5
    basis = np.linalg.qr(rng.standard_normal((dim, 2 * rank)))[0].T
    base = unit(np.abs(rng.standard_normal((n_base, rank))) @ basis[:rank])
    # Related new classes lie among the base ones; the others in directions of their own.
    new = unit(np.abs(rng.standard_normal((n_new, rank))) @ (basis[:rank] if related else basis[rank:]))
    seen = new + 0.25 * rng.standard_normal((n_new, dim)) / np.sqrt(3)  # means of 3 shots
    angles = [
        np.arccos((unit(calibrate_prototypes(seen, base, alpha=alpha)[0]) * new).sum(axis=1)).mean()
        for alpha in (0, 0.5)
    ]
    return float(angles[0]), float(angles[1])


def test_calibration_helps_where_new_classes_resemble_the_base(rng: np.random.Generator) -> None:
    plain, calibrated = few_shot_errors(rng, related=True)
    assert calibrated < 0.7 * plain


def test_calibration_does_not_help_where_they_are_orthogonal(rng: np.random.Generator) -> None:
    plain, calibrated = few_shot_errors(rng, related=False)
    assert calibrated > plain


def test_calibration_raises_the_accuracy_of_new_classes(rng: np.random.Generator) -> None:
    gains = []
    for _ in range(10):
        basis = rng.standard_normal((6, 32))
        means = unit(np.abs(rng.standard_normal((20, 6))) @ basis)
        y = np.arange(20).repeat(100)
        X = means[y] + 0.2 * rng.standard_normal((2000, 32))
        sessions = fscil_sessions(X[::2], y[::2], X[1::2], y[1::2], n_base=10, n_way=5, n_shots=1)
        gains.append(fscil(TEEN(), sessions).new[-1] - fscil(NearestClassMean(), sessions).new[-1])
    assert np.mean(gains) > 2 * np.std(gains) / np.sqrt(10)


# The protocol


def test_a_report_by_hand() -> None:
    class Oracle:
        """Predicts what it is told to."""

        def fit(self, X: Any, y: Any) -> Any:
            return self

        partial_fit = fit

        def predict(self, X: Any) -> Any:
            return X[:, 0].astype(int)

    first = ([[9.0]], [0, 1], [[0], [0], [1], [0]], [0, 0, 1, 1])  # class 0 right, class 1 half
    second = ([[9.0]], [2], [[2], [0], [1], [2]], [2, 2, 2, 2])  # half right, half taken for base
    report = fscil(Oracle(), [first, second])
    np.testing.assert_allclose(report.session_accuracy, [0.75, 0.625])
    np.testing.assert_allclose(report.base, [0.75, 0.75])
    np.testing.assert_allclose(report.new, [np.nan, 0.5])
    np.testing.assert_allclose(report.harmonic_mean, [np.nan, 0.6])
    np.testing.assert_allclose(report.base_confusion, [np.nan, 0.5])
    assert report.average == pytest.approx(0.6875)
    assert report.performance_drop == pytest.approx(0.125)
    assert str(report).count("\n") == 3


def test_base_accuracy_counts_each_class_once() -> None:
    class First:
        def fit(self, X: Any, y: Any) -> Any:
            return self

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X), int)

    report: FSCILReport = fscil(First(), [(np.eye(2), [0, 1], np.ones((10, 1)), [0] * 9 + [1])])
    assert report.session_accuracy[0] == pytest.approx(0.9)
    assert report.base[0] == pytest.approx(0.5)


def test_sessions_are_what_was_asked_for(rng: np.random.Generator) -> None:
    y, X = rng.permutation(np.arange(10).repeat(8)), rng.standard_normal((80, 3)).astype(np.float32)
    for seed in (None, 3):
        sessions = fscil_sessions(X, y, X, y, n_base=4, n_way=3, n_shots=5, random_state=seed)
        classes = [np.unique(labels).tolist() for _, labels, _, _ in sessions]
        assert [len(part) for part in classes] == [4, 3, 3]
        assert sorted(name for part in classes for name in part) == list(range(10))
        assert [len(labels) for _, labels, _, _ in sessions] == [32, 15, 15]
        for rows, labels, tests, tested in sessions:
            assert set(tested) == set(labels)
            for part, names in ((rows, labels), (tests, tested)):
                places = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in part]
                np.testing.assert_array_equal(y[places], names)
    assert classes[0] != [0, 1, 2, 3]


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, "alpha is -0.1, expected a number from 0 to 1"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"alpha": "half"}, "alpha is 'half', expected a number"),
        ({"tau": 0}, "tau is 0.0, expected a number above 0"),
        ({"tau": np.inf}, "tau is inf"),
        ({"base_classes": ["a", "z"]}, "base_classes holds 'z', of which y has no row"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        TEEN(**settings).fit(np.eye(2), ["a", "b"])


def test_bad_sessions() -> None:
    teen = TEEN()
    with pytest.raises(NotBuiltError, match="call fit first"):
        teen.partial_fit(np.eye(2), ["a", "b"])
    teen.fit(np.eye(3), ["a", "b", "c"])
    with pytest.raises(InvalidArgumentError, match="y holds 'b', which is known already, expected new classes"):
        teen.partial_fit([[1, 1, 0], [1, 0, 1]], ["d", "b"])
    with pytest.raises(InvalidArgumentError, match="X has dim 2, expected 3"):
        teen.partial_fit([[1, 1]], ["d"])
    with pytest.raises(InvalidArgumentError, match="differ in kind"):
        teen.partial_fit([[1, 1, 0]], [4])
    with pytest.raises(InvalidArgumentError, match=r"the means of y\[0\] is zero"):
        teen.partial_fit([[1, 1, 0], [-1, -1, 0]], ["d", "d"])
    assert teen.classes_.tolist() == ["a", "b", "c"]
    with pytest.raises(InvalidArgumentError, match=r"X\[0\] is zero, expected a direction"):
        teen.predict([[0, 0, 0]])


@pytest.mark.parametrize(
    ("new", "base", "message"),
    [
        ([[1, 0]], [[1, 0, 0]], r"new has shape \(1, 2\), base \(1, 3\)"),
        ([[1, 0]], np.empty((0, 2)), r"base \(0, 2\)"),
        ([1, 0], [[1, 0]], r"new has shape \(2,\)"),
        ([[0, 0]], [[1, 0]], r"new\[0\] is zero"),
        ([[1, 0]], [[1, 0], [0, 0]], r"base\[1\] is zero"),
        ([[1, 0]], [[0, 1], [0, -1]], "the weighted mean of base"),
    ],
)
def test_bad_prototypes(new: Any, base: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        calibrate_prototypes(new, base)


def test_bad_means() -> None:
    with pytest.raises(InvalidArgumentError, match=r"the means of y\[1\] is zero"):
        NearestClassMean().fit([[1, 0], [0, 1], [0, -1]], ["a", "b", "b"])
    with pytest.raises(InvalidArgumentError, match=r"X\[1\] is zero"):
        NearestClassMean("l2", normalize_before_mean=True).fit([[1, 0], [0, 0]], ["a", "b"])
    with pytest.raises(InvalidArgumentError, match="metric is 'l1'"):
        NearestClassMean("l1").fit(np.eye(2), ["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="normalize_before_mean is 1, expected True or False"):
        NearestClassMean(normalize_before_mean=1).fit(np.eye(2), ["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="y holds 'c', expected one of classes"):
        NearestClassMean().partial_fit(np.eye(2), ["a", "c"], classes=["a", "b"])
    with pytest.warns(UserWarning, match="y holds one class only"):
        NearestClassMean().fit(np.eye(2), ["a", "a"])


def test_bad_protocols() -> None:
    eye, labels = np.eye(2), ["a", "b"]
    with pytest.raises(InvalidArgumentError, match="sessions is empty"):
        fscil(NearestClassMean(), [])
    with pytest.raises(InvalidArgumentError, match="session 1 holds 'b', a class of an earlier session"):
        fscil(NearestClassMean(), [(eye, labels, eye, labels), (eye[:1], ["b"], eye[:1], ["b"])])
    with pytest.raises(InvalidArgumentError, match="session 0 tests 'c', for which it has no training row"):
        fscil(NearestClassMean(), [(eye, labels, eye, ["a", "c"])])
    many = (np.eye(9), np.arange(9), np.eye(9), np.arange(9))
    with pytest.raises(InvalidArgumentError, match="n_base is 4, n_way 2, expected 9 classes"):
        fscil_sessions(*many, n_base=4, n_way=2)
    with pytest.raises(InvalidArgumentError, match="n_base is 12, n_way 2"):
        fscil_sessions(*many, n_base=12, n_way=2)
    with pytest.raises(InvalidArgumentError, match="n_shots is 5, expected at most 1"):
        fscil_sessions(*many, n_base=5, n_way=2)
