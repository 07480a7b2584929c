"""From names of classes to descriptions: what would be asked, what it costs, and, when told to, the asking."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from engine._validate import as_count, as_finite, show
from engine.exceptions import InvalidArgumentError
from engine.progress import Progress, ProgressKind
from engine.storage import write_text
from engine.texts import as_texts

from .answers import Answer, AnswerFile, as_answer
from .prompts import ask_differences, ask_looks, parse_differences, parse_sentences
from .store import DescriptionStore, SourcedPairs, Unparsed

__all__ = ["Estimate", "Generation", "Request", "describe", "differentiate"]

Ask = Callable[[str], str]
Store = TypeVar("Store")
CHARACTERS = 4  # of a token, about, in English


@dataclass(frozen=True)
class Request:
    """A prompt, and the class or pair of classes that it is about."""

    subject: Any
    prompt: str


@dataclass(frozen=True)
class Estimate:
    """What asking would take.

    Attributes
    ----------
    n_calls, n_cached : int
        Answers to ask for, and answers that the cache has.
    n_tokens_in, n_tokens_out : int
        Of the calls: about, by the letters of the prompts, and at most.
    cost : float or None
        In the currency of the prices; None without prices.
    """

    n_calls: int
    n_cached: int
    n_tokens_in: int
    n_tokens_out: int
    cost: float | None


class Generation(Generic[Store]):
    """Prompts for a language model, which nothing asks before `run` is called with one.

    Made by `describe` and `differentiate`.

    Attributes
    ----------
    requests : list of Request
        Every prompt, once for each answer that is wanted.
    """

    def __init__(
        self, requests: Sequence[Request], parse: Callable[[str], Any], new_store: Callable[[], Store]
    ) -> None:
        self.requests = list(requests)
        self._parse = parse
        self._new_store: Callable[[], Any] = new_store

    def __repr__(self) -> str:
        return f"<Generation of {len(self.requests)} requests>"

    def dry_run(
        self,
        ask: Ask | None = None,
        *,
        cache: str | os.PathLike[str] | None = None,
        model: str | None = None,
        max_tokens: int = 400,
        price_in: float | None = None,
        price_out: float | None = None,
    ) -> Estimate:
        """What `run` with the same arguments would ask, and at most pay; nothing is asked.

        Parameters
        ----------
        ask, cache, model
            As for `run`.
        max_tokens : int, default 400
            Longest answer.
        price_in, price_out : float, optional
            Of a million tokens.
        """
        todo = self._todo(AnswerFile(cache), identity(ask, model, named=cache is not None))
        n_calls = sum(todo.values())
        n_in = sum(-(-len(prompt) // CHARACTERS) * count for prompt, count in todo.items())
        n_out = n_calls * as_count(max_tokens, "max_tokens")
        cost = None
        if price_in is not None and price_out is not None:
            cost = (n_in * as_finite(price_in, "price_in") + n_out * as_finite(price_out, "price_out")) / 1e6
        return Estimate(n_calls, len(self.requests) - n_calls, n_in, n_out, cost)

    def write_requests(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON object with ``subject`` and ``prompt`` on each line, to be answered elsewhere.

        Lines with ``prompt`` and ``answer`` that come back are a `cache` for `run`.
        """
        lines = [json.dumps({"subject": r.subject, "prompt": r.prompt}, ensure_ascii=False) for r in self.requests]
        write_text(path, "".join(line + "\n" for line in lines))

    def run(
        self,
        ask: Ask | None,
        *,
        cache: str | os.PathLike[str] | None = None,
        model: str | None = None,
        n_threads: int = 4,
        progress: ProgressKind = True,
    ) -> Store:
        """Ask for what the cache does not have, and make descriptions of the answers.

        Parameters
        ----------
        ask : callable, or None
            Prompt -> answer: an `Endpoint`, or a function of your own, which threads may call. None: ask nobody, and
            use the answers in `cache`.
        cache : path_like, optional
            A file of answers, see `AnswerFile`; each is appended when it comes. What an interrupted run has been
            answered is not asked again.
        model : str, optional
            Who answers, for cache and provenance. Default: the `identity` of an `Endpoint`; without `ask`, whoever has
            answered. A function of your own with a cache needs one, which tells its answers from those of others.
        n_threads : int, default 4
            Calls at a time.
        progress : bool or "json", default True
            Show a bar if the standard error is a terminal, or write a line of JSON each second.

        Returns
        -------
        DescriptionStore or SourcedPairs
            Every sentence with model, prompt and time. A class about which nothing usable was said has no sentence.

        Raises
        ------
        InvalidArgumentError, UnsupportedError
            As `ask` does; the answers before are in the cache.
        StorageError
            The cache cannot be read or written.

        Warns
        -----
        UserWarning
            Answers that cannot be parsed, or are missing; they are, word for word, in ``unparsed`` of the store.
        """
        who = identity(ask, model, named=cache is not None)
        answers = AnswerFile(cache)
        if ask is not None:
            self._ask(ask, who or "", answers, as_count(n_threads, "n_threads", most=1024), progress)
        store: Any = self._new_store()
        used = Counter[str]()
        for request in self.requests:
            given = answers.get(request.prompt, who)[used[request.prompt] :][:1]
            used[request.prompt] += 1
            self._take(store, request, given[0] if given else None)
        if store.unparsed:
            n, first = len(store.unparsed), store.unparsed[0]
            warnings.warn(
                f"{n} of {len(self.requests)} answers gave no description and are in .unparsed; the first, on "
                f"{first.subject!r}: {first.reason}",
                stacklevel=2,
            )
        return store  # type: ignore[no-any-return]

    def _ask(self, ask: Ask, who: str, answers: AnswerFile, n_threads: int, progress: ProgressKind) -> None:
        todo = list(self._todo(answers, who).elements())

        def one(prompt: str) -> None:
            answer = as_answer(ask(prompt), prompt)
            answers.put(Answer(prompt, answer, who, datetime.now(timezone.utc).isoformat(timespec="seconds")))

        with Progress(len(todo), "answer", progress) as bar, ThreadPoolExecutor(n_threads) as pool:
            asked = [pool.submit(one, prompt) for prompt in todo]
            try:
                for future in asked:
                    future.result()
                    bar.update(1)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _take(self, store: Any, request: Request, given: Answer | None) -> None:
        subject = request.subject
        names = (subject,) if isinstance(subject, str) else subject
        store.add(*names, [])
        if given is None:
            store.unparsed.append(Unparsed(subject, request.prompt, "", "was not answered"))
            return
        source = {"model": given.model, "prompt": request.prompt, "time": given.time}
        try:
            store.add(*names, self._parse(given.answer), {key: text for key, text in source.items() if text})
        except InvalidArgumentError as error:
            store.unparsed.append(Unparsed(subject, request.prompt, given.answer, str(error)))

    def _todo(self, answers: AnswerFile, who: str | None) -> Counter[str]:
        """How many answers to each prompt are missing."""
        wanted = Counter(request.prompt for request in self.requests)
        return Counter({prompt: max(0, n - len(answers.get(prompt, who))) for prompt, n in wanted.items()})


