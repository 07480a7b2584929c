"""How good vectors are for telling their classes apart, and how they fill their space."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from .._validate import as_choice, as_count, as_finite, as_matrix
from ..exceptions import InvalidArgumentError
from ..index import Index
from ._labels import as_labels
from .retrieval import search_others

__all__ = ["EmbeddingReport", "embedding_report", "icn_score"]

TERMS = ("lambda", "gamma", "omega")


def icn_score(
    X: ArrayLike,
    y: ArrayLike,
    k: int = 5,
    *,
    p: float = 2.0,
    q: float = 2.0,
    r: float = 2.0,
    terms: Sequence[str] = ("lambda", "gamma"),
    scale: Literal["minmax"] | None = "minmax",
) -> float:
    """How pure and how close the neighbourhoods of rows are: 0 to 1, larger is better. An ICN-style score.

    Parameters
    ----------
    X : array_like, shape (n, dim)
    y : array_like, shape (n,)
        At least two classes.
    k : int, default 5
        Neighbours of a row, itself left out; all others where there are no more.
    p, q, r : float, default 2.0
        Roots of the terms "lambda", "omega" and "gamma".
    terms : sequence of {"lambda", "gamma", "omega"}, default ("lambda", "gamma")
        The score is their mean. "lambda": rows of the class near, others far, within the neighbourhood; "gamma": share
        of the class in it; "omega": how even distances are.
    scale : "minmax" or None, default "minmax"
        Bring every dimension to 0..1 first; a rotation then changes the score.

    Warns
    -----
    UserWarning
        Classes with one row, whose neighbourhoods can hold none of theirs; rows that are all the same.

    References
    ----------
    The idea is that of *SuSana Distancia is all you need*, 2023 (arXiv:2305.09062); the form is that of a public
    implementation of a closely related score, without its rounding.

    Examples
    --------
    >>> round(icn_score([[0, 0], [0, 1], [9, 9], [9, 8]], ["a", "a", "b", "b"], k=1), 3)
    1.0
    """
    names = [as_choice(term, "terms", TERMS) for term in terms]
    roots = {name: as_finite(value, name) for name, value in (("p", p), ("q", q), ("r", r))}
    for name, value in roots.items():
        if value <= 0:
            raise InvalidArgumentError(f"{name} is {value}, expected a number above 0")
    if not names:
        raise InvalidArgumentError(f"terms is {tuple(terms)}, expected at least one of {', '.join(TERMS)}")
    as_choice("none" if scale is None else scale, "scale", ("minmax", "none"))
    vectors, codes = checked(X, y)
    warn_of_single_rows(codes)
    rows = min_max(vectors) if scale else vectors
    distances, ids = neighbours(rows, min(as_count(k, "k"), len(rows) - 1), "l2")
    distances = np.sqrt(np.maximum(distances, 0))
    same = codes[ids] == codes[:, None]
    nearest = distances.min(axis=1, keepdims=True)
    near = (distances - nearest) / (distances.max(axis=1, keepdims=True) - nearest + 1e-3)
    fits = np.where(same, 1 - near, near).sum(axis=1)
    values = {
        "lambda": float(((fits / max(fits.max(), 1e-12)) ** (1 / roots["p"])).mean()),
        "gamma": float((same.mean(axis=1) ** (1 / roots["r"])).mean()),
        "omega": float(max(1 - np.var(same * near) - np.var(~same * near), 0) ** (1 / roots["q"])),
    }
    return float(np.mean([values[name] for name in names]))


@dataclass(frozen=True, slots=True)
class EmbeddingReport:
    """What `embedding_report` measured; prints as a table.

    Attributes
    ----------
    knn_accuracy : float
        Share of rows whose class has the most of their k nearest others.
    icn : float
        `icn_score`.
    silhouette : float
        Mean silhouette by cosine, -1 to 1.
    fisher : float
        Variance between class means over variance within classes.
    hubness : float
        Skew of how often rows are among the k nearest of others; large where some rows are near to everything.
    alignment : float
        Mean squared distance of two rows of a class, at unit length: small is good.
    uniformity : float
        log of the mean of exp(-2 squared distance), at unit length: small is even.
    effective_rank : float
        exp of the entropy of the singular values: dimensions in use.
    anisotropy : float
        Mean cosine of two rows; 0 where they point everywhere.
    """

    knn_accuracy: float
    icn: float
    silhouette: float
    fisher: float
    hubness: float
    alignment: float
    uniformity: float
    effective_rank: float
    anisotropy: float

    def __str__(self) -> str:
        return "\n".join(f"{name:<15}{value:9.4f}" for name, value in asdict(self).items())


def embedding_report(
    X: ArrayLike, y: ArrayLike, k: int = 10, *, max_rows: int = 5000, random_state: int = 0
) -> EmbeddingReport:
    """Nine figures on vectors and their classes.

    Parameters
    ----------
    X : array_like, shape (n, dim)
    y : array_like, shape (n,)
        At least two classes.
    k : int, default 10
        Neighbours; all other rows where there are no more.
    max_rows : int, default 5000
        The silhouette and the uniformity look at pairs of this many rows, drawn at random where there are more.
    random_state : int, default 0
        Draws them.

    Warns
    -----
    UserWarning
        All rows point the same way: there is nothing to tell apart. Figures are finite even then.

    References
    ----------
    Wang & Isola, *Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere*, ICML 2020 (arXiv:2005.10242). Radovanovic et al., *Hubs in Space*, JMLR 2010. Roy & Vetterli, *The
    effective rank*, EUSIPCO 2007.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.repeat(np.eye(3), 4, axis=0) + 0.01 * np.random.default_rng(0).random((12, 3))
    >>> report = embedding_report(X, np.arange(3).repeat(4), k=3)
    >>> report.knn_accuracy, round(report.silhouette, 2)
    (1.0, 1.0)
    """
    vectors, codes = checked(X, y)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not lengths.all():
        raise InvalidArgumentError(f"X[{int(lengths.argmin())}] is zero, expected a direction: it has no cosine")
    unit = vectors / lengths
    if collapsed := bool(np.allclose(unit, unit[0], atol=1e-6)):
        warnings.warn("all rows of X point the same way: nothing tells them apart", stacklevel=2)
    _, ids = neighbours(vectors, min(as_count(k, "k"), len(vectors) - 1), "cosine")
    votes = np.zeros((len(codes), codes.max() + 1), np.int64)
    np.add.at(votes, (np.arange(len(codes))[:, None], codes[ids]), 1)
    some = np.arange(len(unit))
    if len(unit) > as_count(max_rows, "max_rows"):
        some = np.random.default_rng(random_state).choice(len(unit), max_rows, replace=False)
    n, counts = len(unit), np.bincount(codes)
    sums = np.zeros((len(counts), unit.shape[1]))
    np.add.at(sums, codes, unit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        icn = icn_score(vectors, codes, k)
    return EmbeddingReport(
        knn_accuracy=float((votes.argmax(axis=1) == codes).mean()),
        icn=icn,
        silhouette=0.0 if collapsed else silhouette(unit[some], codes[some]),
        fisher=fisher_ratio(vectors, codes),
        hubness=skew(np.bincount(ids.ravel(), minlength=n).astype(np.float64)),
        alignment=float(2 * (np.square(counts).sum() - np.square(sums).sum()) / max((counts * (counts - 1)).sum(), 1)),
        uniformity=uniformity(unit[some]),
        effective_rank=effective_rank(vectors),
        anisotropy=float((np.square(unit.sum(axis=0)).sum() - n) / (n * (n - 1))),
    )


def checked(X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vectors in float64, and classes as numbers."""
    vectors = as_matrix(X, "X").astype(np.float64)
    names, codes = np.unique(as_labels(y, n=len(vectors)), return_inverse=True)
    if len(names) < 2:
        raise InvalidArgumentError(f"y holds one label only: {names[0]}, expected at least two")
    return vectors, codes


