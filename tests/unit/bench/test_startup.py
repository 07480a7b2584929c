from __future__ import annotations

from pathlib import Path

import pytest

from bench import run, startup
from bench.report import read

OURS = [name for name in startup.LIBRARIES if name.startswith("nearfield")]


def test_our_indexes_are_opened_in_fresh_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(startup, "LIBRARIES", {name: startup.LIBRARIES[name] for name in OURS})
    monkeypatch.setattr(startup.Plan, "quick", lambda: startup.Plan(rows=3000, dim=16, repeats=2))
    out = tmp_path / "run.jsonl"
    assert run.main(["startup", "--quick", "--out", str(out)]) == 0
    _, *records = read(out)
    assert [record["library"] for record in records] == OURS
    for record in records:
        assert record["file_bytes"] > 3000 * 16 * 4
        assert len(record["open_seconds"]) == len(record["first_seconds"]) == 2
    assert capsys.readouterr().out.count("open and answering within 50 ms") == 2


def test_a_table_says_what_is_missing_and_what_took_too_long() -> None:
    facts = {"figure": "startup", "rows": 10, "dim": 4, "file_bytes": 2e9}
    text = startup.report(
        [
            {
                **facts,
                "library": "nearfield graph",
                "open_seconds": [0.1, 0.2, 0.3],
                "first_seconds": [0.01, 0.01, 0.5],
            },
            {**facts, "library": "nearfield exact", "open_seconds": [0.01], "first_seconds": [0.02]},
            {"figure": "startup", "library": "nothing", "missing": "No module named 'nothing'"},
        ]
    )
    assert "[NOT MET]  nearfield graph: 2.00 GB open and answering within 50 ms: 210.0 ms" in text
    assert "[met]      nearfield exact: 2.00 GB open and answering within 50 ms: 30.0 ms" in text
    assert "No module named 'nothing'" in text
    assert "targets met: 1 of 2" in text
