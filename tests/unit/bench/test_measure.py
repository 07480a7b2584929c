from __future__ import annotations

import operator
import os

import numpy as np
import pytest

from bench.measure import HANDICAPS, THREAD_VARIABLES, MeasureError, Timing, Worker, in_turns, machine, peak_extra_bytes


def test_timing_of_an_even_number_of_repeats() -> None:
    timing = Timing((4.0, 1.0, 3.0, 2.0))
    assert (timing.min, timing.median, timing.max) == (1.0, 2.5, 4.0)


def test_everyone_has_a_turn_before_anyone_has_a_second() -> None:
    calls: list[str] = []

    def measure(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    timings = in_turns(["a", "b"], measure, repeats=2, warmup=1, pause=0)
    assert calls == ["a", "b"] * 3
    assert timings == {"a": Timing((3.0, 5.0)), "b": Timing((4.0, 6.0))}


def test_nobody_to_measure() -> None:
    assert in_turns([], lambda name: 1.0, repeats=5) == {}


@pytest.mark.parametrize("megabytes", [32, 128])
def test_memory_that_is_gone_afterwards_counts(megabytes: int) -> None:
    extra = peak_extra_bytes(lambda: np.ones(megabytes * 2**20, np.uint8).sum())
    assert megabytes * 2**20 <= extra + 2**20 < (megabytes + 16) * 2**20


def test_memory_in_use_before_does_not_count() -> None:
    held = np.ones(64 * 2**20, np.uint8)
    assert peak_extra_bytes(held.sum) < 8 * 2**20


def test_a_worker_is_another_process() -> None:
    with Worker(str, "abc", n_threads=1) as worker:
        assert worker.run(str.upper) == "ABC"
        assert worker.run(str.replace, "b", "") == "ac"
    with Worker(list, n_threads=1) as worker:
        worker.run(list.append, 1)
        assert worker.run(list.copy) == [1]  # the state stays


def test_a_worker_has_so_many_threads_and_no_handicaps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HANDICAPS:
        monkeypatch.setenv(name, "Prescott")
    before = dict(os.environ)
    for name in THREAD_VARIABLES:
        with Worker(str, name, n_threads=3) as worker:
            assert worker.run(os.getenv) == "3"
    with Worker(str, HANDICAPS[0], n_threads=3) as worker:
        assert worker.run(os.getenv) is None
    assert dict(os.environ) == before


def test_a_failure_over_there_arrives_with_its_traceback() -> None:
    with Worker(int, 1, n_threads=1) as worker:
        with pytest.raises(MeasureError, match=r"Traceback(.|\n)*ZeroDivisionError"):
            worker.run(operator.truediv, 0)
        assert worker.run(operator.truediv, 2) == 0.5  # and the worker goes on


def test_a_state_that_cannot_be_made() -> None:
    with pytest.raises(MeasureError, match="invalid literal"):
        Worker(int, "x", n_threads=1)


def test_a_process_that_dies() -> None:
    with Worker(int, 3, n_threads=1) as worker:
        for _ in range(2):  # and it stays dead
            with pytest.raises(MeasureError, match="exit code 3"):
                worker.run(os._exit)


def test_the_machine_has_a_name() -> None:
    found = machine()
    assert found["cpu"]
    assert found["cores"]
    assert found["commit"]
