"""LabelMetric, FrechetPredictor, locus and next_class: METHODS 3.8, closed forms and what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.datasets import data_folder
from engine.classify import FrechetPredictor, LabelMetric, locus, next_class
from engine.exceptions import InvalidArgumentError

pytest.importorskip("scipy")

PATH = LabelMetric.from_tree([(1, 2), (2, 3)])
CATERPILLAR = [(0, 1), (1, 2), (2, 3), (0, 10), (1, 11), (2, 12), (3, 13)]


def shares(rng: np.random.Generator, n: int, k: int) -> NDArray[np.float64]:
    return rng.dirichlet(np.full(k, 0.5), n)


# Closed forms


@pytest.mark.parametrize(("p", "label"), [(0.5, 2), (0.7, 2), (0.749, 2), (0.751, 1), (0.8, 1), (0.2, 3), (1.0, 1)])
def test_the_path_of_three(p: float, label: int) -> None:
    predictor = FrechetPredictor(PATH, [1, 3])
    assert predictor.predict([[p, 1 - p]]).tolist() == [label]


def test_the_costs_of_the_path_of_three() -> None:
    labels, costs = FrechetPredictor(PATH, [1, 3]).rank([[0.8, 0.2], [0.7, 0.3]], 3)
    by_label = np.take_along_axis(costs, labels.argsort(axis=1), axis=1)
    np.testing.assert_allclose(by_label[:, :2], [[0.8, 1.0], [1.2, 1.0]])


def test_the_discrete_metric_is_argmax(rng: np.random.Generator) -> None:
    p = shares(rng, 200, 6)
    predictor = FrechetPredictor(LabelMetric.from_matrix(1 - np.eye(9)), [7, 1, 0, 4, 8, 3])
    np.testing.assert_array_equal(predictor.predict(p), np.array([7, 1, 0, 4, 8, 3])[p.argmax(axis=1)])


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_any_matrix_against_plain_numpy(rng: np.random.Generator, power: float) -> None:
    points = rng.standard_normal((40, 3))
    D = np.linalg.norm(points[:, None] - points, axis=2)
    D = (D + D.T) / 2
    observed, p = rng.permutation(40)[:7], shares(rng, 100, 7)
    expected = p @ D[observed] ** power
    labels, costs = FrechetPredictor(LabelMetric.from_matrix(D), observed, power=power).rank(p, 40)
    np.testing.assert_array_equal(labels[:, 0], expected.argmin(axis=1))
    np.testing.assert_allclose(costs, np.sort(expected, axis=1), rtol=1e-5)


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_vectors_are_one_search_with_the_mean(rng: np.random.Generator, kind: Any) -> None:
    """sum p_k ||y - e_k||^2 = ||y - m||^2 + const."""
    E = rng.standard_normal((600, 8)).astype(np.float32)
    observed, p = rng.permutation(600)[:12], shares(rng, 150, 12)
    D2 = np.square(E.astype(np.float64)[:, None] - E).sum(axis=2)
    predictor = FrechetPredictor(LabelMetric.from_embeddings(E), observed, kind=kind)
    assert predictor.index_ is not None
    labels, costs = predictor.rank(p, 5)
    expected = p @ D2[observed]
    hits = labels[:, 0] == expected.argmin(axis=1)
    assert hits.mean() >= (1 if kind == "exact" else 0.95)
    np.testing.assert_allclose(costs[hits, 0], expected.min(axis=1)[hits], rtol=1e-4)
    if kind == "exact":
        by_matrix = FrechetPredictor(LabelMetric.from_matrix(np.sqrt(D2)), observed)
        np.testing.assert_array_equal(predictor.predict(p), by_matrix.predict(p))
        np.testing.assert_array_equal(labels, by_matrix.rank(p, 5)[0])
        other = FrechetPredictor(LabelMetric.from_embeddings(E), observed, power=1)
        np.testing.assert_array_equal(other.predict(p), (p @ np.sqrt(D2[observed])).argmin(axis=1))


def test_the_recall_of_a_graph_is_that_of_means(rng: np.random.Generator) -> None:
    E = rng.standard_normal((4000, 24)).astype(np.float32)
    metric, observed = LabelMetric.from_embeddings(E), rng.permutation(4000)[:40]
    graph = FrechetPredictor(metric, observed, kind="graph")
    low = FrechetPredictor(metric, observed, kind="graph", recall=0.3)
    assert graph.ef_ is not None
    assert low.ef_ is not None
    assert low.ef_ < graph.ef_
    p = rng.dirichlet(np.ones(40), 400)
    exact = FrechetPredictor(metric, observed)
    assert exact.ef_ is None
    assert (graph.predict(p) == exact.predict(p)).mean() >= 0.97
    labels, costs = graph.rank(p, graph.ef_ + 1)
    assert labels.shape == (400, graph.ef_ + 1)
    assert (np.diff(costs) >= 0).all()


def test_peaked_predictions_need_a_smaller_pool(rng: np.random.Generator) -> None:
    E = rng.standard_normal((4000, 24)).astype(np.float32)
    metric, observed = LabelMetric.from_embeddings(E), rng.permutation(4000)[:40]
    sample, p = rng.dirichlet(np.full(40, 0.002), (2, 300))
    graph = FrechetPredictor(metric, observed, kind="graph")
    peaked = FrechetPredictor(metric, observed, kind="graph", sample=sample)
    assert graph.ef_ is not None
    assert peaked.ef_ is not None
    assert peaked.ef_ < graph.ef_
    assert (peaked.predict(p) == FrechetPredictor(metric, observed).predict(p)).mean() >= 0.97
    with pytest.raises(InvalidArgumentError, match=r"sample has shape \(2,\), expected \(n, 40\)"):
        FrechetPredictor(metric, observed, kind="graph", sample=[0.5, 0.5])


@pytest.mark.parametrize("recall", [0, 1.5, np.nan])
def test_bad_recall(recall: float) -> None:
    with pytest.raises(InvalidArgumentError, match=f"recall is {float(recall)}"):
        FrechetPredictor(LabelMetric.from_embeddings(np.eye(3)), [0, 1], kind="graph", recall=recall)


def test_scaling_all_distances_changes_nothing(rng: np.random.Generator) -> None:
    E, p = rng.standard_normal((50, 4)), shares(rng, 80, 6)
    by_matrix = lambda v: LabelMetric.from_matrix(np.linalg.norm(v[:, None] - v, axis=2))  # noqa: E731
    for make in (LabelMetric.from_embeddings, by_matrix):
        plain = FrechetPredictor(make(E), range(6)).predict(p)
        np.testing.assert_array_equal(FrechetPredictor(make(7 * E), range(6)).predict(p), plain)


def test_temperature_sharpens_and_flattens(rng: np.random.Generator) -> None:
    p = [[0.7, 0.3]]
    assert FrechetPredictor(PATH, [1, 3]).predict(p).tolist() == [2]
    assert FrechetPredictor(PATH, [1, 3], temperature=0.5).predict(p).tolist() == [1]  # 0.49 / 0.58 > 0.75
    assert FrechetPredictor(PATH, [1, 3], temperature=100).predict([[0.99, 0.01]]).tolist() == [2]
    logits = rng.standard_normal((30, 2))
    soft = [np.exp(logits / t) / np.exp(logits / t).sum(axis=1, keepdims=True) for t in (1, 0.3)]
    costs = [FrechetPredictor(PATH, [1, 3], temperature=t).rank(p, 1)[1] for t, p in ((0.3, soft[0]), (None, soft[1]))]
    np.testing.assert_allclose(costs[0], costs[1], rtol=1e-6)


def test_expected_distance() -> None:
    predictor = FrechetPredictor(PATH, [1, 3])
    assert predictor.expected_distance([1, 2, 3, 1], [1, 1, 1, 2]) == (0 + 1 + 4 + 1) / 4
    assert FrechetPredictor(PATH, [1, 3], power=1).expected_distance([1, 3], [3, 3]) == 1.0


# Trees


def test_tree_distances_against_all_pairs(rng: np.random.Generator) -> None:
    parents = [int(rng.integers(i)) for i in range(1, 40)]
    edges = [(child, parent) for child, parent in enumerate(parents, 1)]
    weights = rng.random(39) + 0.1
    D = np.full((40, 40), np.inf)
    np.fill_diagonal(D, 0)
    for (a, b), weight in zip(edges, weights, strict=True):
        D[a, b] = D[b, a] = weight
    for k in range(40):  # Floyd and Warshall
        D = np.minimum(D, D[:, k, None] + D[k])
    tree = LabelMetric.from_tree(edges, weights)
    np.testing.assert_allclose(tree.rows(range(40)), D)
    np.testing.assert_allclose(tree.between([3, 9, 3], [7, 0, 3]), D[[3, 9, 3], [7, 0, 3]])
    # On a tree a label lies between two others if the distances add up.
    observed = rng.permutation(40)[:5]
    detours = D[observed][:, None] + D[observed][None]
    through = np.isclose(D[np.ix_(observed, observed)][:, :, None], detours).any(axis=(0, 1))
    np.testing.assert_array_equal(locus(tree, observed), np.flatnonzero(through))
    outside = D[through].min(axis=0)
    assert next_class(tree, observed) == outside.argmax()
    assert len(locus(tree, [*observed, next_class(tree, observed)])) > len(locus(tree, observed))


@pytest.mark.parametrize(
    ("edges", "observed", "reached", "then"),
    [
        ([("h", c) for c in "abcd"], ["a"], ["a"], "b"),  # a star: leaf to leaf is 2
        ([("h", c) for c in "abcd"], ["a", "c"], ["a", "c", "h"], "b"),
        ([(i, i + 1) for i in range(5)], [0], [0], 5),  # a path
        ([(i, i + 1) for i in range(5)], [1, 3], [1, 2, 3], 5),
        ([(i, i + 1) for i in range(5)], [0, 5], [0, 1, 2, 3, 4, 5], None),
        (CATERPILLAR, [10, 13], [0, 1, 2, 3, 10, 13], 11),
        (CATERPILLAR, [11], [11], 13),
    ],
)
def test_loci_by_hand(edges: Any, observed: Any, reached: Any, then: Any) -> None:
    tree = LabelMetric.from_tree(edges)
    assert locus(tree, observed).tolist() == reached
    assert next_class(tree, observed) == then


def test_only_the_locus_is_ever_predicted(rng: np.random.Generator) -> None:
    edges = [(child, int(rng.integers(child))) for child in range(1, 60)]
    tree, observed = LabelMetric.from_tree(edges), rng.permutation(60)[:6]
    predicted = FrechetPredictor(tree, observed).predict(shares(rng, 2000, 6))
    assert set(predicted) <= set(locus(tree, observed))
    assert set(predicted) - set(observed)


def test_a_graph_with_cycles() -> None:
    square = LabelMetric.from_graph([("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")], [1, 1, 1, 5])
    assert square.between(["a"], ["d"]).tolist() == [3.0]
    assert repr(square) == "<LabelMetric of 4 labels, by a graph>"
    assert repr(PATH) == "<LabelMetric of 3 labels, by a tree>"


def test_names_sort_and_pickle(rng: np.random.Generator) -> None:
    E = rng.standard_normal((4, 3))
    metric = LabelMetric.from_embeddings(E, ["d", "b", "a", "c"])
    assert metric.labels.tolist() == ["a", "b", "c", "d"]
    assert metric.between(["d"], ["a"])[0] == pytest.approx(np.linalg.norm(E[0] - E[2]), rel=1e-6)
    D = np.linalg.norm(E[:, None] - E, axis=2)
    assert LabelMetric.from_matrix(D, ["d", "b", "a", "c"]).between(["d"], ["a"])[0] == pytest.approx(D[0, 2])
    predictor = FrechetPredictor(metric, ["d", "a"])
    again = pickle.loads(pickle.dumps(predictor))
    p = shares(rng, 20, 2)
    np.testing.assert_array_equal(again.predict(p), predictor.predict(p))


# Bad input


@pytest.mark.parametrize(
    ("D", "message"),
    [
        (np.zeros((2, 3)), r"D has shape \(2, 3\), expected \(n_labels, n_labels\)"),
        ([[0, 1], [2, 0]], r"D\[0, 1\] is 1.0, expected what D has with row and column changed over"),
        ([[0, 1], [1, 3]], r"D\[1, 1\] is 3.0, expected 0 on the diagonal"),
        ([[0, -1], [-1, 0]], r"D\[0, 1\] is -1.0, expected a finite number of at least 0"),
        ([[0, np.nan], [np.nan, 0]], r"D\[0, 1\] is nan"),
        (np.empty((0, 0)), r"D has shape \(0, 0\)"),
    ],
)
def test_bad_matrices(D: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        LabelMetric.from_matrix(D)


def test_a_broken_triangle_warns() -> None:
    D = [[0, 1, 9], [1, 0, 1], [9, 1, 0]]
    with pytest.warns(UserWarning, match=r"D\[0, 2\] is 9, but by way of 1 it is 2: D is no metric"):
        metric = LabelMetric.from_matrix(D)
    assert FrechetPredictor(metric, [0, 2]).predict([[0.5, 0.5]]).tolist() == [1]


@pytest.mark.parametrize(
    ("edges", "weights", "message"),
    [
        ([(0, 1), (2, 3)], None, "edges do not lead from 0 to 2"),
        ([(0, 1), (1, 2), (2, 0)], None, "edges are 3, expected 2: a tree"),
        ([(0, 0), (0, 1)], None, "edges hold 0 with itself"),
        ([(0, 1), (1, 0)], None, "edges hold a pair twice"),
        ([(0, 1, 2)], None, r"edges has shape \(1, 3\)"),
        ([], None, r"edges has shape \(0,\)"),
        ([(0, 1)], [0], "weights is .*, expected 1 numbers above 0"),
        ([(0, 1)], [1, 2], "weights is"),
    ],
)
def test_bad_trees(edges: Any, weights: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        LabelMetric.from_tree(edges, weights)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"observed": [1, 9]}, "observed holds 9, expected one of"),
        ({"observed": [1, 1]}, r"observed is \[1, 1\], expected each class once"),
        ({"power": 0}, "power is 0.0, expected a number above 0"),
        ({"temperature": 0}, "temperature is 0.0"),
        ({"kind": "hnsw"}, "kind is 'hnsw'"),
        ({"metric": np.eye(3)}, "(?s)metric is array.*, expected a LabelMetric"),
    ],
)
def test_bad_predictors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        FrechetPredictor(**({"metric": PATH, "observed": [1, 3]} | settings))


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([[0.5, 0.4]], r"probs\[0\] is \[0.5, 0.4\], expected shares that sum to 1"),
        ([[0.5, 0.5], [1.5, -0.5]], r"probs\[1\] is"),
        ([[np.nan, 1]], r"probs\[0\] is"),
        ([[1.0]], r"probs has shape \(1, 1\), expected \(n, 2\)"),
        ([0.5, 0.5], r"probs has shape \(2,\)"),
    ],
)
def test_bad_probabilities(probs: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        FrechetPredictor(PATH, [1, 3]).predict(probs)
    assert FrechetPredictor(PATH, [1, 3]).predict([[0.5004, 0.5]]).tolist() == [2]  # within 1e-3


def test_other_misuse() -> None:
    with pytest.raises(InvalidArgumentError, match="k is 4, expected at most 3: the number of labels"):
        FrechetPredictor(PATH, [1, 3]).rank([[0.5, 0.5]], 4)
    with pytest.raises(InvalidArgumentError, match=r"tree is .*, expected LabelMetric.from_tree"):
        locus(LabelMetric.from_matrix(1 - np.eye(3)), [0])
    with pytest.raises(InvalidArgumentError, match="labels hold 'a' twice"):
        LabelMetric.from_embeddings(np.eye(2), ["a", "a"])
    with pytest.raises(InvalidArgumentError, match="right has 1 labels, expected 2"):
        PATH.between([1, 2], [3])


def test_real_label_vectors_are_one_search(rng: np.random.Generator) -> None:
    """CLIP's text vectors of the 1203 classes of LVIS: by the index, and by the matrix of all distances."""
    path = data_folder() / "detic_clip_text" / "datasets" / "metadata" / "lvis_v1_clip_a+cname.npy"
    if not path.exists():
        pytest.skip(f"{path} is missing; set NEARFIELD_DATA")
    E = np.load(path).astype(np.float64)
    observed, p = rng.permutation(len(E))[:50], shares(rng, 100, 50)
    labels, costs = FrechetPredictor(LabelMetric.from_embeddings(E), observed).rank(p, 1)
    squares = np.square(E).sum(axis=1)
    expected = p @ (squares[observed, None] + squares - 2 * E[observed] @ E.T)
    np.testing.assert_array_equal(labels[:, 0], expected.argmin(axis=1))
    np.testing.assert_allclose(costs[:, 0], expected.min(axis=1), rtol=1e-4)
