"""Stands for the processes of a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.measure import MeasureError


class Direct:
    """A worker in this process."""

    def __init__(self, make_state: Callable[..., Any], *args: Any, n_threads: int) -> None:
        try:
            self.state = make_state(*args)
        except Exception as error:
            raise MeasureError(f"Traceback\n{type(error).__name__}: {error}") from error

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self.state, *args)

    def __enter__(self) -> Direct:
        return self

    def __exit__(self, *_: object) -> None: ...
