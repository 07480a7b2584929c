"""What to compare an encoder with: words, sums of random vectors, and sets of random vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._validate import as_count, as_finite, show
from ..exceptions import InvalidArgumentError, UnsupportedError
from ..texts import as_texts
from .dataset import QUESTION, LimitDataset

__all__ = ["BM25", "RandomAdditive", "RandomMaxSim"]

Matrix = NDArray[np.float32]
WORD = re.compile(r"\b\w\w+\b")


class BM25:
    """Word matching by Okapi BM25: call it with queries to get scores, or give it to `evaluate`.

    Parameters
    ----------
    documents : sequence of str
    k1 : float, default 1.5
        From 0; how much repetitions of a word count.
    b : float, default 0.75
        From 0 to 1; how much long documents are held back.

    Notes
    -----
    Words are runs of at least two word characters, in lower case. The weight of a word in `df` of `n` documents is
    ``log(1 + (n - df + 0.5) / (df + 0.5))``, which is never negative.

    References
    ----------
    Robertson and Zaragoza, *The probabilistic relevance framework: BM25 and beyond*, 2009.

    Examples
    --------
    >>> BM25(["a red ball", "a blue ball", "the sea"])(["red ball"]).argsort()[0].tolist()
    [2, 1, 0]
    """

    def __init__(self, documents: Sequence[str], *, k1: float = 1.5, b: float = 0.75) -> None:
        k1, b = as_finite(k1, "k1"), as_finite(b, "b")
        if k1 < 0 or not 0 <= b <= 1:
            raise InvalidArgumentError(f"k1 is {k1} and b {b}, expected k1 from 0 and b from 0 to 1")
        texts = as_texts(documents, "documents")
        if not texts:
            raise InvalidArgumentError("documents is empty, expected at least one text")
        self.n_docs = n = len(texts)
        number: dict[str, int] = {}
        words = [np.array([number.setdefault(word, len(number)) for word in split(text)], np.int64) for text in texts]
        lengths = np.array([len(row) for row in words])
        # One number for each (word, document): sorted, they are the postings of each word.
        keys, counts = np.unique(np.concatenate(words) * n + np.repeat(np.arange(n), lengths), return_counts=True)
        places, self.rows = keys // n, keys % n
        self.number = number
        self.starts = np.searchsorted(places, np.arange(len(number) + 1))
        n_with = np.diff(self.starts)
        held_back = k1 * (1 - b + b * lengths / max(lengths.mean(), 1))[self.rows]
        rarity = np.log1p((n - n_with + 0.5) / (n_with + 0.5))[places]
        self.weights = (rarity * counts * (k1 + 1) / (counts + held_back)).astype(np.float32)

    def __call__(self, queries: Sequence[str]) -> Matrix:
        """Scores, shape (n_queries, n_docs) float32."""
        texts = as_texts(queries, "queries")
        scores = np.zeros((len(texts), self.n_docs), np.float32)
        for row, text in zip(scores, texts, strict=True):
            for word in split(text):
                if (i := self.number.get(word)) is not None:
                    postings = slice(self.starts[i], self.starts[i + 1])
                    row[self.rows[postings]] += self.weights[postings]
        return scores


def split(text: str) -> list[str]:
    return WORD.findall(text.lower())


class AttributeVectors:
    """A random unit vector for each attribute of a data set."""

    def __init__(self, dataset: LimitDataset, dim: int, random_state: int | None = 42) -> None:
        self.dim = as_count(dim, "dim")
        wanted = [QUESTION.fullmatch(text) for text in dataset.queries.values()]
        if not dataset.doc_attributes or not all(wanted):
            raise InvalidArgumentError("dataset has other texts, expected '<name> likes ...' and 'Who likes ...?'")
        number: dict[str, int] = {}
        likes = [[number.setdefault(a, len(number)) for a in row] for row in dataset.doc_attributes]
        self.asked = {match[0]: number.setdefault(match[1], len(number)) for match in wanted if match}
        vectors = np.random.default_rng(random_state).standard_normal((len(number) + 1, self.dim), np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors[-1] = 0  # fills up documents that like less than others
        self.likes = np.full((len(likes), max(map(len, likes))), -1)
        for row, has in zip(self.likes, likes, strict=True):
            row[: len(has)] = has

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """The vector of each query's attribute, shape (n_queries, dim)."""
        if unknown := [text for text in texts if text not in self.asked]:
            raise InvalidArgumentError(f"texts holds {show(unknown[0])}, expected queries of the data set")
        return np.asarray(self.vectors[[self.asked[text] for text in texts]], np.float32)


class RandomAdditive(AttributeVectors):
    """An encoder without training: the vector of a document is the sum of random vectors of its attributes.

    It knows what the attributes of the data set are; that is all it knows. So where it beats a trained encoder at the
    same dimension, that encoder's failure is not one of capacity.

    Parameters
    ----------
    dataset : LimitDataset
        Texts of the form "<name> likes ..." and "Who likes ...?"; no others can be encoded.
    dim : int
    random_state : int, optional

    Examples
    --------
    >>> from engine.limit import evaluate, make_limit_dataset
    >>> data = make_limit_dataset(5, 4, n_attributes_per_doc=3)
    >>> evaluate(data, RandomAdditive(data, 256), ks=(2,))
    {'recall@2': 1.0}
    """

    def __init__(self, dataset: LimitDataset, dim: int, random_state: int | None = 42) -> None:
        super().__init__(dataset, dim, random_state)
        self.fingerprint = f"random-additive:{dim}:{random_state}"
        self.row_of = {text: row for row, text in enumerate(dataset.documents)}

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """Unit sums of attribute vectors, shape (n_documents, dim)."""
        if unknown := [text for text in texts if text not in self.row_of]:
            raise InvalidArgumentError(f"texts holds {show(unknown[0])}, expected documents of the data set")
        likes = self.likes[[self.row_of[text] for text in texts]]
        sums = np.zeros((len(likes), self.dim), np.float32)
        for column in likes.T:
            sums += self.vectors[column]
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)

    def encode_images(self, images: object) -> Matrix:
        """Refused: it is for texts."""
        raise UnsupportedError("RandomAdditive takes texts of its data set, not images")


class RandomMaxSim(AttributeVectors):
    """Many vectors a document, one for each attribute; a query scores as its most similar one.

    Parameters
    ----------
    dataset : LimitDataset
        Texts of the form "<name> likes ..." and "Who likes ...?".
    dim : int
        A few dimensions are enough.
    random_state : int, optional

    Examples
    --------
    >>> from engine.limit import evaluate, make_limit_dataset
    >>> data = make_limit_dataset(5, 4, n_attributes_per_doc=3)
    >>> evaluate(data, RandomMaxSim(data, 4), ks=(2,))
    {'recall@2': 1.0}
    """

    def __call__(self, queries: Sequence[str]) -> Matrix:
        """Scores, shape (n_queries, n_docs) float32."""
        similarities = self.encode_queries(queries) @ self.vectors.T
        similarities[:, -1] = -np.inf
        scores = similarities[:, self.likes[:, 0]]
        for column in self.likes.T[1:]:
            np.maximum(scores, similarities[:, column], out=scores)
        return np.asarray(scores, np.float32)
