"""Operations of which an allocation or a call of the system fails: `python failures.py SHIM WHAT KIND FOLDER EVERY`.

SHIM is tests/cpp/failing.c, compiled and loaded before all others; WHAT is "allocations" or "calls". Each operation is
repeated, on a fresh collection, with the first of them failing, then the second; or one of EVERY. Prints a JSON object
of counts, or dies of an exception that ought not to come.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from folders import add, check, make, vectors_of

from engine import Collection, EngineError, InvalidArgumentError

BEFORE = [i for i in range(86) if i != 5]
EXTRA = [86, 87, 88]
WHAT = {"allocations": 1, "calls": 2}
LEAK = 4 << 20  # bytes that may be held after hundreds of failures more than after the first ones


class Operation(NamedTuple):
    """What fails; rows before it and after it; whether it needs a collection that is open for writing."""

    work: Callable[[Any, Path], Any]
    mode: str
    after: list[int]


def search(collection: Collection, folder: Path) -> None:
    collection.search(vectors_of([1, 2, 3]), k=4, filter="number > 3 AND word = 'w1'", columns=["number", "tags"])
    collection.search(vectors_of([1, 2, 3]), k=4, exact=True)


def upsert(collection: Collection, folder: Path) -> None:
    collection.delete(EXTRA)
    add(collection, EXTRA)


def opened(mode: Any) -> Callable[[None, Path], Any]:
    return lambda _, folder: Collection.open(folder, mode=mode)


OPERATIONS: dict[str, Operation] = {
    "open": Operation(opened("r"), "", BEFORE),
    "open to write": Operation(opened("w"), "", BEFORE),
    "search": Operation(search, "r", BEFORE),
    "verify": Operation(lambda collection, folder: collection.verify(), "r", BEFORE),
    "add": Operation(lambda collection, folder: add(collection, EXTRA), "w", [*BEFORE, *EXTRA]),
    "delete": Operation(
        lambda collection, folder: collection.delete([0, 1, 61, 85]), "w", sorted({*BEFORE} - {0, 1, 61, 85})
    ),
    "update": Operation(lambda collection, folder: collection.update([7, 70], {"share": [1.0, 2.0]}), "w", BEFORE),
    "commit": Operation(lambda collection, folder: collection.commit(), "changed", [*BEFORE[2:], *EXTRA]),
    "optimize": Operation(lambda collection, folder: collection.optimize(), "changed", [*BEFORE[2:], *EXTRA]),
    "rollback": Operation(lambda collection, folder: collection.rollback(), "changed", BEFORE),
    "save": Operation(lambda collection, folder: collection.save(folder / "one.nrf"), "r", BEFORE),
}


def prepared(operation: Operation, sound: Path, folder: Path) -> Collection | None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    if not operation.mode:
        return None
    collection = Collection.open(folder, mode="r" if operation.mode == "r" else "w")
    if operation.mode == "changed":
        collection.delete([0, 1])
        add(collection, EXTRA)
    return collection


def attempt(shim: Any, what: str, name: str, sound: Path, folder: Path, nth: int) -> tuple[str, bool]:
    """What came of an operation whose `nth` allocation or call failed, and whether it has that many."""
    operation = OPERATIONS[name]
    collection = prepared(operation, sound, folder)
    outcome, result = "done all the same", collection
    shim.fail_arm(WHAT[what], nth)
    try:
        result = operation.work(collection, folder) or collection
    except (EngineError, MemoryError, SystemError) as error:  # the last where numpy forgets to say what it lacked
        outcome = type(error).__name__
    finally:
        n_seen = shim.fail_disarm()
    collection = collection or (result if isinstance(result, Collection) else None)
    if outcome == "done all the same":
        holds(collection, operation.after)
    else:
        try:
            still_usable(collection, operation, folder)
        except InvalidArgumentError as error:
            if "rollback() helps" not in str(error) or collection is None:
                raise
            collection.rollback()
            holds(collection, BEFORE)
            outcome += ", went on after rollback()"
    if collection is not None:
        collection.close()
    Collection.open(folder).verify()
    return outcome, n_seen >= nth


def still_usable(collection: Collection | None, operation: Operation, folder: Path) -> None:
    """All or nothing was done, and doing it now works."""
    if collection is None:
        collection = operation.work(None, folder)
        holds(collection, operation.after)
        collection.close()
        return
    before = [*BEFORE[2:], *EXTRA] if operation.mode == "changed" else BEFORE
    done = sorted(collection.index.ids.tolist()) == sorted(operation.after)
    holds(collection, operation.after if done else before)
    if not done or operation.after == before:
        operation.work(collection, folder)
        holds(collection, operation.after)


def holds(collection: Collection | None, ids: list[int]) -> None:
    assert collection is not None
    check(collection, ids)


def held_bytes() -> int:
    """What malloc has given and not got back."""
    gc.collect()
    library = ctypes.CDLL(None)

    class Info(ctypes.Structure):
        _fields_ = [(f"f{i}", ctypes.c_size_t) for i in range(10)]

    library.mallinfo2.restype = Info
    info = library.mallinfo2()
    return int(info.f7) + int(info.f4)  # uordblks, hblkhd


def main() -> None:
    path, what, kind, root, every = sys.argv[1:]
    shim = ctypes.CDLL(path)
    shim.fail_arm.argtypes = [ctypes.c_int, ctypes.c_long]
    shim.fail_disarm.restype = ctypes.c_long
    sound, folder = Path(root) / "sound", Path(root) / "c"
    make(sound, kind).close()
    counts: dict[str, dict[str, int]] = {}
    rng = np.random.default_rng(0)
    for name in OPERATIONS:
        attempt(shim, what, name, sound, folder, 2**40)  # imports what it needs
    files, held = len(os.listdir("/proc/self/fd")), held_bytes()
    for name in OPERATIONS:
        counts[name] = {}
        nth, more = 1, True
        while more:
            outcome, more = attempt(shim, what, name, sound, folder, nth)
            if more:
                counts[name][outcome] = counts[name].get(outcome, 0) + 1
            nth += int(rng.integers(1, 2 * int(every)))
    leaked = held_bytes() - held
    assert len(os.listdir("/proc/self/fd")) <= files
    assert leaked < LEAK, leaked
    print(json.dumps({"counts": counts, "leaked": leaked}))


if __name__ == "__main__":
    main()
