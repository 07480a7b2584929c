"""Labels as the estimators and the metrics take them."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_numpy
from ..exceptions import InvalidArgumentError

__all__ = ["as_label_pair", "as_labels"]


def as_labels(value: ArrayLike, name: str = "y", *, n: int | None = None) -> NDArray[Any]:
    """`value` as a 1-D array of strings, bools or whole numbers, `n` of them if given; never empty.

    Strings and numbers do not mix: numpy would silently turn ``[1, "cat"]`` into two strings.
    """
    labels = as_numpy(value, name, "a list of labels", None if hasattr(value, "__array__") else object)
    if labels.dtype == object and labels.ndim == 1:
        labels = plain(labels, name)
    if labels.ndim != 1:
        raise InvalidArgumentError(f"{name} has shape {labels.shape}, expected one label a row: (n,)")
    if n is not None and len(labels) != n:
        raise InvalidArgumentError(f"{name} has {len(labels)} labels, expected {n}: one for each row")
    if not len(labels):
        raise InvalidArgumentError(f"{name} is empty, expected at least one label")
    if labels.dtype.kind not in "biufU":
        raise InvalidArgumentError(f"{name} has dtype {labels.dtype}, expected strings or integers")
    if labels.dtype.kind == "f" and (wrong := ~np.isfinite(labels) | (labels != np.trunc(labels))).any():
        row = int(np.argmax(wrong))
        expected = "strings or integers (Unknown label type: continuous)"  # scikit-learn's tools look for these words
        raise InvalidArgumentError(f"{name}[{row}] is {labels[row]}, expected {expected}")
    return labels


def plain(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """An object array as the array of strings or numbers that it holds."""
    kinds = set(map(type, labels))
    if all(issubclass(kind, str) for kind in kinds) or all(issubclass(kind, (Real, np.bool_)) for kind in kinds):
        return np.asarray(labels.tolist())
    raise InvalidArgumentError(f"{name} holds {named(kinds)}, expected either strings or integers")


def named(kinds: set[type]) -> str:
    return " and ".join(sorted(kind.__name__ for kind in kinds))


def as_label_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as labels of the same kind and length."""
    true = as_labels(y_true, "y_true")
    predicted = as_labels(y_pred, "y_pred", n=len(true))
    if (true.dtype.kind == "U") != (predicted.dtype.kind == "U"):
        raise InvalidArgumentError(f"y_pred has dtype {predicted.dtype}, y_true {true.dtype}: expected the same kind")
    return true, predicted
