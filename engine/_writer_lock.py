"""The lock of a folder that one process may write to."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from weakref import WeakSet

from ._folder import LOCK
from .exceptions import LockedError, StorageError

__all__ = ["WriterLock"]


class WriterLock:
    """Held from its making until `release`, or until the process ends, however it ends.

    Raises
    ------
    LockedError
        Another holds it; the message says who.
    StorageError
        The lock cannot be made, for example in a folder that is read-only.

    Notes
    -----
    An advisory lock of the operating system (``flock``) on the file ``lock``, which stays behind and means nothing by
    itself. A process forked from the holder does not hold it.
    """

    def __init__(self, folder: str) -> None:
        path = os.path.join(folder, LOCK)
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StorageError(error.errno, f"cannot open collection for writing: {error.strerror}", folder) from error
        self._pid = os.getpid()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = holder_of(self._descriptor)
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise StorageError(error.errno, f"cannot lock collection: {error.strerror}", folder) from error
            raise LockedError(error.errno, f"collection is being written to by {holder}", folder) from None
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps({"pid": self._pid, "host": socket.gethostname()}).encode(), 0)
        HELD.add(self)

    @property
    def held(self) -> bool:
        """False after `release`, and in a process forked from the one that took it."""
        return self._descriptor >= 0 and os.getpid() == self._pid

    def release(self) -> None:
        """Let others write."""
        descriptor, self._descriptor = self._descriptor, -1
        HELD.discard(self)
        if descriptor >= 0:
            os.close(descriptor)


HELD: WeakSet[WriterLock] = WeakSet()


def holder_of(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"


def forget() -> None:
    """In a new child: a copy of the descriptor would keep the lock when the parent is gone."""
    for lock in list(HELD):
        lock.release()


os.register_at_fork(after_in_child=forget)
