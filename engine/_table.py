"""The attributes of the rows of an index, found by the ids of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import Bitmap
from .attributes import Attributes
from .columns import TypedColumn
from .exceptions import InvalidArgumentError
from .filters import Schema
from .index import Index

if TYPE_CHECKING:
    from ._segments import Segment, Segments

__all__ = ["SegmentTable", "Table"]


class Table:
    """Attributes beside an index, both changed through here.

    Both fill the gaps of removed rows with their last ones and so stay in one order. A graph does so in its own time:
    until then the attributes, too, keep what is gone in its place.
    """

    def __init__(self, index: Index, attributes: Attributes) -> None:
        self._attributes = attributes
        self._index = index
        self._n_changes = index._n_changes  # of the index, when the attributes last fitted it

    @property
    def index(self) -> Index:
        return self._index

    @property
    def attributes(self) -> Attributes:
        return self._attributes

    @property
    def schema(self) -> Schema:
        """What each column holds."""
        return self.attributes.schema

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._index._n_changes + self.attributes.version

    def insert(
        self, vectors: NDArray[Any], ids: ArrayLike | None, columns: Mapping[str, TypedColumn]
    ) -> NDArray[np.int64]:
        """Add rows to both, or to none; their ids."""
        self._fit()
        dead = self._index._dead().rows()
        added = self._index.add(vectors, ids)
        try:
            self.attributes.append_typed(len(added), columns)
        except BaseException:
            self._index.remove(added)
            self._drop(dead)
            raise
        finally:
            self._n_changes = self._index._n_changes
        return added

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Remove rows from both; their number."""
        self._fit()
        if not len(ids):
            return 0
        rows, dead = self._rows_of(ids), self._index._dead().rows()
        n_removed = self._index.remove(ids[np.argsort(rows)[::-1]])  # the last first, as attributes do it
        self._drop(np.concatenate([rows, dead]))
        return n_removed

    def update(self, ids: NDArray[np.int64], columns: Mapping[str, TypedColumn]) -> None:
        """Other values for rows."""
        self._fit()
        self.attributes.set_typed(self._rows_of(ids), columns)

    def optimize(self) -> None:
        """`Index.optimize`, which may change the order of its rows."""
        self._fit()
        dead = self._index._dead().rows()
        self._index.optimize()
        self._drop(dead)

    def _drop(self, dead: NDArray[np.int64]) -> None:
        """Rows that are gone, as soon as the index has filled their gaps."""
        if not self._index.n_dead and len(dead):
            self.attributes.drop(dead)
        self._n_changes = self._index._n_changes

    def take(self, ids: NDArray[np.int64], names: Sequence[str] | None = None) -> dict[str, TypedColumn]:
        """Columns of rows, NULL where an id is -1."""
        self.check()
        rows = self._find(ids)
        missing = rows < 0
        if not np.count_nonzero(missing):  # which numpy answers several times as fast as any()
            return self.attributes.take(rows, names)
        self._rows_of(ids[ids >= 0])  # all of them are there
        columns = self.attributes.take(np.maximum(rows, 0), names)
        return {name: column._replace(nulls=column.nulls | missing) for name, column in columns.items()}

    def where(self, predicate: object) -> Bitmap:
        """The rows of the index for which `predicate` is true."""
        self.check()
        rows = self.attributes.where(predicate)
        return rows.compress(self._live()) if self._index.n_dead else rows

    def allowed(self, predicate: object) -> Bitmap:
        """The same as `Index._search_allowed` takes it: over places, of which it may hold some that are gone."""
        return self.where(predicate)

    def count(self, predicate: object) -> int:
        """Number of rows for which `predicate` is true."""
        self.check()
        if self._index.n_dead:
            return (self.attributes.where(predicate) & self._live()).count()
        return self.attributes.count(predicate)

    def _live(self) -> Bitmap:
        """The rows that are there, of those that have attributes: a failed insertion may have left others."""
        live, n = ~self._index._dead(), len(self.attributes)
        return live if len(live) == n else live.slice(0, n)

    def holds(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `ids` there are rows for."""
        return self._find(ids) >= 0

    def _find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the attributes, -1 where there are none."""
        return self._index._core.find(ids)

    def _rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the attributes."""
        rows = self._find(ids)
        if (rows < 0).any():
            raise InvalidArgumentError(f"ids holds {ids[rows < 0][0]}, which is not in the collection")
        return rows

    def _fit(self) -> None:
        """Before a change: as many rows as the index has, where there are no columns that would not fit them."""
        self.check()
        if self._index._n_changes != self._n_changes:
            self.attributes.truncate(0)
            self._n_changes = self._index._n_changes
        n_missing = len(self._index) + self._index.n_dead - len(self.attributes)
        if n_missing:
            self.attributes.append_typed(n_missing, {})

    def check(self) -> None:
        """Refuse columns that stand beside other rows than their own."""
        if self._index._n_changes != self._n_changes and self.schema:
            raise InvalidArgumentError("index has changed, its attributes have not: use the collection to change rows")


class SegmentTable(Table):
    """Attributes beside an index of segments: its rows are in the places of the index.

    Parameters
    ----------
    index : Segments
    schema : mapping of names to types
    load : callable, optional
        Makes the attributes when they are first needed. Default: there are no rows.
    """

    _index: Segments

    def __init__(self, index: Segments, schema: Schema, load: Callable[[], Attributes] | None = None) -> None:
        super().__init__(index, Attributes(schema=schema))
        self._load = load
        self._loading = Lock()

    @property
    def attributes(self) -> Attributes:
        with self._loading:
            if self._load is not None:
                self._attributes, self._load = self._load(), None
            return self._attributes

    @property
    def schema(self) -> Schema:
        return self._attributes.schema

    def remove(self, ids: NDArray[np.int64]) -> int:
        self.check()
        places = self._rows_of(ids)
        first = self._index.n_closed
        order = np.argsort(places)[::-1]
        attributes, last = self.attributes, places[order][places[order] >= first]
        n_removed = self._index.remove(ids[order])
        if len(last):
            attributes.drop(last)  # which moves the last rows, as the index does
        self._n_changes = self._index._n_changes
        return n_removed

    def update(self, ids: NDArray[np.int64], columns: Mapping[str, TypedColumn]) -> None:
        for segment in self._index.segments:  # first, since one too many does no harm
            if (segment.find(ids) >= 0).any():
                segment.columns_changed.update(columns)
        super().update(ids, columns)

    def optimize(self) -> None:
        self.replace(self._index.segments, self._index.merged())

    def replace(self, old: list[Segment], merged: Segment | None) -> None:
        """`Segments.replace`, and the attributes follow; rows of `old` that went meanwhile go from `merged` too."""
        self.check()
        start = next(start for start, segment in self._index.starts() if segment is old[0])
        end = start + sum(map(len, old))
        places = self._index.find(np.empty(0, np.int64) if merged is None else merged.index.ids, old)
        if merged is not None and (places < 0).any():
            merged.bury(np.flatnonzero(places < 0))
        behind = np.arange(end, self._index.n_places)
        columns = self.attributes.take(np.concatenate([start + np.maximum(places, 0), behind]))
        before = self.attributes.take(np.arange(start, self._index.n_places))
        n_changes, self._n_changes = self._n_changes, -1  # should something stop this halfway
        self.attributes.truncate(start)
        try:
            self.attributes.append_typed(len(places) + len(behind), columns)
        except MemoryError:
            self.attributes.append_typed(self._index.n_places - start, before)
            self._n_changes = n_changes
            raise
        self._index.replace(old, merged)
        self._n_changes = self._index._n_changes

    def allowed(self, predicate: object) -> Bitmap:
        self.check()
        return self.attributes.where(predicate)

    def _live(self) -> Bitmap:
        return self._index.live

    def _find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._index.find(ids)

    def _fit(self) -> None:
        self.check()

    def check(self) -> None:
        if self._index._n_changes != self._n_changes:
            raise InvalidArgumentError(
                "index has changed, its attributes have not: use the collection to change rows; rollback() helps"
            )
