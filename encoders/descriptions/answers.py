"""Answers of language models on disk, word for word, so that none is paid for twice."""

from __future__ import annotations

import json
import os
import threading
import warnings
from dataclasses import asdict, dataclass

from engine._validate import as_path
from engine.exceptions import InvalidArgumentError, StorageError

__all__ = ["Answer", "AnswerFile"]


@dataclass(frozen=True)
class Answer:
    """What a model said to a prompt, and when."""

    prompt: str
    answer: str
    model: str = ""
    time: str = ""


class AnswerFile:
    """One JSON object on each line: ``prompt`` and ``answer``; ``model`` and ``time`` if known.

    Lines are only appended. What a kill tore off is no line; it is reported and asked for anew. A file of your own,
    from a batch job or by hand, is read just so.

    Parameters
    ----------
    path : path_like, optional
        Made with the first answer. Default: in memory alone.

    Warns
    -----
    UserWarning
        Lines that are no answer.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else as_path(path, "cache")
        self._answers: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()
        damaged = 0
        for line in self._lines():
            try:
                entry = json.loads(line)
                self._keep(Answer(**{name: str(entry[name]) for name in asdict(Answer("", "")) if name in entry}))
            except (ValueError, TypeError, RecursionError):
                damaged += 1
        if damaged:
            warnings.warn(f"{damaged} lines of {self.path} are no answers; they are not used", stacklevel=3)

    def get(self, prompt: str, model: str | None) -> list[Answer]:
        """All answers of `model`, or of any if it is None, to `prompt`, in the order they came."""
        return [answer for answer in self._answers.get(prompt, []) if model is None or answer.model in (model, "")]

    def put(self, answer: Answer) -> None:
        """Keep an answer; threads may do so at the same time.

        Raises
        ------
        StorageError
            The disk said no.
        """
        with self._lock:
            self._keep(answer)
            if self.path is None:
                return
            try:
                with open(self.path, "ab+") as file:
                    size = file.seek(0, os.SEEK_END)
                    file.seek(max(size - 1, 0))
                    torn = size and file.read(1) != b"\n"
                    file.write(b"\n" * bool(torn) + json.dumps(asdict(answer)).encode() + b"\n")
            except OSError as error:
                raise StorageError(error.errno, f"cannot keep an answer: {error.strerror}", self.path) from error

    def _keep(self, answer: Answer) -> None:
        self._answers.setdefault(answer.prompt, []).append(answer)

    def _lines(self) -> list[bytes]:
        if self.path is None:
            return []
        try:
            with open(self.path, "rb") as file:
                return [line for line in file.read().split(b"\n") if line.strip()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(error.errno, f"cannot read answers: {error.strerror}", self.path) from error


def as_answer(value: object, prompt: str) -> str:
    """What a caller's function gave, which must be text."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"ask gave {value!r:.60} for {prompt!r:.60}, expected a str")
    return value
