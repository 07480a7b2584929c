"""README.md: its Python runs, its command lines work; CONTRIBUTING.md names what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import bench.run
from engine import cli

Image = pytest.importorskip("PIL.Image")
for module in ("torch", "efficientnet_lite_pytorch", "typer"):
    pytest.importorskip(module)
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SPANS = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE))
LINES = [line for language, code in BLOCKS if not language for line in code.splitlines()]
COMMANDS = [shlex.split(line, comments=True)[1:] for line in (*LINES, *SPANS) if line.startswith("nearfield ")]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    """The folder that the README supposes: photographs in classes, and one more to ask with."""
    names = [f"photos/{label}/{i}.jpg" for label in ("cats", "dogs") for i in range(3)]
    for name in (*names, "query.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("photos")
def test_the_python_runs_from_top_to_bottom() -> None:
    assert len(PYTHON) >= 3
    names: dict[str, object] = {}
    for code in PYTHON:
        exec(compile(code, "README.md", "exec"), names)
    ids, index = names["ids"], names["index"]
    assert ids[:, 0].tolist() == list(range(5))  # type: ignore[index]
    assert len(index) == 10_000  # type: ignore[arg-type]
    assert Path("vectors.nrf").exists()
    assert names["result"].attributes["label"].shape == (1, 5)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("photos")
def test_the_command_lines_work(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the benchmark are only parsed."""
    ran = []
    for command, *options in COMMANDS:
        if command == "bench":
            bench.run.parser().parse_args(options)
        else:
            assert cli.main([command, *options]) == 0, capsys.readouterr().err
        ran.append(command)
    assert {"index", "search", "classify", "bench"} <= set(ran)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_marker_and_file_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    targets = set(re.findall(r"^(?:.*`)?make (\w+)", text, re.MULTILINE))
    assert "test" in targets
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    markers = set(re.findall(r"-m (\w+)`", text))
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert [marker for marker in markers if f"pytest.mark.{marker}" not in tests] == []
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []
