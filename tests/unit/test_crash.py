"""Commits that fail, are killed or lose their power at every step: the last version is there, whole."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crashes import AFTER, BEFORE, changed, failing, fails, is_whole, killed, paused, steps_of
from disk import Disk
from folders import DIM, add, check, make

from engine import Collection, StorageError


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "c"
    make(path).close()
    return path


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "c"))


def some(n_steps: int) -> list[int]:
    """Every tenth step, and all at the end; every single one is for tests/stress."""
    return sorted({*range(1, n_steps + 1, 10), *range(max(1, n_steps - 6), n_steps + 1)})


ERRORS: list[Any] = [
    lambda: OSError(errno.EIO, "Input/output error"),
    lambda: OSError(errno.ENOSPC, "No space left on device"),
    KeyboardInterrupt,
    MemoryError,
]


@pytest.mark.parametrize("error", ERRORS, ids=["EIO", "ENOSPC", "Ctrl-C", "MemoryError"])
def test_every_step_may_fail(folder: Path, tmp_path: Path, error: Any) -> None:
    n_steps = steps_of(folder, tmp_path / "scratch")
    assert n_steps > 60
    outcomes = [fails(folder, tmp_path / str(at), at, error) for at in some(n_steps)]
    assert outcomes == sorted(outcomes)
    assert {True, False} == set(outcomes)


def test_after_a_rename_that_was_not_synced_the_next_commit_waits(folder: Path, tmp_path: Path) -> None:
    collection = changed(folder)
    calls: list[str] = []

    def before(step: int, call: str) -> None:
        calls.append(call)
        if "replace" in calls[:-1]:
            raise OSError(errno.EIO, "Input/output error")

    with Disk(folder, before).between(), pytest.raises(StorageError):
        collection.commit()
    assert (collection.version, calls[-2:]) == (5, ["replace", "fsync"])
    calls = []
    with Disk(folder, lambda step, call: calls.append(call)).between():
        assert collection.commit() == 5
    assert calls == ["fsync"]


def test_a_failure_that_cannot_tell_what_it_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename reports an error, and then the manifest cannot be read: nothing is removed that might count."""
    collection = changed(folder)
    real = os.replace

    def renamed_all_the_same(*paths: Any) -> None:
        real(*paths)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", renamed_all_the_same)
        patched.setattr("engine._folder.Folder.counts", lambda *_: None)
        with pytest.raises(StorageError):
            collection.commit()
    check(Collection.open(folder), AFTER)
    add(collection, [200])
    assert collection.commit() == 5
    check(Collection.open(folder), [*AFTER, 200])
    collection.close()
    opened = Collection.open(folder, mode="w")
    check(opened, [*AFTER, 200])
    opened.verify()


def test_a_stop_right_after_the_rename(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine._store import Store

    collection = changed(folder)
    real = Store._adopt
    stops = [KeyboardInterrupt]

    def adopt(*arguments: Any) -> None:
        if stops:
            raise stops.pop()
        real(*arguments)

    monkeypatch.setattr(Store, "_adopt", adopt)
    with pytest.raises(KeyboardInterrupt):
        collection.commit()
    assert collection.version == 5
    add(collection, [200])
    assert collection.commit() == 6
    collection.close()
    check(Collection.open(folder, mode="w"), [*AFTER, 200])


def test_short_writes(folder: Path) -> None:
    collection = changed(folder)
    disk = Disk(folder)
    disk.longest_write = 10
    with disk.between():
        collection.commit()
    collection.close()
    is_whole(folder, AFTER)


def test_a_write_that_writes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = changed(folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, part: 0)
        with pytest.raises(StorageError, match="nothing could be written"):
            collection.commit()
    assert collection.commit() == 5


def test_power_loss_at_every_step(folder: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    collection = changed(folder)
    seen: list[list[int]] = []
    disk: Disk

    def lose(step: int, call: str) -> None:
        if call == "write" and step % 8:
            return
        left = tmp_path / f"left-{step}"
        disk.after_power_loss(left, rng)
        with paused(disk):
            seen.append(is_whole(left, BEFORE, AFTER))
        shutil.rmtree(left)

    disk = Disk(folder, lose)
    with disk.between():
        collection.commit()
    assert BEFORE in seen
    for i in range(8):  # after commit() has returned
        disk.after_power_loss(tmp_path / str(i), rng)
        is_whole(tmp_path / str(i), AFTER)


def test_the_simulated_disk_finds_a_missing_fsync(
    folder: Path, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail."""
    from engine._folder import Folder

    monkeypatch.setattr(Folder, "flush", Folder.forget)
    collection = changed(folder)
    disk = Disk(folder)
    with disk.between():
        collection.commit()
    broken = 0
    for i in range(20):
        disk.after_power_loss(tmp_path / str(i), rng)
        try:
            is_whole(tmp_path / str(i), AFTER)
        except (AssertionError, ValueError):
            broken += 1
    assert broken


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_at_every_step(folder: Path, tmp_path: Path) -> None:
    n_steps = steps_of(folder, tmp_path / "scratch")
    seen = [killed(folder, tmp_path / str(at), at) for at in some(n_steps)]
    assert seen == sorted(seen, key=lambda each: each == AFTER)
    assert BEFORE in seen
    assert AFTER in seen


def test_making_a_folder_may_fail_at_every_step(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "whole")
    with disk.between():
        Collection.create(tmp_path / "whole", dim=DIM).close()
    n_done = 0
    for at in range(1, disk.step + 1):
        path = tmp_path / str(at)
        try:
            with Disk(path, failing(at, ERRORS[0])).between():
                Collection.create(path, dim=DIM).close()
            n_done += 1
        except StorageError:
            pass
        if (path / "manifest.json").exists():
            assert len(Collection.open(path, mode="w")) == 0
        else:
            Collection.create(path, dim=DIM).close()
    assert n_done == 2  # without the copy of the manifest, which takes two steps
    assert disk.step >= 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(folder: Path) -> None:
    folder.chmod(0o555)
    check(Collection.open(folder), BEFORE)
    (folder / "lock").chmod(0o444)
    with pytest.raises(StorageError, match="Permission denied"):
        Collection.open(folder, mode="w")
    folder.chmod(0o755)


def test_a_disk_that_is_full_in_earnest(folder: Path) -> None:
    """The kernel itself stops the writing."""
    import resource

    collection = changed(folder)
    add(collection, np.arange(100, 5000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
        with pytest.raises(StorageError) as caught:
            collection.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    check(Collection.open(folder), BEFORE)
    collection.commit()
    check(Collection.open(folder), [*AFTER, *range(100, 5000)])


def test_files_deleted_under_a_reader_and_a_writer(folder: Path) -> None:
    reader, writer = Collection.open(folder), changed(folder)
    for path in folder.glob("*.npy"):
        path.unlink()
    check(reader, BEFORE)
    check(writer, AFTER)
    with pytest.raises(ValueError, match="is missing"):
        writer.verify()
    shutil.rmtree(folder)
    with pytest.raises(StorageError):
        writer.commit()
    check(writer, AFTER)


def test_a_copy_of_the_manifest_that_cannot_be_written_is_done_without(folder: Path) -> None:
    collection = changed(folder)
    n_open = len(os.listdir("/proc/self/fd"))
    published: list[int] = []

    def before(step: int, call: str) -> None:
        published.extend([step] if call == "replace" else [])
        if published and call == "write":
            raise OSError(errno.ENOSPC, "No space left on device")

    with Disk(folder, before).between():
        assert collection.commit() == 5
    assert len(os.listdir("/proc/self/fd")) == n_open
    collection.close()
    is_whole(folder, AFTER)
