"""Images as ``preprocessor_config.json`` of transformers says: resize, cut, scale, centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._validate import as_count, as_finite, show
from engine.exceptions import InvalidArgumentError

from .preprocess import as_channels, as_pillow

__all__ = ["ImageProcessor"]

BILINEAR = 2  # Pillow's number, which these files hold


@dataclass(frozen=True)
class ImageProcessor:
    """What transformers' Pillow processors of CLIP, SigLIP, ViT and DINOv2 do, without transformers.

    Attributes
    ----------
    shortest : int, optional
        Length that the shorter side gets.
    size : (height, width), optional
        What the image is resized to, whatever its shape; instead of `shortest`.
    crop : (height, width), optional
        The middle that is kept; black where the image ends before.
    resample : int
        Pillow's number of the filter.
    scale : float
        Multiplies the grey levels 0..255; 1 if they stay.
    mean, std : three floats
        Of the scaled levels.

    Examples
    --------
    >>> processor = ImageProcessor.of({"size": {"shortest_edge": 8}, "crop_size": 6})
    >>> processor(np.zeros((20, 30, 3), np.uint8)).shape
    (3, 6, 6)
    """

    shortest: int | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    resample: int = BILINEAR
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ImageProcessor:
        """The processor that the content of a ``preprocessor_config.json`` describes."""
        shortest, size, crop = None, None, None
        if config.get("do_resize", True):
            given = config.get("size", 224)
            old = isinstance(given, int)  # files of old hold a number, and the kind says what it means
            if old and not config.get("crop_size"):
                given = {"height": given, "width": given}
            elif old:
                given = {"shortest_edge": given}
            if "shortest_edge" in given:
                shortest = as_count(given["shortest_edge"], "size", most=8192)
            else:
                size = as_sides(given, "size")
        if config.get("do_center_crop", "crop_size" in config):
            crop = as_sides(config.get("crop_size", 224), "crop_size")
        normal = config.get("do_normalize", "image_mean" in config)
        return cls(
            shortest,
            size,
            crop,
            as_count(config.get("resample", BILINEAR) + 1, "resample", most=6) - 1,
            as_finite(config.get("rescale_factor", 1 / 255), "rescale_factor") if config.get("do_rescale", True) else 1,
            as_channels(config.get("image_mean"), "image_mean") if normal else cls.mean,
            as_channels(config.get("image_std"), "std") if normal else cls.std,
        )

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`image` as the model takes it, shape (3, height, width)."""
        picture = as_pillow(image)
        if self.shortest is not None:
            width, height = picture.size
            ratio = self.shortest / min(width, height)
            sides = [self.shortest if side == min(width, height) else int(ratio * side) for side in (width, height)]
            picture = picture.resize(sides, self.resample)
        elif self.size is not None:
            picture = picture.resize(self.size[::-1], self.resample)
        if self.crop is not None:
            top, left = ((had - kept) // 2 for had, kept in zip(picture.size[::-1], self.crop, strict=True))
            picture = picture.crop((left, top, left + self.crop[1], top + self.crop[0]))
        levels = np.asarray(picture, np.float32) * np.float32(self.scale)
        scaled = (levels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def as_sides(value: Any, name: str) -> tuple[int, int]:
    """Height and width of a square's side or of a mapping."""
    if isinstance(value, int):
        value = {"height": value, "width": value}
    if not isinstance(value, Mapping) or not {"height", "width"} <= set(value):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected height and width")
    return as_count(value["height"], name, most=8192), as_count(value["width"], name, most=8192)
