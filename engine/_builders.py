"""Many items -> rows of a collection, batch by batch. What gives no vector that can be kept is reported, not lost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._validate import as_choice, as_count, as_float32, as_ids
from .exceptions import InvalidArgumentError
from .images import find_images, read_images
from .index import Index
from .progress import Progress, ProgressKind
from .texts import as_texts

if TYPE_CHECKING:
    from .collection import Collection
    from .protocols import Encoder

__all__ = ["NO_COSINE", "add_folder", "add_texts"]

NO_COSINE = "its vector is zero, which has no cosine"


def add_folder(
    collection: Collection,
    folder: str | os.PathLike[str],
    encoder: Encoder,
    *,
    labels: str | None,
    batch_size: int,
    workers: int,
    progress: ProgressKind,
) -> None:
    """What `Collection.from_images` says, into the empty `collection`."""
    as_choice("" if labels is None else labels, "labels", ("folder", ""))
    paths, collection.skipped = find_images(folder)
    labelled = labels is not None and any("/" in path for path in paths)
    if labelled:
        unlabelled = "lies in no subfolder, which would be its label"
        collection.skipped += [(path, unlabelled) for path in paths if "/" not in path]
        paths = [path for path in paths if "/" in path]
    with Progress(len(paths), "image", progress) as counted:
        for batch in read_images(folder, paths, batch_size=batch_size, workers=workers):
            before = len(collection.skipped)
            collection.skipped += batch.skipped
            columns = {"path": batch.paths}
            if labelled:
                columns["label"] = [path.partition("/")[0] for path in batch.paths]
            if batch.images:
                vectors = collection._encoding.encoded(encoder.encode_images, batch.images)
                typed = collection._table.attributes.typed(columns, len(vectors))
                collection._add_others(unusable(vectors, collection.index), vectors, None, typed, batch.paths)
            counted.update(len(batch), skipped=len(collection.skipped) - before)
    collection._encoding.note("images")
    collection.skipped.sort()
    if not len(collection):
        first = ": ".join(collection.skipped[0])
        raise InvalidArgumentError(f"folder is {folder!r}, expected images that can be used, but {first}")


def add_texts(
    collection: Collection,
    texts: Sequence[str],
    encoder: Encoder,
    *,
    ids: ArrayLike | None,
    labels: Sequence[Any] | None,
    attributes: Mapping[str, Sequence[Any]] | None,
    batch_size: int,
    progress: ProgressKind,
) -> None:
    """What `Collection.from_texts` says, into the empty `collection`."""
    texts = as_texts(texts, "texts")
    if not texts:
        raise InvalidArgumentError("texts is empty, expected at least one text")
    batch_size = as_count(batch_size, "batch_size")
    keys = as_ids(np.arange(len(texts)) if ids is None else ids, n=len(texts))
    unique, counts = np.unique(keys, return_counts=True)
    if len(unique) < len(keys):
        raise InvalidArgumentError(f"ids has {unique[counts > 1][0]} more than once, expected each id once")
    labelled = {} if labels is None else {"label": labels}
    typed, rows = collection._table.attributes.typed, np.arange(len(texts))
    columns = typed({"text": texts, **labelled}, len(texts)) | typed(attributes, len(texts))
    with Progress(len(texts), "text", progress) as counted:
        for start in range(0, len(texts), batch_size):
            part = slice(start, start + batch_size)
            before = len(collection.skipped)
            vectors = collection._encoding.encoded(encoder.encode_documents, texts[part])
            names = [f"texts[{i}]" for i in range(start, start + len(vectors))]
            values = {name: column.some(rows[part]) for name, column in columns.items()}
            collection._add_others(unusable(vectors, collection.index), vectors, keys[part], values, names)
            counted.update(len(vectors), skipped=len(collection.skipped) - before)
    collection._encoding.note("texts")
    if not len(collection):
        first = ": ".join(collection.skipped[0])
        raise InvalidArgumentError(f"texts has {len(texts)} entries, expected some that can be used, but {first}")


def unusable(vectors: NDArray[Any], index: Index) -> dict[int, str]:
    """The rows of `vectors` that `index` cannot keep, and why."""
    rounded = as_float32(vectors).ravel()
    kept = _core.kernels.load(_core.kernels.store(rounded, index.dtype), index.dtype).reshape(vectors.shape)
    fits = np.isfinite(kept).all(axis=1)
    if index.metric == "cosine":
        fits &= kept.any(axis=1)
    return {row: reason(vectors[row], kept[row], index.dtype) for row in np.flatnonzero(~fits).tolist()}


def reason(given: NDArray[Any], kept: NDArray[np.float32], dtype: str) -> str:
    """Why the vector `given`, which would be kept as `kept`, cannot be."""
    if not np.isfinite(given).all():
        return "its vector is not finite"
    if not given.any():
        return NO_COSINE
    largest = given[np.argmax(abs(given))]
    return f"its vector holds {largest}, too {'small' if np.isfinite(kept).all() else 'large'} for {dtype}"
