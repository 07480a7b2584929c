"""What to compare an encoder with: words, by the weights of BM25 or of any sparse encoder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .._validate import as_finite, show
from ..exceptions import InvalidArgumentError
from ..texts import as_texts

__all__ = ["BM25", "SparseWords"]

Matrix = NDArray[np.float32]
Weights = Sequence[Mapping[str, float]]
WORD = re.compile(r"\b\w\w+\b")


class Postings:
    """For each word the documents that have it, and what it adds to their scores."""

    def __init__(self, documents: Weights) -> None:
        self.n_docs = n = len(documents)
        self.number: dict[str, int] = {}
        words = np.array(
            [self.number.setdefault(word, len(self.number)) for row in documents for word in row], np.int64
        )
        rows = np.repeat(np.arange(n), [len(row) for row in documents])
        order = np.argsort(words, kind="stable")
        self.words, self.rows = words[order], rows[order]
        self.weights = np.array([weight for row in documents for weight in row.values()], np.float64)[order]
        self.starts = np.searchsorted(self.words, np.arange(len(self.number) + 1))

    @property
    def n_with(self) -> NDArray[np.int64]:
        """How many documents have each word."""
        return np.diff(self.starts)

    def scores(self, queries: Weights) -> Matrix:
        """Sums of products of weights, shape (n_queries, n_docs) float32."""
        scores = np.zeros((len(queries), self.n_docs), np.float32)
        for row, words in zip(scores, queries, strict=True):
            for word, weight in words.items():
                if (i := self.number.get(word)) is not None:
                    postings = slice(self.starts[i], self.starts[i + 1])
                    row[self.rows[postings]] += (weight * self.weights[postings]).astype(np.float32)
        return scores


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
        counts = [Counter(split(text)) for text in as_documents(documents)]
        self.postings = Postings(counts)
        self.n_docs, lengths = self.postings.n_docs, np.array([row.total() for row in counts])
        rarity = np.log1p((self.n_docs - self.postings.n_with + 0.5) / (self.postings.n_with + 0.5))
        held_back = k1 * (1 - b + b * lengths / max(lengths.mean(), 1))[self.postings.rows]
        often = self.postings.weights * (k1 + 1) / (self.postings.weights + held_back)
        self.postings.weights = rarity[self.postings.words] * often

    def __call__(self, queries: Sequence[str]) -> Matrix:
        """Scores, shape (n_queries, n_docs) float32."""
        return self.postings.scores([Counter(split(text)) for text in as_texts(queries, "queries")])


class SparseWords:
    """Products of sparse weights of words, as SPLADE's: call it with queries to get scores, or give it to `evaluate`.

    Parameters
    ----------
    documents : sequence of str
    encode : callable, optional
        Takes a list of texts and returns for each a mapping of words, or other tokens, to weights of at least 0, such
        as a trained sparse encoder has them. Default: SPLADE's saturation without its training, the weight
        ``log(1 + count * rarity)`` of each word that is there, so that no word is added.

    Raises
    ------
    InvalidArgumentError
        No documents, or weights that are no mappings, one for each text, of finite numbers of at least 0.

    References
    ----------
    Formal et al., *SPLADE: Sparse Lexical and Expansion Model for First Stage Ranking*, SIGIR 2021 (arXiv:2107.05720).

    Examples
    --------
    >>> SparseWords(["a red ball", "a blue ball", "the sea"])(["red ball"]).argsort()[0].tolist()
    [2, 1, 0]

    With an encoder that knows that a ball is a toy:

    >>> def encode(texts):
    ...     return [{word: 1.0 for word in text.replace("ball", "ball toy").split()} for text in texts]
    >>> SparseWords(["a red ball", "the sea"], encode=encode)(["toy"]).tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, documents: Sequence[str], *, encode: Callable[[list[str]], Weights] | None = None) -> None:
        texts = as_documents(documents)
        self.rarity: dict[str, float] = {}
        if encode is None:
            with_word = Counter(word for text in texts for word in set(split(text)))
            self.rarity = {word: float(np.log1p(len(texts) / n)) for word, n in with_word.items()}
        self.encode = encode or self._saturated
        self.postings = Postings(self._weights(texts))
        self.n_docs = self.postings.n_docs

    def __call__(self, queries: Sequence[str]) -> Matrix:
        """Scores, shape (n_queries, n_docs) float32."""
        return self.postings.scores(self._weights(as_texts(queries, "queries")))

    def _saturated(self, texts: list[str]) -> Weights:
        counts = [Counter(split(text)) for text in texts]
        return [{word: float(np.log1p(n * self.rarity.get(word, 0.0))) for word, n in row.items()} for row in counts]

    def _weights(self, texts: list[str]) -> Weights:
        rows = list(self.encode(texts))
        if len(rows) != len(texts) or not all(isinstance(row, Mapping) for row in rows):
            raise InvalidArgumentError(
                f"encode returned {show(rows)}, expected a mapping for each of {len(texts)} texts"
            )
        for row in rows:
            for word, weight in row.items():
                if as_finite(weight, f"the weight of {word!r}") < 0:
                    raise InvalidArgumentError(f"the weight of {word!r} is {weight}, expected a number of at least 0")
        return rows


def as_documents(value: Sequence[str]) -> list[str]:
    texts = as_texts(value, "documents")
    if not texts:
        raise InvalidArgumentError("documents is empty, expected at least one text")
    return texts


def split(text: str) -> list[str]:
    return WORD.findall(text.lower())
