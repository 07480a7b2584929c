"""C++ tests of their own, and what the compiled kernels may export."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine._core import supported_isas

ROOT = Path(__file__).parents[2]
CXX = shlex.split(os.environ.get("CXX", "c++"))
IS_X86 = platform.machine() in ("x86_64", "AMD64")
CSRC = ROOT / "csrc"
FLAGS = ["-std=c++20", "-I", str(CSRC), "-I", str(CSRC / "include"), *(["-DENGINE_X86"] if IS_X86 else [])]
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
KERNELS = {"baseline": [], "avx2": AVX2, "avx512": AVX512, "avx512vnni": [*AVX512, "-mavx512vnni"]}

RUN = [isa for isa in ("baseline", "avx2") if isa in supported_isas()]  # the others are linked, to be chosen from
CORE = sorted(source for source in CSRC.rglob("*.cpp") if IS_X86 or not source.stem.startswith("avx"))


def compile_all(sources: Iterable[Path], folder: Path, sanitizer: str) -> list[Path]:
    """Object files, a few at a time."""

    def compile_one(source: Path) -> Path:
        compiled = folder / f"{source.stem}.o"
        isa = source.stem if source.stem in KERNELS else "baseline"
        flags = [*FLAGS, *KERNELS[isa], *(sanitized(sanitizer) if isa in RUN else ["-w"])]
        subprocess.run([*CXX, *flags, "-c", str(source), "-o", str(compiled)], check=True)
        return compiled

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sources))


def sanitized(sanitizer: str) -> list[str]:
    return ["-g1", "-Og", "-pthread", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]


def run(objects: list[Path], program: Path, sanitizer: str, timeout: float, isa: str = "baseline") -> None:
    subprocess.run([*CXX, *sanitized(sanitizer), *map(str, objects), "-o", str(program)], check=True)
    # The pool is never destroyed on purpose, and a sanitizer of the calling process must not be loaded twice.
    options = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "die_after_fork=0"}
    env = {**os.environ, **options, "LD_PRELOAD": "", "ENGINE_ISA": isa}
    ran = subprocess.run([str(program)], capture_output=True, text=True, timeout=timeout, env=env)
    assert ran.returncode == 0, f"{program.name} on {isa}: {ran.stderr}"


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_util(sanitizer: str, tmp_path: Path) -> None:
    sources = [ROOT / "tests" / "cpp" / "util.cpp", CSRC / "util" / "thread_pool.cpp", CSRC / "filter" / "bitmap.cpp"]
    run(compile_all(sources, tmp_path, sanitizer), tmp_path / "util", sanitizer, 120)


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_attributes(sanitizer: str, tmp_path: Path) -> None:
    sources = [ROOT / "tests" / "cpp" / "columns.cpp", *CSRC.glob("attributes/*.cpp"), CSRC / "filter" / "bitmap.cpp"]
    run(compile_all(sources, tmp_path, sanitizer), tmp_path / "columns", sanitizer, 120)


@pytest.mark.slow
def test_core(tmp_path: Path) -> None:
    """One test, as compiling the core takes longest. Links are chosen differently where there are no wide registers."""
    (tmp_path / "core").mkdir()  # graph_index.cpp is in both
    core = compile_all(CORE, tmp_path / "core", "address,undefined")
    for program, isas in (("candidates", RUN), ("graph", RUN), ("graph_index", RUN[-1:]), ("planner", RUN[-1:])):
        own = compile_all([ROOT / "tests" / "cpp" / f"{program}.cpp"], tmp_path, "address,undefined")
        for isa in isas:
            run([*own, *core], tmp_path / program, "address,undefined", 600, isa)


@pytest.mark.slow
def test_graph_threads(tmp_path: Path) -> None:
    objects = compile_all([ROOT / "tests" / "cpp" / "graph_threads.cpp", *CORE], tmp_path, "thread")
    run(objects, tmp_path / "graph_threads", "thread", 600)


@pytest.mark.skipif(not IS_X86, reason="the kernel files of x86")
@pytest.mark.parametrize("isa", KERNELS)
def test_kernels_export_their_table_only(isa: str, tmp_path: Path) -> None:
    """An inline function built for AVX-512 and visible to the linker could be the copy that an old CPU gets to run."""
    compiled = tmp_path / f"{isa}.o"
    source = ROOT / "csrc" / "kernels" / f"{isa}.cpp"
    quiet = ["-w", "-O1", "-fopenmp-simd"]
    subprocess.run([*CXX, *FLAGS, *quiet, *KERNELS[isa], "-c", str(source), "-o", str(compiled)], check=True)
    listed = subprocess.run(
        ["nm", "-C", "--defined-only", "--extern-only", str(compiled)], capture_output=True, text=True
    )
    names = [line.split(maxsplit=2)[2] for line in listed.stdout.splitlines()]
    assert names == [f"engine::kernels::{isa}::table"]
