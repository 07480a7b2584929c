"""Lbl2Vec: documents are classified by keywords of the labels, without any labelled document."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from .._validate import as_count, as_finite, as_matrix, show
from ..exceptions import InvalidArgumentError
from ..index import Index
from ._base import PrototypeClassifier, as_amount, check_embeddings, refuse_zero

__all__ = ["LabelVectorClassifier"]

Self = TypeVar("Self", bound="LabelVectorClassifier")


class LabelVectorClassifier(PrototypeClassifier):
    """A label is the mean of the documents that are nearest to its keywords.

    1. The keyword vector of a label is the mean of the vectors of its keywords.
    2. Its documents are those above a similarity to that, outliers among them left out on request.
    3. The label vector is their mean; the nearest label vector is predicted.

    Parameters
    ----------
    similarity_threshold : float from -1 to 1, optional
        Cosine from which on a document is one of the label's.
    similarity_threshold_offset : float of at least 0, optional
        Without a threshold: how far below the most similar document it lies. With neither, all documents are taken.
    min_docs : int, default 1
        Documents to take at least, the most similar ones.
    max_docs : int, optional
        At most; above `min_docs`.
    outliers : "lof", optional
        Leave out documents that lie outside the others, by their local outlier factor (scikit-learn).
    n_neighbors : int, default 20
        Of the local outlier factor.
    temperature : float, default 1.0
        Divides the cosines before the softmax of `predict_proba`.

    Attributes
    ----------
    classes_ : ndarray of str, shape (n_classes,)
        Sorted.
    label_vectors_ : ndarray, shape (n_classes, dim), float32
    keyword_vectors_ : ndarray, shape (n_classes, dim), float32
    selected_docs_ : list of ndarray
        For each label the rows of its documents, the most similar first.

    References
    ----------
    Schopf, Braun & Matthes, *Evaluating Unsupervised Text Classification: Zero-shot and Similarity-based Approaches*,
    NLPIR 2022 (arXiv:2211.16285).

    Examples
    --------
    >>> import encoders
    >>> from engine.classify import LabelVectorClassifier
    >>> encoder = encoders.get("hashing")
    >>> docs = ["a goal for the team", "the team lost the match", "stocks fell", "the bank raised rates, stocks fell"]
    >>> keywords = {"sport": encoder.encode_queries(["team", "goal"]), "money": encoder.encode_queries(["stocks"])}
    >>> clf = LabelVectorClassifier(max_docs=2).fit(encoder.encode_documents(docs), keywords)
    >>> clf.predict(encoder.encode_documents(["they lost a match", "the bank raised its rates"])).tolist()
    ['sport', 'money']
    """

    def __init__(
        self,
        *,
        similarity_threshold: float | None = None,
        similarity_threshold_offset: float | None = None,
        min_docs: int = 1,
        max_docs: int | None = None,
        outliers: Literal["lof"] | None = None,
        n_neighbors: int = 20,
        temperature: float = 1.0,
    ) -> None:
        self.similarity_threshold = similarity_threshold
        self.similarity_threshold_offset = similarity_threshold_offset
        self.min_docs = min_docs
        self.max_docs = max_docs
        self.outliers = outliers
        self.n_neighbors = n_neighbors
        self.temperature = temperature

    def fit(
        self: Self,
        doc_vectors: ArrayLike,
        keyword_vectors: Mapping[str, ArrayLike] | Sequence[ArrayLike],
        label_names: Sequence[str] | None = None,
    ) -> Self:
        """Find the documents of each label.

        Parameters
        ----------
        doc_vectors : array_like, shape (n_docs, dim), or Collection
            Unlabelled. Of documents longer than the encoder takes, the mean over their parts.
        keyword_vectors : mapping of labels to arrays of shape (n_keywords, dim), or sequence of such arrays
        label_names : sequence of str
            For a sequence: what each is of.

        Raises
        ------
        InvalidArgumentError
            Settings or vectors that cannot be used, a label without a keyword, texts instead of vectors, names that do
            not go with the keywords.

        Warns
        -----
        UserWarning
            Every label takes all documents, so that their vectors are all the same.
        """
        self._check_settings()
        docs = refuse_zero(check_embeddings(doc_vectors, "doc_vectors"), "doc_vectors")
        names, keywords = as_keywords(keyword_vectors, label_names, docs.shape[1])
        index = Index(docs.shape[1])
        index.add(docs)
        chosen = [self._choose(index, docs, keyword) for keyword in keywords]
        if len(chosen) > 1 and all(len(rows) == len(docs) for rows in chosen):
            warnings.warn("every label takes all documents, so all label vectors are equal: set max_docs", stacklevel=2)
        means = np.array([docs[rows].mean(axis=0, dtype=np.float64) for rows in chosen])
        self.classes_, self.keyword_vectors_, self.selected_docs_ = names, keywords, chosen
        self.prototypes_ = refuse_zero(as_matrix(means, "X"), "the label vectors")
        self.n_features_in_ = docs.shape[1]
        return self

    @property
    def label_vectors_(self) -> NDArray[np.float32]:
        """The mean of the documents of each label, shape (n_classes, dim)."""
        self.check_fitted()
        return self.prototypes_

    def _choose(self, index: Index, docs: NDArray[np.float32], keyword: NDArray[np.float32]) -> NDArray[np.int64]:
        """Rows of the documents of a label, the most similar first."""
        found: NDArray[np.int64]
        threshold = self.similarity_threshold
        if threshold is None and self.similarity_threshold_offset is not None:
            threshold = float(index.search(keyword, 1).similarities[0, 0]) - self.similarity_threshold_offset
        if threshold is None:
            found = index.search(keyword, min(self.max_docs or len(docs), len(docs))).ids[0]
        else:
            found = index.range_search(keyword, 1 - threshold).ids[: self.max_docs]
        if len(found) < self.min_docs:
            found = index.search(keyword, min(self.min_docs, len(docs))).ids[0]
        if self.outliers == "lof" and len(found) > 2:
            found = found[inliers(docs[found], self.n_neighbors)]
        return found

    def _check_settings(self) -> None:
        threshold = self.similarity_threshold
        if threshold is not None and abs(as_finite(threshold, "similarity_threshold")) > 1:
            raise InvalidArgumentError(f"similarity_threshold is {threshold}, expected -1 to 1")
        if self.similarity_threshold_offset is not None:
            as_amount(self.similarity_threshold_offset, "similarity_threshold_offset")
        as_count(self.min_docs, "min_docs")
        if self.max_docs is not None and as_count(self.max_docs, "max_docs") <= self.min_docs:
            raise InvalidArgumentError(f"max_docs is {self.max_docs}, expected more than min_docs: {self.min_docs}")
        if self.outliers not in (None, "lof"):
            raise InvalidArgumentError(f"outliers is {show(self.outliers)}, expected 'lof' or None")
        as_count(self.n_neighbors, "n_neighbors")


def as_keywords(vectors: Any, names: Any, dim: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Labels, sorted, and the mean vector of the keywords of each."""
    if isinstance(vectors, Mapping):
        if names is not None:
            raise InvalidArgumentError(f"label_names is {show(names)}, expected None: keyword_vectors has names")
        names, vectors = list(vectors), list(vectors.values())
    if names is None or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError(f"label_names is {show(names)}, expected texts, one for each list of keywords")
    if len(names) != len(vectors) or not len(names) or len(set(names)) < len(names):
        raise InvalidArgumentError(f"label_names has {len(names)} names, expected {len(vectors)} that differ")
    means = []
    for name, part in zip(names, vectors, strict=True):
        if not len(part):
            raise InvalidArgumentError(f"keyword_vectors[{name!r}] is empty, expected at least one keyword")
        means.append(check_embeddings(part, f"keyword_vectors[{name!r}]", dim=dim).mean(axis=0, dtype=np.float64))
    order = np.argsort(np.array(names))
    return np.array(names)[order], refuse_zero(as_matrix(np.array(means), "X"), "the keyword vectors")[order]


def inliers(rows: NDArray[np.float32], n_neighbors: int) -> NDArray[np.bool_]:
    """Which rows lie no farther from their neighbours than these do from theirs."""
    neighbors = require("sklearn.neighbors", "outliers='lof'")
    lof = neighbors.LocalOutlierFactor(n_neighbors=min(n_neighbors, len(rows) - 1), metric="cosine")
    inside: NDArray[np.bool_] = lof.fit_predict(rows) > 0
    return inside if inside.any() else np.ones(len(rows), np.bool_)
