"""Tests that have a short run, among the slow ones, and a long one, which `make stress` makes."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["short_and_long"]


def short_and_long(short: int, long: int) -> Any:
    """The argument `size` of a test: how many trials, rounds or seconds."""
    both = [
        pytest.param(short, marks=pytest.mark.slow, id="short"),
        pytest.param(long, marks=pytest.mark.stress, id="long"),
    ]
    return pytest.mark.parametrize("size", both)
