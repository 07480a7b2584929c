"""CLIP and its kin, images and texts in one space, through open_clip: any architecture, any weights.

References
----------
Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", arXiv:2103.00020.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine._validate import as_choice, as_count, as_path, show
from engine.exceptions import InvalidArgumentError, UnsupportedError
from engine.texts import as_texts

from .base import BaseEncoder, EncoderSpec, Vectors, as_flag, require
from .batches import encode_images, encode_texts
from .clip_texts import TextTower
from .devices import as_batch_size, as_device, as_dtype, as_workers
from .fingerprint import module_hash
from .hub import cache_alone_if_offline, missing_weights
from .preprocess import as_channels, as_pillow
from .registry import closest, register

if TYPE_CHECKING:
    import torch

__all__ = ["ClipEncoder"]

DEFAULT = "ViT-B-32/laion2b_s34b_b79k"
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}  # open_clip's names of its mixed precision
LETTERS_A_TOKEN = 100  # of a text only so many letters a token are read: no tokenizer makes longer tokens


def downloads() -> Iterable[str]:
    """Every architecture with every tag of weights that open_clip would fetch; none without open_clip."""
    try:
        package = require("open_clip", "clip")
    except UnsupportedError:
        return []
    return [f"{architecture}/{tag}" for architecture, tag in package.list_pretrained()]


@register("clip", {}, any_model=True, aliases={"clip": DEFAULT}, downloads=downloads)
class ClipEncoder(BaseEncoder):
    """A model of open_clip, both towers.

    Parameters
    ----------
    model : str
        ``"<architecture>/<tag>"`` as in ``open_clip.list_pretrained()``, whose weights are downloaded unless the cache
        of the hub has them; ``"<architecture>"`` with `weights`; a folder with ``open_clip_config.json`` and weights;
        or ``"hf-hub:<repository>"``.
    weights : path_like, optional
        A checkpoint of open_clip or OpenAI to load instead of downloading. A tag in `model` still says with which
        preprocessing and activation the weights were trained: give it where there is one.
    image_size : int, optional
        Side of the square that the image tower sees. Default: the model's own.
    mean, std : three floats, optional
        Of the channels, from 0 to 1. Default: the model's own.
    interpolation : {"bicubic", "bilinear"}, optional
        Default: the model's own.
    resize_mode : {"shortest", "longest", "squash"}, optional
        Resize the shorter side and cut, the longer side and pad, or both sides. Default: the model's own.
    context_length : int, optional
        Tokens of a text that are read. Default: the model's own, for most 77.
    normalize : bool, default True
        Give unit vectors.
    device, dtype, batch_size
        As for `encoders.get`.
    workers : int or "auto", default "auto"
        Threads that prepare images while the model computes; "auto" is one a processor.

    Attributes
    ----------
    logit_scale, logit_bias : float
        What the model multiplies cosines by, and adds: probabilities of classes are their softmax (of SigLIP's
        models, sigmoid).
    model, transform, tokenizer
        What open_clip made.

    Notes
    -----
    Images go through open_clip's own transform and texts through its own tokenizer; a long text is cut at
    `context_length`. Texts of similar length go through the model together, without padding where it does not count,
    which for short ones takes a fraction of the time. Half precision is open_clip's own mix, with layer norms in
    float32. Threads may share one.

    Examples
    --------
    >>> clip = encoders.get("clip:ViT-B-32/laion2b_s34b_b79k")  # doctest: +SKIP
    >>> collection = engine.Collection.from_images("photos/", clip)  # doctest: +SKIP
    >>> collection.search(["a dog on a beach"], k=5, columns=["path"])  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str,
        *,
        weights: str | os.PathLike[str] | None = None,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        interpolation: str | None = None,
        resize_mode: str | None = None,
        context_length: int | None = None,
        normalize: bool = True,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        batch_size: int | str = "auto",
        workers: int | str = "auto",
    ) -> None:
        package = require("open_clip", f"the encoder 'clip:{model}'")
        name, tag, path = resolved(package, model, None if weights is None else as_path(weights, "weights"))
        self.normalize = as_flag(normalize, "normalize")
        self.device = as_device(device)
        self.dtype = as_dtype(dtype, self.device)
        self.batch_size, self.workers = as_batch_size(batch_size, self.device), as_workers(workers)
        given = {
            "interpolation": interpolation and as_choice(interpolation, "interpolation", ("bicubic", "bilinear")),
            "resize_mode": resize_mode and as_choice(resize_mode, "resize_mode", ("shortest", "longest", "squash")),
            "mean": None if mean is None else as_channels(mean, "mean"),
            "std": None if std is None else as_channels(std, "std"),
        }
        known = package.pretrained.get_pretrained_cfg(name, tag)
        preprocess = {
            **{key: known[key] for key in ("mean", "std", "interpolation", "resize_mode") if path and key in known},
            **{key: value for key, value in given.items() if value is not None},
        }
        options: dict[str, Any] = {
            "precision": PRECISIONS[self.dtype],
            "force_quick_gelu": bool(known.get("quick_gelu")),
            "force_image_size": None if image_size is None else as_count(image_size, "image_size", most=4096),
            "force_context_length": None if context_length is None else as_count(context_length, "context_length"),
            "force_preprocess_cfg": preprocess,
            "require_pretrained": True,
        }
        self.model: Any = created(package, model, name, path or tag, known, options).eval()
        self.tokenizer: Any = tokenizer_of(package, model, name, options["force_context_length"])
        config = package.transform.PreprocessCfg(**self.model.visual.preprocess_cfg)
        self.transform: Any = package.transform.image_transform_v2(config, is_train=False)
        self._tower = TextTower(self.model)
        scale, bias = self.model.logit_scale, getattr(self.model, "logit_bias", None)
        self.logit_scale, self.logit_bias = float(scale.detach().exp()), 0.0 if bias is None else float(bias.detach())
        settings = {
            "architecture": architecture(package, name, known),
            "context_length": self.tokenizer.context_length,
            "dtype": self.dtype,
            "normalize": self.normalize,
            "open_clip": package.__version__.partition(".")[0],
            "preprocess": dict(self.model.visual.preprocess_cfg),
            "tokenizer": type(self.tokenizer).__name__,
        }
        weights_hash = module_hash(self.model)
        self.model.to(self.device)
        dim = self._texts(self.tokenizer([""]).to(self.device)).shape[1]
        super().__init__(EncoderSpec("clip", dim, weights_hash, settings))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of `images`, shape (len(images), dim)."""
        place = {"device": self.device, "batch_size": self.batch_size, "workers": self.workers}
        return encode_images(images, self._prepare, self._images, **place).reshape(-1, self.dim)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts`, shape (len(texts), dim)."""
        place = {"device": self.device, "batch_size": self.batch_size}
        return encode_texts(as_texts(texts, "texts"), self._tokens, self._texts, **place).reshape(-1, self.dim)

    encode_documents = encode_queries

    def _prepare(self, image: NDArray[np.uint8]) -> torch.Tensor:
        prepared: torch.Tensor = self.transform(as_pillow(image))
        return prepared

    def _tokens(self, texts: list[str]) -> torch.Tensor:
        most = self.tokenizer.context_length * LETTERS_A_TOKEN
        tokens: torch.Tensor = self.tokenizer([text if len(text) <= most else shortened(text, most) for text in texts])
        return self._tower.cut(tokens)

    def _images(self, batch: torch.Tensor) -> torch.Tensor:
        dtype = getattr(require("torch", "clip"), self.dtype)
        return self._finished(self.model.encode_image(batch.to(dtype)))

    def _texts(self, batch: torch.Tensor) -> torch.Tensor:
        with require("torch", "clip").inference_mode():
            return self._finished(self._tower(batch))

    def _finished(self, vectors: torch.Tensor) -> torch.Tensor:
        functional = require("torch.nn.functional", "clip")
        finished: torch.Tensor = functional.normalize(vectors.float(), dim=-1) if self.normalize else vectors.float()
        return finished


