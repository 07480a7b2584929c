"""Fuzzing led by coverage: `python tests/fuzz.py TARGET [options of libFuzzer]` ends at an error that is not ours.

Targets: manifest, segment, filter, importer. HDF5, faiss and hnswlib are left out, whose files libraries of their own
read.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import atheris
import numpy as np

with atheris.instrument_imports(include=["engine"]):
    from damage import ODD, put, values
    from folders import entries, make, use_to_read

    from engine import Collection, EngineError
    from engine._folder import framed
    from engine.images import read_image
    from engine.interop import read_vectors, write_vectors
    from engine.texts import read_texts

SUFFIXES = (".npy", ".fvecs", ".bvecs", ".ivecs", ".fbin", ".u8bin", ".i8bin", ".safetensors", ".png", ".jpg", ".txt")
CONDITIONS = (
    "number > 3 AND word = 'w1'",
    "word IN ('w1', 'w2') OR NOT (share BETWEEN 1 AND 2.5)",
    "tags @> 't1' AND even IS NOT NULL",
    "word LIKE 'w%' AND even = TRUE",
    '{"number": {"$gt": 3, "$lte": 7}, "$or": [{"word": "w1"}, {"even": true}]}',
    '{"tags": {"$in": ["t1"]}, "word": {"$ne": null}}',
)
Target = Callable[[bytes], object]
Start = Callable[[Path], tuple[Target, list[bytes]]]


def manifest(root: Path) -> tuple[Target, list[bytes]]:
    """The text of a manifest, with a checksum that is right."""
    bodies = []
    for kind in ("graph", "exact"):
        make(root / "c", kind).close()
        bodies.append(json.dumps(json.loads((root / "c" / "manifest.json").read_bytes())["manifest"]).encode())
        if kind == "graph":
            shutil.rmtree(root / "c")

    def target(data: bytes) -> None:
        (root / "c" / "manifest.json").write_bytes(framed(data))
        use_to_read(root / "c")

    return target, bodies


def of_manifest(data: bytes, max_size: int, seed: int) -> bytes:
    """Another value in the place of one, or bytes changed blindly."""
    rng = np.random.default_rng(seed)
    with suppress(ValueError, RecursionError):
        value = json.loads(data)
        every = values(value)
        if every and rng.random() < 0.8:
            for _ in range(int(rng.integers(1, 4))):
                inside, key = every[int(rng.integers(len(every)))]
                other, which = every[int(rng.integers(len(every)))]
                with suppress(LookupError):  # it is in what was taken out
                    inside[key] = ODD[int(rng.integers(len(ODD)))] if rng.random() < 0.7 else deepcopy(other[which])
            return json.dumps(value).encode()[:max_size]
    return bytes(atheris.Mutate(data, max_size))


def segment(root: Path) -> tuple[Target, list[bytes]]:
    """The number of an array, how long it is to be, then places in it and what comes there; all checksums are right."""
    make(root / "c", "graph").close()
    sound = json.loads((root / "c" / "manifest.json").read_bytes())["manifest"]
    every = [entry for part in sound["segments"] for entry in entries(part)]
    held = [np.load(root / "c" / entry["file"]) for entry in every]

    def target(data: bytes) -> None:
        source = atheris.FuzzedDataProvider(data)
        which = source.ConsumeIntInRange(0, len(every) - 1)
        n_rows = len(held[which]) if source.ConsumeBool() else source.ConsumeIntInRange(0, 300)
        array = np.resize(held[which], (n_rows, *held[which].shape[1:]))
        raw = array.reshape(-1).view(np.uint8)
        while source.remaining_bytes() and len(raw):
            begin = source.ConsumeIntInRange(0, len(raw) - 1)
            piece = np.frombuffer(source.ConsumeBytes(source.PickValueInList([1, 2, 4, 8])), np.uint8)
            raw[begin : begin + len(piece)] = piece[: len(raw) - begin]
        put(root / "c", every[which], array)
        (root / "c" / "manifest.json").write_bytes(framed(json.dumps(sound).encode()))
        use_to_read(root / "c")
        put(root / "c", every[which], held[which])

    rng = np.random.default_rng(0)
    return target, [rng.bytes(16) for _ in range(100)]


def filter_(root: Path) -> tuple[Target, list[bytes]]:
    """A condition in SQL, or in JSON as Mongo has it."""
    collection: Collection = make(root / "c")

    def target(data: bytes) -> None:
        text = data.decode(errors="replace")
        conditions: list[Any] = [text]
        with suppress(ValueError, RecursionError):
            value = json.loads(text)
            conditions += [value] if isinstance(value, dict) else []
        for condition in conditions:
            with suppress(EngineError):
                collection.count(condition)
                collection.search(np.ones(4), k=3, filter=condition)

    return target, [condition.encode() for condition in CONDITIONS]


def importer(root: Path) -> tuple[Target, list[bytes]]:
    """The kind of a file, then its bytes."""

    def target(data: bytes) -> None:
        suffix = SUFFIXES[data[0] % len(SUFFIXES)] if data else ".npy"
        path = root / f"x{suffix}"
        path.write_bytes(data[1:])
        with suppress(EngineError):
            if suffix in (".png", ".jpg"):
                read_image(path)
            elif suffix == ".txt":
                read_texts(path)
            else:
                np.asarray(read_vectors(path)).sum()

    return target, list(samples(root))


def samples(root: Path) -> Iterator[bytes]:
    from PIL import Image

    for i, suffix in enumerate(SUFFIXES):
        path = root / f"sample{suffix}"
        if suffix == ".txt":
            path.write_text("one\ntwo \n")
        elif suffix in (".png", ".jpg"):
            Image.new("RGB", (5, 4), "red").save(path)
        else:
            write_vectors(path, np.arange(12).reshape(4, 3).astype(np.uint8 if suffix != ".npy" else np.float32))
        yield bytes([i]) + path.read_bytes()


TARGETS: dict[str, Start] = {"manifest": manifest, "segment": segment, "filter": filter_, "importer": importer}


def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="fuzz-", dir=os.environ.get("TMPDIR")))
    target, seeds = TARGETS[sys.argv[1]](root)
    corpus = root / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(seeds):
        (corpus / str(i)).write_bytes(seed)
    os.chdir(root)  # what it finds is written there
    options = ["-timeout=20", "-rss_limit_mb=2048", "-len_control=0", str(corpus)]
    mutator = {"custom_mutator": of_manifest} if sys.argv[1] == "manifest" else {}
    atheris.Setup([sys.argv[0], *sys.argv[2:], *options], target, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
