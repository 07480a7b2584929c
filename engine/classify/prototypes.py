"""Classes as the means of their rows, and new classes calibrated by the old ones."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_choice, as_flag, as_matrix, show
from ..evaluation._labels import as_labels
from ..exact import METRICS
from ..exceptions import InvalidArgumentError
from ..types import Metric
from ._base import (
    PrototypeClassifier,
    as_share,
    as_temperature,
    check_training,
    class_sums,
    merged,
    softmax,
    unit,
    warn_if_one,
)

__all__ = ["TEEN", "NearestClassMean", "calibrate_prototypes"]

Mean = TypeVar("Mean", bound="NearestClassMean")
Self = TypeVar("Self", bound="TEEN")
Rows = NDArray[np.float64]


class NearestClassMean(PrototypeClassifier):
    """Predicts the class whose mean is nearest.

    Parameters
    ----------
    metric : {"cosine", "ip", "l2"}, default "cosine"
        What nearest means; similarity is the cosine, the inner product, or minus the squared distance.
    normalize_before_mean : bool, default False
        Give every row unit length first, so that long rows do not count for more.
    temperature : float, default 1.0
        Divides the similarities before the softmax of `predict_proba`.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted.
    prototypes_ : ndarray, shape (n_classes, dim), float32
        The mean of each class.
    class_count_ : ndarray, shape (n_classes,), int64
        How many rows each class has been given.

    References
    ----------
    Mensink et al., *Distance-Based Image Classification: Generalizing to New Classes at Near-Zero Cost*, TPAMI 2013.

    Examples
    --------
    >>> from engine.classify import NearestClassMean
    >>> ncm = NearestClassMean().fit([[1, 0], [3, 1], [0, 1]], ["east", "east", "north"])
    >>> ncm.prototypes_.tolist()
    [[2.0, 0.5], [0.0, 1.0]]
    >>> ncm.partial_fit([[-1, 0]], ["west"]).predict([[1, 0.2], [-2, 1]]).tolist()
    ['east', 'west']
    """

    def __init__(
        self, metric: Metric = "cosine", *, normalize_before_mean: bool = False, temperature: float = 1.0
    ) -> None:
        self.metric = metric
        self.normalize_before_mean = normalize_before_mean
        self.temperature = temperature

    def fit(self: Mean, X: ArrayLike, y: ArrayLike | None = None) -> Mean:
        """Average the rows of each class.

        Parameters
        ----------
        X : array_like, shape (n, dim), or Collection
        y : array_like, shape (n,), strings or integers
            For a collection also the name of a column; None stands for "label".

        Raises
        ------
        InvalidArgumentError
            Settings, vectors or labels that cannot be used; under "cosine" also a class whose rows cancel out.
        """
        return self._learn(*self._sums(X, y, dim=None))

    def partial_fit(self: Mean, X: ArrayLike, y: ArrayLike | None = None, classes: ArrayLike | None = None) -> Mean:
        """Add rows, of known classes or of new ones: the means are then those of all rows so far.

        `classes` is what scikit-learn's tools pass: labels that are not among them are refused. A class is predicted
        from its first row on.
        """
        fitted = self.__sklearn_is_fitted__()
        new, sums, counts = self._sums(X, y, dim=self.n_features_in_ if fitted else None)
        if classes is not None and len(unknown := np.setdiff1d(new, as_labels(classes, "classes"))):
            raise InvalidArgumentError(f"y holds {show(unknown.tolist()[0])}, expected one of classes")
        if not fitted:
            return self._learn(new, sums, counts)
        every = merged(self.classes_, new)
        all_sums, all_counts = np.zeros((len(every), sums.shape[1])), np.zeros(len(every), np.int64)
        for names, part, count in ((self.classes_, self._all_sums, self.class_count_), (new, sums, counts)):
            places = np.searchsorted(every, names)
            all_sums[places] += part
            all_counts[places] += count
        return self._learn(every, all_sums, all_counts)

    def _sums(self, X: Any, y: Any, *, dim: int | None) -> tuple[NDArray[Any], Rows, NDArray[np.int64]]:
        """Classes, the sum of the rows of each, and their number."""
        as_choice(self.metric, "metric", METRICS)
        as_temperature(self.temperature)
        X, classes, codes = check_training(X, y, dim=dim)
        rows = unit(X) if as_flag(self.normalize_before_mean, "normalize_before_mean") else X
        return classes, class_sums(rows, codes, len(classes)), np.bincount(codes)

    def _learn(self: Mean, classes: NDArray[Any], sums: Rows, counts: NDArray[np.int64]) -> Mean:
        means = sums / counts[:, None]
        if self.metric == "cosine":
            unit(means, "the means of y")
        warn_if_one(classes)
        self._all_sums, self.class_count_ = sums, counts
        self.classes_, self.prototypes_, self.n_features_in_ = classes, as_matrix(means, "X"), sums.shape[1]
        return self


class TEEN(PrototypeClassifier):
    """Class means; those of new classes with few rows are drawn towards the old classes that they resemble.

    Of old (base) classes there are many rows, so their means are right; of new ones a few, so theirs are noisy. TEEN
    mixes into each new mean what the base means near it say, without any training.

    Parameters
    ----------
    alpha : float from 0 to 1, default 0.5
        How much: 0 leaves the new means as they are.
    tau : float, default 16.0
        *Multiplies* the cosines before the softmax over base classes. Large: the nearest base class alone counts.
    base_classes : array_like, optional
        Which of the classes given to `fit` are the old ones. Default: all of them.
    temperature : float, default 1 / 16
        Divides the cosines before the softmax of `predict_proba`.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted.
    prototypes_ : ndarray, shape (n_classes, dim), float32
        Unit means of base classes; calibrated ones, which are shorter, of new classes.
    base_mask_ : ndarray, shape (n_classes,), bool
        True for base classes.
    weights_ : ndarray, shape (n_new, n_base), float64
        What each base class counts for each new one; rows and columns are sorted by class, rows sum to 1.

    References
    ----------
    Wang et al., *Few-Shot Class-Incremental Learning via Training-Free Prototype Calibration*, NeurIPS 2023
    (arXiv:2312.05229).

    Examples
    --------
    >>> import numpy as np
    >>> from engine.classify import TEEN
    >>> teen = TEEN().fit(np.eye(3), ["cat", "dog", "fox"]).partial_fit([[0.8, 0.6, 0]], ["wolf"])
    >>> teen.weights_.round(3).tolist()
    [[0.961, 0.039, 0.0]]
    >>> teen.prototypes_[3].astype(float).round(2).tolist()
    [0.9, 0.32, 0.0]
    """

    def __init__(
        self,
        alpha: float = 0.5,
        *,
        tau: float = 16.0,
        base_classes: ArrayLike | None = None,
        temperature: float = 1 / 16,
    ) -> None:
        self.alpha = alpha
        self.tau = tau
        self.base_classes = base_classes
        self.temperature = temperature

    def fit(self: Self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn the base classes; classes that are not among `base_classes` are calibrated as `partial_fit` does it.

        Parameters
        ----------
        X : array_like, shape (n, dim), or Collection
        y : array_like, shape (n,), strings or integers
            For a collection also the name of a column; None stands for "label".

        Raises
        ------
        InvalidArgumentError
            Settings, vectors or labels that cannot be used, a base class without a row, a class whose rows cancel out.
        """
        classes, means = self._means(X, y, dim=None)
        base = np.ones(len(classes), np.bool_)
        if self.base_classes is not None:
            given = as_labels(self.base_classes, "base_classes")
            if len(absent := np.setdiff1d(given, classes)):
                raise InvalidArgumentError(f"base_classes holds {show(absent.tolist()[0])}, of which y has no row")
            base = np.isin(classes, given)
        means[~base], weights = calibrate_prototypes(means[~base], means[base], alpha=self.alpha, tau=self.tau)
        warn_if_one(classes)
        return self._learn(classes, means, base, weights)

    def partial_fit(self: Self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Add new classes, calibrated by the base classes alone.

        Raises
        ------
        InvalidArgumentError
            As for `fit`; also for a class that is known already: its mean is final.
        NotBuiltError
            `fit` has to learn the base classes first.
        """
        self.check_fitted()
        new, means = self._means(X, y, dim=self.n_features_in_)
        every = merged(self.classes_, new)
        if len(every) < len(self.classes_) + len(new):
            known = np.intersect1d(new, self.classes_).tolist()[0]
            raise InvalidArgumentError(f"y holds {show(known)}, which is known already, expected new classes")
        base = self.prototypes_[self.base_mask_]
        calibrated, weights = calibrate_prototypes(means, base, alpha=self.alpha, tau=self.tau)
        before = self.classes_[~self.base_mask_]
        order = np.argsort(np.concatenate([self.classes_, new]))
        self._learn(
            every,
            np.concatenate([self.prototypes_, calibrated])[order],
            np.concatenate([self.base_mask_, np.zeros(len(new), np.bool_)])[order],
            np.concatenate([self.weights_, weights])[np.argsort(np.concatenate([before, new]))],
        )
        return self

    def _means(self, X: Any, y: Any, *, dim: int | None) -> tuple[NDArray[Any], Rows]:
        """Classes, and the mean of each at unit length."""
        as_temperature(self.temperature)
        X, classes, codes = check_training(X, y, dim=dim)
        return classes, unit(class_sums(X, codes, len(classes)), "the means of y")

    def _learn(self: Self, classes: NDArray[Any], rows: Rows, base: NDArray[np.bool_], weights: Rows) -> Self:
        self.classes_, self.prototypes_ = classes, as_matrix(rows, "X")
        self.base_mask_, self.weights_, self.n_features_in_ = base, weights, rows.shape[1]
        return self


def calibrate_prototypes(
    new: ArrayLike, base: ArrayLike, *, alpha: float = 0.5, tau: float = 16.0
) -> tuple[Rows, Rows]:
    """TEEN's one step: each new prototype, mixed with the base prototypes that it resembles.

    Parameters
    ----------
    new : array_like, shape (n_new, dim)
        Means of a few rows each. May be empty.
    base : array_like, shape (n_base, dim)
        Means of many rows each.
    alpha : float from 0 to 1, default 0.5
    tau : float, default 16.0
        *Multiplies* the cosines.

    Returns
    -------
    calibrated : ndarray, shape (n_new, dim), float64
        ``(1 - alpha) * c + alpha * delta`` for the unit vector `c` of each new prototype; not of unit length itself.
    weights : ndarray, shape (n_new, n_base), float64
        Softmax of ``tau * cos``; `delta` is the unit vector of the unit base prototypes summed with these.

    Raises
    ------
    InvalidArgumentError
        `alpha` outside [0, 1], `tau` not above 0, dims that differ, a prototype that is zero.

    Examples
    --------
    >>> import numpy as np
    >>> calibrated, weights = calibrate_prototypes([[0.8, 0.6, 0]], np.eye(3), alpha=0.1)
    >>> calibrated.round(5).tolist()
    [[0.81992, 0.54407, 0.0]]
    """
    alpha, tau = as_share(alpha, "alpha"), as_temperature(tau, "tau")
    new, base = as_array(new, "new"), as_array(base, "base")
    if new.ndim != 2 or base.ndim != 2 or not len(base) or new.shape[1] != base.shape[1]:
        raise InvalidArgumentError(f"new has shape {new.shape}, base {base.shape}, expected (n, dim), the same dim")
    c_new, c_base = unit(new, "new"), unit(base, "base")
    if not len(new):
        return c_new, np.empty((0, len(base)))
    weights = softmax(c_new @ c_base.T, 1 / tau)
    delta = unit(weights @ c_base, "the weighted mean of base")
    return (1 - alpha) * c_new + alpha * delta, weights
