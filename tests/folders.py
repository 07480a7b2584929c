"""Small collections in folders, and what must be in them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from engine import Collection, EngineError, col
from engine._folder import framed

DIM = 4


def vectors_of(ids: Any) -> Any:
    """The vector of each id, which tells it."""
    ids = np.asarray(ids, np.float32)
    return np.stack([np.cos(ids), np.sin(ids), np.cos(3 * ids), np.full(len(ids), 0.5, np.float32)], axis=1)


def add(collection: Collection, ids: Any) -> None:
    columns = {
        "number": [int(i) for i in ids],
        "word": [None if i % 3 == 0 else f"w{i % 5}" for i in ids],
        "tags": [[f"t{j}" for j in range(i % 3)] for i in ids],
        "share": [i / 4 for i in ids],
        "even": [i % 2 == 0 for i in ids],
    }
    collection.add(vectors_of(ids), ids=ids, attributes=columns)


def make(path: Path, kind: Any = "exact") -> Collection:
    """Open for writing: three segments, a row that is gone, a column that has changed; ids 0 to 85 without 5."""
    collection = Collection.create(path, dim=DIM, kind=kind, metric="l2", keep=2)
    add(collection, np.arange(60))
    if kind == "graph":
        collection.optimize()
    collection.commit()
    add(collection, np.arange(60, 80))
    collection.commit()
    collection.delete([5])
    collection.update([6, 70], {"share": [60.0, 500.0]})
    add(collection, np.arange(80, 86))
    collection.commit()
    assert [len(segment) for segment in collection.index.segments] == [60, 20, 6]  # type: ignore[attr-defined]
    return collection


def check(collection: Collection, ids: Any) -> None:
    """It holds these rows, and the vectors and columns of each are its own."""
    ids = np.sort(np.asarray(ids, np.int64))
    assert np.array_equal(np.sort(collection.index.ids), ids)
    assert len(collection) == len(ids)
    if not len(ids):
        return
    assert np.array_equal(collection.get(ids), vectors_of(ids))
    found = collection.search(vectors_of(ids), k=1, exact=True, columns=["number", "word", "even"])
    assert np.array_equal(found.ids[:, 0], ids)
    assert found.attributes["number"][:, 0].tolist() == ids.tolist()
    assert found.attributes["word"][:, 0].tolist() == [None if i % 3 == 0 else f"w{i % 5}" for i in ids]
    assert collection.count(col("even").isin([True])) == int((ids % 2 == 0).sum())


def files(folder: Path) -> list[Path]:
    """Those whose contents count: not the lock, and not the copy of the manifest, of which the name alone does."""
    copies = sorted(folder.glob("manifest-*.json"), key=lambda path: int(path.stem[9:]))
    return sorted(path for path in folder.iterdir() if path.name != "lock" and path not in copies[-1:])


def holds_what_it_names(folder: Path, collection: Collection) -> bool:
    """Whether nothing is missing, and nothing that does not count was left; `collection` is open on it for writing."""
    store = collection._store
    assert store
    kept = store._kept_files() | {"lock"}
    return kept - set(os.listdir(folder)) <= {f"manifest-{store.version}.json"} and set(os.listdir(folder)) <= kept


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A manifest that says something else, with sound checksums."""
    manifest = json.loads((folder / "manifest.json").read_bytes())["manifest"]
    change(manifest)
    for segment in manifest["segments"] if isinstance(manifest.get("segments"), list) else []:
        for entry in entries(segment):
            with_checksum(folder, entry)
    (folder / "manifest.json").write_bytes(framed(json.dumps(manifest).encode()))


def entries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "file" in value:
            yield value
        for inner in value.values():
            yield from entries(inner)


def with_checksum(folder: Path, entry: dict[str, Any]) -> None:
    path = folder / str(entry["file"])
    if path.is_file():
        entry["xxh3_64"] = xxhash.xxh3_64_hexdigest(path.read_bytes())


def use(folder: Path) -> None:
    """All that reads what is stored, and then all that changes it."""
    use_to_read(folder)
    use_to_write(folder)


def use_to_read(folder: Path, *, mmap: bool = True) -> None:
    """Errors of ours are all that may come of it."""
    with suppress(EngineError):
        opened = Collection.open(folder, mmap=mmap)
        opened.search(np.ones((3, 4)), k=5, columns=list(opened.schema))
        opened.search(np.ones((3, 4)), k=5, exact=True, filter=col("number") > 5)
        opened.count((col("word") == "w1") | col("even").isin([True]))
        opened.get(opened.index.ids)
        opened.verify()


def use_to_write(folder: Path) -> None:
    with suppress(EngineError), Collection.open(folder, mode="w") as opened:
        opened.delete(opened.index.ids[:2])
        opened.add(np.ones((2, 4)))
        opened.commit()
        opened.optimize()
