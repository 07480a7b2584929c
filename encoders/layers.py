"""The layers of a torch module: hooks, pooling, noise, and which layer classifies best."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._validate import as_count, show
from engine.exceptions import InvalidArgumentError
from engine.images import as_images

from .base import Vectors, require

if TYPE_CHECKING:
    import torch

__all__ = ["LayerScore", "NoiseSpec", "scan_layers"]

GRID = re.compile("grid:[1-9][0-9]{0,2}")
Prepare = Callable[[NDArray[np.uint8]], "torch.Tensor"]  # RGB image -> (channels, height, width)


@dataclass(frozen=True)
class NoiseSpec:
    """Noise of a diffusion model: ``x_t = sqrt(a_t) x + sqrt(1 - a_t) eps``, ``a_t`` the product of ``1 - beta``.

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
    preprocess: Prepare,
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
        Default: all.
    pools : sequence of str, default ("gap",)
        A pooling is left out for a layer whose output it does not fit, and a layer that the forward pass does not call.
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
    names = [name for name, _ in module.named_modules()] if layers is None else layers
    names = [check_layer(module, layer) for layer in names]
    scores = []
    for noise in noises:
        vectors: dict[tuple[str, str], list[Vectors]] = {}
        for start in range(0, len(checked), as_count(batch_size, "batch_size")):
            x = as_batch(module, preprocess, checked[start : start + batch_size])
            for key, part in features_of(module, names, pools, x, noise, n_noise)[0].items():
                vectors.setdefault(key, []).append(part)
        for (layer, pool), parts in vectors.items():
            rows = np.concatenate(parts)
            accuracy = leave_one_out(rows, classes, n_neighbors)
            scores.append(LayerScore(accuracy, layer, noise.t if noise else 0, pool, rows.shape[1]))
    if not scores:
        raise InvalidArgumentError(f"pools is {show(pools)}, expected one that fits the output of a layer")
    return sorted(scores, key=lambda score: -score.accuracy)


def leave_one_out(vectors: Vectors, labels: NDArray[Any], n_neighbors: int) -> float:
    """Share of rows whose nearest other rows, by cosine, vote for the row's own label."""
    import engine

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)  # l2 orders them as the cosine does, and takes zero rows
    ids, _ = engine.topk(unit, unit, n_neighbors + 1, metric="l2")
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
        such = close or names[:5]
        raise InvalidArgumentError(f"layer is {show(layer)}, expected one of named_modules(), such as {such}")
    return layer


def check_pool(pool: str) -> str:
    """`pool` if it is one."""
    if pool in ("gap", "cls", "mean_tokens", "none") or (isinstance(pool, str) and GRID.fullmatch(pool)):
        return pool
    raise InvalidArgumentError(f"pool is {show(pool)}, expected 'gap', 'grid:<k>', 'cls', 'mean_tokens' or 'none'")


def rank_of(pool: str) -> int:
    """Dimensions of the outputs that `pool` takes."""
    return {"cls": 3, "mean_tokens": 3, "none": 2}.get(pool, 4)


def pooled(output: torch.Tensor, pool: str) -> Vectors:
    """One vector for each item of a layer's output; a copy, since the next layer may work in place."""
    torch = require("torch", "pooling")
    if pool == "cls":
        output = output[:, 0]
    elif pool == "mean_tokens":
        output = output.mean(1)
    elif pool != "none":
        side = int(pool[5:]) if pool.startswith("grid:") else 1
        output = torch.nn.functional.adaptive_avg_pool2d(output, side).flatten(1)
    return np.array(output.float().cpu().numpy(), np.float32)


def as_batch(module: torch.nn.Module, preprocess: Prepare, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """`images` as one tensor on the module's device."""
    torch = require("torch", "features")
    tensors = [preprocess(image) for image in images]
    shapes = {tuple(getattr(tensor, "shape", ())) for tensor in tensors}
    if len(shapes) != 1 or len(min(shapes)) != 3:
        raise InvalidArgumentError(f"preprocess gave shapes {shapes}, expected one (channels, height, width) for all")
    parameter = next(module.parameters(), None)
    return torch.stack(tensors).to(parameter.device if parameter is not None else "cpu")


def features_of(
    module: torch.nn.Module,
    layers: Sequence[str],
    pools: Sequence[str],
    x: torch.Tensor,
    noise: NoiseSpec | None = None,
    n_noise: int = 1,
) -> tuple[dict[tuple[str, str], Vectors], dict[str, str]]:
    """Vectors of every layer and pooling that fit each other, averaged over the draws of the noise.

    The second mapping tells what each layer gave that was called.
    """
    torch = require("torch", "features")
    heard: dict[str, str] = {}

    def listen(layer: str, vectors: dict[tuple[str, str], Vectors]) -> Callable[..., None]:
        def hook(_module: object, _inputs: object, output: Any) -> None:
            if not isinstance(output, torch.Tensor):
                heard[layer] = f"a {type(output).__name__}"
                return
            heard[layer] = f"shape {tuple(output.shape)}"
            vectors.update({(layer, pool): pooled(output, pool) for pool in pools if output.ndim == rank_of(pool)})

        return hook

    draws: list[dict[tuple[str, str], Vectors]] = []
    submodules = dict(module.named_modules())
    for draw in range(n_noise if noise and noise.t else 1):
        draws.append({})
        inputs = [x] if noise is None else [noise.add(x, draw)]
        if noise is not None and noise.pass_t:
            inputs.append(torch.full((len(x),), noise.t, device=x.device))
        hooks = [submodules[layer].register_forward_hook(listen(layer, draws[-1])) for layer in layers]
        try:
            with evaluating(module), torch.inference_mode():
                module(*inputs)
        finally:
            for hook in hooks:
                hook.remove()
    return {key: np.mean([one[key] for one in draws], axis=0, dtype=np.float32) for key in draws[0]}, heard


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
