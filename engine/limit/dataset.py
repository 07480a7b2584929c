"""The LIMIT data set: documents that like things, queries for who likes them; generated, or read from MTEB's files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validate import as_count, as_path, show
from ..exceptions import InvalidArgumentError, StorageError
from ..texts import as_texts
from .patterns import Pattern, as_qrels, make_qrels

__all__ = ["LimitDataset", "load_limit", "make_limit_dataset"]

# Made up by rule, so that no list has to be shipped: 1,850 attributes, such as Amberapples, each of a word of its own
# as those of LIMIT mostly are, and 65,000 names.
KINDS = (
    "Apples Bells Boats Books Bridges Cakes Candles Clocks Clouds Coins Drums Fans Flutes Gardens Hats Kites Lamps "
    "Maps Masks Owls Paints Plums Poems Puzzles Quilts Rivers Roses Ships Songs Stamps Stones Tales Teas Towers "
    "Trains Trees Wheels"
)
QUALITIES = (
    "Amber Antique Baltic Bitter Blue Brass Bright Bronze Carved Celtic Cold Coral Crystal Dark Desert Dusty Early "
    "Electric Forest Frozen Gentle Giant Golden Green Heavy Hidden Hollow Ivory Jade Late Light Little Lunar Marble "
    "Mossy Northern Old Painted Paper Pearl Plain Quiet Royal Silver Small Solar Sweet Velvet Wild Wooden"
)
FIRST = (
    "Ada Aldo Alma Anton Bela Bruno Carla Cyril Dalia Dario Edda Egon Elsa Emil Fay Felix Gilda Gus Hana Hugo Ida "
    "Igor Ines Ivo Jana Joel Kai Karin Lars Lena Lino Lotte Mara Milo Nadia Nils Olga Otto Paula Piet Rhea Rolf "
    "Sana Sven Tara Theo Una Urs Vera Yuri"
)
LAST = (
    "Abel Adler Baum Bell Berg Blum Boyd Cole Cruz Dahl Diaz Dorn Egan Falk Fox Frey Gray Haas Hahn Hale Holt Horn "
    "Hunt Jung Kern Koch Lamb Lang Lind Lowe Mann Marx May Moss Nash Noll Orr Park Penn Pope Reed Rush Sand Shaw "
    "Stein Todd Vogt Wade Wolf York"
)
QUESTION = re.compile(r"Who likes (.+)\?")


@dataclass(frozen=True, slots=True)
class LimitDataset:
    """Documents, queries, and which answers which.

    Attributes
    ----------
    corpus : dict of str to str
        Text of each document, by id.
    queries : dict of str to str
        Text of each query, by id.
    qrels : ndarray, shape (n_queries, k), int64
        Relevant documents of each query, as positions in `corpus`; -1 fills rows with fewer.
    doc_attributes : tuple of tuple of str
        What each document likes; empty where the texts are not of the form "<name> likes ...".
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: NDArray[np.int64]
    doc_attributes: tuple[tuple[str, ...], ...] = ()

    @property
    def documents(self) -> list[str]:
        """Texts of the documents, in order."""
        return list(self.corpus.values())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.jsonl`` into the folder `path`, as MTEB reads them.

        Raises
        ------
        StorageError
            The folder cannot be written.
        """
        names = list(self.corpus)
        pairs = (
            {"query-id": query, "corpus-id": names[row], "score": 1}
            for query, rows in zip(self.queries, self.qrels.tolist(), strict=True)
            for row in rows
            if row >= 0
        )
        try:
            Path(as_path(path)).mkdir(parents=True, exist_ok=True)
            write(path, "corpus", ({"_id": name, "title": "", "text": text} for name, text in self.corpus.items()))
            write(path, "queries", ({"_id": name, "text": text} for name, text in self.queries.items()))
            write(path, "qrels", pairs)
        except OSError as error:
            raise StorageError(error.errno, f"cannot write LIMIT files: {error.strerror}", str(path)) from error


def make_limit_dataset(
    n_docs: int = 46,
    n_queries: int = 1000,
    k: int = 2,
    pattern: Pattern = "dense",
    attributes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    n_attributes_per_doc: int = 45,
    random_state: int | None = 42,
) -> LimitDataset:
    """Generate a data set by the recipe of LIMIT.

    Each query asks for one attribute of its own, which its `k` documents get; then each document is filled up with
    attributes that no query asks for. Names, attributes and the order of the documents are shuffled.

    Parameters
    ----------
    n_docs, n_queries, k, pattern
        As in `make_qrels`. LIMIT has 50,000 documents, LIMIT-small the 46 that are relevant.
    attributes : sequence of str, optional
        More than `n_queries`, each once. Default: 1,850 made-up ones.
    names : sequence of str, optional
        At least `n_docs`, each once. Default: 65,000 made-up ones.
    n_attributes_per_doc : int, default 45
        Documents that are relevant to more queries than that have more.
    random_state : int, optional

    Returns
    -------
    LimitDataset

    Raises
    ------
    InvalidArgumentError
        Too few names or attributes, or the same one twice.

    References
    ----------
    Weller et al., *On the theoretical limitations of embedding-based retrieval*, ICLR 2026 (arXiv:2508.21038).

    Examples
    --------
    >>> data = make_limit_dataset(5, 4, n_attributes_per_doc=3)
    >>> next(iter(data.queries.values()))
    'Who likes ...?'
    >>> data.qrels.shape
    (4, 2)
    """
    rng = np.random.default_rng(random_state)
    qrels = make_qrels(n_docs, n_queries, k, pattern, random_state)
    liked = drawn(attributes, made_up_attributes(), len(qrels), "attributes", rng)
    initials = map("{}.".format, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    people = drawn(names, map(" ".join, product(FIRST.split(), initials, LAST.split())), n_docs, "names", rng)
    n_attributes_per_doc = as_count(n_attributes_per_doc, "n_attributes_per_doc")

    qrels = np.sort(rng.permutation(n_docs)[qrels], axis=1)
    asked, fillers = liked[: len(qrels)], liked[len(qrels) :]
    own: list[list[str]] = [[] for _ in range(n_docs)]
    for attribute, rows in zip(asked, qrels.tolist(), strict=True):
        for row in rows:
            own[row].append(attribute)
    missing = [max(0, n_attributes_per_doc - len(has)) for has in own]
    if max(missing) > len(fillers):
        raise InvalidArgumentError(
            f"attributes has {len(liked)}, expected at least {len(asked) + max(missing)}: one for each of "
            f"{len(asked)} queries, and {max(missing)} that no query asks for"
        )
    for has, n in zip(own, missing, strict=True):
        has += [fillers[i] for i in rng.choice(len(fillers), n, replace=False)] if n else []
        rng.shuffle(has)
    corpus = {name: document(name, has) for name, has in zip(people, own, strict=False)}
    queries = {f"query_{i}": f"Who likes {attribute}?" for i, attribute in enumerate(asked)}
    return LimitDataset(corpus, queries, qrels, tuple(map(tuple, own)))


def made_up_attributes() -> list[str]:
    return [quality + kind.lower() for quality, kind in product(QUALITIES.split(), KINDS.split())]


def drawn(
    given: Sequence[str] | None, default: Iterable[str], n: int, name: str, rng: np.random.Generator
) -> list[str]:
    """All of `given` or `default` in random order, at least `n`, each once."""
    texts = list(default) if given is None else as_texts(given, name)
    if len(set(texts)) < len(texts):
        twice = next(text for i, text in enumerate(texts) if text in texts[:i])
        raise InvalidArgumentError(f"{name} holds {twice!r} twice, expected each once")
    if len(texts) < n:
        raise InvalidArgumentError(f"{name} has {len(texts)}, expected at least {n}")
    return [texts[i] for i in rng.permutation(len(texts))]


def document(name: str, likes: Sequence[str]) -> str:
    """The text of one document."""
    *most, last = likes
    return f"{name} likes {', '.join(most)} and {last}." if most else f"{name} likes {last}."


def load_limit(path: str | os.PathLike[str]) -> LimitDataset:
    """Read ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.jsonl`` of a folder, as MTEB lays them out.

    Parameters
    ----------
    path : path_like
        The folder, or one with ``data/limit-small`` below, such as a copy of the LIMIT repository.

    Returns
    -------
    LimitDataset
        Pairs of score 0 are left out.

    Raises
    ------
    StorageError
        A file cannot be read.
    InvalidArgumentError
        A line is not what it should be, an id occurs twice or is unknown, a query has no relevant document.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> made = make_limit_dataset(5, 4, n_attributes_per_doc=3)
    >>> made.save(folder)
    >>> read = load_limit(folder)
    >>> read.queries == made.queries, read.doc_attributes == made.doc_attributes
    (True, True)
    """
    below = Path(as_path(path), "data", "limit-small")
    path = below if below.is_dir() else path
    corpus = texts_by_id(path, "corpus")
    queries = texts_by_id(path, "queries")
    row_of = {name: row for row, name in enumerate(corpus)}
    found: dict[str, list[int]] = {name: [] for name in queries}
    for place, pair in lines(path, "qrels", {"query-id": str, "corpus-id": str, "score": (int, float)}):
        for known, key in ((found, "query-id"), (row_of, "corpus-id")):
            if pair[key] not in known:
                raise InvalidArgumentError(f"{place}: {key} is {show(pair[key])}, expected an id that was read")
        if pair["score"] > 0:
            found[pair["query-id"]].append(row_of[pair["corpus-id"]])
    if empty := [name for name, rows in found.items() if not rows]:
        raise InvalidArgumentError(
            f"qrels.jsonl has no relevant document for query {show(empty[0])}, expected at least one"
        )
    width = max(map(len, found.values()))
    qrels = as_qrels([rows + [-1] * (width - len(rows)) for rows in found.values()])
    return LimitDataset(corpus, queries, qrels, parsed(corpus, queries.values()))


def texts_by_id(path: str | os.PathLike[str], name: str) -> dict[str, str]:
    """Texts of a file of ``_id`` and ``text``."""
    texts: dict[str, str] = {}
    for place, item in lines(path, name, {"_id": str, "text": str}):
        if item["_id"] in texts:
            raise InvalidArgumentError(f"{place}: _id is {show(item['_id'])} again, expected each once")
        texts[item["_id"]] = item["text"]
    if not texts:
        raise InvalidArgumentError(f"{name}.jsonl is empty, expected at least one line")
    return texts


def lines(path: str | os.PathLike[str], name: str, kinds: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and content of each line of a file; its keys are of the `kinds` given."""
    file = Path(as_path(path), f"{name}.jsonl")
    try:
        rows = file.read_bytes().splitlines()
    except OSError as error:
        raise StorageError(error.errno, f"cannot read LIMIT file: {error.strerror}", str(file)) from error
    for number, line in enumerate(rows, 1):
        place = f"{file.name}, line {number}"
        try:
            item = json.loads(line)
        except ValueError as error:  # of the encoding or of the notation
            raise InvalidArgumentError(f"{place} is not JSON: {error}") from None
        if not isinstance(item, dict) or not all(isinstance(item.get(key), kind) for key, kind in kinds.items()):
            raise InvalidArgumentError(f"{place} is {show(item)}, expected an object with {', '.join(kinds)}")
        yield place, item


def parsed(corpus: dict[str, str], queries: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """What each document likes, () for all if one text is not of that form.

    The last two attributes are joined by " and ", which attributes may hold themselves: the cut that leaves two
    attributes known from elsewhere is taken, and the first one where none does.
    """
    parts = []
    for name, text in corpus.items():
        head = f"{name} likes "
        if not text.startswith(head):
            return ()
        parts.append(text.removeprefix(head).removesuffix(".").split(", "))
    known = {match[1] for query in queries if (match := QUESTION.fullmatch(query))}
    known.update(attribute for likes in parts for attribute in likes[:-1])
    return tuple((*most, *cut(last, known)) for *most, last in parts)


def cut(text: str, known: set[str]) -> tuple[str, ...]:
    """`text` as one attribute or the two that " and " joins."""
    words = text.split(" and ")
    cuts = [(" and ".join(words[:i]), " and ".join(words[i:])) for i in range(1, len(words))]
    return max(cuts, key=lambda pair: sum(part in known for part in pair), default=(text,))


def write(path: str | os.PathLike[str], name: str, rows: Iterable[dict[str, Any]]) -> None:
    with open(Path(path, f"{name}.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
