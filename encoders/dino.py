"""DINO, DINOv2 and other vision transformers through timm: class token, patch tokens, any layers.

References
----------
Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", arXiv:2104.14294.
Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", arXiv:2304.07193.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._validate import as_choice, as_count, as_finite, as_path, show
from engine.exceptions import InvalidArgumentError, UnsupportedError

from .base import BaseEncoder, EncoderSpec, Vectors, as_flag, require
from .batches import encode_images
from .devices import as_batch_size, as_device, as_dtype, as_workers
from .fingerprint import module_hash
from .hub import cache_alone_if_offline, missing_weights
from .preprocess import as_channels, as_pillow
from .registry import closest, register

if TYPE_CHECKING:
    import torch

__all__ = ["DinoEncoder"]

ALIASES = {
    "dino": "vit_small_patch16_224.dino",
    "dinov2": "vit_small_patch14_dinov2.lvd142m",
}
POOLS = ("cls", "mean", "cls+mean")


def downloads() -> Iterable[str]:
    """Every DINO that timm would fetch; none without timm."""
    try:
        package = require("timm", "dino")
    except UnsupportedError:
        return []
    return [str(name) for name in package.list_models("*dino*", pretrained=True)]


@register("dino", {}, any_model=True, aliases=ALIASES, downloads=downloads)
class DinoEncoder(BaseEncoder):
    """A vision transformer of timm.

    Parameters
    ----------
    model : str
        A name of timm such as ``"vit_small_patch14_dinov2"``, with a tag of weights behind a dot or not, or a folder
        that timm wrote (``config.json`` and weights). Weights are downloaded unless the cache of the hub has them.
    weights : path_like, optional
        A checkpoint to load instead: timm's own, or Meta's original release.
    pool : {"cls", "mean", "cls+mean"}, default "cls"
        The class token, the mean of the patch tokens, or both one after the other. Register tokens never count.
    layers : int or sequence of int, default -1
        Blocks whose tokens are pooled, from 0, or from -1 backwards; several are put one after the other. All go
        through the model's last norm, as in the papers.
    image_size : int, optional
        Side of the square that the model sees; position embeddings are interpolated. Default: the model's own, which is
        518 for DINOv2, though the paper's figures are for 224.
    crop_pct : float, optional
        `image_size` over the size to which images are resized before the middle is cut out. Default: the model's own.
    crop_mode : {"center", "squash", "border"}, optional
        Cut, distort, or pad. Default: the model's own.
    interpolation : {"bicubic", "bilinear"}, optional
        Default: the model's own.
    mean, std : three floats, optional
        Of the channels, from 0 to 1. Default: the model's own.
    normalize : bool, default True
        Give unit vectors.
    device, dtype, batch_size
        As for `encoders.get`.
    workers : int or "auto", default "auto"
        Threads that prepare images while the model computes; "auto" is one a processor.

    Attributes
    ----------
    model, transform
        What timm made.

    Notes
    -----
    Images go through timm's own transform. Threads may share one.

    Examples
    --------
    >>> dino = encoders.get("dino:vit_small_patch14_dinov2", image_size=224)  # doctest: +SKIP
    >>> engine.Collection.from_images("photos/", dino).search(["query.jpg"], k=5)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str,
        *,
        weights: str | os.PathLike[str] | None = None,
        pool: str = "cls",
        layers: int | Sequence[int] = -1,
        image_size: int | None = None,
        crop_pct: float | None = None,
        crop_mode: str | None = None,
        interpolation: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        normalize: bool = True,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        batch_size: int | str = "auto",
        workers: int | str = "auto",
    ) -> None:
        package, torch = (require(module, f"the encoder 'dino:{model}'") for module in ("timm", "torch"))
        self.pool, self.normalize = as_choice(pool, "pool", POOLS), as_flag(normalize, "normalize")
        self.device = as_device(device)
        self.dtype = as_dtype(dtype, self.device)
        self.batch_size, self.workers = as_batch_size(batch_size, self.device), as_workers(workers)
        size = None if image_size is None else as_count(image_size, "image_size", most=4096)
        given = {
            "input_size": size and (3, size, size),
            "crop_pct": None if crop_pct is None else as_share(crop_pct, "crop_pct"),
            "crop_mode": crop_mode and as_choice(crop_mode, "crop_mode", ("center", "squash", "border")),
            "interpolation": interpolation and as_choice(interpolation, "interpolation", ("bicubic", "bilinear")),
            "mean": None if mean is None else as_channels(mean, "mean"),
            "std": None if std is None else as_channels(std, "std"),
        }
        self.model: Any = created(package, model, None if weights is None else as_path(weights, "weights"), size).eval()
        config = package.data.resolve_model_data_config(self.model, args=given)
        self.transform: Any = package.data.create_transform(**config, is_training=False)
        self.layers = as_layers(layers, len(self.model.blocks))
        settings = {
            "architecture": self.model.pretrained_cfg["architecture"],
            "dtype": self.dtype,
            "layers": self.layers,
            "normalize": self.normalize,
            "pool": self.pool,
            "preprocess": config,
            "timm": package.__version__.partition(".")[0],
        }
        weights_hash = module_hash(self.model)
        self.model.to(self.device, getattr(torch, self.dtype))
        dim = self.model.num_features * len(self.layers) * (2 if pool == "cls+mean" else 1)
        super().__init__(EncoderSpec("dino", dim, weights_hash, settings))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of `images`, shape (len(images), dim)."""
        return self._encode(images, self._pooled).reshape(-1, self.dim)

    def encode_patches(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Patch tokens of `images`, shape (len(images), n_patches, dim of one pooling).

        In rows from the upper left corner of what the transform leaves of the image, each of unit length if
        `normalize`; layers one after the other. For `engine.multivector` and dense tasks.
        """
        return self._encode(images, self._patches)

    def _encode(self, images: Any, forward: Any) -> NDArray[np.float32]:
        place = {"device": self.device, "batch_size": self.batch_size, "workers": self.workers}
        return encode_images(images, self._prepare, forward, **place)

    def _prepare(self, image: NDArray[np.uint8]) -> torch.Tensor:
        prepared: torch.Tensor = self.transform(as_pillow(image))
        return prepared

    def _tokens(self, batch: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of each layer the patch tokens and those before them, after the last norm."""
        dtype = getattr(require("torch", "dino"), self.dtype)
        found: list[tuple[torch.Tensor, torch.Tensor]] = self.model.forward_intermediates(
            batch.to(dtype),
            indices=self.layers,
            return_prefix_tokens=True,
            norm=True,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return found

    def _pooled(self, batch: torch.Tensor) -> torch.Tensor:
        parts = []
        for patches, before in self._tokens(batch):
            parts += [before[:, 0].float()] if "cls" in self.pool else []
            parts += [patches.float().mean(1)] if "mean" in self.pool else []
        return self._finished(require("torch", "dino").cat(parts, -1))

    def _patches(self, batch: torch.Tensor) -> torch.Tensor:
        return self._finished(require("torch", "dino").cat([patches.float() for patches, _ in self._tokens(batch)], -1))

    def _finished(self, vectors: torch.Tensor) -> torch.Tensor:
        if not self.normalize:
            return vectors
        unit: torch.Tensor = require("torch.nn.functional", "dino").normalize(vectors, dim=-1)
        return unit


def created(package: Any, model: str, weights: str | None, image_size: int | None) -> Any:
    """The model with its weights, or an error that says where to get them."""
    options: dict[str, Any] = {"num_classes": 0, "img_size": image_size}
    if os.path.isdir(model):
        if weights is not None:
            raise InvalidArgumentError(f"weights is {weights!r}, but {model!r} holds its own: expected None")
        name = f"local-dir:{model}"
    elif model.startswith("hf-hub:"):
        name = model
    else:
        name, known = model, package.list_models()
        if model.partition(".")[0] not in known:
            raise InvalidArgumentError(
                f"model is {show(model)}, expected a folder, or one of timm.list_models(){closest(model, known)}"
            )
        tagged = package.list_models(f"{model.partition('.')[0]}.*", pretrained=True)
        if "." in model and model not in tagged:
            raise InvalidArgumentError(f"model is {show(model)}, expected one of {tagged}{closest(model, tagged)}")
    if weights is not None:
        if not os.path.isfile(weights):
            raise InvalidArgumentError(f"weights is {weights!r}, expected an existing file")
        options["pretrained_cfg_overlay"] = {"file": weights}
    try:
        with cache_alone_if_offline():
            net = package.create_model(name, pretrained=True, **options)
    except Exception as error:  # hub, files, pickles and shapes each have their own
        if weights is not None or os.path.isdir(model):
            what = f"weights is {weights!r}" if weights is not None else f"model is {model!r}"
            raise InvalidArgumentError(f"{what}, expected a checkpoint that fits the architecture: {error}") from error
        known = package.get_pretrained_cfg(model, allow_unregistered=True)
        source = (known and (known.hf_hub_id or known.url)) or model.removeprefix("hf-hub:")
        raise missing_weights(f"dino:{model}", source, error) from error
    if getattr(net, "blocks", None) is None or not getattr(net, "num_prefix_tokens", None):
        raise UnsupportedError(f"model is {show(model)}, expected a vision transformer with a class token")
    return net


def as_layers(layers: int | Sequence[int], n: int) -> list[int]:
    """Numbers of blocks from 0 to n - 1, each once and rising, as the model passes them."""
    given = [layers] if isinstance(layers, int) else layers
    if not isinstance(given, (list, tuple)) or not given:
        raise InvalidArgumentError(f"layers is {show(layers)}, expected numbers of blocks")
    for layer in given:
        if isinstance(layer, bool) or not isinstance(layer, int) or not -n <= layer < n:
            raise InvalidArgumentError(f"layers is {show(layers)}, expected integers from {-n} to {n - 1}")
    found = [layer % n for layer in given]
    if sorted(set(found)) != found:
        raise InvalidArgumentError(f"layers is {show(layers)}, expected each block once, in rising order")
    return found


def as_share(value: float, name: str) -> float:
    """A number above 0 and at most 1."""
    if not 0 < as_finite(value, name) <= 1:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected a number above 0 and at most 1")
    return float(value)
