"""bench.encoders: what is measured, and when a target counts as met."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from workers import Direct

from bench import encoders, run
from bench.report import read


def speeds(**seconds: float) -> list[dict[str, Any]]:
    ways = {"one": encoders.NAIVE, "batches": "batches of 32", "ours": encoders.OURS}
    return [
        {"figure": "speed", "model": "clip images", "way": ways[way], "n": 10, "seconds": [took], "difference": 1e-7}
        for way, took in seconds.items()
    ]


def test_speed_is_judged_by_the_best_loop_and_the_naive_one() -> None:
    assert encoders.report(speeds(one=2.0, batches=1.0, ours=1.04)).count("[met]") == 3
    slow = encoders.report(speeds(one=1.2, batches=1.0, ours=1.1))
    assert slow.count("[NOT MET]") == 2
    assert "+10.0%" in slow
    wrong = [record | {"difference": 1e-3} for record in speeds(one=2.0, batches=1.0, ours=1.0)]
    assert encoders.report(wrong).count("[NOT MET]") == 1


def test_accuracy_and_a_killed_run_are_judged() -> None:
    name = "Banking77, 5-NN"
    assert "targets met: 1 of 1" in encoders.report([{"figure": "accuracy", "name": name, "right": 93, "n": 100}])
    assert "targets met: 0 of 1" in encoders.report([{"figure": "accuracy", "name": name, "right": 90, "n": 100}])
    for again, met in ((200, 1), (201, 0)):
        record = {"figure": "resume", "n": 10_000, "kept": 5000, "encoded": 5000, "again": again}
        assert f"targets met: {met} of 1" in encoders.report([record])
    missing = [
        {"figure": figure, "name": name, "model": "clip images", "missing": "why"} for figure in ("accuracy", "resume")
    ]
    assert encoders.report(missing).count("not judged, why") == 2


def test_wilson_is_the_interval_of_the_score_test() -> None:
    scipy = pytest.importorskip("scipy.stats")
    for right, n in ((0, 5), (8, 10), (940, 1000), (7, 7)):
        expected = scipy.binomtest(right, n).proportion_ci(method="wilson")
        assert encoders.wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_collection_with_a_folder_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr(encoders, "Worker", Direct)
    monkeypatch.setattr(encoders, "PHOTOS", "pixels")
    monkeypatch.setattr(encoders.Plan, "cache", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    assert run.main(["encoders", "--only", "photos", "--out", str(tmp_path / "none.jsonl")]) == 0
    assert "not judged" in capsys.readouterr().out
    for label, level in (("night", 20), ("day", 220)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(level - 20, level + 20, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    argv = ["encoders", "--only", "photos", "--folder", str(tmp_path / "photos"), "--out", str(tmp_path / "run.jsonl")]
    assert run.main(argv) == 0
    _, record = read(tmp_path / "run.jsonl")
    assert (record["n"], record["classes"], record["skipped"]) == (8, 2, 0)
    assert "95 %" in capsys.readouterr().out


def test_drawings_are_unpacked_by_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "data" / "omniglot" / "python"
    source.mkdir(parents=True)
    with zipfile.ZipFile(source / "images_background_small1.zip", "w") as archive:
        for character in ("c1", "c2", "c3"):
            for i in range(20):
                archive.writestr(f"images/Latin/{character}/{i}.png", b"x")
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path / "data"))
    (tmp_path / "out").mkdir()
    found = encoders.drawings(tmp_path / "out", 40, 0)
    assert sorted(len(list(folder.iterdir())) for folder in found.iterdir()) == [20, 20]
