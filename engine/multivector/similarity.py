"""How alike two sets of vectors are: MaxSim, conditional transport, and what these become in their limits."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_flag, as_positive, as_share, show
from ..exceptions import InvalidArgumentError
from ._sets import Sets, as_unit_set

__all__ = ["Transport", "conditional_transport", "costs", "maxsim"]

Rows = NDArray[np.float64]


class Transport(NamedTuple):
    """What `conditional_transport` found.

    Attributes
    ----------
    cost : float
        ``lam * forward + (1 - lam) * backward``, from 0 to 2.
    forward, backward : float
        Mean cost of the ways from X to Y, and from Y to X.
    plan : ndarray, shape (n, m), float64
        Where each vector of X goes; rows sum to 1.
    back_plan : ndarray, shape (n, m), float64
        Where each vector of Y comes from; columns sum to 1.
    """

    cost: float
    forward: float
    backward: float
    plan: Rows
    back_plan: Rows


def maxsim(Q: ArrayLike, D: ArrayLike) -> float:
    """Sum over the vectors of a query of the largest cosine with a vector of a document.

    Parameters
    ----------
    Q : array_like, shape (n, dim)
    D : array_like, shape (m, dim)

    Returns
    -------
    float
        From -n to n.

    Raises
    ------
    InvalidArgumentError
        An empty set, another dim, NaN, a zero vector.

    See Also
    --------
    MultiVectorIndex : of many documents.

    References
    ----------
    Khattab and Zaharia, *ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over
    BERT*, SIGIR 2020 (arXiv:2004.12832).

    Examples
    --------
    >>> maxsim([[1, 0], [0, 2]], [[3, 0], [0, 1], [1, 1]])
    2.0
    """
    return float(cosines(Q, D, "Q", "D").max(axis=1).sum())


@overload
def conditional_transport(
    X: ArrayLike,
    Y: ArrayLike,
    temperature: float = ...,
    weights_x: ArrayLike | None = ...,
    weights_y: ArrayLike | None = ...,
    *,
    lam: float = ...,
    return_plan: Literal[False] = ...,
) -> float: ...


@overload
def conditional_transport(
    X: ArrayLike,
    Y: ArrayLike,
    temperature: float = ...,
    weights_x: ArrayLike | None = ...,
    weights_y: ArrayLike | None = ...,
    *,
    lam: float = ...,
    return_plan: Literal[True],
) -> Transport: ...


def conditional_transport(
    X: ArrayLike,
    Y: ArrayLike,
    temperature: float = 0.05,
    weights_x: ArrayLike | None = None,
    weights_y: ArrayLike | None = None,
    *,
    lam: float = 0.5,
    return_plan: bool = False,
) -> float | Transport:
    """What it costs to move one set of vectors onto the other, each vector to those it resembles.

    A vector of X goes to the vectors of Y in shares ``weights_y * exp(cos / temperature)``, scaled to sum to 1, and
    each way costs ``1 - cos``; and the other way round. Nothing is iterated: O(n m dim).

    Parameters
    ----------
    X : array_like, shape (n, dim)
    Y : array_like, shape (m, dim)
    temperature : float, default 0.05
        *Divides* cosines. Towards 0 each vector goes to its nearest one (1 - MaxSim / n, the Chamfer distance); towards
        infinity the cost is 1 minus the product of the mean unit vectors.
    weights_x, weights_y : array_like, shape (n,) and (m,), optional
        How much each vector counts, not negative; scaled to sum to 1. Default: all alike.
    lam : float from 0 to 1, default 0.5
        How much the way from X to Y counts.
    return_plan : bool, default False
        Return the ways too: what explains the cost.

    Returns
    -------
    float, or Transport
        0 where both sets hold the same and the temperature is small.

    Raises
    ------
    InvalidArgumentError
        An empty set, another dim, NaN, a zero vector, negative weights or none, a temperature of 0 or less.

    References
    ----------
    Zheng and Zhou, *Exploiting Chain Rule and Bayes' Theorem to Compare Probability Distributions*, NeurIPS 2021
    (conditional transport); used on image patches by *PatchCT*, ICCV 2023 (arXiv:2307.09066).

    Examples
    --------
    >>> round(conditional_transport([[1, 0]], [[0, 1], [1, 0]]), 6)
    0.25
    """
    similar = cosines(X, Y, "X", "Y")
    temperature, lam = as_positive(temperature, "temperature"), as_share(lam, "lam")
    theta, beta = (
        as_weights(weights_x, similar.shape[0], "weights_x"),
        as_weights(weights_y, similar.shape[1], "weights_y"),
    )
    cost = 1 - similar
    plan, back_plan = shares(similar, beta[None, :], temperature, 1), shares(similar, theta[:, None], temperature, 0)
    forward, backward = float(theta @ (plan * cost).sum(axis=1)), float((back_plan * cost).sum(axis=0) @ beta)
    both = lam * forward + (1 - lam) * backward
    return Transport(both, forward, backward, plan, back_plan) if as_flag(return_plan, "return_plan") else both


def shares(similar: Rows, weights: Rows, temperature: float, axis: int) -> Rows:
    """``weights * exp(similar / temperature)``, scaled to sum to 1 along `axis`."""
    usable = np.where(weights > 0, similar, -np.inf)  # the largest that counts keeps the rest from vanishing together
    with np.errstate(over="ignore", under="ignore"):
        found = weights * np.exp((usable - usable.max(axis=axis, keepdims=True)) / temperature)
    return np.asarray(found / found.sum(axis=axis, keepdims=True))


def costs(query: NDArray[Any], items: Sets, metric: str, temperature: float, lam: float) -> NDArray[Any]:
    """Distance of one query to each item, all of unit rows, in the dtype of the query: see `MultiVectorIndex`."""
    if metric == "mean":
        sums = np.add.reduceat(items.rows, items.offsets[:-1], axis=0, dtype=query.dtype)
        return np.asarray(1 - (sums @ query.mean(axis=0)) / items.sizes)
    starts, similar = items.offsets[:-1], query @ items.rows.T.astype(query.dtype, copy=False)
    tops = np.maximum.reduceat(similar, starts, axis=1)
    if metric == "maxsim":
        return np.asarray(-tops.sum(axis=0))
    if metric == "chamfer":
        backward = np.add.reduceat(similar.max(axis=0), starts) / items.sizes
        return np.asarray(1 - lam * tops.mean(axis=0) - (1 - lam) * backward)
    with np.errstate(under="ignore"):
        ahead = np.exp((similar - np.repeat(tops, items.sizes, axis=1)) / temperature)
        back = np.exp((similar - similar.max(axis=0)) / temperature)
    forward = np.add.reduceat(ahead * similar, starts, axis=1) / np.add.reduceat(ahead, starts, axis=1)
    backward = np.add.reduceat((back * similar).sum(axis=0) / back.sum(axis=0), starts) / items.sizes
    return np.asarray(1 - lam * forward.mean(axis=0) - (1 - lam) * backward)


def cosines(left: ArrayLike, right: ArrayLike, left_name: str, right_name: str) -> Rows:
    rows = as_unit_set(left, left_name)
    return np.asarray(rows @ as_unit_set(right, right_name, dim=rows.shape[1]).T)


def as_weights(value: ArrayLike | None, n: int, name: str) -> Rows:
    """Weights that sum to 1."""
    if value is None:
        return np.full(n, 1 / n)
    weights = as_array(value, name).astype(np.float64)
    if weights.shape != (n,):
        raise InvalidArgumentError(f"{name} has shape {weights.shape}, expected ({n},): one for each vector")
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.sum() > 0:
        raise InvalidArgumentError(f"{name} is {show(weights.tolist())}, expected numbers of at least 0, not all 0")
    return np.asarray(weights / weights.sum())
