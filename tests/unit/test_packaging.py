"""What a stranger gets: one version, a complete sdist, a wheel that works."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, cwd: Path, **changed: str) -> str:
    environment = {**os.environ, **changed}
    ran = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_all_parts_have_one_version() -> None:
    assert engine.__version__ == importlib.metadata.version("nearfield")
    assert f'\nversion = "{engine.__version__}"\n' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.slow
def test_sdist_is_complete_and_its_wheel_works_without_the_checkout(tmp_path: Path) -> None:
    """The sdist, and the wheel that pip builds from it in isolation; not optimized, as that takes longest."""
    run(sys.executable, "-m", "build", "--outdir", str(tmp_path), cwd=ROOT, ENGINE_BUILD_TYPE="None")
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("bench", "bindings", "csrc", "encoders", "engine", "examples", "tests")
    assert set(run("git", "ls-files", *folders, cwd=ROOT).split()) <= packed
    assert {"LICENSE", "Makefile", "README.md", "pyproject.toml", "setup.py"} <= packed
    assert not [name for name in packed if name.endswith((".so", ".pyc"))]

    (path,) = tmp_path.glob("*.whl")
    apart = tmp_path / "apart"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        archive.extractall(apart)
    assert {"engine/py.typed", "engine/_core.pyi", "bench/run.py", "encoders/__init__.py"} <= set(names)
    assert not [name for name in names if name.startswith(("csrc/", "tests/"))]
    code = "import engine; print(engine.__file__, engine.topk([1.0], [[2.0]], 1).ids[0, 0])"
    printed = run(sys.executable, "-c", code, cwd=apart, PYTHONPATH=str(apart)).split()
    assert printed == [str(apart / "engine" / "__init__.py"), "0"]
