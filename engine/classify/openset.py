"""Open sets: a class for each row, or the answer that it is of none of the known ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_choice, as_count, as_finite, as_flag, as_matrix, show
from ..evaluation._labels import as_labels
from ..evaluation.open_set import threshold_at_tpr
from ..evaluation.retrieval import search_batches, search_others
from ..exact import topk
from ..exceptions import InvalidArgumentError
from ..index import Index
from ..types import SearchResult
from ._base import (
    Classifier,
    Matrix,
    as_share,
    as_temperature,
    batches,
    check_embeddings,
    check_training,
    class_sums,
    fresh,
    training_labels,
)

__all__ = ["OpenSetClassifier"]

Self = TypeVar("Self", bound="OpenSetClassifier")
Criterion = Literal["max_cosine", "max_probability", "energy", "ratio", "margin", "knn", "mahalanobis"]
OF_TWO = ("ratio", "margin")  # compare two classes
OF_ROWS = ("knn", "mahalanobis")  # compare with training rows


class OpenSetClassifier(Classifier):
    """Predicts what `base` predicts, where a score says that the row is of a known class at all.

    Parameters
    ----------
    base : classifier
        With `class_scores` and `predict_proba`; `fit` with labels trains a copy, without labels it has to be trained.
    criterion : str, default "max_cosine"
        What `score_samples` gives; larger: more likely known. ``"max_cosine"``: the largest class score.
        ``"max_probability"``: the largest probability. ``"energy"``: ``T logsumexp(scores / T)``. ``"ratio"``: minus
        the distance of the nearest class over that of the second. ``"margin"``: the largest class score minus the
        second. ``"knn"``: minus the distance of the `n_neighbors`-th nearest training row. ``"mahalanobis"``: minus the
        squared distance of the nearest class mean, by the covariance within classes.
    threshold : float, optional
        Rows that score less are unknown. Default: what `target_tpr` of the calibration rows reach.
    target_tpr : float in (0, 1], default 0.95
        Share of known rows to keep.
    per_class : bool, default False
        A threshold for each predicted class; a class that no calibration row is predicted for gets the common one.
    unknown_label : optional
        Default: "unknown" where classes are strings, -1 or the next number below all of them where they are numbers.
    temperature : float, default 1.0
        `T` of the energy.
    n_neighbors : int, default 1
    shrinkage : float from 0 to 1, default 0.1
        How much of the covariance is replaced by a multiple of the identity with the same trace.

    Attributes
    ----------
    base_ : classifier
    classes_ : ndarray
        The known classes.
    threshold_ : float, or ndarray of shape (n_classes,) with `per_class`
    unknown_label_ : str or int

    Notes
    -----
    Training rows are nearer to their own class than new rows are: calibrate on rows that were held back (`X_val`) if
    the share kept has to hold. With "knn", calibration on the training rows leaves out each row itself.

    References
    ----------
    The decision of *Domain Adaptive Few-Shot Open-Set Learning* (DAFOS), ICCV 2023 (arXiv:2309.12814), without its
    training.

    Examples
    --------
    >>> from engine.classify import NearestClassMean, OpenSetClassifier
    >>> X, y = [[1, 0.1], [1, -0.1], [0.1, 1], [-0.1, 1]], ["east", "east", "north", "north"]
    >>> clf = OpenSetClassifier(NearestClassMean()).fit(X, y)
    >>> clf.predict([[2, 0], [0.1, 2], [-1, -1]]).tolist()
    ['east', 'north', 'unknown']
    """

    def __init__(
        self,
        base: Any,
        *,
        criterion: Criterion = "max_cosine",
        threshold: float | None = None,
        target_tpr: float = 0.95,
        per_class: bool = False,
        unknown_label: Any = None,
        temperature: float = 1.0,
        n_neighbors: int = 1,
        shrinkage: float = 0.1,
    ) -> None:
        self.base = base
        self.criterion = criterion
        self.threshold = threshold
        self.target_tpr = target_tpr
        self.per_class = per_class
        self.unknown_label = unknown_label
        self.temperature = temperature
        self.n_neighbors = n_neighbors
        self.shrinkage = shrinkage

    def fit(self: Self, X: Any = None, y: Any = None, *, X_val: ArrayLike | None = None) -> Self:
        """Train the base, and find the threshold.

        Parameters
        ----------
        X : array_like, shape (n, dim), or Collection
            Training rows; without `y` rows of known classes that calibrate, or None where `threshold` is given.
        y : array_like, shape (n,), strings or integers, optional
            None: the base is trained already. For a collection also the name of a column.
        X_val : array_like, shape (n_val, dim), optional
            Rows of known classes that calibrate, instead of `X`.

        Raises
        ------
        InvalidArgumentError
            Settings or data that cannot be used; no calibration rows and no `threshold`; "ratio" or "margin" with one
            class; an `unknown_label` that is a class; with ``shrinkage=0`` a covariance that is singular.
        NotBuiltError
            The base is not trained, and there is no `y`.
        """
        self._check_settings()
        if y is None and self.criterion in OF_ROWS:
            raise InvalidArgumentError(f"y is None, expected labels: criterion {self.criterion!r} needs training rows")
        base = self.base
        needed = {"max_probability": "predict_proba", "knn": "predict", "mahalanobis": "predict"}
        if not hasattr(base, method := needed.get(self.criterion, "class_scores")):
            raise InvalidArgumentError(f"base is {show(base)}, expected one with {method}, for {self.criterion!r}")
        if y is None:
            base.check_fitted()
        else:
            y = training_labels(X, y)
            X, classes, codes = check_training(X, y)
            base = fresh(base).fit(X, y)
            self._learn_rows(X, codes, len(classes))
        if self.criterion in OF_TWO and len(base.classes_) < 2:
            raise InvalidArgumentError(f"criterion is {self.criterion!r}, which compares two classes, expected another")
        self.unknown_label_ = as_unknown(self.unknown_label, base.classes_)
        self.base_, self.classes_, self.n_features_in_ = base, base.classes_, base.n_features_in_
        self.threshold_: Any = self._calibrated(X, X_val)
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """How likely each row is of a known class, shape (n,); larger is likelier, the scale is that of `criterion`."""
        self.check_fitted()
        self._check_settings()
        rows = check_embeddings(X, dim=self.n_features_in_)
        if self.criterion == "knn":
            return -farthest(search_batches(self._index, rows, self.n_neighbors))
        if self.criterion == "mahalanobis":
            whitened = as_matrix(rows @ self._whitener, "X")
            return -topk(whitened, self._means, 1, metric="l2").distances[:, 0].astype(np.float64)
        if self.criterion == "max_probability":
            return np.max(self.base_.predict_proba(rows), axis=1)  # type: ignore[no-any-return]
        return np.concatenate([self._of_classes(self.base_.class_scores(part)) for part in batches(rows)])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of each row, or `unknown_label_`, shape (n,)."""
        scores, labels = self.score_samples(X), self.base_.predict(X)
        places = np.searchsorted(self.classes_, labels)
        thresholds = np.broadcast_to(self.threshold_, len(self.classes_))[places]
        decided: NDArray[Any] = np.where(scores >= thresholds, labels, self.unknown_label_)
        return decided

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """What the base says of the known classes, shape (n, n_classes), whether the row is known or not."""
        self.check_fitted()
        return np.asarray(self.base_.predict_proba(X))

    def _check_settings(self) -> None:
        as_choice(self.criterion, "criterion", get_args(Criterion))
        as_temperature(self.temperature)
        as_count(self.n_neighbors, "n_neighbors")
        as_share(self.shrinkage, "shrinkage")
        as_flag(self.per_class, "per_class")

    def _learn_rows(self, X: Matrix, codes: NDArray[np.int64], n_classes: int) -> None:
        """What "knn" and "mahalanobis" compare rows with."""
        if self.criterion == "knn":
            self._index = Index(X.shape[1], metric=getattr(self.base, "metric", "cosine"))
            self._index.add(X)
        elif self.criterion == "mahalanobis":
            means = class_sums(X, codes, n_classes) / np.bincount(codes)[:, None]
            self._whitener = whitener(X - means[codes], self.shrinkage)
            self._means = as_matrix(means @ self._whitener, "X")

    def _of_classes(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """One number for the class scores of each row."""
        scores = scores.astype(np.float64)
        if self.criterion == "max_cosine":
            return np.max(scores, axis=1)  # type: ignore[no-any-return]
        if self.criterion == "energy":
            return log_sum_exp(scores, self.temperature)
        second, first = np.partition(scores, -2, axis=1)[:, -2:].T
        if self.criterion == "margin":
            return np.subtract(first, second)  # type: ignore[no-any-return]
        closest = 1.0 if getattr(self.base_, "metric", "cosine") == "cosine" else 0.0  # the score at distance 0
        with np.errstate(invalid="ignore"):
            ratio = (closest - first) / (closest - second)
        return np.where(first == second, -1.0, -ratio)

    def _calibrated(self, X: Any, X_val: Any) -> Any:
        """The threshold, or one for each class."""
        if self.threshold is not None:
            return as_finite(self.threshold, "threshold")
        if X is None and X_val is None:
            raise InvalidArgumentError("threshold is None, expected a number, or rows of known classes to calibrate on")
        rows = X if X_val is None else X_val
        if self.criterion == "knn" and X_val is None:
            scores = -farthest(search_others(self._index, self.n_neighbors))
        else:
            scores = self.score_samples(rows)
        common = threshold_at_tpr(scores, self.target_tpr)
        if not self.per_class:
            return common
        labels = self.base_.predict(rows)
        own = [scores[labels == name] for name in self.classes_]
        return np.array([threshold_at_tpr(part, self.target_tpr) if len(part) else common for part in own])


def farthest(results: Iterator[SearchResult]) -> NDArray[np.float64]:
    """Distance of the last neighbour of each query."""
    return np.concatenate([found.distances[:, -1] for found in results], dtype=np.float64)


def whitener(centred: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """What makes the covariance of `centred` the identity, (dim, dim)."""
    dim = centred.shape[1]
    covariance = centred.T @ centred / len(centred)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / dim * np.eye(dim)
    if np.linalg.matrix_rank(covariance, hermitian=True) < dim:
        raise InvalidArgumentError(
            f"shrinkage is {shrinkage}, expected more: the covariance within classes is singular"
        )
    whitened: NDArray[np.float64] = np.linalg.inv(np.linalg.cholesky(covariance)).T
    return whitened


def log_sum_exp(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """``T log(sum(exp(scores / T)))`` of each row."""
    powers = scores / temperature
    largest = powers.max(axis=1, keepdims=True)
    total: NDArray[np.float64] = temperature * (largest[:, 0] + np.log(np.exp(powers - largest).sum(axis=1)))
    return total


def as_unknown(value: Any, classes: NDArray[Any]) -> Any:
    """The label of unknown rows, of the kind of `classes` and none of them."""
    if value is None:
        value = "unknown" if classes.dtype.kind == "U" else min(-1, int(classes[0]) - 1)
    (label,) = as_labels([value], "unknown_label")
    if (label.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise InvalidArgumentError(f"unknown_label is {show(value)}, expected what the classes are: strings or numbers")
    if (label == classes).any():
        raise InvalidArgumentError(f"unknown_label is {show(value)}, which is a class, expected another")
    return label
