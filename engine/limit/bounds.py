"""What theory says of n documents, sets of k and d dimensions."""

from __future__ import annotations

from math import ceil, lgamma, log1p, sqrt

import numpy as np

from .._validate import as_finite
from ..exceptions import InvalidArgumentError
from .patterns import check_k

__all__ = ["dimension_lower_bound", "max_gap", "max_margin"]

SUMMED = 1_000_000  # terms of log C(n, k) that are summed; lgamma beyond loses digits to n


def dimension_lower_bound(n: int, k: int, margin: float = 0.1) -> int:
    """The least dimension in which unit vectors can answer every set of `k` of `n` documents with a `margin`.

    Parameters
    ----------
    n, k : int
        ``k < n``.
    margin : float, default 0.1
        Above 0, at most 1: every relevant document scores at least ``2 * margin`` above every other one.

    Returns
    -------
    int
        ``ceil(log C(n, k) / log(1 + 1 / margin))``.

    Notes
    -----
    A necessary condition, by packing spheres (Theorem 1). Without a margin ``2 k`` dimensions suffice for any `n`:
    `cyclic_embedding` shows it, so what is scarce is the margin, not the dimension as such.

    References
    ----------
    Weller et al., *On the theoretical limitations of embedding-based retrieval*, ICLR 2026 (arXiv:2508.21038).

    Examples
    --------
    >>> [dimension_lower_bound(10**9, k) for k in (2, 10, 100, 1000)]
    [17, 81, 713, 6177]
    """
    n, k = check_k(n, k)
    margin = as_finite(margin, "margin")
    if not 0 < margin <= 1:
        raise InvalidArgumentError(f"margin is {margin}, expected above 0 and at most 1")
    exact = log_combinations(n, k) / log1p(1 / margin)
    return max(1, ceil(exact * (1 - 1e-12)))  # 3.0000000000000004 is 3


def log_combinations(n: int, k: int) -> float:
    """Logarithm of C(n, k)."""
    k = min(k, n - k)
    if k > SUMMED:
        return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    i = np.arange(k)
    return float(np.log((n - i) / (i + 1)).sum())


def max_gap(n: int, k: int) -> float:
    """The largest score gap that unit vectors can have between relevant documents and others, over all sets of `k`.

    Parameters
    ----------
    n, k : int
        ``k < n``.

    Returns
    -------
    float
        ``n / sqrt(k (n - 1) (n - k))``, which approaches ``1 / sqrt(k)``. The regular simplex reaches it.

    References
    ----------
    Wang et al., arXiv:2601.20844.

    Examples
    --------
    >>> round(max_gap(46, 2), 5)
    0.73099
    """
    n, k = check_k(n, k)
    return n / sqrt(k * (n - 1) * (n - k))


def max_margin(n: int, k: int) -> float:
    """`max_gap` as a `margin` of `dimension_lower_bound`: half the gap.

    Examples
    --------
    >>> max_margin(46, 2) == max_gap(46, 2) / 2
    True
    """
    return max_gap(n, k) / 2
