"""Collections in folders: everything at once, kills at random times, damage to every byte, until the time is up."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disk import Disk
from folders import DIM, add, check, files, forge, holds_what_it_names, make, use, vectors_of

from engine import Collection, CorruptIndexError, StorageError, _segments

SECONDS = float(os.environ.get("NEARFIELD_STRESS_SECONDS", "20"))

pytestmark = [pytest.mark.stress, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]
FORK = multiprocessing.get_context("fork")


# ---- threads


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_threads(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread adds and deletes ids of its own; the rest of them are there all the time and must be found."""
    monkeypatch.setattr(_segments, "FOLD", 1500)
    collection = Collection.create(tmp_path / "c", dim=DIM, kind=kind, metric="l2")
    always = np.arange(0, 1000)
    add(collection, always)
    collection.commit()
    until = time.monotonic() + SECONDS
    errors: list[BaseException] = []
    counts = dict.fromkeys(["change", "search", "commit", "optimize", "reopen"], 0)
    held: dict[int, set[int]] = {}

    def change(rng: np.random.Generator, seed: int) -> None:
        mine = held.setdefault(seed, set())
        new = np.setdiff1d(1000 * (seed + 1) + rng.integers(0, 900, int(rng.choice([1, 30]))), sorted(mine))
        if len(new):
            add(collection, new)
            mine.update(new.tolist())
        gone = [i for i in sorted(mine) if rng.random() < 0.2]
        if gone:
            assert collection.delete(gone) == len(gone)
            mine.difference_update(gone)

    def search(rng: np.random.Generator, seed: int) -> None:
        asked = rng.choice(always, 20)
        found = collection.search(vectors_of(asked), k=3, exact=True, filter="number < 1000", columns=["number"])
        assert (found.ids[:, 0] == asked).all()
        assert (found.attributes["number"] == found.ids).all()
        assert np.array_equal(collection.get(asked), vectors_of(asked))
        assert collection.count("number < 1000") == 1000

    def commit(rng: np.random.Generator, seed: int) -> None:
        collection.commit()

    def optimize(rng: np.random.Generator, seed: int) -> None:
        time.sleep(0.3)
        collection.optimize()

    def reopen(rng: np.random.Generator, seed: int) -> None:
        opened = Collection.open(tmp_path / "c")
        opened.verify()
        assert opened.count("number < 1000") == 1000
        numbers = opened.attributes["number"]
        assert np.array_equal(numbers, opened.index.ids)

    def repeat(job: Callable[[np.random.Generator, int], None], seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            while time.monotonic() < until and not errors:
                job(rng, seed)
                counts[job.__name__] += 1
        except BaseException as error:
            errors.append(error)

    jobs = [change, change, change, search, search, commit, optimize, reopen]
    threads = [threading.Thread(target=repeat, args=(job, seed)) for seed, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 120)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors, errors
    assert all(counts.values()), counts
    print(counts)
    collection.commit()
    check(Collection.open(tmp_path / "c"), [*always, *(i for mine in held.values() for i in mine)])


# ---- processes


def ids_of(version: int) -> Any:
    """What is in each version of the writer below."""
    lost = 7 * max(0, version - 10)
    return np.arange(lost, 40 * (version - 1))


def write(path: Path, version: int) -> Collection:
    """Go on from `version` for ever."""
    collection = Collection.open(path, mode="w")
    assert collection.version == version
    while True:
        now, then = ids_of(version), ids_of(version + 1)
        collection.delete(np.setdiff1d(now, then))
        add(collection, np.setdiff1d(then, now))
        version = collection.commit()
        if version % 50 == 0:
            collection.optimize()


def read(path: Path, until: float, answers: Any) -> None:
    n = 0
    try:
        while time.monotonic() < until:
            opened = Collection.open(path)
            check(opened, ids_of(opened.version))
            n += 1
        answers.put(n)
    except BaseException as error:
        answers.put(repr(error))


def test_readers_beside_a_writer(tmp_path: Path) -> None:
    Collection.create(tmp_path / "c", dim=DIM, metric="l2", keep=1).close()
    until = time.monotonic() + SECONDS
    answers = FORK.Queue()
    writer = FORK.Process(target=write, args=(tmp_path / "c", 1))
    readers = [FORK.Process(target=read, args=(tmp_path / "c", until, answers)) for _ in range(8)]
    for process in (writer, *readers):
        process.start()
    found = [answers.get(timeout=SECONDS + 120) for _ in readers]
    assert writer.is_alive()
    writer.kill()
    writer.join(60)
    for process in readers:
        process.join(60)
    assert all(isinstance(n, int) and n for n in found), found
    opened = Collection.open(tmp_path / "c", mode="w")
    check(opened, ids_of(opened.version))
    print("opened", sum(found), "times, version", opened.version)


def test_killed_at_random_times(tmp_path: Path, rng: np.random.Generator) -> None:
    """What `commit` has returned is there after a kill; each process goes on where the one before was killed."""
    Collection.create(tmp_path / "c", dim=DIM, metric="l2").close()
    until, kills, last = time.monotonic() + SECONDS, 0, 1
    while time.monotonic() < until:
        if last > 300:  # small again
            shutil.rmtree(tmp_path / "c")
            Collection.create(tmp_path / "c", dim=DIM, metric="l2").close()
            last = 1
        process = FORK.Process(target=write, args=(tmp_path / "c", last))
        process.start()
        time.sleep(rng.uniform(0.002, 0.15))
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        opened = Collection.open(tmp_path / "c")
        assert opened.version >= last
        last = opened.version
        check(opened, ids_of(last))
        kills += 1
    opened = Collection.open(tmp_path / "c", mode="w")
    opened.verify()
    assert holds_what_it_names(tmp_path / "c", opened)
    print("kills", kills)
    assert kills > SECONDS / 2


# ---- every step, every byte


def changed(path: Path) -> Collection:
    collection = Collection.open(path, mode="w")
    collection.delete([0, 1, 2, 61])
    add(collection, np.arange(86, 90))
    return collection


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_power_loss_at_every_step_many_times(kind: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    make(tmp_path / "sound", kind).close()
    before = [i for i in range(86) if i != 5]
    after = [i for i in range(3, 90) if i not in (5, 61)]
    until, n = time.monotonic() + SECONDS, 0

    def lose(step: int, call: str) -> None:
        nonlocal n
        disk.after_power_loss(tmp_path / "left", rng)
        with Disk(tmp_path / "none").between():  # whose steps do not count
            for mode in ("r", "w"):
                opened = Collection.open(tmp_path / "left", mode=mode)  # type: ignore[arg-type]
                check(opened, after if 89 in opened.index.ids else before)
                opened.close()
        shutil.rmtree(tmp_path / "left")
        n += 1

    while time.monotonic() < until:
        collection = changed(Path(shutil.copytree(tmp_path / "sound", tmp_path / "c")))
        disk = Disk(tmp_path / "c", lose)
        with disk.between():
            collection.commit()
        collection.close()
        shutil.rmtree(tmp_path / "c")
    print("power losses", n)


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_every_step_fails_once(kind: Any, tmp_path: Path) -> None:
    make(tmp_path / "sound", kind).close()
    collection = changed(Path(shutil.copytree(tmp_path / "sound", tmp_path / "c")))
    with Disk(tmp_path / "c").between() as counting:
        collection.commit()
    collection.close()
    for at in range(1, counting.step + 1):
        shutil.rmtree(tmp_path / "c")
        collection = changed(Path(shutil.copytree(tmp_path / "sound", tmp_path / "c")))

        def fail(step: int, call: str, at: int = at) -> None:
            if step == at:
                raise OSError(5, "Input/output error")

        try:
            with Disk(tmp_path / "c", fail).between():
                collection.commit()
        except StorageError:
            pass
        opened = Collection.open(tmp_path / "c")
        check(opened, collection.index.ids if opened.version == 5 else [i for i in range(86) if i != 5])
        collection.commit()
        check(Collection.open(tmp_path / "c"), collection.index.ids)
        collection.close()


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_every_byte(kind: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    """One bit of every byte, every length, of every file; in an order at random until the time is up."""
    folder = tmp_path / "c"
    make(folder, kind).close()
    paths = [path for path in folder.iterdir() if path.name != "lock"]
    work = [(path, i) for path in paths for i in range(path.stat().st_size)]
    until, n = time.monotonic() + SECONDS, 0
    for which in rng.permutation(len(work)):
        path, place = work[which]
        raw = path.read_bytes()
        flipped = bytearray(raw)
        flipped[place] ^= 1 << int(rng.integers(8))
        swapped = paths[int(rng.integers(len(paths)))].read_bytes()
        for damaged in (bytes(flipped), raw[:place], raw + bytes(place + 1), swapped):
            if damaged == raw:
                continue
            path.write_bytes(damaged)
            with pytest.raises(CorruptIndexError):
                Collection.open(folder).verify()
            n += 1
        path.write_bytes(raw)
        if time.monotonic() > until:
            break
    print("damaged", n, "of", 4 * len(work))
    Collection.open(folder).verify()


def test_forged_files_for_long(tmp_path: Path, rng: np.random.Generator) -> None:
    """Random bytes in arrays, with checksums made anew, are read by a process of its own: no crash."""
    until, n = time.monotonic() + SECONDS, 0
    for kind in ("exact", "graph"):
        make(tmp_path / kind, kind).close()
    while time.monotonic() < until:
        folder = Path(shutil.copytree(tmp_path / str(rng.choice(["exact", "graph"])), tmp_path / "c"))
        arrays = [path for path in files(folder) if path.suffix == ".npy"]
        for _ in range(int(rng.integers(1, 4))):
            path = arrays[int(rng.integers(len(arrays)))]
            raw = bytearray(path.read_bytes())
            begin = 10 + int.from_bytes(raw[8:10], "little")
            for _ in range(int(rng.integers(1, 6))):
                if len(raw) > begin:
                    raw[int(rng.integers(begin, len(raw)))] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(256)]))
            path.write_bytes(raw)
        forge(folder, lambda manifest: None)
        process = FORK.Process(target=use, args=(folder,))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        shutil.rmtree(folder)
        n += 1
    print("forged", n)
