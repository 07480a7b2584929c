"""examples/classify.py: the whole of it, on made-up questions and without a model."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from examples import load_example

pytest.importorskip("sklearn")
FILLER = "please can you tell me what to do about my thing it does not work now".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_example("classify")


@pytest.fixture
def data(tmp_path: Path, rng: np.random.Generator) -> Path:
    """77 labels of two words each; questions have one or both of these, and others."""
    folder = tmp_path / "banking77" / "banking_data"
    folder.mkdir(parents=True)
    for part, n in (("train", 12), ("test", 6)):
        with open(folder / f"{part}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "category"])
            for i in range(77):
                for j in range(n):
                    words = [f"first{i}", f"second{i}"][: 1 + j % 2] + rng.choice(FILLER, 3).tolist()
                    writer.writerow([" ".join(words), f"first{i}_second{i}"])
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Number of distinct clusters", "ignore:fewer rows")
def test_all_of_it_runs(
    example: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "ENCODER", "hashing")
    assert example.main(["--data", str(data), "--tests", "400"]) == 0
    printed = capsys.readouterr().out
    shares = dict(re.findall(r"^  (.{52}) *(-?\d\.\d{3})", printed, re.MULTILINE))
    assert len(shares) >= 24
    assert all(0 <= float(share) <= 1 for share in shares.values())
    assert float(shares[f"{'nearest class mean':<52}"]) > 0.9
    for title in ("From names", "From both", "Beyond the classes", "New classes", "Vectors", "Done in"):
        assert f"\n{title}" in printed


def test_missing_data_is_said(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--data", str(tmp_path)]) == 1
    assert "is missing; set NEARFIELD_DATA" in capsys.readouterr().err
