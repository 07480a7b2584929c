"""Figure 6: what opening, adding and committing take, with NEARFIELD_STRESS_ROWS rows (a million) of 256 numbers."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Collection

ROWS, DIM = int(os.environ.get("NEARFIELD_STRESS_ROWS", "1000000")), 256
PARTS, COMMITS, NEW = 10, 16, 1000


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@pytest.mark.stress
def test_speed(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, figure: Any) -> None:
    vectors = rng.standard_normal((ROWS, DIM), dtype=np.float32)
    path = tmp_path / "c"
    collection = Collection.create(path, dim=DIM)
    at_once, by_numpy, in_parts = [], 0.0, 0.0
    for part in np.split(vectors, PARTS):  # in turns, so that a busy machine meets all
        alone = Collection.create(dim=DIM)
        numpy_s = seconds(lambda part=part: part / np.linalg.norm(part, axis=1, keepdims=True))
        at_once.append(numpy_s / seconds(lambda part=part, alone=alone: alone.add(part)))
        in_parts += seconds(lambda part=part: collection.add(part))
        by_numpy += numpy_s
    collection.commit()
    synced: list[float] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(seconds(lambda: real(descriptor))))
    without_sync = []
    for i in range(COMMITS):
        collection.add(vectors[NEW * i : NEW * (i + 1)])
        synced.clear()
        without_sync.append(seconds(collection.commit) - sum(synced))
    size = sum(file.stat().st_size for file in path.iterdir())
    opening = min(seconds(lambda: Collection.open(path)) for _ in range(15))
    per_gib, committing, adding = opening * 2**30 / size, statistics.median(without_sync), statistics.median(at_once)
    rate = f"{size / opening / 1e9:.1f} GB/s"
    judged(figure, f"1 GiB opened and verified, warm: {per_gib:.3f} s, {rate}", per_gib <= 0.3)
    most = f"{1e3 * max(without_sync):.1f} ms"
    judged(figure, f"commit of {NEW} rows without fsync: {1e3 * committing:.1f} ms, at most {most}", committing <= 0.05)
    parts = f"{by_numpy / in_parts:.2f} in {PARTS} calls"
    judged(figure, f"adding at once: {adding:.2f} of the speed of numpy's copy and norm; {parts}", adding >= 0.8)
    assert len(Collection.open(path)) == ROWS + NEW * COMMITS


def judged(figure: Any, text: str, met: bool) -> None:
    """Said, and no reason to fail: the machine may be busy."""
    figure(6, f"{'met   ' if met else 'MISSED'} {text} ({ROWS} rows)")
