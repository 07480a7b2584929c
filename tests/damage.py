"""Damage of every sort to the files of collections, and what must come of it; for processes of their own."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from folders import add, check, entries, files, make, use_to_read, use_to_write, with_checksum

from bench.measure import peak_extra_bytes
from engine import Collection, CorruptIndexError
from engine._folder import framed, npy_header

__all__ = ["DAMAGES", "FORGED", "States", "damaged", "forged", "states"]

SORTS = ("bits flipped", "cut", "grown", "swapped", "old manifest, new files")
DAMAGES = [(sort, mode) for sort in SORTS for mode in ("r", "w", "read", "unverified", "file")]
FORGED = [(sort, mode) for sort in SORTS for mode in ("r", "w", "read")]
EXTRA = 64 << 20  # bytes of memory that a reader may take beside twice the file
Damage = dict[Path, bytes]


class States(NamedTuple):
    """Sound collections of both kinds, in folders and in files of their own, and room for copies."""

    folders: list[Path]
    single: list[tuple[Path, Path]]  # with an older one of the same
    scratch: Path


def states(root: str, worker: int) -> States:
    here = Path(root) / f"{worker}"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    folders, single = [], []
    for kind in ("exact", "graph"):
        collection = make(here / kind, kind)
        older, newer = here / f"{kind}-older.nrf", here / f"{kind}.nrf"
        collection.save(older)
        collection.delete([6, 60])
        add(collection, [60, 6])  # the same rows in another order
        collection.save(newer)
        collection.rollback()
        collection.close()
        folders.append(here / kind)
        single.append((newer, older))
    gc.collect()
    gc.freeze()  # so that looking for garbage before each trial takes no time
    return States(folders, single, here / "scratch")


# ---- damage: checksums as they were


def damaged(held: States, seed: int) -> str:
    """The sort of damage, how it was opened, and "refused", the one good answer."""
    sort, mode = DAMAGES[seed % len(DAMAGES)]
    rng = np.random.default_rng([seed, 1])
    which = int(rng.integers(2))
    if mode == "file":
        path, older = held.single[which]
        damage = in_file(path, older, sort, rng)
    else:
        path = held.folders[which]
        damage = in_folder(path, sort, rng)
    sound = {each: each.read_bytes() for each in damage}
    try:
        for each, raw in damage.items():
            each.write_bytes(raw)
        return f"{sort}, {mode}: {judged(path, mode)}"
    finally:
        for each, raw in sound.items():
            each.write_bytes(raw)


def judged(path: Path, mode: str) -> str:
    opened = None
    try:
        options = {"verify": mode != "unverified", "mmap": mode != "read"}
        opened = Collection.open(path, mode="w" if mode == "w" else "r", **options)
        if mode != "unverified":
            check(opened, [i for i in range(86) if i != 5])
        opened.verify()
    except CorruptIndexError as error:
        return "refused" if str(path.parent) in str(error) else f"a message without the path: {error}"
    finally:
        if opened is not None:
            opened.close()
    return "silently wrong"


def in_folder(folder: Path, sort: str, rng: np.random.Generator) -> Damage:
    paths = files(folder)
    if sort == "old manifest, new files":
        return old_with_new(folder, rng)
    path = paths[int(rng.integers(len(paths)))]
    if sort == "swapped":
        other = next(
            each for each in rng.permutation(np.array(paths, object)) if each.read_bytes() != path.read_bytes()
        )
        return (
            {path: other.read_bytes(), other: path.read_bytes()} if rng.random() < 0.5 else {path: other.read_bytes()}
        )
    return {path: changed(path.read_bytes(), sort, rng)}


def in_file(path: Path, older: Path, sort: str, rng: np.random.Generator) -> Damage:
    raw, old = path.read_bytes(), older.read_bytes()
    if sort == "swapped":  # parts of 64 bytes, as arrays begin
        parts = [raw[i : i + 64] for i in range(0, len(raw), 64)]
        while True:
            size = int(rng.integers(1, 9))
            one, other = (int(i) for i in rng.integers(0, len(parts) - size, 2))
            mixed = list(parts)
            mixed[one : one + size], mixed[other : other + size] = parts[other : other + size], parts[one : one + size]
            if b"".join(mixed) != raw:
                return {path: b"".join(mixed)}
    if sort == "old manifest, new files":  # the beginning of one, the rest of the other
        while True:
            place = int(rng.integers(1, min(len(raw), len(old))))
            mixed_raw = old[:place] + raw[place:]
            if mixed_raw not in (raw, old):
                return {path: mixed_raw}
    return {path: changed(raw, sort, rng)}


def changed(raw: bytes, sort: str, rng: np.random.Generator) -> bytes:
    if sort == "cut":
        return raw[: int(rng.integers(len(raw)))]
    if sort == "grown":
        tail = int(rng.choice([1, 8, 64, 4096]))
        return raw + [bytes(tail), rng.bytes(tail), (raw * tail)[:tail]][int(rng.integers(3))]
    data = np.frombuffer(raw, np.uint8).copy()
    places = rng.choice(8 * len(data), int(rng.choice([1, 1, 1, 2, 7])), replace=False)
    np.bitwise_xor.at(data, places // 8, (1 << (places % 8)).astype(np.uint8))
    return data.tobytes()


def old_with_new(folder: Path, rng: np.random.Generator) -> Damage:
    """An earlier manifest in place of the last; or files of an earlier version in place of those of a later one."""
    manifests = [path for path in files(folder) if path.name.startswith("manifest-")]
    damage: Damage = {}
    if rng.random() < 0.5:
        damage[folder / "manifest.json"] = manifests[int(rng.integers(len(manifests)))].read_bytes()
    by_role: dict[str, list[Path]] = {}
    for path in files(folder):
        if path.suffix == ".npy":
            by_role.setdefault(path.name.partition("-")[2], []).append(path)
    several = [paths for paths in by_role.values() if len(paths) > 1]
    while not damage or rng.random() < 0.5:
        paths = several[int(rng.integers(len(several)))]
        to, source = (paths[i] for i in rng.choice(len(paths), 2, replace=False))
        if to.read_bytes() != source.read_bytes():
            damage[to] = source.read_bytes()
    return damage


# ---- forgeries: whoever made them knows how to make checksums


def forged(held: States, seed: int) -> str:
    """The sort, how it was opened, and "harmless", or how much memory it took; who waits sees crashes and hangs."""
    sort, mode = FORGED[seed % len(FORGED)]
    rng = np.random.default_rng([seed, 2])
    source = held.folders[int(rng.integers(2))]
    shutil.rmtree(held.scratch, ignore_errors=True)
    folder = Path(shutil.copytree(source, held.scratch, copy_function=os.link))  # nobody changes a file in place
    manifest = json.loads((folder / "manifest.json").read_bytes())["manifest"]
    with suppress(KeyError, TypeError, ValueError, AttributeError, FileNotFoundError):  # after one the next may not fit
        for _ in range(int(rng.integers(1, 4))):
            FORGERIES[sort](folder, manifest, rng)
    replaced(folder / "manifest.json", framed(json.dumps(manifest).encode()))
    size = sum(path.stat().st_size for path in folder.iterdir())
    use = {"r": use_to_read, "w": use_to_write, "read": partial(use_to_read, mmap=False)}[mode]
    taken = peak_extra_bytes(lambda: use(folder))
    return f"{sort}, {mode}: " + ("harmless" if taken <= 2 * size + EXTRA else f"took {taken >> 20} MiB")


Forgery = Callable[[Path, dict[str, Any], np.random.Generator], object]
ODD = (
    None,
    True,
    -1,
    0,
    1,
    2,
    3,
    255,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    2**200,
    0.5,
    "",
    "x",
    "graph",
    "int8",
    [],
    {},
)


def array_of(folder: Path, entry: dict[str, Any]) -> Any:
    return np.load(folder / entry["file"])


def put(folder: Path, entry: dict[str, Any], array: Any) -> None:
    """Another array under the name of an entry, which says all that is true of it."""
    block = np.ascontiguousarray(array)
    replaced(folder / entry["file"], npy_header(block.dtype, block.shape) + block.tobytes())
    entry |= {"dtype": block.dtype.str, "shape": list(block.shape), "nbytes": block.nbytes}
    with_checksum(folder, entry)


def replaced(path: Path, raw: bytes) -> None:
    path.unlink()
    path.write_bytes(raw)


def some_entry(manifest: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    every = [entry for segment in manifest["segments"] for entry in entries(segment)]
    return every[int(rng.integers(len(every)))]


def flip(folder: Path, manifest: dict[str, Any], rng: np.random.Generator) -> None:
    """Bits of an array, whole numbers of it, or a value of the manifest."""
    if rng.random() < 0.3:
        every = list(values(manifest))
        inside, key = every[int(rng.integers(len(every)))]
        inside[key] = ODD[int(rng.integers(len(ODD)))]
        return
    entry = some_entry(manifest, rng)
    array = array_of(folder, entry)
    if not array.size:
        return
    data = array.reshape(-1).view(np.uint8)
    if rng.random() < 0.5:
        places = rng.integers(0, 8 * len(data), int(rng.integers(1, 6)))
        np.bitwise_xor.at(data, places // 8, (1 << (places % 8)).astype(np.uint8))
    else:
        size = array.itemsize
        begin = size * int(rng.integers(array.size))
        data[begin : begin + size] = int(rng.choice([0, 1, 127, 128, 255]))
    put(folder, entry, array)


def cut(folder: Path, manifest: dict[str, Any], rng: np.random.Generator) -> None:
    entry = some_entry(manifest, rng)
    array = array_of(folder, entry)
    put(folder, entry, array[: int(rng.integers(len(array) + 1))])


def grow(folder: Path, manifest: dict[str, Any], rng: np.random.Generator) -> None:
    entry = some_entry(manifest, rng)
    array = array_of(folder, entry)
    put(folder, entry, np.concatenate([array] * int(rng.choice([2, 3, 100]))) if len(array) else array)


def swap(folder: Path, manifest: dict[str, Any], rng: np.random.Generator) -> None:
    """Two entries, or two other values, change places."""
    every = [(inside, key) for inside, key in values(manifest) if isinstance(inside[key], dict) == (rng.random() < 0.8)]
    if len(every) > 1:
        (one, first), (other, second) = (every[i] for i in rng.choice(len(every), 2, replace=False))
        one[first], other[second] = other[second], one[first]


def mix(folder: Path, manifest: dict[str, Any], rng: np.random.Generator) -> None:
    """Segments, or parts of them, as an earlier version has them."""
    earlier = sorted(folder.glob("manifest-*.json"))
    old = json.loads(earlier[int(rng.integers(len(earlier)))].read_bytes())["manifest"]
    if rng.random() < 0.3:
        for name in ("index", "schema", "segments", "earlier", "next_file", "version"):
            if rng.random() < 0.4 and name in old:
                manifest[name] = old[name]
    elif old["segments"] and manifest["segments"]:
        theirs = old["segments"][int(rng.integers(len(old["segments"])))]
        ours = manifest["segments"][int(rng.integers(len(manifest["segments"])))]
        for name in theirs:
            if rng.random() < 0.4:
                ours[name] = theirs[name]


def values(value: Any) -> list[tuple[Any, Any]]:
    """Every member of every object and list, with what it is in."""
    keys: Any = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [pair for key in keys for pair in [(value, key), *values(value[key])]]


FORGERIES: dict[str, Forgery] = dict(zip(SORTS, (flip, cut, grow, swap, mix), strict=True))
