"""Figure 5: threads and processes that add, delete, search, commit and optimise at once."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import DIM, add, check, vectors_of
from scales import short_and_long
from writers import ids_of, read, write

from engine import Collection, _segments

ALWAYS = np.arange(300)  # ids that no thread removes
PAIRS = [
    "add+add",
    "add+search",
    "delete+search",
    "commit+search",
    "optimize+search",
    "commit+change",
    "optimize+change",
]
OPERATIONS = 12  # of each thread in a round


@pytest.fixture(autouse=True)
def small_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that commits fold segments into a graph."""
    monkeypatch.setattr(_segments, "FOLD", 1500)


class Actor:
    """What one thread does to a collection, to rows of its own."""

    def __init__(self, collection: Collection, path: Path, number: int) -> None:
        self.collection, self.path = collection, path
        self.rng = np.random.default_rng(number)
        self.first = 1000 * (number + 1)
        self.held: set[int] = set()

    def add(self) -> None:
        free = np.setdiff1d(self.first + np.arange(900), sorted(self.held))
        new = self.rng.choice(free, min(len(free), int(self.rng.choice([1, 30]))), replace=False)
        if len(new):
            add(self.collection, new)
            self.held.update(new.tolist())

    def delete(self) -> None:
        gone = [i for i in sorted(self.held) if self.rng.random() < 0.2]
        assert self.collection.delete(gone) == len(gone)
        self.held.difference_update(gone)

    def change(self) -> None:
        self.add()
        self.delete()

    def upsert(self) -> None:
        again = [i for i in sorted(self.held) if self.rng.random() < 0.3]
        self.collection.delete(again)
        add(self.collection, np.array(again, np.int64))

    def search(self) -> None:
        asked = self.rng.choice(ALWAYS, 20)
        found = self.collection.search(vectors_of(asked), k=3, exact=True, filter="number < 300", columns=["number"])
        assert (found.ids[:, 0] == asked).all()
        assert (found.attributes["number"] == found.ids).all()
        assert np.array_equal(self.collection.get(asked), vectors_of(asked))
        assert self.collection.count("number < 300") == len(ALWAYS)

    def commit(self) -> None:
        self.add()
        self.collection.commit()

    def optimize(self) -> None:
        self.commit()
        self.collection.optimize()

    def reopen(self) -> None:
        opened = Collection.open(self.path)
        opened.verify()
        assert opened.count("number < 300") == len(ALWAYS)
        assert np.array_equal(opened.attributes["number"], opened.index.ids)


def together(path: Path, kind: Any, jobs: Iterable[str], until: Callable[[int], bool], seed: int = 0) -> dict[str, int]:
    """One thread for each job, over and over until it has done enough; nothing is lost, and how often each was done."""
    collection = Collection.create(path, dim=DIM, kind=kind, metric="l2")
    add(collection, ALWAYS)
    actors = [(job, Actor(collection, path, seed * 16 + number)) for number, job in enumerate(jobs)]
    for _, actor in actors:
        actor.first = actor.first % 16_000  # ids stay small, whose vectors tell them apart
        actor.add()
    collection.commit()
    start, errors, counts = threading.Barrier(len(actors)), [], dict.fromkeys(jobs, 0)

    def repeat(job: str, actor: Actor) -> None:
        try:
            start.wait(60)
            for n in itertools.count():
                if until(n) or errors:
                    break
                getattr(actor, job)()
                counts[job] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=pair, daemon=True) for pair in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors, errors
    assert all(counts.values()), counts
    expected = [*ALWAYS, *(i for _, actor in actors for i in actor.held)]
    check(collection, expected)
    collection.commit()
    collection.close()
    check(Collection.open(path), expected)
    return counts


@short_and_long(3, 100)
@pytest.mark.parametrize("pair", PAIRS)
def test_rounds_of_two(pair: str, size: int, tmp_path: Path, figure: Any) -> None:
    for i in range(size):
        kind = ("exact", "graph")[i % 2]
        together(tmp_path / str(i), kind, pair.split("+"), lambda n: n == OPERATIONS, seed=i)
        shutil.rmtree(tmp_path / str(i))
    figure(5, f"{size} rounds of {pair}: no crash, wrong answer, lost row or error")


@short_and_long(2, 60)
@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_everything_at_once(kind: Any, size: int, tmp_path: Path, figure: Any) -> None:
    end = time.monotonic() + size
    jobs = ["change", "add", "upsert", "search", "delete", "commit", "optimize", "reopen"]
    counts = together(tmp_path / "c", kind, jobs, lambda n: n > 0 and time.monotonic() > end)
    figure(5, f"8 threads for {size} s, {kind}: {', '.join(f'{n} {job}' for job, n in counts.items())}")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@short_and_long(4, 60)
def test_readers_beside_a_writer(size: int, tmp_path: Path, figure: Any) -> None:
    """Eight processes: each version that they open holds its rows, and answers as brute force over these does."""
    fork = multiprocessing.get_context("fork")
    Collection.create(tmp_path / "c", dim=DIM, metric="l2", keep=1).close()
    answers = fork.Queue()
    writer = fork.Process(target=write, args=(tmp_path / "c", 1))
    readers = [fork.Process(target=read, args=(tmp_path / "c", size, answers)) for _ in range(8)]
    for process in (writer, *readers):
        process.start()
    found = [answers.get(timeout=size + 120) for _ in readers]
    assert writer.is_alive()
    writer.kill()
    writer.join(60)
    for process in readers:
        process.join(60)
    assert all(isinstance(n, int) and n for n in found), found
    opened = Collection.open(tmp_path / "c", mode="w")
    check(opened, ids_of(opened.version))
    figure(5, f"8 readers for {size} s: {sum(found)} openings compared with their version, of {opened.version}")
