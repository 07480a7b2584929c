"""C++ tests of their own, and what the compiled kernels may export."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CXX = shlex.split(os.environ.get("CXX", "c++"))
FLAGS = ["-std=c++20", "-I", str(ROOT / "csrc"), "-I", str(ROOT / "csrc" / "include")]
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
KERNELS = {"baseline": [], "avx2": AVX2, "avx512": AVX512, "avx512vnni": [*AVX512, "-mavx512vnni"]}


def test_util(tmp_path: Path) -> None:
    program = tmp_path / "util"
    sources = [ROOT / "tests" / "cpp" / "util.cpp", ROOT / "csrc" / "util" / "thread_pool.cpp"]
    sanitizers = ["-g", "-pthread", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run([*CXX, *FLAGS, *sanitizers, *map(str, sources), "-o", str(program)], check=True)
    # The pool is never destroyed on purpose, and a sanitizer of the calling process must not be loaded twice.
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": ""}
    ran = subprocess.run([str(program)], capture_output=True, text=True, timeout=120, env=env)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the kernel files of x86")
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
