"""LELP: several prototypes for a class, split along what the class itself varies in."""

from __future__ import annotations

import warnings
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_choice, as_count, as_flag, as_matrix, show
from ..exact import METRICS, topk
from ..exceptions import InvalidArgumentError
from ..types import Metric
from ._base import (
    Matrix,
    PrototypeClassifier,
    as_temperature,
    batches,
    check_embeddings,
    check_training,
    class_sums,
    refuse_zero,
    similarities,
    softmax,
    warn_if_one,
)

__all__ = ["SubclassPrototypes"]

Self = TypeVar("Self", bound="SubclassPrototypes")
Rows = NDArray[np.float64]


class SubclassPrototypes(PrototypeClassifier):
    """Split each class into sub-classes, and predict the class of the nearest of their means, or by all of them.

    Parameters
    ----------
    n_subclasses : int, default 4
        For each class; 1 is `NearestClassMean`.
    method : {"lelp", "kmeans", "pca_sign"}, default "lelp"
        ``"lelp"``: a row belongs to the largest of its scores along the first principal axes of its class, after a
        random rotation that evens them out. ``"pca_sign"``: to the axis and side on which it lies farthest.
        ``"kmeans"``: to its cluster.
    null_space : bool, default True
        Leave out of "lelp" and "pca_sign" the directions that tell classes apart: those of the class vectors.
    soft : bool, default False
        A class is the mixture of its sub-classes: its score is ``temperature * log(sum(share * exp(s / temperature)))``
        over the similarities `s` of their means and their shares of its rows, not the largest `s` alone; and "lelp"
        divides each row among sub-classes by a softmax of its scores.
    metric : {"cosine", "ip", "l2"}, default "cosine"
    temperature : float, default 1.0
        Divides similarities, and the scores of "lelp", before each softmax. Towards 0, soft is not soft.
    random_state : int, optional, default 0

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted.
    prototypes_ : ndarray, shape (n_prototypes, dim), float32
        Means of the sub-classes, class by class; sub-classes without a row have none.
    subclass_of_ : ndarray, shape (n_prototypes,), int64
        The place in `classes_` of the class of each prototype.
    share_ : ndarray, shape (n_prototypes,), float64
        Of the rows of its class.

    References
    ----------
    Loo et al., *Linear Projections of Teacher Embeddings for Few-Class Distillation* (LELP), 2024 (arXiv:2409.20449),
    without its student.

    Examples
    --------
    Class "a" lies on both sides of "b", so its mean is of no use, but those of its two parts are:

    >>> from engine.classify import SubclassPrototypes
    >>> X, y = [[-9, 0], [-8, 1], [8, 1], [9, 0], [0, 1], [0, 2]], ["a", "a", "a", "a", "b", "b"]
    >>> sub = SubclassPrototypes(2, method="pca_sign", null_space=False, metric="l2").fit(X, y)
    >>> sub.predict([[-7, 0], [1, 1], [8, 0]]).tolist()
    ['a', 'b', 'a']
    """

    def __init__(
        self,
        n_subclasses: int = 4,
        *,
        method: Literal["lelp", "kmeans", "pca_sign"] = "lelp",
        null_space: bool = True,
        soft: bool = False,
        metric: Metric = "cosine",
        temperature: float = 1.0,
        random_state: int | None = 0,
    ) -> None:
        self.n_subclasses = n_subclasses
        self.method = method
        self.null_space = null_space
        self.soft = soft
        self.metric = metric
        self.temperature = temperature
        self.random_state = random_state

    def fit(self: Self, X: ArrayLike, y: ArrayLike | None = None, class_vectors: ArrayLike | None = None) -> Self:
        """Split the classes.

        Parameters
        ----------
        X : array_like, shape (n, dim), or Collection
        y : array_like, shape (n,), strings or integers
            For a collection also the name of a column; None stands for "label".
        class_vectors : array_like, shape (n_vectors, dim), optional
            What `null_space` leaves out: the weights of a classifier. Default: the class means.

        Raises
        ------
        InvalidArgumentError
            Settings, vectors or labels that cannot be used; a class that varies in fewer directions than "lelp" or
            "pca_sign" need.

        Warns
        -----
        UserWarning
            Classes with fewer rows than `n_subclasses`: each of their rows is a sub-class.
        """
        self._check_settings()
        X, classes, codes = check_training(X, y)
        means = class_sums(X, codes, len(classes)) / np.bincount(codes)[:, None]
        vectors = means if class_vectors is None else check_embeddings(class_vectors, "class_vectors", dim=X.shape[1])
        rows = without(X.astype(np.float64), vectors) if self.null_space else X.astype(np.float64)
        rng = np.random.default_rng(self.random_state)
        few = classes[np.bincount(codes) < self.n_subclasses].tolist()
        if few:
            warnings.warn(f"fewer rows than n_subclasses ({self.n_subclasses}) in {show(few)}", stacklevel=2)
        prototypes, owners, sizes = [], [], []
        for code, name in enumerate(classes.tolist()):
            own = np.flatnonzero(codes == code)
            parts = self._split(X[own] if self.method == "kmeans" else rows[own], name, rng)
            parts = parts[:, parts.any(axis=0)]
            totals = parts.sum(axis=0)
            prototypes.append(parts.T @ X[own].astype(np.float64) / totals[:, None])
            owners += [code] * len(totals)
            sizes.append(totals / len(own))
        self.prototypes_, self.subclass_of_ = as_matrix(np.concatenate(prototypes), "X"), np.array(owners)
        self.share_ = np.concatenate(sizes)
        if self.metric == "cosine":
            refuse_zero(self.prototypes_, "the means of sub-classes")
        self.classes_, self.n_features_in_ = classes, X.shape[1]
        warn_if_one(classes)
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of the nearest prototype of each row, or of the largest score where that is soft, shape (n,)."""
        if self.soft:
            best: NDArray[Any] = self.classes_[self.class_scores(X).argmax(axis=1)]
            return best
        queries = self._queries(X)
        nearest = topk(queries, self.prototypes_, 1, metric=self.metric).ids[:, 0]
        labels: NDArray[Any] = self.classes_[self.subclass_of_[nearest]]
        return labels

    def subclass_proba(self, X: ArrayLike) -> Rows:
        """`predict_proba` divided among the prototypes of each class, by a softmax of their similarities.

        Returns
        -------
        ndarray, shape (n, n_prototypes), float64
            Over the prototypes of a class they sum to its probability.
        """
        queries, starts = self._queries(X), self._starts()
        parts = []
        for batch in batches(queries):
            similar = similarities(batch, self.prototypes_, self.metric)
            whole = softmax(self._of_classes(similar), self._temperature())
            if self.soft:
                similar = similar + self._temperature() * np.log(self.share_)
            inner = [softmax(part, self._temperature()) for part in np.split(similar, starts[1:], axis=1)]
            parts.append(np.concatenate([whole[:, [c]] * part for c, part in enumerate(inner)], axis=1))
        return np.concatenate(parts)

    def _score(self, X: Matrix) -> Matrix:
        """The similarity of the nearest prototype of each class, or of their mixture."""
        return self._of_classes(similarities(X, self.prototypes_, self.metric)).astype(np.float32)

    def _of_classes(self, similar: NDArray[Any]) -> NDArray[Any]:
        """Scores of classes from the similarities of their prototypes."""
        starts = self._starts()
        tops = np.maximum.reduceat(similar, starts, axis=1)
        if not self.soft:
            return tops
        with np.errstate(under="ignore"):
            below = similar - tops[:, self.subclass_of_].astype(np.float64)
            powers = np.exp(below / self._temperature()) * self.share_
        return np.asarray(tops + self._temperature() * np.log(np.add.reduceat(powers, starts, axis=1)))

    def _starts(self) -> NDArray[np.int64]:
        """Where the prototypes of each class begin."""
        return np.searchsorted(self.subclass_of_, np.arange(len(self.classes_)))

    def _check_settings(self) -> None:
        as_count(self.n_subclasses, "n_subclasses")
        as_choice(self.method, "method", ("lelp", "kmeans", "pca_sign"))
        as_choice(self.metric, "metric", METRICS)
        as_flag(self.null_space, "null_space")
        as_flag(self.soft, "soft")
        as_temperature(self.temperature)

    def _split(self, rows: NDArray[Any], name: Any, rng: np.random.Generator) -> Rows:
        """How much of each row of a class belongs to each sub-class, shape (n, n_subclasses)."""
        n_parts = min(self.n_subclasses, len(rows))
        if n_parts in (1, len(rows)):
            return np.eye(len(rows), n_parts) if n_parts > 1 else np.ones((len(rows), 1))
        if self.method == "kmeans":
            from ..discovery import NCDKMeans  # on first use: discovery stands on this package

            clusters = NCDKMeans(n_parts, random_state=int(rng.integers(2**31))).fit(rows)
            return np.asarray(np.eye(n_parts)[clusters.labels_])
        if self.method == "lelp":
            rotation = np.linalg.qr(rng.standard_normal((n_parts, n_parts)))[0]
            scores = principal_scores(rows, n_parts, name) @ rotation
            scores /= scores.std(axis=0)
            return softmax(scores, self._temperature()) if self.soft else np.eye(n_parts)[scores.argmax(axis=1)]
        scores = principal_scores(rows, (n_parts + 1) // 2, name)
        sides = np.stack([scores, -scores], axis=2).reshape(len(rows), -1)
        return np.asarray(np.eye(n_parts)[sides[:, :n_parts].argmax(axis=1)])


def without(rows: Rows, vectors: NDArray[Any]) -> Rows:
    """`rows` with nothing left along any of `vectors`: ``H (I - pinv(W) W)``."""
    return np.asarray(rows - rows @ np.linalg.pinv(vectors) @ vectors)


def principal_scores(rows: Rows, n: int, name: Any) -> Rows:
    """Where rows lie along their first `n` principal axes, which have to be that many."""
    centred = rows - rows.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    rank = int((lengths > 1e-6 * max(lengths[0], np.abs(rows).max())).sum())
    if rank < n:
        raise InvalidArgumentError(f"class {show(name)} varies in {rank} directions, expected {n}: ask for fewer parts")
    return np.asarray(centred @ axes[:n].T)
