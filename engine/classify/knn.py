"""Classification by the labels of the nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_choice, as_count, as_flag
from ..evaluation import accuracy
from ..evaluation._labels import as_labels
from ..evaluation.retrieval import search_batches, search_others
from ..exact import METRICS
from ..exceptions import InvalidArgumentError
from ..index import Filter, Index
from ..types import Metric, SearchResult, SearchStats
from ._base import (
    Classifier,
    as_indicator,
    as_temperature,
    check_embeddings,
    encode_labels,
    merged,
    training_labels,
    warn_if_one,
)

__all__ = ["KNNClassifier"]

Self = TypeVar("Self", bound="KNNClassifier")
Weights = NDArray[np.float64]


class KNNClassifier(Classifier):
    """Each of the `n_neighbors` nearest training rows votes for its label.

    With the default settings this is the k-NN evaluation of DINO: the vote of a neighbour is ``exp(similarity /
    temperature)``, so a near one outweighs several that are farther off.

    Parameters
    ----------
    n_neighbors : int, default 20
        How many vote.
    temperature : float, default 0.07
        Divides the similarities under ``weights="exp"``. Small: the nearest decides; large: all votes are equal.
    weights : {"exp", "uniform", "distance"} or callable, default "exp"
        ``"distance"`` votes with 1 / distance (under "l2" the Euclidean one, as in scikit-learn; a neighbour at
        distance 0 outvotes all others). A callable takes the distances of `kneighbors`, shape (n, n_neighbors), and
        returns votes of the same shape, none negative; where no neighbour was found the distance is +inf and the vote
        does not count.
    metric : {"cosine", "ip", "l2"}, default "cosine"
        What nearest means; similarity is the cosine, the inner product, or minus the squared distance.
    index : str or Index, default "exact"
        Kind of the index that `fit` builds; or an index that already holds the training vectors: then `fit` takes
        ``X=None`` and one label for each row, in the order of ``index.ids``.
    filter : mask over the training rows, array of allowed ids, or Bitmap, optional
        Who may vote.
    batch_size : int, default 1024
        Rows predicted at once; memory grows with ``batch_size * (n_neighbors + n_classes)``.
    multilabel : bool, default False
        `y` is a 0/1 matrix, one column a label; predicted is each label that gets more than half of the vote.
    allow_fewer : bool, default False
        Let fewer than `n_neighbors` vote where the training set, or its filter, has no more. Otherwise an error.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Sorted; column ``i`` of `predict_proba` belongs to ``classes_[i]``. With `multilabel` the column numbers of `y`.
    index_ : Index
        The training vectors.
    n_features_in_ : int
        Their dim.
    n_samples_fit_ : int
        Their number.

    Notes
    -----
    Classes with equal votes: the first of them in sorted order wins. Predicting is thread-safe.
    ``predict(None)``, ``predict_proba(None)``, ``kneighbors(None)`` and ``score(None, y)`` leave one out: each training
    row is judged by the others, as in scikit-learn.

    References
    ----------
    Caron et al., *Emerging Properties in Self-Supervised Vision Transformers*, ICCV 2021 (arXiv:2104.14294).

    Examples
    --------
    The nearest neighbour outvotes two others that are farther off:

    >>> from engine.classify import KNNClassifier
    >>> X = [[0.90, 0.4359], [0.80, 0.60], [0.79, -0.6131]]
    >>> knn = KNNClassifier(n_neighbors=3).fit(X, ["cat", "dog", "dog"])
    >>> knn.predict([[1, 0]]).tolist()
    ['cat']
    >>> knn.predict_proba([[1, 0]]).round(3).tolist()
    [[0.691, 0.309]]
    >>> knn.set_params(weights="uniform").predict([[1, 0]]).tolist()
    ['dog']
    """

    def __init__(
        self,
        n_neighbors: int = 20,
        *,
        temperature: float = 0.07,
        weights: str | Callable[[NDArray[np.float32]], ArrayLike] = "exp",
        metric: Metric = "cosine",
        index: str | Index = "exact",
        filter: Filter | None = None,
        batch_size: int = 1024,
        multilabel: bool = False,
        allow_fewer: bool = False,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.temperature = temperature
        self.weights = weights
        self.metric = metric
        self.index = index
        self.filter = filter
        self.batch_size = batch_size
        self.multilabel = multilabel
        self.allow_fewer = allow_fewer

    def fit(self: Self, X: ArrayLike | None, y: ArrayLike | None = None) -> Self:
        """Keep the training rows and their labels.

        Parameters
        ----------
        X : array_like, shape (n, dim), Collection, or None
            None if `index` already holds the vectors.
        y : array_like, shape (n,), or (n, n_labels) with `multilabel`
            Strings or integers; for a collection also the name of a column, of which None stands for "label".

        Returns
        -------
        KNNClassifier
            The classifier itself.

        Raises
        ------
        InvalidArgumentError
            Settings, vectors or labels that cannot be used; also a ValueError. What was learned before is untouched.
        """
        self._check_settings()
        y = training_labels(X, y)
        index = self._filled_index(X)
        classes, targets = self._encode(y, len(index))
        warn_if_one(classes)
        order = np.argsort(index.ids)
        self._learn(index, index.ids[order], targets[order], classes)
        return self

    def partial_fit(self: Self, X: ArrayLike, y: ArrayLike | None = None, classes: ArrayLike | None = None) -> Self:
        """Add training rows; new classes may come at any time.

        Parameters
        ----------
        X, y
            As in `fit`.
        classes : array_like, optional
            Classes to know of whether or not they occur yet: they get a column in `predict_proba`.

        Returns
        -------
        KNNClassifier
            The classifier itself.

        Raises
        ------
        InvalidArgumentError
            As in `fit`; also if `index` is an Index, which is yours to change.
        """
        self._check_settings()
        if isinstance(self.index, Index):
            raise InvalidArgumentError("index is an Index, expected 'exact': add your rows to it and call fit")
        fitted = self.__sklearn_is_fitted__()
        if fitted:
            self._check_learned()
        y = training_labels(X, y)
        X = check_embeddings(X, dim=self.n_features_in_ if fitted else None)
        new, targets = self._encode(y, len(X))
        known = self.classes_ if fitted else new
        every = merged(known, new if classes is None else merged(new, as_labels(classes, "classes")))
        if self.multilabel and len(every) != len(new):
            raise InvalidArgumentError(f"y has {len(new)} labels, expected {len(every)}")
        warn_if_one(every)
        index = self.index_ if fitted else Index(X.shape[1], metric=self.metric, kind=self.index)  # type: ignore[arg-type]
        ids = index.add(X)
        if not self.multilabel:
            targets = np.searchsorted(every, new)[targets]
        if fitted:
            before = self._targets if self.multilabel else np.searchsorted(every, known)[self._targets]
            ids, targets = np.concatenate([self._ids, ids]), np.concatenate([before, targets])
        self._learn(index, ids, targets, every)
        return self

    @overload
    def predict(self, X: ArrayLike | None) -> NDArray[Any]: ...
    @overload
    def predict(self, X: ArrayLike | None, return_neighbors: Literal[False]) -> NDArray[Any]: ...
    @overload
    def predict(self, X: ArrayLike | None, return_neighbors: Literal[True]) -> tuple[NDArray[Any], SearchResult]: ...
    def predict(self, X: ArrayLike | None, return_neighbors: bool = False) -> Any:
        """The label with the largest vote for each row.

        Parameters
        ----------
        X : array_like, shape (n, dim), or None
            None: every training row, judged by the others.
        return_neighbors : bool, default False
            Also return who voted.

        Returns
        -------
        labels : ndarray, shape (n,), or bool (n, n_labels) with `multilabel`
        neighbors : SearchResult
            Only with `return_neighbors`: ids and distances of the voters, shape (n, n_neighbors).

        Raises
        ------
        InvalidArgumentError
            Another dim, or fewer voters than `n_neighbors` (see `allow_fewer`), or none.
        NotBuiltError
            Nothing was fitted yet.
        """
        as_flag(return_neighbors, "return_neighbors")
        labels, results = [], []
        for found in self._search(X, self.n_neighbors):
            shares = self._vote(found)
            labels.append(shares > 0.5 if self.multilabel else self.classes_[shares.argmax(axis=1)])
            if return_neighbors:
                results.append(found)
        return (np.concatenate(labels), joined(results)) if return_neighbors else np.concatenate(labels)

    def predict_proba(self, X: ArrayLike | None) -> NDArray[np.float64]:
        """Share of the vote that each class gets, shape (n, n_classes); rows sum to 1 (not with `multilabel`)."""
        return np.concatenate([self._vote(found) for found in self._search(X, self.n_neighbors)])

    def leave_one_out(self) -> NDArray[Any]:
        """What the other training rows predict for each training row; the same as ``predict(None)``.

        Rows are left out by id: a duplicate of a row does vote.

        Examples
        --------
        >>> knn = KNNClassifier(n_neighbors=1).fit([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], ["a", "a", "b", "a"])
        >>> knn.leave_one_out().tolist()
        ['a', 'a', 'a', 'b']
        """
        return self.predict(None)

    def kneighbors(
        self, X: ArrayLike | None = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> NDArray[np.int64] | tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The voters of each row, in scikit-learn's order: **distances first**.

        Parameters
        ----------
        X : array_like, shape (n, dim), optional
            None: every training row, without itself.
        n_neighbors : int, optional
            Default: the setting.
        return_distance : bool, default True
            False: only the ids.

        Returns
        -------
        distances : ndarray, shape (n, n_neighbors), float32
            Nearest first: 1 - cosine, minus the inner product, or the *squared* Euclidean distance.
        ids : ndarray, shape (n, n_neighbors), int64
            Rows of the training set, or ids of the given index.
        """
        as_flag(return_distance, "return_distance")
        found = joined(list(self._search(X, self.n_neighbors if n_neighbors is None else n_neighbors)))
        return (found.distances, found.ids) if return_distance else found.ids

    def score(self, X: ArrayLike | None, y: ArrayLike) -> float:
        """Share of rows predicted right; with `multilabel`, right in every label. ``X=None`` leaves one out."""
        predicted = self.predict(X)
        if self.multilabel:
            return float((predicted == as_indicator(y, n=len(predicted))).all(axis=1).mean())
        return accuracy(y, predicted)

    def _check_settings(self) -> None:
        as_count(self.n_neighbors, "n_neighbors")
        as_count(self.batch_size, "batch_size")
        as_temperature(self.temperature)
        as_flag(self.multilabel, "multilabel")
        as_flag(self.allow_fewer, "allow_fewer")
        as_choice(self.metric, "metric", METRICS)
        if not callable(self.weights):
            as_choice(self.weights, "weights", ("exp", "uniform", "distance"))
            if self.weights == "distance" and self.metric == "ip":
                raise InvalidArgumentError(
                    "weights is 'distance', expected another under metric 'ip': its distances go below 0"
                )

    def _filled_index(self, X: ArrayLike | None) -> Index:
        """The user's index, checked, or a new one with the rows of `X`."""
        if not isinstance(self.index, Index):
            vectors = check_embeddings(X)
            index = Index(vectors.shape[1], metric=self.metric, kind=self.index)  # type: ignore[arg-type]
            index.add(vectors)
            return index
        if X is not None:
            raise InvalidArgumentError("X is given although index already holds the training vectors, expected None")
        if self.index.metric != self.metric:
            raise InvalidArgumentError(f"metric is {self.metric!r}, expected that of index: {self.index.metric!r}")
        if not len(self.index):
            raise InvalidArgumentError("index is empty, expected the training vectors in it")
        return self.index

    def _learn(self, index: Index, ids: NDArray[np.int64], targets: NDArray[Any], classes: NDArray[Any]) -> None:
        """Keep the labels `targets` of the rows `ids`, ascending, beside `index` as it is now."""
        self._ids, self._targets, self._n_changes = ids, targets, index._n_changes
        self.index_, self.classes_, self.n_features_in_, self.n_samples_fit_ = index, classes, index.dim, len(index)

    def _check_learned(self) -> None:
        """Refuse what makes the labels learned unfit: another index, or settings that `fit` has not seen."""
        if self.index_._n_changes != self._n_changes:
            raise InvalidArgumentError("index has changed since fit: call fit again with a label for each row")
        for name, learned in (("multilabel", self._targets.ndim == 2), ("metric", self.index_.metric)):
            if getattr(self, name) != learned:
                raise InvalidArgumentError(f"{name} is {getattr(self, name)!r}, fit saw {learned!r}: call fit again")

    def _encode(self, y: Any, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Classes, and for each row its place among them, or with `multilabel` its row of `y`."""
        if not self.multilabel:
            return encode_labels(y, n=n)
        targets = as_indicator(y, n=n)
        return np.arange(targets.shape[1]), targets

    def _search(self, X: ArrayLike | None, k: int) -> Iterator[SearchResult]:
        """The voters, batch by batch."""
        self.check_fitted()
        self._check_settings()
        self._check_learned()
        k = as_count(k, "n_neighbors")
        if X is None:
            batches = search_others(self.index_, k, filter=self.filter, batch_size=self.batch_size)
        else:
            queries = check_embeddings(X, dim=self.n_features_in_)
            batches = search_batches(self.index_, queries, k, filter=self.filter, batch_size=self.batch_size)
        for found in batches:
            self._check_learned()  # a change during the search counts as well
            n_voters = (found.ids >= 0).sum(axis=1).min()
            if n_voters < (1 if self.allow_fewer else k):
                hint = "" if self.allow_fewer else ", or set allow_fewer=True"
                raise InvalidArgumentError(
                    f"n_neighbors is {k}, expected at most {n_voters}: no more rows may vote{hint}"
                )
            yield found

    def _vote(self, found: SearchResult) -> Weights:
        """Share of the vote that each class gets, shape (n, n_classes)."""
        votes = self._weigh(found.distances)
        targets = self._targets[self._rows(found.ids)]
        n, n_classes = len(votes), len(self.classes_)
        if self.multilabel:
            counts = np.einsum("nk,nkc->nc", votes, targets)
        else:  # one sum for all rows: cell c of row i is number i * n_classes + c
            cells = np.arange(n)[:, None] * n_classes + targets
            counts = np.bincount(cells.ravel(), votes.ravel(), minlength=n * n_classes).reshape(n, n_classes)
        shares: Weights = counts / votes.sum(axis=1, keepdims=True)
        return shares

    def _weigh(self, distances: NDArray[np.float32]) -> Weights:
        """The vote of each neighbour; 0 where none was found, at distance +inf."""
        if callable(self.weights):
            return as_votes(self.weights(distances.copy()), distances)
        if self.weights == "exp":
            # Similarities relative to the nearest: shares stay the same, exp cannot overflow.
            with np.errstate(over="ignore"):
                return np.exp((distances[:, :1].astype(np.float64) - distances) / self.temperature)
        found = np.isfinite(distances)
        if self.weights == "uniform":
            return found.astype(np.float64)
        lengths = np.maximum(distances, 0, dtype=np.float64)
        if self.metric == "l2":
            lengths = np.sqrt(lengths)
        same = lengths == 0
        with np.errstate(divide="ignore"):
            return np.where(same.any(axis=1, keepdims=True), same, 1 / lengths)

    def _rows(self, ids: NDArray[np.int64]) -> NDArray[np.intp]:
        """Where the label of each id is kept; anywhere for -1, which has no vote."""
        return np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)


def as_votes(value: ArrayLike, distances: NDArray[np.float32]) -> Weights:
    """What a callable made of `distances`, checked."""
    given = as_array(value, "what weights returned")
    if given.shape != distances.shape:
        raise InvalidArgumentError(f"weights returned shape {given.shape}, expected {distances.shape}")
    votes = np.where(np.isfinite(distances), given, 0.0)
    if not np.isfinite(votes).all() or (votes < 0).any() or not votes.any(axis=1).all():
        raise InvalidArgumentError("weights returned votes that are negative or not finite, or only zeros for a row")
    return votes


def joined(results: list[SearchResult]) -> SearchResult:
    """One result for all batches."""
    ids, distances = (np.concatenate(parts) for parts in zip(*results, strict=True))
    stats = [found.stats for found in results]
    total = SearchStats(
        strategy=stats[0].strategy,
        n_scored=sum(s.n_scored for s in stats),
        n_rescored=sum(s.n_rescored for s in stats),
        selectivity=stats[0].selectivity,
        seconds=sum(s.seconds for s in stats),
    )
    return SearchResult(ids, distances, results[0].metric, total)
