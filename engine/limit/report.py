"""One page on what an embedding can still tell apart: measured, beside baselines, theory and the published numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_choice, as_count, as_matrix, as_path
from ..exact import topk
from ..exceptions import InvalidArgumentError, StorageError, UnsupportedError
from ..protocols import Encoder
from .baselines import RandomAdditive, RandomMaxSim
from .bounds import dimension_lower_bound, max_margin
from .constructions import cyclic_embedding
from .critical import CRITICAL_N, CriticalN, critical_n
from .dataset import LimitDataset, make_limit_dataset
from .evaluate import evaluate
from .patterns import average_query_strength, graph_density, make_qrels
from .published import CURVES
from .realizable import realizable_subsets
from .words import BM25, SparseWords

__all__ = ["CapacityReport", "ReportRow", "capacity_report"]

Matrix = NDArray[np.float32]
DIMS = (32, 64, 128, 256, 512, 1024, 2048)
MARGIN = 0.1  # of the bound that is printed
MAXSIM_DIM = 32
SMALL = 46  # documents of LIMIT-small, whose published curves are drawn


@dataclass(frozen=True, slots=True)
class ReportRow:
    """Recall of one retriever.

    Attributes
    ----------
    name : str
    dim : int
        0 where it has none.
    recall : dict of str to float
        As `evaluate` gives it.
    """

    name: str
    dim: int
    recall: dict[str, float]


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """What `capacity_report` found; prints as a page.

    Attributes
    ----------
    rows : tuple of ReportRow
        The embedding at each dimension, then the baselines.
    n_docs, n_queries, k, dim : int
        Of the data set (`k` is the most relevant documents of a query), and of the embedding.
    density, strength : float
        `graph_density` and `average_query_strength` of the data set.
    realizable : float or None
        Share of sets of `k` documents that some vector could find among these documents; None without scipy.
    n_realizable : int
        Sets that were looked at.
    bound : int
        Dimensions that a margin of 0.1 needs at least for all sets of `k` of so many documents.
    margin : float
        The largest margin that unit vectors of any dimension can have for them.
    precision : dict of str to float
        Share of all pairs of 46 documents on the moment curve in 4 dimensions that a search of vectors in float32 and
        in float16 finds, and how many still have the larger scores where sums are rounded to float16, too.
    critical : dict of int to CriticalN
        Largest n that free embeddings of each dimension solved here.
    """

    rows: tuple[ReportRow, ...]
    n_docs: int
    n_queries: int
    k: int
    dim: int
    density: float
    strength: float
    realizable: float | None
    n_realizable: int
    bound: int
    margin: float
    precision: dict[str, float]
    critical: dict[int, CriticalN]

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["rows"] = [{"name": row.name, "dim": row.dim, **row.recall} for row in self.rows]
        plain["critical"] = {
            str(d): {"n": found.n, "published": CRITICAL_N.get(d), "exhausted": found.exhausted}
            for d, found in self.critical.items()
        }
        return plain

    def __str__(self) -> str:
        cuts = list(self.rows[0].recall)
        width = max(len(row.name) for row in self.rows)
        lines = [
            f"{self.n_docs} documents, {self.n_queries} queries, up to {self.k} relevant documents a query, "
            f"density {self.density:.4f}, average query strength {self.strength:.4f}",
            "",
            f"{'retriever':<{width}}   dim  {'  '.join(cuts)}",
        ]
        for row in self.rows:
            cells = "  ".join(f"{100 * row.recall[cut]:{len(cut)}.2f}" for cut in cuts)
            lines.append(f"{row.name:<{width}}  {row.dim or '-':>4}  {cells}")
        if self.realizable is not None:
            lines += [
                "",
                f"{100 * self.realizable:.1f} % of {self.n_realizable} sets of {self.k} documents are the top {self.k} "
                "of some query vector: dimension is not why they are missed",
            ]
        lines += [
            "",
            f"a margin of {MARGIN} for all sets of {self.k} needs at least {self.bound} dimensions; the largest margin "
            f"in any dimension is {self.margin:.3f}; without a margin {2 * self.k} dimensions are enough",
            "all pairs of 46 documents on the moment curve, 4 dimensions: "
            + ", ".join(f"{name} finds {100 * share:.1f} %" for name, share in self.precision.items()),
        ]
        for d, found in self.critical.items():
            n = f"{'at least ' if found.reached_most else ''}{found.n}"
            lines.append(
                f"free embeddings of {d} dimensions: all pairs of {n} documents"
                f" (published: {CRITICAL_N.get(d, '-')})" + (", out of time" if found.exhausted else "")
            )
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw recall by dimension beside the published curves, and critical n beside the published table.

        Parameters
        ----------
        path : path_like
            Its ending names the format, such as ``.png``.

        Raises
        ------
        UnsupportedError
            matplotlib is not installed.
        StorageError
            The file cannot be written.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise UnsupportedError(f"the plot needs matplotlib ({error}): pip install 'nearfield[plot]'") from error
        figure = Figure(figsize=(12, 5), layout="constrained")
        left, right = figure.subplots(1, 2)
        cut = min(self.rows[0].recall, key=lambda name: int(name.partition("@")[2]))
        comparable = cut == "recall@2" and self.n_docs == SMALL
        for name, curve in CURVES.items() if comparable else ():
            left.plot(list(curve), list(curve.values()), linewidth=0.8, linestyle=":", label=f"{name} (published)")
        for name in dict.fromkeys(row.name for row in self.rows):
            points = [(row.dim, 100 * row.recall[cut]) for row in self.rows if row.name == name]
            if points[0][0]:
                left.plot(*zip(*points, strict=True), marker="o", label=name)
            else:
                left.axhline(points[0][1], color="black", linewidth=0.8, label=name)
        left.set(xscale="log", xlabel="dimension", ylabel=f"{cut}, %", title=f"{self.n_docs} documents")
        right.plot(list(CRITICAL_N), list(CRITICAL_N.values()), linestyle=":", label="published")
        if self.critical:
            found = {d: one.n for d, one in self.critical.items()}
            right.plot(list(found), list(found.values()), marker="o", linestyle="", label="here")
        right.set(yscale="log", xlabel="dimension", ylabel="critical n, k = 2", title="free embeddings")
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.legend(fontsize="small", framealpha=0.6)
        try:
            figure.savefig(as_path(path), dpi=130)
        except OSError as error:
            raise StorageError(error.errno, f"cannot write plot: {error.strerror}", str(path)) from error


def capacity_report(
    embedding: Encoder | tuple[ArrayLike, ArrayLike],
    dataset: LimitDataset | None = None,
    *,
    dims: Sequence[int | None] | None = None,
    ks: Sequence[int] = (2, 10, 20),
    truncate: Literal["matryoshka", "random"] = "matryoshka",
    critical_dims: Sequence[int] = (),
    n_samples: int = 2000,
    time_limit: float = 30,
    random_state: int = 42,
) -> CapacityReport:
    """Measure how many sets of documents an embedding tells apart, at several dimensions, beside baselines and theory.

    Parameters
    ----------
    embedding : encoder or (queries, documents)
        An encoder of texts, or its embeddings of the queries and documents of `dataset`.
    dataset : LimitDataset, optional
        Default: a made-up one of the size of LIMIT-small.
    dims : sequence of int or None, optional
        None is the full dimension. Default: 32, 64, ... and the full one.
    ks : sequence of int, default (2, 10, 20)
    truncate : {"matryoshka", "random"}, default "matryoshka"
        How dimensions are left out: the first ones are kept, or random directions.
    critical_dims : sequence of int, optional
        Dimensions for which `critical_n` runs too.
    n_samples : int, default 2000
        Sets of documents that `realizable_subsets` looks at.
    time_limit : float, default 30
        Seconds for `realizable_subsets`, and again for all of `critical_dims`.
    random_state : int, default 42

    Returns
    -------
    CapacityReport

    Raises
    ------
    InvalidArgumentError
        Dimensions above the embedding's, embeddings of other texts, NaN.

    Examples
    --------
    >>> from engine.limit import RandomAdditive, make_limit_dataset
    >>> data = make_limit_dataset(12, 40, n_attributes_per_doc=8)
    >>> report = capacity_report(RandomAdditive(data, 64), data, dims=(16, None))
    >>> [(row.name, row.dim) for row in report.rows]
    [('embedding', 16), ('embedding', 64), ('random additive', 16), ('random additive', 64), ('MaxSim', 32),
     ('sparse words', 0), ('BM25', 0)]
    """
    as_choice(truncate, "truncate", ("matryoshka", "random"))
    data = make_limit_dataset(random_state=random_state) if dataset is None else dataset
    queries, documents = embedded(embedding, data)
    full = documents.shape[1]
    widths = as_dims(dims, full)
    if truncate == "random":
        turn = np.linalg.qr(np.random.default_rng(random_state).standard_normal((full, full)))[0].astype(np.float32)
        queries, documents = queries @ turn, documents @ turn

    k = data.qrels.shape[1]
    rows = [ReportRow("embedding", d, evaluate(data, (queries[:, :d], documents[:, :d]), ks)) for d in widths]
    if data.doc_attributes:
        rows += [
            ReportRow("random additive", d, evaluate(data, RandomAdditive(data, d, random_state), ks)) for d in widths
        ]
        rows.append(ReportRow("MaxSim", MAXSIM_DIM, evaluate(data, RandomMaxSim(data, MAXSIM_DIM, random_state), ks)))
    rows.append(ReportRow("sparse words", 0, evaluate(data, SparseWords(data.documents), ks)))
    rows.append(ReportRow("BM25", 0, evaluate(data, BM25(data.documents), ks)))
    try:
        audit = realizable_subsets(documents, k, n_samples=n_samples, time_limit=time_limit, random_state=random_state)
    except UnsupportedError:
        audit = None
    n = len(documents)
    return CapacityReport(
        rows=tuple(rows),
        n_docs=n,
        n_queries=len(queries),
        k=k,
        dim=full,
        density=graph_density(data.qrels),
        strength=average_query_strength(data.qrels),
        realizable=None if audit is None else audit.fraction,
        n_realizable=0 if audit is None else len(audit.mask),
        bound=dimension_lower_bound(n, k, MARGIN),
        margin=max_margin(n, k),
        precision={
            "float32": found_on_the_curve(np.float32),
            "float16": found_on_the_curve(np.float16),
            "float16 with sums in float16": told_apart_in_half(),
        },
        critical={d: critical_n(d, time_limit=time_limit / len(critical_dims)) for d in critical_dims},
    )


def embedded(embedding: Any, data: LimitDataset) -> tuple[Matrix, Matrix]:
    """Embeddings of the queries and of the documents."""
    if isinstance(embedding, tuple) and len(embedding) == 2:
        queries, documents = embedding
    elif isinstance(embedding, Encoder):
        queries = embedding.encode_queries(list(data.queries.values()))
        documents = embedding.encode_documents(data.documents)
    else:
        kind = type(embedding).__name__
        raise InvalidArgumentError(f"embedding is a {kind}, expected an encoder or a pair (queries, documents)")
    base = as_matrix(documents, "document embeddings")
    return as_matrix(queries, "query embeddings", dim=base.shape[1]), base


def as_dims(dims: Sequence[int | None] | None, full: int) -> list[int]:
    """Dimensions to look at, each once, in order."""
    given = [d for d in (*DIMS, full) if d <= full] if dims is None else dims
    widths = sorted({full if d is None else as_count(d, "dims") for d in given})
    if not widths or widths[-1] > full:
        raise InvalidArgumentError(f"dims is {dims}, expected numbers from 1 to {full}: the dim of the embedding")
    return widths


def found_on_the_curve(dtype: Any) -> float:
    """Share of all pairs of 46 documents in 4 dimensions that a search over vectors of `dtype` finds."""
    embedding, pairs = cyclic_embedding(46, 2), make_qrels(46)
    found = topk(embedding.query(pairs).astype(dtype), embedding.documents.astype(dtype), 2).ids
    return float((np.sort(found, axis=1) == pairs).all(axis=1).mean())


def told_apart_in_half() -> float:
    """Share of these pairs whose scores, summed and kept in float16, are all above those of other documents."""
    embedding, pairs = cyclic_embedding(46, 2), make_qrels(46)
    scores = embedding.query(pairs).astype(np.float16) @ embedding.documents.astype(np.float16).T
    own = np.take_along_axis(scores, pairs, axis=1).min(axis=1)
    np.put_along_axis(scores, pairs, np.float16(-np.inf), axis=1)
    return float((own > scores.max(axis=1)).mean())
