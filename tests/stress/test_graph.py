"""A graph that several threads add to, remove from, search and save, until the time is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graphs import DIM, clustered, graph_of, recall_of

import engine
from engine.types import Metric

SECONDS = 60

pytestmark = pytest.mark.stress


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_everything_at_once(metric: Metric, tmp_path: Path) -> None:
    index = graph_of(clustered(0, 5000), metric)
    until = time.monotonic() + SECONDS
    errors: list[BaseException] = []
    counts = dict.fromkeys(["add", "remove", "search", "save", "optimize"], 0)

    def add(rng: np.random.Generator) -> None:
        index.add(clustered(int(rng.integers(2**31)), int(rng.choice([1, 60, 700]))))

    def remove(rng: np.random.Generator) -> None:
        """Of its own third of the ids, so that no other thread is faster."""
        ids = index.ids
        index.remove(ids[(ids % 3 == 0) & (rng.random(len(ids)) < 0.3)])

    def search(rng: np.random.Generator) -> None:
        k = int(rng.choice([1, 10, 100]))
        result = index.search(clustered(int(rng.integers(2**31)), 20), k, recall=float(rng.choice([0.8, 0.95])))
        for ids, distances in zip(*result, strict=True):
            assert len(set(ids.tolist())) == k
            assert (np.lexsort((ids, distances)) == np.arange(k)).all()

    def save(_: np.random.Generator) -> None:
        index.save(tmp_path / "x")
        loaded = engine.Index.load(tmp_path / "x")
        assert len(loaded.search(np.ones(DIM), 10, ef=50).ids) == 1

    def optimize(_: np.random.Generator) -> None:
        time.sleep(0.5)
        index.optimize()

    def repeat(job: Callable[[np.random.Generator], None], seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            while time.monotonic() < until and not errors:
                job(rng)
                counts[job.__name__] += 1
        except BaseException as error:
            errors.append(error)

    jobs = [add, add, remove, search, search, save, optimize]
    threads = [threading.Thread(target=repeat, args=(job, seed)) for seed, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert all(counts.values()), counts
    index.optimize()
    report = index.verify()
    assert report["n_rows"] == len(index) == len(set(index.ids.tolist()))
    assert (
        recall_of(index, clustered(1, 400), 10, recall=0.95) > 0.94
    )  # within 0.01, and what 400 queries may miss it by
