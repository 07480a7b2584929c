"""Figure 2: commits that are killed, fail or lose their power, at every step and at random times."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crashes import AFTER, BEFORE, changed, fails, is_whole, killed, paused, steps_of
from disk import Disk
from folders import DIM, check, holds_what_it_names, make
from scales import short_and_long
from writers import ids_of, write

from engine import Collection

POWER_LOSSES = 40  # at each step

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@short_and_long(15, 1000)
def test_killed_at_random_times(size: int, tmp_path: Path, rng: np.random.Generator, figure: Any) -> None:
    """What `commit` has returned is there after a kill; each process goes on where the one before was killed."""
    folder, last, n_rows, n_commits, took = tmp_path / "c", 301, 0, 0, 0.0
    for _ in range(size):
        if last > 300:  # small again
            shutil.rmtree(folder, ignore_errors=True)
            Collection.create(folder, dim=DIM, metric="l2").close()
            last = 1
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=write, args=(folder, last, sender))
        process.start()
        sender.close()
        assert receiver.recv() == last  # it has begun
        began = time.monotonic()
        if took == 0 or rng.random() < 0.5:
            last = receiver.recv()  # of a commit
            took = time.monotonic() - began
            n_commits += 1
        time.sleep(rng.uniform(0, 2 * took))
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        returned = last_of(receiver, last)
        opened = Collection.open(folder)
        assert returned <= opened.version <= returned + 1
        n_commits += opened.version - last
        last = opened.version
        check(opened, ids_of(last))
        n_rows += len(opened)
    opened = Collection.open(folder, mode="w")
    opened.verify()
    assert holds_what_it_names(folder, opened)
    assert n_commits > size / 2
    counted = f"{size} kills at random times, {n_commits} commits, {n_rows} rows compared"
    figure(2, f"{counted}: none lost, none that was not committed")


def last_of(receiver: Any, version: int) -> int:
    """The last version that `commit` returned in the process that is dead now."""
    try:
        while receiver.poll():
            version = receiver.recv()
    except EOFError:
        pass
    return version


@pytest.mark.stress
@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_killed_at_every_step(kind: Any, tmp_path: Path, figure: Any) -> None:
    make(tmp_path / "sound", kind).close()
    steps = range(1, steps_of(tmp_path / "sound", tmp_path / "scratch") + 1)
    seen = [killed(tmp_path / "sound", tmp_path / str(at), at) for at in steps]
    assert seen == sorted(seen, key=lambda each: each == AFTER)
    figure(2, f"{len(seen)} kills, one at each step of a commit, {kind}: {seen.count(AFTER)} of them after it counted")


@pytest.mark.stress
@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_every_step_fails(kind: Any, tmp_path: Path, figure: Any) -> None:
    make(tmp_path / "sound", kind).close()
    steps = range(1, steps_of(tmp_path / "sound", tmp_path / "scratch") + 1)
    for error in (lambda: OSError(5, "Input/output error"), lambda: OSError(28, "No space left"), KeyboardInterrupt):
        for at in steps:
            fails(tmp_path / "sound", tmp_path / str(at), at, error)
    figure(2, f"{3 * len(steps)} commits of which a step failed, {kind}: committed when tried again")


@pytest.mark.stress
@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_power_loss_at_every_step(kind: Any, tmp_path: Path, rng: np.random.Generator, figure: Any) -> None:
    """Many times at each: what was not synced is dropped, torn, zero or there; names change in any order."""
    make(tmp_path / "sound", kind).close()
    n = {True: 0, False: 0}

    def lose(step: int, call: str) -> None:
        disk.after_power_loss(tmp_path / "left", rng)
        with paused(disk):
            n[is_whole(tmp_path / "left", BEFORE, AFTER) == AFTER] += 1
        shutil.rmtree(tmp_path / "left")

    for _ in range(POWER_LOSSES):
        collection = changed(Path(shutil.copytree(tmp_path / "sound", tmp_path / "c")))
        disk = Disk(tmp_path / "c", lose)
        with disk.between():
            collection.commit()
        for _ in range(4):  # after commit() has returned
            disk.after_power_loss(tmp_path / "left", rng)
            is_whole(tmp_path / "left", AFTER)
            shutil.rmtree(tmp_path / "left")
        collection.close()
        shutil.rmtree(tmp_path / "c")
    figure(2, f"{sum(n.values())} power losses, {kind}: version before {n[False]} times, version after {n[True]}")
    assert n[False]
