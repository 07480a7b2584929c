"""Open-vocabulary regions: what parts of an image show, among classes given as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_finite, as_mask, as_matrix, show
from ..evaluation._labels import as_labels
from ..exceptions import InvalidArgumentError
from ._base import (
    Matrix,
    ScoreClassifier,
    as_share,
    as_temperature,
    batches,
    refuse_zero,
    similarities,
    softmax,
)
from .cache_model import as_class_vectors

__all__ = ["RegionClassifier", "multi_scale_crops", "nms"]

Self = TypeVar("Self", bound="RegionClassifier")


class RegionClassifier(ScoreClassifier):
    """The class whose text vector is nearest to a region, or "background" where that is nearer still.

    Parameters
    ----------
    background : array_like of shape (dim,), float or None, default None
        What the background looks like: a vector such as the mean of crops without an object; or the cosine that a class
        has to exceed. None: every region is of a class.
    temperature : float, default 0.01
        Divides the cosines before the softmax.
    base_weight, novel_weight : float from 0 to 1, default 2 / 3 and 1 / 3
        For regions seen by a second model too: how much the first counts, for base classes and for the others.
    background_label : str, default "background"

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted.

    References
    ----------
    Gu et al., *Open-vocabulary Object Detection via Vision and Language Knowledge Distillation* (ViLD), ICLR 2022
    (arXiv:2104.13921): the classifier, without the detector.

    Examples
    --------
    >>> import numpy as np
    >>> from engine.classify import RegionClassifier
    >>> clf = RegionClassifier(background=0.5).fit(np.eye(2, 3), ["cat", "dog"])
    >>> clf.predict([[1, 0.2, 0], [0.1, 0.1, 1]]).tolist()
    ['cat', 'background']
    """

    def __init__(
        self,
        background: ArrayLike | float | None = None,
        *,
        temperature: float = 0.01,
        base_weight: float = 2 / 3,
        novel_weight: float = 1 / 3,
        background_label: str = "background",
    ) -> None:
        self.background = background
        self.temperature = temperature
        self.base_weight = base_weight
        self.novel_weight = novel_weight
        self.background_label = background_label

    def fit(
        self: Self, class_embeddings: ArrayLike, classes: Sequence[str], *, base_mask: ArrayLike | None = None
    ) -> Self:
        """Keep the text vectors.

        Parameters
        ----------
        class_embeddings : array_like, shape (n_classes, dim)
        classes : sequence of str
        base_mask : array_like of bool, shape (n_classes,), optional
            Which classes the second model was trained on. Default: all.
        """
        self._check_settings()
        given = as_labels(classes, "classes")
        names, vectors = as_class_vectors(class_embeddings, given, given, np.shape(class_embeddings)[-1])
        if self.background_label in names.tolist():
            raise InvalidArgumentError(f"background_label is {self.background_label!r}, which is a class")
        base = np.ones(len(given), np.bool_) if base_mask is None else as_mask(base_mask, len(given), "base_mask")
        self.base_mask_ = base[np.argsort(given, kind="stable")]
        self.class_embeddings_, self.classes_, self.n_features_in_ = vectors, names, vectors.shape[1]
        return self

    def predict_proba(self, X: ArrayLike, second: ArrayLike | None = None) -> NDArray[np.float64]:
        """How likely each region is of each class, shape (n, n_classes); what is missing to 1 is background.

        Parameters
        ----------
        X : array_like, shape (n, dim)
            Vectors of regions; such as the sum of unit vectors of crops at several scales.
        second : array_like, shape (n, dim), optional
            The same regions, as a second model sees them: the two are combined by a weighted geometric mean.
        """
        shares = self._shares(self._queries(X))
        if second is not None:
            others = self._shares(self._queries(second))
            if len(others) != len(shares):
                raise InvalidArgumentError(f"second has {len(others)} rows, expected {len(shares)}: those of X")
            weights = np.where(np.append(self.base_mask_, True), self.base_weight, self.novel_weight)
            first, other = (np.log(np.maximum(part, 1e-300)) for part in (shares, others))
            shares = softmax(weights * first + (1 - weights) * other)
        return np.asarray(shares[:, :-1])

    def predict(self, X: ArrayLike, second: ArrayLike | None = None) -> NDArray[Any]:
        """The likeliest class of each region, or `background_label`, shape (n,)."""
        shares = self.predict_proba(X, second)
        rest = 1 - shares.sum(axis=1)
        labels = np.append(self.classes_, self.background_label)
        named: NDArray[Any] = labels[np.where(rest > shares.max(axis=1), len(self.classes_), shares.argmax(axis=1))]
        return named

    def detect(
        self, X: ArrayLike, boxes: ArrayLike, *, iou: float = 0.5, second: ArrayLike | None = None
    ) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64]]:
        """Regions that show a class, without those that overlap a likelier one of the same class.

        Parameters
        ----------
        X, second
            As for `predict_proba`.
        boxes : array_like, shape (n, 4)
            Left, top, right, bottom of each region.
        iou : float from 0 to 1, default 0.5
            Intersection over union from which on two boxes are of the same thing.

        Returns
        -------
        rows, labels, scores : ndarray, shape (n_kept,)
            The likeliest first.
        """
        labels, scores = self.predict(X, second), self.predict_proba(X, second).max(axis=1)
        rectangles = as_boxes(boxes, n=len(labels))
        kept = [
            (rows := np.flatnonzero(labels == name))[nms(rectangles[rows], scores[rows], iou)]
            for name in np.unique(labels)
            if name != self.background_label
        ]
        every = np.concatenate([np.arange(0), *kept])
        order = every[np.lexsort((every, -scores[every]))]
        return order, labels[order], scores[order]

    def _queries(self, X: ArrayLike) -> Matrix:
        return refuse_zero(super()._queries(X))

    def _score(self, X: Matrix) -> Matrix:
        return similarities(X, self.class_embeddings_)

    def _shares(self, X: Matrix) -> NDArray[np.float64]:
        """With the background as the last column."""
        return np.concatenate([softmax(self._with_background(part), self.temperature) for part in batches(X)])

    def _with_background(self, X: Matrix) -> NDArray[np.float64]:
        scores = self._score(X).astype(np.float64)
        if self.background is None:
            last = np.full(len(X), -np.inf)
        elif np.ndim(self.background):
            vector = as_matrix(np.asarray(self.background), "background", dim=self.n_features_in_)
            last = similarities(X, refuse_zero(vector, "background"))[:, 0].astype(np.float64)
        else:
            last = np.full(len(X), as_finite(self.background, "background"))
        return np.column_stack([scores, last])

    def _check_settings(self) -> None:
        as_temperature(self.temperature)
        as_share(self.base_weight, "base_weight")
        as_share(self.novel_weight, "novel_weight")


def multi_scale_crops(
    image: ArrayLike, boxes: ArrayLike, scales: Sequence[float] = (1.0, 1.5)
) -> list[list[NDArray[np.uint8]]]:
    """What lies within boxes, and around them; the unit vectors of the crops of a box are summed to that of the region.

    Parameters
    ----------
    image : array_like, shape (height, width, 3), uint8
    boxes : array_like, shape (n, 4)
        Left, top, right, bottom in pixels; what reaches beyond the image is cut off.
    scales : sequence of float, default (1.0, 1.5)

    Returns
    -------
    list of list of ndarray
        For each box a crop at each scale.

    Examples
    --------
    >>> import numpy as np
    >>> [crop.shape for crop in multi_scale_crops(np.zeros((10, 20, 3), np.uint8), [[4, 4, 8, 8]])[0]]
    [(4, 4, 3), (6, 6, 3)]
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or not pixels.size:
        raise InvalidArgumentError(f"image has shape {pixels.shape}, expected (height, width, 3)")
    height, width = pixels.shape[:2]
    rectangles = as_boxes(boxes)
    crops = []
    for row, (left, top, right, bottom) in enumerate(rectangles):
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise InvalidArgumentError(f"boxes[{row}] lies outside the image of {width} x {height}")
        x, y, reach = (left + right) / 2, (top + bottom) / 2, np.array([right - left, bottom - top]) / 2
        parts = []
        for scale in scales:
            dx, dy = reach * as_temperature(scale, "scales")
            first = np.floor(np.maximum([x - dx, y - dy], 0)).astype(int)
            last = np.ceil(np.minimum([x + dx, y + dy], [width, height])).astype(int)
            parts.append(pixels[first[1] : last[1], first[0] : last[0]])
        crops.append(parts)
    return crops


