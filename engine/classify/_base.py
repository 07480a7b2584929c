"""What the classifiers share: scikit-learn's conventions without scikit-learn, and checks of what they are given."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_finite, as_matrix
from ..evaluation import accuracy
from ..evaluation._labels import as_labels
from ..exceptions import InvalidArgumentError, NotBuiltError

__all__ = ["Classifier", "as_indicator", "as_temperature", "check_embeddings", "encode_labels", "warn_if_one"]

Self = TypeVar("Self", bound="Classifier")


class Classifier:
    """Base of every classifier: settings in ``__init__`` alone, what was learned ends in ``_``.

    Subclasses define ``__init__`` (which only stores its arguments), ``fit`` and ``predict``; `clone`, pipelines and
    grid searches of scikit-learn then work.
    """

    classes_: NDArray[Any]
    n_features_in_: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name; `deep` is part of scikit-learn's protocol, there is nothing nested here."""
        return {name: getattr(self, name) for name in setting_names(type(self))}

    def set_params(self: Self, **params: Any) -> Self:
        """Change settings by name."""
        names = setting_names(type(self))
        for name, value in params.items():
            if name not in names:
                raise InvalidArgumentError(
                    f"{name!r} is no setting of {type(self).__name__}, expected {', '.join(names)}"
                )
            setattr(self, name, value)
        return self

    def predict(self, X: ArrayLike) -> Any:
        """The class of each row of `X`."""
        raise NotImplementedError

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Share of the rows of `X` whose predicted label is that in `y`."""
        return accuracy(y, self.predict(X))

    def check_fitted(self) -> None:
        if not hasattr(self, "classes_"):
            raise NotBuiltError(f"this {type(self).__name__} has not learned anything yet: call fit first")

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = {name: value for name, value in self.get_params().items() if value is not defaults[name].default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier", target_tags=TargetTags(required=True), classifier_tags=ClassifierTags()
        )


def setting_names(kind: type[Classifier]) -> list[str]:
    return sorted(inspect.signature(kind).parameters)


def check_embeddings(X: ArrayLike, name: str = "X", *, dim: int | None = None) -> NDArray[np.float32]:
    """`X` as a (n, dim) float32 matrix; a single vector, fine for a search, is refused: it may be meant as a column."""
    if hasattr(X, "toarray"):
        raise InvalidArgumentError(f"{name} is a sparse matrix, expected a dense array: {name}.toarray() makes one")
    X = as_array(X, name)
    if X.ndim != 2:
        raise InvalidArgumentError(f"{name} has shape {X.shape}, expected (n, dim). Reshape your data")
    return as_matrix(X, name, dim=dim)


def encode_labels(y: ArrayLike, *, n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The sorted classes of `y`, and the place of each label among them."""
    return np.unique(as_labels(y, n=n), return_inverse=True)


def warn_if_one(classes: NDArray[Any]) -> None:
    """Say that a single class leaves nothing to decide."""
    if len(classes) == 1:
        warnings.warn(f"y holds one class only, {classes.tolist()[0]!r}: every prediction will be that", stacklevel=3)


def as_indicator(y: ArrayLike, *, n: int) -> NDArray[np.bool_]:
    """Multi-label `y` as a bool matrix of shape (n, n_labels)."""
    labels = as_array(y, "y")
    if labels.ndim != 2 or len(labels) != n or not labels.shape[1]:
        raise InvalidArgumentError(f"y has shape {labels.shape}, expected ({n}, n_labels): multilabel=True")
    if not np.isin(labels, (0, 1)).all():
        raise InvalidArgumentError("y holds other values than 0 and 1, expected 1 where a row has the label")
    return labels.astype(np.bool_)


def as_temperature(value: object) -> float:
    """`value` as a positive number; a temperature divides similarities."""
    temperature = as_finite(value, "temperature")
    if temperature <= 0:
        raise InvalidArgumentError(f"temperature is {temperature}, expected a number above 0")
    return temperature
