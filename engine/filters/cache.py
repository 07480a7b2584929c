"""Bitmaps of predicates, kept."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

from .._core import Bitmap
from .._validate import as_count
from .convert import as_predicate
from .evaluate import Attributes, resolve
from .predicate import Predicate

__all__ = ["PredicateCache"]

ENTRY_BYTES = 1024  # of Python around a bitmap and a leaf, about


class PredicateCache:
    """The bitmaps of predicates that were resolved lately, by canonical form and version of the data.

    Parameters
    ----------
    max_bytes : int, default 64 MiB
        Of bitmaps and predicates together; those unused for longest go first. A bitmap that does not fit is returned
        all the same, and not kept.

    Notes
    -----
    Threads may share it. Two that ask for the same bitmap at once may both make it. Bitmaps are shared: they do not
    change. Old versions are not asked for again and so go by themselves; `clear` drops everything at once.
    """

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self.max_bytes = as_count(max_bytes, "max_bytes", most=2**63 - 1)
        self._lock = Lock()
        self._kept: OrderedDict[tuple[Hashable, Predicate], tuple[Bitmap, int]] = OrderedDict()
        self._nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Bytes in use, about."""
        return self._nbytes

    def resolve(self, predicate: object, attributes: Attributes, version: Hashable = None) -> Bitmap:
        """What `engine.filters.resolve` gives; `version` changes whenever the rows or values of `attributes` do."""
        canonical = as_predicate(predicate).canonical
        key = version, canonical
        with self._lock:
            if found := self._kept.get(key):
                self._kept.move_to_end(key)
                return found[0]
        rows = resolve(canonical, attributes)
        nbytes = rows.nbytes + predicate_bytes(canonical)
        with self._lock:
            if nbytes <= self.max_bytes and key not in self._kept:
                self._kept[key] = rows, nbytes
                self._nbytes += nbytes
                while self._nbytes > self.max_bytes:
                    _, (_, freed) = self._kept.popitem(last=False)
                    self._nbytes -= freed
        return rows

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._nbytes = 0


def predicate_bytes(predicate: Predicate) -> int:
    """Bytes of memory that `predicate` takes, about."""
    values = (value for leaf in predicate.leaves for value in getattr(leaf, "values", ()))
    return ENTRY_BYTES * (1 + sum(1 for _ in predicate.leaves)) + sum(100 + sys.getsizeof(value) for value in values)
