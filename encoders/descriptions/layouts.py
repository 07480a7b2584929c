"""Descriptions that others have published, in the layouts of their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import xxhash

from engine._validate import as_choice, as_path, show
from engine.exceptions import InvalidArgumentError
from engine.texts import as_texts

from .store import DescriptionStore, SourcedPairs, read_json

__all__ = ["dclip_sentence", "read_cupl", "read_dclip", "read_fudd", "read_layout"]


def read_cupl(path: str | os.PathLike[str]) -> DescriptionStore:
    """Read sentences as CuPL publishes them: a JSON object of class names, each with a list of whole sentences.

    Raises
    ------
    InvalidArgumentError
        Another layout; the message says where.
    StorageError
        The file cannot be read.
    """
    return read_lists(path, "cupl", lambda name, text: text)


def read_dclip(path: str | os.PathLike[str]) -> DescriptionStore:
    """Read descriptors as DCLIP publishes them: an object of class names, each with a list of features of the class.

    Each becomes a sentence, see `dclip_sentence`. Raises as `read_cupl`.
    """
    return read_lists(path, "dclip", dclip_sentence)


def dclip_sentence(name: str, descriptor: str) -> str:
    """The sentence of a class and one of its features.

    Notes
    -----
    The rule of the paper, by whole words. Its code asks for the first letters alone, so that there every feature that
    begins with an a, such as "antennae", gets "which is".

    Examples
    --------
    >>> for feature in ("a red breast", "often sings", "used as a signal", "thin legs"):
    ...     print(dclip_sentence("European_robin", feature))
    European robin, which is a red breast
    European robin, which often sings
    European robin, which is used as a signal
    European robin, which has thin legs
    """
    first = descriptor.split(maxsplit=1)[0].lower() if descriptor.strip() else ""
    if first in ("a", "an", "used"):
        verb = "is "
    elif first in ("has", "often", "typically", "may", "can"):
        verb = ""
    else:
        verb = "has "
    return f"{name.replace('_', ' ')}, which {verb}{descriptor.strip()}"


def read_fudd(path: str | os.PathLike[str], classes: Sequence[str] | str | os.PathLike[str]) -> SourcedPairs:
    """Read pairs as FuDD publishes them: an object of entries with two numbers of classes and pairs of sentences.

    Parameters
    ----------
    path : path_like
        ``{"0_3": {"classes": [0, 3], "prompt_pairs": [{"attr_type": ..., "prompt_pair": [of 0, of 3]}, ...]}, ...}``
    classes : sequence of str, or path_like
        The names behind the numbers, or a JSON list of them, as it lies beside the pairs. ``_`` is read as a space.

    Raises
    ------
    InvalidArgumentError
        Another layout, a number beyond the names, a pair that names a class twice.
    StorageError
        A file cannot be read.
    """
    given = read_json(classes) if isinstance(classes, (str, os.PathLike)) else classes
    names = [name.replace("_", " ") for name in as_texts(given, "classes")]
    data, file, store = read_json(path), file_source(path, "fudd"), SourcedPairs()
    try:
        for entry in data.values():
            i, j = entry["classes"]
            if min(i, j) < 0 or max(i, j) >= len(names):
                raise InvalidArgumentError(f"{as_path(path)} names class {max(i, j)}, but there are {len(names)} names")
            for pair in entry["prompt_pairs"]:
                attribute = {"attribute": pair["attr_type"]} if "attr_type" in pair else {}
                store.add(names[i], names[j], [pair["prompt_pair"]], file | attribute)
    except InvalidArgumentError:
        raise
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise InvalidArgumentError(f"{as_path(path)} has not FuDD's layout: {error!r}") from None
    return store


def read_layout(path: str | os.PathLike[str], layout: str = "nearfield") -> DescriptionStore:
    """Read a store from one of the layouts "nearfield", "cupl" and "dclip"."""
    return READERS[as_choice(layout, "layout", tuple(READERS))](path)


def read_lists(path: str | os.PathLike[str], layout: str, sentence: Callable[[str, str], str]) -> DescriptionStore:
    data = read_json(path)
    if not isinstance(data, dict):
        raise InvalidArgumentError(f"{as_path(path)} holds {show(data)}, expected an object of class names")
    store, source = DescriptionStore(), file_source(path, layout)
    for name, texts in data.items():
        if not isinstance(texts, list):
            raise InvalidArgumentError(f"{as_path(path)} has {show(texts)} for {name!r}, expected a list of texts")
        store.add(name, [])
        for text in as_texts(texts, f"{as_path(path)}[{name!r}]"):
            store.add(name, [sentence(name, text) if text.strip() else text], source)
    return store


def file_source(path: str | os.PathLike[str], layout: str) -> dict[str, str]:
    """Name and hash of a file, so that a sentence can be traced to its bytes."""
    place = as_path(path)
    with open(place, "rb") as file:
        return {"layout": layout, "file": os.path.basename(place), "xxh3": xxhash.xxh3_128_hexdigest(file.read())}


READERS: dict[str, Callable[[Any], DescriptionStore]] = {
    "nearfield": DescriptionStore.from_json,
    "cupl": read_cupl,
    "dclip": read_dclip,
}
