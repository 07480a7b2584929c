"""Novel class discovery: METHODS 4.1."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from engine.discovery import NCDKMeans, NCDSpectralClustering, estimate_n_classes, hidden_class_folds
from engine.discovery.clusters import nearest, spanning_sigma, squared_distances
from engine.evaluation import clustering_accuracy
from engine.exceptions import InvalidArgumentError, NotBuiltError

pytest.importorskip("sklearn")


def blobs(rng: np.random.Generator, centers: Any, n: int = 40, noise: float = 0.3) -> tuple[Any, Any]:
    y = np.arange(len(centers)).repeat(n)
    return np.array(centers)[y] + noise * rng.standard_normal((len(y), len(centers[0]))), y


def moons(rng: np.random.Generator, n: int = 100) -> tuple[Any, Any]:
    angles = np.pi * rng.random(2 * n)
    y = np.arange(2 * n) % 2
    X = np.where(y[:, None] == 0, np.stack([np.cos(angles), np.sin(angles)], 1), np.stack([1 - np.cos(angles), 0.4 - np.sin(angles)], 1))  # fmt: skip # noqa: E501
    return X + 0.03 * rng.standard_normal((2 * n, 2)), y


# k-means


def test_without_known_classes_it_is_k_means(rng: np.random.Generator) -> None:
    from sklearn.cluster import KMeans

    X = rng.random((300, 4)).astype(np.float32)
    ours = NCDKMeans(6, n_init=1, random_state=3).fit(X)
    seeds = NCDKMeans(6)._seed(X, np.empty((0, 4), np.float32), np.random.default_rng(3))
    theirs = KMeans(6, init=seeds, n_init=1, max_iter=1000, tol=0, algorithm="lloyd").fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    best = NCDKMeans(6, n_init=10, random_state=3).fit(X)
    assert best.inertia_ <= ours.inertia_


def test_first_centroids_follow_the_distances(rng: np.random.Generator) -> None:
    """k-means++: the chance of a row is its squared distance to what is chosen, or known."""
    X = np.array([[0.0], [1.0], [3.0]], np.float32)
    known = np.zeros((1, 1), np.float32)
    for seeding, chances in (("squared", [0, 0.1, 0.9]), ("linear", [0, 0.25, 0.75])):
        ncd = NCDKMeans(1, seeding=seeding)  # type: ignore[arg-type]
        drawn = [float(ncd._seed(X, known, rng)[0, 0]) for _ in range(2000)]
        shares = [np.mean(np.array(drawn) == value) for value in (0, 1, 3)]
        np.testing.assert_allclose(shares, chances, atol=0.04)


def test_known_clusters_do_not_attract_new_centroids(rng: np.random.Generator) -> None:
    """Rows that coincide with known centroids are never drawn; plain k-means starts there half of the time."""
    known = np.repeat([[0.0, 0.0], [10.0, 0.0]], 30, axis=0)
    fresh, _ = blobs(rng, [[0, 10], [10, 10]])
    X = np.concatenate([known, fresh]).astype(np.float32)
    centers = np.array([[0, 0], [10, 0]], np.float32)
    for seed in range(20):
        seeds = NCDKMeans(2)._seed(X, centers, np.random.default_rng(seed))
        assert (nearest(seeds, X[:60])[1] > 0).all()


@pytest.mark.parametrize("update", ["unlabeled", "both"])
def test_three_gaussians_beside_known_ones(rng: np.random.Generator, update: Any) -> None:
    X, y = blobs(rng, [[0, 0], [8, 0], [0, 8]])
    known, names = blobs(rng, [[8, 8], [-8, -8]])
    ncd = NCDKMeans(3, update=update, random_state=0).fit(X, known, names)
    assert clustering_accuracy(y, ncd.labels_) == 1.0
    np.testing.assert_array_equal(ncd.predict(X), ncd.labels_)
    np.testing.assert_allclose(ncd.known_centers_, [known[names == c].mean(axis=0) for c in (0, 1)], rtol=1e-5)
    again = NCDKMeans(3, update=update, random_state=0).fit(X, known, names)
    np.testing.assert_array_equal(again.labels_, ncd.labels_)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ncd)).predict(X), ncd.labels_)


def test_which_rows_teach() -> None:
    X, known = np.array([[0.0], [1.0]]), np.array([[0.4], [9.0], [11.0]])
    for update, expected in (("unlabeled", 0.5), ("labeled", 0.4), ("both", (0 + 1 + 0.4) / 3)):
        ncd = NCDKMeans(1, update=update, random_state=0).fit(X, known, [0, 0, 0])  # type: ignore[arg-type]
        # The known mean is 6.8, so only the row at 0.4 is nearer to the new centroid.
        assert ncd.cluster_centers_[0, 0] == pytest.approx(expected, abs=1e-6)


def test_as_many_clusters_as_rows_and_equal_rows(rng: np.random.Generator) -> None:
    assert NCDKMeans(4, random_state=0).fit(np.eye(4)).inertia_ == 0.0
    same = NCDKMeans(2, random_state=0).fit(np.ones((5, 3)))
    assert same.inertia_ == 0.0


# Spectral


def test_two_moons_need_the_graph(rng: np.random.Generator) -> None:
    X, y = moons(rng)
    spectral = NCDSpectralClustering(2, n_components=1, min_dist=1e-4, random_state=0).fit(X)
    assert clustering_accuracy(y, spectral.labels_) == 1.0
    assert clustering_accuracy(y, NCDKMeans(2, random_state=0).fit(X).labels_) < 0.95


def test_known_classes_take_part_in_the_graph(rng: np.random.Generator) -> None:
    X, y = blobs(rng, [[0, 0], [8, 0]])
    known, names = blobs(rng, [[0, 8], [8, 8]])
    spectral = NCDSpectralClustering(2, random_state=0).fit(X, known, names)
    assert spectral.embedding_.shape == (160, 4)
    assert clustering_accuracy(y, spectral.labels_) == 1.0


@pytest.mark.parametrize("min_dist", [0.5, 0.6, 0.1])
def test_the_longest_edge_has_the_root_of_min_dist_as_affinity(rng: np.random.Generator, min_dist: float) -> None:
    X = rng.standard_normal((30, 3))
    sigma = spanning_sigma(squared_distances(X), min_dist)
    inside, longest = [0], 0.0  # Prim
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    while len(inside) < 30:
        rest = [i for i in range(30) if i not in inside]
        block = distances[np.ix_(inside, rest)]
        longest = max(longest, block.min())
        inside.append(rest[np.unravel_index(block.argmin(), block.shape)[1]])
    assert np.exp(-(longest**2) / (2 * sigma**2)) == pytest.approx(np.sqrt(min_dist))
    assert np.sqrt(0.5) == pytest.approx(0.7071, abs=1e-4)


# How many, and tuning


@pytest.mark.parametrize("criterion", ["silhouette", "davies_bouldin", "calinski_harabasz"])
def test_the_number_of_blobs(rng: np.random.Generator, criterion: Any) -> None:
    X, _ = blobs(rng, [[0, 0], [8, 0], [0, 8]])
    k, curve = estimate_n_classes(X, k_max=7, criterion=criterion, n_runs=5, random_state=0)
    assert k == 3
    assert list(curve) == [2, 3, 4, 5, 6, 7]
    assert curve[3] == (min if criterion == "davies_bouldin" else max)(curve.values())


def test_folds_hide_each_class_once(rng: np.random.Generator) -> None:
    y = rng.choice(list("abcdefg"), 200)
    for seed in (None, 4):
        folds = list(hidden_class_folds(y, 3, random_state=seed))
        assert len(folds) == 3
        np.testing.assert_array_equal(np.sum(folds, axis=0), 1)
        for mask in folds:
            assert not set(y[mask]) & set(y[~mask])


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_new_clusters": 9}, "n_new_clusters is 9, expected at most 4 rows"),
        ({"n_new_clusters": 0}, "n_new_clusters is 0"),
        ({"n_init": 0}, "n_init is 0"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"tol": -1}, "tol is -1.0"),
        ({"seeding": "random"}, "seeding is 'random'"),
        ({"update": "all"}, "update is 'all'"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        NCDKMeans(**({"n_new_clusters": 2} | settings)).fit(np.eye(4))


def test_bad_data() -> None:
    with pytest.raises(InvalidArgumentError, match="X_known and y_known: one is None"):
        NCDKMeans(2).fit(np.eye(4), np.eye(4))
    with pytest.raises(InvalidArgumentError, match="X has dim 3, expected 4"):
        NCDKMeans(2).fit(np.eye(4), np.eye(3), [0, 1, 2])
    with pytest.raises(NotBuiltError, match="this NCDKMeans"):
        NCDKMeans(2).predict(np.eye(4))
    with pytest.raises(InvalidArgumentError, match="sigma would be 0"):
        NCDSpectralClustering(2).fit(np.ones((9, 2)))
    with pytest.raises(InvalidArgumentError, match="n_components is 9, expected fewer than the 9 rows"):
        NCDSpectralClustering(2, n_components=9).fit(np.eye(9))
    for min_dist in (0, 1, 1.5):
        with pytest.raises(InvalidArgumentError, match="min_dist is"):
            NCDSpectralClustering(2, min_dist=min_dist).fit(np.eye(9))
    with pytest.raises(InvalidArgumentError, match=r"20001 rows take 3\.0 GiB of affinities, expected at most 20000"):
        NCDSpectralClustering(2).fit(np.ones((20_001, 1)))
    for k_min, k_max in ((1, 3), (4, 3), (2, 9)):
        with pytest.raises(InvalidArgumentError, match=r"expected 2 <= k_min <= k_max < 9 rows"):
            estimate_n_classes(np.eye(9), k_min=k_min, k_max=k_max)
    with pytest.raises(InvalidArgumentError, match="X falls into one cluster only"):
        estimate_n_classes(np.ones((9, 2)), k_max=3)
    with pytest.raises(InvalidArgumentError, match="n_folds is 4, expected 2 to 3"):
        list(hidden_class_folds(["a", "b", "c"], 4))
