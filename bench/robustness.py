"""What libraries do with damaged files, kills during a save, and threads that add and search, each in a process.

Damage: one bit flipped, the file cut, or bytes put behind it, at a place drawn anew for each trial; of a folder a file
is drawn first. Answers to rows as queries are compared with those before. Kills: generations of the same rows are
saved in the same place, and SIGKILL comes at a random time; then one of the last two must be there, whole. Threads: two
add, two search; then every row must be found.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .measure import peak_extra_bytes
from .peers import installed
from .peers.durable import NAMES, PACKAGES, Durable
from .report import Record, table, verdict
from .trials import outcomes

__all__ = ["Plan", "measure", "report"]

DIM, K = 32, 5
RIGHT, REFUSED, WRONG = "right", "refused", "silently wrong"
FIGURES = ("damage", "kills", "threads")
OURS = ("nearfield folder", "nearfield file")


@dataclass(frozen=True)
class Plan:
    """How many trials, of collections of how many rows."""

    rows: int = 1000
    repeats: int = 800
    kills: int = 60
    rounds: int = 30
    seed: int = 0
    limit_s: float = 60

    @classmethod
    def quick(cls) -> Plan:
        return cls(repeats=20, kills=3, rounds=2)


class State(NamedTuple):
    """A sound collection, and how it answers."""

    name: str
    folder: Path
    rows: int
    answers: tuple[NDArray[np.int64], NDArray[np.float32]]

    @property
    def library(self) -> type[Durable]:
        return NAMES[self.name]


def measure(plan: Plan) -> Iterator[Record]:
    """A record for each library and figure."""
    trials = {"damage": (damage, plan.repeats), "kills": (kill, plan.kills), "threads": (threads, plan.rounds)}
    for name in NAMES:
        version = installed(PACKAGES.get(name, name))
        if version is None:
            yield {"figure": "damage", "library": name, "missing": "not installed"}
            continue
        for figure, (trial, n) in trials.items():
            with tempfile.TemporaryDirectory(prefix="robustness-") as root:
                seeds = range(plan.seed, plan.seed + n)
                found = outcomes(state, [name, root, plan.rows], trial, seeds, limit_s=plan.limit_s)
            counts = {outcome: len(which) for outcome, which in found.items()}
            yield {"figure": figure, "library": name, "version": version, "trials": n, "outcomes": counts}


def state(name: str, root: str, rows: int, worker: int) -> State:
    library = NAMES[name]
    folder = Path(tempfile.mkdtemp(dir=root))
    path = str(folder / "sound")
    sound = library.create(path, DIM)
    vectors = vectors_of(rows, 0)
    sound.add(np.arange(rows), vectors)
    sound.save(path)
    del sound
    opened = folder / "opened"
    copy(folder / "sound", opened)
    held = library.open(str(opened), DIM)
    return State(name, folder, rows, answers_of(held, vectors))


def vectors_of(rows: int, generation: int) -> NDArray[np.float32]:
    """Far from those of another generation."""
    return np.random.default_rng(7).normal(size=(rows, DIM)).astype(np.float32) + np.float32(100 * generation)


def answers_of(held: Durable, queries: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids, distances = held.search(queries[:: max(1, len(queries) // 200)], K)
    return np.asarray(ids), np.asarray(distances)


def copy(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


# ---- damaged files


def damage(held: State, seed: int) -> str:
    rng = np.random.default_rng([seed, 1])
    path = held.folder / "damaged"
    copy(held.folder / "sound", path)
    target = drawn(path, rng)
    raw = bytearray(target.read_bytes())
    how = int(rng.integers(3))
    if how == 0:
        raw[int(rng.integers(len(raw)))] ^= 1 << int(rng.integers(8))
    elif how == 1:
        del raw[int(rng.integers(len(raw))) :]
    else:
        raw += rng.bytes(int(rng.choice([1, 8, 4096])))
    target.write_bytes(raw)
    outcome = ""

    def work() -> None:
        nonlocal outcome
        outcome = opened_and_compared(held, path)

    much = peak_extra_bytes(work)
    return outcome if much < 1 << 30 else f"{outcome}, took more than 1 GiB"


def drawn(path: Path, rng: np.random.Generator) -> Path:
    """The file, or one of the folder."""
    if path.is_file():
        return path
    files = sorted(each for each in path.rglob("*") if each.is_file() and each.stat().st_size)
    return files[int(rng.integers(len(files)))]


def opened_and_compared(held: State, path: Path) -> str:
    try:
        opened = held.library.open(str(path), DIM)
        ids, distances = answers_of(opened, vectors_of(held.rows, 0))
    except BaseException as error:  # some raise what derives from BaseException alone
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return REFUSED
    same = ids.shape == held.answers[0].shape and np.array_equal(ids, held.answers[0])
    return RIGHT if same and np.array_equal(distances, held.answers[1]) and len(opened) == held.rows else WRONG


# ---- kills


def kill(held: State, seed: int) -> str:
    path, rows = held.folder / "killed", 5 * held.rows
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.robustness", held.name, str(path), str(rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()  # the first is saved
        began = time.monotonic()
        writer.stdout.readline()
        took = time.monotonic() - began
        time.sleep(float(np.random.default_rng([seed, 2]).uniform(0, 3 * took)))
        writer.kill()
        n_saved = 2 + len(writer.stdout.readlines())
    try:
        opened = held.library.open(str(path), DIM)
        if len(opened) != rows:
            return "not whole"
        for generation in (n_saved, n_saved - 1):  # the first generation is 0
            queries = vectors_of(rows, generation)[::500]
            ids, distances = opened.search(queries, 1)
            if np.array_equal(ids[:, 0], np.arange(0, rows, 500)) and (distances < 1e-3).all():
                return RIGHT
        return WRONG
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return "nothing loadable"


def save_for_ever(name: str, path: str, rows: int) -> None:
    """Generation after generation; a line is printed after each."""
    library = NAMES[name]
    held = library.create(path, DIM)
    for generation in count():
        if generation and not library.in_place:
            held = library.create(path, DIM)
        held.add(np.arange(rows), vectors_of(rows, generation))
        held.save(path)
        print(generation, flush=True)


# ---- threads


def threads(held: State, seed: int) -> str:
    path = held.folder / f"threads-{seed}"
    collection = held.library.create(str(path), DIM)
    vectors = vectors_of(held.rows, 0)
    first = np.arange(held.rows // 5)
    collection.add(first, vectors[first])
    errors: list[BaseException] = []
    done = threading.Event()

    def add(part: NDArray[np.int64]) -> None:
        for ids in np.array_split(part, 8):
            collection.add(ids, vectors[ids])

    def search() -> None:
        while not done.is_set():
            collection.search(vectors[first[:10]], K)

    def guarded(work: Any, *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:
            errors.append(error)

    rest = np.arange(held.rows // 5, held.rows)
    adders = [threading.Thread(target=guarded, args=(add, rest[i::2])) for i in range(2)]
    searchers = [threading.Thread(target=guarded, args=(search,)) for _ in range(2)]
    for thread in (*adders, *searchers):
        thread.start()
    for thread in adders:
        thread.join()
    done.set()
    for thread in searchers:
        thread.join()
    if errors:
        return f"error: {type(errors[0]).__name__}"
    ids, _ = collection.search(vectors, 1)
    if len(collection) < held.rows:
        return "rows lost"
    return RIGHT if np.array_equal(ids[:, 0], np.arange(held.rows)) else "rows not found"


# ---- report


def report(records: Iterable[Record]) -> str:
    """A table for each figure, and whether ours had none."""
    found = [record for record in records if record["figure"] in FIGURES]
    missing = [record["library"] for record in found if "missing" in record]
    parts = []
    for figure in FIGURES:
        some = [record for record in found if record["figure"] == figure and "outcomes" in record]
        kinds = sorted({outcome for record in some for outcome in record["outcomes"]})
        rows = [[figure, "trials", *kinds]]
        for record in some:
            counts = [str(record["outcomes"].get(kind, "-")) for kind in kinds]
            rows.append([f"{record['library']} {record['version']}", str(record["trials"]), *counts])
        parts.append(table(rows))
        ours = [record["outcomes"] for record in some if record["library"] in OURS]
        good = {RIGHT, REFUSED} if figure == "damage" else {RIGHT}
        bad = sum(n for counts in ours for outcome, n in counts.items() if outcome not in good)
        parts.append(verdict(f"{figure}: none of ours goes wrong", f"{bad} did", bad == 0))
    if missing:
        parts.append(f"not installed: {', '.join(missing)}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    save_for_ever(sys.argv[1], sys.argv[2], int(sys.argv[3]))
