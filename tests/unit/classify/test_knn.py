"""engine.classify.KNNClassifier: the checks of METHODS 3.1, bad input, and scikit-learn's conventions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine
from engine.classify import KNNClassifier
from engine.evaluation import ground_truth
from engine.exceptions import InvalidArgumentError, NotBuiltError

Data = tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32]]


@pytest.fixture
def data(rng: np.random.Generator) -> Data:
    """400 training rows of 5 overlapping classes, and 60 queries."""
    labels = rng.choice(["ant", "bee", "cow", "doe", "elk"], 400)
    centres = {name: rng.standard_normal(12) for name in np.unique(labels)}
    points = np.array([centres[name] for name in labels]) + rng.standard_normal((400, 12))
    return points.astype(np.float32), labels, rng.standard_normal((60, 12)).astype(np.float32)


def spiked(similarity: list[float]) -> NDArray[np.float64]:
    """Unit rows with these cosines to (1, 0)."""
    cosines = np.array(similarity)
    return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)


# What METHODS says to verify


def test_the_worked_example() -> None:
    """s = (0.90, 0.80, 0.79), labels (0, 1, 1), T = 0.07: class 0 has 2.2351 times the vote."""
    knn = KNNClassifier(3).fit(spiked([0.90, 0.80, 0.79]), [0, 1, 1])
    shares = knn.predict_proba([[1, 0]])[0]
    assert shares[0] / shares[1] == pytest.approx(2.2351, abs=5e-5)
    assert knn.predict([[1, 0]]).tolist() == [0]


@pytest.mark.parametrize("weights", ["exp", "uniform", "distance"])
def test_one_neighbour_is_the_nearest(data: Data, weights: str) -> None:
    X, y, queries = data
    knn = KNNClassifier(1, weights=weights).fit(X, y)
    np.testing.assert_array_equal(knn.predict(queries), y[ground_truth(queries, X, 1).ids[:, 0]])


def test_a_high_temperature_is_the_uniform_vote(data: Data) -> None:
    X, y, queries = data
    hot = KNNClassifier(temperature=1e12).fit(X, y).predict_proba(queries)
    np.testing.assert_allclose(hot, KNNClassifier(weights="uniform").fit(X, y).predict_proba(queries))


@pytest.mark.parametrize("temperature", [1e-8, 1e-300])
def test_a_low_temperature_is_the_nearest_neighbour(data: Data, temperature: float) -> None:
    X, y, queries = data
    cold = KNNClassifier(temperature=temperature).fit(X, y)
    np.testing.assert_array_equal(cold.predict(queries), KNNClassifier(1).fit(X, y).predict(queries))


@pytest.mark.parametrize("n_neighbors", [1, 5, 20])
def test_exp_equals_scikit_learn(data: Data, n_neighbors: int) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    X, y, queries = data
    theirs = neighbors.KNeighborsClassifier(
        n_neighbors, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(X, y)
    ours = KNNClassifier(n_neighbors).fit(X, y)
    np.testing.assert_array_equal(ours.predict(queries), theirs.predict(queries))
    np.testing.assert_allclose(ours.predict_proba(queries), theirs.predict_proba(queries), atol=1e-5)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize(("metric", "theirs"), [("cosine", "cosine"), ("l2", "euclidean")])
def test_other_weights_equal_scikit_learn(data: Data, weights: str, metric: Any, theirs: str) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    X, y, queries = data
    other = neighbors.KNeighborsClassifier(7, metric=theirs, algorithm="brute", weights=weights).fit(X, y)
    ours = KNNClassifier(7, metric=metric, weights=weights).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(queries), other.predict_proba(queries), atol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_index_and_brute_force_vote_alike(data: Data, metric: Any) -> None:
    X, y, queries = data
    classes, codes = np.unique(y, return_inverse=True)
    found = ground_truth(queries, X, 20, metric=metric)
    votes = np.zeros((len(queries), len(classes)))
    for votes_row, ids, distances in zip(votes, *found, strict=True):
        for i, distance in zip(ids, distances, strict=True):
            votes_row[codes[i]] += np.exp((float(distances[0]) - float(distance)) / 0.07)
    knn = KNNClassifier(metric=metric).fit(X, y)
    np.testing.assert_allclose(knn.predict_proba(queries), votes / votes.sum(axis=1, keepdims=True), atol=1e-4)
    np.testing.assert_array_equal(knn.predict(queries), classes[votes.argmax(axis=1)])


def test_leave_one_out_excludes_the_row_itself(data: Data) -> None:
    X, y, _ = data
    knn = KNNClassifier(1).fit(X, y)
    second = ground_truth(X, X, 2).ids[:, 1]
    np.testing.assert_array_equal(knn.leave_one_out(), y[second])
    assert (knn.predict(X) == y).all()


@pytest.mark.parametrize("weights", ["exp", "uniform"])
def test_leave_one_out_is_fitting_without_each_row(data: Data, weights: str) -> None:
    X, y, _ = (part[:60] for part in data)
    knn = KNNClassifier(5, weights=weights, batch_size=7).fit(X, y)
    rest = [np.arange(len(X)) != i for i in range(len(X))]
    one_by_one = [KNNClassifier(5, weights=weights).fit(X[r], y[r]).predict(X[[i]])[0] for i, r in enumerate(rest)]
    np.testing.assert_array_equal(knn.leave_one_out(), one_by_one)
    assert knn.score(None, y) == np.mean(y == one_by_one)


def test_leave_one_out_lets_duplicates_vote() -> None:
    X, y = np.ones((6, 2)), ["a", "b", "b", "b", "b", "b"]
    knn = KNNClassifier(1).fit(X, y)
    assert knn.leave_one_out().tolist() == ["b", "a", "a", "a", "a", "a"]


@pytest.mark.parametrize("kind", ["mask", "ids", "bitmap"])
def test_a_filter_restricts_the_voters(data: Data, rng: np.random.Generator, kind: str) -> None:
    X, y, queries = data
    mask = rng.random(len(X)) < 0.2
    chosen = {"mask": mask, "ids": np.flatnonzero(mask), "bitmap": engine.Bitmap(mask)}[kind]
    filtered = KNNClassifier(filter=chosen).fit(X, y)
    labels, neighbors = filtered.predict(queries, return_neighbors=True)
    assert mask[neighbors.ids].all()
    np.testing.assert_array_equal(labels, KNNClassifier().fit(X[mask], y[mask]).predict(queries))


def test_leave_one_out_under_a_filter(data: Data, rng: np.random.Generator) -> None:
    """Rows that may not vote are judged by all that may; those that may vote by the others."""
    X, y, _ = (part[:80] for part in data)
    mask = rng.random(80) < 0.5
    ids = KNNClassifier(6, filter=mask).fit(X, y).kneighbors(return_distance=False)
    for row, found in enumerate(ids):
        allowed = mask & (np.arange(80) != row)
        np.testing.assert_array_equal(found, ground_truth(X[[row]], X, 6, mask=allowed).ids[0])


def test_adding_a_constant_to_all_similarities_changes_nothing(data: Data) -> None:
    """One more coordinate, 1 in every query and c in every row, adds c to each inner product."""
    X, y, queries = data
    plain = KNNClassifier(metric="ip").fit(X, y).predict_proba(queries)
    longer = np.column_stack([queries, np.ones(len(queries))])
    shifted = KNNClassifier(metric="ip").fit(np.column_stack([X, np.full(len(X), 4.0)]), y).predict_proba(longer)
    np.testing.assert_allclose(shifted, plain, atol=1e-4)


# Settings: each changes something


def test_every_setting_counts(data: Data) -> None:
    X, y, queries = data
    plain = KNNClassifier().fit(X, y).predict_proba(queries)
    others: list[dict[str, Any]] = [
        {"n_neighbors": 3}, {"temperature": 0.5}, {"weights": "uniform"}, {"weights": "distance"}, {"metric": "l2"},
        {"filter": np.arange(100)}, {"weights": lambda d: 1 / (1 + np.arange(d.shape[1])) + 0 * d},
    ]  # fmt: skip
    for setting in others:
        changed = KNNClassifier(**setting).fit(X, y).predict_proba(queries)
        assert abs(changed - plain).max() > 1e-3, setting
        np.testing.assert_allclose(changed.sum(axis=1), 1)


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_batches_change_nothing(data: Data, batch_size: int) -> None:
    X, y, queries = data
    whole, parts = KNNClassifier().fit(X, y), KNNClassifier(batch_size=batch_size).fit(X, y)
    np.testing.assert_array_equal(parts.predict_proba(queries), whole.predict_proba(queries))
    np.testing.assert_array_equal(parts.predict_proba(None), whole.predict_proba(None))
    for left, right in zip(parts.kneighbors(queries), whole.kneighbors(queries), strict=True):
        np.testing.assert_array_equal(left, right)


def test_zero_distance_outvotes_all_others() -> None:
    knn = KNNClassifier(3, weights="distance", metric="l2").fit([[0, 0], [0.1, 0], [0.1, 0]], ["a", "b", "b"])
    assert knn.predict_proba([[0, 0]]).tolist() == [[1, 0]]


def test_equal_votes_go_to_the_first_class() -> None:
    knn = KNNClassifier(2, weights="uniform", metric="l2").fit([[1, 0], [2, 0]], ["b", "a"])
    assert knn.predict([[0, 0]]).tolist() == ["a"]


def test_predict_returns_its_neighbours(data: Data) -> None:
    X, y, queries = data
    knn = KNNClassifier(4, batch_size=25).fit(X, y)
    labels, neighbors = knn.predict(queries, return_neighbors=True)
    np.testing.assert_array_equal(labels, knn.predict(queries))
    distances, ids = knn.kneighbors(queries)
    np.testing.assert_array_equal(ids, neighbors.ids)
    np.testing.assert_array_equal(distances, neighbors.distances)
    expected = engine.topk(queries, X, 4)
    np.testing.assert_array_equal(ids, expected.ids)
    assert neighbors.metric == "cosine"
    assert neighbors.stats.n_scored >= len(queries) * len(X)
    assert knn.kneighbors(queries, 2, return_distance=False).tolist() == ids[:, :2].tolist()


def test_fewer_voters_on_request() -> None:
    X, y = np.eye(3), ["a", "a", "b"]
    for setting in ("exp", "uniform", "distance", lambda distances: np.exp(-distances)):
        knn = KNNClassifier(20, weights=setting, metric="l2", allow_fewer=True).fit(X, y)
        shares = knn.predict_proba([[9, 0, 0]])
        assert np.isfinite(shares).all()
        assert shares.sum() == pytest.approx(1)
        assert knn.predict([[9, 0, 0]]).tolist() == ["a"]
    assert (KNNClassifier(20, allow_fewer=True).fit(X, y).kneighbors(X)[1] >= 0).sum(axis=1).tolist() == [3, 3, 3]


# Labels


@pytest.mark.parametrize("labels", [[3, 1, 3], [True, False, True], ["x", "é", "x"], [2.0, 1.0, 2.0]])
def test_labels_come_back_as_they_were(labels: list[Any]) -> None:
    knn = KNNClassifier(1).fit(np.eye(3), labels)
    assert knn.predict(np.eye(3)).tolist() == labels
    assert knn.classes_.tolist() == sorted(set(labels))


def test_one_class_warns() -> None:
    with pytest.warns(UserWarning, match="y holds one class only, 'a'"):
        knn = KNNClassifier(1).fit(np.eye(2), ["a", "a"])
    assert knn.predict([[1, 1]]).tolist() == ["a"]


def test_multilabel_votes_on_each_label() -> None:
    X = spiked([0.9, 0.8, 0.7])
    y = [[1, 1, 0], [1, 0, 0], [0, 1, 0]]
    knn = KNNClassifier(3, weights="uniform", multilabel=True).fit(X, y)
    np.testing.assert_allclose(knn.predict_proba([[1, 0]]), [[2 / 3, 2 / 3, 0]])
    assert knn.predict([[1, 0]]).tolist() == [[True, True, False]]
    assert knn.score([[1, 0]], [[1, 1, 0]]) == 1.0
    assert knn.score([[1, 0]], [[1, 0, 0]]) == 0.0
    knn.partial_fit(spiked([0.99]), [[0, 0, 1]])
    np.testing.assert_allclose(knn.set_params(n_neighbors=4).predict_proba([[1, 0]]), [[0.5, 0.5, 0.25]])
    with pytest.raises(InvalidArgumentError, match="y has 2 labels, expected 3"):
        knn.partial_fit([[1, 0]], [[0, 1]])


def test_one_column_a_label_equals_the_single_label_vote(data: Data) -> None:
    X, y, queries = data
    single = KNNClassifier().fit(X, y)
    many = KNNClassifier(multilabel=True).fit(X, y[:, None] == single.classes_)
    np.testing.assert_allclose(many.predict_proba(queries), single.predict_proba(queries))


# partial_fit


def test_partial_fit_equals_fit(data: Data) -> None:
    X, y, queries = data
    order = np.argsort(y)  # classes arrive one after the other
    X, y = X[order], y[order]
    parts = KNNClassifier().partial_fit(X[:100], y[:100], classes=["bee"])
    for part in np.array_split(np.arange(100, 400), 5):
        parts.partial_fit(X[part], y[part])
    whole = KNNClassifier().fit(X, y)
    np.testing.assert_array_equal(parts.classes_, whole.classes_)
    np.testing.assert_array_equal(parts.predict_proba(queries), whole.predict_proba(queries))
    np.testing.assert_array_equal(parts.leave_one_out(), whole.leave_one_out())
    assert parts.n_samples_fit_ == 400


def test_classes_that_do_not_occur_yet_have_a_column() -> None:
    knn = KNNClassifier(1).partial_fit(np.eye(2), ["b", "d"], classes=["c", "a", "b"])
    assert knn.classes_.tolist() == ["a", "b", "c", "d"]
    assert knn.predict_proba([[1, 0]]).tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("X", "y", "classes", "message"),
    [
        (np.eye(3), ["a", "b", "c"], None, "X has dim 3, expected 2"),
        (np.eye(2), [1, 2], None, "differ in kind: strings or numbers"),
        (np.eye(2), ["a", "b"], [1], "differ in kind"),
        (np.eye(2), ["a"], None, "y has 1 labels, expected 2"),
        ([[np.nan, 0]], ["a"], None, r"X\[0, 0\] is nan"),
        ([[0, 0]], ["a"], None, "zero"),
    ],
)
def test_a_failed_partial_fit_leaves_all_as_it_was(X: Any, y: Any, classes: Any, message: str) -> None:
    knn = KNNClassifier(1).fit(np.eye(2), ["a", "b"])
    before = copy.copy(vars(knn))
    with pytest.raises(InvalidArgumentError, match=message):
        knn.partial_fit(X, y, classes)
    assert vars(knn) == before
    assert len(knn.index_) == 2
    assert knn.predict(np.eye(2)).tolist() == ["a", "b"]


# An index of one's own


def test_an_index_of_ones_own_is_used_as_it_is(data: Data, rng: np.random.Generator) -> None:
    X, y, queries = data
    ids = rng.permutation(10**6)[: len(X)]
    index = engine.Index(12, dtype="float32")
    index.add(X, ids)
    index.remove(ids[:7])  # the last rows take the freed places
    labels = y[np.array([np.flatnonzero(ids == i)[0] for i in index.ids])]
    knn = KNNClassifier(index=index).fit(None, labels)
    plain = KNNClassifier().fit(X[7:], y[7:])
    np.testing.assert_array_equal(knn.predict(queries), plain.predict(queries))
    assert knn.index_ is index
    assert set(knn.kneighbors(queries, return_distance=False).ravel()) <= set(ids[7:])
    assert sorted(zip(index.ids, knn.leave_one_out(), strict=True)) == sorted(
        zip(ids[7:], plain.leave_one_out(), strict=True)
    )


@pytest.mark.parametrize("ids", [None, [0]], ids=["a new id", "the id of the row that went"])
def test_an_index_that_changed_is_noticed(ids: list[int] | None) -> None:
    index = engine.Index(2)
    index.add(np.eye(2))
    knn = KNNClassifier(1, index=index).fit(None, ["a", "b"])
    with pytest.raises(InvalidArgumentError):
        index.add([[0, 0]])
    assert index.remove([]) == 0
    assert copy.deepcopy(knn).predict([[1, 0]]).tolist() == ["a"]  # nothing has changed so far, here and in a copy
    index.remove([0])
    index.add([[1, 0]], ids)
    for use in (knn.predict, knn.predict_proba, knn.kneighbors):
        with pytest.raises(InvalidArgumentError, match="index has changed since fit"):
            use([[1, 0]])
    assert knn.fit(None, ["b", "c"]).predict([[1, 0]]).tolist() == ["c"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"multilabel": True}, "multilabel is True, fit saw False: call fit again"),
        ({"metric": "l2"}, "metric is 'l2', fit saw 'cosine': call fit again"),
    ],
)
def test_settings_that_need_a_new_fit(setting: dict[str, Any], message: str) -> None:
    knn = KNNClassifier(1).fit(np.eye(2), ["a", "b"]).set_params(**setting)
    for use in (knn.predict, lambda X: knn.partial_fit(X, np.eye(2) if knn.multilabel else ["a", "b"])):
        with pytest.raises(InvalidArgumentError, match=message):
            use(np.eye(2))


def test_bad_indexes() -> None:
    index = engine.Index(2, metric="l2")
    with pytest.raises(InvalidArgumentError, match="metric is 'cosine', expected that of index: 'l2'"):
        KNNClassifier(index=index).fit(None, ["a"])
    knn = KNNClassifier(1, index=index, metric="l2")
    with pytest.raises(InvalidArgumentError, match="index is empty"):
        knn.fit(None, ["a"])
    index.add(np.eye(2))
    with pytest.raises(InvalidArgumentError, match="X is given although index already holds"):
        knn.fit(np.eye(2), ["a", "b"])
    with pytest.raises(InvalidArgumentError, match="index is an Index"):
        knn.partial_fit(np.eye(2), ["a", "b"])
    with pytest.raises(InvalidArgumentError, match="kind is 'hnsw'"):
        KNNClassifier(index="hnsw").fit(np.eye(2), ["a", "b"])


# Bad input


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors is 0"),
        ({"n_neighbors": 2.5}, "n_neighbors is 2.5"),
        ({"temperature": 0}, "temperature is 0.0, expected a number above 0"),
        ({"temperature": -1}, "temperature is -1.0"),
        ({"temperature": np.inf}, "temperature is inf"),
        ({"temperature": "warm"}, "temperature is 'warm'"),
        ({"weights": "gauss"}, "weights is 'gauss', expected one of 'exp', 'uniform', 'distance'"),
        ({"weights": "distance", "metric": "ip"}, "weights is 'distance', expected another under metric 'ip'"),
        ({"metric": "hamming"}, "metric is 'hamming'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"temperature": "0.1"}, "temperature is '0.1', expected a number"),
        ({"temperature": True}, "temperature is True"),
        ({"multilabel": "no"}, "multilabel is 'no', expected True or False"),
        ({"allow_fewer": "no"}, "allow_fewer is 'no', expected True or False"),
    ],
)
def test_bad_settings(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        KNNClassifier(**setting).fit(np.eye(2), ["a", "b"])
    with pytest.raises(InvalidArgumentError, match=message):
        KNNClassifier(1).fit(np.eye(2), ["a", "b"]).set_params(**setting).predict(np.eye(2))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([1.0, 2.0], ["a", "b"], r"X has shape \(2,\), expected \(n, dim\). Reshape your data"),
        (np.zeros((2, 2, 2)), ["a", "b"], r"X has shape \(2, 2, 2\)"),
        (np.empty((0, 2)), [], r"X has shape \(0, 2\), expected at least one row"),
        (np.empty((2, 0)), ["a", "b"], "X has dim 0"),
        ([[1, np.nan], [0, 1]], ["a", "b"], r"X\[0, 1\] is nan"),
        ([[1, 0], [np.inf, 1]], ["a", "b"], r"X\[1, 0\] is inf"),
        ([["1", "0"], ["0", "1"]], ["a", "b"], "X has dtype <U1"),
        ([[1, 0], [0, 0]], ["a", "b"], "zero"),
        (np.eye(2), ["a"], "y has 1 labels, expected 2: one for each row"),
        (np.eye(2), None, r"y has shape \(\)"),
        (np.eye(2), np.ma.masked_array([1, 2], [False, True]), "y is a masked array"),
        (np.eye(2), np.ma.masked_array(["a", "b"], [False, True]), "y is a masked array"),
        (np.eye(2), ["a", 1], "y holds int and str"),
        (np.eye(2), [1.0, np.nan], r"y\[1\] is nan"),
        (np.eye(2), [[1, 0], [0, 1]], r"y has shape \(2, 2\), expected one label a row"),
        (None, ["a", "b"], "X has dtype object"),
    ],
)
def test_bad_training_data(X: Any, y: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        KNNClassifier(1).fit(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 0], r"y has shape \(2,\), expected \(2, n_labels\)"),
        ([[1, 2], [0, 1]], "y holds other values than 0 and 1"),
        ([[1], [0], [1]], r"y has shape \(3, 1\)"),
    ],
)
def test_bad_multilabel(y: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        KNNClassifier(1, multilabel=True).fit(np.eye(2), y)


def test_sparse_matrices_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(InvalidArgumentError, match="X is a sparse matrix"):
        KNNClassifier(1).fit(sparse.csr_matrix(np.eye(2)), ["a", "b"])


def test_too_few_voters() -> None:
    knn = KNNClassifier(3).fit(np.eye(3), ["a", "a", "b"])
    knn.predict(np.eye(3))
    with pytest.raises(InvalidArgumentError, match=r"n_neighbors is 3, expected at most 2: .* allow_fewer=True"):
        knn.leave_one_out()
    with pytest.raises(InvalidArgumentError, match="n_neighbors is 4, expected at most 3"):
        knn.kneighbors(np.eye(3), 4)
    filtered = KNNClassifier(3, filter=[0, 2]).fit(np.eye(3), ["a", "a", "b"])
    with pytest.raises(InvalidArgumentError, match="n_neighbors is 3, expected at most 2"):
        filtered.predict(np.eye(3))
    nobody = KNNClassifier(3, filter=np.zeros(3, bool), allow_fewer=True).fit(np.eye(3), ["a", "a", "b"])
    with pytest.raises(InvalidArgumentError, match="expected at most 0"):
        nobody.predict(np.eye(3))


def test_bad_queries() -> None:
    knn = KNNClassifier(1).fit(np.eye(2), ["a", "b"])
    for option in ({"return_distance": 0}, {"return_distance": "no"}):
        with pytest.raises(InvalidArgumentError, match=r"return_distance is .*, expected True or False"):
            knn.kneighbors(np.eye(2), **option)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="return_neighbors is 'no', expected True or False"):
        knn.predict(np.eye(2), "no")  # type: ignore[call-overload]
    for queries, message in (([1, 0], "Reshape"), (np.eye(3), "X has dim 3, expected 2"), ([[0, np.nan]], "nan")):
        with pytest.raises(InvalidArgumentError, match=message):
            knn.predict(queries)
    with pytest.raises(InvalidArgumentError, match="filter has shape"):
        knn.set_params(filter=np.ones(5, bool)).predict(np.eye(2))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda distances: distances[:, :1], r"weights returned shape \(3, 1\), expected \(3, 2\)"),
        (lambda distances: -distances - 1, "negative"),
        (lambda distances: 0 * distances, "only zeros"),
        (lambda distances: distances * np.nan, "not finite"),
    ],
)
def test_bad_callables(weights: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        KNNClassifier(2, weights=weights).fit(np.eye(3), ["a", "a", "b"]).predict(np.eye(3))


def test_nothing_before_fit() -> None:
    knn = KNNClassifier()
    calls: list[Callable[[], object]] = [
        lambda: knn.predict(np.eye(2)), lambda: knn.predict_proba(np.eye(2)), knn.kneighbors, knn.leave_one_out,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(NotBuiltError, match="this KNNClassifier has not learned anything yet: call fit first"):
            call()


def test_a_failed_fit_leaves_all_as_it_was() -> None:
    knn = KNNClassifier(1).fit(np.eye(2), ["a", "b"])
    with pytest.raises(InvalidArgumentError):
        knn.fit(np.eye(3), ["a", "b"])
    assert knn.predict([[1, 0]]).tolist() == ["a"]
    assert knn.n_features_in_ == 2


# scikit-learn's conventions


def test_settings_by_name() -> None:
    knn = KNNClassifier(7, temperature=0.1)
    assert knn.get_params()["n_neighbors"] == 7
    assert KNNClassifier(**knn.get_params()).get_params() == knn.get_params()
    assert knn.set_params(temperature=0.2) is knn
    assert knn.temperature == 0.2
    assert repr(knn) == "KNNClassifier(n_neighbors=7, temperature=0.2)"
    with pytest.raises(InvalidArgumentError, match=r"'n_neighbours' is no setting of KNNClassifier, .* n_neighbors,"):
        knn.set_params(n_neighbours=3)


def test_clone_pipeline_and_grid_search(data: Data) -> None:
    base = pytest.importorskip("sklearn.base")
    model_selection = pytest.importorskip("sklearn.model_selection")
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    X, y, queries = data
    knn = KNNClassifier(3, weights=np.exp, filter=np.arange(50)).fit(X, y)
    clone = base.clone(knn)
    assert clone.n_neighbors == 3
    assert clone.weights is np.exp
    assert not hasattr(clone, "classes_")
    assert base.is_classifier(knn)
    steps = pipeline.make_pipeline(preprocessing.StandardScaler(), KNNClassifier())
    search = model_selection.GridSearchCV(steps, {"knnclassifier__n_neighbors": [1, 9]}, cv=3).fit(X, y)
    assert search.best_params_ == {"knnclassifier__n_neighbors": 9}
    assert search.predict(queries).shape == (60,)
