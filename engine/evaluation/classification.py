"""How good are predicted labels: accuracy, top-k accuracy, and a report for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_count, as_matrix
from ..exceptions import InvalidArgumentError
from ._labels import as_label_pair, as_labels

__all__ = ["ClassReport", "accuracy", "class_report", "top_k_accuracy"]


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of labels that were predicted right.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n,)
        Strings or integers.

    Examples
    --------
    >>> accuracy(["cat", "dog", "dog", "cat"], ["cat", "dog", "cat", "cat"])
    0.75
    """
    true, predicted = as_label_pair(y_true, y_pred)
    return float(np.mean(true == predicted))


def top_k_accuracy(y_true: ArrayLike, scores: ArrayLike, k: int = 5, *, classes: ArrayLike | None = None) -> float:
    """Share of rows whose true class is among the `k` best scored ones.

    A tie counts against the true class, so that classes nobody voted for never help: it is a hit only if fewer than `k`
    other classes score at least as much.

    Parameters
    ----------
    y_true : array_like, shape (n,)
        Strings or integers.
    scores : array_like, shape (n, n_classes)
        Larger is better, as `predict_proba` gives them.
    k : int, default 5
        With fewer classes than `k`, every row is a hit.
    classes : array_like, shape (n_classes,), optional
        The class of each column: the `classes_` of a classifier. Default: ``0, 1, ...``.

    Examples
    --------
    >>> scores = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]
    >>> top_k_accuracy([0, 1], scores, k=1), top_k_accuracy([0, 1], scores, k=2)
    (0.5, 1.0)
    """
    true, scored = as_labels(y_true, "y_true"), as_matrix(scores, "scores")
    k = as_count(k, "k")
    if len(scored) != len(true):
        raise InvalidArgumentError(f"scores has {len(scored)} rows, expected {len(true)}: one for each label of y_true")
    names = np.arange(scored.shape[1]) if classes is None else as_labels(classes, "classes", n=scored.shape[1])
    order = np.argsort(names, kind="stable")
    places = np.minimum(np.searchsorted(names, true, sorter=order), len(names) - 1)
    columns = order[places]
    if (unknown := names[columns] != true).any():
        raise InvalidArgumentError(f"y_true holds {true[np.argmax(unknown)].item()!r}, expected one of classes")
    own = np.take_along_axis(scored, columns[:, None], axis=1)
    n_better = (scored >= own).sum(axis=1) - 1
    return float(np.mean(n_better < k))


@dataclass(frozen=True, slots=True)
class ClassReport:
    """How well each class is found; prints as a table.

    Attributes
    ----------
    classes : ndarray, shape (n_classes,)
        Sorted; everything that occurs in the true or in the predicted labels.
    precision, recall, f1 : ndarray, shape (n_classes,), float64
        0 where the denominator is: a class that was never predicted, or never occurs.
    support : ndarray, shape (n_classes,), int64
        How often each class occurs in the true labels.
    accuracy : float
        Share of all labels that were predicted right.
    """

    classes: NDArray[Any]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    accuracy: float

    @property
    def macro_f1(self) -> float:
        """Mean f1 of the classes, each counted once."""
        return float(self.f1.mean())

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""
        columns = zip(self.classes, self.precision, self.recall, self.f1, self.support, strict=True)
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "n": int(self.support.sum()),
            "classes": {
                str(name): {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
                for name, p, r, f, s in columns
            },
        }

    def __str__(self) -> str:
        width = max(len("macro mean"), *(len(str(name)) for name in self.classes))
        rows = [f"{'class':<{width}}  precision  recall     f1  support"]
        for name, p, r, f, s in zip(self.classes, self.precision, self.recall, self.f1, self.support, strict=True):
            rows.append(f"{name!s:<{width}}  {p:9.3f}  {r:6.3f}  {f:5.3f}  {s:7d}")
        p, r, n = self.precision.mean(), self.recall.mean(), self.support.sum()
        rows.append(f"{'macro mean':<{width}}  {p:9.3f}  {r:6.3f}  {self.macro_f1:5.3f}  {n:7d}")
        rows.append(f"{'accuracy':<{width}}  {self.accuracy:9.3f}")
        return "\n".join(rows)


def class_report(y_true: ArrayLike, y_pred: ArrayLike) -> ClassReport:
    """Precision, recall, f1 and support of each class.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n,)
        Strings or integers.

    Returns
    -------
    ClassReport

    Examples
    --------
    >>> print(class_report(["cat", "cat", "dog"], ["cat", "dog", "dog"]))
    class       precision  recall     f1  support
    cat             1.000   0.500  0.667        2
    dog             0.500   1.000  0.667        1
    macro mean      0.750   0.750  0.667        3
    accuracy        0.667
    """
    true, predicted = as_label_pair(y_true, y_pred)
    classes, codes = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    true_codes, predicted_codes = codes[: len(true)], codes[len(true) :]
    support, n_predicted = (np.bincount(c, minlength=len(classes)) for c in (true_codes, predicted_codes))
    hits = np.bincount(true_codes[true_codes == predicted_codes], minlength=len(classes))
    return ClassReport(
        classes=classes,
        precision=hits / np.maximum(n_predicted, 1),
        recall=hits / np.maximum(support, 1),
        f1=2 * hits / np.maximum(support + n_predicted, 1),
        support=support,
        accuracy=float(hits.sum() / len(true)),
    )
