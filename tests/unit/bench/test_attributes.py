"""Every question is asked of every library, and all find the same rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import attributes, run
from bench.report import read


def test_all_find_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attributes.Plan, "quick", lambda: attributes.Plan(rows=2000, n_calls=1, repeats=1))
    out = tmp_path / "attributes.jsonl"
    assert run.main(["attributes", "--quick", "--out", str(out)]) == 0
    asked = [record for record in read(out) if "question" in record]
    for question in attributes.QUESTIONS:
        found = {record["library"]: record["count"] for record in asked if record["question"] == question}
        assert found.keys() == {"nearfield", "polars"} | (set() if "set" in question else {"pandas"})
        assert len(set(found.values())) == 1, question
    printed = capsys.readouterr().out
    assert "QUICK RUN" in printed
    assert "other rows" not in printed
    assert "BYTES A ROW" in printed
