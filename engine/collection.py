"""A collection: vectors with ids, attributes and the encoder that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _builders
from ._validate import as_array, as_choice, as_count, as_flag, as_ids, as_matrix, as_path, show
from .attributes import as_columns, as_names, column_array
from .exceptions import CorruptIndexError, EncoderMismatchError, InvalidArgumentError
from .images import Skipped, as_images, is_image
from .index import Filter, Index
from .protocols import Encoder
from .texts import as_texts
from .types import IndexKind, Metric, SearchResult, VectorDtype

__all__ = ["Collection"]

FORMAT = "nearfield.collection"
VERSION = 1
Side = Literal["query", "document"]
Kind = Literal["vectors", "texts", "images"]


class Collection:
    """Vectors under int64 ids, each row with attributes, and the encoder that turns images or texts into more of them.

    Made by `create`, `from_images`, `from_texts` or `open`; in memory until it is saved.

    Attributes
    ----------
    index : Index
        The vectors. Change them through the collection only, so that the attributes stay beside them.
    skipped : list of (path, reason)
        What `from_images` or `from_texts` found and could not take in.
    encoder_info : dict
        Name, options, dim and fingerprint of the encoder behind the vectors; empty if there was none.

    Examples
    --------
    >>> import numpy as np, engine
    >>> collection = engine.Collection.create(dim=2)
    >>> collection.add([[1, 0], [0, 1]], attributes={"label": ["east", "north"]}).tolist()
    [0, 1]
    >>> collection.search([2, 1], k=2, columns=["label"]).attributes["label"].tolist()
    [['east', 'north']]
    """

    def __init__(self, index: Index, *, encoder: Encoder | None = None) -> None:
        self.index = index
        self.skipped: list[Skipped] = []
        self.encoder_info: dict[str, Any] = {}
        self._columns: dict[str, list[Any]] = {}
        self._n_changes = index._n_changes  # of the index, when the columns last fitted it
        self._kind: Kind | None = None  # of the first items that were encoded
        self._encoder: Encoder | None = None
        if encoder is not None:
            self.encoder = encoder

    @classmethod
    def create(
        cls,
        *,
        dim: int | None = None,
        metric: Metric = "cosine",
        kind: IndexKind = "exact",
        dtype: VectorDtype = "float32",
        encoder: Encoder | None = None,
    ) -> Collection:
        """Make an empty collection.

        Parameters
        ----------
        dim : int, optional
            Default: that of the encoder.
        metric, kind, dtype
            As for `Index`.
        encoder : Encoder, optional
            Without one, the collection takes and searches vectors only.
        """
        if encoder is not None:
            dim = as_encoder(encoder).dim if dim is None else dim
        if dim is None:
            raise InvalidArgumentError("dim is None, expected an integer, or an encoder to take it from")
        return cls(Index(dim, metric=metric, kind=kind, dtype=dtype), encoder=encoder)

    @classmethod
    def from_images(
        cls,
        folder: str | os.PathLike[str],
        encoder: Encoder,
        *,
        labels: Literal["folder"] | None = "folder",
        batch_size: int = 64,
        workers: int = 2,
        progress: bool = True,
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
        labels : "folder" or None
            "folder": the subfolder of `folder` that an image lies in is its label; images outside any subfolder are
            skipped then, unless all of them are.
        batch_size : int, default 64
            Images given to the encoder in one call; fewer where they are large.
        workers : int, default 2
            Threads that decode.
        progress : bool, default True
            Show a bar if the standard error is a terminal.
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
        collection = cls.create(metric=metric, kind=kind, dtype=dtype, encoder=as_encoder(encoder))
        _builders.add_folder(
            collection, folder, encoder, labels=labels, batch_size=batch_size, workers=workers, progress=progress
        )
        return collection

    @classmethod
    def from_texts(
        cls,
        texts: Sequence[str],
        encoder: Encoder,
        *,
        ids: ArrayLike | None = None,
        labels: Sequence[Any] | None = None,
        attributes: Mapping[str, Sequence[Any]] | None = None,
        batch_size: int = 256,
        progress: bool = True,
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
        ids : array_like of int, optional
            Default: the position in `texts`, also where others were skipped.
        labels : sequence, optional
            The column "label", one value for each text.
        attributes : mapping of str to sequence, optional
            More columns.
        batch_size : int, default 256
            Texts given to the encoder in one call.
        progress : bool, default True
            Show a bar if the standard error is a terminal.
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
        collection = cls.create(metric=metric, kind=kind, dtype=dtype, encoder=as_encoder(encoder))
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
        return collection

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, encoder: Encoder | None = None) -> Collection:
        """Open what `save` wrote.

        Parameters
        ----------
        path : path_like
            The file.
        encoder : Encoder, optional
            The one that made the vectors; `encoder_info` of the opened collection tells its name. Without it the
            collection takes and searches vectors only, until `encoder` is set.

        Raises
        ------
        EncoderMismatchError
            `encoder` is another than the one that made the vectors.
        CorruptIndexError
            The file is damaged, or holds no collection.
        StorageError
            It cannot be read.
        """
        index = Index.load(path)
        collection = cls(index)
        meta = index.metadata.pop(FORMAT, None)
        name = as_path(path)
        if not isinstance(meta, dict):
            raise CorruptIndexError(f"{name} holds an index but no collection; open it with Index.load")
        if meta.get("version") != VERSION:
            given = meta.get("version")
            raise CorruptIndexError(f"{name} has collection version {given}, this release reads {VERSION}")
        try:
            collection._columns = as_columns(meta["columns"], len(index))
            collection.skipped = [(file, reason) for file, reason in meta["skipped"]]
            collection.encoder_info = dict(meta["encoder"])
            collection._kind = meta.get("items", "texts" if "text" in collection._columns else None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptIndexError(f"{name} is not a valid collection: {error}") from error
        if encoder is not None:
            collection.encoder = encoder
        return collection

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vectors, attributes, the list of skipped files and the encoder's fingerprint to one file, atomically.

        Raises
        ------
        StorageError
            The disk said no; what stood at `path` before is untouched.
        """
        self._check_rows()
        meta = {
            "version": VERSION,
            "columns": self._columns,
            "skipped": [list(entry) for entry in self.skipped],
            "encoder": self.encoder_info,
            "items": self._kind,
        }
        self.index.metadata[FORMAT] = meta
        try:
            self.index.save(path)
        finally:
            del self.index.metadata[FORMAT]

    @property
    def encoder(self) -> Encoder | None:
        """What turns images and texts into vectors here; setting another than the vectors' own is refused."""
        return self._encoder

    @encoder.setter
    def encoder(self, encoder: Encoder) -> None:
        as_encoder(encoder)
        if encoder.dim != self.index.dim:
            raise EncoderMismatchError(f"encoder {encoder!r} has dim {encoder.dim}, expected {self.index.dim}")
        known = self.encoder_info.get("fingerprint", encoder.fingerprint)
        if encoder.fingerprint != known:
            made = self.encoder_info.get("name") or "an encoder"
            raise EncoderMismatchError(
                f"encoder has fingerprint {encoder.fingerprint!r}, but the vectors are of {made} with {known!r}"
            )
        self._encoder = encoder
        if not self.encoder_info:
            self.encoder_info = {
                "name": getattr(encoder, "name", ""),
                "options": dict(getattr(encoder, "options", {})),
                "dim": encoder.dim,
                "fingerprint": encoder.fingerprint,
            }

    @property
    def attributes(self) -> dict[str, NDArray[Any]]:
        """Every column as an array over the rows, in the order of `index.ids`."""
        self._check_rows()
        return {name: column_array(column) for name, column in self._columns.items()}

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
        return f"<Collection of {len(self)} rows, dim {self.index.dim}, {name}, columns {list(self._columns)}>"

    def add(
        self,
        items: Any,
        *,
        ids: ArrayLike | None = None,
        attributes: Mapping[str, Sequence[Any]] | None = None,
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
        attributes : mapping of str to sequence, optional
            One str, int, float, bool or None for each item. Rows without a value of a column have None.
        on_zero : {"error", "skip"}, default "error"
            What a zero vector is under cosine. "skip": it is left out, and `skipped` lists it as ``items[i]``.

        Returns
        -------
        ndarray, shape (n,), int64
            The ids of what was added.
        """
        as_choice(on_zero, "on_zero", ("error", "skip"))
        kind, vectors = self._vectors(items, "items", "document")
        columns = as_columns(attributes, len(vectors))
        if on_zero == "error" or self.index.metric != "cosine":
            added = self._add(vectors, ids, columns)
        else:
            keys = None if ids is None else as_ids(ids, n=len(vectors))
            zero = dict.fromkeys(np.flatnonzero(~vectors.any(axis=1)).tolist(), _builders.NO_COSINE)
            added = self._add_others(zero, vectors, keys, columns, [f"items[{row}]" for row in range(len(vectors))])
        if self._kind is None and kind != "vectors":
            self._kind = kind
        return added

    def get(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The vectors of `ids`, shape (n, dim); an unknown id raises InvalidArgumentError."""
        return self.index.get(ids)

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        filter: Filter | None = None,
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
        filter : bool mask over rows, array of allowed ids, or Bitmap, optional
            As for `Index.search`.
        recall : float, optional
            As for `Index.search`.
        exact : bool, default False
            The same as a recall of 1; not to be given with another.
        columns : sequence of str, optional
            Columns to put into ``result.attributes``, each of shape (n_queries, k), None where the id is -1.

        Returns
        -------
        SearchResult

        Raises
        ------
        InvalidArgumentError
            As `Index.search`; an unknown column; items to encode where there is no encoder.
        EncoderMismatchError
            Vectors of another dim.
        NotBuiltError
            The collection is empty.
        """
        names = as_names(columns, self._columns)
        if as_flag(exact, "exact"):
            if recall not in (None, 1):
                raise InvalidArgumentError(f"recall is {show(recall)} and exact True, expected one of them")
            recall = 1.0
        _, vectors = self._vectors(queries, "queries", "query")
        result = self.index.search(vectors, k, recall=recall, filter=filter)
        return replace(result, attributes=self._attributes_of(result.ids, names)) if names else result

    def _vectors(self, items: Any, name: str, side: Side) -> tuple[Kind, NDArray[Any]]:
        """What `items` are, and their vectors, encoded if they are none yet."""
        kind = kind_of(items, strings_are_texts=self._kind == "texts")
        if kind == "vectors":
            vectors = as_matrix(items, name, check=False)
            if vectors.shape[1] != self.index.dim:
                raise EncoderMismatchError(f"{name} has dim {vectors.shape[1]}, the collection has {self.index.dim}")
            return kind, vectors
        if self._encoder is None:
            made = self.encoder_info.get("name")
            hint = f"; set .encoder to encoders.get({made!r})" if made else ""
            raise InvalidArgumentError(f"{name} are {kind}, expected vectors: the collection has no encoder{hint}")
        if kind == "images":
            return kind, self._encoded(self._encoder.encode_images, as_images(items, name))
        encode = self._encoder.encode_queries if side == "query" else self._encoder.encode_documents
        return kind, self._encoded(encode, as_texts(items, name))

    def _encoded(self, encode: Any, items: list[Any]) -> NDArray[Any]:
        """The vectors of `items`; an encoder that gives another shape than it says, or no numbers, is refused."""
        vectors = as_array(encode(items), f"what encoder {self._encoder!r} returned")
        if vectors.shape != (len(items), self.index.dim):
            expected = (len(items), self.index.dim)
            raise EncoderMismatchError(f"encoder {self._encoder!r} returned shape {vectors.shape}, expected {expected}")
        return vectors

    def _add_others(
        self,
        unusable: Mapping[int, str],
        vectors: NDArray[Any],
        ids: NDArray[np.int64] | None,
        columns: Mapping[str, list[Any]],
        names: Sequence[str],
    ) -> NDArray[np.int64]:
        """Add all rows but those that are `unusable`, which are listed by `names` and with their reason."""
        rows = [row for row in range(len(vectors)) if row not in unusable]
        kept = {name: [column[row] for row in rows] for name, column in columns.items()}
        added = np.empty(0, np.int64)
        if rows:
            added = self._add(vectors[rows], None if ids is None else ids[rows], kept)
        self.skipped += [(names[row], reason) for row, reason in unusable.items()]
        return added

    def _add(self, vectors: NDArray[Any], ids: ArrayLike | None, columns: Mapping[str, list[Any]]) -> NDArray[np.int64]:
        self._check_rows()
        before = len(self)
        added = self.index.add(vectors, ids)
        self._n_changes = self.index._n_changes
        for name in {**self._columns, **columns}:
            known = self._columns.setdefault(name, [None] * before)
            known += columns.get(name, [None] * len(added))
        return added

    def _column(self, name: str) -> NDArray[Any] | None:
        self._check_rows()
        return column_array(self._columns[name]) if name in self._columns else None

    def _attributes_of(self, ids: NDArray[np.int64], names: list[str]) -> dict[str, NDArray[Any]]:
        """The columns `names` of the rows `ids`, None where the id is -1."""
        self._check_rows()
        order = np.argsort(self.index.ids)
        place = np.searchsorted(self.index.ids, ids, sorter=order)
        found = {}
        for name in names:
            column = np.array([*self._columns[name], None], dtype=object)
            rows = np.where(ids < 0, len(self), np.append(order, 0)[place])
            found[name] = column_array(column[rows].ravel().tolist()).reshape(ids.shape)
        return found

    def _check_rows(self) -> None:
        """Refuse columns that stand beside other rows than their own."""
        if self._columns and self.index._n_changes != self._n_changes:
            raise InvalidArgumentError("index has changed, its attributes have not: use the collection to change rows")


def as_encoder(encoder: Any) -> Encoder:
    """`encoder` if it is one."""
    if isinstance(encoder, str):
        raise InvalidArgumentError(f"encoder is {encoder!r}, expected an Encoder: pass encoders.get({encoder!r})")
    if not isinstance(encoder, Encoder):
        raise InvalidArgumentError(f"encoder is {show(encoder)}, expected an Encoder such as encoders.get('pixels')")
    as_count(encoder.dim, "encoder.dim")
    return encoder


def kind_of(items: Any, *, strings_are_texts: bool) -> Kind:
    """What `items` are, judged by the first."""
    first = items[0] if isinstance(items, (list, tuple)) and items else items
    if isinstance(first, str) and strings_are_texts:
        return "texts"
    if is_image(first) or getattr(first, "ndim", 0) == 4:
        return "images"
    return "texts" if isinstance(first, str) or getattr(first, "dtype", np.dtype(int)).kind == "U" else "vectors"