def describe(
    classes: Iterable[str],
    *,
    prompts: Callable[[str], Sequence[str]] = ask_looks,
    parse: Callable[[str], Sequence[str]] = parse_sentences,
    n_answers: int = 1,
) -> Generation[DescriptionStore]:
    """Prepare questions on each class; nothing is asked yet.

    Parameters
    ----------
    classes : iterable of str
    prompts : callable, default `ask_looks`
        Name of a class -> prompts. For lists of features: `ask_features`, with `parse_features` as `parse`.
    parse : callable, default `parse_sentences`
        Answer -> sentences; raises `InvalidArgumentError` for what is none.
    n_answers : int, default 1
        Answers to each prompt, for models that do not say the same every time.

    Examples
    --------
    >>> job = describe(["robin", "raven"], prompts=lambda name: [f"What does a {name} look like?"])
    >>> job.dry_run()
    Estimate(n_calls=2, n_cached=0, n_tokens_in=14, n_tokens_out=800, cost=None)
    >>> said = {"robin": "A robin has a red breast.", "raven": "A raven is black. It is large."}
    >>> store = job.run(lambda prompt: said[prompt.split()[3]], model="me", progress=False)
    >>> dict(store)
    {'robin': ['A robin has a red breast.'], 'raven': ['A raven is black.', 'It is large.']}
    """
    names = once(as_texts(list(classes), "classes"), "classes")
    requests = [Request(name, prompt) for name in names for prompt in as_prompts(prompts(name), name)]
    return Generation(repeated(requests, n_answers), parse, DescriptionStore)


def differentiate(
    pairs: Iterable[tuple[str, str]],
    *,
    prompts: Callable[[str, str], Sequence[str]] = ask_differences,
    parse: Callable[[str], Sequence[tuple[str, str]]] = parse_differences,
    n_answers: int = 1,
) -> Generation[SourcedPairs]:
    """Prepare questions on what tells pairs of classes apart; nothing is asked yet.

    Parameters
    ----------
    pairs : iterable of (str, str)
        For example what `PairStore.missing` gives.
    prompts : callable, default `ask_differences`
        Two names -> prompts.
    parse : callable, default `parse_differences`
        Answer -> pairs of sentences.
    n_answers : int, default 1
        As for `describe`.
    """
    keys = []
    for pair in pairs:
        a, b = as_texts(list(pair), "pairs") if len(pair) == 2 else ("", "")
        if a == b:
            raise InvalidArgumentError(f"pairs holds {show(pair)}, expected two different classes")
        keys.append((min(a, b), max(a, b)))
    requests = [Request(key, text) for key in once(keys, "pairs") for text in as_prompts(prompts(*key), str(key))]
    return Generation(repeated(requests, n_answers), parse, SourcedPairs)


def identity(ask: Ask | None, model: str | None, *, named: bool) -> str | None:
    """Who answers; `named`: a function of the user's own must say so."""
    if ask is not None and not callable(ask):
        raise InvalidArgumentError(f"ask is {show(ask)}, expected a callable from prompt to answer, or None")
    if model is not None and (not isinstance(model, str) or not model):
        raise InvalidArgumentError(f"model is {show(model)}, expected a str that is not empty")
    if model is not None or ask is None:
        return model
    if named and not hasattr(ask, "identity"):
        raise InvalidArgumentError("model is None, expected a name for who answers: the cache tells models apart by it")
    return str(getattr(ask, "identity", None) or getattr(ask, "__qualname__", type(ask).__name__))


def once(items: list[Any], name: str) -> list[Any]:
    if not items:
        raise InvalidArgumentError(f"{name} is empty, expected at least one")
    if twice := [item for item, count in Counter(items).items() if count > 1]:
        raise InvalidArgumentError(f"{name} holds {show(twice[0])} twice, expected each once")
    return items


def as_prompts(prompts: Sequence[str], name: str) -> list[str]:
    checked = as_texts(prompts, f"prompts of {name}")
    if not checked or not all(text.strip() for text in checked):
        raise InvalidArgumentError(f"prompts of {name} are {show(prompts)}, expected texts")
    return checked


def repeated(requests: list[Request], n_answers: int) -> list[Request]:
    return [request for request in requests for _ in range(as_count(n_answers, "n_answers"))]
