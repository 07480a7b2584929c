"""Novel class discovery: clusters among unlabelled rows, beside classes that are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from .._validate import as_choice, as_count, as_matrix
from ..classify._base import Estimator, as_amount, as_share, check_embeddings, check_training, class_sums
from ..evaluation._labels import as_labels
from ..exact import topk
from ..exceptions import InvalidArgumentError

__all__ = ["NCDKMeans", "NCDSpectralClustering", "estimate_n_classes", "hidden_class_folds"]

KMeans = TypeVar("KMeans", bound="NCDKMeans")
Spectral = TypeVar("Spectral", bound="NCDSpectralClustering")
Rows = NDArray[np.float64]
DENSE = 20_000  # rows whose affinities still fit into memory


class NCDKMeans(Estimator):
    """k-means that knows some of the classes: new centroids are sought away from those, which stay where they are.

    Parameters
    ----------
    n_new_clusters : int
    n_init : int, default 10
        Starts; the one with the least inertia is kept.
    max_iter : int, default 1000
    tol : float, default 1e-10
        Stop when the squared sum of what the centroids moved falls below.
    seeding : {"squared", "linear"}, default "squared"
        A row becomes a first centroid with a chance proportional to its squared distance from the nearest centroid,
        known or new, as k-means++ has it; or to the distance, as the authors' code has it.
    update : {"unlabeled", "labeled", "both"}, default "unlabeled"
        Of which rows new centroids are the means: of the unlabelled ones; of the known rows nearest to them; of both.
    random_state : int, optional

    Attributes
    ----------
    labels_ : ndarray, shape (n,), int64
        New cluster of each unlabelled row.
    cluster_centers_ : ndarray, shape (n_new_clusters, dim), float32
    known_centers_ : ndarray, shape (n_known, dim), float32
        Means of the known classes.
    inertia_ : float
        Sum of the squared distances of unlabelled rows to their centroids.

    References
    ----------
    Troisemaine et al., *A Practical Approach to Novel Class Discovery in Tabular Data*, DMKD 2024 (arXiv:2311.05440).

    Examples
    --------
    >>> import numpy as np
    >>> from engine.discovery import NCDKMeans
    >>> rows = [[0, 0], [0, 1], [9, 9], [9, 8]]
    >>> ncd = NCDKMeans(2, random_state=0).fit(rows, [[5, 5], [5, 4]], ["known", "known"])
    >>> [sorted(np.flatnonzero(ncd.labels_ == ncd.labels_[row]).tolist()) for row in (0, 2)]
    [[0, 1], [2, 3]]
    """

    def __init__(
        self,
        n_new_clusters: int,
        *,
        n_init: int = 10,
        max_iter: int = 1000,
        tol: float = 1e-10,
        seeding: Literal["squared", "linear"] = "squared",
        update: Literal["unlabeled", "labeled", "both"] = "unlabeled",
        random_state: int | None = None,
    ) -> None:
        self.n_new_clusters = n_new_clusters
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.seeding = seeding
        self.update = update
        self.random_state = random_state

    def fit(self: KMeans, X_unlabeled: ArrayLike, X_known: ArrayLike | None = None, y_known: Any = None) -> KMeans:
        """Find the new clusters.

        Parameters
        ----------
        X_unlabeled : array_like, shape (n, dim), or Collection
            Rows of new classes.
        X_known, y_known : array_like, shape (n_known, dim) and (n_known,), optional
            Rows of known classes. Without them this is k-means.

        Raises
        ------
        InvalidArgumentError
            Settings, vectors or labels that cannot be used; more clusters than rows.
        """
        self._check_settings()
        rows = check_embeddings(X_unlabeled, "X_unlabeled")
        known, centers = known_centers(X_known, y_known, rows.shape[1])
        if self.n_new_clusters > len(rows):
            raise InvalidArgumentError(f"n_new_clusters is {self.n_new_clusters}, expected at most {len(rows)} rows")
        rng = np.random.default_rng(self.random_state)
        runs = [self._run(rows, known, centers, rng) for _ in range(self.n_init)]
        self.inertia_, self.cluster_centers_, self.labels_ = min(runs, key=lambda run: run[0])
        self.known_centers_, self.n_features_in_ = centers, rows.shape[1]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The nearest of the new centroids, shape (n,)."""
        self.check_fitted()
        return nearest(check_embeddings(X, dim=self.n_features_in_), self.cluster_centers_)[0]

    def _check_settings(self) -> None:
        for name in ("n_new_clusters", "n_init", "max_iter"):
            as_count(getattr(self, name), name)
        as_amount(self.tol, "tol")
        as_choice(self.seeding, "seeding", ("squared", "linear"))
        as_choice(self.update, "update", ("unlabeled", "labeled", "both"))

    def _run(
        self, rows: NDArray[np.float32], known: NDArray[np.float32], centers: NDArray[np.float32], rng: Any
    ) -> tuple[float, NDArray[np.float32], NDArray[np.int64]]:
        """One start: inertia, centroids, and the cluster of each row."""
        new = self._seed(rows, centers, rng)
        for _ in range(self.max_iter):
            taught = self._taught_by(rows, known, centers, new)
            labels = nearest(taught, new)[0] if len(taught) else np.empty(0, np.int64)
            counts = np.bincount(labels, minlength=len(new))[:, None]
            # An empty cluster keeps its centroid.
            moved = np.where(counts > 0, class_sums(taught, labels, len(new)) / np.maximum(counts, 1), new)
            step = np.linalg.norm(moved - new, axis=1).sum() ** 2
            new = as_matrix(moved, "X")
            if step < self.tol:
                break
        labels, distances = nearest(rows, new)
        return float(distances.sum(dtype=np.float64)), new, labels

    def _seed(self, rows: NDArray[np.float32], centers: NDArray[np.float32], rng: Any) -> NDArray[np.float32]:
        """First centroids: rows that are far from each other and from what is known."""
        squares = nearest(rows, centers)[1].astype(np.float64) if len(centers) else None
        chosen = []
        for _ in range(self.n_new_clusters):
            chances = None if squares is None else squares if self.seeding == "squared" else np.sqrt(squares)
            if chances is not None:
                chances = chances / chances.sum() if chances.any() else None
            chosen.append(int(rng.choice(len(rows), p=chances)))
            new = nearest(rows, rows[chosen[-1:]])[1].astype(np.float64)
            squares = new if squares is None else np.minimum(squares, new)
        return rows[chosen]

    def _taught_by(
        self,
        rows: NDArray[np.float32],
        known: NDArray[np.float32],
        centers: NDArray[np.float32],
        new: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """The rows whose means the new centroids are."""
        if self.update == "unlabeled" or not len(known):
            return rows
        strays = known[nearest(known, np.concatenate([centers, new]))[0] >= len(centers)]
        return strays if self.update == "labeled" else np.concatenate([rows, strays])


class NCDSpectralClustering(Estimator):
    """Spectral clustering that knows some of the classes: `NCDKMeans` on the eigenvectors of the neighbourhood graph.

    Parameters
    ----------
    n_new_clusters : int
    n_components : int, optional
        Eigenvectors to use. Default: as many as there are classes, known and new.
    min_dist : float in (0, 1), default 0.5
        Sets the width of the affinity ``exp(-d² / (2 sigma²))`` by the minimum spanning tree: along its longest edge
        the affinity is ``sqrt(min_dist)``.
    n_init : int, default 10
    random_state : int, optional

    Attributes
    ----------
    labels_ : ndarray, shape (n,), int64
        New cluster of each unlabelled row.
    sigma_ : float
    embedding_ : ndarray, shape (n + n_known, n_components), float64
        Unlabelled rows, then known ones.

    Notes
    -----
    The default `min_dist` makes a wide neighbourhood: where classes are long and close to each other, such as the two
    moons, far smaller ones (1e-4) tell them apart. All affinities are in memory at once: up to 20,000 rows. Needs
    scipy, which comes with the extra "sklearn".

    References
    ----------
    Troisemaine et al., *A Practical Approach to Novel Class Discovery in Tabular Data*, DMKD 2024 (arXiv:2311.05440).
    """

    def __init__(
        self,
        n_new_clusters: int,
        *,
        n_components: int | None = None,
        min_dist: float = 0.5,
        n_init: int = 10,
        random_state: int | None = None,
    ) -> None:
        self.n_new_clusters = n_new_clusters
        self.n_components = n_components
        self.min_dist = min_dist
        self.n_init = n_init
        self.random_state = random_state

    def fit(self: Spectral, X_unlabeled: ArrayLike, X_known: ArrayLike | None = None, y_known: Any = None) -> Spectral:
        """Find the new clusters; parameters as for `NCDKMeans.fit`.

        Raises
        ------
        InvalidArgumentError
            Settings or data that cannot be used, more components than rows, rows that are all the same, or more rows
            than affinities can be kept of.
        """
        as_count(self.n_new_clusters, "n_new_clusters")
        rows = check_embeddings(X_unlabeled, "X_unlabeled")
        known, centers = known_centers(X_known, y_known, rows.shape[1])
        every = np.concatenate([rows, known]).astype(np.float64)
        if len(every) > DENSE:
            size = len(every) ** 2 * 8 / 2**30
            raise InvalidArgumentError(f"{len(every)} rows take {size:.1f} GiB of affinities, expected at most {DENSE}")
        n_components = as_count(self.n_components or self.n_new_clusters + len(centers), "n_components")
        if n_components + 1 > len(every):
            raise InvalidArgumentError(f"n_components is {n_components}, expected fewer than the {len(every)} rows")
        squares = squared_distances(every)
        self.sigma_ = spanning_sigma(squares, self.min_dist)
        self.embedding_ = spectral_embedding(np.exp(-squares / (2 * self.sigma_**2)), n_components)
        new, old = self.embedding_[: len(rows)], self.embedding_[len(rows) :]
        kmeans = NCDKMeans(self.n_new_clusters, n_init=self.n_init, random_state=self.random_state)
        self.labels_ = kmeans.fit(new, old if len(old) else None, y_known if len(old) else None).labels_
        self.n_features_in_ = rows.shape[1]
        return self


def estimate_n_classes(
    X: ArrayLike,
    *,
    k_min: int = 2,
    k_max: int = 30,
    criterion: Literal["silhouette", "davies_bouldin", "calinski_harabasz"] = "silhouette",
    n_runs: int = 3,
    random_state: int | None = None,
) -> tuple[int, dict[int, float]]:
    """How many classes there are: the number of clusters that k-means separates best.

    Parameters
    ----------
    X : array_like, shape (n, dim), or Collection
    k_min, k_max : int, default 2 and 30
        Numbers to try; `k_max` below the number of rows.
    criterion : {"silhouette", "davies_bouldin", "calinski_harabasz"}
        Of scikit-learn; the second is better when smaller.
    n_runs : int, default 3
        Runs of k-means that are averaged over.
    random_state : int, optional

    Returns
    -------
    k : int
        The best; of equals the smallest.
    curve : dict of int to float
        The mean criterion for each number.

    Examples
    --------
    >>> import numpy as np
    >>> blobs = np.repeat([[0, 0], [9, 0], [0, 9]], 10, axis=0) + np.random.default_rng(0).random((30, 2))
    >>> estimate_n_classes(blobs, k_max=6, random_state=0)[0]
    3
    """
    rows = check_embeddings(X)
    as_choice(criterion, "criterion", ("silhouette", "davies_bouldin", "calinski_harabasz"))
    if not 2 <= as_count(k_min, "k_min") <= as_count(k_max, "k_max") < len(rows):
        raise InvalidArgumentError(f"k_min is {k_min}, k_max {k_max}, expected 2 <= k_min <= k_max < {len(rows)} rows")
    metrics = require("sklearn.metrics", "estimate_n_classes")
    judge = getattr(metrics, criterion + "_score")
    sign = -1 if criterion == "davies_bouldin" else 1
    seeds = np.random.default_rng(random_state).integers(2**31, size=as_count(n_runs, "n_runs"))
    curve = {}
    for k in range(k_min, k_max + 1):
        runs = [NCDKMeans(k, n_init=1, random_state=int(seed)).fit(rows).labels_ for seed in seeds]
        scores = [judge(rows, labels) for labels in runs if len(np.unique(labels)) > 1]
        curve[k] = float(np.mean(scores)) if scores else float("nan")
    known = {k: sign * score for k, score in curve.items() if np.isfinite(score)}
    if not known:
        raise InvalidArgumentError("X falls into one cluster only: all rows are the same")
    return max(known, key=lambda k: known[k]), curve


def hidden_class_folds(y: ArrayLike, n_folds: int, *, random_state: int | None = None) -> Iterator[NDArray[np.bool_]]:
    """Masks of rows whose known classes are to be hidden, to tune on how well they are found again.

    Parameters
    ----------
    y : array_like, shape (n,)
        Known classes.
    n_folds : int
        From 2 to the number of classes; each class is hidden in one fold.
    random_state : int, optional
        Draws the folds. Default: classes in sorted order.

    Yields
    ------
    ndarray of bool, shape (n,)
        True for rows to hide.

    Examples
    --------
    >>> [mask.tolist() for mask in hidden_class_folds(["a", "b", "a", "c"], 3)]
    [[True, False, True, False], [False, True, False, False], [False, False, False, True]]
    """
    labels = as_labels(y)
    classes = np.unique(labels)
    if not 2 <= as_count(n_folds, "n_folds") <= len(classes):
        raise InvalidArgumentError(f"n_folds is {n_folds}, expected 2 to {len(classes)}: the number of classes")
    if random_state is not None:
        classes = np.random.default_rng(random_state).permutation(classes)
    for hidden in np.array_split(classes, n_folds):
        yield np.isin(labels, hidden)


def known_centers(X: Any, y: Any, dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows of known classes, and the mean of each class; both empty without."""
    if X is None and y is None:
        return np.empty((0, dim), np.float32), np.empty((0, dim), np.float32)
    if X is None or y is None:
        raise InvalidArgumentError("X_known and y_known: one is None, expected rows and their classes")
    rows, classes, codes = check_training(X, y, dim=dim)
    return rows, as_matrix(class_sums(rows, codes, len(classes)) / np.bincount(codes)[:, None], "X_known")


def nearest(rows: NDArray[np.float32], centers: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest of `centers` for each row, and the squared distance."""
    found = topk(rows, centers, 1, metric="l2")
    return found.ids[:, 0], found.distances[:, 0]


def squared_distances(rows: Rows) -> Rows:
    """Between all rows, (n, n)."""
    norms = np.square(rows).sum(axis=1)
    squares: Rows = np.maximum(norms[:, None] + norms - 2 * rows @ rows.T, 0)
    np.fill_diagonal(squares, 0)
    return squares


def spanning_sigma(squares: Rows, min_dist: float) -> float:
    """The width with which the longest edge of the minimum spanning tree has the affinity ``sqrt(min_dist)``."""
    if not 0 < as_share(min_dist, "min_dist") < 1:
        raise InvalidArgumentError(f"min_dist is {min_dist}, expected a number between 0 and 1")
    graph = require("scipy.sparse.csgraph", "NCDSpectralClustering")
    longest = graph.minimum_spanning_tree(squares).max()  # distances of 0 are no edges, and not the longest
    if not longest > 0:
        raise InvalidArgumentError("X_unlabeled holds the same row over and over: sigma would be 0")
    return float(np.sqrt(-longest / np.log(min_dist)))


def spectral_embedding(affinity: Rows, n_components: int) -> Rows:
    """Eigenvectors of the symmetric normalised Laplacian with the smallest eigenvalues, but for the first."""
    scale = 1 / np.sqrt(affinity.sum(axis=1))
    eigh = require("scipy.linalg", "NCDSpectralClustering").eigh
    laplacian = np.eye(len(affinity)) - scale[:, None] * affinity * scale
    vectors: Rows = eigh(laplacian, subset_by_index=[1, n_components])[1]
    return vectors
