"""Figure 3: each allocation, and each call of the system, fails once; an error says so, and everything goes on."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scales import short_and_long

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not sys.platform.startswith("linux"):
        pytest.skip("it replaces functions of Linux's C library")
    built = tmp_path_factory.mktemp("shim") / "failing.so"
    source = TESTS / "cpp" / "failing.c"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built


@short_and_long(60, 1)
@pytest.mark.parametrize("kind", ["exact", "graph"])
@pytest.mark.parametrize("what", ["allocations", "calls"])
def test_each_fails_once(what: str, kind: str, size: int, shim: Path, tmp_path: Path, figure: Any) -> None:
    """Each, or one of `size`; and what was opened is closed at the end, what was taken given back."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = subprocess.run(
        [sys.executable, str(TESTS / "failures.py"), str(shim), what, kind, str(tmp_path), str(size)],
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    outcomes: Counter[str] = sum((Counter(each) for each in found["counts"].values()), Counter())
    assert outcomes["MemoryError" if what == "allocations" else "StorageError"] > 200 / size
    told = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    figure(3, f"{outcomes.total()} {what} failed, {kind}: {told}; {found['leaked']} bytes held more at the end")
