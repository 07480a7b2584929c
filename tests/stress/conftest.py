"""What `make stress` prints at its end: the figures, each with what was counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

FIGURES = {
    1: "damaged files, and forged ones",
    2: "kills and power losses",
    3: "allocations and calls of the system that fail",
    4: "fuzzing",
    5: "threads and processes at once",
    6: "speed",
}
COUNTED = pytest.StashKey[list[tuple[int, str]]]()
Figure = Callable[[int, str], None]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Called with the number of a figure and what was counted for it."""
    return lambda number, text: request.config.stash.setdefault(COUNTED, []).append((number, text))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counted = config.stash.get(COUNTED, [])
    for number in sorted({number for number, _ in counted}):
        terminalreporter.section(f"figure {number}: {FIGURES[number]}")
        for text in [text for each, text in counted if each == number]:
            terminalreporter.write_line(text)
