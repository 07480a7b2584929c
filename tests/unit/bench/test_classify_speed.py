"""bench.classify_speed: every figure comes out; how fast it is, is not for tests to say."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("sklearn")
from bench.classify_speed import FIGURES, main


def test_a_quick_run_prints_all_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(FIGURES)
    assert re.search(r"100\.00% of the labels are the same", lines[0])
    shares = [float(share) for share in re.findall(r"([\d.]+)% of the argmin", lines[1])]
    assert shares[0] == 100
    assert shares[1] >= 90
