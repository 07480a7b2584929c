"""A folder of array files that never change, under one manifest that names them all.

It knows nothing of vectors. The layout is docs/folder_format.md.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ._validate import show
from .exceptions import CorruptIndexError, StorageError
from .storage import Bytes, as_block, as_bytes, checksum, chunks, load_file, map_file, parse_entry, sync_folder

__all__ = ["MANIFEST", "Entry", "Folder", "MissingFileError", "framed", "npy_header"]

MANIFEST = "manifest.json"
TEMPORARY = "manifest.json.tmp"
LOCK = "lock"
OURS = re.compile(r"\d{6,}-[a-z0-9_]+\.npy|manifest-\d+\.json|manifest\.json\.tmp")  # what a sweep may remove
EARLIER = re.compile(r"manifest-(\d{1,18})\.json")
BEFORE, BEHIND, END = b'{"xxh3_64": "', b'", "manifest": ', b"}\n"  # around the checksum and what it is of
SMALL = 1 << 20  # bytes: smaller files are read, which takes no descriptor
MOST_OPEN = 100  # descriptors of files that are written but not yet on the disk
LONGEST = 1 << 30  # bytes of a manifest

Entry = dict[str, Any]  # file, dtype, shape, nbytes, xxh3_64


class Folder:
    """Files of one collection.

    Parameters
    ----------
    path : str
        The folder, which is there.
    mmap : bool
        Whether large files are mapped. Otherwise they are read.
    """

    def __init__(self, path: str, *, mmap: bool = True) -> None:
        self.path = path
        self.mmap = mmap
        self._unsynced: list[int] = []  # descriptors of files that were written

    def file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def name(self, entry: Any) -> str:
        """The file of an entry, which lies in the folder itself."""
        name = entry.get("file") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not OURS.fullmatch(name):
            raise CorruptIndexError(f"{self.path} is damaged: its manifest names the file {show(entry)}")
        return name

    def write(self, name: str, array: NDArray[Any]) -> Entry:
        """A new file ``name`` that ``numpy.load`` reads, on the disk after `flush`; its entry in the manifest."""
        block = as_block(array, name)
        header = np.frombuffer(npy_header(block.dtype, block.shape), np.uint8)
        state = xxhash.xxh3_64()
        parts = [*chunks(header), *chunks(as_bytes(block))]
        self._write_file(name, parts, state.update)
        return {
            "file": name,
            "dtype": block.dtype.str,
            "shape": list(block.shape),
            "nbytes": block.nbytes,
            "xxh3_64": f"{state.intdigest():016x}",
        }

    def size(self, entry: Entry) -> int:
        """Bytes of the file of an entry, whatever that says."""
        path = self.file(self.name(entry))
        try:
            return os.stat(path).st_size
        except FileNotFoundError:
            raise MissingFileError(f"{path} is missing") from None
        except OSError as error:
            raise StorageError(error.errno, f"cannot read collection: {error.strerror}", path) from error

    def read(self, entry: Entry, *, verify: bool) -> NDArray[Any]:
        """The array of an entry; CorruptIndexError where the file is not what was written."""
        name = self.name(entry)
        path = self.file(name)
        dtype, shape, n_bytes = parse_entry(path, name, entry)
        header = npy_header(dtype, shape)
        data = self._contents(path, len(header) + n_bytes)
        if data[: len(header)].tobytes() != header:
            raise CorruptIndexError(f"{path} is damaged: it does not begin like a file of {dtype} {shape}")
        if verify and f"{checksum(data):016x}" != entry["xxh3_64"]:
            raise CorruptIndexError(f"{path} is damaged: its checksum does not match")
        return data[len(header) :].view(dtype).reshape(shape)

    def manifest(self, name: str = MANIFEST) -> tuple[dict[str, Any], bytes]:
        """What a manifest says, and its bytes."""
        path = self.file(name)
        try:
            raw = self._contents(path).tobytes()
        except MissingFileError as error:
            if name == MANIFEST:
                raise StorageError(errno.ENOENT, "holds no collection: no manifest.json", self.path) from None
            raise error
        start = len(BEFORE) + 16 + len(BEHIND)
        if len(raw) < start + len(END) or not raw.startswith(BEFORE):
            raise CorruptIndexError(f"{path} is not a manifest: it begins with {raw[: len(BEFORE)]!r}")
        body = raw[start : -len(END)]
        if raw != framed(body):
            raise CorruptIndexError(f"{path} is damaged: its checksum does not match")
        try:
            manifest = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise CorruptIndexError(f"{path} is damaged: it cannot be read: {error!r}") from None
        if not isinstance(manifest, dict):
            raise CorruptIndexError(f"{path} is damaged: it holds {show(manifest)}, expected an object")
        return manifest, raw

    def others(self) -> list[str]:
        """What stands between here and a new collection: another one, or files that are not ours."""
        names = os.listdir(self.path)
        return [name for name in names if name == MANIFEST or not (name == LOCK or OURS.fullmatch(name))]

    def newest(self) -> int:
        """The highest version of which there is an earlier manifest; 0 if there is none."""
        try:
            found = [EARLIER.fullmatch(name) for name in os.listdir(self.path)]
        except OSError as error:
            raise StorageError(error.errno, f"cannot read collection: {error.strerror}", self.path) from error
        return max((int(match[1]) for match in found if match), default=0)

    def write_manifest(self, name: str, raw: bytes) -> None:
        """A manifest under its own name, on the disk after `flush`."""
        self._write_file(name, [memoryview(raw)])

    def leave_manifest(self, name: str, raw: bytes) -> None:
        """A manifest under its own name that nobody waits for."""
        try:
            self.write_manifest(name, raw)
        finally:
            self.forget()

    def publish(self, raw: bytes) -> None:
        """Make the manifest `raw` the one that counts, for good; all files that it names must have been written.

        After an error `counts` says which one does.
        """
        self._write_file(TEMPORARY, [memoryview(raw)], replace=True)
        self.flush()
        self.sync()
        with self._writing():
            os.replace(self.file(TEMPORARY), self.file(MANIFEST))
        self.sync()

    def counts(self, raw: bytes) -> bool | None:
        """Whether `raw` is the manifest that counts: a step that reports an error may have been done. None: unknown."""
        try:
            with open(self.file(MANIFEST), "rb") as file:
                return file.read() == raw
        except FileNotFoundError:
            return False
        except OSError:
            return None

    def flush(self) -> None:
        """Wait until all files written so far are on the disk: together, which takes it less time."""
        with self._writing():
            for descriptor in self._unsynced:
                os.fsync(descriptor)
        self.forget()

    def forget(self) -> None:
        """Close what was written, on the disk or not."""
        while self._unsynced:
            os.close(self._unsynced.pop())

    def sync(self) -> None:
        """Wait until the names of all files are on the disk."""
        with self._writing():
            sync_folder(self.path)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; what cannot be removed is left to the next `sweep`."""
        for name in names:
            with suppress(OSError):
                os.unlink(self.file(name))

    def sweep(self, keep: Iterable[str]) -> None:
        """Remove files of ours that are not among `keep`."""
        with suppress(OSError):
            self.remove(name for name in set(os.listdir(self.path)).difference(keep) if OURS.fullmatch(name))

    def _contents(self, path: str, size: int | None = None) -> Bytes:
        """All bytes of a file, of which there must be `size`."""
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise CorruptIndexError(f"{path} is not a regular file")
                if size is not None and status.st_size != size:
                    what = "cut short" if status.st_size < size else "too long"
                    raise CorruptIndexError(f"{path} is {what}: {status.st_size} of {size} bytes")
                if size is None and status.st_size > LONGEST:
                    raise CorruptIndexError(f"{path} is too long: {status.st_size} bytes")
                is_mapped = self.mmap and size is not None and size >= SMALL
                data = map_file(file) if is_mapped else load_file(file)
        except FileNotFoundError:
            raise MissingFileError(f"{path} is missing") from None
        except OSError as error:
            raise StorageError(error.errno, f"cannot read collection: {error.strerror}", path) from error
        if size is not None and len(data) != size:
            raise CorruptIndexError(f"{path} changes while it is read")
        return data

    def _write_file(
        self,
        name: str,
        parts: Iterable[memoryview],
        also: Callable[[memoryview], object] = lambda part: None,
        *,
        replace: bool = False,
    ) -> None:
        """Write `parts` to a new file; `also` is called with each of them."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if replace else os.O_EXCL)
        if len(self._unsynced) >= MOST_OPEN:
            self.flush()
        with self._writing():
            descriptor = os.open(self.file(name), flags, 0o666)
            self._unsynced.append(descriptor)
            for part in parts:
                also(part)
                write_all(descriptor, part)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(error.errno, f"cannot write collection: {error.strerror}", self.path) from error


class MissingFileError(CorruptIndexError):
    """A file that a manifest names is not there: damage, or a writer that is done with that version."""


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The header of a file of version 1.0 of numpy's format: 64 bytes, or a multiple of them."""
    sizes = "".join(f"{n}, " for n in shape).rstrip() if len(shape) == 1 else ", ".join(map(str, shape))
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({sizes}), }}"
    length = -(-(10 + len(text) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"


def framed(body: bytes) -> bytes:
    return BEFORE + xxhash.xxh3_64_hexdigest(body).encode() + BEHIND + body + END


def write_all(descriptor: int, part: memoryview) -> None:
    while part:
        n_written = os.write(descriptor, part)
        if not n_written:
            raise OSError(errno.EIO, "nothing could be written")
        part = part[n_written:]
