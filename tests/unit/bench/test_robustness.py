"""bench.robustness and bench.trials: what goes wrong is counted as what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from robust import Careless, endangered, trial

from bench import robustness
from bench.robustness import State
from bench.trials import outcomes


def test_trials_that_die_hang_or_raise_are_told_apart() -> None:
    found = outcomes(endangered, [], trial, range(8), limit_s=2, n_workers=2)
    assert found == {
        "fine": [0, 4, 5, 6, 7],
        "the process ended with exit code 3": [1],
        "it took longer than 2 s": [2],
        "ValueError: 3": [3],
    }


@pytest.fixture(autouse=True)
def no_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long in a large process."""
    monkeypatch.setattr(robustness, "peak_extra_bytes", lambda work: work() or 0)


def test_ours_is_right_and_refuses(tmp_path: Path) -> None:
    for name in robustness.OURS:
        held = robustness.state(name, str(tmp_path), 60, 0)
        assert {robustness.damage(held, seed) for seed in range(12)} <= {"refused", "right"}
        assert robustness.threads(held, 0) == "right"
    assert robustness.kill(held, 0) == "right"


def test_a_careless_library_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that keeps no checksum, and loses rows that threads add."""
    monkeypatch.setitem(robustness.NAMES, "careless", Careless)
    held: State = robustness.state("careless", str(tmp_path), 60, 0)
    assert {robustness.damage(held, seed) for seed in range(40)} == {"silently wrong", "refused"}
    Careless.loses = True
    assert robustness.threads(held, 0) == "rows lost"


def test_the_report_says_what_is_missing() -> None:
    records: list[Any] = [
        {"figure": "run"},
        {"figure": "damage", "library": "x", "missing": "not installed"},
        {"figure": "damage", "library": "nearfield file", "version": "1", "trials": 9, "outcomes": {"refused": 9}},
        {"figure": "kills", "library": "nearfield file", "version": "1", "trials": 3, "outcomes": {"not whole": 3}},
    ]
    told = robustness.report(records)
    assert "met" in told
    assert "3 did" in told
    assert "not installed: x" in told
