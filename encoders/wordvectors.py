"""Vectors of words, from the text files of word2vec, GloVe and fastText, and of texts as what their words add up to.

References
----------
Arora, Liang & Ma, *A Simple but Tough-to-Beat Baseline for Sentence Embeddings*, ICLR 2017: SIF. Bojanowski et al.,
*Enriching Word Vectors with Subword Information*, TACL 2017 (arXiv:1607.04606): unknown words by their parts.
"""

from __future__ import annotations

import gzip
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from engine._validate import as_choice, as_count, as_finite, as_matrix, as_path, show
from engine.exceptions import InvalidArgumentError, NotBuiltError, StorageError
from engine.texts import as_texts

from .base import BaseEncoder, EncoderSpec, Vectors, as_flag
from .principal import principal
from .registry import register

__all__ = ["WordVectorEncoder", "WordVectors"]

AGGREGATES = ("mean", "tfidf", "sif")
WORD = re.compile(r"\w+(?:['’-]\w+)*")
GRAM = (3, 6)  # letters of the parts of an unknown word


class WordVectors:
    """A table of words and their vectors.

    Parameters
    ----------
    words : sequence of str
        Of a word that comes twice, the first counts.
    vectors : array_like, shape (n_words, dim)

    Warns
    -----
    UserWarning
        Words that come twice.

    Examples
    --------
    >>> table = WordVectors(["king", "queen"], [[1.0, 0.0], [1.0, 1.0]])
    >>> len(table), table.dim, "king" in table, table["queen"].tolist()
    (2, 2, True, [1.0, 1.0])
    """

    def __init__(self, words: Sequence[str], vectors: ArrayLike) -> None:
        names, matrix = as_texts(words, "words"), as_matrix(vectors, "vectors")
        if len(names) != len(matrix):
            raise InvalidArgumentError(f"words has {len(names)} entries, vectors {len(matrix)} rows: expected as many")
        self.places: dict[str, int] = {}
        for place, name in enumerate(names):
            self.places.setdefault(name, place)
        if n_twice := len(names) - len(self.places):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            warnings.warn(f"{n_twice} words come twice, such as {show(twice)}: the first counts", stacklevel=2)
            kept = list(self.places.values())
            names, matrix = list(self.places), matrix[kept]
            self.places = {name: place for place, name in enumerate(names)}
        self.words, self.vectors, self.dim = names, matrix, matrix.shape[1]

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.places

    def __getitem__(self, word: str) -> Vectors:
        if word not in self.places:
            raise KeyError(word)
        vector: Vectors = self.vectors[self.places[word]]
        return vector

    @property
    def fingerprint(self) -> str:
        """Hash over words and vectors."""
        state = xxhash.xxh3_128("\n".join(self.words).encode())
        state.update(self.vectors.tobytes())
        return state.hexdigest()

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, limit: int | None = None) -> WordVectors:
        """Read a text file with a word and its numbers on each line, in UTF-8, with gzip if its name ends so.

        Parameters
        ----------
        path : path_like
            Of word2vec and fastText (a line with the number of words and the dim comes first), or of GloVe (none does).
            A word may hold white space: the last numbers of a line are the vector.
        limit : int, optional
            Words to read; the files have the frequent ones first.

        Raises
        ------
        InvalidArgumentError
            A line with another number of numbers, or what is no finite number; the message says which line. No word.
        StorageError
            The file cannot be read.

        Warns
        -----
        UserWarning
            Words that come twice; fewer words than the first line says.
        """
        place = as_path(path)
        most = None if limit is None else as_count(limit, "limit")
        words: list[str] = []
        rows: list[NDArray[np.float32]] = []
        dim = n_said = 0
        for number, line in numbered_lines(place):
            fields = line.split(b" ") if b"\t" not in line else line.replace(b"\t", b" ").split(b" ")
            if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
                n_said, dim = int(fields[0]), int(fields[1])
                continue
            dim = dim or len(fields) - 1
            if not 0 < dim < len(fields):
                raise InvalidArgumentError(
                    f"{place}, line {number} has {len(fields) - 1} numbers, expected {dim or 'some'}"
                )
            try:
                row = np.array(fields[-dim:], np.float32)
            except ValueError as error:
                raise InvalidArgumentError(
                    f"{place}, line {number} has no {dim} numbers after the word: {error}"
                ) from None
            word = b" ".join(fields[:-dim])
            # A vector that is too long would leave a number in the word.
            if not np.isfinite(row).all() or any(map(is_number, word.split(b" ")[1:])):
                raise InvalidArgumentError(f"{place}, line {number} does not have {dim} finite numbers after a word")
            words.append(word.decode("utf-8", "replace"))
            rows.append(row)
            if len(words) == most:
                break
        if not words:
            raise InvalidArgumentError(f"{place} holds no word")
        if most is None and len(words) < n_said:
            warnings.warn(f"{place} says {n_said} words and holds {len(words)}: is it whole?", stacklevel=2)
        return cls(words, np.array(rows))


