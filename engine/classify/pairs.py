"""What sets pairs of classes apart, in sentences."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from .._validate import as_path, show
from ..exceptions import InvalidArgumentError, StorageError
from ..texts import as_texts

__all__ = ["PairStore"]

Pair = tuple[str, str]


class PairStore:
    """For pairs of classes: sentences that say how each of the two differs from the other.

    Parameters
    ----------
    pairs : mapping of (a, b) to a sequence of (sentence of a, sentence of b), optional
        A pair is the same in either order.

    Examples
    --------
    >>> store = PairStore({("crow", "raven"): [("a small bill", "a large bill"), ("a square tail", "a wedge tail")]})
    >>> store.get("raven", "crow")
    (['a large bill', 'a wedge tail'], ['a small bill', 'a square tail'])
    >>> store.missing(["crow", "raven", "rook"])
    [('crow', 'rook'), ('raven', 'rook')]
    """

    def __init__(self, pairs: Mapping[Pair, Sequence[Pair]] | None = None) -> None:
        self._sides: dict[Pair, tuple[list[str], list[str]]] = {}
        for (a, b), sentences in ({} if pairs is None else pairs).items():
            self.add(a, b, sentences)

    def add(self, a: str, b: str, sentences: Iterable[Pair]) -> None:
        """Add sentences on how `a` and `b` differ, each a pair: what holds of `a`, and what holds of `b`.

        Raises
        ------
        InvalidArgumentError
            The same class twice, a name or a sentence that is blank or no text.
        """
        for name in (a, b):
            if not isinstance(name, str) or not name.strip():
                raise InvalidArgumentError(f"a pair holds {show(name)}, expected two names of classes")
        if a == b:
            raise InvalidArgumentError(f"a pair holds {a!r} twice, expected two different classes")
        checked = [as_texts(pair, "sentences") for pair in sentences]
        for texts in checked:
            if len(texts) != 2 or not all(text.strip() for text in texts):
                raise InvalidArgumentError(f"sentences of {a!r} and {b!r} hold {show(texts)}, expected one of each")
        first, second = self._sides.setdefault(as_key(a, b), ([], []))
        for left, right in checked if a < b else (texts[::-1] for texts in checked):
            first.append(left)
            second.append(right)

    def get(self, a: str, b: str) -> tuple[list[str], list[str]]:
        """What holds of `a` but not of `b`, and the other way round; both empty for a pair that is not known."""
        first, second = self._sides.get(as_key(a, b), ([], []))
        return (list(first), list(second)) if a < b else (list(second), list(first))

    def missing(self, classes: Iterable[str]) -> list[Pair]:
        """The pairs of `classes` without a sentence: what to ask a language model for."""
        return [pair for pair in combinations(sorted(set(classes)), 2) if not self._sides.get(pair, ([], []))[0]]

    @property
    def classes(self) -> list[str]:
        """Every class of a pair, sorted."""
        return sorted({name for pair in self._sides for name in pair})

    def __len__(self) -> int:
        return len(self._sides)

    def __repr__(self) -> str:
        return f"<PairStore of {len(self)} pairs of {len(self.classes)} classes>"

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> PairStore:
        """Read what `to_json` writes: a list of ``{"classes": [a, b], "sentences": [[of a, of b], ...]}``.

        Raises
        ------
        InvalidArgumentError
            Not that.
        StorageError
            The file cannot be read.
        """
        place = as_path(path)
        try:
            entries = json.loads(Path(place).read_text("utf-8"))
        except OSError as error:
            raise StorageError(f"cannot read {place}: {error}") from error
        except ValueError as error:
            raise InvalidArgumentError(f"{place} is no JSON: {error}") from None
        store = cls()
        try:
            for entry in entries:
                a, b = entry["classes"]
                store.add(a, b, entry["sentences"])
        except InvalidArgumentError:
            raise
        except (TypeError, KeyError, ValueError) as error:
            raise InvalidArgumentError(f"{place} is no list of pairs of classes with sentences: {error!r}") from None
        return store

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write all pairs."""
        entries = [
            {"classes": pair, "sentences": list(zip(*self.get(*pair), strict=True))} for pair in sorted(self._sides)
        ]
        Path(as_path(path)).write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", "utf-8")


def as_key(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)
