"""Many readers or one writer; collections that threads share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from engine import Collection
from engine._rwlock import ReadWriteLock


def test_readers_share_and_a_writer_is_alone() -> None:
    lock = ReadWriteLock()
    together = threading.Barrier(4)
    inside: list[str] = []

    def read() -> None:
        with lock.reading():
            together.wait(10)  # breaks unless all four are inside at once

    def write(name: str) -> None:
        with lock.writing():
            inside.append(name)
            assert inside == [name]
            inside.remove(name)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(read) for _ in range(4)]:
            done.result(20)
        for done in [pool.submit(write, str(i)) for i in range(200)]:
            done.result(20)


def test_a_waiting_writer_comes_before_new_readers() -> None:
    lock = ReadWriteLock()
    order: list[str] = []

    def write() -> None:
        with lock.writing():
            order.append("write")

    def read() -> None:
        with lock.reading():
            order.append("read")

    with ThreadPoolExecutor(2) as pool:
        with lock.reading():
            writer = pool.submit(write)
            while not lock._n_waiting:
                pass
            reader = pool.submit(read)
            assert order == []
        writer.result(20)
        reader.result(20)
    assert order == ["write", "read"]


def test_an_error_lets_go() -> None:
    lock = ReadWriteLock()
    for held in (lock.reading, lock.writing):
        try:
            with held():
                raise KeyError
        except KeyError:
            pass
    with lock.writing():
        pass


def test_filters_fit_the_rows_while_others_change_them() -> None:
    """Every answer passes its filter, though rows come, go and change all the time."""
    rng = np.random.default_rng(0)
    collection = Collection.create(dim=8)
    collection.add(rng.standard_normal((500, 8)), attributes={"even": [i % 2 == 0 for i in range(500)]})
    stop, own, query = threading.Event(), np.random.default_rng(1), rng.standard_normal(8)

    def change() -> None:
        try:
            for step in range(40):
                ids = np.arange(10_000 + 20 * step, 10_020 + 20 * step)
                vectors = own.standard_normal((20, 8))
                collection.upsert(vectors, ids, attributes={"even": (ids % 2 == 0).tolist()})
                collection.delete(ids[:5])
            assert collection.delete(filter="NOT even") > 250
        finally:
            stop.set()

    def ask() -> int:
        n = 0
        while not stop.is_set():
            found = collection.search(query, k=20, filter="even", columns=["even"])
            ids = found.ids[found.ids >= 0]
            assert (ids % 2 == 0).all()
            n += 1
        return n

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask) for _ in range(2)]
        pool.submit(change).result(60)
        assert sum(done.result(60) for done in asked) > 0
