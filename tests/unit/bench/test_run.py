from __future__ import annotations

from pathlib import Path

import pytest

from bench import run
from bench.exact import FIGURES, race
from bench.peers import NAMES
from bench.report import read
from bench.tasks import Plan, all_at_once

TINY = Plan(rows=1000, n_single=5, n_batch=60, n_memory=100, repeats=2, libraries=("nearfield", "numpy"))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "quick", lambda: TINY)


def test_a_race_finds_right_ids_and_names_the_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMES, "nothing", "no-such-distribution")
    plan = Plan(rows=300, n_batch=60, repeats=2, libraries=("nearfield", "nothing", "numpy"))
    records = {record["library"]: record for record in race(plan, "batch", all_at_once, 60, 2)}
    assert records["nothing"]["missing"] == "not installed"
    assert records["nearfield"]["identical"] == 1
    assert records["numpy"]["within_float32"] == 1
    assert len(records["numpy"]["seconds"]) == len(records["nearfield"]["int8_peak"]) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_every_figure_is_measured_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "run.jsonl"
    assert run.main(["exact", "--quick", "--out", str(out)]) == 0
    records = read(out)
    assert {record["figure"] for record in records} == {"run", *FIGURES}
    assert all(
        record["identical"] == 1 for record in records if record.get("library") == "nearfield" and "identical" in record
    )
    printed = capsys.readouterr().out
    for heading in ("SINGLE", "BATCH", "MEMORY", "MASKS", "ONE SHOT", "CODES", "IMPORT", "targets met"):
        assert heading in printed


@pytest.mark.usefixtures("tiny")
def test_one_figure_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run.jsonl"
    assert run.main(["exact", "--quick", "--only", "codes", "--seed", "7", "--json", "--out", str(out)]) == 0
    assert capsys.readouterr().out == out.read_text()
    head, *found = read(out)
    assert {key: head[key] for key in ("rows", "seed", "quick")} == {"rows": 1000, "seed": 7, "quick": True}
    assert {"cpu", "commit", "isa"} <= head.keys()
    assert [record["figure"] for record in found] == ["codes", "codes"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["exact", "--only", "speed"], "invalid choice: 'speed'"),
        (["exact", "--peers", "numpy,nosuch"], "unknown: nosuch; expected some of nearfield"),
        (["exact", "--repeats", "0"], "0 is not at least 1"),
        (["exact", "--rows", "999"], "999 is not at least 1000"),
        (["exact", "--seed", "x"], "invalid int value: 'x'"),
        (["graph"], "invalid choice: 'graph'"),
    ],
)
def test_wrong_arguments_are_named(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run.main(argv)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
