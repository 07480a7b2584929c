"""Commits that fail or are killed at one of their steps, and what must be left of them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from disk import Disk
from folders import add, check, holds_what_it_names

from engine import Collection, StorageError

__all__ = ["AFTER", "BEFORE", "changed", "failing", "fails", "is_whole", "killed", "paused", "steps_of"]

BEFORE = [i for i in range(86) if i != 5]
AFTER = [i for i in range(3, 90) if i not in (5, 61)]


def changed(folder: Path) -> Collection:
    """Open for writing, with changes of every sort that are not committed."""
    collection = Collection.open(folder, mode="w")
    collection.delete([0, 1, 2, 61])
    collection.update([7], {"word": ["other"]})
    collection.update([7], {"word": ["w2"]})
    add(collection, np.arange(86, 90))
    return collection


def steps_of(folder: Path, scratch: Path) -> int:
    """How many steps the commit has."""
    collection = changed(Path(shutil.copytree(folder, scratch)))
    with Disk(scratch).between() as disk:
        collection.commit()
    collection.close()
    shutil.rmtree(scratch)
    return disk.step


def is_whole(folder: Path, *allowed: list[int]) -> list[int]:
    """Which of `allowed` it holds; it can be read, verified, and written to after that."""
    opened = Collection.open(folder)
    found = AFTER if 89 in opened.index.ids else BEFORE
    assert found in allowed
    check(opened, found)
    opened.verify()
    writer = Collection.open(folder, mode="w")
    assert holds_what_it_names(folder, writer)
    writer.close()
    return found


def failing(at: int, error: Callable[[], BaseException]) -> Callable[[int, str], None]:
    def before(step: int, call: str) -> None:
        if step == at:
            raise error()

    return before


def fails(sound: Path, path: Path, at: int, error: Any) -> bool:
    """A commit that fails at one step, and then again without a failure; whether the first try counted."""
    shutil.copytree(sound, path)
    collection = changed(path)
    expected = StorageError if isinstance(error(), OSError) else type(error())
    try:
        with Disk(path, failing(at, error)).between():
            collection.commit()
        returned = True  # what could not be removed waits for the next writer
    except expected as caught:
        returned = False
        assert expected is not StorageError or "cannot write collection" in str(caught)  # noqa: PT017
    check(collection, AFTER)
    reader = Collection.open(path)
    counted = 89 in reader.index.ids
    check(reader, AFTER if counted else BEFORE)
    assert counted or not returned
    assert collection.version == (5 if counted else 4)
    collection.commit()
    check(Collection.open(path), AFTER)
    collection.close()
    is_whole(path, AFTER)
    shutil.rmtree(path)
    return counted


def paused(disk: Disk) -> Any:
    """While other folders are looked at, nothing counts."""
    return Disk(disk.folder / "none").between()


def in_child(work: Callable[[], object]) -> int:
    """Runs in a fork of this process; what waitpid says of its end."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return status


def killed(sound: Path, path: Path, at: int) -> list[int]:
    """What is left of a commit that is killed at one step."""
    shutil.copytree(sound, path)

    def work() -> None:
        collection = changed(path)
        disk = Disk(path, lambda step, call: os.kill(os.getpid(), signal.SIGKILL) if step == at else None)
        with disk.between():
            collection.commit()

    assert os.WIFSIGNALED(in_child(work))
    found = is_whole(path, BEFORE, AFTER)
    shutil.rmtree(path)
    return found
