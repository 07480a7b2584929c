"""Folders and Parquet files through an encoder, as a Ray Data pipeline."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._builders import unusable
from .._encoding import as_encoder
from .._extras import require
from .._validate import as_choice, as_count, as_finite, as_path, show
from ..collection import Collection
from ..exceptions import EncoderMismatchError, EngineError, InvalidArgumentError
from ..images import find_images, read_image
from ..protocols import Encoder
from ..texts import as_texts, read_texts

if TYPE_CHECKING:
    import ray.data

__all__ = ["Encoding", "collect", "encode"]

Side = Literal["document", "query", "image"]
Batch: TypeAlias = dict[str, Any]
NEW = ("vector", "error", "encoder")  # the columns that encoding adds


def encode(
    source: str | os.PathLike[str] | ray.data.Dataset,
    encoder: Encoder | Callable[[], Encoder],
    *,
    side: Side = "document",
    column: str | None = None,
    batch_size: int = 256,
    n_actors: int = 1,
    num_gpus: float = 0.0,
) -> ray.data.Dataset:
    """Encode what lies in a folder or in Parquet files, spread over the machines of a Ray cluster.

    Parameters
    ----------
    source : path_like or ray.data.Dataset
        A folder of images (`side` "image"), of ``.txt`` files, or of ``.parquet`` files; one such file. All machines
        need to see it under this path.
    encoder : Encoder, or callable that gives one
        A callable, such as ``lambda: encoders.get("sbert:all-MiniLM-L6-v2")``, is called once in each actor; an encoder
        is copied to all of them.
    side : {"document", "query", "image"}, default "document"
        What the items are.
    column : str, optional
        Holds texts, or paths of images, those of a folder relative to it. Default: "path" of images, else "text".
    batch_size : int, default 256
        Items given to the encoder in one call.
    n_actors : int, default 1
        Copies of the encoder, each in a process of its own.
    num_gpus : float, default 0.0
        Of each of them.

    Returns
    -------
    ray.data.Dataset
        What `source` had, with "vector"; "error", the reason why there is none (the vector is NaN then), else ``""``;
        and "encoder", the fingerprint. Nothing runs before it is read: with `collect`, or ``write_parquet``.

    Raises
    ------
    InvalidArgumentError
        A folder without such files, a column that is missing or that encoding would replace.
    UnsupportedError
        Ray is not installed.

    Warns
    -----
    UserWarning
        Files of a folder that are left out: blank texts, links to folders.

    Examples
    --------
    >>> import encoders
    >>> collection = engine.Collection.create("photos.nf", encoder=encoders.get("pixels"))  # doctest: +SKIP
    >>> encoded = encode("photos/", lambda: encoders.get("pixels"), side="image", n_actors=8)  # doctest: +SKIP
    >>> collect(encoded, collection)  # doctest: +SKIP
    100000
    """
    as_choice(side, "side", ("document", "query", "image"))
    batch_size, n_actors = as_count(batch_size, "batch_size"), as_count(n_actors, "n_actors")
    num_gpus = as_finite(num_gpus, "num_gpus")
    if not isinstance(encoder, Encoder) and not callable(encoder):
        raise InvalidArgumentError(f"encoder is {show(encoder)}, expected an Encoder, or a callable that gives one")
    name = ("path" if side == "image" else "text") if column is None else column
    data = require("ray.data", "engine.distributed.encode", extra="ray")
    if isinstance(source, (str, os.PathLike)):
        dataset, folder = read(data, as_path(source, "source"), side)
    else:
        dataset, folder = source, ""
    names = dataset.columns() or []
    if name not in names:
        raise InvalidArgumentError(f"column is {show(name)}, expected one of {names}")
    if taken := [new for new in NEW if new in names]:
        raise InvalidArgumentError(f"source has the column {taken[0]!r}, which encoding gives: rename it first")
    return dataset.map_batches(
        Encoding,
        fn_constructor_args=(encoder, side, name, folder),
        batch_size=batch_size,
        concurrency=(1, n_actors),  # as many as all would leave no processor to read with
        num_gpus=num_gpus or None,
        batch_format="numpy",
    )


def collect(dataset: ray.data.Dataset, collection: Collection, *, batch_size: int = 4096) -> int:
    """Add what `encode` gave to a collection; its other columns become attributes.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Or anything whose ``iter_batches`` gives such columns, as numpy arrays.
    collection : Collection
        Rows without a vector, or with one that it cannot keep, are in its ``skipped`` afterwards.
    batch_size : int, default 4096

    Returns
    -------
    int
        Rows added. They are not committed yet.

    Raises
    ------
    EncoderMismatchError
        The vectors are of another encoder than the collection's.
    """
    n_before = len(collection)
    known = collection.encoder_info.get("fingerprint")
    for batch in dataset.iter_batches(batch_size=as_count(batch_size, "batch_size"), batch_format="numpy"):
        vectors, errors = np.asarray(batch.pop("vector"), np.float32), batch.pop("error")
        found = set(batch.pop("encoder").tolist())
        if known is not None and found - {known}:
            raise EncoderMismatchError(f"dataset is of encoder {show(min(found - {known}))}, expected {known!r}")
        labels = np.asarray(batch.get("path", np.arange(len(vectors))), str)
        reasons = {row: str(error) for row, error in enumerate(errors) if error}
        fine = np.array([row for row in range(len(vectors)) if row not in reasons], np.int64)
        rejected = unusable(vectors[fine], collection.index) if len(fine) else {}
        reasons |= {int(fine[row]): reason for row, reason in rejected.items()}
        collection.skipped += [(str(labels[row]), reason) for row, reason in sorted(reasons.items())]
        kept = np.array([row for row in range(len(vectors)) if row not in reasons], np.int64)
        if len(kept):
            attributes = {name: [plain(values[row]) for row in kept] for name, values in batch.items()}
            collection.add(vectors[kept], attributes=attributes or None)
    return len(collection) - n_before


class Encoding:
    """What an actor does: one encoder, batch by batch.

    Examples
    --------
    >>> import encoders
    >>> encoding = Encoding(lambda: encoders.get("hashing"), "document", "text")
    >>> batch = encoding({"text": np.array(["a red bus", None], object)})
    >>> batch["vector"].shape, batch["error"].tolist()
    ((2, 256), ['', 'text is None, expected a str'])
    """

    def __init__(self, encoder: Encoder | Callable[[], Encoder], side: Side, column: str, folder: str = "") -> None:
        self.encoder = as_encoder(encoder if isinstance(encoder, Encoder) else encoder())
        self.side, self.column, self.folder = side, column, folder
        encode = {"document": "encode_documents", "query": "encode_queries", "image": "encode_images"}[side]
        self._encode: Callable[[list[Any]], NDArray[Any]] = getattr(self.encoder, encode)

    def __call__(self, batch: Batch) -> Batch:
        """`batch` with the columns that encoding adds."""
        given = batch[self.column]
        errors = np.full(len(given), "", object)
        vectors = np.full((len(given), self.encoder.dim), np.nan, np.float32)
        items: dict[int, Any] = {}
        for row, value in enumerate(given):
            try:
                items[row] = self._item(value)
            except EngineError as error:
                errors[row] = str(error)
        try:
            if items:
                vectors[list(items)] = self._encode(list(items.values()))
        except InvalidArgumentError:  # one of them is to blame, and the others are not lost for it
            for row, item in items.items():
                try:
                    vectors[row] = self._encode([item])[0]
                except InvalidArgumentError as error:
                    errors[row] = str(error)
        fingerprints = np.full(len(given), self.encoder.fingerprint, object)
        return batch | {"vector": vectors, "error": errors, "encoder": fingerprints}

    def _item(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidArgumentError(f"{self.column} is {show(value)}, expected a str")
        if self.side == "image":
            return read_image(os.path.join(self.folder, value))
        return as_texts([value], self.column)[0]


def read(data: Any, path: str, side: str) -> tuple[Any, str]:
    """The dataset of a path, and the folder that paths in it are relative to."""
    parquet = [path] if path.endswith(".parquet") else []
    if os.path.isdir(path):
        parquet = sorted(
            os.path.join(place, name)
            for place, _, names in os.walk(path)
            for name in names
            if name.endswith(".parquet")
        )
    if parquet:
        missing = [file for file in parquet if not os.path.exists(file)]
        if missing:
            raise InvalidArgumentError(f"source is {show(missing[0])}, expected an existing file")
        return data.read_parquet(parquet), os.path.dirname(path) if parquet == [path] else path
    if side == "image":
        paths, skipped = find_images(path)
        say(skipped)
        return data.from_items([{"path": name} for name in paths]), path
    names, texts, skipped = read_texts(path)
    say(skipped)
    return data.from_items([{"path": name, "text": text} for name, text in zip(names, texts, strict=True)]), path


def say(skipped: list[tuple[str, str]]) -> None:
    """Warn of what is no item at all."""
    if skipped:
        warnings.warn(f"{len(skipped)} files are left out; the first: {': '.join(skipped[0])}", stacklevel=4)


def plain(value: Any) -> Any:
    """A number or text as Python has it."""
    return value.item() if isinstance(value, np.generic) else value
