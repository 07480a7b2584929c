"""How well a score tells what is known from what is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_finite
from ..exceptions import InvalidArgumentError

__all__ = ["auroc", "average_precision", "fpr_at_tpr", "oscr", "threshold_at_tpr"]

Scores = NDArray[np.float64]


def auroc(known: ArrayLike, scores: ArrayLike) -> float:
    """Chance that a known row scores above an unknown one; a tie counts half.

    The area under the curve of true against false positive rate, and Mann and Whitney's U over both numbers of rows.

    Parameters
    ----------
    known : array_like of bool, shape (n,)
        At least one of each.
    scores : array_like, shape (n,)
        Larger: more likely known. Only their order counts.

    Examples
    --------
    >>> auroc([True, True, False, False], [0.9, 0.4, 0.4, 0.1])
    0.875
    """
    positive, negative = split(known, scores)
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / 2 / len(negative))


def average_precision(known: ArrayLike, scores: ArrayLike) -> float:
    """Precision at each score of a known row, averaged over these rows: the area under precision against recall.

    Parameters
    ----------
    known, scores
        As for `auroc`. Rows with the same score count as found together.

    Examples
    --------
    >>> average_precision([True, False, True], [0.9, 0.8, 0.1])
    0.8333333333333333
    """
    positive, negative = (np.sort(part) for part in split(known, scores))
    n_known = len(positive) - np.searchsorted(positive, positive, "left")
    n_unknown = len(negative) - np.searchsorted(negative, positive, "left")
    return float((n_known / (n_known + n_unknown)).mean())


def fpr_at_tpr(known: ArrayLike, scores: ArrayLike, tpr: float = 0.95) -> float:
    """Share of unknown rows that pass the threshold which lets at least the share `tpr` of the known ones pass.

    Parameters
    ----------
    known, scores
        As for `auroc`.
    tpr : float in (0, 1], default 0.95

    Examples
    --------
    >>> fpr_at_tpr([True, True, False, False], [0.9, 0.4, 0.5, 0.1], tpr=1.0)
    0.5
    """
    positive, negative = split(known, scores)
    return float((negative >= threshold_at_tpr(positive, tpr)).mean())


def oscr(known: ArrayLike, scores: ArrayLike, correct: ArrayLike) -> float:
    """Area under the share of known rows that are kept *and* classified right, against that of unknown rows kept.

    Parameters
    ----------
    known, scores
        As for `auroc`.
    correct : array_like of bool, shape (n,)
        Whether the class of a row was predicted right; does not count for unknown rows.

    Notes
    -----
    The chance that a known row is classified right and scores above an unknown one, a tie counting half: `auroc` times
    the closed-set accuracy if the score does not depend on being right.

    References
    ----------
    Dhamija et al., *Reducing Network Agnostophobia*, NeurIPS 2018 (arXiv:1811.04110).

    Examples
    --------
    >>> oscr([True, True, False], [0.9, 0.8, 0.1], correct=[True, False, False])
    0.5
    """
    mask = as_bools(known, "known")
    right, values = as_bools(correct, "correct", n=len(mask)), as_scores(scores, n=len(mask))
    return auroc(mask, np.where(mask & ~right, values.min() - 1, values))


def threshold_at_tpr(scores: ArrayLike, tpr: float = 0.95) -> float:
    """The largest threshold that at least the share `tpr` of the `scores` reach.

    Examples
    --------
    >>> threshold_at_tpr([0.1, 0.2, 0.3, 0.4], tpr=0.6)
    0.2
    """
    share = as_finite(tpr, "tpr")
    if not 0 < share <= 1:
        raise InvalidArgumentError(f"tpr is {share}, expected a number above 0 and up to 1")
    ordered = np.sort(as_scores(scores))[::-1]
    return float(ordered[int(np.ceil(share * len(ordered) - 1e-9)) - 1])


def split(known: ArrayLike, scores: ArrayLike) -> tuple[Scores, Scores]:
    """The scores of known and of unknown rows."""
    mask = as_bools(known, "known")
    values = as_scores(scores, n=len(mask))
    if mask.all() or not mask.any():
        raise InvalidArgumentError(f"known is {bool(mask[0])} for every row, expected at least one row of each")
    return values[mask], values[~mask]


def as_bools(value: ArrayLike, name: str, *, n: int | None = None) -> NDArray[np.bool_]:
    mask = as_array(value, name)
    if mask.dtype != np.bool_ or mask.ndim != 1 or not len(mask) or n not in (None, len(mask)):
        expected = "(n,)" if n is None else f"({n},)"
        raise InvalidArgumentError(f"{name} has shape {mask.shape} and dtype {mask.dtype}, expected {expected} bools")
    return mask


def as_scores(value: ArrayLike, *, n: int | None = None) -> Scores:
    scores = as_array(value, "scores").astype(np.float64)
    if scores.ndim != 1 or not len(scores) or n not in (None, len(scores)):
        raise InvalidArgumentError(f"scores has shape {scores.shape}, expected ({'n' if n is None else n},)")
    if np.isnan(scores).any():
        raise InvalidArgumentError(f"scores[{int(np.isnan(scores).argmax())}] is nan, expected numbers")
    return scores
