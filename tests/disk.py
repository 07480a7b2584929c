"""A disk that fails, or loses its power, at any step of a commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Disk"]

STEPS = ("open", "write", "fsync", "replace", "unlink")


class Disk:
    """Stands between the engine and one folder.

    Every call that opens a new file, writes, waits for the disk, renames or removes is a step. It also keeps the books
    of what would be left if the power went: files as they were when `fsync` was last called for them, names as they
    were when it was last called for the folder, and of everything since then some, none or all.
    """

    def __init__(self, folder: Path, before: Callable[[int, str], object] = lambda step, call: None) -> None:
        self.folder = folder
        self.before = before  # called with the number and the name of each step; may raise
        self.step = 0
        self.longest_write: int | None = None  # bytes; a disk that writes less than it is asked to
        self.now: dict[str, int] = {}  # names -> files
        self.safe: dict[str, int] = {}
        self.pending: list[tuple[str, int | None]] = []  # changes of names since the folder was synced
        self.data: dict[int, bytes] = {}
        self.safe_data: dict[int, bytes] = {}
        self.descriptors: dict[int, int | None] = {}  # -> files, or the folder
        for i, path in enumerate(sorted(folder.iterdir() if folder.exists() else [])):
            self.now[path.name] = i
            self.data[i] = self.safe_data[i] = path.read_bytes()
        self.safe = dict(self.now)

    @contextmanager
    def between(self) -> Iterator[Disk]:
        """The calls of this process go through here meanwhile."""
        real = {name: getattr(os, name) for name in (*STEPS, "close")}

        def mine(path: Any) -> str | None:
            return os.path.basename(path) if os.path.dirname(os.path.abspath(path)) == str(self.folder) else None

        def begin(call: str) -> None:
            self.step += 1
            self.before(self.step, call)

        def put(name: str, file: int | None) -> None:
            self.pending.append((name, file))
            if file is None:
                del self.now[name]
            else:
                self.now[name] = file

        def open_(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            name = mine(path)
            if name == "lock" or (name is None and os.path.abspath(path) != str(self.folder)):
                return int(real["open"](path, flags, *rest, **options))
            if name is not None and flags & os.O_CREAT:
                begin("open")
            descriptor = int(real["open"](path, flags, *rest, **options))
            if name is not None and flags & os.O_CREAT:
                if name not in self.now or not flags & os.O_TRUNC:
                    put(name, len(self.data))
                    self.data[len(self.data)] = b""
                self.data[self.now[name]] = b""
                self.safe_data.setdefault(self.now[name], b"")
            self.descriptors[descriptor] = None if name is None else self.now[name]
            return descriptor

        def write(descriptor: int, part: Any) -> int:
            if descriptor not in self.descriptors:
                return int(real["write"](descriptor, part))
            begin("write")
            n = int(real["write"](descriptor, part if self.longest_write is None else part[: self.longest_write]))
            file = self.descriptors[descriptor]
            assert file is not None
            self.data[file] += bytes(part[:n])
            return n

        def fsync(descriptor: int) -> None:
            if descriptor not in self.descriptors:
                return
            begin("fsync")
            file = self.descriptors[descriptor]
            if file is None:
                self.safe, self.pending = dict(self.now), []
            else:
                self.safe_data[file] = self.data[file]

        def close(descriptor: int) -> None:
            self.descriptors.pop(descriptor, None)
            real["close"](descriptor)

        def replace(source: Any, target: Any, **options: Any) -> None:
            begin("replace")
            real["replace"](source, target, **options)
            file = self.now[os.path.basename(source)]
            put(os.path.basename(target), file)
            put(os.path.basename(source), None)

        def unlink(path: Any, **options: Any) -> None:
            if mine(path) is not None:
                begin("unlink")
            real["unlink"](path, **options)
            if mine(path) in self.now:
                put(str(mine(path)), None)

        shims = {"open": open_, "write": write, "fsync": fsync, "close": close, "replace": replace, "unlink": unlink}
        for name, shim in shims.items():
            setattr(os, name, shim)
        try:
            yield self
        finally:
            for name, call in real.items():
                setattr(os, name, call)

    def after_power_loss(self, folder: Path, rng: np.random.Generator) -> None:
        """Write into `folder`, which is new, what may be left now."""
        names = dict(self.safe)
        how = rng.integers(4)  # of the changes of names: none, all, the first ones, any
        n_first = rng.integers(len(self.pending) + 1)
        for i, (name, file) in enumerate(self.pending):
            if how == 1 or (how == 2 and i < n_first) or (how == 3 and rng.random() < 0.5):
                if file is None:
                    names.pop(name, None)
                else:
                    names[name] = file
        folder.mkdir()
        for name, file in names.items():
            (folder / name).write_bytes(self.left_of(file, rng))

    def left_of(self, file: int, rng: np.random.Generator) -> bytes:
        """What may be left of a file: what is safe, or more of it, torn, or with pages that never came."""
        safe, data = self.safe_data[file], self.data[file]
        if safe == data:
            return data
        how = rng.integers(4)
        if how == 0:
            return safe
        if how == 1:
            return data
        cut = int(rng.integers(len(data) + 1))
        return data[:cut] if how == 2 else data[:cut] + bytes(len(data) - cut)
