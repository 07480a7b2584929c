"""What language models say of classes, each sentence with where it comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import xxhash

from engine._validate import as_path, show
from engine.classify import PairStore
from engine.exceptions import InvalidArgumentError, StorageError
from engine.storage import write_text
from engine.texts import as_texts

__all__ = ["DescriptionStore", "SourcedPairs", "Unparsed", "read_json"]

FORMAT = "nearfield.descriptions"
VERSION = 1
Source = Mapping[str, str]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Unparsed:
    """An answer that is no description, word for word.

    Attributes
    ----------
    subject : str or (str, str)
        The class, or both classes of a pair.
    prompt, answer, reason : str
        What was asked, what came back, and why it could not be used.
    """

    subject: Any
    prompt: str
    answer: str
    reason: str


class DescriptionStore(Mapping[str, list[str]]):
    """Classes and the sentences that describe them: what `engine.classify.DescriptionClassifier` is trained on.

    Parameters
    ----------
    descriptions : mapping of class names to sentences, optional
    source : mapping of str to str, optional
        Where they come from: ``{"model": ..., "prompt": ..., "file": ..., "licence": ...}``, as you like.

    Attributes
    ----------
    unparsed : list of Unparsed
        Answers of a language model that gave no sentence. They are saved too.
    skipped : list of (class, text, reason)
        What was left out because it says nothing.

    Notes
    -----
    White space around sentences goes; a sentence that comes twice counts twice. A class may have no sentence: whoever
    uses it then hears of it.

    Examples
    --------
    >>> store = DescriptionStore({"robin": ["a red breast"], "raven": []}, {"model": "me"})
    >>> store["robin"], store.sources("robin"), store.missing(["robin", "raven", "rook"])
    (['a red breast'], [{'model': 'me'}], ['raven', 'rook'])
    """

    def __init__(self, descriptions: Mapping[str, Sequence[str]] | None = None, source: Source | None = None) -> None:
        self._sentences: dict[str, list[str]] = {}
        self._sources: dict[str, list[dict[str, str]]] = {}
        self.unparsed: list[Unparsed] = []
        self.skipped: list[tuple[str, str, str]] = []
        for name, sentences in ({} if descriptions is None else descriptions).items():
            self.add(name, sentences, source)

    def add(self, name: str, sentences: Sequence[str], source: Source | None = None) -> None:
        """Add sentences to a class, which is new if it is not known; those without a letter or digit are `skipped`.

        Raises
        ------
        InvalidArgumentError
            A name that is blank or no text, sentences or a source that are no texts.
        """
        if not isinstance(name, str) or not name.strip():
            raise InvalidArgumentError(f"name is {show(name)}, expected the name of a class")
        texts = as_texts(sentences, f"sentences of {name!r}")
        source = as_source(source)
        self._sentences.setdefault(name, [])
        self._sources.setdefault(name, [])
        for text in texts:
            if any(letter.isalnum() for letter in text):
                self._sentences[name].append(text.strip())
                self._sources[name].append(source)
            else:
                self.skipped.append((name, text, "holds no letter or digit"))

    def __getitem__(self, name: str) -> list[str]:
        if name not in self._sentences:
            raise KeyError(name)
        return list(self._sentences[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._sentences)

    def __len__(self) -> int:
        return len(self._sentences)

    def __repr__(self) -> str:
        n_sentences = sum(map(len, self._sentences.values()))
        return f"<DescriptionStore of {n_sentences} sentences on {len(self)} classes, {len(self.unparsed)} unparsed>"

    def sources(self, name: str) -> list[dict[str, str]]:
        """Where each sentence of a class comes from, in their order."""
        return [dict(source) for source in self._sources[name]]

    def missing(self, classes: Iterable[str]) -> list[str]:
        """Those of `classes` without a sentence: what to ask a language model for."""
        return [name for name in classes if not self._sentences.get(name)]

    def select(self, classes: Iterable[str]) -> DescriptionStore:
        """A store of `classes` alone, in their order.

        Raises
        ------
        InvalidArgumentError
            A class without a sentence.
        """
        chosen = DescriptionStore()
        for name in as_texts(list(classes), "classes"):
            self.require(name)
            chosen._sentences[name], chosen._sources[name] = self[name], self.sources(name)
        return chosen

    def require(self, name: str) -> list[str]:
        """The sentences of a class, at least one."""
        if not self._sentences.get(name):
            close = get_close_matches(name, self._sentences, n=3, cutoff=0.6)
            hint = "" if name in self._sentences or not close else f"; close: {', '.join(map(repr, close))}"
            raise InvalidArgumentError(f"class {show(name)} has no descriptions{hint}")
        return self[name]

    @property
    def fingerprint(self) -> str:
        """Hash over classes and sentences; sources do not count."""
        return xxhash.xxh3_128_hexdigest(json.dumps(sorted(self._sentences.items())).encode())

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write classes, sentences, sources, and what was not parsed or skipped.

        Raises
        ------
        StorageError
            The disk said no.
        """
        distinct: list[dict[str, str]] = []
        classes = {}
        for name, sentences in self._sentences.items():
            numbers = []
            for source in self._sources[name]:
                if source not in distinct:
                    distinct.append(source)
                numbers.append(distinct.index(source))
            classes[name] = {"sentences": sentences, "sources": numbers}
        write_json(
            path,
            {
                "format": FORMAT,
                "version": VERSION,
                "sources": distinct,
                "classes": classes,
                "unparsed": [asdict(entry) for entry in self.unparsed],
                "skipped": self.skipped,
            },
        )

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> DescriptionStore:
        """Read what `to_json` writes.

        Raises
        ------
        InvalidArgumentError
            Not that.
        StorageError
            The file cannot be read.
        """
        data = read_json(path)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InvalidArgumentError(f"{as_path(path)} is no {FORMAT}; for the layouts of others see read_layout")
        if data.get("version") != VERSION:
            given = data.get("version")
            raise InvalidArgumentError(f"{as_path(path)} has version {show(given)}, this release reads {VERSION}")
        store = cls()
        try:
            for name, entry in data["classes"].items():
                store.add(name, [])
                for text, number in zip(entry["sentences"], entry["sources"], strict=True):
                    store.add(name, [text], data["sources"][number])
            store.unparsed = [Unparsed(**entry) for entry in data["unparsed"]]
            store.skipped = [(name, text, reason) for name, text, reason in data["skipped"]]
        except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
            raise InvalidArgumentError(f"{as_path(path)} is no valid {FORMAT}: {error!r}") from None
        return store


