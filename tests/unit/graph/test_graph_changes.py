"""engine.Index(kind="graph") as its rows change: one after the other, by several threads, stopped halfway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from graphs import DIM, METRICS, QUERIES, VECTORS, N, clustered, graph_of, recall_of, state_of
from reference import check_search

import engine
from engine.types import Metric

# ---- add, remove, optimize, get


def test_a_failing_add_changes_nothing(index: engine.Index) -> None:
    before, answers = state_of(index), index.search(QUERIES, 10, ef=50)
    wrong = VECTORS[:200].copy()
    wrong[150, 3] = np.inf
    for vectors, ids in [
        (wrong, None), (VECTORS[:3], [1, 3, 1]), (VECTORS[:3], [1, 3, 4]), (VECTORS[:3], [1, 3]), (VECTORS[:1], [-1]),
        (np.ones((2, DIM + 1)), None), (np.full((2, DIM), 1e39), None),
    ]:  # fmt: skip
        with pytest.raises(engine.InvalidArgumentError):
            index.add(vectors, ids=ids)
        assert state_of(index) == before
    found = index.search(QUERIES, 10, ef=50)
    np.testing.assert_array_equal(found.ids, answers.ids)
    assert index.add(VECTORS[0]).tolist() == [2 * N - 1]


def test_removed_ids_never_come_back(index: engine.Index) -> None:
    """As steps of walks they stay, until a quarter is gone."""
    gone = index.ids[::5]
    assert index.remove(gone) == len(gone)
    assert (len(index), index.n_dead) == (N - len(gone), len(gone))
    kept = np.isin(np.arange(0, 2 * N, 2), index.ids)
    for _ in range(2):
        for options in ({"ef": 10}, {"ef": 100}, {"recall": 0.9}, {"recall": 1.0}):
            assert np.isin(index.search(QUERIES, 100, **options).ids, index.ids).all()
        check_search(
            index.search(QUERIES, 10, recall=1.0), QUERIES, VECTORS, 10, "l2", ids=np.arange(0, 2 * N, 2), allowed=kept
        )
        assert recall_of(index, QUERIES, 10, ef=100) > 0.97
        np.testing.assert_array_equal(index.get(index.ids), VECTORS[index.ids // 2])
        with pytest.raises(engine.InvalidArgumentError, match=f"{gone[1]}, which is not in the index"):
            index.get([2, gone[1]])
        with pytest.raises(engine.InvalidArgumentError, match="0, which is not in the index"):
            index.search(QUERIES, 1, filter=gone)
        index.verify()
        index.optimize()
        assert (len(index), index.n_dead, index.inspect()["n_rows"]) == (N - len(gone), 0, N - len(gone))


def test_filters_follow_the_rows_that_live(index: engine.Index, rng: np.random.Generator) -> None:
    index.remove(index.ids[rng.random(N) < 0.2])
    assert index.n_dead
    for _ in range(2):
        mask = rng.random(len(index)) < 0.3
        for allowed in (mask, index.ids[mask], engine.Bitmap(mask)):
            found = index.search(QUERIES[:5], 10, filter=allowed)
            check_search(found, QUERIES[:5], VECTORS[index.ids // 2], 10, "l2", ids=index.ids, allowed=mask)
        index.optimize()


def test_a_quarter_gone_is_dropped(index: engine.Index) -> None:
    index.remove(index.ids[: N // 4])
    assert index.n_dead == N // 4
    index.remove(index.ids[:1])
    assert (index.n_dead, len(index)) == (0, N - N // 4 - 1)
    assert index.verify()["n_reached"] == len(index)


def test_removing_what_is_not_there_changes_nothing(index: engine.Index) -> None:
    index.remove([4])
    before = state_of(index)
    for wrong, named in (([2, 7], "7"), ([2, 6, 2], "2"), ([2, 4], "4"), ([10**12], str(10**12))):
        with pytest.raises(engine.InvalidArgumentError, match=rf"ids holds {named}\b"):
            index.remove(wrong)
        assert state_of(index) == before
    assert index.remove([]) == 0


def test_removing_everything(index: engine.Index) -> None:
    assert index.remove(index.ids) == N
    assert (len(index), index.n_dead) == (0, 0)
    assert index.ids.tolist() == []
    index.verify()
    index.optimize()
    with pytest.raises(engine.NotBuiltError):
        index.search(QUERIES, 1)
    assert index.add(VECTORS).tolist() == list(range(2 * N - 1, 3 * N - 1))
    assert recall_of(index, QUERIES, 10, ef=100) > 0.98
    assert index.verify()["n_reached"] == N


def test_an_id_may_come_again(index: engine.Index) -> None:
    """While its old row still takes room, and after; it is the new vector that is found."""
    for _ in range(2):
        index.remove([10, 12])
        index.add(VECTORS[:2] + 0.01, ids=[12, 10])
        np.testing.assert_array_equal(index.get([12, 10]), VECTORS[:2] + np.float32(0.01))
        assert index.search(VECTORS[:2] + 0.01, 1, ef=50).ids.tolist() == [[12], [10]]
        assert np.sum(index.ids == 10) == 1
        index.optimize()


def test_whoever_keeps_labels_beside_the_rows_notices(index: engine.Index) -> None:
    """`optimize` gives the rows another order."""
    index.remove(index.ids[:100])
    knn = engine.classify.KNNClassifier(5, metric="l2", index=index).fit(None, index.ids % 4)
    order = index.ids
    index.optimize()
    assert not np.array_equal(index.ids, order)
    with pytest.raises(engine.InvalidArgumentError, match="changed"):
        knn.predict(QUERIES)


def test_memory(shared: engine.Index, index: engine.Index) -> None:
    """As docs/graph.md says: 4 d for vectors, d for codes, 4 M for links, some 40 besides, and codes of neighbours."""
    assert shared.nbytes - shared.codes_nbytes == N * DIM * 4
    beside = 12 * 32 + DIM * 32 / 8 if shared.layout == "fast" else 0
    per_row = shared.codes_nbytes / N - beside
    assert DIM + 4 * 32 + 24 < per_row < DIM + 4 * 32 + 24 + 24
    index.remove(index.ids[:1500])
    assert index.nbytes < 0.7 * shared.nbytes


# ---- threads, Ctrl-C, memory


@pytest.mark.parametrize("metric", METRICS)
def test_threads_do_not_change_the_links(metric: Metric) -> None:
    one, two, three = (graph_of(VECTORS[:2500], metric, n_threads=n, seed=3) for n in (1, 2, 3))
    assert state_of(one) == state_of(two) == state_of(three)
    for index in (one, two, three):
        index.remove(np.arange(0, 2500, 3))
    assert state_of(one) == state_of(two) == state_of(three)


def test_searches_go_on_while_others_change_the_index(index: engine.Index) -> None:
    """No removed id, no error; an add is seen whole or not at all."""
    piece, n_pieces = 100, 10
    marked = np.tile(np.full(DIM, 30, np.float32), (piece, 1)) + clustered(5, piece)
    first = 10**6
    done = threading.Event()
    errors: list[BaseException] = []
    gone: set[int] = set()

    def change() -> None:
        try:
            for i in range(n_pieces):
                index.add(marked, ids=first + i * piece + np.arange(piece))
                victims = index.ids[index.ids < first][:30]
                index.remove(victims)
                gone.update(victims.tolist())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    def search() -> None:
        try:
            while not done.is_set():
                before = set(gone)
                found = set(index.search(QUERIES[:8], 50, ef=60).ids.ravel().tolist())
                assert not found & before
                n_marked = int((index.search(marked[0], n_pieces * piece, recall=1.0).ids >= first).sum())
                assert n_marked % piece == 0, n_marked
                ids = index.ids
                assert (ids >= first).sum() % piece == 0
                assert len(set(ids.tolist())) == len(ids)
                index.explain()
                index.range_search(marked[0], 10.0)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)] + [threading.Thread(target=change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert len(index) == N + n_pieces * (piece - 30)
    assert recall_of(index, QUERIES, 10, ef=100) > 0.97


def test_what_is_saved_while_another_thread_adds_can_be_loaded(index: engine.Index, tmp_path: Path) -> None:
    thread = threading.Thread(target=lambda: [index.add(VECTORS[:50]) for _ in range(20)])
    thread.start()
    n_saved = 0
    while thread.is_alive() or not n_saved:
        index.save(tmp_path / "x")
        loaded = engine.Index.load(tmp_path / "x")
        assert (len(loaded) - N) % 50 == 0
        assert len(loaded.search(QUERIES, 10, ef=50)) == len(QUERIES)
        n_saved += 1
    thread.join()


INTERRUPTED = """
import sys, threading, time
import numpy as np, engine
from graphs import clustered, graph_of, state_of
index = graph_of(clustered(0, 4000), {metric!r}, n_threads={n_threads})
more = clustered(1, 60_000)
before, answers = state_of(index), index.search(more[:50], 10, ef=50)
print("ready", flush=True)
try:
    index.add(more)
