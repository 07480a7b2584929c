"""Figure 4: fuzzing; `python tests/fuzz.py TARGET -max_total_time=3600` goes on for an hour."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scales import short_and_long

TESTS = Path(__file__).parents[1]


@short_and_long(3, 60)
@pytest.mark.parametrize("target", ["manifest", "segment", "filter", "importer"])
def test_fuzz(target: str, size: int, tmp_path: Path, figure: Any) -> None:
    """Coverage leads it; all that may come of an input is an error of ours, in 20 s and 2 GiB."""
    pytest.importorskip("atheris", reason="fuzzing needs atheris, which has wheels for Linux and Python 3.11 to 3.13")
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = subprocess.run(
        [sys.executable, str(TESTS / "fuzz.py"), target, f"-max_total_time={size}"],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=size + 120,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    done = re.search(r"Done (\d+) runs in (\d+) second", ran.stderr)
    assert done
    figure(4, f"{target}: {done[1]} inputs in {done[2]} s, none that crashed, hung or raised what is not ours")
