"""NoLA: the confident answers of one model are the training labels of another."""

from __future__ import annotations

import warnings
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_choice, as_count, show
from ..exceptions import InvalidArgumentError
from ._base import (
    Classifier,
    as_share,
    as_temperature,
    batches,
    check_embeddings,
    refuse_zero,
    similarities,
    softmax,
)
from ._network import NetworkClassifier
from .cache_model import as_class_vectors
from .knn import KNNClassifier
from .prototypes import NearestClassMean

__all__ = ["LabelFreeAdapter", "ensemble_logits", "select_confident"]

Self = TypeVar("Self", bound="LabelFreeAdapter")
Head = Literal["mlp", "linear", "knn", "prototype"]


class LabelFreeAdapter(Classifier):
    """Learn a classifier on strong vectors from what weak vectors, with class names, are most sure of.

    1. The text vectors of classes (`ZeroShotClassifier.class_embeddings_`) say, by the vectors of one model (CLIP), how
       likely each class is for each unlabelled row.
    2. Of each class the rows that are surest of it get its label.
    3. On the vectors that another model (DINO) makes of the same rows, a head is trained with these labels.

    The fourth step of the paper, which trains CLIP's own image encoder, is not here: vectors are given.

    Parameters
    ----------
    head : {"mlp", "linear", "knn", "prototype"}, default "mlp"
        A network with a hidden layer, as in the paper; without one; or no training: a vote of neighbours, class means.
    hidden : int, default 256
        Width of the hidden layer.
    epochs : int, default 50
    lr : float, default 1e-3
        Step of Adam.
    k : "nola" or int, default "nola"
        Rows to take for each class; see `select_confident`.
    logit_scale : float, default 100.0
        *Multiplies* the cosines before the softmax that says how sure.
    backend : {"numpy", "torch"}, default "numpy"
        What trains the network.
    missing : {"warn", "raise"}, default "warn"
        What to do where a class gets no row at all.
    random_state : int, optional, default 0
        Seed of first weights and batches.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted.
    head_ : classifier
        Trained on the classes that got rows.
    selected_ : ndarray, shape (n_selected,), int64
        Rows that were given a label,
    pseudo_labels_ : ndarray, shape (n_selected,)
        which one,
    confidence_ : ndarray, shape (n_selected,), float64
        and the probability it had.
    missing_ : list
        Classes without a row.

    References
    ----------
    Imam et al., *CLIP meets DINO for Tuning Zero-Shot Classifier using Unlabeled Image Collections* (NoLA), 2024
    (arXiv:2411.19346).

    Examples
    --------
    >>> import numpy as np
    >>> from engine.classify import LabelFreeAdapter
    >>> weak = [[1, 0.9], [1, 0.1], [0.1, 1], [0.9, 1]]  # two of them say little
    >>> strong = [[5, 1, 0], [5, 2, 0], [0, 2, 5], [0, 1, 5]]
    >>> adapter = LabelFreeAdapter("prototype", k=1).fit(weak, np.eye(2), strong, classes=["cat", "dog"])
    >>> adapter.selected_.tolist(), adapter.predict(strong).tolist()
    ([1, 2], ['cat', 'cat', 'dog', 'dog'])
    """

    def __init__(
        self,
        head: Head = "mlp",
        *,
        hidden: int = 256,
        epochs: int = 50,
        lr: float = 1e-3,
        k: int | Literal["nola"] = "nola",
        logit_scale: float = 100.0,
        backend: Literal["numpy", "torch"] = "numpy",
        missing: Literal["warn", "raise"] = "warn",
        random_state: int | None = 0,
    ) -> None:
        self.head = head
        self.hidden = hidden
        self.epochs = epochs
        self.lr = lr
        self.k = k
        self.logit_scale = logit_scale
        self.backend = backend
        self.missing = missing
        self.random_state = random_state

    def fit(
        self: Self,
        X_clip: ArrayLike,
        class_embeddings: ArrayLike,
        X_visual: ArrayLike,
        *,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Select rows, and train the head on them. No true label is seen.

        Parameters
        ----------
        X_clip : array_like, shape (n, dim_clip)
            Unlabelled rows in the space of the text vectors.
        class_embeddings : array_like, shape (n_classes, dim_clip)
        X_visual : array_like, shape (n, dim)
            The same rows, as the other model sees them.
        classes : array_like, shape (n_classes,), optional
            Names of the rows of `class_embeddings`. Default: 0, 1, ...

        Raises
        ------
        InvalidArgumentError
            Settings or vectors that cannot be used, `X_clip` and `X_visual` of different length; with
            ``missing="raise"`` a class without a row.

        Warns
        -----
        UserWarning
            Classes without a row: they are never predicted.
        """
        self._check_settings()
        weak = refuse_zero(check_embeddings(X_clip, "X_clip"), "X_clip")
        strong = check_embeddings(X_visual, "X_visual")
        if len(weak) != len(strong):
            raise InvalidArgumentError(f"X_visual has {len(strong)} rows, expected {len(weak)}: those of X_clip")
        numbered = np.arange(len(check_embeddings(class_embeddings, "class_embeddings", dim=weak.shape[1])))
        names, text = as_class_vectors(class_embeddings, classes, numbered, weak.shape[1])
        sure = [softmax(similarities(part, text), 1 / self.logit_scale) for part in batches(weak)]
        rows, codes, confidence = select_confident(np.concatenate(sure), self.k)
        missing = names[np.setdiff1d(np.arange(len(names)), codes)].tolist()
        if missing and self.missing == "raise":
            raise InvalidArgumentError(f"no row is of class {show(missing[0])}, expected some (missing='warn')")
        if missing:
            warnings.warn(f"no row is of the classes {show(missing)}: they will not be predicted", stacklevel=2)
        self.head_ = self._new_head(len(rows)).fit(strong[rows], names[codes])
        self.classes_, self.n_features_in_, self.missing_ = names, strong.shape[1], missing
        self.selected_, self.pseudo_labels_, self.confidence_ = rows, names[codes], confidence
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of each row of the other model's vectors, shape (n,)."""
        self.check_fitted()
        labels: NDArray[Any] = self.head_.predict(X)
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """What the head says of each class, shape (n, n_classes); 0 for classes that got no row."""
        self.check_fitted()
        known = self.head_.predict_proba(X)
        shares = np.zeros((len(known), len(self.classes_)))
        shares[:, np.searchsorted(self.classes_, self.head_.classes_)] = known
        return shares

    def _check_settings(self) -> None:
        as_choice(self.head, "head", ("mlp", "linear", "knn", "prototype"))
        as_choice(self.backend, "backend", ("numpy", "torch"))
        as_choice(self.missing, "missing", ("warn", "raise"))
        as_count(self.hidden, "hidden")
        as_count(self.epochs, "epochs")
        as_temperature(self.lr, "lr")
        as_temperature(self.logit_scale, "logit_scale")

    def _new_head(self, n: int) -> Any:
        if self.head == "knn":
            return KNNClassifier(min(20, n))
        if self.head == "prototype":
            return NearestClassMean()
        hidden = self.hidden if self.head == "mlp" else None
        return NetworkClassifier(
            hidden, epochs=self.epochs, lr=self.lr, backend=self.backend, random_state=self.random_state
        )


def select_confident(
    probs: ArrayLike, k: int | Literal["nola"] = "nola"
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each class the `k` rows that are surest of it, among those that take it for the likeliest.

    Parameters
    ----------
    probs : array_like, shape (n, n_classes)
        Rows sum to 1.
    k : "nola" or int, default "nola"
        ``"nola"``: ``max(16, floor(0.2 * n / n_classes))``. A class with fewer rows gives all of them.

    Returns
    -------
    indices : ndarray, shape (n_selected,), int64
        Row numbers, class by class, the surest first.
    labels : ndarray, shape (n_selected,), int64
        Their classes, as columns of `probs`.
    confidence : ndarray, shape (n_selected,), float64

    Examples
    --------
    >>> indices, labels, confidence = select_confident([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]], k=2)
    >>> indices.tolist(), labels.tolist()
    ([0, 2, 3], [0, 0, 1])
    """
    shares = as_array(probs, "probs").astype(np.float64)
    if shares.ndim != 2 or not shares.size:
        raise InvalidArgumentError(f"probs has shape {shares.shape}, expected (n, n_classes)")
    wrong = ~(np.isclose(shares.sum(axis=1), 1, atol=1e-3) & (shares >= 0).all(axis=1))
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidArgumentError(f"probs[{row}] sums to {shares[row].sum():g}, expected shares that sum to 1")
    n, n_classes = shares.shape
    most = max(16, n // (5 * n_classes)) if k == "nola" else as_count(k, "k")
    likeliest, confidence = shares.argmax(axis=1), shares.max(axis=1)
    order = np.lexsort((np.arange(n), -confidence, likeliest))
    labels = likeliest[order]
    rank = np.arange(n) - np.searchsorted(labels, labels)
    chosen = order[rank < most]
    return chosen, likeliest[chosen], confidence[chosen]


def ensemble_logits(first: ArrayLike, second: ArrayLike, weight: float = 0.5) -> NDArray[np.float64]:
    """Weighted geometric mean of what two classifiers say, as log-probabilities.

    Parameters
    ----------
    first, second : array_like, shape (n, n_classes)
        Logits, or log-probabilities: a constant added to a row changes nothing.
    weight : float from 0 to 1, default 0.5
        Of `first`.

    Returns
    -------
    ndarray, shape (n, n_classes), float64
        exp of it sums to 1 in each row.

    Examples
    --------
    >>> import numpy as np
    >>> np.exp(ensemble_logits(np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]]))).round(3).tolist()
    [[0.75, 0.25]]
    """
    share = as_share(weight, "weight")
    left, right = as_array(first, "first"), as_array(second, "second")
    if left.shape != right.shape or left.ndim != 2:
        raise InvalidArgumentError(f"second has shape {right.shape}, first {left.shape}, expected (n, n_classes) twice")
    return log_softmax(share * log_softmax(left) + (1 - share) * log_softmax(right))


def log_softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """The logarithm of the softmax of each row."""
    powers = scores.astype(np.float64)
    powers = powers - powers.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = powers - np.log(np.exp(powers).sum(axis=1, keepdims=True))
    return logs