except KeyboardInterrupt:
    after = state_of(index)
    changed = [name for name in before if before[name] != after[name]]
    same = (index.search(more[:50], 10, ef=50).ids == answers.ids).all()
    print(len(index), index.inspect()["n_reached"], changed, bool(same), index.add(more[0]).tolist(), flush=True)
    sys.exit(3)
"""


def run(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_ctrl_c_during_add_leaves_the_index_as_it_was(metric: str, n_threads: int) -> None:
    process = run(INTERRUPTED.format(metric=metric, n_threads=n_threads))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        threading.Event().wait(1.0)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (3, "4000 4000 [] True [4000]\n"), stderr


NO_MEMORY = """
import resource
import numpy as np, engine
from graphs import clustered, graph_of, state_of
index = graph_of(clustered(0, 2500, 1), "l2")
index.save({path!r})
index = engine.Index.load({path!r}, mmap={mmap})
before = state_of(index)
more = np.ones((4_000_000, 1), np.float32)  # 16 MB, and 512 for their links
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
try:
    index.add(more)
except MemoryError:
    print("refused", state_of(index) == before, index.add(more[:3]).tolist(), index.verify()["n_rows"])
"""


@pytest.mark.parametrize("mmap", [True, False])
def test_memory_that_runs_out_leaves_the_index_as_it_was(tmp_path: Path, mmap: bool) -> None:
    process = run(NO_MEMORY.format(path=str(tmp_path / "x"), mmap=mmap))
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, "refused True [2500, 2501, 2502] 2503\n"), stderr


INTERRUPTED_REMOVE = """
import sys
import numpy as np, engine
from graphs import clustered, graph_of, state_of
index = graph_of(clustered(0, 30_000), n_threads=1, ef_construction=20)
before = state_of(index)
print("ready", flush=True)
try:
    index.remove(np.arange(15_000))
except KeyboardInterrupt:
    print(len(index), state_of(index) == before, index.inspect()["n_reached"], flush=True)
    sys.exit(3)
"""


def test_ctrl_c_during_remove_leaves_the_index_as_it_was() -> None:
    """Dropping the rows takes a while; it is all or nothing like any other change."""
    process = run(INTERRUPTED_REMOVE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        threading.Event().wait(0.1)
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (3, "30000 True 30000\n"), stderr
