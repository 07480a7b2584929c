"""Embeddings in closed form in which every set of k documents has its query: counter-examples, and test oracles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_count
from ..exceptions import InvalidArgumentError
from .patterns import as_qrels, check_k

__all__ = ["CyclicEmbedding", "SimplexEmbedding", "cyclic_embedding", "simplex_embedding"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CyclicEmbedding:
    """Documents on the trigonometric moment curve; see `cyclic_embedding`.

    Attributes
    ----------
    documents : ndarray, shape (n, 2 k), float64
        Unit rows.
    k : int
        Size of the sets that have a query.
    """

    documents: Matrix
    k: int

    def query(self, subsets: ArrayLike) -> Matrix:
        """Unit queries whose `k` nearest documents are exactly each of `subsets`.

        Parameters
        ----------
        subsets : array_like, shape (n_subsets, k) or (k,), int

        Returns
        -------
        ndarray, shape (n_subsets, 2 k), float64
        """
        n = len(self.documents)
        rows = as_qrels(np.atleast_2d(np.asarray(subsets)), n)
        if rows.shape[1] != self.k or (rows < 0).any():
            raise InvalidArgumentError(f"subsets has rows of up to {rows.shape[1]} documents, expected {self.k}")
        # Fourier coefficients of the polynomial that is 0 on the set and negative elsewhere, factor by factor.
        spectrum = np.zeros((len(rows), 2 * self.k + 1), np.complex128)
        spectrum[:, self.k] = -1
        for angles in (2 * np.pi / n * rows).T:
            turn = np.exp(1j * angles)[:, None] / 2
            shifted = np.zeros_like(spectrum)
            shifted[:, 1:] += spectrum[:, :-1] * turn.conj()
            shifted[:, :-1] += spectrum[:, 1:] * turn
            spectrum = spectrum - shifted
        positive = spectrum[:, self.k + 1 :]  # orders 1 to k; order 0 is the same for every document
        queries = np.stack([positive.real, -positive.imag], axis=2).reshape(len(rows), -1)
        return unit(queries)


def cyclic_embedding(n: int, k: int = 2) -> CyclicEmbedding:
    """`n` documents in ``2 k`` dimensions in which every set of `k` is exactly some query's top `k`, for any `n`.

    Parameters
    ----------
    n : int
        More than ``2 k``: below, points repeat.
    k : int, default 2

    Returns
    -------
    CyclicEmbedding

    Notes
    -----
    The proof that dimension alone does not limit retrieval; the price is the margin, which falls like ``n ** (-2 k)``.
    So it is also a test of precision: float32 tells all pairs of 46 documents apart, float16 does not.

    References
    ----------
    Gale, *Neighborly and cyclic polytopes*, 1963; of retrieval: arXiv:2603.29519.

    Examples
    --------
    >>> import engine
    >>> embedding = cyclic_embedding(46, 2)
    >>> sorted(engine.topk(embedding.query([3, 40]), embedding.documents, 2).ids[0].tolist())
    [3, 40]
    """
    n, k = check_k(n, k)
    if n <= 2 * k:
        raise InvalidArgumentError(f"n is {n}, expected more than {2 * k}, twice k: use simplex_embedding for fewer")
    angles = 2 * np.pi * np.arange(n)[:, None] / n * np.arange(1, k + 1)
    documents = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(n, 2 * k) / np.sqrt(k)
    return CyclicEmbedding(documents, k)


@dataclass(frozen=True, slots=True)
class SimplexEmbedding:
    """Documents at the corners of a regular simplex; see `simplex_embedding`.

    Attributes
    ----------
    documents : ndarray, shape (n, n - 1), float64
        Unit rows.
    """

    documents: Matrix

    def query(self, subsets: ArrayLike) -> Matrix:
        """Unit queries, shape (n_subsets, n - 1): the centroids of `subsets`, shape (n_subsets, k) or (k,)."""
        rows = as_qrels(np.atleast_2d(np.asarray(subsets)), len(self.documents))
        known = (rows >= 0)[..., None]
        queries: Matrix = np.where(known, self.documents[rows], 0).sum(axis=1)
        return unit(queries)


def simplex_embedding(n: int) -> SimplexEmbedding:
    """`n` documents in ``n - 1`` dimensions, equally far apart: every set has a query, with the largest gap there is.

    Parameters
    ----------
    n : int
        At least 2.

    Returns
    -------
    SimplexEmbedding
        The gap of every set of `k` is `max_gap`.

    Examples
    --------
    >>> embedding = simplex_embedding(5)
    >>> scores = embedding.documents @ embedding.query([1, 3])[0]
    >>> round(float(scores[[1, 3]].min() - scores[[0, 2, 4]].max()), 6)
    1.020621
    """
    n = as_count(n, "n")
    if n < 2:
        raise InvalidArgumentError(f"n is {n}, expected at least 2")
    # Helmert's orthonormal basis of the hyperplane in which the corners of the unit simplex lie around their mean.
    i = np.arange(1, n)
    basis = np.tril(np.ones((n - 1, n))) - np.diag(i, 1)[: n - 1]
    basis /= np.sqrt(i * (i + 1.0))[:, None]
    return SimplexEmbedding(np.ascontiguousarray(basis.T * np.sqrt(n / (n - 1))))


def unit(rows: Matrix) -> Matrix:
    lengths: Matrix = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths
