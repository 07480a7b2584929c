"""
The compiled core of nearfield; use the engine package.
"""

from __future__ import annotations
import collections.abc
import engine.types
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "Attributes",
    "Bitmap",
    "ExactIndex",
    "GraphIndex",
    "descend",
    "isa",
    "kernels",
    "maxsim",
    "search_segments",
    "search_segments_each",
    "supported_isas",
    "topk",
]

class Bitmap:
    """
    A set of rows, listed or a bit each: the cheapest form of a filter to keep and to combine.

    Parameters
    ----------
    mask : array_like, shape (n_rows,), bool
        True where the row is allowed.

    Notes
    -----
    ``&``, ``|``, ``^`` and ``~`` combine bitmaps of the same length; ``len`` is the number of rows, `count` of those allowed.

    Examples
    --------
    >>> import numpy as np, engine
    >>> even = engine.Bitmap(np.arange(6) % 2 == 0)
    >>> (even & engine.Bitmap.from_rows(6, [0, 1, 2])).rows().tolist()
    [0, 2]
    """

    __hash__: typing.ClassVar[None] = None
    @staticmethod
    def from_rows(n: typing.SupportsInt | typing.SupportsIndex, rows: typing.Any) -> Bitmap:
        """
        The bitmap over `n` rows that holds `rows` (integers).
        """
    def __and__(self, arg0: Bitmap) -> Bitmap: ...
    def __eq__(self, arg0: Bitmap) -> bool: ...
    def __init__(self, mask: typing.Any) -> None: ...
    def __invert__(self) -> Bitmap: ...
    def __len__(self) -> int: ...
    def __or__(self, arg0: Bitmap) -> Bitmap: ...
    def __repr__(self) -> str: ...
    def __xor__(self, arg0: Bitmap) -> Bitmap: ...
    def compress(self, rows: Bitmap) -> Bitmap:
        """
        Over the members of the bitmap `rows`, counted from 0: those of them that are allowed here.
        """
    def count(self) -> int:
        """
        Number of rows allowed.
        """
    def rows(self) -> numpy.typing.NDArray[numpy.int64]:
        """
        The rows allowed, ascending, int64.
        """
    def slice(
        self, begin: typing.SupportsInt | typing.SupportsIndex, end: typing.SupportsInt | typing.SupportsIndex
    ) -> Bitmap:
        """
        The rows from `begin` to `end`, counted from 0.
        """
    def spread(self, rows: Bitmap) -> Bitmap:
        """
        The reverse of `compress`: over as many rows as the bitmap `rows`, only members of which are allowed.
        """
    def to_mask(self) -> numpy.typing.NDArray[numpy.bool]:
        """
        Shape (n_rows,) bool.
        """
    @property
    def nbytes(self) -> int:
        """
        Bytes of memory.
        """

