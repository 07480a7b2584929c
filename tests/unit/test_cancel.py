"""Long searches: Ctrl-C ends them, other threads run meanwhile, and many at once give the right answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

import engine
from engine.types import SearchResult

# A search of many seconds: everything is as far as everything else, so nothing can be screened away early.
LONG = """
import sys, time
import numpy as np, engine
rng = np.random.default_rng(0)
vectors = rng.standard_normal((60_000, 256), dtype=np.float32)
queries = rng.standard_normal((200_000, 256), dtype=np.float32)
index = engine.Index(256, metric="l2")
index.add(vectors)
calls = {{
    "search": lambda: index.search(queries, 50, n_threads={n_threads}),
    "topk": lambda: engine.topk(queries, vectors, 50, n_threads={n_threads}),
    "range": lambda: index.range_search(queries, 300.0, n_threads={n_threads}),
}}
print("ready", flush=True)
try:
    calls["{call}"]()
except KeyboardInterrupt:
    print("interrupted", index.search(queries[:1], 1).ids.shape, flush=True)
    sys.exit(3)
print("finished", flush=True)
"""


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("call", ["search", "topk", "range"])
def test_ctrl_c_ends_a_long_search(call: str, n_threads: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LONG.format(call=call, n_threads=n_threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        assert process.poll() is None
        start = time.perf_counter()
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        seconds = time.perf_counter() - start
    finally:
        process.kill()
    assert (process.returncode, stdout) == (3, "interrupted (1, 1)\n"), stderr
    assert seconds < 2


def test_other_threads_run_during_a_search(rng: np.random.Generator) -> None:
    """A thread that counts gets on while the core searches; were the GIL kept, it would stand still."""
    vectors = rng.standard_normal((50_000, 128), dtype=np.float32)
    queries = rng.standard_normal((2000, 128), dtype=np.float32)
    index = engine.Index(128)
    index.add(vectors)
    done, ticks = threading.Event(), []

    def tick() -> None:
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    index.search(queries, 10, n_threads=1)
    end = time.perf_counter()
    done.set()
    thread.join()
    during = [moment for moment in ticks if start < moment < end]
    pauses = np.diff([start, *during, end])
    assert end - start > 0.05, "the search was too short to tell"
    assert pauses.max() < 0.5 * (end - start)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_searches_at_once_give_the_answers_of_searches_in_turn(rng: np.random.Generator, n_threads: int) -> None:
    vectors = rng.standard_normal((5000, 48), dtype=np.float32)
    queries = rng.standard_normal((64, 48), dtype=np.float32)
    index = engine.Index(48)
    index.add(vectors)
    mask = rng.random(5000) < 0.2

    def call(some: NDArray[np.float32], allowed: NDArray[np.bool_] | None) -> SearchResult:
        return index.search(some, 10, filter=allowed, n_threads=n_threads)

    problems = [(some, allowed) for some in np.split(queries, 16) for allowed in (None, mask)] * 3
    in_turn = [call(*problem) for problem in problems]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(lambda problem: call(*problem), problems))
    for left, right in zip(in_turn, at_once, strict=True):
        np.testing.assert_array_equal(left.ids, right.ids)
        np.testing.assert_array_equal(left.distances, right.distances)


def test_searching_while_adding_gives_an_answer_of_before_or_after(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((4000, 32), dtype=np.float32)
    query = vectors[-1]
    index = engine.Index(32, metric="l2")
    index.add(vectors[:2000])
    ends = [engine.topk(query, vectors[:n], 5, metric="l2").ids.tolist() for n in range(2000, 4001, 100)]

    def add() -> None:
        for start in range(2000, 4000, 100):
            index.add(vectors[start : start + 100])

    thread = threading.Thread(target=add)
    thread.start()
    while thread.is_alive():
        assert index.search(query, 5).ids.tolist() in ends
    thread.join()
    assert index.search(query, 5).ids.tolist() == ends[-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_search(rng: np.random.Generator) -> None:
    """The pool's threads do not survive a fork; a search in the child must not wait for them."""
    vectors = rng.standard_normal((3000, 32), dtype=np.float32)
    index = engine.Index(32)
    index.add(vectors)
    expected = index.search(vectors[:50], 3, n_threads=2).ids
    child = os.fork()
    if child == 0:
        same = False
        try:
            signal.alarm(20)
            same = np.array_equal(index.search(vectors[:50], 3, n_threads=2).ids, expected)
        finally:
            os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


WAITING = """
import faulthandler, threading
import numpy as np, engine
faulthandler.dump_traceback_later(60, exit=True)
rng = np.random.default_rng(0)
vectors = rng.standard_normal((100_000, 256), dtype=np.float32)
index = engine.Index(256, n_threads=2)
index.add(vectors[:100])
done = threading.Event()

def look():
    while not done.is_set():
        len(index), index.ids, index.nbytes, index.codes_nbytes, repr(index), index.get([0])
        index.search(vectors[:2], 3, filter=[1, 2, 3])
        index.range_search(vectors[:2], 0.5)

threads = [threading.Thread(target=look) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(3):
    index.add(vectors)
index.remove(np.arange(50, 1000))
done.set()
for thread in threads:
    thread.join()
print(len(index))
"""


def test_nobody_waits_for_ever() -> None:
    """A change takes the GIL to look for Ctrl-C while it holds the lock, so whoever waits for that must not hold it."""
    ran = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, check=False, timeout=120)
    assert ran.stdout.strip() == str(300_100 - 950), ran.stderr


def test_ctrl_c_ends_a_long_add() -> None:
    """And leaves the index as it was."""
    code = """
import sys
import numpy as np, engine
vectors = np.random.default_rng(0).standard_normal((1000, 512), dtype=np.float32)
many = np.broadcast_to(vectors, (300, 1000, 512)).reshape(-1, 512)
index = engine.Index(512, n_threads=1)
index.add(vectors)
before = index.search(vectors[:5], 3).ids
print("ready", flush=True)
try:
    index.add(many)
except KeyboardInterrupt:
    print(len(index), (index.search(vectors[:5], 3).ids == before).all(), index.add(vectors[0]), flush=True)
    sys.exit(3)
print("finished", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        start = time.perf_counter()
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        seconds = time.perf_counter() - start
    finally:
        process.kill()
    assert (process.returncode, stdout) == (3, "1000 True [1000]\n"), stderr
    assert seconds < 2