def warn_of_single_rows(codes: NDArray[np.int64]) -> None:
    if n_single := int((np.bincount(codes) == 1).sum()):
        warnings.warn(f"y holds {n_single} classes with one row, whose neighbours are all of others", stacklevel=3)


def min_max(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every dimension from 0 to 1; one that is the same for all rows is 0."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    return np.asarray((rows - low) / np.where(high > low, high - low, 1))


def neighbours(
    rows: NDArray[np.float64], k: int, metric: Literal["cosine", "l2"]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances and rows of the `k` nearest others."""
    index = Index(rows.shape[1], metric=metric)
    index.add(rows)
    found = list(search_others(index, k))
    return np.concatenate([each.distances for each in found], dtype=np.float64), np.concatenate([e.ids for e in found])


def silhouette(unit: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    if not 1 < len(np.unique(codes)) < len(codes):
        return 0.0
    return float(require("sklearn.metrics", "embedding_report").silhouette_score(unit, codes, metric="cosine"))


def fisher_ratio(rows: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    """Trace of the scatter between classes over that within; 0 where there is none at all."""
    counts = np.bincount(codes)
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, codes, rows)
    means /= counts[:, None]
    between = (counts[:, None] * np.square(means - rows.mean(axis=0))).sum()
    within = np.square(rows - means[codes]).sum()
    return float(between / within) if within > 0 else float("inf") if between > 1e-12 else 0.0


def skew(values: NDArray[np.float64]) -> float:
    deviation = values.std()
    return float((((values - values.mean()) / deviation) ** 3).mean()) if deviation > 0 else 0.0


def uniformity(unit: NDArray[np.float64]) -> float:
    """Over all pairs of different rows, a few rows at a time."""
    total = -float(len(unit))  # each row with itself
    for start in range(0, len(unit), 512):
        total += np.exp(-2 * np.maximum(2 - 2 * unit[start : start + 512] @ unit.T, 0)).sum()
    return float(np.log(max(total, 1e-300) / (len(unit) * (len(unit) - 1))))


def effective_rank(rows: NDArray[np.float64]) -> float:
    centred = rows - rows.mean(axis=0)
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0))
    if not values.sum() > 1e-9:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
