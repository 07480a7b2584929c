"""How a collection's items become vectors: by its encoder, and which that is."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._validate import as_array, as_count, as_matrix, show
from .exceptions import EncoderMismatchError, InvalidArgumentError
from .images import as_images, is_image
from .protocols import Encoder
from .texts import as_texts

__all__ = ["Encoding", "Kind", "as_encoder", "kind_of"]

Side = Literal["query", "document"]
Kind = Literal["vectors", "texts", "images"]


class Encoding:
    """The encoder behind the vectors of a collection, or what is known of it.

    Attributes
    ----------
    dim : int
        Of the vectors.
    info : dict
        Name, options, dim and fingerprint of the encoder; empty if there was none.
    kind : {"texts", "images"} or None
        Of the first items that were encoded.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.info: dict[str, Any] = {}
        self.kind: Kind | None = None
        self._encoder: Encoder | None = None

    @property
    def encoder(self) -> Encoder | None:
        return self._encoder

    @encoder.setter
    def encoder(self, encoder: Encoder) -> None:
        as_encoder(encoder)
        if encoder.dim != self.dim:
            raise EncoderMismatchError(f"encoder {encoder!r} has dim {encoder.dim}, expected {self.dim}")
        known = self.info.get("fingerprint", encoder.fingerprint)
        if encoder.fingerprint != known:
            made = self.info.get("name") or "an encoder"
            raise EncoderMismatchError(
                f"encoder has fingerprint {encoder.fingerprint!r}, but the vectors are of {made} with {known!r}"
            )
        self._encoder = encoder
        if not self.info:
            self.info = facts_of(encoder)

    def meta(self) -> dict[str, Any]:
        """What is stored of it."""
        return {"encoder": self.info, "items": self.kind}

    def take_meta(self, meta: Mapping[str, Any], *, default: Kind | None) -> None:
        """What was stored; `default` is the kind of collections that do not say."""
        self.info = deepcopy(dict(meta["encoder"]))
        if self._encoder is not None and not self.info:  # set since then
            self.info = facts_of(self._encoder)
        self.kind = meta.get("items", default)

    def note(self, kind: Kind) -> None:
        """Items of that kind were added."""
        if self.kind is None and kind != "vectors":
            self.kind = kind

    def vectors(self, items: Any, name: str, side: Side) -> tuple[Kind, NDArray[Any]]:
        """What `items` are, and their vectors, encoded if they are none yet."""
        kind = kind_of(items, strings_are_texts=self.kind == "texts")
        if kind == "vectors":
            vectors = as_matrix(items, name, check=False)
            if vectors.shape[1] != self.dim:
                raise EncoderMismatchError(f"{name} has dim {vectors.shape[1]}, the collection has {self.dim}")
            return kind, vectors
        if self._encoder is None:
            made = self.info.get("name")
            hint = f"; set .encoder to encoders.get({made!r})" if made else ""
            raise InvalidArgumentError(f"{name} are {kind}, expected vectors: the collection has no encoder{hint}")
        if kind == "images":
            return kind, self.encoded(self._encoder.encode_images, as_images(items, name))
        encode = self._encoder.encode_queries if side == "query" else self._encoder.encode_documents
        return kind, self.encoded(encode, as_texts(items, name))

    def encoded(self, encode: Any, items: list[Any]) -> NDArray[Any]:
        """The vectors of `items`; an encoder that gives another shape than it says, or no numbers, is refused."""
        if self._encoder is not None and self._encoder.fingerprint != self.info["fingerprint"]:
            self.encoder = self._encoder  # refused: it has learned something since
        vectors = as_array(encode(items), f"what encoder {self._encoder!r} returned")
        expected = (len(items), self.dim)
        if vectors.shape != expected:
            raise EncoderMismatchError(f"encoder {self._encoder!r} returned shape {vectors.shape}, expected {expected}")
        return vectors


def facts_of(encoder: Encoder) -> dict[str, Any]:
    """What a collection remembers of its encoder."""
    return {
        "name": getattr(encoder, "name", ""),
        "options": dict(getattr(encoder, "options", {})),
        "dim": encoder.dim,
        "fingerprint": encoder.fingerprint,
    }


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
    if isinstance(first, np.ndarray):
        return "images" if first.ndim in (3, 4) else "texts" if first.dtype.kind == "U" else "vectors"
    if isinstance(first, str) and strings_are_texts:
        return "texts"
    if is_image(first) or getattr(first, "ndim", 0) == 4:
        return "images"
    return "texts" if isinstance(first, str) or getattr(first, "dtype", np.dtype(int)).kind == "U" else "vectors"
