"""Latent label shift: METHODS 4.4."""

from __future__ import annotations

import pickle
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from engine.discovery import LatentLabelShift, unmix
from engine.discovery.shift import class_given_domain, on_simplex
from engine.evaluation import clustering_accuracy
from engine.exceptions import InvalidArgumentError, NotBuiltError

pytest.importorskip("sklearn")


def mixture(rng: np.random.Generator, n_cells: int = 12, k: int = 3, r: int = 5) -> tuple[Any, Any]:
    """Cells in classes, the first k of them anchors; and classes in domains."""
    C = rng.random((n_cells, k))
    C[:k] = np.diag(rng.random(k) + 0.5)
    return C / C.sum(axis=0), rng.dirichlet(np.full(k, 0.7), r).T


def apart(left: Any, right: Any) -> float:
    """Largest difference under the best order of classes (rows)."""
    return min(abs(left[list(order)] - right).max() for order in permutations(range(len(left))))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_anchors_are_found_exactly(rng: np.random.Generator, k: int) -> None:
    C, W = mixture(rng, k=k, r=k + 2)
    cells, priors = unmix(C @ W, k)
    assert apart(priors, W) < 1e-6
    assert apart(cells.T, C.T) < 1e-6
    np.testing.assert_allclose(cells.sum(axis=0), 1)
    np.testing.assert_allclose(priors.sum(axis=0), 1)


def test_descent_finds_them_where_domains_are_pure(rng: np.random.Generator) -> None:
    """From random starts the factors are unique only if domains are extreme as well."""
    C, W = mixture(rng)
    W[:, :3] = np.eye(3)
    cells, priors = unmix(C @ W, 3, init="random", random_state=0)
    assert apart(priors, W) < 1e-2
    assert apart(cells.T, C.T) < 1e-2


def test_the_pseudo_inverse_is_exact(rng: np.random.Generator) -> None:
    _, W = mixture(rng, k=4, r=6)
    domain_given_class = (W / W.sum(axis=1, keepdims=True)).T
    shares = rng.dirichlet(np.ones(4), 200)
    for project in ("clip", "simplex"):
        found = class_given_domain(shares @ domain_given_class.T, domain_given_class, project)
        assert abs(found - shares).max() < 1e-12


def test_projection_on_the_simplex(rng: np.random.Generator) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rows = rng.standard_normal((20, 4))
    found = on_simplex(rows)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
    for row, ours in zip(rows, found, strict=True):
        best = optimize.minimize(
            lambda x, row=row: np.square(x - row).sum(), np.full(4, 0.25), bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1}, tol=1e-12,
        )  # fmt: skip
        np.testing.assert_allclose(ours, best.x, atol=1e-4)


@pytest.fixture
def blurred(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Two classes that are the same two far blobs in other shares, and an anchor of each: clusters are not classes."""
    middles = np.array([[0, 0], [12, 0], [0, 2.5], [12, 2.5]])  # two blobs far apart, each with a part above
    share = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]])  # class 0 is below, class 1 above, on both sides
    priors = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.05, 0.95]])
    domains = np.arange(2400) % 4
    y = (rng.random(2400) < priors[domains, 1]).astype(int)
    blob = np.array([rng.choice(4, p=share[c]) for c in y])
    return middles[blob] + 0.5 * rng.standard_normal((2400, 2)), domains, y


@pytest.mark.parametrize("discriminator", ["logreg", "knn"])
@pytest.mark.parametrize("project", ["clip", "simplex"])
def test_classes_that_clusters_do_not_find(blurred: Any, discriminator: Any, project: Any) -> None:
    from sklearn.cluster import KMeans

    X, domains, y = blurred
    assert clustering_accuracy(y, KMeans(2, n_init=3, random_state=0).fit_predict(X)) < 0.6
    lls = LatentLabelShift(2, discriminator=discriminator, project=project, random_state=0).fit(X, domains)
    assert clustering_accuracy(y, lls.predict(X)) > 0.9
    assert clustering_accuracy(y, lls.predict(X, domains)) > 0.9
    truth = np.array([[np.mean(y[domains == d] == c) for d in range(4)] for c in (0, 1)])
    assert apart(lls.class_prior_, truth) < 0.15
    shares = lls.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert lls.condition_ == pytest.approx(np.linalg.cond(lls.class_prior_))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lls)).predict(X), lls.predict(X))


@pytest.mark.parametrize(
    ("table", "k", "message"),
    [
        (np.full((4, 3), 0.25), 2, "cell_domain_matrix has rank 1, expected 2: domains are too alike"),
        (np.eye(3), 4, "n_classes is 4, expected at most 3"),
        ([[1, 0.5], [0, 0.5], [0, 0]], 2, r"cell_domain_matrix\[2\] is zero, expected cells that occur"),
        ([[0.5, 0.5], [0.1, 0.5]], 2, "columns that sum to 1"),
        ([[1.5, 0.5], [-0.5, 0.5]], 2, "expected shares"),
    ],
)
def test_bad_tables(table: Any, k: int, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        unmix(table, k)


def test_bad_data(rng: np.random.Generator) -> None:
    X = rng.standard_normal((40, 3))
    with pytest.raises(InvalidArgumentError, match="domains are 2, expected at least 3"):
        LatentLabelShift(3).fit(X, np.arange(40) % 2)
    with pytest.raises(InvalidArgumentError, match="domains are 1, expected at least 2"):
        LatentLabelShift(1).fit(X, np.zeros(40, int))
    with pytest.raises(InvalidArgumentError, match="discriminator is 'tree'"):
        LatentLabelShift(2, discriminator="tree").fit(X, np.arange(40) % 2)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="project is 'none'"):
        LatentLabelShift(2, project="none").fit(X, np.arange(40) % 2)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="init is 'svd'"):
        unmix(np.eye(2), 2, init="svd")  # type: ignore[arg-type]
    with pytest.raises(NotBuiltError, match="this LatentLabelShift"):
        LatentLabelShift(2).predict(X)
    fitted = LatentLabelShift(2, random_state=0).fit(X + 3 * (np.arange(40) % 2)[:, None], np.arange(40) % 2)
    with pytest.raises(InvalidArgumentError, match="domains holds 7, expected one of"):
        fitted.predict(X, np.full(40, 7))
