"""bench.limit: what a run measures, and when a target counts as met."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import limit, run
from bench.report import read

pytest.importorskip("scipy")


def test_a_quick_run_measures_all_but_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    monkeypatch.setattr(limit.Plan, "quick", lambda: limit.Plan(200, 1, dims=(3,), steps=((3, 5),), n_samples=5))
    out = tmp_path / "run.jsonl"
    assert run.main(["limit", "--quick", "--out", str(out)]) == 0
    _, *records = read(out)
    assert {record["figure"] for record in records} == {*limit.TELL} - {"strength"}
    assert all("missing" in record for record in records if record["figure"] == "recall")
    assert next(record["n"] for record in records if record["figure"] == "critical") == 4
    assert capsys.readouterr().out.count("not judged") == len(limit.EXPECTED)


def test_targets_that_are_missed_are_said_to_be() -> None:
    many = [{"figure": "critical", "dim": d, "n": limit.limit.CRITICAL_N[d], "exhausted": False} for d in limit.SMALL]
    many = [one | {"seconds": 5.0} for one in many]
    assert "[met]" in limit.report(many)
    assert "[NOT MET]" in limit.report([one | {"seconds": 50.0} for one in many])
    high = [one | {"n": one["n"] + 5 * (one["dim"] == 9)} for one in many]
    assert "outside: [9]" in limit.report(high)
    assert "targets met: 0 of 1" in limit.report(
        [{"figure": "steps", "dim": 12, "n": 47, "n_starts": 2, "ours": [1e-3], "numpy": [2e-3]}]
    )
    assert "targets met: 0 of 1" in limit.report(
        [{"figure": "precision", "dtype": name, "share": 1.0} for name in ("float32", "float16")]
    )
