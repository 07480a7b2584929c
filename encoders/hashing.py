"""No model at all: the words of a text, each a direction that only its letters decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import xxhash
from numpy.typing import NDArray

from engine._validate import as_count
from engine.exceptions import InvalidArgumentError
from engine.texts import as_texts

from .base import BaseEncoder, EncoderSpec, Vectors
from .registry import register

__all__ = ["HashingEncoder"]

WORD = re.compile(r"\w+")


class HashingEncoder(BaseEncoder):
    """Sum the vectors of the words, to unit length; a word's vector is ±1 in each dimension, as its hash decides.

    Texts with the same words get the same vector, on every machine; those without a word in common are about
    orthogonal. It knows nothing of meaning: a baseline, and an encoder for tests.

    Parameters
    ----------
    dim : int, default 256
        A multiple of 64.

    Examples
    --------
    >>> encoder = HashingEncoder(dim=1024)
    >>> vectors = encoder.encode_documents(["A red bus", "red bus, a", "two green apples"])
    >>> (vectors @ vectors.T).round(1).tolist()[0]
    [1.0, 1.0, 0.0]
    """

    def __init__(self, *, dim: int = 256) -> None:
        if as_count(dim, "dim", most=65_536) % 64:
            raise InvalidArgumentError(f"dim is {dim}, expected a multiple of 64")
        super().__init__(EncoderSpec("hashing", dim))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts`, shape (len(texts), dim)."""
        checked = as_texts(texts, "texts")
        vectors = np.zeros((len(checked), self.dim), np.float32)
        for vector, text in zip(vectors, checked, strict=True):
            words = WORD.findall(text.lower())
            if not words:
                raise InvalidArgumentError(f"texts holds {text!r}, expected a word in each")
            for word in words:
                vector += signs(word, self.dim)
            vector /= np.linalg.norm(vector) or 1
        return vectors

    encode_documents = encode_queries


@lru_cache(100_000)
def signs(word: str, dim: int) -> NDArray[np.int8]:
    """±1 in each of `dim` dimensions."""
    hashes = [xxhash.xxh3_64_intdigest(word.encode(), seed=i) for i in range(dim // 64)]
    bits = np.unpackbits(np.array(hashes, "<u8").view(np.uint8))
    return 2 * bits.astype(np.int8) - 1


@register("hashing", {"": []})
def load(model: str, *, dim: int = 256) -> HashingEncoder:
    return HashingEncoder(dim=dim)
