"""Latent label shift: classes that nobody labelled, found by how often they occur in each of several domains."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._extras import require
from .._validate import as_array, as_choice, as_count
from ..classify import KNNClassifier
from ..classify._base import Estimator, check_embeddings, check_training, places_of
from ..evaluation._labels import as_labels
from ..exceptions import InvalidArgumentError

__all__ = ["LatentLabelShift", "unmix"]

Self = TypeVar("Self", bound="LatentLabelShift")
Matrix = NDArray[np.float64]


class LatentLabelShift(Estimator):
    """Tell classes apart that look alike to a clustering but are mixed differently in each domain (DDFA).

    1. A discriminator says of each row how likely it is of each domain.
    2. Rows with about the same answer make a cell.
    3. How often cells occur in domains is factorised into how often they occur in classes, and classes in domains.
    4. With the latter, a row's answer to "which domain" becomes one to "which class".

    Parameters
    ----------
    n_classes : int
        At most the number of domains.
    n_cells : int, optional
        Default: twice the classes or as many as domains, whichever is more.
    discriminator : {"logreg", "knn"}, default "logreg"
        Logistic regression of scikit-learn, or `KNNClassifier`; domains count the same, whatever their size.
    n_neighbors : int, default 50
        Of the latter.
    nmf_init : {"anchors", "random"}, default "anchors"
        See `unmix`.
    n_restarts : int, default 10
        Of ``"random"``.
    project : {"clip", "simplex"}, default "clip"
        How probabilities below 0 are mended: set to 0, or the nearest distribution taken.
    random_state : int, optional

    Attributes
    ----------
    class_prior_ : ndarray, shape (n_classes, n_domains), float64
        How often each class occurs in each domain; columns sum to 1. Which number a class gets is arbitrary.
    cell_given_class_ : ndarray, shape (n_cells, n_classes), float64
        Columns sum to 1.
    domains_ : ndarray, shape (n_domains,)
        Sorted.

    Notes
    -----
    It works where each class has a cell of its own (an anchor) and the mixtures of the domains differ enough:
    `condition_` is the condition number of `class_prior_`, errors grow with it.

    References
    ----------
    Roberts et al., *Unsupervised Learning under Latent Label Shift*, NeurIPS 2022 (arXiv:2207.13179).
    """

    def __init__(
        self,
        n_classes: int,
        *,
        n_cells: int | None = None,
        discriminator: Literal["logreg", "knn"] = "logreg",
        n_neighbors: int = 50,
        nmf_init: Literal["anchors", "random"] = "anchors",
        n_restarts: int = 10,
        project: Literal["clip", "simplex"] = "clip",
        random_state: int | None = None,
    ) -> None:
        self.n_classes = n_classes
        self.n_cells = n_cells
        self.discriminator = discriminator
        self.n_neighbors = n_neighbors
        self.nmf_init = nmf_init
        self.n_restarts = n_restarts
        self.project = project
        self.random_state = random_state

    def fit(self: Self, X: ArrayLike, domains: ArrayLike) -> Self:
        """Learn how classes are mixed.

        Parameters
        ----------
        X : array_like, shape (n, dim), or Collection
        domains : array_like, shape (n,), strings or integers
            Where each row comes from; for a collection also the name of a column.

        Raises
        ------
        InvalidArgumentError
            Settings or data that cannot be used; fewer domains than classes; domains that do not differ.
        """
        as_choice(self.discriminator, "discriminator", ("logreg", "knn"))
        as_choice(self.project, "project", ("clip", "simplex"))
        rows, names, codes = check_training(X, domains)
        if len(names) < max(as_count(self.n_classes, "n_classes"), 2):
            raise InvalidArgumentError(
                f"domains are {len(names)}, expected at least {max(self.n_classes, 2)}: as many as classes, and two"
            )
        n_cells = as_count(self.n_cells or max(2 * self.n_classes, len(names)), "n_cells")
        self.domains_, self.n_features_in_ = names, rows.shape[1]
        self._counts = np.bincount(codes)
        self._discriminator = self._new_discriminator(len(rows)).fit(rows, codes)
        told = self._tell(rows, own=True)
        kmeans = require("sklearn.cluster", "LatentLabelShift").KMeans
        cells = kmeans(n_cells, n_init=5, max_iter=100, random_state=self.random_state).fit_predict(told)
        counts = np.zeros((n_cells, len(names)))
        np.add.at(counts, (cells, codes), 1)
        self.cell_given_class_, self.class_prior_ = unmix(
            counts[counts.any(axis=1)] / self._counts,
            self.n_classes,
            init=self.nmf_init,
            n_restarts=self.n_restarts,
            random_state=self.random_state,
        )
        self.condition_ = float(np.linalg.cond(self.class_prior_))
        return self

    def predict_proba(self, X: ArrayLike, domains: ArrayLike | None = None) -> Matrix:
        """How likely each row is of each class, shape (n, n_classes); more is known where its domain is."""
        self.check_fitted()
        rows = check_embeddings(X, dim=self.n_features_in_)
        domain_given_class = (self.class_prior_ / self.class_prior_.sum(axis=1, keepdims=True)).T
        shares = class_given_domain(self._tell(rows), domain_given_class, self.project)
        if domains is not None:
            codes = places_of(as_labels(domains, "domains", n=len(rows)), self.domains_, "domains")
            shares = normalised(shares * domain_given_class[codes])
        return shares

    def predict(self, X: ArrayLike, domains: ArrayLike | None = None) -> NDArray[np.int64]:
        """The likeliest class of each row, 0 to ``n_classes - 1``, shape (n,)."""
        classes: NDArray[np.int64] = self.predict_proba(X, domains).argmax(axis=1)
        return classes

    def _new_discriminator(self, n: int) -> Any:
        if self.discriminator == "knn":
            return KNNClassifier(min(as_count(self.n_neighbors, "n_neighbors"), n - 1), weights="uniform", metric="l2")
        model = require("sklearn.linear_model", "LatentLabelShift").LogisticRegression
        return model(max_iter=1000, class_weight="balanced")

    def _tell(self, rows: NDArray[np.float32], *, own: bool = False) -> Matrix:
        """How likely each row is of each domain, if all are equally large; training rows do not vote for themselves."""
        if self.discriminator == "logreg":
            return np.asarray(self._discriminator.predict_proba(rows), np.float64)
        votes = self._discriminator.predict_proba(None if own else rows)
        return normalised(votes / self._counts)


def unmix(
    cell_domain_matrix: ArrayLike,
    n_classes: int,
    *,
    init: Literal["anchors", "random"] = "anchors",
    n_restarts: int = 10,
    random_state: int | None = None,
) -> tuple[Matrix, Matrix]:
    """Factorise how often cells occur in domains: in classes, times classes in domains.

    Parameters
    ----------
    cell_domain_matrix : array_like, shape (n_cells, n_domains)
        Columns sum to 1.
    n_classes : int
        At most the number of cells and of domains.
    init : {"anchors", "random"}, default "anchors"
        ``"anchors"``: find for each class the cell that holds nothing else, by successive projections; exact where
        there is one. ``"random"``: factorisation into non-negative matrices from random starts (scikit-learn).
    n_restarts : int, default 10
        Of ``"random"``; the one with the least error is kept.
    random_state : int, optional

    Returns
    -------
    cell_given_class : ndarray, shape (n_cells, n_classes)
    class_given_domain : ndarray, shape (n_classes, n_domains)
        Columns of both sum to 1.

    Raises
    ------
    InvalidArgumentError
        A cell that no domain has, columns that do not sum to 1, fewer cells or domains than classes, or domains whose
        cells do not differ enough: then classes cannot be told apart.

    Examples
    --------
    >>> import numpy as np
    >>> C, W = np.array([[0.7, 0], [0.3, 0.2], [0, 0.8]]), np.array([[0.9, 0.4], [0.1, 0.6]])
    >>> cells, mixture = unmix(C @ W, 2)
    >>> mixture[np.argsort(-mixture[:, 0])].round(3).tolist()
    [[0.9, 0.4], [0.1, 0.6]]
    """
    table = as_array(cell_domain_matrix, "cell_domain_matrix").astype(np.float64)
    if table.ndim != 2 or not table.size or not (table >= 0).all() or not np.allclose(table.sum(axis=0), 1, atol=1e-3):
        raise InvalidArgumentError(f"cell_domain_matrix of shape {table.shape}: expected shares, columns that sum to 1")
    if not (present := table.any(axis=1)).all():
        raise InvalidArgumentError(f"cell_domain_matrix[{int(present.argmin())}] is zero, expected cells that occur")
    if as_count(n_classes, "n_classes") > min(table.shape):
        raise InvalidArgumentError(f"n_classes is {n_classes}, expected at most {min(table.shape)}: cells and domains")
    if (rank := np.linalg.matrix_rank(table, tol=1e-8)) < n_classes:
        raise InvalidArgumentError(f"cell_domain_matrix has rank {rank}, expected {n_classes}: domains are too alike")
    as_choice(init, "init", ("anchors", "random"))
    if init == "anchors":
        C, W = by_anchors(table, n_classes)
    else:
        C, W = by_descent(table, n_classes, as_count(n_restarts, "n_restarts"), random_state)
    sizes = C.sum(axis=0)
    return C / sizes, (mixture := W * sizes[:, None]) / mixture.sum(axis=0)


def by_anchors(table: Matrix, n_classes: int) -> tuple[Matrix, Matrix]:
    """Rows of cells that only one class has are the corners of all rows; the rest follows by least squares."""
    nnls = require("scipy.optimize", "unmix").nnls
    rest = table / table.sum(axis=1, keepdims=True)
    corners = []
    for _ in range(n_classes):
        corners.append(int(np.square(rest).sum(axis=1).argmax()))
        direction = rest[corners[-1]] / np.linalg.norm(rest[corners[-1]])
        rest = rest - np.outer(rest @ direction, direction)
    W = table[corners]
    return np.array([nnls(W.T, row)[0] for row in table]), W


def by_descent(table: Matrix, n_classes: int, n_restarts: int, random_state: int | None) -> tuple[Matrix, Matrix]:
    """The best of several non-negative factorisations."""
    decomposition: Any = require("sklearn.decomposition", "unmix").NMF
    seeds = np.random.default_rng(random_state).integers(2**31, size=n_restarts)
    found = []
    for seed in seeds:
        nmf = decomposition(n_classes, init="random", max_iter=5000, tol=1e-8, random_state=int(seed))
        C = nmf.fit_transform(table)
        found.append((nmf.reconstruction_err_, C, nmf.components_))
    _, C, W = min(found, key=lambda run: run[0])
    return C, W


def class_given_domain(told: Matrix, domain_given_class: Matrix, project: str) -> Matrix:
    """p(class | row) from p(domain | row) and p(domain | class), (n_domains, n_classes): the pseudo-inverse."""
    shares = told @ np.linalg.pinv(domain_given_class).T
    return normalised(np.maximum(shares, 0)) if project == "clip" else on_simplex(shares)


def normalised(shares: Matrix) -> Matrix:
    """Rows divided by their sums; a row of zeros becomes even."""
    sums = shares.sum(axis=1, keepdims=True)
    even: Matrix = np.where(sums > 0, shares / np.where(sums > 0, sums, 1), 1 / shares.shape[1])
    return even


def on_simplex(rows: Matrix) -> Matrix:
    """The distribution that is nearest to each row."""
    ordered = -np.sort(-rows, axis=1)
    excess = (ordered.cumsum(axis=1) - 1) / np.arange(1, rows.shape[1] + 1)
    n_positive = (ordered > excess).sum(axis=1)
    nearest: Matrix = np.maximum(rows - excess[np.arange(len(rows)), n_positive - 1, None], 0)
    return nearest
