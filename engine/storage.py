"""One file of named arrays: written beside and renamed, checksummed, never pickled.

The layout, byte by byte, is docs/file_format.md.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from mmap import ACCESS_READ
from mmap import mmap as MemoryMap
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ._validate import as_flag, as_json, as_path, show
from .exceptions import CorruptIndexError, InvalidArgumentError, StorageError

__all__ = ["Arrays", "read_container", "write_container"]

MAGIC = b"\x93NRF\r\n\x1a\n"  # the line ends show a transfer in text mode
VERSION = 2
ALIGNMENT = 64
CHUNK = 1 << 24  # between two chunks Ctrl-C is heard
SMALL = 1 << 20  # bytes: an array up to here is verified at once in any case
PREAMBLE = struct.Struct("<8sQQQQ16x")  # magic, version, header bytes, header checksum, file size
CHECKSUM = struct.Struct("<Q")  # of the preamble, right behind it
DTYPES = {np.dtype(code).str for code in "?bBhHiIqQefd"}

Bytes = NDArray[np.uint8]


class Arrays(dict[str, NDArray[Any]]):
    """Arrays by name as `read_container` found them, with the checksums that they should have."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.checksums: dict[str, str] = {}

    def verify(self, most: float = math.inf, names: Iterable[str] | None = None) -> None:
        """Compare the checksums of arrays of up to `most` bytes; CorruptIndexError where one does not match."""
        for name in self if names is None else names:
            array = self[name]
            if array.nbytes <= most and f"{checksum(as_bytes(array)):016x}" != self.checksums[name]:
                raise CorruptIndexError(f"{self.path} is damaged: the checksum of array {name!r} does not match")


def write_container(
    path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write `header` and `arrays` into one file, atomically.

    Parameters
    ----------
    path : path_like
        Replaced in one step when everything is on the disk; a symbolic link is followed. Its permissions stay.
    header : mapping
        Whatever JSON gives back unchanged.
    arrays : mapping of str to ndarray
        Bool, integer and float arrays of any shape. Order and layout in memory do not matter.

    Raises
    ------
    StorageError
        The disk said no. The old file is untouched and nothing is left beside it.
    InvalidArgumentError
        `header` is not JSON, or an array has another kind of dtype.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "three.nrf")
    >>> write_container(path, {"metric": "l2"}, {"ids": np.arange(3)})
    >>> header, arrays = read_container(path)
    >>> header, arrays["ids"]
    ({'metric': 'l2'}, array([0, 1, 2]))
    """
    path = os.path.realpath(as_path(path))
    blocks = {name: as_block(array, name) for name, array in arrays.items()}
    parts = [part for block in blocks.values() for part in padded(as_bytes(block))]
    text = np.frombuffer(as_json({"header": header, "arrays": describe(blocks)}, "header").encode(), np.uint8)
    size = PREAMBLE.size + CHECKSUM.size + sum(map(len, [*padded(text), *parts]))
    preamble = PREAMBLE.pack(MAGIC, VERSION, len(text), checksum(text), size)
    preamble += CHECKSUM.pack(xxhash.xxh3_64_intdigest(preamble))
    replace_file(path, [np.frombuffer(preamble, np.uint8), *padded(text), *parts])


def read_container(
    path: str | os.PathLike[str], *, mmap: bool = True, verify: bool = True
) -> tuple[dict[str, Any], Arrays]:
    """Read what `write_container` wrote.

    Parameters
    ----------
    path : path_like
        The file.
    mmap : bool, default True
        Give read-only views of the mapped file. False reads all of it into memory of its own.
    verify : bool, default True
        Compare the checksum of every array. False leaves those of more than 1 MiB to ``arrays.verify()``.

    Returns
    -------
    header : dict
    arrays : Arrays
        A dict of str to ndarray. Each begins at a multiple of 64 bytes.

    Raises
    ------
    CorruptIndexError
        Damaged, cut short, grown, of a newer version or not one of ours; the message names the file and the damage.
    StorageError
        The file cannot be read.

    Notes
    -----
    Mapping without `verify` takes the same few milliseconds whatever the size of the file.

    A mapped file may be replaced by `write_container`, since that leaves the old bytes alone. Cutting it in place
    while it is mapped kills the process, as with every memory map.
    """
    path, mmap, verify = as_path(path), as_flag(mmap, "mmap"), as_flag(verify, "verify")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CorruptIndexError(f"{path} is not a regular file")
        with open(path, "rb") as file:
            length, expected = read_preamble(path, file)
            data = map_file(file) if mmap else load_file(file)
    except OSError as error:
        raise StorageError(error.errno, f"cannot read index: {error.strerror}", path) from error

    end = PREAMBLE.size + CHECKSUM.size + length
    start = position = aligned(end)
    if start > len(data):
        raise CorruptIndexError(f"{path} is damaged: its header of {length} bytes does not fit into the file")
    text = data[end - length : end]
    if checksum(text) != expected:
        raise CorruptIndexError(f"{path} is damaged: the checksum of its header does not match")
    require_zeros(path, data[end:start], "header")
    header, entries = parse_header(path, text.tobytes())

    arrays = Arrays(path)
    for name, entry in entries.items():
        dtype, shape, n_bytes = parse_entry(path, name, entry)
        end = position + n_bytes
        if entry.get("offset") != position - start or aligned(end) > len(data):
            raise CorruptIndexError(f"{path} is damaged: array {name!r} does not fit into the file")
        block = data[position:end]
        require_zeros(path, data[end : aligned(end)], f"array {name!r}")
        arrays[name] = block.view(dtype).reshape(shape)
        arrays.checksums[name] = entry["xxh3_64"]
        position = aligned(end)
    if position != len(data):
        raise CorruptIndexError(f"{path} is damaged: {len(data) - position} bytes belong to no array")
    arrays.verify(math.inf if verify else SMALL)
    return header, arrays


def aligned(position: int) -> int:
    """The next place where a section may begin."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def padded(block: Bytes) -> tuple[Bytes, Bytes]:
    """`block` and the zeros that fill it up to the next section."""
    return block, np.zeros(aligned(len(block)) - len(block), np.uint8)


