"""One answer, bit by bit: whatever the instruction set, the threads, the batch and the call."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reference import check_search, rounded_to
from strategies import FAMILIES, Case

import engine
from engine import _core
from engine.types import Metric, SearchResult

TESTS = Path(__file__).resolve().parents[1]
METRICS: tuple[Metric, ...] = ("cosine", "ip", "l2")
PROBLEMS = [
    Case(7, 3000, 40, ("gaussian", "lattice", "constant"), 1),
    Case(33, 2000, 40, ("unit", "near_ties"), 2, "float16"),
    Case(64, 2500, 70, ("gaussian", "cluster", "dominant"), 3, "bfloat16"),
    Case(97, 1500, 40, tuple(sorted(FAMILIES)), 4),
    Case(384, 1500, 40, ("unit", "near_ties", "cluster"), 5),
    Case(1024, 400, 20, ("gaussian", "one_hot", "huge", "tiny"), 6),
]


def digest(*results: SearchResult) -> str:
    """One fingerprint of the ids and distances of all batches together."""
    ids = np.concatenate([result.ids for result in results])
    distances = np.concatenate([result.distances for result in results])
    return hashlib.sha256(ids.tobytes() + distances.tobytes()).hexdigest()[:16]


def answers(case: Case, metric: Metric) -> Iterator[tuple[str, str]]:
    """(what was asked, fingerprint of the answer); questions that differ only in the path share their name."""
    vectors, queries = case.make()
    kept = rounded_to(vectors, case.dtype)
    index = engine.Index(case.dim, metric=metric, dtype=case.dtype)
    index.add(vectors)
    mask = np.random.default_rng(case.seed).random(case.n) < 0.1
    for n_threads in (1, 2, 5):
        for size in (1, 3, len(queries)):
            batches = np.split(queries, range(size, len(queries), size))
            for k in (1, 10):
                yield f"k={k}", digest(*(index.search(some, k, n_threads=n_threads) for some in batches))
            masked = (index.search(some, 10, filter=mask, n_threads=n_threads) for some in batches)
            yield "mask", digest(*masked)
        yield "k=10", digest(engine.topk(queries, kept, 10, metric=metric, n_threads=n_threads))
        one = (engine.topk(query, kept, 10, metric=metric, n_threads=n_threads) for query in queries[:5])
        yield "five", digest(*one)
        yield "five", digest(index.search(queries[:5], 10, n_threads=n_threads))
        within = index.range_search(queries, float(index.search(queries[:1], 20).distances[0, -1]))
        yield "range", hashlib.sha256(within.ids.tobytes() + within.distances.tobytes()).hexdigest()[:16]


def report() -> str:
    """Every answer once, a line each; what the other instruction sets must print too."""
    lines = []
    for case in PROBLEMS:
        for metric in METRICS:
            found: dict[str, str] = {}
            for question, fingerprint in answers(case, metric):
                assert found.setdefault(question, fingerprint) == fingerprint, f"{case} {metric} {question}"
            lines += [f"{case} {metric} {question}: {fingerprint}" for question, fingerprint in found.items()]
    return "\n".join(lines) + "\n"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), str(TESTS / "property"), str(TESTS.parent)])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def here() -> str:
    return report()


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_every_instruction_set_gives_the_same_bits(isa: str, here: str) -> None:
    ran = run("import test_paths, sys; sys.stdout.write(test_paths.report())", ENGINE_ISA=isa)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == here.splitlines()


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: f"{case.dim}d-{case.dtype}")
@pytest.mark.parametrize("metric", METRICS)
def test_these_answers_are_right(case: Case, metric: Metric) -> None:
    vectors, queries = case.make()
    index = engine.Index(case.dim, metric=metric, dtype=case.dtype)
    index.add(vectors)
    few = queries[:8]
    check_search(index.search(few, 10), few, rounded_to(vectors, case.dtype), 10, metric)


def test_an_unknown_instruction_set_is_refused() -> None:
    ran = run("import engine; engine.topk([[1.0]], [[1.0]], 1)", ENGINE_ISA="sse9")
    assert ran.returncode == 1
    assert "ENGINE_ISA" in ran.stderr
    assert "sse9" in ran.stderr
    assert "baseline" in ran.stderr


def test_the_environment_chooses() -> None:
    for isa in _core.supported_isas():
        assert run("import engine._core; print(engine._core.isa())", ENGINE_ISA=isa).stdout.strip() == isa
