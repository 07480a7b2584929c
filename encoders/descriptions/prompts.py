"""What to ask a language model about classes, and what to make of its answers. Nothing here calls one."""

from __future__ import annotations

import json
import re
from typing import Any

from engine._validate import show
from engine.exceptions import InvalidArgumentError

__all__ = [
    "ask_differences",
    "ask_features",
    "ask_looks",
    "parse_differences",
    "parse_features",
    "parse_sentences",
]

BULLET = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,3}[.):])\s*(?=\S)")
FENCE = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
END = re.compile(r"(?<=[.!?])\s+(?=[\"'“(]?[A-Z0-9])")
WORDS = 2  # fewer make no sentence
REFUSAL = re.compile(r"\s*(?:i['’]?m sorry|sorry|i can(?:no|['’])t|i am (?:unable|not able)|as an ai)\b", re.IGNORECASE)


def ask_looks(name: str, kind: str = "picture") -> list[str]:
    """Three questions on how a class looks, whose answers are sentences as in CuPL.

    Examples
    --------
    >>> ask_looks("axolotl")[0]
    'Describe in one sentence what an axolotl looks like in a picture.'
    """
    thing = with_article(name)
    return [
        f"Describe in one sentence what {thing} looks like in a {kind}.",
        f"By which visible marks can one recognise {thing}? Answer in one or two sentences.",
        f"Write one caption for a {kind} of {thing}.",
    ]


def ask_features(name: str, kind: str = "picture") -> list[str]:
    """One question for a list of visible features of a class, as in DCLIP."""
    return [
        f"Which visible features tell that there is {with_article(name)} in a {kind}? Answer with a list of short "
        "phrases and nothing else, one on each line after a dash, such as:\n- a long tail\n- black or brown fur"
    ]


def ask_differences(a: str, b: str, kind: str = "picture") -> list[str]:
    """One question on what tells two classes apart, as in FuDD; `parse_differences` reads the answer.

    Examples
    --------
    >>> "the first is 'crow' and the second is 'raven'" in ask_differences("crow", "raven")[0]
    True
    """
    return [
        f"Two classes are easily confused: the first is {a!r} and the second is {b!r}. Name the visible attributes in "
        f"which a {kind} of the one differs from a {kind} of the other. Answer with JSON and nothing else: a list of "
        'objects {"attribute": ..., "first": ..., "second": ...}, where "first" and "second" are whole sentences that '
        "name the class and describe it in that attribute."
    ]


def parse_sentences(answer: str) -> list[str]:
    """The sentences of an answer in prose, or of the entries of a list.

    Raises
    ------
    InvalidArgumentError
        There is none: the answer is empty, refuses, or is no prose.

    Examples
    --------
    >>> parse_sentences("A robin is small. It has a red breast.")
    ['A robin is small.', 'It has a red breast.']
    """
    refuse(answer)
    listed = [BULLET.sub("", line) for line in answer.splitlines() if BULLET.match(line)]
    texts = listed or END.split(" ".join(answer.split()))
    return checked([text.strip() for text in texts if len(text.split()) >= WORDS], answer, "a sentence")


def parse_features(answer: str) -> list[str]:
    r"""The entries of a list: lines after a dash, a star or a number, or a JSON list of texts.

    Raises
    ------
    InvalidArgumentError
        There is none.

    Examples
    --------
    >>> parse_features("Here they are:\n- a long tail\n2. grey fur")
    ['a long tail', 'grey fur']
    """
    refuse(answer)
    data = found_json(answer)
    if isinstance(data, list) and data and all(isinstance(entry, str) for entry in data):
        return checked([entry.strip() for entry in data if entry.strip()], answer, "a list")
    lines = [BULLET.sub("", line).strip() for line in answer.splitlines() if BULLET.match(line)]
    return checked([line for line in lines if any(map(str.isalnum, line))], answer, "a list with a dash on each line")


def parse_differences(answer: str) -> list[tuple[str, str]]:
    r"""Pairs of sentences on the first and the second class, from the JSON that `ask_differences` asks for.

    Raises
    ------
    InvalidArgumentError
        No such JSON, or none with both sides.

    Examples
    --------
    >>> parse_differences('```json\n[{"attribute": "bill", "first": "a slim bill", "second": "a heavy bill"}]\n```')
    [('a slim bill', 'a heavy bill')]
    """
    refuse(answer)
    data = found_json(answer)
    entries = data if isinstance(data, list) else []
    pairs = [(entry.get("first"), entry.get("second")) for entry in entries if isinstance(entry, dict)]
    both = [
        (first.strip(), second.strip())
        for first, second in pairs
        if isinstance(first, str) and isinstance(second, str) and first.strip() and second.strip()
    ]
    return checked(both, answer, 'a JSON list of objects with "first" and "second"')


def refuse(answer: str) -> None:
    if not isinstance(answer, str) or not answer.strip():
        raise InvalidArgumentError(f"answer is {show(answer)}, expected text")
    if REFUSAL.match(answer):
        raise InvalidArgumentError(f"answer is {show(answer)}, which declines")


def checked(found: list[Any], answer: str, expected: str) -> list[Any]:
    if not found:
        raise InvalidArgumentError(f"answer is {show(answer)}, expected {expected}")
    return found


def found_json(answer: str) -> Any:
    """The JSON in an answer: all of it, what stands in a fence, or its first list; None if there is none."""
    fenced = FENCE.search(answer)
    start, stop = answer.find("["), answer.rfind("]")
    for text in (answer, fenced.group(1) if fenced else "", answer[start : stop + 1] if 0 <= start < stop else ""):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    return None


def with_article(name: str) -> str:
    """`name` with "a" or "an", by its first letter."""
    words = name.replace("_", " ")
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"
