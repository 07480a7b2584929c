"""Few-shot class-incremental learning: classes that arrive session by session, a few rows each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_count, as_matrix
from ..exceptions import InvalidArgumentError
from ._labels import as_labels

__all__ = ["FSCILReport", "Session", "fscil", "fscil_sessions"]

Session = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]


@dataclass(frozen=True, slots=True)
class FSCILReport:
    """What a classifier knows after each session; prints as a table.

    Attributes
    ----------
    session_accuracy : ndarray, shape (n_sessions,)
        Share of the test rows of all classes so far that were predicted right.
    base, new : ndarray, shape (n_sessions,)
        Mean of the accuracies of the classes of the first session, and of those of all later ones so far; the latter
        is NaN at first.
    harmonic_mean : ndarray, shape (n_sessions,)
        ``2 * base * new / (base + new)``, 0 where both are; NaN at first.
    base_confusion : ndarray, shape (n_sessions,)
        Share of the test rows of new classes that were taken for a base class; NaN at first.
    """

    session_accuracy: NDArray[np.float64]
    base: NDArray[np.float64]
    new: NDArray[np.float64]
    harmonic_mean: NDArray[np.float64]
    base_confusion: NDArray[np.float64]

    @property
    def average(self) -> float:
        """Mean accuracy of all sessions."""
        return float(self.session_accuracy.mean())

    @property
    def performance_drop(self) -> float:
        """Accuracy after the first session minus that after the last."""
        return float(self.session_accuracy[0] - self.session_accuracy[-1])

    def __str__(self) -> str:
        columns = (self.session_accuracy, self.base, self.new, self.harmonic_mean, self.base_confusion)
        lines = ["session  accuracy    base     new  harmonic  new as base"]
        for session, (a, base, new, mean, confusion) in enumerate(zip(*columns, strict=True)):
            lines.append(f"{session:7d}  {a:8.4f}  {base:6.4f}  {new:6.4f}  {mean:8.4f}  {confusion:11.4f}")
        lines.append(f"average {self.average:.4f}, performance drop {self.performance_drop:.4f}")
        return "\n".join(lines)


def fscil(classifier: Any, sessions: Sequence[Session]) -> FSCILReport:
    """Teach `classifier` one session after the other, and test it after each on all classes so far.

    Parameters
    ----------
    classifier : object with fit, partial_fit and predict
        `fit` gets the first session, `partial_fit` the later ones.
    sessions : sequence of (X_train, y_train, X_test, y_test)
        The test rows of a session are of its own classes; no class occurs in two sessions.

    Returns
    -------
    FSCILReport

    Raises
    ------
    InvalidArgumentError
        No session, a class in two of them, or test rows of other classes than the training rows of their session.

    References
    ----------
    Tao et al., *Few-Shot Class-Incremental Learning*, CVPR 2020 (arXiv:2004.10956).

    Examples
    --------
    >>> from engine.classify import NearestClassMean
    >>> base = ([[1, 0], [0, 1]], ["a", "b"], [[1, 0.1], [0.1, 1]], ["a", "b"])
    >>> later = ([[1, 1]], ["c"], [[1, 0.9], [1, 0.2]], ["c", "c"])
    >>> print(fscil(NearestClassMean(), [base, later]))
    session  accuracy    base     new  harmonic  new as base
          0    1.0000  1.0000     nan       nan          nan
          1    0.7500  1.0000  0.5000    0.6667       0.5000
    average 0.8750, performance drop 0.2500
    """
    if not len(sessions):
        raise InvalidArgumentError("sessions is empty, expected at least the base session")
    seen: set[Any] = set()
    rows, labels, lines = [], [], []
    for session, (X_train, y_train, X_test, y_test) in enumerate(sessions):
        classes, tested = set(as_labels(y_train, "y_train").tolist()), as_labels(y_test, "y_test")
        if repeated := classes & seen:
            raise InvalidArgumentError(f"session {session} holds {repeated.pop()!r}, a class of an earlier session")
        if strange := set(tested.tolist()) - classes:
            raise InvalidArgumentError(f"session {session} tests {strange.pop()!r}, for which it has no training row")
        seen |= classes
        classifier = (classifier.partial_fit if session else classifier.fit)(X_train, y_train)
        rows.append(as_matrix(X_test, "X_test"))
        labels.append(tested)
        lines.append(session_line(classifier.predict(np.concatenate(rows)), labels))
    return FSCILReport(*np.array(lines).T)


def session_line(predicted: NDArray[Any], labels: list[NDArray[Any]]) -> tuple[float, ...]:
    """Accuracy, base, new, harmonic mean and base confusion; `labels` are those of the sessions so far."""
    true = np.concatenate(labels)
    right = predicted == true
    n_base = len(labels[0])
    base = mean_by_class(right[:n_base], labels[0])
    if len(labels) == 1:
        return float(right.mean()), base, np.nan, np.nan, np.nan
    new = mean_by_class(right[n_base:], true[n_base:])
    harmonic = 2 * base * new / (base + new) if base + new else 0.0
    return float(right.mean()), base, new, harmonic, float(np.isin(predicted[n_base:], labels[0]).mean())


def mean_by_class(right: NDArray[np.bool_], labels: NDArray[Any]) -> float:
    """Mean over the classes of the share of their rows that are right."""
    codes = np.unique(labels, return_inverse=True)[1]
    return float((np.bincount(codes, right) / np.bincount(codes)).mean())


def fscil_sessions(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    n_base: int,
    n_way: int,
    n_shots: int = 5,
    random_state: int | None = None,
) -> list[Session]:
    """Cut a data set into a base session with all rows and later sessions with `n_shots` rows of `n_way` new classes.

    Parameters
    ----------
    X_train, y_train, X_test, y_test : array_like
        Vectors and labels.
    n_base : int
        Classes of the base session. The rest has to be a multiple of `n_way`.
    n_way, n_shots : int
        New classes of a session, and rows of each.
    random_state : int, optional
        Draws which classes are the base ones and which rows are seen. Default: classes in sorted order, their first
        rows.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.arange(4).repeat(3)
    >>> sessions = fscil_sessions(np.eye(12), y, np.eye(12), y, n_base=2, n_way=1, n_shots=2)
    >>> [labels.tolist() for _, labels, _, _ in sessions]
    [[0, 0, 0, 1, 1, 1], [2, 2], [3, 3]]
    """
    train, test = as_matrix(X_train, "X_train"), as_matrix(X_test, "X_test")
    labels, tested = as_labels(y_train, "y_train", n=len(train)), as_labels(y_test, "y_test", n=len(test))
    n_base, n_way, n_shots = as_count(n_base, "n_base"), as_count(n_way, "n_way"), as_count(n_shots, "n_shots")
    classes = np.unique(labels)
    n_new = len(classes) - n_base
    if n_new < 0 or n_new % n_way:
        raise InvalidArgumentError(
            f"n_base is {n_base}, n_way {n_way}, expected {len(classes)} classes to be base and sessions"
        )
    order = np.arange(len(labels))
    if random_state is not None:
        rng = np.random.default_rng(random_state)
        classes, order = rng.permutation(classes), rng.permutation(order)
    sessions: list[Session] = []
    for start in (0, *range(n_base, len(classes), n_way)):
        chosen = classes[start : start + n_way] if start else classes[:n_base]
        rows = [order[labels[order] == name] for name in chosen]
        if start:
            if (fewest := min(map(len, rows))) < n_shots:
                raise InvalidArgumentError(f"n_shots is {n_shots}, expected at most {fewest}: a class has no more rows")
            rows = [part[:n_shots] for part in rows]
        taken, own = np.concatenate(rows), np.isin(tested, chosen)
        sessions.append((train[taken], labels[taken], test[own], tested[own]))
    return sessions
