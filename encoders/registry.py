"""The names of encoders: what is there, what is close to a name that is not, and loading by name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, TypeVar

from engine._validate import show
from engine.exceptions import InvalidArgumentError
from engine.protocols import Encoder

from .base import BaseEncoder, as_flag

__all__ = ["available", "closest", "get", "register", "unknown_name"]

Loader = TypeVar("Loader", bound="Callable[..., BaseEncoder]")
SPEED = ("device", "batch_size", "workers", "n_threads")  # options that decide how fast a vector comes, not which


@dataclass(frozen=True)
class Family:
    """How the names of one family become encoders."""

    load: Callable[..., BaseEncoder]
    models: Mapping[str, Sequence[str]]
    any_model: bool
    aliases: Mapping[str, str]
    downloads: Callable[[], Iterable[str]]

    def names(self, family: str) -> dict[str, Sequence[str]]:
        """Full name -> modules it needs."""
        return {full_name(family, model): needs for model, needs in self.models.items()}


FAMILIES: dict[str, Family] = {}


def register(
    family: str,
    models: Mapping[str, Sequence[str]],
    *,
    any_model: bool = False,
    aliases: Mapping[str, str] | None = None,
    downloads: Callable[[], Iterable[str]] = tuple,
) -> Callable[[Loader], Loader]:
    """Make `get` find a family of encoders.

    Parameters
    ----------
    family : str
        What stands before the colon.
    models : mapping of str to sequence of str
        What may stand behind it and loads without a network, and the modules each needs; ``""`` is the family's name
        alone.
    any_model : bool, default False
        The loader takes other models too: folders, names of a hub.
    aliases : mapping of str to str, optional
        Short name, without a colon -> model.
    downloads : callable, optional
        Gives the models that the loader would fetch from a hub.

    Returns
    -------
    decorator
        For a function ``load(model, **options) -> BaseEncoder``.
    """

    def decorate(load: Loader) -> Loader:
        FAMILIES[family] = Family(load, models, any_model, aliases or {}, downloads)
        return load

    return decorate


def get(
    name: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | str | None = None,
    cache: Any = None,
    **options: Any,
) -> Encoder:
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        ``"pixels"``, ``"features:efficientnet-lite0"``, ``"clip:ViT-B-32/laion2b_s34b_b79k"``,
        ``"dino:vit_small_patch14_dinov2"``, ``"sbert:all-MiniLM-L6-v2"``, ``"onnx:<folder>"``, ..., or an alias such as
        ``"clip"`` and ``"dinov2"``; docs/encoders.md has the table.
    device : str, optional
        ``"auto"``: a CUDA device if there is one, else the CPU; or what torch calls it. Default: ``"auto"``.
    dtype : str, optional
        What the model computes in: ``"float32"``, ``"float16"``, ``"bfloat16"``, or ``"auto"`` for the fastest that the
        device has. Vectors are float32 in any case. Default: ``"float32"``, whose vectors depend neither on the batch
        nor on the device, but for rounding.
    batch_size : int or "auto", optional
        Items in one forward pass. Default: ``"auto"``, what suits the device.
    cache : path_like, optional
        A folder that keeps every vector, so that an item is encoded once; see `CachedEncoder`.
    **options
        What the adapter takes: see `ClipEncoder`, `DinoEncoder`, `FusionEncoder`, `InstructEncoder`, `OnnxEncoder`,
        `PixelEncoder`, `SbertEncoder`, `TorchFeatureExtractor`, `WordVectorEncoder`.

    Returns
    -------
    Encoder
        Its ``name`` and ``options`` load it again, on other machines too: what only decides the speed is not in them.

    Raises
    ------
    InvalidArgumentError
        Unknown name or option.
    UnsupportedError
        A package is missing, or weights that cannot be fetched, or the device: the message says what to do.

    Examples
    --------
    >>> get("pixels", size=4, mode="rgb").dim
    49
    """
    if not isinstance(name, str):
        raise InvalidArgumentError(f"name is {show(name)}, expected a str such as 'pixels'")
    family, _, model = all_aliases().get(name, name).partition(":")
    entry = FAMILIES.get(family)
    if entry is None or not (model in entry.models or (model and entry.any_model)):
        raise InvalidArgumentError(unknown_name(name))
    given = {"device": device, "dtype": dtype, "batch_size": batch_size}
    default = {"device": "auto", "batch_size": "auto"}
    options |= {key: value for key, value in given.items() if value is not None and value != default.get(key)}
    try:
        inspect.signature(entry.load).bind(model, **options)
    except TypeError as error:
        raise InvalidArgumentError(f"{name} does not take these options: {error}") from None
    encoder = entry.load(model, **options)
    encoder.name = full_name(family, model)
    encoder.options = {key: as_json(value) for key, value in options.items() if key not in SPEED}
    if dtype == "auto":  # another machine may find another one fastest
        encoder.options["dtype"] = encoder.dtype
    if cache is None:
        return encoder
    from .cache import CachedEncoder

    return CachedEncoder(encoder, cache)


def as_json(value: Any) -> Any:
    """A path as a str, for what is written into a collection; all else as it is."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def available(*, downloads: bool = False) -> list[str]:
    """Names that `get` loads here, with the packages that are installed.

    Parameters
    ----------
    downloads : bool, default False
        Also the names whose weights are fetched from a hub on first use: hundreds. Without it, those that need no
        network.

    Examples
    --------
    >>> "pixels" in available()
    True
    """
    names = [name for name, needs in known_names().items() if all(map(find_spec, needs))]
    if as_flag(downloads, "downloads"):
        names += [full_name(family, model) for family, entry in FAMILIES.items() for model in entry.downloads()]
    return sorted(names)


def full_name(family: str, model: str) -> str:
    return f"{family}:{model}" if model else family


def known_names() -> dict[str, Sequence[str]]:
    return {name: needs for family, entry in FAMILIES.items() for name, needs in entry.names(family).items()}


def all_aliases() -> dict[str, str]:
    """Alias -> full name."""
    return {
        alias: full_name(family, model) for family, entry in FAMILIES.items() for alias, model in entry.aliases.items()
    }


def unknown_name(name: str) -> str:
    """A message that says what `name` may have meant."""
    known = [*known_names(), *all_aliases()]
    open_ended = [f"'{family}:...'" for family, entry in FAMILIES.items() if entry.any_model]
    return f"name is {show(name)}, expected one of {', '.join([*map(repr, known), *open_ended])}{closest(name, known)}"


def closest(name: str, known: Iterable[str]) -> str:
    """A hint at those of `known` that look like `name`; empty if none does.

    Examples
    --------
    >>> closest("ViT-B32", ["ViT-B-32", "RN50"])
    "; did you mean 'ViT-B-32'?"
    """
    close = get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
