"""Items through a torch model, batch by batch: threads prepare what comes next while the model computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._ahead import ahead, one_ahead
from engine.exceptions import InvalidArgumentError
from engine.images import as_image, as_list

from .base import Vectors, require
from .preprocess import Prepare, as_batch

if TYPE_CHECKING:
    import torch

__all__ = ["encode_images", "encode_texts", "image_batches"]

Forward = Callable[["torch.Tensor"], "torch.Tensor"]


def encode_images(
    images: Any, prepare: Prepare, forward: Forward, *, device: torch.device, batch_size: int, workers: int
) -> NDArray[np.float32]:
    """What `forward` gives for `images`: arrays, Pillow images or paths, which threads decode and prepare."""
    return forward_all(image_batches(images, prepare, batch_size, workers), forward, device)


def image_batches(images: Any, prepare: Prepare, batch_size: int, workers: int) -> Iterator[torch.Tensor]:
    """`images` as tensors of up to `batch_size`; threads are a batch ahead."""

    def prepared(named: tuple[str, Any]) -> torch.Tensor:
        name, given = named
        image = as_image(given, name)
        try:
            return prepare(image)
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidArgumentError(
                f"{name} has shape {image.shape}, which preprocessing refuses: {error}"
            ) from error

    named = [(f"images[{i}]", image) for i, image in enumerate(as_list(images, "images"))]
    ready = ahead(prepared, named, workers=workers, most=batch_size)
    for start in range(0, len(named), batch_size):
        yield as_batch([next(ready) for _ in named[start : start + batch_size]])


def encode_texts(
    texts: Sequence[str],
    tokenize: Callable[[list[str]], torch.Tensor],
    forward: Forward,
    *,
    device: torch.device,
    batch_size: int,
) -> Vectors:
    """What `forward` gives for `texts`, those of similar length together; a thread is a batch of tokens ahead."""
    order = np.argsort([-len(text) for text in texts], kind="stable")  # the longest first: memory that lacks, lacks now
    parts = (order[start : start + batch_size] for start in range(0, len(texts), batch_size))
    tokens = one_ahead(tokenize([texts[i] for i in part]) for part in parts)
    sorted_vectors = forward_all(tokens, forward, device)
    vectors = np.empty_like(sorted_vectors)
    vectors[order] = sorted_vectors
    return vectors


def forward_all(batches: Iterable[torch.Tensor], forward: Forward, device: torch.device) -> NDArray[np.float32]:
    """What `forward` gives for all `batches`, one row an item; what it gives stays on the device until the end."""
    torch = require("torch", "an encoder")
    parts: list[Any] = []
    for batch in batches:
        with torch.inference_mode():
            parts.append(within_memory(forward, batch.to(device)).float())
    if not parts:
        return np.empty((0, 0), np.float32)
    return np.ascontiguousarray(torch.cat(parts).cpu().numpy())


def within_memory(forward: Forward, batch: torch.Tensor) -> torch.Tensor:
    """What `forward` gives for `batch`, in halves where the device's memory does not hold more."""
    torch = require("torch", "an encoder")
    try:
        return forward(batch)
    except torch.cuda.OutOfMemoryError:
        if len(batch) == 1:
            raise
    half = len(batch) // 2  # outside of `except`, whose traceback would keep the failed pass in memory
    return torch.cat([within_memory(forward, part) for part in (batch[:half], batch[half:])])
