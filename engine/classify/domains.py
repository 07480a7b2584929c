"""Domains: rows of several origins, made comparable."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .._validate import as_matrix
from ..evaluation._labels import as_labels
from ._base import Estimator, Matrix, check_embeddings, check_training, class_sums, places_of

__all__ = ["DomainStandardizer"]

Standardizer = TypeVar("Standardizer", bound="DomainStandardizer")


class DomainStandardizer(Estimator):
    """Give the rows of each domain mean 0 and deviation 1 in every dimension, so that what sets domains apart is gone.

    What domain-specific batch normalisation does to features, as a step before prototypes.

    Attributes
    ----------
    domains_ : ndarray, shape (n_domains,)
        Sorted.
    mean_, scale_ : ndarray, shape (n_domains, dim), float64
        Where all rows of a domain are equal, the scale is 1.

    References
    ----------
    *Domain Adaptive Few-Shot Open-Set Learning* (DAFOS), ICCV 2023 (arXiv:2309.12814).

    Examples
    --------
    >>> from engine.classify import DomainStandardizer
    >>> X, domains = [[1.0], [3.0], [11.0], [13.0]], ["photo", "photo", "sketch", "sketch"]
    >>> DomainStandardizer().fit(X, domains).transform(X, domains).ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """

    def fit(self: Standardizer, X: ArrayLike, domains: ArrayLike) -> Standardizer:
        """Learn mean and deviation of each domain.

        Parameters
        ----------
        X : array_like, shape (n, dim)
        domains : array_like, shape (n,), strings or integers
        """
        rows, names, codes = check_training(X, domains)
        counts = np.bincount(codes)[:, None]
        self.mean_ = class_sums(rows, codes, len(names)) / counts
        deviations = np.sqrt(class_sums(np.square(rows - self.mean_[codes]), codes, len(names)) / counts)
        self.scale_ = np.where(deviations > 0, deviations, 1.0)
        self.domains_, self.n_features_in_ = names, rows.shape[1]
        return self

    def transform(self, X: ArrayLike, domains: ArrayLike) -> Matrix:
        """The rows, standardised by their own domains, shape (n, dim); a domain that `fit` has not seen is refused."""
        self.check_fitted()
        rows = check_embeddings(X, dim=self.n_features_in_)
        codes = places_of(as_labels(domains, "domains", n=len(rows)), self.domains_, "domains")
        return as_matrix((rows - self.mean_[codes]) / self.scale_[codes], "X")
