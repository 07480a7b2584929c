"""Recall of a retriever on a data set of queries, documents and relevant pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_count, as_matrix, show
from ..collection import Collection
from ..exact import topk
from ..exceptions import InvalidArgumentError
from ..multivector import MultiVectorIndex
from ..protocols import Encoder
from .dataset import LimitDataset
from .patterns import as_qrels

__all__ = ["Retriever", "evaluate", "recalls", "score_ranks"]

Retriever = Encoder | Collection | Callable[[list[str]], ArrayLike] | tuple[Any, Any] | NDArray[Any]
BLOCK_BYTES = 64 << 20  # scores of one block of queries


def evaluate(dataset: LimitDataset, retriever: Retriever, ks: Sequence[int] = (2, 10, 20, 100)) -> dict[str, float]:
    """Recall of `retriever`: the share of each query's relevant documents among its first k, averaged over queries.

    Parameters
    ----------
    dataset : LimitDataset
    retriever : encoder, Collection, pair, callable or score matrix
        An encoder of queries and documents; a collection of the documents with ids 0, 1, ..., and an encoder;
        embeddings (queries, documents), compared by cosine; sets of query vectors and a `MultiVectorIndex` of the
        documents with ids 0, 1, ...; a function from a list of queries to scores
        (n_queries, n_docs), called with a block of queries at a time; or all those scores, larger is better.
        NaN is refused.
    ks : sequence of int, default (2, 10, 20, 100)
        From the number of documents on, recall is 1.

    Returns
    -------
    dict of str to float
        ``{"recall@2": ..., ...}``. Equal scores are ordered by the document's position.

    Raises
    ------
    InvalidArgumentError
        Shapes that do not fit the data set, NaN, a retriever of another kind.

    Examples
    --------
    >>> from engine.limit import BM25, make_limit_dataset
    >>> data = make_limit_dataset(5, 4, n_attributes_per_doc=3)
    >>> evaluate(data, BM25(data.documents), ks=(2,))
    {'recall@2': 1.0}
    """
    cuts = [as_count(k, "ks") for k in ks]
    if not cuts:
        raise InvalidArgumentError(f"ks is {show(ks)}, expected at least one number")
    qrels = as_qrels(dataset.qrels, len(dataset.corpus))
    if len(qrels) != len(dataset.queries):
        raise InvalidArgumentError(f"qrels has {len(qrels)} rows, expected {len(dataset.queries)}: one for each query")
    return recalls(ranks(dataset, retriever, qrels, max(cuts)), qrels, cuts)


def recalls(ranks: NDArray[np.int64], qrels: NDArray[np.int64], ks: Sequence[int]) -> dict[str, float]:
    """Recall at each of `ks`, given the places of the relevant documents, 0 for the best."""
    wanted = qrels >= 0
    return {f"recall@{k}": float((((ranks < k) & wanted).sum(axis=1) / wanted.sum(axis=1)).mean()) for k in ks}


def ranks(dataset: LimitDataset, retriever: Retriever, qrels: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Place of each relevant document in the list of its query; n_docs if it is not among the first `k`."""
    n = len(dataset.corpus)
    texts = list(dataset.queries.values())
    if isinstance(retriever, Encoder):
        retriever = (retriever.encode_queries(texts), retriever.encode_documents(dataset.documents))
    if isinstance(retriever, Collection):
        return searched(retriever, texts, qrels, n, k)
    if isinstance(retriever, tuple) and len(retriever) == 2:
        queries, documents = retriever
        if isinstance(documents, MultiVectorIndex):
            return searched(documents, queries, qrels, n, k)
        return found_ranks(search(queries, documents, len(texts), n, min(k, n)), qrels, n)
    return np.concatenate([score_ranks(scores, qrels[rows]) for rows, scores in blocks(retriever, texts, n)])


def searched(
    index: Collection | MultiVectorIndex, queries: Any, qrels: NDArray[np.int64], n: int, k: int
) -> NDArray[np.int64]:
    """`ranks` by an index of the documents."""
    if len(index) != n:
        raise InvalidArgumentError(f"retriever has {len(index)} rows, expected {n}: the documents")
    found = index.search(queries, min(k, n))
    if len(found) != len(qrels):
        raise InvalidArgumentError(f"{len(found)} queries were given, expected {len(qrels)}: one a text")
    if (found.ids >= n).any():
        raise InvalidArgumentError(f"retriever has the id {found.ids.max()}, expected 0 to {n - 1}: the documents")
    return found_ranks(found.ids, qrels, n)


def search(queries: ArrayLike, documents: ArrayLike, n_queries: int, n: int, k: int) -> NDArray[np.int64]:
    """The `k` nearest documents of each query by cosine."""
    base = as_matrix(documents, "document embeddings")
    points = as_matrix(queries, "query embeddings", dim=base.shape[1])
    for name, rows, expected in (("query", points, n_queries), ("document", base, n)):
        if len(rows) != expected:
            raise InvalidArgumentError(f"{len(rows)} {name} embeddings were given, expected {expected}: one a text")
    return topk(points, base, k).ids


def blocks(scorer: Any, texts: list[str], n: int) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Scores of all documents, for a block of queries at a time."""
    if not callable(scorer):
        scores = np.asarray(scorer)
        if scores.dtype.kind not in "fiu":
            raise InvalidArgumentError(
                f"retriever is {show(scorer)}, expected an encoder, collection, pair of matrices, function or scores"
            )
        if scores.shape != (len(texts), n):
            raise InvalidArgumentError(f"retriever has shape {scores.shape}, expected ({len(texts)}, {n}): all scores")
    step = max(1, BLOCK_BYTES // (4 * n))
    for start in range(0, len(texts), step):
        rows = slice(start, start + step)
        block = np.asarray(scorer(texts[rows])) if callable(scorer) else scores[rows]
        expected = (len(texts[rows]), n)
        if block.shape != expected or block.dtype.kind not in "fiu":
            raise InvalidArgumentError(
                f"retriever gave {block.dtype} of shape {block.shape}, expected scores {expected}"
            )
        if np.isnan(block).any():
            query, doc = np.argwhere(np.isnan(block))[0]
            raise InvalidArgumentError(f"the score of document {doc} for query {start + query} is nan")
        yield rows, block


def score_ranks(scores: NDArray[Any], qrels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many documents score more than each relevant one, or as much and come before it."""
    own = np.take_along_axis(scores, np.maximum(qrels, 0), axis=1)
    places = np.empty(qrels.shape, np.int64)
    documents = np.arange(scores.shape[1])
    for column, (score, row) in enumerate(zip(own.T, qrels.T, strict=True)):
        better = (scores > score[:, None]) | ((scores == score[:, None]) & (documents < row[:, None]))
        places[:, column] = better.sum(axis=1)
    return places


def found_ranks(ids: NDArray[np.int64], qrels: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Place of each relevant document among those found, `n` if it is not there."""
    same = ids[:, None, :] == qrels[:, :, None]
    return cast("NDArray[np.int64]", np.where(same.any(axis=2), same.argmax(axis=2), n))
