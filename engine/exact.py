"""Exact top-k in one call, without an index."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._validate import as_array, as_choice, as_k, as_mask, as_matrix, as_threads, is_bfloat16, refuse_infinite
from .exceptions import InvalidArgumentError, UnsupportedError
from .types import Metric, SearchResult

__all__ = ["topk"]

METRICS = ("cosine", "ip", "l2")


def topk(
    queries: ArrayLike,
    vectors: ArrayLike,
    k: int,
    *,
    metric: Metric = "cosine",
    mask: ArrayLike | _core.Bitmap | None = None,
    n_threads: int | None = None,
    device: Literal["cpu"] = "cpu",
) -> SearchResult:
    """Find the `k` nearest rows of `vectors` for each query, exactly.

    Parameters
    ----------
    queries : array_like, shape (n_queries, dim) or (dim,)
        Real numbers; anything but float32 in C order is copied. A single vector gives one row.
    vectors : array_like, shape (n, dim)
        float32, float16 and bfloat16 (of ml_dtypes) in C order are read in place; anything else is copied to float32.
    k : int
        At least 1. Where fewer rows are there, the places left hold id -1 and distance +inf. A place takes 12 bytes;
        results of more than half of the memory are refused.
    metric : {"cosine", "ip", "l2"}
        Distances are 1 - cos, minus the inner product, or the squared Euclidean distance.
    mask : array_like of bool, shape (n,), or Bitmap, optional
        Only rows with True are looked at (and checked).
    n_threads : int, optional
        Default: every core the process may use.
    device : {"cpu"}
        Where to compute.

    Returns
    -------
    SearchResult
        ``ids`` are row numbers, nearest first; equal distances are ordered by row.

    Raises
    ------
    InvalidArgumentError
        Shapes that do not fit, ``k < 1``, NaN or Inf, a zero vector under cosine, an unknown metric.
    UnsupportedError
        Another device.

    See Also
    --------
    Index : keeps the codes, so that every search after the first is faster.

    Notes
    -----
    Few queries take one float32 pass over the rows: what a proven bound on its rounding cannot rule out is scored again
    in float64. For ``192 + 100_000 / n`` queries or more without a mask the rows are coded first, and the codes rule
    out nearly all of them by a proven bound. The answer is the same either way. O(n_queries * n * dim) operations,
    about ``dim + 32`` bytes a row for the codes and O(n_queries * k) of extra memory: no n_queries x n matrix exists.

    Examples
    --------
    >>> import numpy as np, engine
    >>> points = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    >>> ids, distances = engine.topk([0.0, 0.0], points, k=2, metric="l2")
    >>> ids.tolist(), distances.tolist()
    ([[0, 2]], [[0.0, 1.0]])
    """
    as_choice(metric, "metric", METRICS)
    if device != "cpu":
        raise UnsupportedError(f"device is {device!r}, expected 'cpu': this build has no other")
    base, dtype = as_stored(vectors)
    allowed = None if mask is None else as_bitmap(mask, len(base))
    points = as_matrix(queries, "queries", dim=base.shape[1], check=False)
    k = as_k(k, len(points))
    try:
        return _core.topk(points, base, dtype, k, metric, allowed, as_threads(n_threads), "auto")
    except InvalidArgumentError:
        refuse_infinite(queries, "queries")  # says which number it was, where one was not finite
        refuse_infinite(vectors, "vectors", None if allowed is None else allowed.rows())
        raise


def as_bitmap(mask: ArrayLike | _core.Bitmap, n: int, name: str = "mask") -> _core.Bitmap:
    """A bool mask or a bitmap over `n` rows as a bitmap."""
    if not isinstance(mask, _core.Bitmap):
        return _core.Bitmap(as_mask(mask, n, name))
    if len(mask) != n:
        raise InvalidArgumentError(f"{name} is a bitmap over {len(mask)} rows, expected {n}: one bit a row")
    return mask


def as_stored(vectors: ArrayLike) -> tuple[NDArray[Any], str]:
    """`vectors` as a matrix the core reads in place, and the name of its dtype; the core checks for NaN as it reads."""
    array = as_array(vectors, "vectors")
    if array.ndim == 2 and array.shape[1] and len(array) and array.flags.c_contiguous and array.flags.aligned:
        if array.dtype in (np.float32, np.float16) and array.dtype.isnative:
            return np.asarray(array), array.dtype.name
        if is_bfloat16(array.dtype):
            return np.asarray(array).view(np.uint16), "bfloat16"
    return as_matrix(array, "vectors", check=False), "float32"
