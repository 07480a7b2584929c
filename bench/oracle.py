"""The right answer, in float64, and how far that of a library is from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .peers import Ids, Rows

__all__ = ["Oracle"]

CHUNK = 50


class Oracle:
    """Exact nearest rows by cosine: ordered by the distance as a float32, then by row.

    Parameters
    ----------
    vectors, queries : ndarray, shape (n, dim) and (n_queries, dim), float32
    k : int
    allowed : ndarray, shape (n,), bool, optional
        Only these rows count.

    Examples
    --------
    >>> points = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    >>> oracle = Oracle(points, points[:1], k=2)
    >>> oracle.ids.tolist()
    [[0, 2]]
    >>> oracle.agreement(np.array([[0, 1]]))
    {'identical': 0.0, 'within_float32': 0.0}
    """

    def __init__(self, vectors: Rows, queries: Rows, k: int, allowed: NDArray[np.bool_] | None = None) -> None:
        rows = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
        self.vectors = unit64(vectors)
        self.queries = unit64(queries)
        base = self.vectors if allowed is None else self.vectors[rows]
        self.ids = np.empty((len(queries), k), np.int64)
        for at in range(0, len(queries), CHUNK):
            distances = (1 - self.queries[at : at + CHUNK] @ base.T).astype(np.float32)
            worst = np.partition(distances, k - 1, axis=1)[:, k - 1]
            for query, (row, bound) in enumerate(zip(distances, worst, strict=True), at):
                near = np.flatnonzero(row <= bound)  # k rows, and those that tie with the last
                self.ids[query] = rows[near[np.lexsort((near, row[near]))[:k]]]

    def agreement(self, ids: Ids) -> dict[str, float]:
        """Share of the first ``len(ids)`` queries answered right.

        Returns
        -------
        dict
            ``identical``: the same ids in the same order. ``within_float32``: the same but for swaps between rows whose
            float64 cosines differ by less than a float32 near 1 can tell (2**-23).
        """
        right = self.ids[: len(ids)]
        gap = np.abs(self._cosines(ids) - self._cosines(right)).max(axis=1)
        distinct = (np.diff(np.sort(ids, axis=1), axis=1) > 0).all(axis=1)
        return {
            "identical": float((ids == right).all(axis=1).mean()),
            "within_float32": float(((gap <= 2**-23) & distinct).mean()),
        }

    def _cosines(self, ids: Ids) -> NDArray[np.float64]:
        return np.stack([self.vectors[row] @ query for row, query in zip(ids, self.queries, strict=False)])


def unit64(vectors: Rows) -> NDArray[np.float64]:
    rows = vectors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
