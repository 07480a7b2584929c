"""A lock that many readers hold at once, or one writer alone; and one for whoever prepares a change beside readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock, RLock

__all__ = ["ReadWriteLock"]


class ReadWriteLock:
    """Writers come first: readers who arrive while one waits are let in after it.

    Long changes are prepared while `preparing`, beside all others, or while `changing`, beside readers but before all
    other changes, and then made while `exclusive`. Not reentrant: who holds it must not ask for it again.
    """

    def __init__(self) -> None:
        self._preparing = Lock()
        self._changing = Lock()
        self._state = RLock()  # a signal handler may read too
        self._changed = Condition(self._state)
        self._n_readers = 0
        self._n_waiting = 0
        self._writing = False

    def __reduce__(self) -> tuple[type[ReadWriteLock], tuple[()]]:
        return ReadWriteLock, ()  # a copy of what it guards is held by nobody

    def reading(self) -> Reading:
        return Reading(self)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self.changing(), self.exclusive():
            yield

    @contextmanager
    def preparing(self, *, wait: bool) -> Iterator[bool]:
        """Others may read and change, and none may prepare; False: another does, and was not waited for."""
        held = self._preparing.acquire(blocking=wait)
        try:
            yield held
        finally:
            if held:
                self._preparing.release()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Others may read and none may change."""
        with self._changing:
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """While `changing`: until it ends nobody reads."""
        with self._changed:
            self._n_waiting += 1
            try:
                self._changed.wait_for(lambda: not (self._writing or self._n_readers))
                self._writing = True
            finally:
                self._n_waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


class Reading:
    """What `contextmanager` would make, in a third of the time: it takes as long as a search of few rows."""

    __slots__ = ("_lock",)

    def __init__(self, lock: ReadWriteLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        lock = self._lock
        with lock._state:
            while lock._writing or lock._n_waiting:
                lock._changed.wait()
            lock._n_readers += 1

    def __exit__(self, *_: object) -> None:
        lock = self._lock
        with lock._state:
            lock._n_readers -= 1
            if lock._n_waiting and not lock._n_readers:
                lock._changed.notify_all()
