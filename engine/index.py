"""An index: vectors under ids, searched exactly or through a graph."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._graph_options import GRAPH_OPTIONS, graph_options
from ._validate import (
    MAX_DIM,
    as_array,
    as_choice,
    as_count,
    as_finite,
    as_ids,
    as_json,
    as_k,
    as_matrix,
    as_path,
    as_threads,
    refuse_infinite,
    show,
)
from .exact import METRICS, as_bitmap
from .exceptions import CorruptIndexError, InvalidArgumentError
from .types import (
    Calibrated,
    Executor,
    GraphLayout,
    IndexKind,
    Metric,
    Plan,
    RangeResult,
    SearchResult,
    SearchStats,
    VectorDtype,
    together,
)

if TYPE_CHECKING:
    from .storage import Arrays

__all__ = ["Filter", "Index"]

DTYPES = ("float32", "float16", "bfloat16", "int8")
KINDS = ("exact", "graph")
EXECUTORS = ("auto", "exact", "in_filter", "sweep")
UNFILTERED = EXECUTORS[:2]
RECALL = 0.95  # asked for where nothing is
SMALL = 1000  # rows: up to here the core looks at all of them instead of walking
REACHED = 0.999  # the share of its rows that a sound graph can walk to, at least
FORMAT = "nearfield.index"

Filter = ArrayLike | _core.Bitmap


class Index:
    """Vectors under int64 ids, with search, filters, changes and storage.

    Parameters
    ----------
    dim : int
        Length of every vector, 1 to 65,536.
    metric : {"cosine", "ip", "l2"}
        Distances are 1 - cos, minus the inner product, or the squared Euclidean distance: smaller is closer.
    kind : {"exact", "graph"}
        "exact": certified screening. Low-bit codes with a proven error bound rule out nearly all rows, the rest is
        re-scored in float64: the answer is the exact one. "graph": rows are linked to near ones and a search walks
        the links, which takes time that hardly grows with the rows and finds the share of the nearest that `recall`
        asks for. The default is exact because a wrong answer should be asked for, not happen.
    M : int, default 32
        Links a row, 4 to 63; more: better recall, more memory. For "graph" only, like the next two.
    ef_construction : int, default 200
        Rows looked at to link one, 1 to 10,000; more: better links, slower `add`.
    seed : int, default 0
        Of the order in which rows are linked. The same calls with the same seed make the same graph, for any number
        of threads.
    dtype : {"float32", "float16", "bfloat16", "int8"}
        How the vectors are kept. Distances are exact for the vectors as kept. "int8", for a graph only, keeps nothing
        but the codes: about ``dim + 24`` bytes a row, each number in 256 steps of its row's range.
    layout : {"plain", "fast"}
        "fast", for a graph only, keeps 1-bit codes of the neighbours beside each row: ``12 * M + dim * M / 8`` bytes a
        row more, with M rounded up to a multiple of 32. Whether that is faster depends on the data and the machine:
        1.3 to 1.5 times on a processor of Zen 3, not on newer ones (docs/graph.md).
    n_threads : int, optional
        Used by `add` and, where they are not told otherwise, by searches. Default: every core the process may use.

    Attributes
    ----------
    dim, metric, kind, M, ef_construction, seed, layout, dtype
        As given; they cannot be changed. The four of the graph are None where the kind is "exact".
    metadata : dict
        Anything JSON can hold; saved and loaded with the index.

    Notes
    -----
    Any number of threads may search at a time; a change waits for the searches under way, but while a graph links new
    rows searches go on without them. After an error the index is as it was. Beside the vectors it keeps about
    ``dim + 40`` bytes a row, and ``4 * M`` for links. docs/graph.md explains the graph.

    Examples
    --------
    >>> import numpy as np, engine
    >>> index = engine.Index(3, metric="l2")
    >>> index.add([[0, 0, 0], [1, 1, 1], [5, 5, 5]], ids=[10, 20, 30]).tolist()
    [10, 20, 30]
    >>> index.search([0.9, 1, 1], k=2).ids.tolist()
    [[20, 10]]
    >>> index.search([0.9, 1, 1], k=2, filter=[10, 30]).ids.tolist()
    [[10, 30]]

    A graph, asked for recall:

    >>> rows = np.random.default_rng(0).normal(size=(3000, 8))
    >>> graph = engine.Index(8, metric="l2", kind="graph")
    >>> graph.add(rows).shape
    (3000,)
    >>> graph.search(rows[7], k=1, recall=0.9).ids.tolist()
    [[7]]
    >>> graph.explain(k=1, recall=0.9).strategy
    'graph'
    """

    def __init__(
        self,
        dim: int,
        *,
        metric: Metric = "cosine",
        kind: IndexKind = "exact",
        M: int | None = None,
        ef_construction: int | None = None,
        dtype: VectorDtype = "float32",
        n_threads: int | None = None,
        seed: int | None = None,
        layout: GraphLayout | None = None,
    ) -> None:
        dim = as_count(dim, "dim", most=MAX_DIM)
        as_choice(metric, "metric", METRICS)
        as_choice(kind, "kind", KINDS)
        as_choice(dtype, "dtype", DTYPES if kind == "graph" else DTYPES[:3])
        self._metric: Metric = metric
        self._kind: IndexKind = kind
        self._dtype: VectorDtype = dtype
        self._metadata: dict[str, Any] = {}
        self._n_threads = as_threads(n_threads)
        self._options = graph_options(kind, M=M, ef_construction=ef_construction, seed=seed, layout=layout)
        self._core: _core.ExactIndex | _core.GraphIndex
        if self._options:
            self._core = _core.GraphIndex(dim, metric, dtype, *self._options.values())
        else:
            self._core = _core.ExactIndex(dim, metric, dtype)
        self._dim = dim
        self._unverified: Arrays | None = None  # of the file that was mapped
        self._n_changes = 0  # rows ever added or removed: whoever keeps labels beside them compares it

    @property
    def dim(self) -> int:
        """Length of every vector."""
        return self._dim

    @property
    def metric(self) -> Metric:
        """What distances measure."""
        return self._metric

    @property
    def kind(self) -> IndexKind:
        """How rows are searched."""
        return self._kind

    @property
    def M(self) -> int | None:
        """Links a row of a graph."""
        return self._options.get("M")

    @property
    def ef_construction(self) -> int | None:
        """Rows that a graph looks at to link one."""
        return self._options.get("ef_construction")

    @property
    def seed(self) -> int | None:
        """Of the order in which a graph links rows."""
        return self._options.get("seed")

    @property
    def layout(self) -> GraphLayout | None:
        """What a graph keeps beside each row."""
        return self._options.get("layout")

    @property
    def dtype(self) -> VectorDtype:
        """How the vectors are kept."""
        return self._dtype

    @property
    def metadata(self) -> dict[str, Any]:
        """Saved and loaded with the index; what JSON cannot hold is refused when it is set, at the latest by `save`."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: dict[str, Any]) -> None:
        if not isinstance(metadata, dict):
            raise InvalidArgumentError(f"metadata is {show(metadata)}, expected a dict")
        as_json(metadata, "metadata")
        self._metadata = metadata

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids in the order of the rows, which is what bool masks and bitmaps refer to; shape (n,)."""
        return self._core.ids()

    @property
    def nbytes(self) -> int:
        """Memory of vectors, codes, ids and bookkeeping, in bytes."""
        return self._core.nbytes

    @property
    def codes_nbytes(self) -> int:
        """The part of `nbytes` that is not vectors."""
        return self._core.overhead_nbytes

    @property
    def n_dead(self) -> int:
        """Rows removed from a graph that still take room; `optimize` drops them."""
        return self._core.n_dead if isinstance(self._core, _core.GraphIndex) else 0

    def _dead(self) -> _core.Bitmap:
        """Those, among all rows in their places."""
        if isinstance(self._core, _core.GraphIndex):
            return self._core.dead()
        return _core.Bitmap.from_rows(len(self), [])

    @property
    def calibration(self) -> tuple[Calibrated, ...]:
        """What the last measurement of a graph found, by k, then ef; `explain` shows it as a table.

        Taken by `add` where more than 2,000 rows are there and a fifth of them has changed since the last time.
        """
        points = self._core.calibration() if isinstance(self._core, _core.GraphIndex) else []
        return tuple(Calibrated(*point) for point in points)

    def __len__(self) -> int:
        return len(self._core)

    def __repr__(self) -> str:
        graph = "".join(f", {name}={value!r}" for name, value in self._options.items())
        parts = f"dim={self.dim}, metric={self.metric!r}, kind={self.kind!r}{graph}, dtype={self.dtype!r}"
        return f"Index({parts}, rows={len(self)})"

    def add(self, vectors: ArrayLike, ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Add vectors; all of them or, after an error, none.

        Parameters
        ----------
        vectors : array_like, shape (n, dim) or (dim,)
            Finite numbers that the index's dtype can hold, no zero vectors under cosine.
        ids : array_like, shape (n,), int, optional
            0 to 2**63 - 1, none of them in the index or given twice. Default: on from the largest ever used.

        Returns
        -------
        ndarray, shape (n,), int64
            The ids.

        Raises
        ------
        InvalidArgumentError
            Another dim, NaN or Inf, a zero vector under cosine, an id that is negative, known or repeated.

        Notes
        -----
        O(n * dim), amortised: while the index doubles, the codes are made anew around the mean of all rows. A graph
        walks once for each row besides; other threads see the rows of one call at once, when all are linked.
        """
        matrix = as_matrix(vectors, "vectors", dim=self.dim, check=False)
        given = None if ids is None else as_ids(ids, n=len(matrix))
        self._verify_file()
        try:
            added = self._core.add(matrix, given, self._n_threads)
        except InvalidArgumentError:
            refuse_infinite(vectors, "vectors")  # says which number it was, where one was not finite
            raise
        self._n_changes += len(added)
        return added

    def remove(self, ids: ArrayLike) -> int:
        """Remove rows by id; all of them or, after an error, none.

        The last rows take the places of those removed, in O(dim) each: `Index.ids` tells the order, which bool masks
        follow. In a graph they stay as steps of walks, never as results, until more than a quarter of the rows is
        gone; `optimize` follows by itself then.

        Parameters
        ----------
        ids : array_like, int
            All of them in the index, none twice.

        Returns
        -------
        int
            How many rows were removed.

        Raises
        ------
        InvalidArgumentError
            An id is unknown or repeated; the message names it.
        """
        given = as_ids(ids)
        self._verify_file()
        if isinstance(self._core, _core.GraphIndex):
            self._core.remove(given, self._n_threads)
        else:
            self._core.remove(given)
        self._n_changes += len(given)
        return len(given)

    def optimize(self) -> None:
        """Drop the removed rows that a graph still holds, and link their neighbours anew; nothing for "exact".

        The last rows take their places: `Index.ids` tells the order. Searches wait meanwhile.
        """
        if isinstance(self._core, _core.GraphIndex) and self._core.n_dead:
            self._verify_file()
            self._core.optimize(self._n_threads)
            self._n_changes += 1  # the order of the rows is another

    def get(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The vectors of `ids` as they are kept, shape (n, dim); an unknown id raises InvalidArgumentError."""
        return self._core.get(as_ids(ids))

    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        recall: float | None = None,
        ef: int | None = None,
        filter: Filter | None = None,
        n_threads: int | None = None,
        executor: Executor = "auto",
    ) -> SearchResult:
        """Find the `k` nearest rows of each query.

        Parameters
        ----------
        queries : array_like, shape (n_queries, dim) or (dim,)
            Finite numbers; anything but float32 in C order is copied. A single vector gives one row.
        k : int
            At least 1. Where fewer rows pass, the places left hold id -1 and distance +inf. A place takes 12 bytes;
            results of more than half of the memory are refused.
        recall : float, optional
            Share of the `k` nearest rows that is to be found, on average over queries like the rows: above 0, at most
            1, which means exact. Default for a graph: 0.95. Where it was not reached when that was measured, or
            nothing was measured yet, the search is exact: `explain` tells. Kind "exact" satisfies any.
        ef : int, optional
            Instead of `recall`, for a graph only: the nearest rows whose neighbours a walk looks at, at least 1. Those
            neighbours count as found, so that less than `k` will do. Exact where it is not below the number of rows.
        filter : bool mask over rows, array of allowed ids, or Bitmap, optional
            Rows that may be results: ``min(k, rows that pass)`` of them always come back. A graph looks at all of
            them where that is cheaper than a walk, or where a walk found too little; otherwise about the share of the
            nearest that `recall` asks for is found. See docs/graph.md.
        n_threads : int, optional
            Default: that of the index.
        executor : {"auto", "exact", "in_filter", "sweep"}, default "auto"
            How a graph finds the rows that pass: "exact" looks at all of them, "in_filter" walks among them, "sweep"
            walks among all rows and filters what it met. "auto" takes the cheapest. Walks that find too little are
            followed by "exact" whatever was asked for. Kind "exact", and a search without a filter, take the first
            two.

        Returns
        -------
        SearchResult
            ``ids`` and ``distances`` of shape (n_queries, k), nearest first, equal distances ordered by id. Distances
            are exact for both kinds.

        Raises
        ------
        InvalidArgumentError
            Another dim, ``k < 1``, NaN or Inf, a zero query under cosine, a filter that does not fit, `recall` and
            `ef` both given or out of range, `ef` for kind "exact".
        NotBuiltError
            The index holds no vectors.

        See Also
        --------
        explain : says how a search would run.

        Notes
        -----
        Kind "exact" reads ``dim / 2`` bytes a row for one query; batches take ``dim`` int8 operations a row and query.
        The method, its proof and the figures are in docs/certified_exact.md, those of the graph in docs/graph.md.
        """
        n_threads = self._n_threads if n_threads is None else n_threads
        if recall is None and ef is None:
            recall = RECALL
        try:
            found = self._core.search_as_given(queries, k, recall, ef, filter, n_threads, executor)
        except InvalidArgumentError:
            refuse_infinite(queries, "queries")  # says which number it was, where one was not finite
            raise
        if found is None:
            return self._search(queries, k, recall, ef, filter, n_threads, executor)
        return found

    def _search(
        self,
        queries: ArrayLike,
        k: int,
        recall: float | None,
        ef: int | None,
        filter: Filter | None,
        n_threads: int,
        executor: Executor,
    ) -> SearchResult:
        """Where an argument is not yet what the core takes, or wrong."""
        points = as_matrix(queries, "queries", dim=self._dim, check=False)
        k = as_k(k, len(points))
        effort = self._effort(recall, ef)
        allowed = self._bitmap(filter)
        as_choice(executor, "executor", EXECUTORS if self._kind == "graph" and filter is not None else UNFILTERED)
        n_threads = as_threads(n_threads)
        try:
            if isinstance(self._core, _core.GraphIndex):
                return self._core.search(points, k, *effort, allowed, n_threads, executor)
            return self._core.search(points, k, allowed, n_threads, "auto")
        except InvalidArgumentError:
            refuse_infinite(queries, "queries")
            raise

    def _search_allowed(
        self, queries: NDArray[Any], k: int, allowed: _core.Bitmap | None, recall: float | None
    ) -> SearchResult:
        """A search among what `_allowed` gave."""
        return self.search(queries, k, recall=recall, filter=allowed)

    def _search_each(
        self, queries: NDArray[np.float32], k: int, filters: list[_core.Bitmap | None], recall: float | None
    ) -> SearchResult:
        """A search with a filter for each query: those that share one, the same object, are searched together."""
        queries = as_matrix(queries, "queries", dim=self._dim, check=False)
        k = as_k(k, len(queries))
        _, recall = self._effort(recall, None)
        try:
            ids, distances, stats = self._each(queries, k, recall, filters)
        except InvalidArgumentError:
            refuse_infinite(queries, "queries")
            raise
        return SearchResult(ids, distances, self.metric, together(stats))

    def _each(
        self, queries: NDArray[np.float32], k: int, recall: float, filters: list[_core.Bitmap | None]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], list[SearchStats]]:
        return self._core.search_each(queries, k, recall, filters, self._n_threads)

    def _effort(self, recall: float | None, ef: int | None) -> tuple[int, float]:
        """The `ef` and the recall that were asked for; `ef` is 0 where a recall was."""
        if ef is not None:
            if self._kind == "exact":
                raise InvalidArgumentError(f"ef is {show(ef)}, expected None: an index of kind 'exact' walks no links")
            if recall is not None:
                raise InvalidArgumentError(f"recall is {show(recall)} and ef {show(ef)}, expected one of them")
            return as_count(ef, "ef"), 1.0
        return 0, as_recall(RECALL if recall is None else recall)

    def explain(
        self, k: int = 10, *, recall: float | None = None, filter: Filter | None = None, n_queries: int = 1
    ) -> Plan:
        """Say how `search` would run, without running it.

        Parameters
        ----------
        k : int, default 10
        recall : float, optional
        filter : bool mask over rows, array of allowed ids, or Bitmap, optional
            All as for `search`.
        n_queries : int, default 1
            That share the filter: an exact search of a batch takes less for each.

        Returns
        -------
        Plan
            Its repr is made to be read. Where `recall` is out of reach, the search is exact, and ``plan.reason`` says
            what was reached.

        Examples
        --------
        >>> import numpy as np, engine
        >>> index = engine.Index(4, kind="graph")
        >>> index.add(np.eye(4)).tolist()
        [0, 1, 2, 3]
        >>> index.explain(k=2, recall=0.9)
        Plan(exact, ef=0, recall=1): 4 rows are fewer than a walk is worth
        """
        k = as_count(k, "k")
        n_queries = as_count(n_queries, "n_queries")
        _, asked = self._effort(recall, None)
        pool = 0 if asked == 1 or isinstance(self._core, _core.ExactIndex) else self._core.ef_for(k, asked)
        allowed = self._bitmap(filter)
        points = self.calibration
        n = len(self)
        if self._kind == "exact":
            reason = "every search of this kind is"
        elif isinstance(self._core, _core.GraphIndex) and allowed is not None:
            executor, ef, n_scored, seconds, reason = self._core.plan(k, 0, asked, allowed, n_queries)
            walks = executor != "exact"
            strategy: IndexKind = "graph" if walks else "exact"
            expected = asked if walks else 1.0
            return Plan(self._kind, strategy, ef, expected, reason, points, executor, n_scored, seconds)
        elif asked == 1:
            reason = "recall 1 was asked for"
        elif n <= SMALL:
            reason = f"{n} rows are fewer than a walk is worth"
        elif not points:
            reason = "nothing was measured yet; see Index.calibration"
        elif not pool:
            most = max((p for p in points if p.k == measured_k(points, k)), key=lambda p: p.recall - p.error)
            reached = f"{most.recall:.4f} ± {most.error:.4f} at k {most.k}, ef {most.ef}"
            reason = f"recall {asked:g} was not reached: {reached}"
        elif max(pool, k) >= n:
            reason = f"{n} rows are no more than the walk would keep"
        else:
            return Plan(self._kind, "graph", pool, asked, "as measured on rows held out", points, "sweep")
        return Plan(self._kind, "exact", 0, 1.0, reason, points)

    def inspect(self) -> dict[str, int]:
        """Counts that tell whether the links of a graph are sound; for kind "exact" the number of rows alone.

        Returns
        -------
        dict
            ``n_rows`` (removed ones that still take room included), ``n_links``, what a sound graph has none of
            (``n_out_of_range``, ``n_self_links``, ``n_repeated``, ``n_after_end``; with layout "fast" also
            ``n_not_beside``, rows that link to others than those coded beside them), and ``n_reached``, the rows that
            walks can get to. While another thread adds, its rows count before they are linked.
        """
        return self._core.inspect() if isinstance(self._core, _core.GraphIndex) else {"n_rows": len(self)}

    def verify(self) -> dict[str, int]:
        """Refuse a mapped file that is damaged, and a graph that is not sound.

        Returns
        -------
        dict
            That of `inspect`.

        Raises
        ------
        CorruptIndexError
            A checksum of the file that `load` mapped does not match; ids that are negative or there twice; links out of
            range, to the row itself, twice the same, or behind the end of a row's; or less than 99.9 % of
            the rows within reach of walks.
        """
        self._verify_file()
        self._core.check()
        report = self.inspect()
        wrong = [name for name in ("n_out_of_range", "n_self_links", "n_repeated", "n_after_end") if report.get(name)]
        if wrong:
            raise CorruptIndexError(f"graph has {wrong[0]} {report[wrong[0]]}, expected 0")
        if report.get("n_reached", report["n_rows"]) < REACHED * report["n_rows"]:
            expected = f"expected at least {REACHED:.1%}"
            raise CorruptIndexError(f"graph has n_reached {report['n_reached']} of {report['n_rows']} rows, {expected}")
        if report.get("n_not_beside"):
            raise CorruptIndexError(f"graph has n_not_beside {report['n_not_beside']}, expected 0")
        return report

    def _verify_file(self) -> None:
        """Compare the checksums that `load` left for later: nothing is built on damaged rows, or saved as sound."""
        unverified = self._unverified
        if unverified is not None:
            unverified.verify()
            self._unverified = None

    def range_search(
        self, queries: ArrayLike, radius: float, *, filter: Filter | None = None, n_threads: int | None = None
    ) -> RangeResult:
        """Find every row at a distance of at most `radius` from each query.

        Parameters
        ----------
        queries : array_like, shape (n_queries, dim) or (dim,)
            As for `search`.
        radius : float
            In the unit of the metric's distances, inclusive. Finite.
        filter : bool mask over rows, array of allowed ids, or Bitmap, optional
            As for `search`.
        n_threads : int, optional
            Default: that of the index.

        Returns
        -------
        RangeResult
            ``result[i]`` gives the ids and distances of query ``i``, nearest first.
        """
        points = as_matrix(queries, "queries", dim=self._dim, check=False)
        radius = as_finite(radius, "radius")
        allowed = self._bitmap(filter)
        n_threads = self._n_threads if n_threads is None else as_threads(n_threads)
        try:
            offsets, ids, distances, stats = self._core.range_search(points, radius, allowed, n_threads, "auto")
        except InvalidArgumentError:
            refuse_infinite(queries, "queries")
            raise
        return RangeResult(offsets, ids, distances, self._metric, stats)

    def _allowed(self, filter: Filter | None) -> _core.Bitmap | None:
        """What `_search_allowed` and `_search_each` take for a filter."""
        return self._bitmap(filter)

    def _bitmap(self, filter: Filter | None) -> _core.Bitmap | None:
        if filter is None:
            return None
        if not isinstance(filter, _core.Bitmap):
            array = as_array(filter, "filter")
            if array.dtype != np.bool_:
                return self._core.rows_of(as_ids(array, "filter"))
            filter = array
        return as_bitmap(filter, len(self), "filter")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, atomically: beside, flushed, renamed, every byte checksummed.

        Raises
        ------
        StorageError
            The disk said no; what stood at `path` before is untouched.
        CorruptIndexError
            The index was mapped from a file that is damaged.
        """
        from .storage import write_container

        self._verify_file()
        parts = self._core.parts()  # before the header: its next_id must not be older than they are
        write_container(path, self._header(), parts)

    def __reduce__(self) -> tuple[Any, ...]:
        self._verify_file()
        parts = {name: np.array(part) for name, part in self._core.parts().items()}
        return _restore, (self._header(), parts, self._n_threads, self._n_changes)

    def _header(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "dim": self.dim,
            "metric": self.metric,
            "dtype": self.dtype,
            **self._options,
            "next_id": self._core.next_id,
            "metadata": self._metadata,
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = True, n_threads: int | None = None) -> Index:
        """Open a saved index.

        Parameters
        ----------
        path : path_like
            What `save` wrote.
        mmap : bool
            Map the file: it is open at once, however large, and read where searches need it. Checksums of arrays of
            more than 1 MiB are left to `verify`, which the first change, `save` and pickling call for: until then a
            search of a damaged file may give wrong answers, or raise CorruptIndexError, but does no other harm.
            False: read and verify all of it now. Walks over a million rows then take 0.8 to 0.9 of the time where the
            system gives large pages to memory (Linux).
        n_threads : int, optional
            As in the constructor.

        Raises
        ------
        CorruptIndexError
            The file is damaged, cut short, or not an index.
        StorageError
            It cannot be read.

        Notes
        -----
        With `mmap` O(1), but for 4 bytes of every removed row of a graph and of every 64th of a large one; the first
        change, `get`, or filter by ids after that is O(n).
        """
        return cls._load(path, mmap=mmap, n_threads=n_threads)[0]

    @classmethod
    def _load(cls, path: str | os.PathLike[str], *, mmap: bool, n_threads: int | None) -> tuple[Index, Arrays]:
        """The index, and all arrays of the file, of which there may be others."""
        from .storage import read_container

        header, arrays = read_container(path, mmap=mmap, verify=not mmap)
        name = as_path(path)
        if header.get("format") != FORMAT:
            raise CorruptIndexError(f"{name} holds {header.get('format')!r}, expected {FORMAT!r}")
        try:
            index = _restore(header, arrays, n_threads)
            if mmap:
                index._unverified = arrays
            else:
                index._core.check()
            return index, arrays
        except (KeyError, TypeError, OverflowError, InvalidArgumentError, CorruptIndexError) as error:
            raise CorruptIndexError(f"{name} is not a valid index: {error}") from error


def _restore(
    header: dict[str, Any], parts: dict[str, NDArray[Any]], n_threads: int | None, n_changes: int = 0
) -> Index:
    """An index from what `Index.save` stores; raises whatever does not fit."""
    kind = header["kind"]
    options = {name: header[name] for name in GRAPH_OPTIONS if kind == "graph" or name in header}
    index = Index(
        header["dim"], metric=header["metric"], kind=kind, dtype=header["dtype"], n_threads=n_threads, **options
    )
    if not isinstance(header["metadata"], dict):
        raise InvalidArgumentError("metadata is not an object")
    index._metadata = header["metadata"]
    index._n_changes = n_changes
    fixed = (index.dim, index.metric, index.dtype)
    if index._options:
        M, ef_construction, seed, layout = index._options.values()
        index._core = _core.GraphIndex.from_parts(*fixed, M, ef_construction, seed, layout, header["next_id"], parts)
    else:
        index._core = _core.ExactIndex.from_parts(*fixed, header["next_id"], parts)
    return index


def as_recall(value: object) -> float:
    """`value` as a share to find."""
    recall = as_finite(value, "recall")
    if not 0 < recall <= 1:
        raise InvalidArgumentError(f"recall is {recall:g}, expected more than 0, at most 1")
    return recall


def measured_k(points: tuple[Calibrated, ...], k: int) -> int:
    """The smallest measured k not below `k`, or else the largest: it decides whether a recall is within reach."""
    measured = sorted({point.k for point in points})
    return next((each for each in measured if each >= k), measured[-1])