class Attributes:
    """
    Typed columns whose cells may be NULL: what predicates ask. Data is values, or a tuple of values and a bool array that is True where they are NULL.
    """
    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def add_column(self, name: str, type: str) -> None: ...
    def append(self, n: typing.SupportsInt | typing.SupportsIndex, data: dict) -> None: ...
    def between(self, name: str, lo: typing.Any, hi: typing.Any, lo_open: bool, hi_open: bool) -> Bitmap: ...
    def contains(self, name: str, values: typing.Any, mode: str) -> Bitmap: ...
    def count_between(self, name: str, lo: typing.Any, hi: typing.Any, lo_open: bool, hi_open: bool) -> int: ...
    def count_equal(self, name: str, values: typing.Any) -> int: ...
    def drop(self, rows: typing.Any) -> None: ...
    def equal(self, name: str, values: typing.Any) -> Bitmap: ...
    def nbytes(self, name: str | None = None) -> int: ...
    def nulls(self, name: str) -> Bitmap: ...
    def rows_as_given(self, predicate: typing.Any) -> Bitmap | None: ...
    def set(self, name: str, rows: typing.Any, data: typing.Any) -> None: ...
    def take(self, name: str, rows: typing.Any) -> tuple[typing.Any, typing.Any]: ...
    def truncate(self, n: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def schema(self) -> typing.Any: ...

class ExactIndex:
    @staticmethod
    def from_parts(
        dim: typing.SupportsInt | typing.SupportsIndex,
        metric: str,
        dtype: str,
        next_id: typing.SupportsInt | typing.SupportsIndex,
        parts: dict,
    ) -> ExactIndex: ...
    def __init__(self, dim: typing.SupportsInt | typing.SupportsIndex, metric: str, dtype: str) -> None: ...
    def __len__(self) -> int: ...
    def add(
        self,
        vectors: numpy.typing.NDArray[numpy.float32],
        ids: numpy.typing.NDArray[numpy.int64] | None,
        n_threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.int64]: ...
    def check(self) -> None:
        """
        Refuses stored values that cannot be.
        """
    def find(self, ids: numpy.typing.NDArray[numpy.int64]) -> numpy.typing.NDArray[numpy.int64]:
        """
        The place of each id among all rows, removed ones too; -1 where there is none.
        """
    def get(self, ids: numpy.typing.NDArray[numpy.int64]) -> numpy.typing.NDArray[numpy.float32]: ...
    def ids(self) -> numpy.typing.NDArray[numpy.int64]: ...
    def parts(self) -> dict: ...
    def range_search(
        self,
        queries: numpy.typing.NDArray[numpy.float32],
        radius: typing.SupportsFloat | typing.SupportsIndex,
        filter: Bitmap | None,
        n_threads: typing.SupportsInt | typing.SupportsIndex,
        strategy: str,
    ) -> tuple[
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.float32],
        engine.types.SearchStats,
    ]: ...
    def remove(self, ids: numpy.typing.NDArray[numpy.int64]) -> None: ...
    def rows_of(self, ids: numpy.typing.NDArray[numpy.int64]) -> Bitmap: ...
    def search(
        self,
        queries: numpy.typing.NDArray[numpy.float32],
        k: typing.SupportsInt | typing.SupportsIndex,
        filter: Bitmap | None,
        n_threads: typing.SupportsInt | typing.SupportsIndex,
        strategy: str,
    ) -> engine.types.SearchResult: ...
    def search_as_given(
        self,
        queries: typing.Any,
        k: typing.Any,
        recall: typing.Any,
        ef: typing.Any,
        filter: typing.Any,
        n_threads: typing.Any,
        executor: typing.Any,
    ) -> engine.types.SearchResult | None:
        """
        Index.search where each argument is exactly of the type that it takes; else None: Python has to look at them.
        """
    def search_each(
        self,
        queries: numpy.typing.NDArray[numpy.float32],
        k: typing.SupportsInt | typing.SupportsIndex,
        recall: typing.SupportsFloat | typing.SupportsIndex,
        filters: collections.abc.Sequence[Bitmap | None],
        n_threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> tuple: ...
    @property
    def dim(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def next_id(self) -> int: ...
    @property
    def overhead_nbytes(self) -> int: ...

class GraphIndex:
    @staticmethod
    def from_parts(
        dim: typing.SupportsInt | typing.SupportsIndex,
        metric: str,
        dtype: str,
        degree: typing.SupportsInt | typing.SupportsIndex,
        ef_construction: typing.SupportsInt | typing.SupportsIndex,
        seed: typing.SupportsInt | typing.SupportsIndex,
        layout: str,
        next_id: typing.SupportsInt | typing.SupportsIndex,
        parts: dict,
    ) -> GraphIndex: ...
    def __init__(
        self,
        dim: typing.SupportsInt | typing.SupportsIndex,
        metric: str,
        dtype: str,
        degree: typing.SupportsInt | typing.SupportsIndex,
        ef_construction: typing.SupportsInt | typing.SupportsIndex,
        seed: typing.SupportsInt | typing.SupportsIndex,
        layout: str,
    ) -> None: ...
    def __len__(self) -> int: ...
    def add(
        self,
        vectors: numpy.typing.NDArray[numpy.float32],
        ids: numpy.typing.NDArray[numpy.int64] | None,
        n_threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.int64]: ...
    def calibration(self) -> list[tuple[int, int, float, float]]:
        """
        Measured (k, ef, recall, standard error).
        """
    def check(self) -> None:
        """
        Refuses stored values that cannot be.
        """
    def dead(self) -> Bitmap:
        """
        The removed rows that still take room, among all.
        """
    def ef_for(
        self, k: typing.SupportsInt | typing.SupportsIndex, recall: typing.SupportsFloat | typing.SupportsIndex
    ) -> int:
        """
        The smallest ef that reached `recall` when measured; 0 where none did.
        """
    def find(self, ids: numpy.typing.NDArray[numpy.int64]) -> numpy.typing.NDArray[numpy.int64]:
        """
        The place of each id among all rows, removed ones too; -1 where there is none.
        """
    def get(self, ids: numpy.typing.NDArray[numpy.int64]) -> numpy.typing.NDArray[numpy.float32]: ...
    def ids(self) -> numpy.typing.NDArray[numpy.int64]: ...
    def inspect(self) -> dict: ...
    def optimize(self, n_threads: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def parts(self) -> dict: ...
    def plan(
        self,
        k: typing.SupportsInt | typing.SupportsIndex,
        ef: typing.SupportsInt | typing.SupportsIndex,
        recall: typing.SupportsFloat | typing.SupportsIndex,
        filter: Bitmap,
        n_queries: typing.SupportsInt | typing.SupportsIndex,
    ) -> tuple[str, int, float, float, str]:
        """
        What a search would do: executor, ef, rows scored and seconds for a query, and why.
        """
    def range_search(
        self,
        queries: numpy.typing.NDArray[numpy.float32],
        radius: typing.SupportsFloat | typing.SupportsIndex,
        filter: Bitmap | None,
        n_threads: typing.SupportsInt | typing.SupportsIndex,
        strategy: str,
    ) -> tuple[
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.float32],
        engine.types.SearchStats,
    ]: ...
    def remove(
        self, ids: numpy.typing.NDArray[numpy.int64], n_threads: typing.SupportsInt | typing.SupportsIndex
    ) -> None: ...
    def rows_of(self, ids: numpy.typing.NDArray[numpy.int64]) -> Bitmap: ...
    def search(
        self,
        queries: numpy.typing.NDArray[numpy.float32],
        k: typing.SupportsInt | typing.SupportsIndex,
        ef: typing.SupportsInt | typing.SupportsIndex,
        recall: typing.SupportsFloat | typing.SupportsIndex,
        filter: Bitmap | None,
        n_threads: typing.SupportsInt | typing.SupportsIndex,
        executor: str,
    ) -> engine.types.SearchResult: ...
    def search_as_given(
        self,
        queries: typing.Any,
        k: typing.Any,
        recall: typing.Any,
        ef: typing.Any,
        filter: typing.Any,
        n_threads: typing.Any,
        executor: typing.Any,
    ) -> engine.types.SearchResult | None:
        """
        Index.search where each argument is exactly of the type that it takes; else None: Python has to look at them.
        """
    def search_each(
        self,
        queries: numpy.typing.NDArray[numpy.float32],
        k: typing.SupportsInt | typing.SupportsIndex,
        recall: typing.SupportsFloat | typing.SupportsIndex,
        filters: collections.abc.Sequence[Bitmap | None],
        n_threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> tuple: ...
    @property
    def dim(self) -> int: ...
    @property
    def n_dead(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def next_id(self) -> int: ...
    @property
    def overhead_nbytes(self) -> int: ...

class kernels:
    """
    Single kernels of the active instruction set, for tests and the bench.
    """
    @staticmethod
    def bound_distances(
        dots: numpy.ndarray,
        terms: numpy.typing.NDArray[numpy.float32],
        query: typing.Annotated[collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], "FixedSize(7)"],
        biased: bool,
    ) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64]]:
        """
        `terms`: scale, error, norm and bias of each row. `query`: low, high, score, error, rest, bias_low, bias_high.
        """
    @staticmethod
    def code_step(
        from_: numpy.typing.NDArray[numpy.float32],
        to: numpy.typing.NDArray[numpy.float32],
        origin: numpy.typing.NDArray[numpy.float32],
    ) -> tuple[float, float, float, float, numpy.typing.NDArray[numpy.uint8]]: ...
    @staticmethod
    def dot_nibbles(
        plane: numpy.typing.NDArray[numpy.uint8],
        rows: numpy.typing.NDArray[numpy.uint32],
        query: numpy.typing.NDArray[numpy.int8],
    ) -> numpy.typing.NDArray[numpy.int32]: ...
    @staticmethod
    def dot_norm(a: numpy.typing.NDArray[numpy.float32], b: numpy.ndarray, dtype: str) -> tuple[float, float]: ...
    @staticmethod
    def dot_norm_rows(
        query: numpy.typing.NDArray[numpy.float32],
        vectors: numpy.ndarray,
        dtype: str,
        rows: numpy.typing.NDArray[numpy.uint32],
    ) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32]]: ...
    @staticmethod
    def encode_query(
        query: numpy.typing.NDArray[numpy.float32],
        factor: typing.SupportsFloat | typing.SupportsIndex,
        subtracted: typing.SupportsFloat | typing.SupportsIndex,
        center: numpy.typing.NDArray[numpy.float32],
        limit: typing.SupportsInt | typing.SupportsIndex,
    ) -> tuple[numpy.typing.NDArray[numpy.int8], float, float, float, float, float, int]:
        """
        Codes; scale, squared length, product with the center; squared length of the codes and of their rest; sum of the codes.
        """
    @staticmethod
    def estimate(
        codes: numpy.typing.NDArray[numpy.uint8],
        tables: numpy.typing.NDArray[numpy.uint8],
        shift: numpy.typing.NDArray[numpy.float32],
        factor: numpy.typing.NDArray[numpy.float32],
        base: typing.SupportsFloat | typing.SupportsIndex,
        step: typing.SupportsFloat | typing.SupportsIndex,
        offset: typing.SupportsFloat | typing.SupportsIndex,
        worst: typing.SupportsFloat | typing.SupportsIndex,
    ) -> tuple[int, numpy.typing.NDArray[numpy.float32]]: ...
    @staticmethod
    def hadamard(x: numpy.typing.NDArray[numpy.float32]) -> numpy.typing.NDArray[numpy.float32]: ...
    @staticmethod
    def insert(
        numbers: numpy.typing.NDArray[numpy.int64], value: typing.SupportsInt | typing.SupportsIndex
    ) -> tuple[int, numpy.typing.NDArray[numpy.int64]]:
        """
        The place of `value`, and all numbers with what follows them.
        """
    @staticmethod
    def int8_peak(seconds: typing.SupportsFloat | typing.SupportsIndex) -> float:
        """
        8-bit multiplications and additions a second on one core, registers only: the best of many rounds.
        """
    @staticmethod
    def load(bytes: numpy.typing.NDArray[numpy.uint8], dtype: str) -> numpy.typing.NDArray[numpy.float32]: ...
    @staticmethod
    def not_above(
        values: numpy.typing.NDArray[numpy.float64], limit: typing.SupportsFloat | typing.SupportsIndex
    ) -> int: ...
    @staticmethod
    def query_limit() -> int:
        """
        Largest |q| that the int8 tile kernel takes.
        """
    @staticmethod
    def screen_rows(
        scores: numpy.typing.NDArray[numpy.float32],
        norms: numpy.typing.NDArray[numpy.float32] | None,
        factor: typing.SupportsFloat | typing.SupportsIndex,
        threshold: typing.SupportsFloat | typing.SupportsIndex,
    ) -> int: ...
    @staticmethod
    def screen_tile_i8(
        rows: numpy.typing.NDArray[numpy.uint8],
        queries: numpy.typing.NDArray[numpy.int8],
        threshold: typing.SupportsFloat | typing.SupportsIndex,
        n_rows: typing.SupportsInt | typing.SupportsIndex = 64,
    ) -> numpy.typing.NDArray[numpy.uint64]:
        """
        Bit r of masks[q] says that the dot product of row r and query q is at least `threshold`.
        """
    @staticmethod
    def signed_codes(
        rows: numpy.typing.NDArray[numpy.uint8], n_rows: typing.SupportsInt | typing.SupportsIndex
    ) -> tuple[numpy.typing.NDArray[numpy.int8], numpy.typing.NDArray[numpy.int32]]: ...
    @staticmethod
    def squared_l2(a: numpy.typing.NDArray[numpy.float32], b: numpy.ndarray, dtype: str) -> float: ...
    @staticmethod
    def squared_l2_rows(
        query: numpy.typing.NDArray[numpy.float32],
        vectors: numpy.ndarray,
        dtype: str,
        rows: numpy.typing.NDArray[numpy.uint32],
    ) -> numpy.typing.NDArray[numpy.float32]: ...
    @staticmethod
    def squared_norm(b: numpy.ndarray, dtype: str) -> float: ...
    @staticmethod
    def store(a: numpy.typing.NDArray[numpy.float32], dtype: str) -> numpy.typing.NDArray[numpy.uint8]: ...