class SourcedPairs(PairStore):
    """A `PairStore` that knows where its sentences come from.

    Attributes
    ----------
    unparsed : list of Unparsed
        Answers that gave no pair.

    Examples
    --------
    >>> store = SourcedPairs()
    >>> store.add("crow", "raven", [("a small bill", "a large bill")], {"model": "me"})
    >>> store.get("raven", "crow"), store.sources("raven", "crow")
    ((['a large bill'], ['a small bill']), [{'model': 'me'}])
    """

    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[Pair, list[dict[str, str]]] = {}
        self.unparsed: list[Unparsed] = []

    def add(self, a: str, b: str, sentences: Iterable[Pair], source: Source | None = None) -> None:
        """As `PairStore.add`, with the source of all of them."""
        source, pairs = as_source(source), list(sentences)
        super().add(a, b, pairs)
        self._sources.setdefault((min(a, b), max(a, b)), []).extend([source] * len(pairs))

    def sources(self, a: str, b: str) -> list[dict[str, str]]:
        """Where each pair of sentences on `a` and `b` comes from."""
        return [dict(source) for source in self._sources.get((min(a, b), max(a, b)), [])]

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write pairs, their sources, and what was not parsed; `PairStore.from_json` reads the pairs of it, too.

        Raises
        ------
        StorageError
            The disk said no.
        """
        pairs = set(self._sources) | {entry.subject for entry in self.unparsed}
        entries = [
            {
                "classes": pair,
                "sentences": list(zip(*self.get(*pair), strict=True)),
                "sources": self.sources(*pair),
                "unparsed": [asdict(entry) for entry in self.unparsed if entry.subject == pair],
            }
            for pair in sorted(pairs)
        ]
        write_json(path, entries)

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> SourcedPairs:
        """Read what `to_json` writes, here or in `PairStore`, whose pairs have no source.

        Raises
        ------
        InvalidArgumentError
            Not that.
        StorageError
            The file cannot be read.
        """
        store = cls()
        try:
            for entry in read_json(path):
                a, b = entry["classes"]
                sources = entry.get("sources", [{}] * len(entry["sentences"]))
                store.add(a, b, [])
                for pair, source in zip(entry["sentences"], sources, strict=True):
                    store.add(a, b, [pair], source)
                store.unparsed += [
                    Unparsed((a, b), found["prompt"], found["answer"], found["reason"])
                    for found in entry.get("unparsed", [])
                ]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise InvalidArgumentError(f"{as_path(path)} is no list of pairs of classes: {error!r}") from None
        return store


def as_source(source: Source | None) -> dict[str, str]:
    texts = {} if source is None else source
    if not isinstance(texts, Mapping) or not all(isinstance(text, str) for pair in texts.items() for text in pair):
        raise InvalidArgumentError(f"source is {show(source)}, expected a mapping of str to str")
    return dict(texts)


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds; a class that it names twice is refused, since one of the two would be lost."""
    place = as_path(path)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        held = dict(pairs)
        if len(held) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"it names {next(name for name in names if names.count(name) > 1)!r} twice")
        return held

    try:
        return json.loads(Path(place).read_text("utf-8"), object_pairs_hook=once)
    except OSError as error:
        raise StorageError(error.errno, f"cannot read descriptions: {error.strerror}", place) from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{place} is no JSON of descriptions: {error}") from None


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    try:
        write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    except UnicodeEncodeError:  # half a character in an answer that is kept word for word
        write_text(path, json.dumps(data, indent=1) + "\n")
