"""Embeddings that are free: trained on the relevant pairs themselves, so that only the dimension limits them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._validate import as_choice, as_count, as_finite, as_flag, as_positive, as_threads
from ..exceptions import InvalidArgumentError
from . import _descent
from .patterns import as_qrels, check_k, check_memory

__all__ = ["FreeEmbedding", "StopReason", "margins"]

Matrix = NDArray[Any]
StopReason = Literal["solved", "converged", "max_iter", "time_limit"]
BIG = 2e8  # products of a step; 0.1 s or so
BLOCK = 1 << 22  # scores compared at once


class Run(NamedTuple):
    """What one start came to."""

    accuracy: float
    queries: Matrix
    documents: Matrix
    losses: list[float]
    stop_reason: StopReason


class FreeEmbedding:
    """Unit vectors of queries and documents, fitted by gradient descent until each query finds its documents.

    Parameters
    ----------
    d : int
        Dimension.
    k : int, default 2
        Relevant documents of each query.
    temperature : float, default 0.1
        Scores are divided by it.
    lr : float, default 0.01
        Learning rate of Adam.
    max_iter : int, default 100_000
    patience : int, default 1000
        Stop when the loss has not fallen by `min_delta` for so many steps.
    min_delta : float, default 1e-5
    check_every : int, default 50
        Steps between looks at the accuracy; at 1 the fit stops.
    n_restarts : int, default 1
        Starts from other random vectors while none has solved it; as many threads as may be used run them.
    positives : {"mean", "sum"}, default "mean"
        Loss of a query: the mean of -log of its documents' softmax, or -log of their sum, which a query may lower by
        one of them alone, so that it seldom solves anything; needs a temperature of at least 0.025.
    dtype : {"float32", "float64"}, default "float32"
        float32 runs in the core, float64 in numpy.
    device : str, optional
        A device of torch, such as "cuda": steps run there, one start after the other. Default: no torch.
    time_limit : float, optional
        Seconds, after which the best so far is the result, and `stop_reason_` is "time_limit".
    force : bool, default False
        Fit even where a step takes very long.
    random_state : int, default 42

    Attributes
    ----------
    query_embeddings_ : ndarray, shape (n_queries, d)
    doc_embeddings_ : ndarray, shape (n_docs, d)
    accuracy_ : float
        Share of relevant documents that are among the `k` best of their query; a tie counts against them.
    loss_ : float
        The last one.
    losses_ : ndarray, shape (n_iter_,)
    margin_ : float
        Least score of a relevant document minus largest of another, halved, over all queries: above 0 if all is solved.
    n_iter_ : int
    stop_reason_ : {"solved", "converged", "max_iter", "time_limit"}
    n_features_in_ : int
        `d`.

    Notes
    -----
    Full batch: softmax over all documents, Adam, rows scaled back to unit length after each step. In float32 the core
    takes a block of queries at a time, whose scores stay in the caches. What comes out is what descent reaches, not
    what exists: see `cyclic_embedding`. The path to a GPU is tested on torch's CPU device alone: none was at hand.

    References
    ----------
    Weller et al., *On the theoretical limitations of embedding-based retrieval*, ICLR 2026 (arXiv:2508.21038).

    Examples
    --------
    >>> from engine.limit import make_qrels
    >>> free = FreeEmbedding(4).fit(make_qrels(6), 6)
    >>> free.accuracy_, free.stop_reason_
    (1.0, 'solved')
    """

    def __init__(
        self,
        d: int,
        k: int = 2,
        temperature: float = 0.1,
        lr: float = 0.01,
        max_iter: int = 100_000,
        patience: int = 1000,
        min_delta: float = 1e-5,
        check_every: int = 50,
        n_restarts: int = 1,
        positives: Literal["mean", "sum"] = "mean",
        dtype: Literal["float32", "float64"] = "float32",
        device: str | None = None,
        time_limit: float | None = None,
        force: bool = False,
        random_state: int = 42,
    ) -> None:
        self.d = as_count(d, "d")
        self.k = as_count(k, "k")
        self.temperature = as_positive(temperature, "temperature")
        if positives == "sum" and temperature < 0.025:  # exp(-2 / temperature) has to be a float32
            raise InvalidArgumentError(f"temperature is {temperature}, expected at least 0.025 with positives='sum'")
        self.lr = as_positive(lr, "lr")
        self.max_iter = as_count(max_iter, "max_iter")
        self.patience = as_count(patience, "patience")
        self.min_delta = as_finite(min_delta, "min_delta")
        self.check_every = as_count(check_every, "check_every")
        self.n_restarts = as_count(n_restarts, "n_restarts")
        self.positives = as_choice(positives, "positives", ("mean", "sum"))
        self.dtype = as_choice(dtype, "dtype", ("float32", "float64"))
        self.device = device
        self.time_limit = None if time_limit is None else as_positive(time_limit, "time_limit")
        self.force = as_flag(force, "force")
        self.random_state = random_state

    def fit(self, qrels: ArrayLike, n_docs: int) -> FreeEmbedding:
        """Fit vectors to `qrels`.

        Parameters
        ----------
        qrels : array_like, shape (n_queries, k), int
            Relevant documents of each query, such as `make_qrels` gives.
        n_docs : int
            More than `k`.

        Returns
        -------
        FreeEmbedding
            Itself.

        Raises
        ------
        InvalidArgumentError
            ``k >= n_docs``, documents beyond `n_docs`, rows of another length, too much memory, or more than 2e8
            products a step without `force`.
        """
        n_docs, _ = check_k(n_docs, self.k)
        rows = as_qrels(qrels, n_docs)
        if rows.shape[1] != self.k or (rows < 0).any():
            raise InvalidArgumentError(f"qrels has rows of up to {rows.shape[1]} documents, expected {self.k} in each")
        m, steps = len(rows), len(rows) * n_docs * self.d
        # Vectors, gradients and both moments in 8 bytes, and, in numpy, the scores.
        check_memory(8 * (4 * (m + n_docs) * self.d + 2 * m * n_docs), f"{m} queries and {n_docs} documents")
        if steps > BIG and not self.force:
            raise InvalidArgumentError(
                f"qrels has {m} rows for {n_docs} documents: in {self.d} dimensions a step takes about "
                f"{steps / BIG * 0.1:.1f} s, expected at most 0.1 s without force=True"
            )
        until = np.inf if self.time_limit is None else perf_counter() + self.time_limit
        best = self._best(rows, n_docs, until)
        self.query_embeddings_, self.doc_embeddings_ = best.queries, best.documents
        self.accuracy_, self.stop_reason_ = best.accuracy, best.stop_reason
        self.losses_ = np.array(best.losses)
        self.loss_, self.n_iter_ = best.losses[-1], len(best.losses)
        self.margin_ = float(margins(best.queries, best.documents, rows).min()) / 2
        self.n_features_in_ = self.d
        return self

    def _best(self, qrels: NDArray[np.int64], n_docs: int, until: float) -> Run:
        """The first of the starts that solves it, or the most accurate one; the same with any number of threads."""
        descend, threads = steps_for(self.dtype, self.device)
        solved = [threading.Event() for _ in range(self.n_restarts)]

        def start(i: int) -> Run | None:
            return self._run(i, qrels, n_docs, until, descend, solved)

        with ThreadPoolExecutor(min(self.n_restarts, as_threads(None)) if threads else 1) as pool:
            runs = [run for run in pool.map(start, range(self.n_restarts)) if run is not None]
        return max(runs, key=lambda run: run.accuracy)

    def _run(
        self,
        start: int,
        qrels: NDArray[np.int64],
        n_docs: int,
        until: float,
        descend: Callable[..., None],
        solved: list[threading.Event],
    ) -> Run | None:
        """One start; None once an earlier one has solved it."""
        rng = np.random.default_rng([self.random_state, start])
        queries = unit(rng.standard_normal((len(qrels), self.d))).astype(self.dtype)
        documents = unit(rng.standard_normal((n_docs, self.d))).astype(self.dtype)
        moments = tuple(np.zeros_like(rows) for rows in (queries, queries, documents, documents))
        losses: list[float] = []
        lowest, since = np.inf, 0
        best = 0.0
        while True:
            if any(event.is_set() for event in solved[:start]):
                return None
            batch = np.zeros(min(self.check_every, self.max_iter - len(losses)))
            sums = self.positives == "sum"
            descend(queries, documents, moments, qrels, batch, len(losses), self.temperature, self.lr, sums)
            losses += batch.tolist()
            best = accuracy(queries, documents, qrels)
            for loss in batch.tolist():
                lowest, since = (loss, 0) if loss < lowest - self.min_delta else (lowest, since + 1)
            reason: StopReason | None = None
            if best == 1:
                solved[start].set()
                reason = "solved"
            elif since >= self.patience:
                reason = "converged"
            elif len(losses) >= self.max_iter:
                reason = "max_iter"
            elif perf_counter() > until:
                reason = "time_limit"
            if reason:
                return Run(best, queries, documents, losses, reason)


def steps_for(dtype: str, device: str | None = None) -> tuple[Callable[..., None], bool]:
    """The function that takes steps, and whether starts in threads are faster for it."""
    if device is not None:
        from . import _descent_torch

        return partial(_descent_torch.descend, _descent_torch.as_device(device)), False
    return (_core.descend, True) if dtype == "float32" else (_descent.descend, False)


def margins(queries: Matrix, documents: Matrix, qrels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Least score of a relevant document minus the largest of another, for each query."""
    found = np.empty(len(qrels))
    step = max(1, BLOCK // len(documents))
    for start in range(0, len(qrels), step):
        rows = qrels[start : start + step]
        scores = (queries[start : start + step] @ documents.T).astype(np.float64)
        own = np.take_along_axis(scores, rows, axis=1).min(axis=1)
        np.put_along_axis(scores, rows, -np.inf, axis=1)
        found[start : start + step] = own - scores.max(axis=1)
    return found


def accuracy(queries: Matrix, documents: Matrix, qrels: NDArray[np.int64]) -> float:
    """Share of relevant documents among the k best of their query; a tie counts against them."""
    k, hits = qrels.shape[1], 0
    step = max(1, BLOCK // len(documents))
    for start in range(0, len(qrels), step):
        scores = queries[start : start + step] @ documents.T
        own = np.take_along_axis(scores, qrels[start : start + step], axis=1)
        for column in own.T:  # counting is faster than sorting for the few documents of a query
            hits += int(((scores >= column[:, None]).sum(axis=1) <= k).sum())
    return hits / qrels.size


def unit(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
