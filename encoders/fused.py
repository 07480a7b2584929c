"""Items that are image and text at once: the vectors of both, brought together.

References
----------
Jiang et al., *VLM2Vec*, arXiv:2410.05160: one vector for any combination of image and text. Here it is made of the
vectors that separate encoders give, without a model of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine._validate import as_choice, as_finite, show
from engine.exceptions import EncoderMismatchError, InvalidArgumentError
from engine.images import as_images
from engine.protocols import Encoder
from engine.texts import as_texts

from .base import BaseEncoder, EncoderSpec, Vectors
from .registry import get, register

__all__ = ["FusionEncoder"]

MODALITIES = ("image", "text")
FUSE = ("mean", "weighted", "concat")
Item = Mapping[str, Any]


class FusionEncoder(BaseEncoder):
    """One vector of the image and the text of an item; whichever of them is missing is left out.

    Parameters
    ----------
    encoders : mapping of "image" and "text" to Encoder
        For "mean" and "weighted" their vectors are of one space, such as both towers of a CLIP model; for "concat" they
        may be of any.
    fuse : {"mean", "weighted", "concat"}, default "mean"
        The mean of the unit vectors that are there; the mean with `weights`; or one behind the other, each times the
        root of its weight, with zeros for what is missing: the product of two items is then the weighted sum of what
        they have in common.
    weights : mapping of modalities to float, optional
        At least 0, not all of them; only their proportions count. Default: equal ones.

    Raises
    ------
    InvalidArgumentError
        In calls: an item with neither, or with another key.

    Examples
    --------
    >>> import encoders
    >>> both = FusionEncoder({"image": encoders.get("pixels"), "text": encoders.get("hashing")}, fuse="concat")
    >>> image = np.zeros((9, 9, 3), np.uint8)
    >>> both.encode_items([{"image": image, "text": "a black square"}, {"text": "a square"}]).shape
    (2, 1281)
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        fuse: Literal["mean", "weighted", "concat"] = "mean",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(encoders, Mapping) or not encoders or not set(encoders) <= set(MODALITIES):
            raise InvalidArgumentError(f"encoders is {show(encoders)}, expected a mapping of 'image', 'text' or both")
        for name, encoder in encoders.items():
            if not isinstance(encoder, Encoder):
                raise InvalidArgumentError(f"encoders[{name!r}] is {show(encoder)}, expected an Encoder")
        self.encoders = {name: encoders[name] for name in MODALITIES if name in encoders}
        self.fuse = as_choice(fuse, "fuse", FUSE)
        self.weights = as_weights(weights, list(self.encoders), self.fuse)
        dims = {name: encoder.dim for name, encoder in self.encoders.items()}
        if self.fuse != "concat" and len(set(dims.values())) > 1:
            raise EncoderMismatchError(f"encoders have the dims {dims}, expected one dim, or fuse='concat'")
        dim = sum(dims.values()) if self.fuse == "concat" else next(iter(dims.values()))
        settings = {
            "encoders": {name: encoder.fingerprint for name, encoder in self.encoders.items()},
            "fuse": self.fuse, "weights": self.weights,
        }  # fmt: skip
        super().__init__(EncoderSpec("fused", dim, settings=settings))

    def encode_items(self, items: Sequence[Item], *, side: Literal["document", "query"] = "document") -> Vectors:
        """Vectors of items, shape (len(items), dim), of unit length.

        Parameters
        ----------
        items : sequence of mappings
            ``{"image": ..., "text": ...}``, either of which may be missing or None.
        side : {"document", "query"}, default "document"
            How texts are encoded.
        """
        as_choice(side, "side", ("document", "query"))
        present = {name: self._present(items, name) for name in self.encoders}
        for row, item in enumerate(items):
            if not any(row in rows for rows in present.values()):
                raise InvalidArgumentError(
                    f"items[{row}] is {show(item)}, expected at least one of {list(self.encoders)}"
                )
        parts = {}
        for name, rows in present.items():
            parts[name] = np.zeros((len(items), self.encoders[name].dim))
            if rows:
                vectors = np.asarray(self._encode(name, side)(list(rows.values())), np.float64)
                lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
                parts[name][list(rows)] = vectors / np.where(lengths > 0, lengths, 1)
        if self.fuse == "concat":
            fused = np.hstack([np.sqrt(self.weights[name]) * part for name, part in parts.items()])
        else:  # of what is there, whose weights then add up to less: the length is set below
            fused = np.sum([self.weights[name] * part for name, part in parts.items()], axis=0)
        lengths = np.linalg.norm(fused, axis=1, keepdims=True)
        unit: Vectors = (fused / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        return unit

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of items that are images alone, shape (len(images), dim)."""
        return self.encode_items([{"image": image} for image in as_images(images, "images")])

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of items that are texts to search with, shape (len(texts), dim)."""
        return self.encode_items([{"text": text} for text in as_texts(texts, "texts")], side="query")

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of items that are texts to be found, shape (len(texts), dim)."""
        return self.encode_items([{"text": text} for text in as_texts(texts, "texts")])

    def _encode(self, name: str, side: str) -> Callable[[list[Any]], Vectors]:
        encoder = self.encoders[name]
        if name == "image":
            return encoder.encode_images
        return encoder.encode_queries if side == "query" else encoder.encode_documents

    def _present(self, items: Sequence[Item], name: str) -> dict[int, Any]:
        """Row -> what `items` have of one modality."""
        found = {}
        for row, item in enumerate(items):
            if not isinstance(item, Mapping) or not set(item) <= set(MODALITIES):
                raise InvalidArgumentError(
                    f"items[{row}] is {show(item)}, expected a mapping of 'image', 'text' or both"
                )
            if item.get(name) is not None:
                found[row] = item[name]
        return found


def as_weights(weights: Mapping[str, float] | None, names: list[str], fuse: str) -> dict[str, float]:
    """A share for each of `names`."""
    if weights is not None and fuse == "mean":
        raise InvalidArgumentError(f"weights is {show(weights)}, expected none, or fuse='weighted'")
    given: Any = dict.fromkeys(names, 1.0) if weights is None and fuse != "weighted" else weights
    if not isinstance(given, Mapping) or set(given) != set(names):
        raise InvalidArgumentError(f"weights is {show(weights)}, expected a mapping of {names} to numbers")
    numbers = {name: as_finite(given[name], f"weights[{name!r}]") for name in names}
    total = sum(numbers.values())
    if min(numbers.values()) < 0 or not total:
        raise InvalidArgumentError(f"weights is {show(weights)}, expected numbers of at least 0, and not all of them 0")
    return {name: number / total for name, number in numbers.items()}


@register("fused", {}, any_model=True)
def load(
    model: str,
    *,
    fuse: Literal["mean", "weighted", "concat"] = "mean",
    weights: Mapping[str, float] | None = None,
    image: Mapping[str, Any] | None = None,
    text: Mapping[str, Any] | None = None,
) -> FusionEncoder:
    """Of names: ``"fused:<image encoder>+<text encoder>"``, or one name for both; `image`, `text`: their options."""
    names = model.split("+") if "+" in model else [model]
    if len(names) > 2 or not all(names):
        raise InvalidArgumentError(f"name is {show('fused:' + model)}, expected 'fused:<image encoder>+<text encoder>'")
    first = get(names[0], **(image or {}))
    second = first if len(names) == 1 else get(names[1], **(text or {}))
    return FusionEncoder({"image": first, "text": second}, fuse=fuse, weights=weights)
