"""Several indexes searched as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import Bitmap, ExactIndex, GraphIndex, search_segments, search_segments_each
from ._validate import as_array, as_choice, as_count, as_finite, as_ids, as_k, as_matrix, as_threads, refuse_infinite
from .exact import as_bitmap
from .exceptions import CorruptIndexError, InvalidArgumentError, NotBuiltError
from .index import EXECUTORS, RECALL, UNFILTERED, Filter, Index, _restore
from .types import Calibrated, Executor, IndexKind, Plan, RangeResult, SearchResult, SearchStats, together

__all__ = ["Segment", "Segments"]

FOLD = 20_000  # rows that a graph leaves to exact searches before they are linked; or an eighth of its own
DEAD = 0.25  # the share of its rows that a segment may have lost before it is made anew
LARGEST = 2**63 - 1


@dataclass(eq=False)
class Segment:
    """Rows of one index, some of which may be gone.

    Attributes
    ----------
    index : Index
        Changed only while the segment is open.
    gone : ndarray, shape (len(index),), bool
        Replaced as a whole where it changes.
    n_gone : int
    closed : bool
        Whether it takes no more rows, since it is being merged.
    stored : dict, optional
        What the manifest says of it; None while it is open: rows are added and removed in the index itself.
    columns_changed : set of str
        Columns whose values are others than those stored.
    """

    index: Index
    gone: NDArray[np.bool_]
    n_gone: int = 0
    closed: bool = False
    stored: dict[str, Any] | None = None
    columns_changed: set[str] = field(default_factory=set)
    _live: Bitmap | None = None
    _order: tuple[int, NDArray[np.int64], NDArray[np.int64] | None] | None = None

    @classmethod
    def of(cls, index: Index) -> Segment:
        return cls(index, np.zeros(len(index), np.bool_))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def n_live(self) -> int:
        return len(self) - self.n_gone

    @property
    def live(self) -> Bitmap:
        """The rows that are there."""
        if self._live is None or len(self._live) != len(self):
            self._live = Bitmap(~self.gone) if self.n_gone else Bitmap(np.ones(len(self), np.bool_))
        return self._live

    def bury(self, rows: NDArray[np.int64]) -> None:
        """Rows, each of them there, are gone from now on."""
        self.set_gone(self.gone_with(rows), self.n_gone + len(rows))

    def gone_with(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`gone` as it is when these rows are, too."""
        gone = self.gone.copy()
        gone[rows] = True
        return gone

    def set_gone(self, gone: NDArray[np.bool_], n_gone: int) -> None:
        self.gone, self.n_gone, self._live = gone, n_gone, None

    def find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each id, -1 where there is none."""
        held, rows = self._sorted()
        if not len(held):
            return np.full(len(ids), -1, np.int64)
        if held[-1] - held[0] == len(held) - 1:  # none is left out, as in most: no need to look for them
            found: NDArray[np.int64] = ids - held[0]
            known = found.view(np.uint64) < len(held)
        else:
            found = np.minimum(np.searchsorted(held, ids), len(held) - 1)
            known = held[found] == ids
        all_known = np.count_nonzero(known) == len(ids)
        if not all_known:
            found[~known] = 0
        if rows is not None:
            found = rows[found]
        if not all_known:
            found[~known] = -1
        if self.n_gone and np.count_nonzero(gone := self.gone[found]):
            found[gone] = -1  # and -1 stays that, whatever the last row is
        return found

    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """All ids in order, and the row of each unless it is its place; made once for a state of the index."""
        if self._order is None or self._order[0] != self.index._n_changes:
            ids = self.index.ids
            rows = None if (ids[1:] > ids[:-1]).all() else np.argsort(ids, kind="stable")
            self._order = self.index._n_changes, ids if rows is None else ids[rows], rows
        return self._order[1:]


class Segments(Index):
    """Several indexes searched as one, so that a change of few rows touches few.

    Parameters
    ----------
    template : Index
        An empty one, of whose kind, metric, dtype and options this is.
    segments : list of Segment
    next_id : int

    Notes
    -----
    Its rows are those of all segments, one after the other. Removed ones stay in their places until `merged` makes
    their segment anew, as rows that no search finds: places count them, rows do not. The last segment may be open, an
    exact index that takes new rows. Where the kind is "graph", the first segment is one as soon as it is worth it.
    """

    def __init__(self, template: Index, segments: list[Segment] | None = None, next_id: int = 0) -> None:
        super().__init__(
            template.dim,
            metric=template.metric,
            kind=template.kind,
            dtype=template.dtype,
            n_threads=template._n_threads,
            **template._options,
        )
        self._metadata = template._metadata
        self.segments = segments or []
        self.next_id = next_id
        self._live: tuple[int, Bitmap] | None = None

    # ---- rows and places

    def __len__(self) -> int:
        return sum([len(segment.index) - segment.n_gone for segment in self.segments])  # searches ask: no generator

    @property
    def n_places(self) -> int:
        """Rows, those included that are gone."""
        return sum(map(len, self.segments))

    @property
    def n_dead(self) -> int:
        return sum([segment.n_gone for segment in self.segments])

    @property
    def n_closed(self) -> int:
        """Places of segments that take no rows: the first of the open one."""
        return sum(map(len, self._closed()))

    @property
    def ids(self) -> NDArray[np.int64]:
        return joined([s.index.ids[~s.gone] if s.n_gone else s.index.ids for s in self.segments], np.int64)

    @property
    def live(self) -> Bitmap:
        """The places of rows that are there."""
        if self._live is None or self._live[0] != self._n_changes:
            self._live = self._n_changes, Bitmap(~joined([segment.gone for segment in self.segments], np.bool_))
        return self._live[1]

    def starts(self) -> Iterator[tuple[int, Segment]]:
        """The segments, each with its first place."""
        start = 0
        for segment in self.segments:
            yield start, segment
            start += len(segment)

    def find(self, ids: NDArray[np.int64], segments: list[Segment] | None = None) -> NDArray[np.int64]:
        """The place of each id, -1 where there is none; in the first `segments`, by default in all."""
        searched = self.segments if segments is None else segments
        if len(searched) == 1:
            return searched[0].find(ids)
        places = np.full(len(ids), -1, np.int64)
        start = 0
        for segment in searched:
            rows = segment.find(ids)
            np.copyto(places, rows + start, where=rows >= 0)
            start += len(segment)
        return places

    def places_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """As `find`; an unknown id is an error."""
        places = self.find(ids)
        if (places < 0).any():
            raise InvalidArgumentError(f"ids holds {ids[places < 0][0]}, which is not in the index")
        return places

    # ---- changes

    def add(self, vectors: ArrayLike, ids: ArrayLike | None = None) -> NDArray[np.int64]:
        matrix = as_matrix(vectors, "vectors", dim=self.dim, check=False)
        if ids is None:
            if self.next_id > LARGEST - len(matrix):
                raise InvalidArgumentError("ids are used up to 2**63 - 1: give them")
            given = np.arange(self.next_id, self.next_id + len(matrix))
        else:
            given = as_ids(ids, n=len(matrix))
            known = self.find(given, self._closed()) >= 0  # the open one looks itself
            if known.any():
                row = int(np.argmax(known))
                raise InvalidArgumentError(f"ids[{row}] is {given[row]}, which is in the index already")
        last = self._open()
        segment = last if last is not None else Segment.of(self._empty("exact"))
        n_before = len(segment)
        self._n_changes += len(matrix)  # first, so that a stop halfway is noticed
        try:
            added = segment.index.add(matrix, given)
        except BaseException:
            if len(segment) == n_before:
                self._n_changes -= len(matrix)
            raise
        segment.gone = np.zeros(len(segment), np.bool_)
        if last is None:
            self.segments = [*self.segments, segment]
        self.next_id = max(self.next_id, int(added.max()) + (int(added.max()) != LARGEST))
        return added

    def remove(self, ids: ArrayLike) -> int:
        given = as_ids(ids)
        if not len(given):
            return 0
        places = self.places_of(given)
        unique, counts = np.unique(given, return_counts=True)
        if len(unique) < len(given):
            raise InvalidArgumentError(f"ids holds {unique[counts > 1][0]} twice")
        last, of_last, buried = self._open(), None, []
        for start, segment in self.starts():  # all that takes memory, before anything changes
            inside = (places >= start) & (places < start + len(segment))
            if segment is last:
                of_last = given[inside]
            elif inside.any():
                buried.append((segment, segment.gone_with(places[inside] - start), int(inside.sum())))
        self._n_changes += len(given)  # first, so that a stop halfway is noticed
        if last is not None and of_last is not None and len(of_last):
            n_before, none_gone = len(last), np.zeros(len(last) - len(of_last), np.bool_)
            try:
                last.index.remove(of_last)
            except BaseException:
                if len(last) == n_before:
                    self._n_changes -= len(given)
                raise
            last.gone = none_gone
        for segment, gone, n in buried:
            segment.set_gone(gone, segment.n_gone + n)
        if not len(self.segments[-1]):
            self.segments = self.segments[:-1]
        return len(given)

    def due(self) -> tuple[int, bool] | None:
        """The first of the segments that are to become one, and whether it is to be a graph; None: none are.

        So that there are few, each holds more than twice the rows of all behind it together.
        """
        sizes = [segment.n_live for segment in self.segments]
        graph = bool(sizes) and self.segments[0].index.kind == "graph"
        if self.kind == "graph" and sum(sizes[graph:]) > max(FOLD, sizes[0] // 8 if graph else 0):
            return 0, True
        few = [i for i in range(graph, len(sizes) - 1) if sizes[i] <= 2 * sum(sizes[i + 1 :])]
        lossy = [i for i, segment in enumerate(self.segments) if segment.n_gone > DEAD * len(segment)]
        return (min(few + lossy), False) if few or lossy else None

    def close(self, first: int) -> list[Segment]:
        """The segments from `first` on, which change no more but for rows that go: for `merged`, and then `replace`."""
        self.segments[-1].closed = True
        return self.segments[first:]

    def merged(self, segments: list[Segment] | None = None, *, linked: bool = True) -> Segment | None:
        """The rows of `segments`, by default of all, as one; None: there are none. Nothing changes, see `replace`.

        `linked`, where the kind is "graph": it is one. A graph stays one in any case.
        """
        whole = [segment for segment in (self.segments if segments is None else segments) if segment.n_live]
        if not whole:
            return None
        begun = whole[0]
        if begun.index.kind == "graph":
            index, rest = _restore(begun.index._header(), begun.index._core.parts(), self._n_threads), whole[1:]
            if begun.n_gone:
                index.remove(begun.index.ids[begun.gone])
                index.optimize()
        else:
            index, rest = self._empty(self.kind if linked else "exact"), whole
        if rest:
            kept = [segment.index.ids[~segment.gone] for segment in rest]
            vectors = [segment.index.get(ids) for segment, ids in zip(rest, kept, strict=True)]
            index.add(vectors[0] if len(vectors) == 1 else np.concatenate(vectors), np.concatenate(kept))
        return Segment.of(index)

    def replace(self, old: list[Segment], merged: Segment | None) -> None:
        """What `merged` made takes the place of `old`."""
        first = self.segments.index(old[0])
        new = [] if merged is None else [merged]
        self.segments = self.segments[:first] + new + self.segments[first + len(old) :]
        self._n_changes += 1

    @property
    def is_split(self) -> bool:
        """Whether `merged` would make fewer segments, drop rows that are gone, or link some."""
        return len(self.segments) > 1 or any(s.n_gone or s.index.kind != self.kind for s in self.segments)

    def optimize(self) -> None:
        if self.is_split:
            self.replace(self.segments, self.merged())

    def _open(self) -> Segment | None:
        if not self.segments:
            return None
        last = self.segments[-1]
        changes = last.stored is None and not last.closed and last.index.kind == "exact" and not last.n_gone
        return last if changes else None

    def _closed(self) -> list[Segment]:
        return self.segments if self._open() is None else self.segments[:-1]

    def _empty(self, kind: IndexKind) -> Index:
        """An index for some of the rows; codes alone make no exact one."""
        if kind == "graph":
            return Index(
                self.dim,
                metric=self.metric,
                kind=kind,
                dtype=self.dtype,
                n_threads=self._n_threads,
                **self._options,
            )
        dtype = "float32" if self.dtype == "int8" else self.dtype
        return Index(self.dim, metric=self.metric, dtype=dtype, n_threads=self._n_threads)

    # ---- questions

    def get(self, ids: ArrayLike) -> NDArray[np.float32]:
        given = as_ids(ids)
        places = self.places_of(given)
        vectors = np.empty((len(given), self.dim), np.float32)
        for start, segment in self.starts():
            inside = (places >= start) & (places < start + len(segment))
            if inside.any():
                vectors[inside] = segment.index.get(given[inside])
        return vectors

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
        ways = EXECUTORS if self.kind == "graph" and filter is not None else UNFILTERED
        way = cast("Executor", as_choice(executor, "executor", ways))
        return self._among(queries, k, self._allowed(filter), recall, ef, n_threads, way)

    def _search_allowed(
        self, queries: NDArray[Any], k: int, allowed: Bitmap | None, recall: float | None
    ) -> SearchResult:
        return self._among(queries, k, allowed, recall)

    def _among(
        self,
        queries: ArrayLike,
        k: int,
        allowed: Bitmap | None,
        recall: float | None,
        ef: int | None = None,
        n_threads: int | None = None,
        executor: Executor = "auto",
    ) -> SearchResult:
        """A search among places, None: all; rows that are gone are not found."""
        if recall is None and ef is None:
            recall = RECALL
        elif ef is not None:
            self._effort(recall, ef)
        n_threads = self._n_threads if n_threads is None else n_threads
        parts = self._parts()
        try:
            found = search_segments(parts, queries, k, recall, ef, allowed, n_threads, executor, False)
            if found is None:  # an argument is not yet what the core takes, or wrong
                points = as_matrix(queries, "queries", dim=self.dim, check=False)
                k, n_threads = as_k(k, len(points)), as_threads(n_threads)
                recall, ef = (self._effort(recall, ef)[1], None) if ef is None else (None, as_count(ef, "ef"))
                found = search_segments(parts, points, k, recall, ef, allowed, n_threads, executor, True)
        except InvalidArgumentError:
            refuse_infinite(queries, "queries")  # says which number it was, where one was not finite
            raise
        assert found is not None
        return found

    def _each(
        self, queries: NDArray[np.float32], k: int, recall: float, filters: list[Bitmap | None]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], list[SearchStats]]:
        return search_segments_each(self._parts(), queries, k, recall, filters, self._n_threads)

    def _parts(self) -> list[tuple[ExactIndex | GraphIndex, Bitmap | None]]:
        """As the core takes them."""
        return [(segment.index._core, segment.live if segment.n_gone else None) for segment in self.segments]

    def range_search(
        self, queries: ArrayLike, radius: float, *, filter: Filter | None = None, n_threads: int | None = None
    ) -> RangeResult:
        points = as_matrix(queries, "queries", dim=self.dim, check=False)
        as_finite(radius, "radius")
        allowed = self._allowed(filter)
        asked = self._asked(allowed)
        found = [s.index.range_search(queries, radius, filter=rows, n_threads=n_threads) for s, rows in asked]
        query = np.concatenate([np.repeat(np.arange(len(points)), np.diff(each.offsets)) for each in found])
        ids = np.concatenate([each.ids for each in found])
        distances = np.concatenate([each.distances for each in found])
        order = np.lexsort((ids, distances, query))
        offsets = np.searchsorted(query[order], np.arange(len(points) + 1))
        share = 1.0 if allowed is None else allowed.count() / len(self)
        stats = together([each.stats for each in found])._replace(selectivity=share)
        return RangeResult(offsets.astype(np.int64), ids[order], distances[order], self.metric, stats)

    def explain(
        self, k: int = 10, *, recall: float | None = None, filter: Filter | None = None, n_queries: int = 1
    ) -> Plan:
        if not len(self):
            return super().explain(k, recall=recall, n_queries=n_queries)
        asked = self._asked(self._allowed(filter))
        largest, rows = max(asked, key=lambda each: len(each[0]))
        plan = largest.index.explain(k, recall=recall, filter=rows, n_queries=n_queries)
        others = sum(segment.n_live for segment, _ in asked) - largest.n_live
        reason = f"{plan.reason}; {others} rows of {len(asked) - 1} other segments exactly" if others else plan.reason
        return replace(plan, kind=self.kind, reason=reason)

    def _bitmap(self, filter: Filter | None) -> Bitmap | None:
        places = self._allowed(filter)
        return places.compress(self.live) if places is not None and self.n_dead else places

    def _allowed(self, filter: Filter | None) -> Bitmap | None:
        """The places that `filter` lets pass, none of them gone."""
        if filter is None:
            return None
        if not isinstance(filter, Bitmap):
            array = as_array(filter, "filter")
            if array.dtype != np.bool_:
                return Bitmap.from_rows(self.n_places, self.places_of(as_ids(array, "filter")))
            filter = array
        rows = as_bitmap(filter, len(self), "filter")
        return rows.spread(self.live) if self.n_dead else rows

    def _asked(self, allowed: Bitmap | None) -> list[tuple[Segment, Bitmap | None]]:
        """The segments to look into, with the rows to find there, None: all. `allowed` has none that are gone."""
        if not len(self):
            raise NotBuiltError("there are no vectors to search: add some first")
        if allowed is None and self.n_dead:
            allowed = self.live
        if len(self.segments) == 1:
            return [(self.segments[0], allowed)]
        asked: list[tuple[Segment, Bitmap | None]] = []
        for start, segment in self.starts():
            rows = None if allowed is None else allowed.slice(start, start + len(segment))
            if segment.n_live if rows is None else rows.count():
                asked.append((segment, rows))
        return asked or [(self.segments[0], Bitmap(np.zeros(len(self.segments[0]), np.bool_)))]

    # ---- facts

    @property
    def nbytes(self) -> int:
        return sum(segment.index.nbytes + segment.gone.nbytes for segment in self.segments)

    @property
    def unstored_nbytes(self) -> int:
        """The part of `nbytes` that is in no file."""
        return sum(segment.index.nbytes for segment in self.segments if segment.stored is None)

    @property
    def codes_nbytes(self) -> int:
        return sum(segment.index.codes_nbytes + segment.gone.nbytes for segment in self.segments)

    @property
    def calibration(self) -> tuple[Calibrated, ...]:
        return self.segments[0].index.calibration if self.segments else ()

    def inspect(self) -> dict[str, int]:
        graph = self.segments and self.segments[0].index.kind == "graph"
        return (self.segments[0].index.inspect() if graph else {}) | {"n_rows": self.n_places}

    def verify(self) -> dict[str, int]:
        for segment in self.segments:
            segment.index.verify()
        ids = np.sort(self.ids)
        if len(ids) and (
            ids[0] < 0 or ids[-1] > self.next_id - (self.next_id != LARGEST) or (ids[1:] == ids[:-1]).any()
        ):
            raise CorruptIndexError("ids are negative, not below next_id or in two segments")
        return self.inspect()

    def save(self, path: str | os.PathLike[str]) -> None:
        self.whole().save(path)

    def whole(self) -> Index:
        """All rows in one index."""
        merged = self.merged()
        index = self._empty(self.kind) if merged is None else merged.index
        index.metadata = self.metadata
        return index

    def _header(self) -> dict[str, Any]:
        return super()._header() | {"next_id": self.next_id}

    def __reduce__(self) -> tuple[Any, ...]:
        return self.whole().__reduce__()

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, segments={len(self.segments)})"


def joined(arrays: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