def descend(
    queries: numpy.typing.NDArray[numpy.float32],
    documents: numpy.typing.NDArray[numpy.float32],
    moments: typing.Annotated[list[numpy.typing.NDArray[numpy.float32]], "FixedSize(4)"],
    qrels: numpy.typing.NDArray[numpy.int64],
    losses: numpy.typing.NDArray[numpy.float64],
    done: typing.SupportsInt | typing.SupportsIndex,
    temperature: typing.SupportsFloat | typing.SupportsIndex,
    lr: typing.SupportsFloat | typing.SupportsIndex,
    summed: bool,
) -> None:
    """
    Steps of Adam in place, float32: as many as `losses` has places. One thread, without the GIL.
    """

def isa() -> str:
    """
    Instruction set in use: baseline, avx2, avx512 or avx512vnni.
    """

def maxsim(
    queries: numpy.typing.NDArray[numpy.float32],
    query_offsets: numpy.typing.NDArray[numpy.int64],
    rows: numpy.typing.NDArray[numpy.float32],
    offsets: numpy.typing.NDArray[numpy.int64],
    listed: numpy.typing.NDArray[numpy.int64],
    n_threads: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.float32]:
    """
    Sums over the rows of each query of the largest dot product with a row of each listed item, (n_queries, n_listed).
    """

