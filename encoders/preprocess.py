"""Images as the tensors that a torch module takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._validate import as_array, as_count, show
from engine.exceptions import InvalidArgumentError

from .base import require

if TYPE_CHECKING:
    import torch

__all__ = ["Preprocess", "as_batch", "as_channels", "as_pillow"]

LONGEST = 24
Prepare = Callable[[NDArray[np.uint8]], "torch.Tensor"]  # RGB image -> (channels, height, width)


@dataclass(frozen=True)
class Preprocess:
    """Resize the shorter side, cut the middle out, centre and scale: what ImageNet models expect.

    Attributes
    ----------
    size : int
        Side of the square that is left.
    resize : int
        Length of the shorter side before the cut.
    mean, std : sequence of float
        Of the grey levels 0..255, one for each channel; `std` above 0.

    Examples
    --------
    >>> import numpy as np
    >>> tuple(Preprocess(size=16, resize=20)(np.zeros((30, 50, 3), np.uint8)).shape)
    (3, 16, 16)
    """

    size: int = 224
    resize: int = 256
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            object.__setattr__(self, name, as_count(getattr(self, name), name))
        if self.resize < self.size:
            raise InvalidArgumentError(f"resize is {self.resize}, expected at least size, {self.size}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, as_channels(getattr(self, name), name))

    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        torch, Image = require("torch", "preprocessing"), require("PIL.Image", "preprocessing")
        height, width = image.shape[:2]
        # Only the part that stays is resized: a panorama one pixel high would fill the memory otherwise.
        side = min(height, width) * self.size / self.resize
        left, top = max(0.0, (width - side) / 2), max(0.0, (height - side) / 2)
        part = (left, top, min(width, left + side), min(height, top + side))
        square = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BICUBIC, box=part)
        pixels = (np.asarray(square, np.float32) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def as_channels(given: Sequence[float] | None, name: str) -> tuple[float, ...]:
    """`given` as one number for each channel; those of "std" are above 0."""
    values = as_array(given, name)
    if values.shape != (3,) or not np.isfinite(values).all() or (name == "std" and (values <= 0).any()):
        what = "finite numbers above 0" if name == "std" else "finite numbers"
        raise InvalidArgumentError(f"{name} is {show(given)}, expected three {what}")
    return tuple(map(float, values))


def as_pillow(image: NDArray[np.uint8]) -> Any:
    """`image` as Pillow has it; of a strip longer than `LONGEST` times its width only the middle.

    Transforms resize before they cut: one row of 10,000 pixels would become 224 rows of two millions.
    """
    height, width = image.shape[:2]
    most = LONGEST * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    part = image[top : height - top, left : width - left]
    return require("PIL.Image", "preprocessing").fromarray(np.ascontiguousarray(part))


def as_batch(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """What preprocessing gave for some images as one tensor, shape (len(tensors), channels, height, width)."""
    torch = require("torch", "features")
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            given = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise InvalidArgumentError(f"preprocess gave a {given}, expected a float tensor (channels, height, width)")
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) != 1 or len(min(shapes)) != 3:
        raise InvalidArgumentError(f"preprocess gave shapes {shapes}, expected one (channels, height, width) for all")
    return torch.stack(tensors)