def resolved(package: Any, model: str, weights: str | None) -> tuple[str, str, str | None]:
    """Architecture or place as open_clip names it, tag, and checkpoint to load."""
    if os.path.isdir(model) or model.startswith(("hf-hub:", "local-dir:")):
        if weights is not None:
            raise InvalidArgumentError(f"weights is {weights!r}, but {model!r} holds its own: expected None")
        if not os.path.isdir(model):
            return model, "", None
        if not os.path.isfile(os.path.join(model, "open_clip_config.json")):
            raise InvalidArgumentError(f"model is {model!r}, expected a folder that holds open_clip_config.json")
        return f"local-dir:{model}", "", None
    name, _, tag = model.partition("/")
    architectures = package.list_models()
    if name not in architectures:
        raise InvalidArgumentError(
            f"model is {show(model)}, expected a folder, or an architecture of open_clip.list_models() "
            f"with a tag{closest(name, architectures)}"
        )
    tags = package.list_pretrained_tags_by_model(name)
    if tag and tag not in tags:
        raise InvalidArgumentError(
            f"model is {show(model)}, expected a tag of {name}, one of {show(tags)}{closest(tag, tags)}"
        )
    if not tag and weights is None:
        raise InvalidArgumentError(
            f"model is {show(model)}, expected '{name}/<tag>' with one of {show(tags)}, or weights='<checkpoint>'"
        )
    if weights is not None and not os.path.isfile(weights):
        raise InvalidArgumentError(f"weights is {weights!r}, expected an existing file")
    return name, tag, weights


