"""A collection: vectors with ids, attributes and the encoder that made them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _builders
from ._collection_file import read_collection, write_collection
from ._core import Bitmap
from ._encoding import Encoding, as_encoder
from ._rwlock import ReadWriteLock
from ._segments import Segments
from ._store import Store, require_room
from ._table import SegmentTable, Table
from ._validate import as_choice, as_count, as_flag, as_ids, as_path, memory_bytes, show
from .attributes import Attributes, as_names
from .columns import TypedColumn
from .exceptions import CorruptIndexError, InvalidArgumentError, StorageError, UnsupportedError
from .filters import Predicate, Schema, as_predicate
from .images import Skipped
from .index import Filter, Index
from .progress import ProgressKind
from .protocols import Encoder
from .types import IndexKind, Metric, Plan, SearchResult, VectorDtype, together

__all__ = ["Collection"]

Condition: TypeAlias = "Predicate | str | Mapping[str, Any]"
MOST_BITMAP_BYTES = 256 * 2**20  # of the filters of a batch, held at once


class Collection:
    """Vectors under int64 ids, each row with attributes, and the encoder that turns images or texts into more of them.

    Made by `create`, `from_images`, `from_texts` or `open`: in memory, from where `save` writes one file, or in a
    folder, which keeps what was committed, whatever happens. As a context manager it commits at the end of the block,
    or does not where that raises, and closes the folder.

    Attributes
    ----------
    index : Index
        The vectors. Change them through the collection only, so that the attributes stay beside them.
    skipped : list of (path, reason)
        What `from_images` or `from_texts` found and could not take in.

    Examples
    --------
    >>> import numpy as np, engine
    >>> collection = engine.Collection.create(dim=2)
    >>> collection.add([[1, 0], [0, 1]], attributes={"label": ["east", "north"]}).tolist()
    [0, 1]
    >>> collection.search([2, 1], k=2, columns=["label"]).attributes["label"].tolist()
    [['east', 'north']]
    >>> collection.search([2, 1], k=2, filter="label = 'north'").ids.tolist()
    [[1, -1]]

    In a folder:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "places")
    >>> with engine.Collection.create(path, dim=2) as collection:
    ...     ids = collection.add([[1, 0], [0, 1]], attributes={"label": ["east", "north"]})
    >>> len(engine.Collection.open(path)), engine.Collection.open(path).versions
    (2, [1, 2])

    Notes
    -----
    Any number of threads may search; changes wait for them and for each other. A folder has one writer and any number
    of readers, in any processes: these see the version that they have opened. docs/folder_format.md has its layout.
    """

    def __init__(self, index: Index, *, encoder: Encoder | None = None) -> None:
        self.index = index
        self.skipped: list[Skipped] = []
        self._table = Table(index, Attributes())
        self._lock = ReadWriteLock()
        self._encoding = Encoding(index.dim)
        self._store: Store | None = None  # None: in memory
        self._memory_limit = memory_bytes()
        if encoder is not None:
            self.encoder = encoder

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        dim: int | None = None,
        metric: Metric = "cosine",
        kind: IndexKind = "exact",
        dtype: VectorDtype = "float32",
        schema: Schema | None = None,
        encoder: Encoder | None = None,
        keep: int = 4,
        memory_limit: int | None = None,
    ) -> Collection:
        """Make an empty collection.

        Parameters
        ----------
        path : path_like, optional
            Folder to keep it in, which must be empty or not there; its version 1 is committed at once. Default: in
            memory.
        dim : int, optional
            Default: that of the encoder.
        metric, kind, dtype
            As for `Index`.
        schema : mapping of names to types, optional
            Columns and what they hold: "keyword", "int64", "float64", "bool", "timestamp" or "keywords" (a set of
            them). Others come with the first values they get, and take their type.
        encoder : Encoder, optional
            Without one, the collection takes and searches vectors only.
        keep : int, default 4
            Versions before the last that `open` finds in the folder; at least 1.
        memory_limit : int, optional
            Bytes. What would take more, by an estimate, is refused before it begins. Default: the memory of the
            machine, or of the container.

        Raises
        ------
        StorageError
            There is something in the folder, or the disk said no.
        """
        keep, limit = as_count(keep, "keep"), as_limit(memory_limit)
        if encoder is not None:
            dim = as_encoder(encoder).dim if dim is None else dim
        if dim is None:
            raise InvalidArgumentError("dim is None, expected an integer, or an encoder to take it from")
        collection = cls(Index(dim, metric=metric, kind=kind, dtype=dtype), encoder=encoder)
        collection._memory_limit = limit
        if path is None:
            collection._table = Table(collection.index, Attributes(schema=schema))
            return collection
        index = Segments(collection.index)
        table = SegmentTable(index, schema or {})
        collection._take(index, table)
        collection._store = Store.create(as_path(path), index, table, collection._meta(), keep=keep)
        return collection

    @classmethod
    def from_images(
        cls,
        folder: str | os.PathLike[str],
        encoder: Encoder,
        *,
        path: str | os.PathLike[str] | None = None,
        labels: Literal["folder"] | None = "folder",
        batch_size: int = 64,
        workers: int = 2,
        progress: ProgressKind = True,
        metric: Metric = "cosine",
        kind: IndexKind = "exact",
        dtype: VectorDtype = "float32",
    ) -> Collection:
        """Encode every image below a folder.

        Parameters
        ----------
        folder : path_like
            Walked completely, in sorted order; ids count the images taken in.
        encoder : Encoder
            For example ``encoders.get("pixels")``.
        path : path_like, optional
            As for `create`; everything is committed at the end.
        labels : "folder" or None
            "folder": the subfolder of `folder` that an image lies in is its label; images outside any subfolder are
            skipped then, unless all of them are.
        batch_size : int, default 64
            Images given to the encoder in one call; fewer where they are large.
        workers : int, default 2
            Threads that decode.
        progress : bool or "json", default True
            Show a bar if the standard error is a terminal, or write a JSON line a second to it: see `Progress`.
        metric, kind, dtype
            As for `Index`.

        Returns
        -------
        Collection
            With the columns "path", relative to `folder`, and "label". What gave no vector is in `skipped` with the
            reason: a file that cannot be decoded, a vector that the metric or the dtype cannot take.

        Raises
        ------
        InvalidArgumentError
            `folder` holds no image, or none that can be read.

        Examples
        --------
        >>> import tempfile, engine, encoders
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> Image.new("RGB", (9, 9), "red").save(f"{folder}/red.png")
        >>> collection = engine.Collection.from_images(folder, encoders.get("pixels"))
        >>> collection.paths.tolist(), collection.labels
        (['red.png'], None)
        """
        collection = cls.create(path, metric=metric, kind=kind, dtype=dtype, encoder=as_encoder(encoder))
        with collection._closed_after_error():
            _builders.add_folder(
                collection, folder, encoder, labels=labels, batch_size=batch_size, workers=workers, progress=progress
            )
            collection.commit()
        return collection

    @classmethod
    def from_texts(
        cls,
        texts: Sequence[str],
        encoder: Encoder,
        *,
        path: str | os.PathLike[str] | None = None,
        ids: ArrayLike | None = None,
        labels: Sequence[Any] | None = None,
        attributes: Mapping[str, Sequence[Any]] | None = None,
        batch_size: int = 256,
        progress: ProgressKind = True,
        metric: Metric = "cosine",
        kind: IndexKind = "exact",
        dtype: VectorDtype = "float32",
    ) -> Collection:
        """Encode texts, as documents.

        Parameters
        ----------
        texts : sequence of str
            At least one. They become the column "text".
        encoder : Encoder
            For example ``encoders.get("sbert:all-MiniLM-L6-v2")``.
        path : path_like, optional
            As for `create`; everything is committed at the end.
        ids : array_like of int, optional
            Default: the position in `texts`, also where others were skipped.
        labels : sequence, optional
            The column "label", one value for each text.
        attributes : mapping of str to sequence, optional
            More columns.
        batch_size : int, default 256
            Texts given to the encoder in one call.
        progress : bool or "json", default True
            Show a bar if the standard error is a terminal, or write a JSON line a second to it: see `Progress`.
        metric, kind, dtype
            As for `Index`.

        Returns
        -------
        Collection
            Texts whose vector the metric or the dtype cannot take are in `skipped` with the reason.

        Raises
        ------
        InvalidArgumentError
            No texts, or none that can be used; ids or attributes that do not fit them.
        """
        collection = cls.create(path, metric=metric, kind=kind, dtype=dtype, encoder=as_encoder(encoder))
        with collection._closed_after_error():
            _builders.add_texts(
                collection,
                texts,
                encoder,
                ids=ids,
                labels=labels,
                attributes=attributes,
                batch_size=batch_size,
                progress=progress,
            )
            collection.commit()
        return collection

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        mode: Literal["r", "w"] = "r",
        version: int | None = None,
        encoder: Encoder | None = None,
        verify: bool = True,
        mmap: bool = True,
        n_threads: int | None = None,
        memory_limit: int | None = None,
    ) -> Collection:
        """Open a folder, or a file that `save` wrote.

        Parameters
        ----------
        path : path_like
            The folder, or the file.
        mode : {"r", "w"}, default "r"
            "w": for changes, which one at a time may make; what commits that did not end have left is removed. A file
            has mode "r" only: what was opened may change, and is saved anew.
        version : int, optional
            Of a folder, one of those that `versions` lists. Default: the last, the only one that can be changed.
        encoder : Encoder, optional
            The one that made the vectors; `encoder_info` of the opened collection tells its name. Without it the
            collection takes and searches vectors only, until `encoder` is set.
        verify : bool, default True
            Compare the checksums of all files of the version, which takes a pass over them. False, in mode "r" only:
            sizes, and the manifest; damage may give wrong answers then.
        mmap : bool, default True
            Map large files: they are read where searches need them, and those of a folder larger than the memory can
            be searched. False: read and verify all of them now. Searches do not need the files from then on (one
            that is cut while it is mapped kills the process), and walks over a million rows take 0.8 to 0.9 of the
            time where the system gives large pages to memory (Linux). `rollback` reads them beside what is there.
        n_threads : int, optional
            As for `Index`.
        memory_limit : int, optional
            As for `create`.

        Raises
        ------
        EncoderMismatchError
            `encoder` is another than the one that made the vectors.
        CorruptIndexError
            A file is damaged or missing, or there is no collection in it.
        LockedError
            Another has it open for writing; the message says who.
        StorageError
            It cannot be read, or not written to.
        MemoryError
            Without `mmap`: the files are larger than `memory_limit`.
        """
        name = as_path(path)
        as_choice(mode, "mode", ("r", "w"))
        as_flag(verify, "verify")
        as_flag(mmap, "mmap")
        limit = as_limit(memory_limit)
        if is_folder(name):
            if mode == "w" and version is not None:
                raise InvalidArgumentError(f"version is {show(version)} and mode 'w', expected mode 'r': it is past")
            store, index, table = Store.open(
                name,
                write=mode == "w",
                version=version,
                verify=verify,
                mmap=mmap,
                n_threads=n_threads,
                memory_limit=limit,
            )
            try:
                collection = cls(index)
                collection._store = store
                collection._take(index, table)
                if encoder is not None:
                    collection.encoder = encoder
            except BaseException:
                store.close()
                raise
        else:
            if mode == "w" or version is not None:
                given = f"version is {show(version)}" if mode == "r" else "mode is 'w'"
                raise InvalidArgumentError(f"{given}, which only the folder of a collection has: {name} is none")
            if not mmap:
                require_room(name, os.path.getsize(name) if os.path.isfile(name) else 0, limit)
            collection = cls._from_file(name, n_threads, mmap=mmap)
            if encoder is not None:
                collection.encoder = encoder
        collection._memory_limit = limit
        return collection

    @classmethod
    def _from_file(cls, name: str, n_threads: int | None, *, mmap: bool) -> Collection:
        table, meta = read_collection(name, n_threads, mmap=mmap)
        collection = cls(table.index)
        collection._table = table
        try:
            collection._take_meta(meta)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptIndexError(f"{name} is not a valid collection: {error}") from error
        return collection

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vectors, attributes, the list of skipped files and the encoder's fingerprint to one file, atomically.

        Raises
        ------
        StorageError
            The disk said no; what stood at `path` before is untouched.
        """
        with self._lock.changing():
            if self._store:
                self._store.require_verified()
            write_collection(path, self.index, self._table, self._meta())

    @property
    def path(self) -> str | None:
        """The folder; None in memory."""
        return self._store.folder.path if self._store else None

    @property
    def versions(self) -> list[int]:
        """The versions in the folder that `open` finds, the last one of them at the end; none in memory."""
        return self._store.versions if self._store else []

    def commit(self) -> int:
        """Make all changes so far last, in the folder; in memory there is nothing to do.

        Returns
        -------
        int
            The version; the last one where nothing has changed.

        Raises
        ------
        StorageError
            The disk said no. Readers see the last version as it was, and the changes are still here, to be committed
            later. Where the error came after the new manifest was in place, the version counts, and the next commit
            makes sure that it is on the disk.
        LockedError
            The collection was closed, or belongs to the process that this one was forked from.

        Notes
        -----
        Small segments are merged first, so that there are few; of a graph, rows are linked when more than 20,000 and an
        eighth of the graph are not. Searches, changes and commits of other threads go on meanwhile. Then all that is
        new is written, for which changes wait.
        """
        if not self._store:
            return self.version
        self._store.require_lock()
        with suppress(MemoryError):  # many segments are better than no commit
            self._merge(whole=False)
        with self._lock.changing():
            assert isinstance(self.index, Segments)
            return self._store.commit(self.index, self._segment_table, self._meta())

    def rollback(self) -> None:
        """Forget all changes since the last commit; a collection in memory cannot."""
        if not self._store:
            raise UnsupportedError("a collection in memory has no commit to go back to: create it with a path")
        self._store.require_lock()
        with self._lock.changing():
            index, table = self._store.reload(self.index._n_threads)
            with self._lock.exclusive():
                self._take(index, table)

    def verify(self) -> dict[str, int]:
        """Check every checksum and what the files hold, of every version that the folder keeps by now.

        Returns
        -------
        dict
            That of `Index.inspect`, for the last version.

        Raises
        ------
        CorruptIndexError
            A file is damaged or missing; ids are twice there; a graph is not sound, as `Index.verify` says.
        """
        if not self._store:
            return self.index.verify()
        with self._lock.changing():
            return self._store.verify()

    def close(self) -> None:
        """Let others write to the folder. What was not committed is lost; searches go on."""
        if self._store:
            self._store.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._store and self._store.lock:
                self.commit()
        finally:
            self.close()

    def __reduce__(self) -> Any:
        if not self._store:
            return super().__reduce__()
        if self._store.lock:
            raise UnsupportedError(
                "a collection that is open for writing cannot be copied: commit, then open it to read"
            )
        return reopened, (self.path, self.version, self.encoder, self._store.folder.mmap)

    @contextmanager
    def _closed_after_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Alone with the rows, which may be changed."""
        if self._store:
            self._store.require_lock()
        with self._lock.writing():
            yield

    def _require_memory(self, n: int, what: str) -> None:
        """Refuse work on `n` rows that by an estimate takes more memory than there may be."""
        is_mapped = self._store is not None and self._store.folder.mmap
        held = self.index.unstored_nbytes if is_mapped and isinstance(self.index, Segments) else self.index.nbytes
        needed = held + n * row_bytes(self.index)
        if needed > self._memory_limit:
            raise MemoryError(
                f"to {what} {n} rows takes about {needed} bytes with what is in memory, "
                f"memory_limit is {self._memory_limit}"
            )

    @property
    def _segment_table(self) -> SegmentTable:
        assert isinstance(self._table, SegmentTable)
        return self._table

    def _merge(self, *, whole: bool) -> None:
        """Make one of all segments, or of those that are due unless another thread is at it."""
        with self._lock.preparing(wait=whole) as alone:
            if not alone:
                return
            with self._lock.changing():
                index = self.index
                assert isinstance(index, Segments)
                due = ((0, True) if index.is_split else None) if whole else index.due()
                if due is None:
                    return
                first, linked = due
                self._require_memory(sum(segment.n_live for segment in index.segments[first:]), "merge")
                old = index.close(first)
                begun = [replace(segment) for segment in old]  # as they are now
            merged = index.merged(begun, linked=linked)
            with self._writing():
                if self.index is index:  # not rolled back
                    self._segment_table.replace(old, merged)

    def _take(self, index: Segments, table: SegmentTable) -> None:
        """Rows of a folder, and what its manifest says besides."""
        self.index, self._table = index, table
        if self._store:
            try:
                self._take_meta(self._store.manifest)
            except (KeyError, TypeError, ValueError) as error:
                raise CorruptIndexError(f"{self.path} is not a valid collection: {error}") from error

    def _meta(self) -> dict[str, Any]:
        skipped = [list(entry) for entry in self.skipped]
        return {"skipped": skipped, **self._encoding.meta()}

    def _take_meta(self, meta: Mapping[str, Any]) -> None:
        self.skipped = [(file, reason) for file, reason in meta["skipped"]]
        self._encoding.take_meta(meta, default="texts" if "text" in self.schema else None)

    @property
    def encoder(self) -> Encoder | None:
        """What turns images and texts into vectors here; setting another than the vectors' own is refused."""
        return self._encoding.encoder

    @encoder.setter
    def encoder(self, encoder: Encoder) -> None:
        self._encoding.encoder = encoder

    @property
    def encoder_info(self) -> dict[str, Any]:
        """Name, options, dim and fingerprint of the encoder behind the vectors; empty if there was none."""
        return self._encoding.info

    @property
    def attributes(self) -> dict[str, NDArray[Any]]:
        """Every column as an array over the rows, in the order of `index.ids`."""
        with self._lock.reading():
            return {name: column.array() for name, column in self._table.take(self.index.ids).items()}

    @property
    def schema(self) -> Schema:
        """What each column holds."""
        return self._table.schema

    @property
    def version(self) -> int:
        """In a folder that of the last commit; in memory it grows with every change."""
        return self._store.version if self._store else self._table.version

    @property
    def paths(self) -> NDArray[Any] | None:
        """The column "path", or None."""
        return self._column("path")

    @property
    def labels(self) -> NDArray[Any] | None:
        """The column "label", or None."""
        return self._column("label")

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        name = self.encoder_info.get("name") or "no named encoder"
        return f"<Collection of {len(self)} rows, dim {self.index.dim}, {name}, columns {list(self.schema)}>"

    def add(
        self,
        items: Any,
        *,
        ids: ArrayLike | None = None,
        attributes: Any = None,
        on_zero: Literal["error", "skip"] = "error",
    ) -> NDArray[np.int64]:
        """Add vectors, texts or images; all of them or, after an error, none.

        Parameters
        ----------
        items : array_like, shape (n, dim) or (dim,), or a sequence of str, or of images
            Vectors as for `Index.add`; what else is encoded, texts as documents. An image is a uint8 RGB array of shape
            (height, width, 3), a Pillow image, a `pathlib.Path`, or a str that ends like an image file. In a collection
            that began with texts every str is a text.
        ids : array_like of int, optional
            Default: on from the largest ever used.
        attributes : mapping of names to sequences, list of dicts, DataFrame or Arrow table, optional
            A value for each item: str, int, finite float, bool, datetime, set of str, or None (NULL). Values of a
            column have one type. Rows without a value of a column are NULL there.
        on_zero : {"error", "skip"}, default "error"
            What a zero vector is under cosine. "skip": it is left out, and `skipped` lists it as ``items[i]``.

        Returns
        -------
        ndarray, shape (n,), int64
            The ids of what was added.
        """
        as_choice(on_zero, "on_zero", ("error", "skip"))
        kind, vectors = self._encoding.vectors(items, "items", "document")
        columns = self._table.attributes.typed(attributes, len(vectors))
        if on_zero == "error" or self.index.metric != "cosine":
            added = self._add(vectors, ids, columns)
        else:
            keys = None if ids is None else as_ids(ids, n=len(vectors))
            zero = dict.fromkeys(np.flatnonzero(~vectors.any(axis=1)).tolist(), _builders.NO_COSINE)
            added = self._add_others(zero, vectors, keys, columns, [f"items[{row}]" for row in range(len(vectors))])
        self._encoding.note(kind)
        return added

    def upsert(self, items: Any, ids: ArrayLike, *, attributes: Any = None) -> NDArray[np.int64]:
        """Add items, in place of what is under their ids now; all of them or, after an error, none.

        Parameters
        ----------
        items, attributes
            As for `add`. A row that was there is replaced as a whole: columns that `attributes` lacks are NULL.
        ids : array_like of int
            One for each item, each once.

        Returns
        -------
        ndarray, shape (n,), int64
            `ids`.
        """
        kind, vectors = self._encoding.vectors(items, "items", "document")
        columns = self._table.attributes.typed(attributes, len(vectors))
        keys = as_ids(ids, n=len(vectors))
        # What an index refuses, an empty one of its kind refuses too: before anything is removed.
        dtype: VectorDtype = "float32" if self.index.dtype == "int8" else self.index.dtype
        Index(self.index.dim, metric=self.index.metric, dtype=dtype).add(vectors, keys)
        self._require_memory(len(vectors), "add")
        with self._writing():
            self._table.remove(keys[self._table.holds(keys)])
            self._table.insert(vectors, keys, columns)
        self._encoding.note(kind)
        return keys

    def update(self, ids: ArrayLike, attributes: Any) -> None:
        """Give rows other attributes; their vectors stay, and so do the columns that `attributes` lacks.

        Parameters
        ----------
        ids : array_like of int
            Each once.
        attributes
            As for `add`, a value for each id. None makes it NULL.

        Raises
        ------
        InvalidArgumentError
            Unknown ids, values that do not fit their column. Nothing has changed then.
        """
        keys = as_ids(ids)
        if len(np.unique(keys)) < len(keys):
            raise InvalidArgumentError("ids has an id more than once, expected each id once")
        columns = self._table.attributes.typed(attributes, len(keys))
        with self._writing():
            self._table.update(keys, columns)

    def delete(self, ids: ArrayLike | None = None, *, filter: Filter | Condition | None = None) -> int:
        """Remove rows, given by their ids or by a filter.

        Parameters
        ----------
        ids : array_like of int, optional
            All must be in the collection.
        filter : optional
            As for `search`.

        Returns
        -------
        int
            Number of rows removed. No search finds them, and no filter counts them, from then on.
        """
        if (ids is None) == (filter is None):
            raise InvalidArgumentError(f"ids is {show(ids)} and filter {show(filter)}, expected one of them")
        keys = None if ids is None else as_ids(ids)
        with self._writing():
            if keys is None:
                allowed = self._rows(filter)
                keys = self.index.ids[allowed.rows() if allowed is not None else slice(None)]
            return self._table.remove(np.unique(keys))

    def optimize(self) -> None:
        """Drop removed rows of a graph, as `Index.optimize`; masks then refer to another order of rows.

        In a folder all rows become one segment, and a graph links those that it has not linked yet. Searches and
        changes go on meanwhile; `commit` makes it last.
        """
        if not self._store:
            with self._writing():
                self._table.optimize()
            return
        self._store.require_lock()
        self._merge(whole=True)

    def count(self, filter: Filter | Condition | None = None) -> int:
        """Number of rows, or of those that `filter`, as for `search`, lets pass; exact."""
        with self._lock.reading():
            if is_condition(filter):
                return self._table.count(filter)
            allowed = self._rows(filter)
            return len(self) if allowed is None else allowed.count()

    def to_arrow(self) -> Any:
        """All rows as a ``pyarrow.Table``: ``id``, ``vector`` (fixed-size lists of float32), the columns; NULL is null.

        Raises
        ------
        InvalidArgumentError
            A column is called "id" or "vector".
        UnsupportedError
            pyarrow is not installed.
        """
        from .interop.arrow import arrow_table

        with self._lock.reading():
            ids = self.index.ids
            return arrow_table(ids, self.index.get(ids), self._table.take(ids))

    def get(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The vectors of `ids`, shape (n, dim); an unknown id raises InvalidArgumentError."""
        with self._lock.reading():
            return self.index.get(ids)

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        filter: Filter | Condition | Sequence[Condition | None] | None = None,
        recall: float | None = None,
        exact: bool = False,
        columns: Sequence[str] = (),
    ) -> SearchResult:
        """Find the `k` nearest rows of each query.

        Parameters
        ----------
        queries : array_like, shape (n_queries, dim) or (dim,), or a sequence of str, or of images
            As for `add`; texts are encoded as queries. One item alone gives one row.
        k : int, default 10
            At least 1, as for `Index.search`. Where fewer rows pass, the places left hold id -1 and distance +inf.
        filter : Predicate, SQL condition, dict, bool mask over rows, array of allowed ids, or Bitmap, optional
            What `engine.col` makes, ``"year > 2020 AND label = 'cat'"`` or ``{"year": {"$gt": 2020}}``: docs/filters.md
            has all three. A list of these, None among them, has one filter for each query; queries that share one are
            searched together.
        recall : float, optional
            As for `Index.search`.
        exact : bool, default False
            The same as a recall of 1; not to be given with another.
        columns : sequence of str, optional
            Columns to put into ``result.attributes``, each of shape (n_queries, k); NULL (None, NaN, NaT) where the
            id is -1.

        Returns
        -------
        SearchResult

        Raises
        ------
        InvalidArgumentError
            As `Index.search`; an unknown column; a filter that does not fit the columns; items to encode where there is
            no encoder.
        EncoderMismatchError
            Vectors of another dim.
        NotBuiltError
            The collection is empty.

        Examples
        --------
        >>> import engine
        >>> collection = engine.Collection.create(dim=2)
        >>> ids = collection.add([[1, 0], [0, 1], [1, 1]], attributes={"year": [2019, 2021, None]})
        >>> collection.search([1, 0], k=1, filter=engine.col("year") > 2020).ids.tolist()
        [[1]]
        >>> collection.search([[1, 0], [1, 0]], k=1, filter=["year IS NULL", None]).ids.tolist()
        [[2], [0]]
        """
        names = [] if isinstance(columns, tuple) and not columns else as_names(columns, self.schema)
        if as_flag(exact, "exact"):
            if recall not in (None, 1):
                raise InvalidArgumentError(f"recall is {show(recall)} and exact True, expected one of them")
            recall = 1.0
        _, vectors = self._encoding.vectors(queries, "queries", "query")
        with self._lock.reading():
            if isinstance(filter, (list, tuple)) and any(each is None or is_condition(each) for each in filter):
                result = self._search_each(vectors, k, filter, recall)
            else:
                result = self.index._search_allowed(vectors, k, self._allowed(filter), recall)
            if not names:
                return result
            attributes = self._attributes_of(result.ids, names)
            return SearchResult(result.ids, result.distances, result.metric, result.stats, attributes)

    def explain(self, k: int = 10, *, filter: Filter | Condition | None = None, recall: float | None = None) -> Plan:
        """Say how `search` would run, without running it; the arguments are those of `search`."""
        with self._lock.reading():
            return self.index.explain(k, recall=recall, filter=self._rows(filter))

    def _search_each(self, vectors: NDArray[Any], k: int, filters: Sequence[Any], recall: float | None) -> SearchResult:
        """A search with a filter for each query."""
        if len(filters) != len(vectors):
            raise InvalidArgumentError(
                f"filter has {len(filters)} entries, expected {len(vectors)}, one for each query"
            )
        known: dict[Predicate | None, Bitmap | None] = {None: None}  # queries that share a bitmap are searched together
        allowed: list[Bitmap | None] = []
        nbytes, start, found = 0, 0, []
        for query, each in enumerate(filters):
            if not (each is None or is_condition(each)):
                raise InvalidArgumentError(f"filter[{query}] is {show(each)}, expected a predicate or None")
            predicate = None if each is None else as_predicate(each).canonical
            if predicate not in known:
                known[predicate] = rows = self._table.allowed(predicate)
                nbytes += rows.nbytes
            allowed.append(known[predicate])
            if nbytes > MOST_BITMAP_BYTES or query == len(filters) - 1:
                found.append(self.index._search_each(vectors[start : query + 1], k, allowed, recall))
                known, allowed, nbytes, start = {None: None}, [], 0, query + 1
        if len(found) == 1:
            return found[0]
        ids, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return SearchResult(ids, distances, self.index.metric, together([each.stats for each in found]))

    def _allowed(self, filter: Any) -> Bitmap | None:
        """What `filter` lets pass, as searches of the index take it; None: all."""
        return self._table.allowed(filter) if is_condition(filter) else self.index._allowed(filter)

    def _rows(self, filter: Any) -> Bitmap | None:
        """The rows of the index that `filter` lets pass; None: all."""
        return self._table.where(filter) if is_condition(filter) else self.index._bitmap(filter)

    def _add_others(
        self,
        unusable: Mapping[int, str],
        vectors: NDArray[Any],
        ids: NDArray[np.int64] | None,
        columns: Mapping[str, TypedColumn],
        names: Sequence[str],
    ) -> NDArray[np.int64]:
        """Add all rows but those that are `unusable`, which are listed by `names` and with their reason."""
        rows = np.array([row for row in range(len(vectors)) if row not in unusable], np.int64)
        added = np.empty(0, np.int64)
        if len(rows):
            kept = {name: column.some(rows) for name, column in columns.items()}
            added = self._add(vectors[rows], None if ids is None else ids[rows], kept)
        self.skipped += [(names[row], reason) for row, reason in unusable.items()]
        return added

    def _add(
        self, vectors: NDArray[Any], ids: ArrayLike | None, columns: Mapping[str, TypedColumn]
    ) -> NDArray[np.int64]:
        self._require_memory(len(vectors), "add")
        with self._writing():
            return self._table.insert(vectors, ids, columns)

    def _column(self, name: str) -> NDArray[Any] | None:
        with self._lock.reading():
            return self._table.take(self.index.ids, [name])[name].array() if name in self.schema else None

    def _attributes_of(self, ids: NDArray[np.int64], names: list[str]) -> dict[str, NDArray[Any]]:
        """The columns `names` of the rows `ids`, NULL where the id is -1."""
        columns = self._table.take(ids.ravel(), names)
        return {name: column.array().reshape(ids.shape) for name, column in columns.items()}


def reopened(path: str, version: int, encoder: Encoder | None, mmap: bool = True) -> Collection:
    return Collection.open(path, version=version, encoder=encoder, mmap=mmap)


def is_folder(path: str) -> bool:
    """Whether there is a folder; StorageError where the disk does not say."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StorageError(error.errno, f"cannot open collection: {error.strerror}", path) from error


def as_limit(memory_limit: int | None) -> int:
    return memory_bytes() if memory_limit is None else as_count(memory_limit, "memory_limit", most=2**63 - 1)


def row_bytes(index: Index) -> int:
    """What a row takes in memory while it is added, about: its vector, here and as it is kept, codes, ids and links."""
    links = 4 * (index.M or 0)
    fast = (12 + index.dim // 8) * (index.M or 0) if index.layout == "fast" else 0
    return 8 * index.dim + index.dim + 40 + links + fast


def is_condition(filter: object) -> TypeGuard[Condition]:
    """Whether it speaks of columns, and not of rows."""
    return isinstance(filter, (Predicate, str, Mapping))