def chunks(block: Bytes) -> Iterator[memoryview]:
    return (block.data[start : start + CHUNK] for start in range(0, len(block), CHUNK))


def checksum(block: Bytes) -> int:
    state = xxhash.xxh3_64()
    for chunk in chunks(block):
        state.update(chunk)
    return state.intdigest()


def as_bytes(array: NDArray[Any]) -> Bytes:
    return array.reshape(-1).view(np.uint8)


def as_block(array: NDArray[Any], name: str) -> NDArray[Any]:
    """`array` as the file keeps it: C order, little-endian."""
    array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    if array.dtype.str not in DTYPES:
        raise InvalidArgumentError(f"array {name!r} has dtype {array.dtype}, expected bool, integers or floats")
    return array


def describe(blocks: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, Any]]:
    """The entry of each array in the header; offsets count from the end of the header's padding."""
    entries, offset = {}, 0
    for name, block in blocks.items():
        entries[name] = {
            "dtype": block.dtype.str,
            "shape": list(block.shape),
            "offset": offset,
            "nbytes": block.nbytes,
            "xxh3_64": f"{checksum(as_bytes(block)):016x}",
        }
        offset += aligned(block.nbytes)
    return entries


def replace_file(path: str, parts: list[Bytes]) -> None:
    """Write `parts` beside `path`, then rename; each step reaches the disk before the next."""
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".{os.urandom(8).hex()}.nrf-tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                with suppress(FileNotFoundError):
                    os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
                for part in parts:
                    file.writelines(chunks(part))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(folder)
    except OSError as error:
        raise StorageError(error.errno, f"cannot write index: {error.strerror}", path) from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    name = as_path(path)
    try:
        replace_file(os.path.realpath(name), [np.frombuffer(text.encode(), np.uint8)])
    except StorageError as error:
        reason = (error.strerror or "").removeprefix("cannot write index: ")
        raise StorageError(error.errno, f"cannot write: {reason}", name) from error


def sync_folder(path: str) -> None:
    """Wait until the names of the files in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_preamble(path: str, file: BufferedReader) -> tuple[int, int]:
    """Length and checksum of the header, from a preamble that fits the file."""
    size = os.fstat(file.fileno()).st_size
    raw = file.read(PREAMBLE.size + CHECKSUM.size)
    if not raw:
        raise CorruptIndexError(f"{path} is empty")
    if not raw.startswith(MAGIC):
        raise CorruptIndexError(f"{path} is not a nearfield index: it begins with {raw[: len(MAGIC)]!r}")
    if len(raw) < PREAMBLE.size + CHECKSUM.size:
        raise CorruptIndexError(f"{path} is cut short: it ends after {len(raw)} bytes")
    preamble, given = raw[: PREAMBLE.size], CHECKSUM.unpack(raw[PREAMBLE.size :])[0]
    if xxhash.xxh3_64_intdigest(preamble) != given:
        raise CorruptIndexError(f"{path} is damaged: the checksum of its first bytes does not match")
    _, version, length, expected, recorded = PREAMBLE.unpack(preamble)
    if version != VERSION:
        raise CorruptIndexError(f"{path} has format version {version}, this release reads version {VERSION}")
    if size != recorded:
        raise CorruptIndexError(
            f"{path} is {'cut short' if size < recorded else 'too long'}: {size} of {recorded} bytes"
        )
    return length, expected


def map_file(file: BufferedReader) -> Bytes:
    return np.frombuffer(MemoryMap(file.fileno(), 0, access=ACCESS_READ), np.uint8)


def load_file(file: BufferedReader) -> Bytes:
    """All of `file` in memory that begins at a multiple of `ALIGNMENT`."""
    size = os.fstat(file.fileno()).st_size
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    data = memory[begin : begin + size]
    file.seek(0)
    n_read = sum(file.readinto(chunk) for chunk in chunks(data))
    return data[:n_read]


def require_zeros(path: str, padding: Bytes, what: str) -> None:
    if padding.any():
        raise CorruptIndexError(f"{path} is damaged: the padding behind its {what} is not zero")


def parse_header(path: str, text: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        whole = json.loads(text)
        header, entries = whole["header"], whole["arrays"]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise CorruptIndexError(f"{path} is damaged: its header cannot be read: {error!r}") from None
    if not isinstance(header, dict) or not isinstance(entries, dict):
        raise CorruptIndexError(f"{path} is damaged: its header is not a pair of objects")
    return header, entries


def parse_entry(path: str, name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Dtype, shape and bytes of an array, all of them possible; nothing is allocated yet."""
    try:
        code, shape, n_bytes, _ = (entry[key] for key in ("dtype", "shape", "nbytes", "xxh3_64"))
        integers = all(type(n) is int and n >= 0 for n in (n_bytes, *shape))
        if code in DTYPES and integers and len(shape) <= 32:
            item = np.dtype(code).itemsize
            if n_bytes == math.prod(shape) * item and math.prod(max(n, 1) for n in shape) * item < 2**63:
                return np.dtype(code), tuple(shape), n_bytes
    except (TypeError, KeyError):
        pass
    raise CorruptIndexError(f"{path} is damaged: array {name!r} is described by {show(entry)}")
