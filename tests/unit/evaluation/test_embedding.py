"""The ICN-style score and the report on embeddings: METHODS 8.2."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from engine.evaluation import embedding_report, icn_score
from engine.exceptions import InvalidArgumentError

ALL = ("lambda", "gamma", "omega")


def blobs(rng: np.random.Generator, apart: float, n: int = 40, dim: int = 6) -> tuple[Any, Any]:
    y = np.arange(4).repeat(n)
    return apart * np.eye(4, dim)[y] + rng.standard_normal((4 * n, dim)) + 0.5, y


def oracle(X: Any, y: Any, k: int, p: float, q: float, r: float) -> list[float]:
    X = (X - X.min(axis=0)) / (X.max(axis=0) - X.min(axis=0))
    D = np.linalg.norm(X[:, None] - X, axis=2) + np.diag(np.full(len(X), np.inf))
    order = np.argsort(D, axis=1, kind="stable")[:, :k]
    D, same = np.take_along_axis(D, order, axis=1), y[order] == y[:, None]
    nd = (D - D.min(axis=1, keepdims=True)) / (D.max(axis=1, keepdims=True) - D.min(axis=1, keepdims=True) + 1e-3)
    fits = (same * (1 - nd) + (1 - same) * nd).sum(axis=1)
    omega = (1 - np.var(same * nd) - np.var((1 - same) * nd)) ** (1 / q)
    return [np.mean((fits / fits.max()) ** (1 / p)), np.mean((same.sum(axis=1) / k) ** (1 / r)), omega]


@pytest.mark.parametrize(("k", "p", "q", "r"), [(5, 2, 2, 2), (4, 1, 1, 1), (9, 1, 3, 2)])
def test_the_terms_against_plain_numpy(rng: np.random.Generator, k: int, p: float, q: float, r: float) -> None:
    X, y = blobs(rng, 2)
    terms = oracle(X, y, k, p, q, r)
    for name, value in zip(ALL, terms, strict=True):
        assert icn_score(X, y, k, p=p, q=q, r=r, terms=[name]) == pytest.approx(value, abs=1e-5)
    assert icn_score(X, y, k, p=p, q=q, r=r, terms=ALL) == pytest.approx(np.mean(terms), abs=1e-5)
    assert icn_score(X, y, k, p=p, q=q, r=r) == pytest.approx(np.mean(terms[:2]), abs=1e-5)


def test_it_grows_as_classes_part(rng: np.random.Generator) -> None:
    noise = rng.standard_normal((160, 6))
    y = np.arange(4).repeat(40)
    scores = [icn_score(apart * np.eye(4, 6)[y] + noise, y) for apart in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.2
    assert icn_score(8 * np.eye(4, 6)[y] + noise, rng.permutation(y)) < scores[-1] - 0.2


def test_gamma_is_the_share_of_the_class(rng: np.random.Generator) -> None:
    X, y = blobs(rng, 50)
    assert icn_score(X, y, terms=["gamma"]) == 1.0
    X, y = rng.standard_normal((2000, 4)), np.arange(2000) % 4
    assert icn_score(X, y, 20, r=1, terms=["gamma"]) == pytest.approx(0.25, abs=0.02)


def test_translation_and_rotation(rng: np.random.Generator) -> None:
    X, y = blobs(rng, 2)
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert icn_score(X + 7, y) == pytest.approx(icn_score(X, y), abs=1e-4)
    assert icn_score(X @ rotation, y, scale=None) == pytest.approx(icn_score(X, y, scale=None), abs=1e-4)


def test_small_sets(rng: np.random.Generator) -> None:
    X, y = blobs(rng, 2, n=2)
    assert 0 <= icn_score(X, y, k=100) <= 1
    with pytest.warns(UserWarning, match="y holds 1 classes with one row"):
        icn_score(np.concatenate([X, X[:1] + 9]), [*y, 9])


# The report


def test_the_report_against_plain_numpy(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    X, y = blobs(rng, 3)
    report = embedding_report(X, y, k=10)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = unit @ unit.T
    upper = np.triu_indices(160, 1)
    squares = 2 - 2 * cosines
    same = (y[:, None] == y)[upper]
    order = np.argsort(-(cosines - 9 * np.eye(160)), axis=1)[:, :10]
    occurrences = np.bincount(order.ravel(), minlength=160)
    means = np.stack([X[y == c].mean(axis=0) for c in range(4)])
    values = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    votes = np.array([np.bincount(y[row], minlength=4).argmax() for row in order])
    expected = {
        "knn_accuracy": (votes == y).mean(),
        "icn": icn_score(X, y, 10),
        "silhouette": metrics.silhouette_score(X, y, metric="cosine"),
        "fisher": 40 * np.square(means - X.mean(axis=0)).sum() / np.square(X - means[y]).sum(),
        "hubness": (((occurrences - occurrences.mean()) / occurrences.std()) ** 3).mean(),
        "alignment": squares[upper][same].mean(),
        "uniformity": np.log(np.exp(-2 * squares[upper]).mean()),
        "effective_rank": np.exp(-(shares * np.log(shares)).sum()),
        "anisotropy": cosines[upper].mean(),
    }
    for name, value in expected.items():
        assert getattr(report, name) == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert str(report).count("\n") == 8


def test_large_sets_are_sampled(rng: np.random.Generator) -> None:
    pytest.importorskip("sklearn")
    X, y = blobs(rng, 3, n=200)
    whole, part = embedding_report(X, y), embedding_report(X, y, max_rows=300)
    assert part.silhouette == pytest.approx(whole.silhouette, abs=0.05)
    assert part.uniformity == pytest.approx(whole.uniformity, abs=0.2)
    assert part.knn_accuracy == whole.knn_accuracy


def test_collapsed_embeddings_warn_and_stay_finite() -> None:
    pytest.importorskip("sklearn")
    with pytest.warns(UserWarning, match="all rows of X point the same way"):
        report = embedding_report(np.ones((20, 3)), np.arange(20) % 2)
    assert all(np.isfinite(getattr(report, name)) for name in report.__slots__)
    assert report.anisotropy == pytest.approx(1)
    assert report.effective_rank == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0 <= icn_score(np.ones((20, 3)), np.arange(20) % 2) <= 1


def test_bad_input(rng: np.random.Generator) -> None:
    X, y = blobs(rng, 2)
    for settings, message in (
        ({"k": 0}, "k is 0"),
        ({"p": 0}, r"p is 0\.0, expected a number above 0"),
        ({"terms": []}, r"terms is \(\), expected at least one"),
        ({"terms": ["delta"]}, "terms is 'delta'"),
        ({"scale": "zscore"}, "scale is 'zscore'"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            icn_score(X, y, **settings)  # type: ignore[arg-type]
    for measure in (icn_score, embedding_report):
        with pytest.raises(InvalidArgumentError, match="y holds one label only"):
            measure(X, np.zeros(160, int))  # type: ignore[operator]
    with pytest.raises(InvalidArgumentError, match=r"X\[3\] is zero"):
        embedding_report(np.where(np.arange(160)[:, None] == 3, 0, X), y)
