"""What the engine knows of models: nothing but this protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Encoder"]


@runtime_checkable
class Encoder(Protocol):
    """Turns images or texts into rows of a float32 matrix.

    Attributes
    ----------
    dim : int
        Length of every vector.
    fingerprint : str
        Changes whenever the same input could give other vectors: weights, preprocessing, pooling.
        A collection refuses queries of another fingerprint.

    Notes
    -----
    `images` are uint8 RGB arrays of shape (height, width, 3); texts are `str`. Each method returns shape
    ``(len(items), dim)`` float32, and raises `engine.UnsupportedError` for a kind of item the model does not take.
    """

    dim: int
    fingerprint: str

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]: ...

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]: ...