def created(package: Any, model: str, name: str, pretrained: str, known: Any, options: dict[str, Any]) -> Any:
    """The model with its weights, or an error that says where to get them."""
    try:
        with cache_alone_if_offline():
            return package.create_model(name, pretrained or None, **options)
    except Exception as error:  # hub, files, pickles and shapes each have their own
        if os.path.isfile(pretrained) or name.startswith("local-dir:"):
            what = f"weights is {pretrained!r}" if os.path.isfile(pretrained) else f"model is {model!r}"
            raise InvalidArgumentError(f"{what}, expected a checkpoint that fits the architecture: {error}") from error
        source = known.get("hf_hub") or known.get("url") or name.removeprefix("hf-hub:")
        raise missing_weights(f"clip:{model}", source, error) from error


def tokenizer_of(package: Any, model: str, name: str, context_length: int | None) -> Any:
    """The tokenizer, or an error that says where to get it: some come from the hub, beside weights in a file, too."""
    try:
        with cache_alone_if_offline():
            return package.get_tokenizer(name, context_length=context_length)
    except Exception as error:  # hub and files each have their own
        text = (package.get_model_config(name) or {}).get("text_cfg", {})
        raise UnsupportedError(
            f"the tokenizer of 'clip:{model}' is not on this machine and cannot be fetched ({error}): where there is a "
            f"network, load {text.get('hf_tokenizer_name') or name!r} once, then copy the hub's cache folder (HF_HOME, "
            "by default ~/.cache/huggingface) to this machine"
        ) from error


def architecture(package: Any, name: str, known: Any) -> dict[str, Any]:
    """What open_clip builds the model from, so that two ways to the same model have one fingerprint."""
    schema, place = package.factory.parse_model_name(name)
    if schema == "local-dir":
        config = read_json(os.path.join(place, "open_clip_config.json"))["model_cfg"]
    elif schema == "hf-hub":
        with cache_alone_if_offline():
            config = package.factory._get_hf_config(place)["model_cfg"]
    else:
        config = package.get_model_config(name)
    return {**config, "quick_gelu": bool(config.get("quick_gelu") or known.get("quick_gelu"))}


def read_json(path: str) -> Any:
    import json

    with open(path, encoding="utf-8") as file:
        return json.load(file)


def shortened(text: str, most: int) -> str:
    """The beginning of `text` with single spaces, as the tokenizer reads it anyway."""
    return " ".join(text.split())[:most]
