"""From the states of tokens to one vector, and from a vector to its first numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from engine._validate import as_choice, as_count, as_matrix
from engine.exceptions import InvalidArgumentError

from .base import Vectors, as_flag

if TYPE_CHECKING:
    import torch

__all__ = ["POOLINGS", "Pooling", "pool", "truncate"]

Pooling = Literal["mean", "cls", "last"]
POOLINGS = ("mean", "cls", "last")


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector for each text, from the tokens that `mask` marks, on whichever side the padding is.

    Parameters
    ----------
    states : torch.Tensor, shape (n, n_tokens, dim)
    mask : torch.Tensor, shape (n, n_tokens)
        1 for tokens, 0 for padding.
    pooling : {"mean", "cls", "last"}
        The mean of the tokens, the first or the last of them.

    Returns
    -------
    torch.Tensor, shape (n, dim)

    Raises
    ------
    InvalidArgumentError
        Another `pooling`; a text without a token.

    Examples
    --------
    >>> import torch
    >>> states = torch.tensor([[[0.0], [2.0], [4.0]], [[1.0], [3.0], [99.0]]])
    >>> mask = torch.tensor([[0, 1, 1], [1, 1, 0]])
    >>> [pool(states, mask, how).ravel().tolist() for how in ("mean", "cls", "last")]
    [[3.0, 2.0], [2.0, 1.0], [4.0, 3.0]]
    """
    as_choice(pooling, "pooling", POOLINGS)
    counts = mask.sum(dim=1)
    if not bool(counts.all()):
        raise InvalidArgumentError("mask has a row without a token, expected at least one in each")
    if pooling == "mean":
        # where, not a product: what padding holds may not be finite
        return states.where(mask[:, :, None].bool(), 0).sum(dim=1) / counts[:, None]
    first = mask.argmax(dim=1)
    rows = states.new_tensor(range(len(states))).long()
    return states[rows, first if pooling == "cls" else mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)]


def truncate(X: ArrayLike, dim: int | None, *, renormalize: bool = True) -> Vectors:
    """The first `dim` numbers of each row, as Matryoshka models are trained for.

    Parameters
    ----------
    X : array_like, shape (n, d)
    dim : int or None
        At most d; None keeps all.
    renormalize : bool, default True
        Give rows of unit length; a row of zeros stays one.

    Returns
    -------
    ndarray, shape (n, dim), float32

    Raises
    ------
    InvalidArgumentError
        `dim` is larger than d.

    References
    ----------
    Kusupati et al., *Matryoshka Representation Learning*, NeurIPS 2022 (arXiv:2205.13147).

    Examples
    --------
    >>> truncate([[3.0, 4.0, 12.0]], 2)
    array([[0.6, 0.8]], dtype=float32)
    """
    matrix = as_matrix(X, "X", check=False)
    if dim is not None:
        matrix = matrix[:, : as_count(dim, "dim", most=matrix.shape[1])]
    if not as_flag(renormalize, "renormalize"):
        return np.ascontiguousarray(matrix)
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    return (matrix / np.where(lengths > 0, lengths, 1)).astype(np.float32)
