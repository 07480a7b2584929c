"""Which documents answer which query: the patterns of LIMIT, and how densely a pattern is linked."""

from __future__ import annotations

from itertools import chain, combinations, islice
from math import comb
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_choice, as_count, memory_bytes
from ..exceptions import InvalidArgumentError

__all__ = ["Pattern", "as_qrels", "average_query_strength", "check_k", "check_memory", "graph_density", "make_qrels"]

Pattern = Literal["dense", "random", "cycle", "disjoint"]
PATTERNS = ("dense", "random", "cycle", "disjoint")
BLOCK = 1 << 24  # pairs of queries compared at once


def make_qrels(
    n_docs: int, n_queries: int | None = None, k: int = 2, pattern: Pattern = "dense", random_state: int | None = 42
) -> NDArray[np.int64]:
    """The relevant documents of each query, by one of the four patterns of LIMIT.

    Parameters
    ----------
    n_docs : int
        More than `k`.
    n_queries : int, optional
        Default: all sets of `k` documents ("dense"), as many as are disjoint ("disjoint"), otherwise `n_docs`.
    k : int, default 2
        Relevant documents of a query.
    pattern : {"dense", "random", "cycle", "disjoint"}, default "dense"
        "dense": the first `n_queries` sets in lexicographic order, over as few documents as have so many; the rest are
        distractors. "random": each query draws its own. "cycle": query i has documents i, i+1, ..., modulo `n_docs`.
        "disjoint": no document is relevant twice.
    random_state : int, optional
        Seed of "random".

    Returns
    -------
    ndarray, shape (n_queries, k), int64
        Documents by number, sorted within a row.

    Raises
    ------
    InvalidArgumentError
        ``k >= n_docs``, more queries than the pattern has, or than memory holds.

    References
    ----------
    Weller et al., *On the theoretical limitations of embedding-based retrieval*, ICLR 2026 (arXiv:2508.21038).

    Examples
    --------
    >>> make_qrels(5, 4).tolist()
    [[0, 1], [0, 2], [0, 3], [1, 2]]
    >>> make_qrels(3, pattern="cycle").tolist()
    [[0, 1], [1, 2], [0, 2]]
    """
    n_docs, k = check_k(n_docs, k)
    as_choice(pattern, "pattern", PATTERNS)
    most = {"dense": comb(n_docs, k), "disjoint": n_docs // k, "cycle": n_docs}.get(pattern)
    m = (most or n_docs) if n_queries is None else as_count(n_queries, "n_queries")
    if pattern == "disjoint" and m * k > n_docs:
        raise InvalidArgumentError(
            f"n_docs is {n_docs}, expected at least {m * k}: {m} disjoint sets of {k} were asked for"
        )
    if most is not None and m > most:
        raise InvalidArgumentError(
            f"n_queries is {m}, expected at most {most}: all that {pattern!r} has of {n_docs} documents"
        )
    check_memory(8 * m * k, f"{m} queries of {k} documents")
    if pattern == "dense":
        return first_combinations(min(n for n in range(k + 1, n_docs + 1) if comb(n, k) >= m), k, m)
    if pattern == "random":
        rng = np.random.default_rng(random_state)
        return np.sort([rng.choice(n_docs, k, replace=False) for _ in range(m)], axis=1).astype(np.int64)
    starts = np.arange(m)[:, None] * (k if pattern == "disjoint" else 1)
    return np.sort((starts + np.arange(k)) % n_docs, axis=1).astype(np.int64)


def first_combinations(n: int, k: int, m: int) -> NDArray[np.int64]:
    """The first `m` sets of `k` of `n` in lexicographic order."""
    return np.fromiter(chain.from_iterable(islice(combinations(range(n), k), m)), np.int64, m * k).reshape(m, k)


def graph_density(qrels: ArrayLike) -> float:
    """Share of pairs of relevant documents that some query asks for together.

    Parameters
    ----------
    qrels : array_like, shape (n_queries, k), int
        Relevant documents of each query; -1 fills rows with fewer.

    Returns
    -------
    float
        ``2 |E| / (|V| (|V| - 1))`` of the graph over the documents that are relevant to any query.

    Notes
    -----
    For LIMIT-small the definition gives 0.966 (1,000 of 1,035 pairs of its 46 documents). The paper prints 0.0855,
    which does not follow from its definition.

    Examples
    --------
    >>> graph_density([[0, 1], [1, 2]])
    0.6666666666666666
    """
    rows = as_qrels(qrels)
    n = len(np.unique(rows[rows >= 0]))
    columns = combinations(range(rows.shape[1]), 2)
    pairs = np.concatenate([np.empty((0, 2), np.int64), *(rows[:, list(pair)] for pair in columns)])
    n_edges = len(np.unique(pairs[(pairs >= 0).all(axis=1)], axis=0))
    return 2 * n_edges / (n * (n - 1)) if n > 1 else 0.0


def average_query_strength(qrels: ArrayLike) -> float:
    """How much the queries overlap: the mean over queries of the sum of Jaccard similarities with all other queries.

    Parameters
    ----------
    qrels : array_like, shape (n_queries, k), int
        Relevant documents of each query; -1 fills rows with fewer.

    Returns
    -------
    float
        28.4653 for LIMIT; ``2 (n - 2) / 3`` for all pairs of `n` documents.

    Examples
    --------
    >>> round(average_query_strength(make_qrels(46)), 4)
    29.3333
    """
    rows = as_qrels(qrels)
    documents, codes = np.unique(rows[rows >= 0], return_inverse=True)
    check_memory(8 * len(rows) * len(documents), f"{len(rows)} queries over {len(documents)} relevant documents")
    relevant = np.zeros((len(rows), len(documents)))
    relevant[np.nonzero(rows >= 0)[0], codes] = 1
    sizes = relevant.sum(axis=1)
    total = 0.0
    step = max(1, BLOCK // len(rows))
    for start in range(0, len(rows), step):
        common = relevant[start : start + step] @ relevant.T
        total += float(np.sum(common / (sizes[start : start + step, None] + sizes - common), dtype=np.float64))
    return total / len(rows) - 1  # each query's similarity with itself is 1


def check_k(n: int, k: int) -> tuple[int, int]:
    """`n` documents and sets of `k` of them, both as int."""
    n, k = as_count(n, "n_docs", most=2**62), as_count(k, "k", most=2**62)
    if k >= n:
        raise InvalidArgumentError(f"k is {k}, expected less than the number of documents, {n}")
    return n, k


def as_qrels(value: ArrayLike, n_docs: int | None = None) -> NDArray[np.int64]:
    """`value` as a (n_queries, k) int64 array, sorted within rows, -1 last; each row has a document, none twice."""
    array = as_array(value, "qrels")
    if array.ndim != 2 or not array.size:
        raise InvalidArgumentError(f"qrels has shape {array.shape}, expected (n_queries, k) with at least one entry")
    if array.dtype.kind not in "iu":
        raise InvalidArgumentError(f"qrels has dtype {array.dtype}, expected integers")
    top = np.iinfo(np.int64).max
    rows = np.sort(np.where(array < 0, top, array.astype(np.int64)), axis=1)
    if n_docs is not None and ((wrong := rows >= n_docs) & (rows < top)).any():
        query = int(np.argmax((wrong & (rows < top)).any(axis=1)))
        raise InvalidArgumentError(f"qrels[{query}] is {array[query].tolist()}, expected documents below {n_docs}")
    if (twice := ((rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] < top)).any(axis=1)).any():
        query = int(np.argmax(twice))
        raise InvalidArgumentError(f"qrels[{query}] is {array[query].tolist()}, expected each document once")
    if (none := rows[:, 0] == top).any():
        raise InvalidArgumentError(f"qrels[{int(np.argmax(none))}] has no relevant document, expected at least one")
    return cast("NDArray[np.int64]", np.where(rows == top, -1, rows))


def check_memory(n_bytes: int, what: str, limit: int | None = None) -> None:
    """Refuse work that would take more than half of the memory."""
    limit = memory_bytes() // 2 if limit is None else limit
    if n_bytes > limit:
        raise InvalidArgumentError(
            f"{what} would take {n_bytes / 2**30:.1f} GiB, expected at most {limit / 2**30:.1f} GiB: half of the memory"
        )
