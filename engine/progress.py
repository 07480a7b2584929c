"""How far a long run is: a bar for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
from time import perf_counter
from typing import Any, Literal, TypeAlias

from ._validate import show
from .exceptions import InvalidArgumentError

__all__ = ["Progress", "ProgressKind"]

ProgressKind: TypeAlias = "bool | Literal['json']"
EVERY = 1.0  # seconds between two lines


class Progress:
    """Counts items; says on the standard error how fast that goes, for how long yet, and how many gave nothing.

    Parameters
    ----------
    total : int
        Items in all.
    unit : str
        What one of them is.
    progress : bool or "json"
        True: a bar if the standard error is a terminal. "json": a line a second such as
        ``{"progress": {"done": 640, "total": 10000, "skipped": 3, "per_second": 52.1, "eta_seconds": 179.7}}``.

    Examples
    --------
    >>> with Progress(10, "image", False) as progress:
    ...     progress.update(4, skipped=1)
    >>> progress.done, progress.skipped
    (4, 1)
    """

    def __init__(self, total: int, unit: str, progress: ProgressKind) -> None:
        if progress != "json" and not isinstance(progress, bool):
            raise InvalidArgumentError(f"progress is {show(progress)}, expected True or False, or 'json'")
        self.total, self.done, self.skipped = total, 0, 0
        self.as_json = progress == "json"
        self._began = self._said = perf_counter()
        from tqdm import tqdm

        self._bar: Any = tqdm(total=total, unit=unit, disable=None if progress is True else True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, n: int, *, skipped: int = 0) -> None:
        """Count `n` more items, of which `skipped` gave nothing."""
        self.done += n
        self.skipped += skipped
        self._bar.update(n)
        if self.skipped:
            self._bar.set_postfix(skipped=self.skipped)
        now = perf_counter()
        if self.as_json and now - self._said >= EVERY:
            self._said = now
            print(json.dumps({"progress": self.facts(now - self._began)}), file=sys.stderr, flush=True)

    def facts(self, seconds: float) -> dict[str, float]:
        """What there is to say after so many `seconds`."""
        rate = self.done / seconds
        return {
            "done": self.done,
            "total": self.total,
            "skipped": self.skipped,
            "per_second": round(rate, 2),
            "eta_seconds": round((self.total - self.done) / rate, 1) if rate else -1.0,
        }
