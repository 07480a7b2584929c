"""Tip-Adapter: a few labelled rows beside the text vector of each class, without training."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_count, as_matrix, show
from ..evaluation._labels import as_labels
from ..exact import topk
from ..exceptions import InvalidArgumentError
from ._base import (
    Matrix,
    ScoreClassifier,
    as_amount,
    as_temperature,
    batches,
    check_embeddings,
    places_of,
    refuse_zero,
    similarities,
    training_labels,
    unit,
    warn_if_one,
)

__all__ = ["TipAdapter"]

Self = TypeVar("Self", bound="TipAdapter")
TILE = 1 << 21  # affinities of rows to keys held at once
BETAS = 0.1 + np.arange(200) * (7 - 0.1) / 200
ALPHAS = 0.1 + np.arange(20) * (3 - 0.1) / 20
SCALES = (1.0, 2.0, 5.0, 10.0, 30.0, 100.0)


class TipAdapter(ScoreClassifier):
    """Adds to the zero-shot scores what the nearest labelled rows (the cache) say.

    The score of a class is ``logit_scale * cos(x, w) + alpha * sum(exp(-beta * (1 - cos(x, f))))`` for its text vector
    `w` and its labelled rows `f`.

    Parameters
    ----------
    alpha : float, default 1.17
        How much the labelled rows count; 0: not at all.
    beta : float, default 1.0
        How fast that falls with the distance.
    logit_scale : float, default 100.0
        *Multiplies* the cosines with the text vectors.
    n_neighbors : int, optional
        Let only the nearest labelled rows count: one exact search, for caches too large to look at as a whole.
    search : {"grid", "scales"} or None, default "grid"
        Where `fit` is given validation rows, take the best of 200 betas from 0.1 to 7 and 20 alphas from 0.1 to 3; with
        "scales" also of the logit scales 1, 2, 5, 10, 30 and 100, for models whose cosines spread more than CLIP's.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted.
    alpha_, beta_, logit_scale_ : float
        Those in use: the settings, or the best of the grid (the first of equals).
    validation_accuracy_ : float
        Of the best of the grid; NaN without validation rows.

    Notes
    -----
    Without text vectors and with a temperature of ``1 / beta`` this is the vote of `KNNClassifier`.

    References
    ----------
    Zhang et al., *Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification*, ECCV 2022
    (arXiv:2207.09519).

    Examples
    --------
    >>> from engine.classify import TipAdapter
    >>> text = [[1, 0], [0, 1]]
    >>> rows, labels = [[0.9, 0.2], [0.5, 0.5]], ["cat", "dog"]
    >>> TipAdapter(alpha=0).fit(rows, labels, text).predict([[1, 0.9]]).tolist()  # what the text alone says
    ['cat']
    >>> TipAdapter(alpha=80).fit(rows, labels, text).predict([[1, 0.9]]).tolist()
    ['dog']
    """

    def __init__(
        self,
        alpha: float = 1.17,
        beta: float = 1.0,
        *,
        logit_scale: float = 100.0,
        n_neighbors: int | None = None,
        search: Literal["grid", "scales"] | None = "grid",
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.logit_scale = logit_scale
        self.n_neighbors = n_neighbors
        self.search = search

    def fit(
        self: Self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        class_embeddings: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Keep the labelled rows, and search the grid if there are validation rows.

        Parameters
        ----------
        X : array_like, shape (n, dim), or Collection
            The labelled rows; give the mean of several augmented views of an image to follow the paper.
        y : array_like, shape (n,), strings or integers
            For a collection also the name of a column; None stands for "label".
        class_embeddings : array_like, shape (n_classes, dim), optional
            The text vector of each class, such as `ZeroShotClassifier.class_embeddings_`. None: the rows alone decide.
        classes : array_like, shape (n_classes,), optional
            What class each text vector is of. Default: the classes of `y`, sorted.
        X_val, y_val : array_like, shape (n_val, dim) and (n_val,), optional

        Raises
        ------
        InvalidArgumentError
            Settings, vectors or labels that cannot be used; a label that is none of `classes`; one of `X_val`, `y_val`
            without the other, or both with ``search=None``.
        """
        self.alpha_, self.beta_, self.logit_scale_ = self._check_settings()
        y = training_labels(X, y)
        X = check_embeddings(X)
        y = as_labels(y, n=len(X))
        names, text = as_class_vectors(class_embeddings, classes, y, X.shape[1])
        if (X_val is None) != (y_val is None):
            raise InvalidArgumentError("X_val and y_val: one is None, expected validation rows and their labels")
        if X_val is not None and self.search is None:
            raise InvalidArgumentError("X_val is given, expected None where search is None")
        codes = places_of(y, names, "y")
        order = np.argsort(codes, kind="stable")  # the rows of a class side by side
        self._keys, self._codes, self._text = as_matrix(unit(X), "X")[order], codes[order], text
        self.classes_, self.n_features_in_ = names, X.shape[1]
        self.validation_accuracy_ = float("nan")
        if X_val is not None and y_val is not None:
            rows = refuse_zero(check_embeddings(X_val, "X_val", dim=X.shape[1]), "X_val")
            self._search_grid(rows, places_of(as_labels(y_val, "y_val", n=len(rows)), names, "y_val"))
        warn_if_one(names)
        return self

    def _check_settings(self) -> tuple[float, float, float]:
        if self.n_neighbors is not None:
            as_count(self.n_neighbors, "n_neighbors")
        if self.search not in ("grid", "scales", None):
            raise InvalidArgumentError(f"search is {show(self.search)}, expected 'grid', 'scales' or None")
        scale = as_temperature(self.logit_scale, "logit_scale")
        return as_amount(self.alpha, "alpha"), as_amount(self.beta, "beta"), scale

    def _queries(self, X: ArrayLike) -> Matrix:
        return refuse_zero(super()._queries(X))

    def _score(self, X: Matrix) -> Matrix:
        parts = [
            self._from_text(part) + self.alpha_ * self._from_cache(*self._near(part), self.beta_)
            for part in batches(X, self._rows_at_once())
        ]
        return np.concatenate(parts).astype(np.float32)

    def _rows_at_once(self) -> int:
        return max(1, TILE // min(len(self._keys), self.n_neighbors or len(self._keys)))

    def _from_text(self, X: Matrix) -> NDArray[Any]:
        """The zero-shot scores, shape (n, n_classes)."""
        return self.logit_scale_ * similarities(X, self._text) if len(self._text) else np.zeros(1)

    def _near(self, X: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
        """Cosine distances to labelled rows, (n, n_keys or n_neighbors), and their classes: of all, or for each row."""
        if self.n_neighbors is None or self.n_neighbors >= len(self._keys):
            return 1 - similarities(X, self._keys), self._codes
        found = topk(X, self._keys, self.n_neighbors)
        return found.distances, self._codes[found.ids]

    def _from_cache(self, distances: Matrix, codes: NDArray[np.int64], beta: float) -> NDArray[np.float64]:
        """The sum of exp(-beta * distance) for each class, shape (n, n_classes)."""
        affinities = np.exp(-beta * distances)
        if codes.ndim == 1:  # the same labelled rows for all, class by class
            present, starts = np.unique(codes, return_index=True)
            sums = np.zeros((len(distances), len(self.classes_)))
            sums[:, present] = np.add.reduceat(affinities, starts, axis=1, dtype=np.float64)
            return sums
        cells = codes + len(self.classes_) * np.arange(len(codes))[:, None]
        shape = (len(codes), len(self.classes_))
        weighed = np.bincount(cells.ravel(), affinities.ravel(), minlength=shape[0] * shape[1])
        return weighed.reshape(shape).astype(np.float64, copy=False)

    def _search_grid(self, X: Matrix, codes: NDArray[np.int64]) -> None:
        """Keep the settings that predict most of the rows right."""
        scales = np.array(SCALES) if self.search == "scales" and len(self._text) else np.array([self.logit_scale_])
        hits = np.zeros((len(scales), len(BETAS), len(ALPHAS)), np.int64)
        step = self._rows_at_once()
        for start, part in zip(range(0, len(X), step), batches(X, step), strict=True):
            text, near, own = self._from_text(part) / self.logit_scale_, self._near(part), codes[start : start + step]
            for i, beta in enumerate(BETAS):
                cache = self._from_cache(*near, beta)
                for scaled, scale in zip(hits, scales, strict=True):
                    scaled[i] += [((scale * text + alpha * cache).argmax(axis=1) == own).sum() for alpha in ALPHAS]
        best = np.unravel_index(hits.argmax(), hits.shape)
        self.logit_scale_, self.beta_ = float(scales[best[0]]), float(BETAS[best[1]])
        self.alpha_ = float(ALPHAS[best[2]])
        self.validation_accuracy_ = float(hits[best] / len(X))


def as_class_vectors(vectors: Any, classes: Any, y: NDArray[Any], dim: int) -> tuple[NDArray[Any], Matrix]:
    """Class names, sorted, and the vector of each; no vectors at all where `vectors` is None."""
    names = np.unique(y) if classes is None else as_labels(classes, "classes")
    order = np.argsort(names, kind="stable")
    names = names[order]
    if (twice := names[1:] == names[:-1]).any():
        raise InvalidArgumentError(f"classes holds {names[1:][twice].tolist()[0]!r} twice, expected different names")
    if vectors is None:
        return names, np.empty((0, dim), np.float32)
    rows = check_embeddings(vectors, "class_embeddings", dim=dim)
    if len(rows) != len(names):
        raise InvalidArgumentError(f"class_embeddings has {len(rows)} rows, expected {len(names)}: one for each class")
    return names, refuse_zero(rows, "class_embeddings")[order]
