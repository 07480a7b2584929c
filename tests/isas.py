"""Tests once more with the kernels of another instruction set, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import _core

__all__ = ["OTHERS", "is_outer", "pass_with"]

OTHERS = [isa for isa in _core.supported_isas() if isa != _core.isa()]
is_outer = pytest.mark.skipif("NEARFIELD_INNER" in os.environ, reason="this run is such a repetition")


def pass_with(isa: str, tests: str | Path, *options: str) -> None:
    """Fails where one of `tests` does, or where there are none."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), *options],
        env={**os.environ, "ENGINE_ISA": isa, "NEARFIELD_INNER": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert " passed" in ran.stdout