class WordVectorEncoder(BaseEncoder):
    """The vectors of a text's words, averaged. A baseline: it knows no order and no context.

    Parameters
    ----------
    words : WordVectors
    aggregate : {"mean", "tfidf", "sif"}, default "mean"
        Weights of words: all the same; rare in the texts of `fit` is heavy; or a / (a + p), p the share of a word in
        these texts, and then the first `n_components` principal directions of their vectors are taken away.
    a : float, default 1e-3
        For "sif".
    n_components : int, default 1
        For "sif"; 0 leaves them.
    lower : bool, default True
        Look for words as they are, then in lower case.
    unknown : {"skip", "parts"}, default "skip"
        What to do with words that the table does not have; "parts": the mean of those of its words that share runs of
        3 to 6 letters with it, by how many they share.
    on_empty : {"error", "zero"}, default "error"
        A text without a known word is refused, or gets a vector of zeros, which has no cosine.
    normalize : bool, default True
        Give unit vectors.

    Raises
    ------
    NotBuiltError
        "tfidf" and "sif" encode only after `fit`.

    Examples
    --------
    >>> table = WordVectors(["a", "red", "bus"], np.eye(3))
    >>> WordVectorEncoder(table, normalize=False).encode_documents(["A red bus, red"]).round(2).tolist()
    [[0.25, 0.5, 0.25]]
    """

    def __init__(
        self,
        words: WordVectors,
        *,
        aggregate: Literal["mean", "tfidf", "sif"] = "mean",
        a: float = 1e-3,
        n_components: int = 1,
        lower: bool = True,
        unknown: Literal["skip", "parts"] = "skip",
        on_empty: Literal["error", "zero"] = "error",
        normalize: bool = True,
    ) -> None:
        if not isinstance(words, WordVectors):
            raise InvalidArgumentError(f"words is {show(words)}, expected WordVectors")
        self.words = words
        self.aggregate = as_choice(aggregate, "aggregate", AGGREGATES)
        self.a = as_finite(a, "a")
        if self.a <= 0:
            raise InvalidArgumentError(f"a is {a}, expected more than 0")
        self.n_components = 0 if n_components == 0 else as_count(n_components, "n_components", most=words.dim)
        self.lower, self.unknown = as_flag(lower, "lower"), as_choice(unknown, "unknown", ("skip", "parts"))
        self.on_empty = as_choice(on_empty, "on_empty", ("error", "zero"))
        self.normalize = as_flag(normalize, "normalize")
        self._weights: NDArray[np.float64] | None = np.ones(len(words)) if aggregate == "mean" else None
        self._components = np.empty((0, words.dim))
        self._grams: dict[str, list[int]] | None = None
        self._identify()

    def fit(self, texts: Sequence[str]) -> WordVectorEncoder:
        """Learn how common words are, and for "sif" what the texts share; gives another fingerprint.

        Raises
        ------
        InvalidArgumentError
            None of the texts holds a known word.
        """
        tokens = [self._places(text) for text in as_texts(texts, "texts")]
        counted = Counter(place for places in tokens for place in places)
        if not counted:
            raise InvalidArgumentError(f"texts is {show(texts)}, expected words that the table has")
        counts = np.zeros(len(self.words))
        if self.aggregate == "tfidf":
            for places in tokens:
                counts[list(set(places))] += 1
            self._weights = np.log((1 + len(tokens)) / (1 + counts)) + 1
        elif self.aggregate == "sif":
            counts[list(counted)] = list(counted.values())
            self._weights = self.a / (self.a + counts / counts.sum())
            self._components = np.empty((0, self.words.dim))
            sums = np.array([self._sum(places, {}) for places in tokens if places])
            self._components = principal(sums, self.n_components)
        self._identify()
        return self

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts`, shape (len(texts), dim)."""
        checked = as_texts(texts, "texts")
        if self._weights is None:
            raise NotBuiltError(f"aggregate {self.aggregate!r} needs fit first, with the texts to learn from")
        vectors = np.zeros((len(checked), self.dim))
        for row, text in enumerate(checked):
            places = self._places(text)
            parts = self._parts(text) if self.unknown == "parts" else {}
            if places or parts:
                vectors[row] = self._sum(places, parts)
            elif self.on_empty == "error":
                raise InvalidArgumentError(f"texts[{row}] is {show(text)}, expected a word that the table has")
        if self.normalize:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(lengths > 0, lengths, 1)
        return vectors.astype(np.float32)

    encode_documents = encode_queries

    def _identify(self) -> None:
        """Take the fingerprint of what is known now."""
        state = xxhash.xxh3_128()
        for learned in (self._weights, self._components):
            state.update(b"" if learned is None else learned.tobytes())
        settings = {
            "aggregate": self.aggregate, "lower": self.lower, "unknown": self.unknown, "on_empty": self.on_empty,
            "normalize": self.normalize, "learned": state.hexdigest(),
        }  # fmt: skip
        super().__init__(EncoderSpec("wordvectors", self.words.dim, self.words.fingerprint, settings))

    def _place(self, word: str) -> int | None:
        place = self.words.places.get(word)
        return self.words.places.get(word.lower()) if place is None and self.lower else place

    def _places(self, text: str) -> list[int]:
        """Where the known words of a text stand in the table."""
        found = map(self._place, words_of(text))
        return [place for place in found if place is not None]

    def _parts(self, text: str) -> dict[int, float]:
        """Words that stand for the unknown ones, and how much of each; an unknown word counts as one in all."""
        if self._grams is None:
            self._grams = {}
            for place, word in enumerate(self.words.words):
                for gram in set(grams(word)):
                    self._grams.setdefault(gram, []).append(place)
        shares: Counter[int] = Counter()
        for word in words_of(text):
            if self._place(word) is None:
                alike = Counter(place for gram in set(grams(word.lower())) for place in self._grams.get(gram, []))
                total = sum(alike.values())
                shares.update({place: count / total for place, count in alike.items()})
        return dict(shares)

    def _sum(self, places: list[int], parts: Mapping[int, float]) -> NDArray[np.float64]:
        """The mean of weighted words, without what all texts share."""
        assert self._weights is not None
        shares = Counter(places) + Counter(parts)
        rows = np.fromiter(shares, np.int64)
        amounts = np.fromiter(shares.values(), np.float64)
        weights = amounts * self._weights[rows]
        # tf-idf averages; SIF divides by the number of words, so that common ones count for little
        divisor = amounts.sum() if self.aggregate == "sif" else weights.sum()
        mean: NDArray[np.float64] = weights @ self.words.vectors[rows] / divisor
        return mean - self._components.T @ (self._components @ mean)


def words_of(text: str) -> list[str]:
    return WORD.findall(text)


def grams(word: str) -> Iterator[str]:
    """Runs of letters of a word between marks of its ends."""
    marked = f"<{word}>"
    for n in range(GRAM[0], GRAM[1] + 1):
        yield from (marked[start : start + n] for start in range(len(marked) - n + 1))


def is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def numbered_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, without white space at their end, and their numbers from 1."""
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if stripped := line.rstrip():
                    yield number, stripped
    except (OSError, EOFError) as error:
        raise StorageError(getattr(error, "errno", None), f"cannot read word vectors: {error}", path) from error


@register("wordvectors", {}, any_model=True)
def load(
    model: str | os.PathLike[str],
    *,
    limit: int | None = None,
    unknown: Literal["skip", "parts"] = "skip",
    on_empty: Literal["error", "zero"] = "error",
    normalize: bool = True,
) -> WordVectorEncoder:
    """The mean of the words that the text file `model` has; other weights need texts to learn from."""
    words = WordVectors.load(model, limit=limit)
    return WordVectorEncoder(words, unknown=unknown, on_empty=on_empty, normalize=normalize)
