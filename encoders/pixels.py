"""No model at all: the pixels of a small copy of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine._validate import as_choice, as_count
from engine.images import as_images

from .base import BaseEncoder, EncoderSpec, Vectors, as_flag, require
from .registry import register

__all__ = ["PixelEncoder"]


class PixelEncoder(BaseEncoder):
    """Resize to a square, scale to 0..1, flatten.

    Parameters
    ----------
    size : int, default 32
        Side of the square; the aspect ratio is not kept.
    mode : {"grey", "rgb"}, default "grey"
        One or three numbers a pixel.
    remove_mean : bool, default False
        Subtract the image's own mean, so that brightness does not count.

    Notes
    -----
    A black image, and every plain one after `remove_mean`, would be a zero vector, which has no cosine. So one more
    coordinate is the same for all images: as long as the vector of an image one grey level above black. It gives plain
    images a direction, cancels in l2, and moves the cosine of two images of brightness ``b`` (root mean square, 0..1)
    by at most ``1 / (255 * b)**2``.

    Examples
    --------
    >>> import numpy as np
    >>> black = np.zeros((20, 30, 3), np.uint8)
    >>> PixelEncoder(size=2).encode_images([black]).round(5)
    array([[0.     , 0.     , 0.     , 0.     , 0.00784]], dtype=float32)
    """

    def __init__(self, *, size: int = 32, mode: str = "grey", remove_mean: bool = False) -> None:
        self.size = as_count(size, "size", most=128)
        self.mode = as_choice(mode, "mode", ("grey", "rgb"))
        self.remove_mean = as_flag(remove_mean, "remove_mean")
        settings = {"size": self.size, "mode": self.mode, "remove_mean": self.remove_mean}
        super().__init__(EncoderSpec("pixels", self.size**2 * (3 if mode == "rgb" else 1) + 1, settings=settings))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of `images`, shape (len(images), dim)."""
        checked = as_images(images, "images")
        vectors = np.empty((len(checked), self.dim), np.float32)
        for vector, image in zip(vectors, checked, strict=True):
            pixels = self.shrink(image)
            vector[:-1] = pixels - pixels.mean() if self.remove_mean else pixels
        vectors[:, -1] = np.sqrt(self.dim - 1) / 255
        return vectors

    def shrink(self, image: NDArray[np.uint8]) -> Vectors:
        """The small copy of `image`, flat, from 0 to 1."""
        Image = require("PIL.Image", "the encoder 'pixels'")
        small = Image.fromarray(image).convert("L" if self.mode == "grey" else "RGB")
        small = small.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(small, np.float32).ravel() / np.float32(255)


@register("pixels", {"": ["PIL"]})
def load(model: str, *, size: int = 32, mode: str = "grey", remove_mean: bool = False) -> PixelEncoder:
    return PixelEncoder(size=size, mode=mode, remove_mean=remove_mean)
