"""A collection: vectors with ids, attributes and the encoder that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validate import as_choice, as_count, as_ids, as_matrix, as_path, show
from .attributes import as_array, as_columns
from .exceptions import CorruptIndexError, EncoderMismatchError, InvalidArgumentError
from .images import Skipped, as_images, find_images, is_image, read_images
from .index import Filter, Index
from .protocols import Encoder
from .texts import as_texts
from .types import Metric, SearchResult, VectorDtype

__all__ = ["Collection"]

FORMAT = "nearfield.collection"
VERSION = 1
Side = Literal["query", "document"]


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
        self._encoder: Encoder | None = None
        if encoder is not None:
            self.encoder = encoder

    @classmethod
    def create(
        cls,
        *,
        dim: int | None = None,
        metric: Metric = "cosine",
        dtype: VectorDtype = "float32",
        encoder: Encoder | None = None,
    ) -> Collection:
        """Make an empty collection.

        Parameters
        ----------
        dim : int, optional
            Default: that of the encoder.
        metric, dtype
            As for `Index`.
        encoder : Encoder, optional
            Without one, the collection takes and searches vectors only.
        """
        if encoder is not None:
            dim = as_encoder(encoder).dim if dim is None else dim
        if dim is None:
            raise InvalidArgumentError("dim is None, expected an integer, or an encoder to take it from")
        return cls(Index(dim, metric=metric, dtype=dtype), encoder=encoder)

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
        metric, dtype
            As for `Index`.

        Returns
        -------
        Collection
            With the columns "path", relative to `folder`, and "label". What gave no vector is in `skipped` with the
            reason: a file that cannot be decoded, a vector that the metric cannot take.

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
        as_choice("" if labels is None else labels, "labels", ("folder", ""))
        collection = cls.create(metric=metric, dtype=dtype, encoder=as_encoder(encoder))
        paths, collection.skipped = find_images(folder)
        labelled = labels is not None and any("/" in path for path in paths)
        if labelled:
            unlabelled = "lies in no subfolder, which would be its label"
            collection.skipped += [(path, unlabelled) for path in paths if "/" not in path]
            paths = [path for path in paths if "/" in path]
        with progress_bar(len(paths), "image", progress) as bar:
            for batch in read_images(folder, paths, batch_size=batch_size, workers=workers):
                collection.skipped += batch.skipped
                columns = {"path": batch.paths}
                if labelled:
                    columns["label"] = [path.partition("/")[0] for path in batch.paths]
                if batch.images:
                    vectors = collection._encoded(encoder.encode_images, batch.images)
                    collection._add_usable(vectors, None, columns, batch.paths)
                bar.update(len(batch))
        collection.skipped.sort()
        if not len(collection):
            first = ": ".join(collection.skipped[0])
            raise InvalidArgumentError(f"folder is {folder!r}, expected images that can be used, but {first}")
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
        metric, dtype
            As for `Index`.

        Returns
        -------
        Collection
            Texts whose vector the metric cannot take are in `skipped`.

        Raises
        ------
        InvalidArgumentError
            No texts, or none that can be used; ids or attributes that do not fit them.
        """
        texts = as_texts(texts, "texts")
        if not texts:
            raise InvalidArgumentError("texts is empty, expected at least one text")
        batch_size = as_count(batch_size, "batch_size")
        collection = cls.create(metric=metric, dtype=dtype, encoder=as_encoder(encoder))
        keys = as_ids(np.arange(len(texts)) if ids is None else ids, n=len(texts))
        unique, counts = np.unique(keys, return_counts=True)
        if len(unique) < len(keys):
            raise InvalidArgumentError(f"ids has {unique[counts > 1][0]} more than once, expected each id once")
        labelled = {} if labels is None else {"label": labels}
        columns = as_columns({"text": texts, **labelled, **(attributes or {})}, len(texts))
        with progress_bar(len(texts), "text", progress) as bar:
            for start in range(0, len(texts), batch_size):
                part = slice(start, start + batch_size)
                vectors = collection._encoded(encoder.encode_documents, texts[part])
                names = [f"texts[{i}]" for i in range(start, start + len(vectors))]
                values = {name: column[part] for name, column in columns.items()}
                collection._add_usable(vectors, keys[part], values, names)
                bar.update(len(vectors))
        if not len(collection):
            first = ": ".join(collection.skipped[0])
            raise InvalidArgumentError(f"texts has {len(texts)} entries, expected some that can be used, but {first}")
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
        return {name: as_array(column) for name, column in self._columns.items()}

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
        self, items: Any, *, ids: ArrayLike | None = None, attributes: Mapping[str, Sequence[Any]] | None = None
    ) -> NDArray[np.int64]:
        """Add vectors, texts or images; all of them or, after an error, none.

        Parameters
        ----------
        items : array_like, shape (n, dim) or (dim,), or a sequence of str, or of images
            Vectors as for `Index.add`; what else is encoded, texts as documents. An image is a uint8 RGB array of shape
            (height, width, 3), a Pillow image, a `pathlib.Path`, or a str that ends like an image file.
        ids : array_like of int, optional
            Default: on from the largest ever used.
        attributes : mapping of str to sequence, optional
            One str, int, float, bool or None for each item. Rows without a value of a column have None.

        Returns
        -------
        ndarray, shape (n,), int64
            The ids.
        """
        vectors = self._vectors(items, "items", "document")
        return self._add(vectors, ids, as_columns(attributes or {}, len(vectors)))

    def get(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The vectors of `ids`, shape (n, dim); an unknown id raises InvalidArgumentError."""
        return self.index.get(ids)

    def search(
        self, queries: Any, k: int = 10, *, filter: Filter | None = None, columns: Sequence[str] = ()
    ) -> SearchResult:
        """Find the `k` nearest rows of each query.

        Parameters
        ----------
        queries : array_like, shape (n_queries, dim) or (dim,), or a sequence of str, or of images
            As for `add`; texts are encoded as queries. One item alone gives one row.
        k : int, default 10
            At least 1. Where fewer rows pass, the places left hold id -1 and distance +inf.
        filter : bool mask over rows, array of allowed ids, or Bitmap, optional
            As for `Index.search`.
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
        names = [columns] if isinstance(columns, str) else list(columns)
        unknown = [name for name in names if name not in self._columns]
        if unknown:
            raise InvalidArgumentError(f"columns has {unknown[0]!r}, expected some of {list(self._columns)}")
        result = self.index.search(self._vectors(queries, "queries", "query"), k, filter=filter)
        return replace(result, attributes=self._attributes_of(result.ids, names)) if names else result

    def _vectors(self, items: Any, name: str, side: Side) -> NDArray[np.float32]:
        """`items` as vectors of this collection, encoded if they are none yet."""
        kind = kind_of(items)
        if kind == "vectors":
            vectors = as_matrix(items, name, check=False)
            if vectors.shape[1] != self.index.dim:
                raise EncoderMismatchError(f"{name} has dim {vectors.shape[1]}, the collection has {self.index.dim}")
            return vectors
        if self._encoder is None:
            made = self.encoder_info.get("name")
            hint = f"; set .encoder to encoders.get({made!r})" if made else ""
            raise InvalidArgumentError(f"{name} are {kind}, expected vectors: the collection has no encoder{hint}")
        if kind == "images":
            return self._encoded(self._encoder.encode_images, as_images(items, name))
        encode = self._encoder.encode_queries if side == "query" else self._encoder.encode_documents
        return self._encoded(encode, as_texts(items, name))

    def _encoded(self, encode: Any, items: list[Any]) -> NDArray[np.float32]:
        """The vectors of `items`; an encoder that gives another shape than it says is refused."""
        vectors = np.asarray(encode(items))
        if vectors.shape != (len(items), self.index.dim):
            expected = (len(items), self.index.dim)
            raise EncoderMismatchError(f"encoder {self._encoder!r} returned shape {vectors.shape}, expected {expected}")
        return vectors

    def _add_usable(
        self,
        vectors: NDArray[np.float32],
        ids: NDArray[np.int64] | None,
        columns: Mapping[str, list[Any]],
        names: list[str],
    ) -> None:
        """Add the rows that the metric can take, and list the others by `names`."""
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        usable = finite & vectors.any(axis=1) if self.index.metric == "cosine" else finite
        for row in np.flatnonzero(~usable):
            why = "is zero, which has no cosine" if finite[row] else "is not finite"
            self.skipped.append((names[row], f"its vector {why}"))
        rows = np.flatnonzero(usable).tolist()
        if rows:
            kept = {name: [column[row] for row in rows] for name, column in columns.items()}
            self._add(vectors[rows], None if ids is None else ids[rows], kept)

    def _add(
        self, vectors: NDArray[np.float32], ids: ArrayLike | None, columns: Mapping[str, list[Any]]
    ) -> NDArray[np.int64]:
        self._check_rows()
        before = len(self)
        added = self.index.add(vectors, ids)
        for name in {**self._columns, **columns}:
            known = self._columns.setdefault(name, [None] * before)
            known += columns.get(name, [None] * len(added))
        return added

    def _column(self, name: str) -> NDArray[Any] | None:
        self._check_rows()
        return as_array(self._columns[name]) if name in self._columns else None

    def _attributes_of(self, ids: NDArray[np.int64], names: list[str]) -> dict[str, NDArray[Any]]:
        """The columns `names` of the rows `ids`, None where the id is -1."""
        self._check_rows()
        order = np.argsort(self.index.ids)
        place = np.searchsorted(self.index.ids, ids, sorter=order)
        found = {}
        for name in names:
            column = np.array([*self._columns[name], None], dtype=object)
            rows = np.where(ids < 0, len(self), np.append(order, 0)[place])
            found[name] = as_array(column[rows].ravel().tolist()).reshape(ids.shape)
        return found

    def _check_rows(self) -> None:
        for name, column in self._columns.items():
            if len(column) != len(self.index):
                rows = f"{len(self.index)} rows, column {name!r} has {len(column)}"
                raise InvalidArgumentError(f"index has {rows}: change rows through the collection only")


def as_encoder(encoder: Any) -> Encoder:
    """`encoder` if it is one."""
    if isinstance(encoder, str):
        raise InvalidArgumentError(f"encoder is {encoder!r}, expected an Encoder: pass encoders.get({encoder!r})")
    if not isinstance(encoder, Encoder):
        raise InvalidArgumentError(f"encoder is {show(encoder)}, expected an Encoder such as encoders.get('pixels')")
    as_count(encoder.dim, "encoder.dim")
    return encoder


def kind_of(items: Any) -> Literal["vectors", "texts", "images"]:
    """What `items` are, judged by the first."""
    first = items[0] if isinstance(items, (list, tuple)) and items else items
    if is_image(first) or getattr(first, "ndim", 0) == 4:
        return "images"
    return "texts" if isinstance(first, str) or getattr(first, "dtype", np.dtype(int)).kind == "U" else "vectors"


def progress_bar(total: int, unit: str, progress: bool) -> Any:
    """A bar on the standard error, if that is a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=None if progress else True)
