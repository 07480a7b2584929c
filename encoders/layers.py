"""The layers of a torch module: hooks that hear them, pooling that makes vectors of what they give."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from engine._validate import as_count, show
from engine.exceptions import InvalidArgumentError

from .base import Vectors, require
from .batches import image_batches
from .devices import as_workers
from .noise import NoiseSpec, check_noise
from .preprocess import Prepare, as_batch

if TYPE_CHECKING:
    import torch

__all__ = ["LayerReader"]

GRID = re.compile("grid:[1-9][0-9]{0,2}")
Key = tuple[str, str]  # layer, pooling


class LayerReader:
    """Vectors of every layer and pooling that fit each other, averaged over the draws of the noise.

    The parameters are those of `TorchFeatureExtractor`, for several layers and poolings at once.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        layers: Sequence[str],
        pools: Sequence[str],
        *,
        preprocess: Prepare,
        noise: NoiseSpec | None = None,
        n_noise: int = 1,
        batch_size: int = 32,
        workers: int = 1,
    ) -> None:
        if not callable(preprocess):
            raise InvalidArgumentError(f"preprocess is {show(preprocess)}, expected a callable such as Preprocess()")
        self.module = check_module(module)
        self.layers = [check_layer(module, layer) for layer in layers]
        self.pools = [check_pool(pool) for pool in pools]
        self.preprocess, self.noise = preprocess, check_noise(noise)
        self.n_noise, self.batch_size = as_count(n_noise, "n_noise"), as_count(batch_size, "batch_size")
        self.workers = as_workers(workers)

    def read(self, images: Sequence[NDArray[np.uint8]]) -> dict[Key, Vectors]:
        """Vectors of `images`, one row for each if the layer gave one for each."""
        parts: dict[Key, list[Vectors]] = {}
        for batch in image_batches(images, self.preprocess, self.batch_size, self.workers):
            for key, part in self.forward(batch)[0].items():
                before = parts.setdefault(key, [])
                if before and before[0].shape[1] != part.shape[1]:
                    dims = f"{before[0].shape[1]} and {part.shape[1]}"
                    raise InvalidArgumentError(f"preprocess gave several shapes, expected one: {key} has dims {dims}")
                before.append(part)
        return {key: np.concatenate(rows) for key, rows in parts.items()}

    def probe(self, image: NDArray[np.uint8]) -> tuple[dict[Key, int], dict[str, str]]:
        """Dims of what fits, and what each layer gave that the forward pass calls.

        Batches of two sizes tell an axis of images from another that happens to be as long.
        """
        sizes = (1, 2) if self.batch_size > 1 else (1,)
        prepared = self.preprocess(image)
        (first, _), *others = tries = [self.forward(as_batch([prepared] * size)) for size in sizes]
        dims = {key: rows.shape[1] for key, rows in first.items() if all(key in other for other, _ in others)}
        heard: dict[str, str] = {}
        for size, (_, given) in zip(sizes, tries, strict=True):
            for layer, what in given.items():
                heard[layer] = f"{heard[layer]}, " if layer in heard else ""
                heard[layer] += f"{what} for a batch of {size}"
        return dims, heard

    def forward(self, x: torch.Tensor) -> tuple[dict[Key, Vectors], dict[str, str]]:
        """Vectors of one batch, and what each layer gave."""
        torch = require("torch", "features")
        cast = {}
        for tensor in chain(self.module.parameters(), self.module.buffers()):
            x = x.to(tensor.device)
            if tensor.is_floating_point():
                cast = {"dtype": tensor.dtype}
                break
        submodules = dict(self.module.named_modules())
        heard: dict[str, str] = {}
        draws: list[dict[Key, Vectors]] = []
        with alone(self.module), evaluating(self.module), torch.inference_mode(), ExitStack() as hooks:
            for layer in self.layers:
                hook = submodules[layer].register_forward_hook(self.listener(layer, len(x), draws, heard))
                hooks.callback(hook.remove)
            for draw in range(self.n_noise if self.noise and self.noise.t else 1):
                draws.append({})
                noised = x if self.noise is None else self.noise.add(x, draw)
                inputs = [noised.to(**cast)]
                if self.noise is not None and self.noise.pass_t:
                    inputs.append(torch.full((len(x),), self.noise.step, device=x.device))
                self.module(*inputs)
        return {key: np.mean([one[key] for one in draws], axis=0, dtype=np.float32) for key in draws[0]}, heard

    def listener(
        self, layer: str, n: int, draws: list[dict[Key, Vectors]], heard: dict[str, str]
    ) -> Callable[..., None]:
        """A hook that pools the output of `layer` for `n` images into the last of `draws`."""
        torch = require("torch", "features")

        def hook(_module: object, _inputs: object, output: Any) -> None:
            for pool in self.pools:  # the last call counts, even if it gives nothing
                draws[-1].pop((layer, pool), None)
            if not isinstance(output, torch.Tensor):
                heard[layer] = f"a {type(output).__name__}"
                return
            heard[layer] = f"shape {tuple(output.shape)}"
            if output.ndim and len(output) == n:
                fit = [pool for pool in self.pools if output.ndim == rank_of(pool)]
                draws[-1].update({(layer, pool): pooled(output, pool) for pool in fit})

        return hook


def check_module(module: torch.nn.Module) -> torch.nn.Module:
    """`module` if it is one of torch."""
    if not isinstance(module, require("torch", "features").nn.Module):
        raise InvalidArgumentError(f"module is {show(module)}, expected a torch.nn.Module")
    return module


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
    if isinstance(pool, str) and (pool in ("gap", "cls", "mean_tokens", "none") or GRID.fullmatch(pool)):
        return pool
    raise InvalidArgumentError(f"pool is {show(pool)}, expected 'gap', 'grid:<k>', 'cls', 'mean_tokens' or 'none'")


def rank_of(pool: str) -> int:
    """Dimensions of the outputs that `pool` takes."""
    return {"cls": 3, "mean_tokens": 3, "none": 2}.get(pool, 4)


def pooled(output: torch.Tensor, pool: str) -> Vectors:
    """One vector for each item of a layer's output; a copy, since the next layer may work in place."""
    torch = require("torch", "pooling")
    output = output.detach().float()
    if pool == "cls":
        output = output[:, 0]
    elif pool == "mean_tokens":
        output = output.mean(1)
    elif pool != "none":
        side = int(pool[5:]) if pool.startswith("grid:") else 1
        output = torch.nn.functional.adaptive_avg_pool2d(output, side).flatten(1)
    return np.array(output.cpu().numpy(), np.float32)


LOCKS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # submodule -> its lock
LOCKS_GUARD = threading.Lock()


@contextmanager
def alone(module: torch.nn.Module) -> Iterator[None]:
    """No other thread reads `module`, a part of it, or what it is a part of.

    Hooks and modes belong to the submodules, whoever reads them: two threads would hear each other's pass.
    """
    with LOCKS_GUARD:
        locks = [LOCKS.setdefault(part, threading.RLock()) for part in module.modules()]
    with ExitStack() as held:
        for lock in sorted(locks, key=id):  # one order for all, or two threads could wait for each other
            held.enter_context(lock)
        yield


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