def nms(boxes: ArrayLike, scores: ArrayLike, iou: float = 0.5) -> NDArray[np.int64]:
    """Non-maximum suppression: go through boxes, the best first, and drop what overlaps one that was kept.

    Parameters
    ----------
    boxes : array_like, shape (n, 4)
        Left, top, right, bottom.
    scores : array_like, shape (n,)
    iou : float from 0 to 1, default 0.5
        Intersection over union above which a box is dropped.

    Returns
    -------
    ndarray, shape (n_kept,), int64
        Rows, the best first.

    Examples
    --------
    >>> nms([[0, 0, 4, 4], [0, 0, 4, 5], [4, 0, 8, 4]], [0.9, 0.8, 0.7]).tolist()
    [0, 2]
    """
    rectangles, limit = as_boxes(boxes), as_share(iou, "iou")
    values = as_array(scores, "scores").astype(np.float64)
    if values.shape != (len(rectangles),) or not np.isfinite(values).all():
        raise InvalidArgumentError(f"scores is {show(scores)}, expected {len(rectangles)} finite numbers")
    rest = np.lexsort((np.arange(len(values)), -values))
    kept = []
    while len(rest):
        kept.append(rest[0])
        rest = rest[1:][overlap(rectangles[rest[0]], rectangles[rest[1:]]) <= limit]
    return np.array(kept, np.int64)


def overlap(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of one box with others."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / (areas - shared))


def as_boxes(value: ArrayLike, *, n: int | None = None) -> NDArray[np.float64]:
    boxes = as_array(value, "boxes").astype(np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or n not in (None, len(boxes)):
        raise InvalidArgumentError(f"boxes has shape {boxes.shape}, expected ({'n' if n is None else n}, 4)")
    wrong = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidArgumentError(f"boxes[{row}] is {boxes[row].tolist()}, expected left < right and top < bottom")
    return boxes
