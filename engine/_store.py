"""The folder of a collection: from its files to rows in memory, and by commits back."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from ._folder import MANIFEST, SMALL, TEMPORARY, Entry, Folder, MissingFileError, framed
from ._graph_options import GRAPH_OPTIONS
from ._packed import packed, unpacked
from ._segments import Segment, Segments
from ._table import SegmentTable
from ._validate import as_json, show
from ._writer_lock import WriterLock
from .attributes import Attributes
from .exceptions import CorruptIndexError, EngineError, InvalidArgumentError, LockedError, StorageError
from .index import Index, _restore
from .storage import sync_folder

__all__ = ["Store"]

FORMAT = "nearfield.collection"
FORMAT_VERSION = 1
T = TypeVar("T")
TRIES = 20  # to open a version, while a writer goes on to others
OF_A_COMMIT = ("version", "next_file", "earlier")  # what differs between two commits of the same


class Store:
    """One version of a collection in a folder, open for reading or, with a lock, for writing.

    Attributes
    ----------
    folder : Folder
    lock : WriterLock or None
    manifest : dict
        What the version is made of.
    """

    def __init__(self, folder: Folder, lock: WriterLock | None, manifest: dict[str, Any], raw: bytes) -> None:
        self.folder = folder
        self.lock = lock
        self.manifest = manifest
        self._raw = raw
        self._next_file = manifest["next_file"]
        self._synced = True
        self._verified = True

    @classmethod
    def create(cls, path: str, index: Segments, table: SegmentTable, meta: dict[str, Any], *, keep: int) -> Store:
        """Make the folder, which must be empty or not there, and commit version 1; it is open for writing then.

        What a `create` that failed has left is no obstacle.
        """
        folder = Folder(os.path.abspath(path))
        try:
            os.makedirs(folder.path, exist_ok=True)
            sync_folder(os.path.dirname(folder.path))
            lock = WriterLock(folder.path)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(error.errno, f"cannot create collection: {error.strerror}", path) from error
        store = cls(folder, lock, {"version": 0, "next_file": 0, "keep": keep, "earlier": []}, b"")
        try:
            if folder.others():
                raise StorageError(errno.ENOTEMPTY, "cannot create collection: the folder is not empty", path)
            folder.sweep([])
            store.commit(index, table, meta)
        except BaseException:
            lock.release()
            raise
        return store

    @classmethod
    def open(
        cls,
        path: str,
        *,
        write: bool,
        version: int | None,
        verify: bool,
        mmap: bool = True,
        n_threads: int | None = None,
        memory_limit: int | None = None,
    ) -> tuple[Store, Segments, SegmentTable]:
        """A version, by default the last, and its rows; nothing is built on files that were not verified."""
        folder = Folder(os.path.abspath(path), mmap=mmap)
        lock = WriterLock(folder.path) if write else None
        verify = verify or write or not mmap  # what is read once may as well be looked at

        def work(last: dict[str, Any], newest: int) -> tuple[dict[str, Any], tuple[Segments, SegmentTable]]:
            manifest = of_version(folder, last, version, verify, newest)
            if not mmap and memory_limit is not None:
                with damage(folder):
                    n_bytes = sum(map(folder.size, entries_of(manifest)))
                require_room(folder.path, n_bytes, memory_limit)
            return manifest, loaded(folder, manifest, verify=verify, n_threads=n_threads)

        try:
            raw, (manifest, (index, table)) = undisturbed(folder, work)
            store = cls(folder, lock, manifest, raw)
            store._verified = verify
            if write:
                folder.sweep(store._kept_files())
        except BaseException:
            if lock:
                lock.release()
            raise
        return store, index, table

    @property
    def version(self) -> int:
        return int(self.manifest["version"])

    @property
    def versions(self) -> list[int]:
        """Those that can be opened."""
        return [*(int(entry["version"]) for entry in self.manifest["earlier"]), self.version]

    def reload(self, n_threads: int | None) -> tuple[Segments, SegmentTable]:
        """The rows of this version once more."""
        return loaded(self.folder, self.manifest, verify=True, n_threads=n_threads)

    def require_verified(self) -> None:
        """Compare the checksums that `open` left out."""
        if not self._verified:
            loaded(self.folder, self.manifest, verify=True, n_threads=None)
            self._verified = True

    def verify(self) -> dict[str, int]:
        """Check all files of the last version and of those before it that are kept, and what they hold."""
        folder = Folder(self.folder.path)  # mapped: one version after the other would be in memory

        def work(last: dict[str, Any], newest: int) -> dict[str, int]:
            of_version(folder, last, None, True, newest)
            for manifest in [*(earlier(folder, entry) for entry in last["earlier"]), last]:
                index, table = loaded(folder, manifest, verify=True, n_threads=None)
                with damage(folder):
                    report = index.verify()
                    if len(table.attributes) != index.n_places:
                        raise CorruptIndexError("columns and rows do not match")
            return report

        return undisturbed(folder, work)[1]

    def close(self) -> None:
        if self.lock:
            self.lock.release()

    def require_lock(self) -> None:
        """Refuse changes to what is open for reading, closed, or was opened by the parent of this process."""
        if self.lock is None:
            raise StorageError(errno.EROFS, "collection is open for reading: open it with mode='w'", self.folder.path)
        if not self.lock.held:
            raise LockedError(errno.EBADF, "collection was closed, or opened by another process", self.folder.path)

    def commit(self, index: Segments, table: SegmentTable, meta: dict[str, Any]) -> int:
        """Write what has changed since the last commit and make it count; the number of the version.

        Nothing has changed in memory or, as far as readers see, on the disk, where an error comes before the rename of
        the manifest. Where it comes after it, the version counts, and the next commit waits for the disk first.
        """
        self.require_lock()
        table.check()
        if not self._synced:
            self.folder.sync()
            self._synced = True
        written: list[str] = []
        raw = b""
        try:
            stored = [self._stored(start, segment, table, written) for start, segment in index.starts()]
            body = {"format": FORMAT, "format_version": FORMAT_VERSION, "keep": self.manifest["keep"], **meta}
            body |= {"index": index._header(), "schema": table.attributes.schema, "segments": stored}
            if body == {name: value for name, value in self.manifest.items() if name not in OF_A_COMMIT}:
                return self.version
            earlier = self._earlier(written)
            of_commit = {"version": self.version + 1, "next_file": self._next_file, "earlier": earlier}
            manifest = json.loads(as_json(of_commit | body, "what is to be stored"))
            raw = framed(json.dumps(manifest).encode())
            fresh = [segment for segment in index.segments if segment.stored is None]
            self.folder.publish(raw)
            self._adopt(manifest, raw, index)
        except BaseException:
            self.folder.forget()
            counts = bool(raw) and self.folder.counts(raw)
            if counts:
                self._adopt(manifest, raw, index)
                self._synced = False
            elif counts is False:
                self.folder.remove([*written, TEMPORARY])
            raise
        with suppress(EngineError, MemoryError):  # none of it is needed
            self.folder.sweep(self._kept_files())
            self.folder.leave_manifest(name_of(self.version), raw)  # by which an older manifest.json would be noticed
            for segment in fresh:
                if self.folder.mmap and segment.index.nbytes >= SMALL:
                    self._map(segment)
        return self.version

    def _map(self, segment: Segment) -> None:
        """Give back the memory of what is in files now."""
        mapped = loaded_segment(self.folder, segment.stored or {}, segment.index, verify=False)
        mapped.index._n_changes = segment.index._n_changes
        segment.index = mapped.index

    def _adopt(self, manifest: dict[str, Any], raw: bytes, index: Segments) -> None:
        self.manifest, self._raw = manifest, raw
        for segment, stored in zip(index.segments, manifest["segments"], strict=True):
            segment.stored = stored
            segment.columns_changed = set()

    def _stored(self, start: int, segment: Segment, table: SegmentTable, written: list[str]) -> dict[str, Any]:
        """What the manifest says of a segment, whose new parts are written."""

        def write(role: str, array: NDArray[Any]) -> Entry:
            name = f"{self._next_file:06d}-{role}.npy"
            self._next_file += 1
            written.append(name)
            return self.folder.write(name, array)

        attributes = table.attributes
        entry: dict[str, Any]
        if segment.stored is None:
            parts = segment.index._core.parts()
            files = {name: write(name, shaped(name, part, segment.index)) for name, part in parts.items()}
            entry = {"rows": len(segment), "header": segment.index._header(), "arrays": files, "columns": {}}
            entry |= {"n_gone": 0, "gone": None}
            changed = list(attributes.schema)
        else:
            entry = segment.stored | {"columns": dict(segment.stored["columns"])}
            changed = sorted(segment.columns_changed)
        if segment.n_gone != entry["n_gone"]:
            gone = np.flatnonzero(segment.gone).astype(np.uint32)
            entry |= {"gone": write("gone", gone), "n_gone": len(gone)}
        for name in changed:
            (column,) = attributes.take(np.arange(start, start + len(segment)), name).values()
            entry["columns"].pop(name, None)
            if not column.nulls.all():
                entry["columns"][name] = {role: write(role, array) for role, array in packed(column).items()}
        return entry

    def _earlier(self, written: list[str]) -> list[dict[str, Any]]:
        """The manifests of the versions that are kept, this one now among them."""
        if not self.version or not self.manifest["keep"]:
            return []
        name = name_of(self.version)
        written.append(name)
        self.folder.remove([name])  # it may not have reached the disk
        self.folder.write_manifest(name, self._raw)
        entry = {"version": self.version, "file": name, "xxh3_64": xxhash.xxh3_64_hexdigest(self._raw)}
        return [*self.manifest["earlier"], entry][-self.manifest["keep"] :]

    def _kept_files(self) -> set[str]:
        """Files of this version and of those before it that are kept."""
        names = {entry["file"] for entry in self.manifest["earlier"]} | {MANIFEST, name_of(self.version)}
        for manifest in [self.manifest, *(earlier(self.folder, entry) for entry in self.manifest["earlier"])]:
            names.update(entry["file"] for entry in entries_of(manifest))
        return names


def name_of(version: int) -> str:
    """The file that keeps the manifest of a version."""
    return f"manifest-{version}.json"


def undisturbed(folder: Folder, work: Callable[[dict[str, Any], int], T]) -> tuple[bytes, T]:
    """The bytes of the manifest and what `work` makes of it: anew, where a commit has removed files that it named."""
    for _ in range(TRIES):
        newest = folder.newest()  # before the manifest, which may only be newer then
        last, raw = folder.manifest()
        try:
            return raw, work(last, newest)
        except MissingFileError:
            if folder.manifest()[1] == raw:
                raise
    raise StorageError(errno.EBUSY, "cannot open collection: a writer was faster each time", folder.path)


def of_version(folder: Folder, last: dict[str, Any], version: int | None, verify: bool, newest: int) -> dict[str, Any]:
    """The manifest of a version, None: the last; `newest` is the highest of those before it."""
    with damage(folder):
        known = {entry["version"]: entry for entry in last["earlier"]}
        counts = {name: last[name] for name in ("version", "next_file", "keep")}
        if any(type(count) is not int or count < 0 for count in counts.values()):
            raise CorruptIndexError(f"{folder.path} is damaged: its manifest has {counts}")
        if last["format"] != FORMAT or last["format_version"] != FORMAT_VERSION:
            given = f"{show(last['format'])}, version {show(last['format_version'])}"
            raise CorruptIndexError(
                f"{folder.path} is {given}; this release reads {FORMAT!r}, version {FORMAT_VERSION}"
            )
        if newest > last["version"]:
            raise CorruptIndexError(f"{folder.path} has a manifest of version {last['version']}, not the last one")
        if verify:
            for entry in known.values():
                earlier(folder, entry)
        if version is None or version == last["version"]:
            return last
    if version not in known:
        expected = sorted([*known, last["version"]])
        raise InvalidArgumentError(f"version is {show(version)}, expected one that is kept: {expected}")
    return earlier(folder, known[version])


def earlier(folder: Folder, entry: dict[str, Any]) -> dict[str, Any]:
    """The manifest of an earlier version, as it was."""
    with damage(folder):
        manifest, raw = folder.manifest(folder.name(entry))
        if xxhash.xxh3_64_hexdigest(raw) != entry["xxh3_64"] or manifest["version"] != entry["version"]:
            raise CorruptIndexError(f"{folder.file(entry['file'])} is not the one that manifest.json names")
    return manifest


def entries_of(manifest: dict[str, Any]) -> Iterator[Entry]:
    """All array files that a manifest names."""
    for segment in manifest["segments"]:
        yield from segment["arrays"].values()
        if segment["gone"]:
            yield segment["gone"]
        for column in segment["columns"].values():
            yield from column.values()


def require_room(path: str, n_bytes: int, memory_limit: int) -> None:
    """Refuse to read more than there may be in memory."""
    if n_bytes > memory_limit:
        raise MemoryError(f"to read {path} takes {n_bytes} bytes, memory_limit is {memory_limit}")


def loaded(
    folder: Folder, manifest: dict[str, Any], *, verify: bool, n_threads: int | None
) -> tuple[Segments, SegmentTable]:
    """The rows that a manifest names."""
    with damage(folder):
        header = manifest["index"]
        options = {name: header[name] for name in GRAPH_OPTIONS if name in header}
        fixed = {name: header[name] for name in ("metric", "kind", "dtype")}
        template = Index(header["dim"], n_threads=n_threads, **fixed, **options)
        template.metadata = deepcopy(header["metadata"])
        schema = dict(manifest["schema"])
        segments, columns = [], []
        for stored in manifest["segments"]:
            segments.append(loaded_segment(folder, stored, template, verify=verify))
            arrays = {}
            for name, entries in stored["columns"].items():
                arrays[name] = {role: folder.read(entry, verify=verify) for role, entry in entries.items()}
            columns.append((len(segments[-1]), arrays))
        index = Segments(template, segments, int(header["next_id"]))
        return index, SegmentTable(index, schema, lambda: loaded_attributes(folder, schema, columns))


def loaded_attributes(
    folder: Folder, schema: dict[str, Any], segments: list[tuple[int, dict[str, dict[str, NDArray[Any]]]]]
) -> Attributes:
    """The columns of all segments, from the number of rows and the arrays of each."""
    with damage(folder):
        attributes = Attributes(schema=schema)
        for n, arrays in segments:
            attributes.append_typed(n, {name: unpacked(schema[name], held, n) for name, held in arrays.items()})
        return attributes


def loaded_segment(folder: Folder, stored: dict[str, Any], template: Index, *, verify: bool) -> Segment:
    parts = {}
    for name, entry in stored["arrays"].items():
        array = folder.read(entry, verify=verify)
        parts[name] = array.reshape(-1).view(np.uint8) if name == "vectors" else array.reshape(-1)
    index = _restore(stored["header"], parts, template._n_threads)
    if (index.dim, index.metric, len(index)) != (template.dim, template.metric, stored["rows"]) or index.n_dead:
        raise CorruptIndexError("a segment does not fit the others")
    segment = Segment.of(index)
    segment.stored = stored
    if stored["gone"]:
        rows = folder.read(stored["gone"], verify=verify).astype(np.int64)
        if rows.ndim != 1 or (rows[1:] <= rows[:-1]).any() or len(rows) != stored["n_gone"] or rows[-1] >= len(index):
            raise CorruptIndexError("the rows that are gone cannot be")
        segment.bury(rows)
    elif stored["n_gone"] != 0:
        raise CorruptIndexError("the rows that are gone are missing")
    return segment


def shaped(name: str, part: NDArray[Any], index: Index) -> NDArray[Any]:
    """A part of an index as its file has it: vectors and links as matrices."""
    if name == "links" and index.M:
        return part.reshape(-1, index.M)
    if name == "vectors" and len(part):
        dtype = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}[index.dtype]
        return part.view(dtype).reshape(-1, index.dim)
    return part


@contextmanager
def damage(folder: Folder) -> Iterator[None]:
    """A manifest that says what cannot be is an error of its own."""
    try:
        yield
    except MissingFileError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, ValueError) as error:
        message = str(error) if isinstance(error, CorruptIndexError) else f"its manifest cannot be: {error!r}"
        prefix = "" if folder.path in message else f"{folder.path} is damaged: "
        raise CorruptIndexError(prefix + message) from error
