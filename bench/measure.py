"""Time and memory, measured so that they can be compared: each library in a process of its own, taking turns."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.metadata
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

__all__ = [
    "MeasureError",
    "Timing",
    "Worker",
    "in_turns",
    "machine",
    "peak_extra_bytes",
    "seconds",
    "status_bytes",
    "why_missing",
]

K = TypeVar("K")
T = TypeVar("T")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
# They force old kernels on OpenBLAS, which would flatter us.
HANDICAPS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class MeasureError(RuntimeError):
    """What was to be measured failed in its own process."""


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of the same work, in seconds.

    Examples
    --------
    >>> timing = Timing((0.3, 0.1, 0.2))
    >>> timing.median, timing.min, timing.max
    (0.2, 0.1, 0.3)
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def min(self) -> float:
        return min(self.seconds)

    @property
    def max(self) -> float:
        return max(self.seconds)


def seconds(work: Callable[[], T]) -> tuple[float, T]:
    """How long `work` took, and what it returned."""
    start = time.perf_counter_ns()
    result = work()
    return (time.perf_counter_ns() - start) / 1e9, result


def in_turns(
    names: Iterable[K], measure: Callable[[K], float], *, repeats: int, warmup: int = 1, pause: float = 0.1
) -> dict[K, Timing]:
    """Measure all `names` once, then all of them again, so that a slow moment of the machine meets everyone.

    Parameters
    ----------
    names : iterable
        What to measure.
    measure : callable
        Does the work of a name and returns the seconds it took.
    repeats : int
        Rounds that count.
    warmup : int, default 1
        Rounds before, which do not.
    pause : float, default 0.1
        Seconds between two measurements, in which the threads of the one before stop spinning.

    Examples
    --------
    >>> in_turns(["a", "bb"], len, repeats=3, pause=0)["bb"].seconds
    (2, 2, 2)
    """
    names = list(names)

    def turn(name: K) -> float:
        time.sleep(pause)
        return measure(name)

    rounds = [[turn(name) for name in names] for _ in range(warmup + repeats)]
    return {name: Timing(took) for name, took in zip(names, zip(*rounds[warmup:], strict=True), strict=True)}


def peak_extra_bytes(work: Callable[[], object]) -> int:
    """By how much the memory of this process rose above its present level while `work` ran.

    For an honest figure call it in a fresh process (see `Worker`): memory that was freed but is still held is not seen.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc: hand back what is free, so that using it again counts
    clear = Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")  # Linux: the peak starts anew from here
        before = status_bytes("VmRSS")
        work()
        return max(0, status_bytes("VmHWM") - before)
    except OSError:
        unit = 1 if platform.system() == "Darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def status_bytes(field: str, file: str = "/proc/self/status") -> int:
    """A figure of this process, or of the machine (/proc/meminfo), as Linux has it."""
    for line in Path(file).read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise FileNotFoundError(f"{file} has no {field}")


@contextlib.contextmanager
def environment(n_threads: int) -> Iterator[None]:
    """What a child process started meanwhile inherits: so many threads for every library, and no handicaps."""
    kept = dict(os.environ)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)))
    for name in HANDICAPS:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


class Worker:
    """A fresh process that runs functions on a state of its own.

    Parameters
    ----------
    make_state : callable
        A module-level function; called once in the new process.
    *args
        Its arguments.
    n_threads : int
        How many threads the libraries in that process may use.

    Raises
    ------
    MeasureError
        From every method, when the function failed over there; with its traceback.

    Examples
    --------
    >>> with Worker(list, "abc", n_threads=1) as worker:
    ...     worker.run(len)
    3
    """

    def __init__(self, make_state: Callable[..., Any], *args: Any, n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, make_state, args), daemon=True)
        with environment(n_threads):
            self._process.start()
        theirs.close()
        try:
            self._receive()
        except MeasureError:
            self.close()
            raise

    def run(self, function: Callable[..., T], *args: Any, limit_s: float | None = None) -> T:
        """``function(state, *args)``, over there; a module-level function. After `limit_s` the process is killed."""
        with contextlib.suppress(BrokenPipeError):  # it died since: receiving says so
            self._pipe.send((function, args))
        result: T = self._receive(limit_s)
        return result

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self, limit_s: float | None = None) -> Any:
        try:
            if not self._pipe.poll(limit_s):
                self._process.kill()
                self._process.join()
                raise MeasureError(f"it took longer than {limit_s:g} s")
            failure, result = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise MeasureError(f"the process ended with exit code {self._process.exitcode}") from None
        if failure:
            raise MeasureError(failure)
        return result


def serve(pipe: Connection, make_state: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Body of a worker: answer until the other end is closed."""

    def answer(work: Callable[[], Any]) -> None:
        try:
            pipe.send((None, work()))
        except Exception:
            pipe.send((traceback.format_exc(), None))

    state: list[Any] = []
    answer(lambda: state.append(make_state(*args)))
    with contextlib.suppress(EOFError):
        while True:
            function, arguments = pipe.recv()
            answer(lambda function=function, arguments=arguments: function(*state, *arguments))  # type: ignore[misc]


def machine() -> dict[str, object]:
    """Where a measurement was taken, and of what code."""
    return {
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "numpy": importlib.metadata.version("numpy"),
        "commit": commit(),
    }


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit of this checkout, with + where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        name = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if changed else "")


def why_missing(version: str | None, error: MeasureError) -> str:
    """Why a library has no figures: in its last words, unless it has no `version`."""
    return "not installed" if version is None else str(error).strip().splitlines()[-1]
