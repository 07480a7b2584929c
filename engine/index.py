"""An index: vectors under ids, searched exactly."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
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
from .types import Metric, RangeResult, SearchResult, SearchStats, VectorDtype

__all__ = ["Filter", "Index"]

DTYPES = ("float32", "float16", "bfloat16")
KINDS = ("exact",)
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
    kind : {"exact"}
        "exact": certified screening. Low-bit codes with a proven error bound rule out nearly all rows, the rest is
        re-scored in float64: the answer is the exact one.
    dtype : {"float32", "float16", "bfloat16"}
        How the vectors are kept. Distances are exact for the vectors as kept.
    n_threads : int, optional
        Used by `add` and, where they are not told otherwise, by searches. Default: every core the process may use.

    Attributes
    ----------
    dim, metric, kind, dtype
        As given; they cannot be changed.
    metadata : dict
        Anything JSON can hold; saved and loaded with the index.

    Notes
    -----
    Any number of threads may search at a time; a change waits for the searches under way. After an error the index is
    as it was. Beside the vectors it keeps about ``dim + 40`` bytes a row.

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
    """

    def __init__(
        self,
        dim: int,
        *,
        metric: Metric = "cosine",
        kind: Literal["exact"] = "exact",
        dtype: VectorDtype = "float32",
        n_threads: int | None = None,
    ) -> None:
        dim = as_count(dim, "dim", most=MAX_DIM)
        as_choice(metric, "metric", METRICS)
        as_choice(kind, "kind", KINDS)
        as_choice(dtype, "dtype", DTYPES)
        self._metric: Metric = metric
        self._kind = kind
        self._dtype: VectorDtype = dtype
        self._metadata: dict[str, Any] = {}
        self._n_threads = as_threads(n_threads)
        self._core = _core.ExactIndex(dim, metric, dtype)
        self._dim = dim
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
    def kind(self) -> str:
        """How rows are searched."""
        return self._kind

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

    def __len__(self) -> int:
        return len(self._core)

    def __repr__(self) -> str:
        parts = f"dim={self.dim}, metric={self.metric!r}, kind={self.kind!r}, dtype={self.dtype!r}, rows={len(self)}"
        return f"Index({parts})"

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
        O(n * dim), amortised: while the index doubles, the codes are made anew around the mean of all rows.
        """
        matrix = as_matrix(vectors, "vectors", dim=self.dim, check=False)
        given = None if ids is None else as_ids(ids, n=len(matrix))
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
        follow.

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
        self._core.remove(given)
        self._n_changes += len(given)
        return len(given)

    def get(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The vectors of `ids` as they are kept, shape (n, dim); an unknown id raises InvalidArgumentError."""
        return self._core.get(as_ids(ids))

    def search(
        self, queries: ArrayLike, k: int, *, filter: Filter | None = None, n_threads: int | None = None
    ) -> SearchResult:
        """Find the `k` nearest rows of each query.

        Parameters
        ----------
        queries : array_like, shape (n_queries, dim) or (dim,)
            Finite numbers; anything but float32 in C order is copied. A single vector gives one row.
        k : int
            At least 1. Where fewer rows pass, the places left hold id -1 and distance +inf. A place takes 12 bytes;
            results of more than half of the memory are refused.
        filter : bool mask over rows, array of allowed ids, or Bitmap, optional
            Applied before scoring: ``min(k, rows that pass)`` results always come back.
        n_threads : int, optional
            Default: that of the index.

        Returns
        -------
        SearchResult
            ``ids`` and ``distances`` of shape (n_queries, k), nearest first, equal distances ordered by id.

        Raises
        ------
        InvalidArgumentError
            Another dim, ``k < 1``, NaN or Inf, a zero query under cosine, a filter that does not fit.
        NotBuiltError
            The index holds no vectors.

        Notes
        -----
        Reads ``dim / 2`` bytes a row for one query; batches take ``dim`` int8 operations a row and query. The method,
        its proof and the figures are in docs/certified_exact.md.
        """
        points = as_matrix(queries, "queries", dim=self._dim, check=False)
        k = as_k(k, len(points))
        allowed = self._bitmap(filter)
        n_threads = self._n_threads if n_threads is None else as_threads(n_threads)
        try:
            ids, distances, stats = self._core.search(points, k, allowed, n_threads, "auto")
        except InvalidArgumentError:
            refuse_infinite(queries, "queries")  # says which number it was, where one was not finite
            raise
        return SearchResult(ids, distances, self._metric, SearchStats(**stats))

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
        return RangeResult(offsets, ids, distances, self._metric, SearchStats(**stats))

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
        """
        from .storage import write_container

        write_container(path, self._header(), self._core.parts())

    def __reduce__(self) -> tuple[Any, ...]:
        parts = {name: np.array(part) for name, part in self._core.parts().items()}
        return _restore, (self._header(), parts, self._n_threads, self._n_changes)

    def _header(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "dim": self.dim,
            "metric": self.metric,
            "dtype": self.dtype,
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
            Map the file instead of reading it. Either way all checksums are verified first; the first change copies.
        n_threads : int, optional
            As in the constructor.

        Raises
        ------
        CorruptIndexError
            The file is damaged, cut short, or not an index.
        StorageError
            It cannot be read.
        """
        from .storage import read_container

        header, arrays = read_container(path, mmap=mmap)
        name = as_path(path)
        if header.get("format") != FORMAT:
            raise CorruptIndexError(f"{name} holds {header.get('format')!r}, expected {FORMAT!r}")
        try:
            return _restore(header, arrays, n_threads)
        except (KeyError, TypeError, OverflowError, InvalidArgumentError, CorruptIndexError) as error:
            raise CorruptIndexError(f"{name} is not a valid index: {error}") from error


def _restore(
    header: dict[str, Any], parts: dict[str, NDArray[Any]], n_threads: int | None, n_changes: int = 0
) -> Index:
    """An index from what `Index.save` stores; raises whatever does not fit."""
    index = Index(
        header["dim"], metric=header["metric"], kind=header["kind"], dtype=header["dtype"], n_threads=n_threads
    )
    if not isinstance(header["metadata"], dict):
        raise InvalidArgumentError("metadata is not an object")
    index._metadata = header["metadata"]
    index._n_changes = n_changes
    index._core = _core.ExactIndex.from_parts(index.dim, index.metric, index.dtype, header["next_id"], parts)
    return index
