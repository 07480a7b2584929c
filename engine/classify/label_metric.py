"""Loki: predict labels that no classifier has seen, by how far labels are from each other."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from .._validate import as_array, as_choice, as_k, as_matrix, as_numpy, show
from ..evaluation._labels import as_labels
from ..exact import topk
from ..exceptions import InvalidArgumentError
from ..index import Index
from ._base import as_share, as_temperature, check_embeddings, places_of

__all__ = ["FrechetPredictor", "LabelMetric", "locus", "next_class"]

Distances = NDArray[np.float64]
PIVOTS = 512  # labels by way of which the triangle inequality is tried
MIXTURES = 500  # of observed labels, by which the recall of a graph is measured, peaked ones and flat ones
LEAST_POOL = 4


class LabelMetric:
    """How far apart labels are; made by `from_matrix`, `from_embeddings`, `from_tree` or `from_graph`.

    Attributes
    ----------
    labels : ndarray, shape (n_labels,)
        Sorted.
    embeddings : ndarray, shape (n_labels, dim), float32, or None
        Where distances are those of vectors.
    is_tree : bool

    Examples
    --------
    >>> metric = LabelMetric.from_tree([("animal", "bird"), ("animal", "fish"), ("bird", "crow"), ("bird", "rook")])
    >>> metric.between(["crow", "crow"], ["rook", "fish"]).tolist()
    [2.0, 3.0]
    """

    def __init__(
        self,
        labels: NDArray[Any],
        *,
        matrix: Distances | None = None,
        embeddings: NDArray[np.float32] | None = None,
        graph: Any = None,
    ) -> None:
        self.labels = labels
        self.embeddings = embeddings
        self.is_tree = False
        self._matrix = matrix
        self._graph = graph  # a sparse matrix of edges

    @classmethod
    def from_matrix(cls, D: ArrayLike, labels: ArrayLike | None = None) -> LabelMetric:
        """Distances as they are given, shape (n_labels, n_labels).

        Parameters
        ----------
        D : array_like
            Symmetric, not negative, zero on the diagonal.
        labels : array_like, shape (n_labels,), optional
            Default: 0, 1, ...

        Warns
        -----
        UserWarning
            The way by a third label is shorter: no metric, though predictions are still what they are defined to be.
        """
        matrix = as_array(D, "D").astype(np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
            raise InvalidArgumentError(f"D has shape {matrix.shape}, expected (n_labels, n_labels)")
        for wrong, what in (
            (~np.isfinite(matrix) | (matrix < 0), "a finite number of at least 0"),
            (np.eye(len(matrix), dtype=bool) & (matrix != 0), "0 on the diagonal"),
            (~np.isclose(matrix, matrix.T, rtol=1e-6, atol=1e-12), "what D has with row and column changed over"),
        ):
            if wrong.any():
                i, j = np.argwhere(wrong)[0]
                raise InvalidArgumentError(f"D[{i}, {j}] is {matrix[i, j]}, expected {what}")
        warn_of_triangles(matrix)
        names, order = as_names(labels, len(matrix))
        return cls(names, matrix=matrix[np.ix_(order, order)])

    @classmethod
    def from_embeddings(cls, E: ArrayLike, labels: ArrayLike | None = None) -> LabelMetric:
        """Euclidean distances between vectors, such as text vectors of class names; shape (n_labels, dim)."""
        vectors = check_embeddings(E, "E")
        names, order = as_names(labels, len(vectors))
        return cls(names, embeddings=vectors if (np.diff(order) == 1).all() else vectors[order])

    @classmethod
    def from_tree(cls, edges: ArrayLike, weights: ArrayLike | None = None) -> LabelMetric:
        """Lengths of the paths in a tree.

        Parameters
        ----------
        edges : array_like, shape (n_labels - 1, 2)
            Pairs of labels: strings or integers.
        weights : array_like, shape (n_labels - 1,), optional
            Length of each edge, above 0. Default: 1.

        Notes
        -----
        Distances are found when they are asked for, from the labels that are asked about alone (scipy, which comes with
        the extra "sklearn").
        """
        metric = cls.from_graph(edges, weights)
        if metric._graph.nnz != 2 * (len(metric.labels) - 1):
            n_edges, n_expected = metric._graph.nnz // 2, len(metric.labels) - 1
            raise InvalidArgumentError(f"edges are {n_edges}, expected {n_expected}: a tree has no cycle")
        metric.is_tree = True
        return metric

    @classmethod
    def from_graph(cls, edges: ArrayLike, weights: ArrayLike | None = None) -> LabelMetric:
        """Lengths of the shortest paths in a connected graph; `edges` and `weights` as for `from_tree`."""
        ends = as_numpy(edges, "edges", "pairs of labels", None if hasattr(edges, "__array__") else object)
        if ends.ndim != 2 or ends.shape[1] != 2 or not len(ends):
            raise InvalidArgumentError(f"edges has shape {ends.shape}, expected (n, 2)")
        names, places = np.unique(as_labels(ends.ravel(), "edges"), return_inverse=True)
        left, right = places.reshape(-1, 2).T
        lengths = np.ones(len(ends)) if weights is None else as_array(weights, "weights").astype(np.float64)
        if lengths.shape != (len(ends),) or not (np.isfinite(lengths) & (lengths > 0)).all():
            raise InvalidArgumentError(f"weights is {show(weights)}, expected {len(ends)} numbers above 0")
        if (left == right).any():
            raise InvalidArgumentError(f"edges hold {show(names[left[left == right][0]].item())} with itself")
        sparse = require("scipy.sparse", "LabelMetric.from_graph")
        graph = sparse.coo_matrix((lengths, (left, right)), (len(names),) * 2)
        if len(np.unique(np.minimum(left, right) * len(names) + np.maximum(left, right))) < len(ends):
            raise InvalidArgumentError("edges hold a pair twice, expected each once")
        graph = (graph + graph.T).tocsr()
        n_parts, part = require("scipy.sparse.csgraph", "LabelMetric.from_graph").connected_components(graph)
        if n_parts > 1:
            apart = names[part != part[0]][0].item()
            raise InvalidArgumentError(f"edges do not lead from {show(names[0].item())} to {show(apart)}")
        return cls(names, graph=graph)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = "a matrix" if self._matrix is not None else "vectors" if self._graph is None else "a graph"
        return f"<LabelMetric of {len(self)} labels, by {'a tree' if self.is_tree else kind}>"

    def rows(self, labels: ArrayLike) -> Distances:
        """Distances of some labels to all, shape (n, n_labels)."""
        places = self.places(labels)
        if self._matrix is not None:
            return self._matrix[places]
        if self.embeddings is not None:
            return euclidean(self.embeddings[places], self.embeddings)
        dijkstra = require("scipy.sparse.csgraph", "LabelMetric").dijkstra
        return np.asarray(dijkstra(self._graph, indices=places))

    def between(self, left: ArrayLike, right: ArrayLike) -> Distances:
        """Distance of each label of `left` to that of `right` in the same place, shape (n,)."""
        first, second = self.places(left), self.places(right)
        if len(first) != len(second):
            raise InvalidArgumentError(f"right has {len(second)} labels, expected {len(first)}: as many as left")
        if self.embeddings is not None:
            steps = self.embeddings[first].astype(np.float64) - self.embeddings[second]
            return np.asarray(np.linalg.norm(steps, axis=1))
        different, place = np.unique(first, return_inverse=True)
        return self.rows(self.labels[different])[place, second]

    def places(self, labels: ArrayLike) -> NDArray[np.int64]:
        """Where each label is among `labels`."""
        return places_of(as_labels(labels, "labels"), self.labels, "labels")


class FrechetPredictor:
    """Predict the label that is nearest on average, whether or not the classifier knows it.

    From what a classifier says of the classes it knows, the prediction is the label `y` with the smallest
    ``sum(p_k * d(y, k) ** power)``: of all labels of the metric, thus also of those that were never observed. With the
    squared Euclidean distance of vectors that is the label nearest to the mean vector ``sum(p_k * e_k)``, one search in
    an index whatever the number of labels.

    Parameters
    ----------
    metric : LabelMetric
    observed : array_like, shape (n_classes,)
        The classes of the classifier, in the order of its probabilities.
    power : float, default 2.0
    temperature : float, optional
        Take ``p ** (1 / temperature)``, normalised, for the probabilities: below 1 sharper, above 1 flatter.
    kind : {"exact", "graph"}, default "exact"
        Of the index, where there is one. "graph" takes long to build and finds the best label nearly always: a mean of
        labels lies between them, where a walk finds less than near rows of its own, so `recall` is measured on means.
    recall : float, default 0.99
        For "graph": share of predictions that are to be the exact ones, measured on `sample`.
    sample : array_like, shape (n, n_classes), optional
        Probabilities such as will be asked for; a few hundred are enough. Default: random mixtures of observed labels,
        peaked ones and, which are the hardest, flat ones.

    Attributes
    ----------
    index_ : Index or None
        Of label vectors.
    ef_ : int or None
        For "graph": rows that a walk keeps in its pool, within half of the fewest that reach `recall`.

    References
    ----------
    Roberts et al., *Geometry-Aware Adaptation for Pretrained Models* (Loki), NeurIPS 2023 (arXiv:2307.12226).

    Examples
    --------
    On the path 1 - 2 - 3, an even choice between the ends is the middle, which the classifier does not know:

    >>> path = LabelMetric.from_tree([(1, 2), (2, 3)])
    >>> FrechetPredictor(path, observed=[1, 3]).predict([[0.5, 0.5], [0.8, 0.2]]).tolist()
    [2, 1]
    """

    def __init__(
        self,
        metric: LabelMetric,
        observed: ArrayLike,
        *,
        power: float = 2.0,
        temperature: float | None = None,
        kind: Literal["exact", "graph"] = "exact",
        recall: float = 0.99,
        sample: ArrayLike | None = None,
    ) -> None:
        if not isinstance(metric, LabelMetric):
            raise InvalidArgumentError(f"metric is {show(metric)}, expected a LabelMetric")
        self.metric = metric
        self.observed = as_labels(observed, "observed")
        if len(np.unique(self.observed)) < len(self.observed):
            raise InvalidArgumentError(f"observed is {show(self.observed.tolist())}, expected each class once")
        places = places_of(self.observed, metric.labels, "observed")
        self.power = as_temperature(power, "power")
        self.temperature = None if temperature is None else as_temperature(temperature)
        as_choice(kind, "kind", ("exact", "graph"))
        if as_share(recall, "recall") == 0:
            raise InvalidArgumentError("recall is 0.0, expected a number above 0")
        self.index_: Index | None = None
        self.ef_: int | None = None
        if metric.embeddings is not None and self.power == 2:
            self.index_ = Index(metric.embeddings.shape[1], metric="l2", kind=kind)
            self.index_.add(metric.embeddings)
            self._seen = metric.embeddings[places].astype(np.float64)
            if kind == "graph":
                self.ef_ = self._pool_for(
                    recall, self._mixtures() if sample is None else [self._shares(sample, "sample")]
                )
        else:
            self._costs = as_matrix((metric.rows(self.observed) ** self.power).T, "costs")

    def predict(self, probs: ArrayLike) -> NDArray[Any]:
        """The best label for each row of probabilities over `observed`, shape (n,)."""
        return self.rank(probs, 1)[0][:, 0]

    def rank(self, probs: ArrayLike, k: int) -> tuple[NDArray[Any], Distances]:
        """The `k` best labels for each row, and what each costs: ``sum(p_k * d ** power)``.

        Parameters
        ----------
        probs : array_like, shape (n, n_classes)
            Rows sum to 1.
        k : int

        Returns
        -------
        labels : ndarray, shape (n, k)
        costs : ndarray, shape (n, k), float64
            Of equal ones the smaller label comes first.
        """
        shares = self._shares(probs)
        if as_k(k, len(shares)) > len(self.metric):
            raise InvalidArgumentError(f"k is {k}, expected at most {len(self.metric)}: the number of labels")
        if self.index_ is None:
            found = topk(as_matrix(-shares, "probs"), self._costs, k, metric="ip")
            return self.metric.labels[found.ids], found.distances.astype(np.float64)
        means = shares @ self._seen
        spread = shares @ np.square(self._seen).sum(axis=1) - np.square(means).sum(axis=1)
        found = self.index_.search(as_matrix(means, "probs"), k, ef=None if self.ef_ is None else max(self.ef_, k))
        return self.metric.labels[found.ids], found.distances + np.maximum(spread, 0)[:, None]

    def expected_distance(self, y_pred: ArrayLike, y_true: ArrayLike) -> float:
        """Mean of ``d ** power`` between what was predicted and what is true."""
        return float((self.metric.between(y_pred, y_true) ** self.power).mean())

    def _mixtures(self) -> list[Distances]:
        """Random ones, peaked and flat."""
        rng = np.random.default_rng(0)
        return [rng.dirichlet(np.full(len(self.observed), each), MIXTURES) for each in (0.02, 1.0)]

    def _pool_for(self, recall: float, samples: list[Distances]) -> int:
        """A small pool that finds the exact answer to such a share of each of the samples."""
        assert self.index_ is not None
        means = [as_matrix(sample @ self._seen, "sample") for sample in samples]
        best = [topk(each, self.metric.embeddings, 1, metric="l2").distances for each in means]  # type: ignore[arg-type]
        ef = LEAST_POOL
        while ef < len(self.metric):
            found = [self.index_.search(each, 1, ef=ef).distances for each in means]
            if min(np.mean(ours <= right) for ours, right in zip(found, best, strict=True)) >= recall:
                break
            ef += ef // 2
        return ef

    def _shares(self, probs: ArrayLike, name: str = "probs") -> Distances:
        shares = as_array(probs, name).astype(np.float64)
        if shares.ndim != 2 or shares.shape[1] != len(self.observed) or not len(shares):
            raise InvalidArgumentError(f"{name} has shape {shares.shape}, expected (n, {len(self.observed)})")
        wrong = ~(np.isclose(shares.sum(axis=1), 1, atol=1e-3) & (shares >= 0).all(axis=1))
        if wrong.any():
            row = int(wrong.argmax())
            raise InvalidArgumentError(f"{name}[{row}] is {show(shares[row].tolist())}, expected shares that sum to 1")
        if self.temperature is not None:
            shares = (shares / shares.max(axis=1, keepdims=True)) ** (1 / self.temperature)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def locus(tree: LabelMetric, observed: ArrayLike) -> NDArray[Any]:
    """The labels of a tree that a `FrechetPredictor` can predict from these: those on paths between observed ones.

    Parameters
    ----------
    tree : LabelMetric
        From `LabelMetric.from_tree`.
    observed : array_like
        Labels of it.

    Returns
    -------
    ndarray
        Sorted.

    Examples
    --------
    >>> star = LabelMetric.from_tree([("hub", "a"), ("hub", "b"), ("hub", "c")])
    >>> locus(star, ["a", "b"]).tolist()
    ['a', 'b', 'hub']
    """
    reached: NDArray[Any] = tree.labels[locus_places(tree, observed)]
    return reached


def next_class(tree: LabelMetric, observed: ArrayLike) -> Any:
    """The label to observe next so that most can be predicted: the farthest from the `locus`, and its distance.

    Returns
    -------
    label : str or int, or None where all can be predicted already
        Of equally far ones the smallest.

    Examples
    --------
    >>> next_class(LabelMetric.from_tree([(1, 2), (2, 3), (3, 4)]), observed=[1])
    4
    """
    reached = locus_places(tree, observed)
    dijkstra = require("scipy.sparse.csgraph", "next_class").dijkstra
    distances = dijkstra(tree._graph, indices=reached, min_only=True)
    farthest = int(distances.argmax())
    return tree.labels[farthest].item() if distances[farthest] > 0 else None


def locus_places(tree: LabelMetric, observed: ArrayLike) -> NDArray[np.int64]:
    """Cut leaves that are not observed until there are none."""
    if not isinstance(tree, LabelMetric) or not tree.is_tree:
        raise InvalidArgumentError(f"tree is {show(tree)}, expected LabelMetric.from_tree(...)")
    keep = np.zeros(len(tree), np.bool_)
    keep[places_of(as_labels(observed, "observed"), tree.labels, "observed")] = True
    starts, neighbours = tree._graph.indptr, tree._graph.indices
    degrees = np.diff(starts)
    inside = np.ones(len(tree), np.bool_)
    leaves = np.flatnonzero((degrees == 1) & ~keep).tolist()
    while leaves:
        leaf = leaves.pop()
        inside[leaf] = False
        for other in neighbours[starts[leaf] : starts[leaf + 1]]:
            degrees[other] -= 1
            if degrees[other] == 1 and inside[other] and not keep[other]:
                leaves.append(int(other))
    return np.flatnonzero(inside)


def euclidean(left: NDArray[np.float32], right: NDArray[np.float32]) -> Distances:
    """Distance of each row of `left` to each of `right`."""
    differences = [np.linalg.norm(right.astype(np.float64) - row, axis=1) for row in left.astype(np.float64)]
    return np.array(differences)


def as_names(labels: ArrayLike | None, n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The labels, sorted, and the order that sorts them."""
    names = np.arange(n) if labels is None else as_labels(labels, "labels", n=n)
    order = np.argsort(names, kind="stable")
    if (twice := names[order][1:] == names[order][:-1]).any():
        raise InvalidArgumentError(f"labels hold {show(names[order][1:][twice].tolist()[0])} twice, expected each once")
    return names[order], order


def warn_of_triangles(matrix: Distances) -> None:
    """Say where the way by a third label is shorter."""
    slack = 1e-9 * matrix.max()
    for pivot in np.unique(np.linspace(0, len(matrix) - 1, PIVOTS).astype(int)):
        detour = matrix[:, pivot, None] + matrix[pivot]
        if (shorter := matrix > detour + slack).any():
            i, j = np.argwhere(shorter)[0]
            warnings.warn(
                f"D[{i}, {j}] is {matrix[i, j]:g}, but by way of {pivot} it is {detour[i, j]:g}: D is no metric",
                stacklevel=3,
            )
            return
