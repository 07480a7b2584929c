"""What opening, adding and committing take, printed: NEARFIELD_STRESS_ROWS rows (a million) of 256 numbers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Collection

pytestmark = pytest.mark.stress
ROWS, DIM = int(os.environ.get("NEARFIELD_STRESS_ROWS", "1000000")), 256


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_speed(tmp_path: Path, rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((ROWS, DIM), dtype=np.float32)
    path = tmp_path / "c"
    collection = Collection.create(path, dim=DIM)
    by_numpy = seconds(lambda: vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    adding = seconds(lambda: collection.add(vectors))
    collection.commit()
    commits: list[float] = []
    synced: list[float] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(seconds(lambda: real(descriptor)))

    for i in range(16):
        collection.add(vectors[1000 * i : 1000 * (i + 1)])
        os.fsync = fsync
        try:
            commits.append(seconds(collection.commit))
        finally:
            os.fsync = real
    size = sum(file.stat().st_size for file in path.iterdir())
    opening = min(seconds(lambda: Collection.open(path)) for _ in range(5))
    without = min(seconds(lambda: Collection.open(path, verify=False)) for _ in range(5))
    figures: dict[str, Any] = {
        "rows": len(collection),
        "GiB": round(size / 2**30, 2),
        "open, verified, warm, s": round(opening, 3),
        "GB/s": round(size / opening / 1e9, 1),
        "open, verify=False, s": round(without, 4),
        "commit of 1,000 rows, median ms": round(1e3 * float(np.median(commits)), 1),
        "largest": round(1e3 * max(commits), 1),
        "fsync of them, mean ms a commit": round(1e3 * sum(synced) / len(commits), 1),
        "add, times the speed of copy and normalise in numpy": round(by_numpy / adding, 2),
    }
    print(figures)
    assert len(Collection.open(path)) == ROWS + 16_000