def search_segments(
    segments: list,
    queries: typing.Any,
    k: typing.Any,
    recall: typing.Any,
    ef: typing.Any,
    filter: typing.Any,
    n_threads: typing.Any,
    executor: typing.Any,
    is_weighed: bool,
) -> engine.types.SearchResult | None:
    """
    Several indexes as one, each with the rows that are there, None: all, of all; as search_as_given. The filter is over all rows of all. `is_weighed`: results of any size.
    """

def search_segments_each(
    segments: list,
    queries: numpy.typing.NDArray[numpy.float32],
    k: typing.SupportsInt | typing.SupportsIndex,
    recall: typing.SupportsFloat | typing.SupportsIndex,
    filters: collections.abc.Sequence[Bitmap | None],
    n_threads: typing.SupportsInt | typing.SupportsIndex,
) -> tuple: ...
def supported_isas() -> list[str]:
    """
    Those that this machine can run, slowest first.
    """

def topk(
    queries: numpy.typing.NDArray[numpy.float32],
    vectors: numpy.ndarray,
    dtype: str,
    k: typing.SupportsInt | typing.SupportsIndex,
    metric: str,
    filter: Bitmap | None,
    n_threads: typing.SupportsInt | typing.SupportsIndex,
    strategy: str,
) -> engine.types.SearchResult: ...
