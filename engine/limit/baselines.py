"""What to compare an encoder with: sums of random vectors, and sets of random vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._validate import as_count, show
from ..exceptions import InvalidArgumentError, UnsupportedError
from ..multivector import MultiVectorIndex
from .dataset import QUESTION, LimitDataset

__all__ = ["RandomAdditive", "RandomMaxSim"]

Matrix = NDArray[np.float32]


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

    Attributes
    ----------
    index : MultiVectorIndex

    Examples
    --------
    >>> from engine.limit import evaluate, make_limit_dataset
    >>> data = make_limit_dataset(5, 4, n_attributes_per_doc=3)
    >>> evaluate(data, RandomMaxSim(data, 4), ks=(2,))
    {'recall@2': 1.0}
    """

    def __init__(self, dataset: LimitDataset, dim: int, random_state: int | None = 42) -> None:
        super().__init__(dataset, dim, random_state)
        self.index = MultiVectorIndex(dim)
        self.index.add((self.vectors[self.likes[self.likes >= 0]], np.cumsum([0, *(self.likes >= 0).sum(axis=1)])))

    def __call__(self, queries: Sequence[str]) -> Matrix:
        """Scores, shape (n_queries, n_docs) float32."""
        return self.index.scores((self.encode_queries(queries), np.arange(len(queries) + 1)))
