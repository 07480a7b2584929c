"""Names of classes -> vectors, by what a store of descriptions says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine._validate import as_choice, show
from engine.classify import DescriptionClassifier
from engine.exceptions import InvalidArgumentError
from engine.protocols import Encoder
from engine.texts import as_texts

from ..base import BaseEncoder, EncoderSpec, Vectors
from ..registry import get, register
from .layouts import read_layout
from .store import DescriptionStore

__all__ = ["DescriptionEncoder"]


class DescriptionEncoder(BaseEncoder):
    """Documents are names of classes, whose vector is the mean of those of their descriptions.

    Queries and images go to `encoder` as they are; so a collection of names is searched with either.

    Parameters
    ----------
    encoder : Encoder
        Of sentences.
    store : DescriptionStore
    aggregate : {"mean_embedding", "mean_logit"}, default "mean_embedding"
        The mean at unit length (CuPL), or as long as it is, for the metric "ip" (DCLIP): see `DescriptionClassifier`.

    Raises
    ------
    InvalidArgumentError
        In `encode_documents`: a class that the store does not know, or knows nothing about.

    Examples
    --------
    >>> import encoders
    >>> store = DescriptionStore({"robin": ["a red breast"], "raven": ["a large black bird", "a thick black bill"]})
    >>> encoder = DescriptionEncoder(encoders.get("hashing"), store)
    >>> names = encoder.encode_documents(["robin", "raven"])
    >>> (encoder.encode_queries(["it has a black bill"]) @ names.T).argmax()
    np.int64(1)
    """

    def __init__(
        self,
        encoder: Encoder,
        store: DescriptionStore,
        *,
        aggregate: Literal["mean_embedding", "mean_logit"] = "mean_embedding",
    ) -> None:
        if not isinstance(encoder, Encoder):
            raise InvalidArgumentError(f"encoder is {show(encoder)}, expected an Encoder")
        if not isinstance(store, DescriptionStore):
            raise InvalidArgumentError(f"store is {show(store)}, expected a DescriptionStore")
        self.encoder, self.store = encoder, store
        self.aggregate = as_choice(aggregate, "aggregate", ("mean_embedding", "mean_logit"))
        settings = {"encoder": encoder.fingerprint, "aggregate": aggregate}
        super().__init__(EncoderSpec("descriptions", encoder.dim, store.fingerprint, settings))

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of names of classes, shape (len(texts), dim)."""
        names = as_texts(texts, "texts")
        if not names:
            return np.empty((0, self.dim), np.float32)
        known = {name: self.store.require(name) for name in names}
        classifier = DescriptionClassifier(self.encoder, aggregate=self.aggregate).fit(known)  # type: ignore[arg-type]
        unit = self.aggregate == "mean_embedding"
        vectors = classifier.class_embeddings_ if unit else classifier.prototypes_
        return np.asarray(vectors[np.searchsorted(classifier.classes_, names)], np.float32)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """As `encoder.encode_queries`."""
        return self.encoder.encode_queries(texts)

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """As `encoder.encode_images`."""
        return self.encoder.encode_images(images)


@register("descriptions", {}, any_model=True)
def load(
    model: str | os.PathLike[str],
    *,
    encoder: str = "sbert:all-MiniLM-L6-v2",
    layout: str = "nearfield",
    aggregate: Literal["mean_embedding", "mean_logit"] = "mean_embedding",
) -> DescriptionEncoder:
    """The store in the file `model`, of `layout` "nearfield", "cupl" or "dclip", and the encoder of that name."""
    store = read_layout(model, layout)
    return DescriptionEncoder(get(encoder), store, aggregate=aggregate)
