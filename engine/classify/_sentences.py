"""Classes described by sentences: what zero-shot classifiers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._encoding import as_encoder, kind_of
from .._validate import as_array, as_choice, as_matrix, show
from ..collection import Collection
from ..exact import topk
from ..exceptions import EncoderMismatchError, InvalidArgumentError
from ..images import as_images
from ..protocols import Encoder
from ..texts import as_texts
from ..types import Metric
from ._base import Matrix, PrototypeClassifier, as_temperature, check_embeddings, refuse_zero, similarities, unit

__all__ = ["SentenceClassifier", "embed"]

Self = TypeVar("Self", bound="SentenceClassifier")
AGGREGATES = ("mean_embedding", "mean_logit", "max_logit")


class SentenceClassifier(PrototypeClassifier):
    """A class is what its sentences say; each of them is encoded once.

    The two means differ by the length of the mean vector alone: the mean of the cosines with unit vectors is the cosine
    with their mean, times its length. So both are one search among the means, under "ip" or under "cosine".

    Attributes
    ----------
    sentences_ : list of str
        All sentences, class by class.
    sentence_vectors_ : ndarray, shape (n_sentences, dim), float32
        Their vectors at unit length.
    offsets_ : ndarray, shape (n_classes + 1,), int64
        Those of class ``i`` are ``sentences_[offsets_[i]:offsets_[i + 1]]``.
    prototypes_ : ndarray, shape (n_classes, dim), float32
        The mean of the vectors of each class; shorter than 1 where they differ.
    """

    encoder: Encoder
    aggregate: str
    logit_scale: float

    @property
    def class_embeddings_(self) -> Matrix:
        """The vector of each class at unit length, shape (n_classes, dim)."""
        self.check_fitted()
        return as_matrix(unit(self.prototypes_), "X")

    def predict(self, X: Any) -> NDArray[Any]:
        """The best class for each row of `X`: vectors, or texts or images, which the encoder turns into such."""
        if self.aggregate != "max_logit":
            return super().predict(X)
        best = topk(self._queries(X), self.sentence_vectors_, 1).ids[:, 0]
        return self.classes_[np.searchsorted(self.offsets_, best, side="right") - 1]

    def explain(self, x: Any, name: str) -> list[tuple[str, float]]:
        """The sentences of class `name` and the cosine of each with `x`, the best first.

        Parameters
        ----------
        x : array_like, shape (dim,), or one text or image
        name : str
            One of `classes_`.
        """
        self.check_fitted()
        if name not in self.classes_:
            raise InvalidArgumentError(f"name is {show(name)}, expected one of classes_")
        row = self._queries([x] if kind_of(x, strings_are_texts=True) != "vectors" else np.atleast_2d(as_array(x, "x")))
        if len(row) != 1:
            raise InvalidArgumentError(f"x is {len(row)} rows, expected one")
        start, stop = self.offsets_[np.searchsorted(self.classes_, name) + np.arange(2)]
        scores = similarities(row, self.sentence_vectors_[start:stop])[0]
        sentences = self.sentences_[start:stop]
        return [(sentences[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")]

    @property
    def metric(self) -> Metric:  # type: ignore[override]
        return "ip" if self.aggregate == "mean_logit" else "cosine"

    def _check_settings(self, aggregates: tuple[str, ...] = AGGREGATES) -> None:
        as_choice(self.aggregate, "aggregate", aggregates)
        as_temperature(self.logit_scale, "logit_scale")

    def _learn(self: Self, sentences: Mapping[str, Sequence[str]]) -> Self:
        """Encode the sentences of each class, and average them."""
        classes = np.array(sorted(sentences))
        texts = [text for name in classes for text in sentences[name]]
        different, places = np.unique(texts, return_inverse=True)
        vectors = unit(embed(self.encoder, different.tolist(), "sentences", side="document"), "sentences")[places]
        counts = np.array([len(sentences[name]) for name in classes])
        offsets = np.concatenate([[0], np.cumsum(counts)])
        means = np.add.reduceat(vectors, offsets[:-1]) / counts[:, None]
        refuse_zero(means, "the means of sentences")
        self.sentences_, self.sentence_vectors_, self.offsets_ = texts, as_matrix(vectors, "X"), offsets
        self.classes_, self.prototypes_, self.n_features_in_ = classes, as_matrix(means, "X"), means.shape[1]
        return self

    def _queries(self, X: Any) -> Matrix:
        self.check_fitted()
        self._check_settings()
        if isinstance(X, Collection) or kind_of(X, strings_are_texts=True) == "vectors":
            rows = check_embeddings(X, dim=self.n_features_in_)
        else:
            rows = embed(self.encoder, X, "X", side="query")
        return as_matrix(unit(rows), "X")

    def _score(self, X: Matrix) -> Matrix:
        if self.aggregate != "max_logit":
            return super()._score(X)
        return np.maximum.reduceat(similarities(X, self.sentence_vectors_), self.offsets_[:-1], axis=1)

    def _temperature(self) -> float:
        return 1 / self.logit_scale


def embed(encoder: Any, items: Any, name: str, *, side: Literal["query", "document"]) -> Matrix:
    """The vectors of texts or images, checked to be what the encoder says they are."""
    as_encoder(encoder)
    if kind_of(items, strings_are_texts=True) == "images":
        encode, items = encoder.encode_images, as_images(items, name)
    else:
        encode = encoder.encode_queries if side == "query" else encoder.encode_documents
        items = as_texts(items, name)
    vectors: ArrayLike = encode(items)
    shape = np.shape(vectors)
    if shape != (len(items), encoder.dim):
        raise EncoderMismatchError(f"encoder {encoder!r} returned shape {shape}, expected {len(items), encoder.dim}")
    return as_matrix(vectors, f"what encoder {encoder!r} returned")
