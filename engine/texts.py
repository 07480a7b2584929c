"""Text files -> texts with names. What cannot be read is reported, not lost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._validate import as_path, show
from .exceptions import InvalidArgumentError, StorageError

__all__ = ["as_texts", "read_texts"]


def as_texts(value: Any, name: str) -> list[str]:
    """`value` as a list of texts; one text counts as a sequence of one.

    Examples
    --------
    >>> as_texts("a cat", "queries")
    ['a cat']
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (Sequence, np.ndarray)) or isinstance(items, (bytes, bytearray)):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected a sequence of texts")
    for i, text in enumerate(items):
        if not isinstance(text, str):
            raise InvalidArgumentError(f"{name}[{i}] is {show(text)}, expected a str")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InvalidArgumentError(f"{name}[{i}] is {show(text)}, expected text that can be written as UTF-8")
    return [str(text) for text in items]


def read_texts(path: str | os.PathLike[str]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    r"""Read the lines of a text file, or the ``.txt`` files below a folder, as one text each.

    Parameters
    ----------
    path : path_like
        UTF-8. A folder is walked completely; links to folders are not followed.

    Returns
    -------
    names : list of str
        ``<file>:<line>``, or the paths relative to the folder, sorted.
    texts : list of str
        Parallel to `names`, without white space around them.
    skipped : list of (name, reason)
        Blank lines and files, files that are not UTF-8 or cannot be read.

    Raises
    ------
    InvalidArgumentError
        Nothing to read is left.
    StorageError
        The file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "animals.txt")
    >>> with open(path, "w") as file:
    ...     _ = file.write("cat\n\ndog\n")
    >>> read_texts(path)
    (['animals.txt:1', 'animals.txt:3'], ['cat', 'dog'], [('animals.txt:2', 'is blank')])
    """
    names: list[str] = []
    texts: list[str] = []
    skipped: list[tuple[str, str]] = []
    for name, data in raw_texts(as_path(path)):
        try:
            if isinstance(data, OSError):
                raise data
            text = data.decode("utf-8-sig").strip()
        except OSError as error:
            skipped.append((name, f"cannot be read: {error.strerror}"))
        except UnicodeDecodeError as error:
            skipped.append((name, f"is not UTF-8: {error.reason} at byte {error.start}"))
        else:
            if text:
                names.append(name)
                texts.append(text)
            else:
                skipped.append((name, "is blank"))
    if not texts:
        raise InvalidArgumentError(f"path is {path!r}, expected lines of text or a folder of .txt files")
    return names, texts, skipped


def raw_texts(path: str) -> Iterator[tuple[str, bytes | OSError]]:
    """Name and content of each text of a file or folder."""
    if not os.path.isdir(path):
        try:
            lines = Path(path).read_bytes().splitlines()
        except OSError as error:
            raise StorageError(error.errno, f"cannot read texts: {error.strerror}", path) from error
        yield from ((f"{os.path.basename(path)}:{number}", line) for number, line in enumerate(lines, 1))
        return
    for file in sorted(Path(place, name) for place, _, names in os.walk(path) for name in names):
        if file.suffix.lower() == ".txt":
            name = file.relative_to(path).as_posix()
            try:
                yield name, file.read_bytes()
            except OSError as error:
                yield name, error
