"""Embeddings on disk, so that an item is encoded once.

One file for each encoder and side, a row of fixed size for each item: key, checksum, vector. Rows are appended under
a lock and nothing is rewritten, so any number of processes share a folder. A kill costs at most the rows being written:
a row counts only if its checksum fits, and the next writer cuts off a torn last one.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from engine._validate import as_matrix, as_path
from engine.exceptions import EncoderMismatchError, InvalidArgumentError, StorageError
from engine.images import as_images
from engine.protocols import Encoder
from engine.texts import as_texts

from .base import Vectors

__all__ = ["CachedEncoder"]

VERSION = 1  # in every checksum: rows of another layout are not believed
# Items are encoded and kept a part at a time: what a kill costs.
PARTS, SMALLEST_PART, LARGEST_PART = 100, 64, 1024
LOCK = (
    threading.Lock()
)  # of what encoders remember in memory; one for all, held for long only when a file is first read


class CachedEncoder:
    """An encoder that remembers: it asks `encoder` only for items it has not seen.

    Parameters
    ----------
    encoder : Encoder
        Whose vectors to keep.
    folder : path_like
        Made if it does not exist. Encoders and processes may share it.

    Attributes
    ----------
    n_hits, n_misses : int
        Items answered from the cache, and items that were encoded.

    Raises
    ------
    StorageError
        The folder cannot be read or written.

    Notes
    -----
    An item is known by its content: the decoded pixels and their shape, or the text. Queries, documents and images are
    kept apart, and so are encoders of different fingerprints. A damaged row counts as unseen, and vectors that are not
    finite are not kept. Vectors are written after every hundredth of the items, at least 64 and at most 1,024 of them,
    so that a run which is killed goes on from there; images are decoded again. Threads may share one if they may share
    `encoder`; an item that two of them miss at the same time is encoded twice.

    Examples
    --------
    >>> import tempfile, numpy as np, encoders
    >>> cached = CachedEncoder(encoders.get("pixels"), tempfile.mkdtemp())
    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> bool((cached.encode_images([image, image]) == cached.encode_images([image])).all())
    True
    >>> cached.n_hits, cached.n_misses
    (2, 1)
    """

    def __init__(self, encoder: Encoder, folder: str | os.PathLike[str]) -> None:
        if not isinstance(encoder, Encoder):
            raise InvalidArgumentError(f"encoder is {encoder!r}, expected an Encoder such as encoders.get('pixels')")
        self.encoder = encoder
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint
        self.name: str = getattr(encoder, "name", "")
        self.options: dict[str, Any] = getattr(encoder, "options", {})
        self.n_hits = self.n_misses = 0
        folder = as_path(folder, "folder")
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise StorageError(error.errno, f"cannot make the cache: {error.strerror}", folder) from error
        sides = ("image", "query", "document")
        self._rows = {side: Rows(folder, f"{encoder.fingerprint}/{side}", encoder.dim) for side in sides}

    def __repr__(self) -> str:
        return f"<CachedEncoder of {self.encoder!r}>"

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """As `encoder.encode_images`."""
        checked = as_images(images, "images")
        return self._encode("image", checked, list(map(image_key, checked)), self.encoder.encode_images)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """As `encoder.encode_queries`."""
        checked = as_texts(texts, "texts")
        return self._encode("query", checked, list(map(text_key, checked)), self.encoder.encode_queries)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """As `encoder.encode_documents`."""
        checked = as_texts(texts, "texts")
        return self._encode("document", checked, list(map(text_key, checked)), self.encoder.encode_documents)

    def _encode(
        self, side: str, items: list[Any], keys: list[bytes], encode: Callable[[list[Any]], Vectors]
    ) -> Vectors:
        if self.encoder.fingerprint != self.fingerprint:
            raise EncoderMismatchError(
                f"{self.encoder!r} has learned something since: its fingerprint was {self.fingerprint!r} and is "
                f"{self.encoder.fingerprint!r}; make a CachedEncoder of it anew"
            )
        rows = self._rows[side]
        known = rows.get(keys)
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
        unknown = sorted(
            missing, key=lambda key: -len(missing[key])
        )  # of similar length together, as models want texts
        size = min(max(SMALLEST_PART, len(unknown) // PARTS), LARGEST_PART)
        for start in range(0, len(unknown), size):
            part = unknown[start : start + size]
            vectors = as_matrix(encode([missing[key] for key in part]), "vectors", check=False)
            if vectors.shape != (len(part), self.dim):
                raise EncoderMismatchError(
                    f"{self.encoder!r} returned shape {vectors.shape}, expected {(len(part), self.dim)}"
                )
            fresh = dict(zip(part, vectors, strict=True))
            rows.put({key: vector for key, vector in fresh.items() if np.isfinite(vector).all()})
            known |= fresh
        with LOCK:
            self.n_misses += len(missing)
            self.n_hits += len(items) - len(missing)
        return np.array([known[key] for key in keys], np.float32).reshape(len(keys), self.dim)


class Rows:
    """The file of one encoder and side."""

    def __init__(self, folder: str, purpose: str, dim: int) -> None:
        self.path = os.path.join(folder, xxhash.xxh3_128_hexdigest(purpose.encode()) + ".rows")
        self.seed = xxhash.xxh3_64_intdigest(f"{VERSION}/{purpose}".encode())
        self.dtype = np.dtype([("key", "V16"), ("checksum", "<u8"), ("vector", "<f4", dim)])
        self.place: dict[bytes, int] = {}
        self.n_read = 0

    def get(self, keys: list[bytes]) -> dict[bytes, Vectors]:
        """The vectors of those `keys` that are here and undamaged."""
        with LOCK:
            rows = self.look()
            places = {key: place for key in keys if (place := self.place.get(key)) is not None}
        found = ((key, rows[place]) for key, place in places.items())
        return {
            key: np.array(row["vector"])
            for key, row in found
            if row["key"].tobytes() == key and row["checksum"] == self.checksum(key, row["vector"])
        }

    def look(self) -> NDArray[Any]:
        """All rows that are here now; notes the place of each."""
        try:
            n_rows = os.path.getsize(self.path) // self.dtype.itemsize
            rows = np.memmap(self.path, self.dtype, mode="r", shape=(n_rows,)) if n_rows else np.empty(0, self.dtype)
        except FileNotFoundError:
            n_rows, rows = 0, np.empty(0, self.dtype)
        except OSError as error:
            raise StorageError(error.errno, f"cannot read the cache: {error.strerror}", self.path) from error
        if n_rows < self.n_read:  # someone else removed the file and began anew
            self.place, self.n_read = {}, 0
        new = [key.tobytes() for key in rows["key"][self.n_read :]]
        self.place.update(zip(new, range(self.n_read, n_rows), strict=True))  # of a repeated key the last row counts
        self.n_read = n_rows
        return rows

    def put(self, vectors: dict[bytes, Vectors]) -> None:
        """Append rows. No fsync: after a power cut the checksums tell what arrived."""
        entries = [(key, self.checksum(key, vector), vector) for key, vector in vectors.items()]
        rows = np.array(entries, self.dtype)
        try:
            with open(self.path, "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                size = os.fstat(file.fileno()).st_size
                os.truncate(file.fileno(), size - size % self.dtype.itemsize)
                file.write(rows.tobytes())
        except OSError as error:
            raise StorageError(error.errno, f"cannot write the cache: {error.strerror}", self.path) from error

    def checksum(self, key: bytes, vector: Vectors) -> int:
        return xxhash.xxh3_64_intdigest(key + vector.tobytes(), self.seed)


def image_key(image: NDArray[np.uint8]) -> bytes:
    state = xxhash.xxh3_128(repr(image.shape).encode())
    state.update(image.data)
    return state.digest()


def text_key(text: str) -> bytes:
    return xxhash.xxh3_128_digest(text.encode())
