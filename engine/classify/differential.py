"""FuDD: the classes that a first pass confuses, told apart by what differs between them."""

from __future__ import annotations

from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_count, as_flag, as_matrix, show
from ..exceptions import InvalidArgumentError
from ..protocols import Encoder
from ._base import Classifier, Matrix, batches, check_embeddings, unit
from ._sentences import embed
from .pairs import PairStore
from .templates import as_templates, filled

__all__ = ["DifferentialReranker"]

Self = TypeVar("Self", bound="DifferentialReranker")


class DifferentialReranker(Classifier):
    """Take the best classes of a first pass, and decide between them by sentences on how they differ.

    A candidate is described by what sets it apart from each of the other candidates; its vector is the mean of the unit
    vectors of these sentences, and the candidate that is nearest to the row wins. Classes that were no candidates keep
    the order of the first pass, below.

    Parameters
    ----------
    base_classifier : classifier
        The first pass, with `class_scores`; trained, and with strings as classes: say, `ZeroShotClassifier`.
    pair_descriptions : PairStore
    encoder : Encoder
        Encodes sentences as documents.
    top_k : int, default 10
        Candidates; all classes where there are no more. 1 leaves the first pass as it is.
    fallback_template : str, default "a photo of a {}."
        The sentence of both classes for a pair that the store does not know.
    dedup : bool, default True
        Let a sentence that several pairs share count once, as in the paper. False adds up vectors of pairs: faster.

    Attributes
    ----------
    classes_ : ndarray of str, shape (n_classes,)
    missing_ : list of (a, b)
        Pairs that fell back on the template.

    References
    ----------
    Esfandiarpoor & Bach, *Follow-Up Differential Descriptions: Language Models Resolve Ambiguities for Image
    Classification*, ICLR 2024 (arXiv:2311.07593).

    Examples
    --------
    >>> import encoders
    >>> from engine.classify import DifferentialReranker, PairStore, ZeroShotClassifier
    >>> encoder = encoders.get("hashing", dim=1024)
    >>> base = ZeroShotClassifier(encoder, templates=["a black bird, a {}"]).fit(["crow", "raven", "swan"])
    >>> store = PairStore({("crow", "raven"): [("its bill is slim", "its bill is heavy")]})
    >>> fudd = DifferentialReranker(base, store, encoder, top_k=2, fallback_template="{}").fit()
    >>> fudd.rank(encoder.encode_queries(["a black bird, a raven or a crow, its bill is slim"])).tolist()
    [['crow', 'raven', 'swan']]
    """

    def __init__(
        self,
        base_classifier: Any,
        pair_descriptions: PairStore,
        encoder: Encoder,
        *,
        top_k: int = 10,
        fallback_template: str = "a photo of a {}.",
        dedup: bool = True,
    ) -> None:
        self.base_classifier = base_classifier
        self.pair_descriptions = pair_descriptions
        self.encoder = encoder
        self.top_k = top_k
        self.fallback_template = fallback_template
        self.dedup = dedup

    def fit(self: Self, X: Any = None, y: Any = None) -> Self:
        """Encode the sentences of all pairs of classes, each once; `X` and `y` are not used.

        Raises
        ------
        InvalidArgumentError
            Settings that cannot be used; a pair with a class that the first pass does not know.
        NotBuiltError
            The first pass is not trained.
        """
        self._check_settings()
        self.base_classifier.check_fitted()
        names = self.base_classifier.classes_.tolist()
        if unknown := set(self.pair_descriptions.classes) - set(names):
            raise InvalidArgumentError(f"pair_descriptions holds {show(min(unknown))}, expected one of the classes")
        template = as_templates(self.fallback_template, "fallback_template")
        places: dict[str, int] = {}  # of each different sentence
        self._sentences: dict[tuple[int, int], NDArray[np.int64]] = {}  # of the first against the second class
        for (i, a), (j, b) in combinations(enumerate(names), 2):
            for key, name, sentences in zip(((i, j), (j, i)), (a, b), self.pair_descriptions.get(a, b), strict=True):
                texts = sentences or filled(template, name)
                self._sentences[key] = np.array([places.setdefault(text, len(places)) for text in texts])
        vectors = embed(self.encoder, list(places), "sentences", side="document") if places else np.empty((0, 1))
        self._vectors = unit(vectors, "sentences") if places else vectors
        self._sums = {key: self._vectors[rows].sum(axis=0) for key, rows in self._sentences.items()}
        self.missing_ = self.pair_descriptions.missing(names)
        self.classes_, self.n_features_in_ = self.base_classifier.classes_, self.base_classifier.n_features_in_
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The best class for each row, shape (n,)."""
        return self.rank(X)[:, 0]

    def rank(self, X: ArrayLike) -> NDArray[Any]:
        """All classes for each row, the best first, shape (n, n_classes)."""
        self.check_fitted()
        self._check_settings()
        rows = check_embeddings(X, dim=self.n_features_in_)
        known: dict[bytes, NDArray[np.float64]] = {}  # vectors of the sets of candidates that came up
        orders = [self._order(part, known) for part in batches(rows)]
        ranked: NDArray[Any] = self.classes_[np.concatenate(orders)]
        return ranked

    def candidates(self, X: ArrayLike) -> NDArray[Any]:
        """The classes that the second pass decides between, in the order of the first, shape (n, top_k)."""
        self.check_fitted()
        orders = [self._first(part) for part in batches(check_embeddings(X, dim=self.n_features_in_))]
        found: NDArray[Any] = self.classes_[np.concatenate(orders)[:, : self.top_k]]
        return found

    def _check_settings(self) -> None:
        as_count(self.top_k, "top_k")
        as_flag(self.dedup, "dedup")
        if not isinstance(self.pair_descriptions, PairStore):
            raise InvalidArgumentError(f"pair_descriptions is {show(self.pair_descriptions)}, expected a PairStore")

    def _first(self, X: Matrix) -> NDArray[np.int64]:
        """All classes in the order of the first pass, shape (n, n_classes)."""
        return np.argsort(-self.base_classifier.class_scores(X), axis=1, kind="stable")

    def _order(self, X: Matrix, known: dict[bytes, NDArray[np.float64]]) -> NDArray[np.int64]:
        """All classes in the final order, shape (n, n_classes)."""
        order = self._first(X)
        k = min(self.top_k, order.shape[1])
        if k == 1:
            return order
        for row, x in zip(order, X.astype(np.float64), strict=True):
            candidates = np.sort(row[:k])
            if (key := candidates.tobytes()) not in known:
                known[key] = self._describe(candidates.tolist())
            # Equal scores keep the order of the first pass.
            scores = (known[key] @ x)[np.searchsorted(candidates, row[:k])]
            row[:k] = row[:k][np.argsort(-as_matrix(scores, "X")[0], kind="stable")]
        return order

    def _describe(self, candidates: list[int]) -> NDArray[np.float64]:
        """The unit vector of each candidate among these, shape (k, dim)."""
        return unit([self._mean([(c, other) for other in candidates if other != c]) for c in candidates], "a class")

    def _mean(self, keys: list[tuple[int, int]]) -> NDArray[np.float64]:
        """Along the mean of the sentences of some pairs; of its length nothing is needed."""
        if not self.dedup:
            total: NDArray[np.float64] = np.sum([self._sums[key] for key in keys], axis=0)
            return total
        rows = np.unique(np.concatenate([self._sentences[key] for key in keys]))
        distinct: NDArray[np.float64] = self._vectors[rows].sum(axis=0)
        return distinct
