"""What the classifiers share: scikit-learn's conventions without scikit-learn, checks, and classes that are vectors."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_finite, as_matrix, as_positive, as_share, show
from ..collection import Collection
from ..evaluation import accuracy
from ..evaluation._labels import as_labels
from ..exact import topk
from ..exceptions import InvalidArgumentError, NotBuiltError
from ..types import Metric

__all__ = [
    "Classifier",
    "Estimator",
    "PrototypeClassifier",
    "ScoreClassifier",
    "as_amount",
    "as_indicator",
    "as_share",
    "as_temperature",
    "batches",
    "check_embeddings",
    "check_training",
    "class_sums",
    "encode_labels",
    "fresh",
    "merged",
    "places_of",
    "refuse_zero",
    "similarities",
    "softmax",
    "training_labels",
    "unit",
    "warn_if_one",
]

Self = TypeVar("Self", bound="Estimator")
Matrix = NDArray[np.float32]
Rows = TypeVar("Rows", bound=NDArray[Any])
BATCH = 1024  # rows scored at once, where they are not only ranked


class Estimator:
    """Base of all that learns: settings in ``__init__`` alone, what was learned ends in ``_``.

    Subclasses define ``__init__`` (which only stores its arguments) and ``fit``; `clone`, pipelines and grid searches
    of scikit-learn then work.
    """

    n_features_in_: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name; with `deep` also those of a classifier among them, as ``name__setting``."""
        settings = {name: getattr(self, name) for name in setting_names(type(self))}
        nested = [(name, value) for name, value in settings.items() if deep and hasattr(value, "get_params")]
        inner = {f"{name}__{key}": each for name, value in nested for key, each in value.get_params().items()}
        return settings | inner

    def set_params(self: Self, **params: Any) -> Self:
        """Change settings by name."""
        names = setting_names(type(self))
        for full_name, value in params.items():
            name, _, inner = full_name.partition("__")
            if name not in names:
                raise InvalidArgumentError(
                    f"{name!r} is no setting of {type(self).__name__}, expected {', '.join(names)}"
                )
            if inner:
                getattr(self, name).set_params(**{inner: value})
            else:
                setattr(self, name, value)
        return self

    def check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotBuiltError(f"this {type(self).__name__} has not learned anything yet: call fit first")

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        settings = self.get_params(deep=False)
        changed = {name: value for name, value in settings.items() if value is not defaults[name].default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")


class Classifier(Estimator):
    """Base of every classifier."""

    classes_: NDArray[Any]

    def predict(self, X: ArrayLike) -> Any:
        """The class of each row of `X`."""
        raise NotImplementedError

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Share of the rows of `X` whose predicted label is that in `y`."""
        return accuracy(y, self.predict(X))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier", target_tags=TargetTags(required=True), classifier_tags=ClassifierTags()
        )


class ScoreClassifier(Classifier):
    """Predicts the class with the largest score; subclasses define `_score`. Of equal scores the first class wins.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Column ``i`` of `class_scores` and `predict_proba` belongs to ``classes_[i]``.
    """

    def class_scores(self, X: ArrayLike) -> Matrix:
        """How well each class fits each row, shape (n, n_classes); larger is better."""
        return np.concatenate([self._score(batch) for batch in batches(self._queries(X))])

    def decision_function(self, X: ArrayLike) -> Matrix:
        """`class_scores`, but as scikit-learn has it for two classes: the second's score minus the first's, (n,)."""
        scores = self.class_scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class with the largest score for each row, shape (n,)."""
        best = [self._score(batch).argmax(axis=1) for batch in batches(self._queries(X))]
        predicted: NDArray[Any] = self.classes_[np.concatenate(best)]
        return predicted

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Softmax of the scores, shape (n, n_classes); rows sum to 1."""
        return softmax(self.class_scores(X), self._temperature())

    def _queries(self, X: ArrayLike) -> Matrix:
        """`X` checked: rows to score."""
        self.check_fitted()
        return check_embeddings(X, dim=self.n_features_in_)

    def _score(self, X: Matrix) -> Matrix:
        """Scores of a batch of rows, shape (n, n_classes)."""
        raise NotImplementedError

    def _temperature(self) -> float:
        """What divides the scores before the softmax."""
        return as_temperature(getattr(self, "temperature", 1.0))


class PrototypeClassifier(ScoreClassifier):
    """Each class is a vector, and the nearest one is predicted by one exact search of the core."""

    prototypes_: Matrix
    metric: Metric = "cosine"

    def _queries(self, X: ArrayLike) -> Matrix:
        rows = super()._queries(X)
        return refuse_zero(rows) if self.metric == "cosine" else rows

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class whose vector is nearest to each row, shape (n,)."""
        queries = self._queries(X)
        return self.classes_[topk(queries, self.prototypes_, 1, metric=self.metric).ids[:, 0]]

    def _score(self, X: Matrix) -> Matrix:
        return similarities(X, self.prototypes_, self.metric)


def fresh(estimator: Any) -> Any:
    """An estimator with the same settings that has not learned anything."""
    return type(estimator)(**estimator.get_params(deep=False))


def setting_names(kind: type[Any]) -> list[str]:
    return sorted(inspect.signature(kind).parameters)


def check_embeddings(X: Any, name: str = "X", *, dim: int | None = None) -> Matrix:
    """`X` as a (n, dim) float32 matrix: of an array, a data frame, or the vectors of a `Collection`, ordered by id.

    A single vector, fine for a search, is refused: it may be meant as a column.
    """
    if isinstance(X, Collection):
        X = X.get(np.sort(X.index.ids))
    if hasattr(X, "toarray"):
        raise InvalidArgumentError(f"{name} is a sparse matrix, expected a dense array: {name}.toarray() makes one")
    X = as_array(X, name)
    if X.ndim != 2:
        raise InvalidArgumentError(f"{name} has shape {X.shape}, expected (n, dim). Reshape your data")
    return as_matrix(X, name, dim=dim)


def check_training(X: Any, y: Any, *, dim: int | None = None) -> tuple[Matrix, NDArray[Any], NDArray[np.int64]]:
    """Vectors, sorted classes, and the place of each row's label among them."""
    y = training_labels(X, y)
    X = check_embeddings(X, dim=dim)
    return X, *encode_labels(y, n=len(X))


def training_labels(X: Any, y: Any) -> Any:
    """`y`; with a `Collection` as `X` it may be the name of a column of it, and None stands for "label"."""
    if not isinstance(X, Collection) or not (y is None or isinstance(y, str)):
        return y
    column = "label" if y is None else y
    if column not in X.schema:
        raise InvalidArgumentError(f"y is {y!r}, expected labels or one of the columns {sorted(X.schema)}")
    return X.attributes[column][np.argsort(X.index.ids)]


def encode_labels(y: ArrayLike, *, n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The sorted classes of `y`, and the place of each label among them."""
    return np.unique(as_labels(y, n=n), return_inverse=True)


def places_of(y: NDArray[Any], names: NDArray[Any], name: str) -> NDArray[np.int64]:
    """The place of each label among the sorted `names`."""
    places = np.minimum(np.searchsorted(names, y), len(names) - 1)
    if (unknown := names[places] != y).any():
        raise InvalidArgumentError(f"{name} holds {y[unknown].tolist()[0]!r}, expected one of classes")
    return places


def merged(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """All classes of both, sorted."""
    if (left.dtype.kind == "U") != (right.dtype.kind == "U"):
        raise InvalidArgumentError(f"classes {show(left[0])} and {show(right[0])} differ in kind: strings or numbers")
    return np.union1d(left, right)


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


def as_temperature(value: object, name: str = "temperature") -> float:
    """`value` as a positive number; a temperature divides similarities."""
    return as_positive(value, name)


def as_amount(value: object, name: str) -> float:
    """`value` as a number of at least 0."""
    amount = as_finite(value, name)
    if amount < 0:
        raise InvalidArgumentError(f"{name} is {amount}, expected a number of at least 0")
    return amount


def batches(X: Matrix, size: int = BATCH) -> Iterator[Matrix]:
    """`X` in parts of at most `size` rows."""
    for start in range(0, len(X), size):
        yield X[start : start + size]


def unit(rows: ArrayLike, name: str = "X") -> NDArray[np.float64]:
    """Rows at unit length, in float64; one that is zero has no direction and is refused."""
    rows = refuse_zero(as_array(rows, name).astype(np.float64), name)
    directions: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return directions


def refuse_zero(rows: Rows, name: str = "X") -> Rows:
    """`rows`, none of which is zero: under cosine that has no direction."""
    if not (some := rows.any(axis=1)).all():
        raise InvalidArgumentError(f"{name}[{int(np.argmin(some))}] is zero, expected a direction: it has no cosine")
    return rows


def class_sums(X: NDArray[Any], codes: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Sum of the rows of each class, shape (n_classes, dim); zero for a class without rows."""
    sums = np.zeros((n_classes, X.shape[1]))
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    for code, rows in zip(present, np.split(order, starts[1:]), strict=True):
        sums[code] = X[rows].sum(axis=0, dtype=np.float64)
    return sums


def similarities(X: Matrix, vectors: ArrayLike, metric: Metric = "cosine") -> Matrix:
    """Similarity of each row with each of `vectors`, shape (n, n_vectors).

    Computed in float64 and rounded once, so that the largest is the one that a search of the core finds.
    """
    rows, columns = X.astype(np.float64), np.asarray(vectors, np.float64)
    if metric == "cosine":
        rows, columns = unit(rows), unit(columns, "vectors")
    products = rows @ columns.T
    if metric == "l2":
        products = 2 * products - np.square(rows).sum(axis=1)[:, None] - np.square(columns).sum(axis=1)
        np.minimum(products, 0, out=products)
    return products.astype(np.float32)


def softmax(scores: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """exp(scores / temperature), rows divided by their sums; the largest score of a row is taken off first."""
    scores = scores.astype(np.float64)
    with np.errstate(over="ignore"):  # far below the largest, at a tiny temperature: exp(-inf) is the right 0
        shares: NDArray[np.float64] = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares
