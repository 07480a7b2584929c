"""Collections in a folder: commits, versions, locks, segments."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encoders
import engine
from engine import (
    Collection,
    CorruptIndexError,
    InvalidArgumentError,
    LockedError,
    StorageError,
    UnsupportedError,
    _segments,
)
from engine._segments import Segments

DIM = 6


def rows(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)


def filled(path: Path, kind: Any = "exact", n: int = 50, **options: Any) -> Collection:
    """Open for writing, one commit after version 1."""
    collection = Collection.create(path, dim=DIM, kind=kind, **options)
    collection.add(rows(n), attributes={"year": list(range(n)), "label": ["a", None] * (n // 2)})
    collection.commit()
    return collection


def sizes(collection: Collection) -> list[int]:
    assert isinstance(collection.index, Segments)
    return [len(segment) for segment in collection.index.segments]


# ---- versions


def test_readers_keep_their_version(tmp_path: Path) -> None:
    writer = filled(tmp_path / "c")
    reader = Collection.open(tmp_path / "c")
    assert (writer.version, reader.version, reader.versions, len(reader)) == (2, 2, [1, 2], 50)
    writer.delete(filter="year < 10")
    assert len(Collection.open(tmp_path / "c")) == 50
    assert writer.commit() == 3
    assert writer.commit() == 3
    assert (len(reader), reader.count("year < 10"), len(Collection.open(tmp_path / "c"))) == (50, 10, 40)
    assert len(Collection.open(tmp_path / "c", version=2)) == 50
    for i in range(5):
        writer.update([20], {"year": [i]})
        writer.commit()
    assert writer.versions == [4, 5, 6, 7, 8]
    with pytest.raises(InvalidArgumentError, match=r"version is 2, expected one that is kept: \[4, 5, 6, 7, 8\]"):
        Collection.open(tmp_path / "c", version=2)
    assert (
        reader.search(rows(1), k=1, columns="year").attributes["year"].item() == 0
    )  # its files are gone, not its rows
    counts = [Collection.open(tmp_path / "c", version=v).count(f"year = {v - 4}") for v in (5, 6, 7, 8)]
    assert counts == [1] * 4


def test_old_files_are_removed(tmp_path: Path) -> None:
    writer = filled(tmp_path / "c", keep=1)
    for _ in range(4):
        writer.upsert(rows(50, 1), np.arange(50))
        writer.commit()
    assert {name for name in os.listdir(tmp_path / "c") if name.startswith("manifest")} == {
        "manifest-5.json",
        "manifest-6.json",
        "manifest.json",
    }
    assert len([name for name in os.listdir(tmp_path / "c") if "vectors" in name]) == 2


def test_what_is_left_of_a_killed_commit_is_removed_by_the_next_writer_only(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    before = sorted(os.listdir(tmp_path / "c"))
    for name in ("000999-vectors.npy", "manifest-0.json", "manifest.json.tmp", "notes.txt", "12-my.npy"):
        (tmp_path / "c" / name).write_text("x")
    Collection.open(tmp_path / "c")
    assert len(os.listdir(tmp_path / "c")) == len(before) + 5
    Collection.open(tmp_path / "c", mode="w").close()
    assert sorted(os.listdir(tmp_path / "c")) == sorted([*before, "notes.txt", "12-my.npy"])


def test_the_document_tells_the_truth(tmp_path: Path) -> None:
    """Reads vectors, ids and a column as docs/folder_format.md has them, with numpy and json alone."""
    collection = filled(tmp_path / "c")
    collection.delete([3])
    collection.commit()
    raw = (tmp_path / "c" / "manifest.json").read_bytes()
    assert raw[:12] == b'{"xxh3_64": '
    manifest = json.loads(raw)["manifest"]
    (segment,) = manifest["segments"]
    arrays = {name: np.load(tmp_path / "c" / e["file"], mmap_mode="r") for name, e in segment["arrays"].items()}
    np.testing.assert_array_equal(arrays["vectors"], rows(50))
    assert arrays["ids"].tolist() == list(range(50))
    assert np.load(tmp_path / "c" / segment["gone"]["file"]).tolist() == [3]
    label = {role: np.load(tmp_path / "c" / e["file"]) for role, e in segment["columns"]["label"].items()}
    assert sorted(label) == ["codes", "nulls", "text", "text_ends"]
    assert (bytes(label["text"]), label["text_ends"].tolist(), label["nulls"].tolist()[:2]) == (
        b"a",
        [1],
        [False, True],
    )
    for entry in [*segment["arrays"].values(), *segment["columns"]["year"].values()]:
        with (tmp_path / "c" / entry["file"]).open("rb") as file:
            assert np.lib.format.read_magic(file) == (1, 0)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            assert (list(shape), fortran, dtype.str) == (entry["shape"], False, entry["dtype"])
            assert file.tell() % 64 == 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("kind", ["exact", "graph"])
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_dtypes_and_metrics(tmp_path: Path, metric: Any, kind: Any, dtype: Any) -> None:
    if (kind, dtype) == ("exact", "int8"):
        pytest.skip("a graph alone keeps codes alone")
    with filled(tmp_path / "c", kind, metric=metric, dtype=dtype) as collection:
        collection.optimize()
        collection.commit()
        collection.add(rows(9, 1))
    again = Collection.open(tmp_path / "c")
    assert (again.index.metric, again.index.dtype, again.index.kind, sizes(again)) == (metric, dtype, kind, [50, 9])
    found = again.search(rows(4, 1), k=3, exact=True)
    assert (found.ids == collection.search(rows(4, 1), k=3, exact=True).ids).all()
    assert (found.distances == collection.search(rows(4, 1), k=3, exact=True).distances).all()
    assert metric == "ip" or found.ids[:, 0].tolist() == [50, 51, 52, 53]


def test_rollback(tmp_path: Path) -> None:
    collection = filled(tmp_path / "c")
    collection.index.metadata["a"] = 1
    collection.add(rows(3, 1), attributes={"new": [1, 2, 3]})
    collection.delete([0])
    collection.skipped.append(("x", "y"))
    collection.rollback()
    assert (len(collection), sorted(collection.schema), collection.skipped) == (50, ["label", "year"], [])
    assert collection.index.metadata == {}
    assert collection.commit() == 2
    with pytest.raises(UnsupportedError, match="in memory"):
        Collection.create(dim=2).rollback()


def test_rollback_keeps_an_encoder_that_was_set_since(tmp_path: Path) -> None:
    encoder = encoders.get("hashing", dim=64)
    collection = Collection.create(tmp_path / "c", dim=64)
    collection.encoder = encoder
    collection.rollback()
    collection.add(["one text"])
    assert (collection.encoder, collection.encoder_info["fingerprint"]) == (encoder, encoder.fingerprint)


def test_a_block_commits_unless_it_fails(tmp_path: Path) -> None:
    with filled(tmp_path / "c") as collection:
        collection.delete([1])
    with pytest.raises(InvalidArgumentError), Collection.open(tmp_path / "c", mode="w") as collection:  # noqa: PT012
        collection.delete([2])
        collection.delete([2])
    assert len(Collection.open(tmp_path / "c")) == 49
    with Collection.open(tmp_path / "c") as reader:
        assert reader.version == 3


def test_metadata_and_columns_without_rows_are_committed(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", dim=2, schema={"label": "keyword"}) as collection:
        collection.index.metadata = {"a": [1]}
    again = Collection.open(tmp_path / "c")
    assert (again.version, again.index.metadata, again.schema, len(again)) == (2, {"a": [1]}, {"label": "keyword"}, 0)
    with pytest.raises(engine.NotBuiltError):
        again.search([1, 0])
    collection = Collection.open(tmp_path / "c", mode="w")
    collection.index.metadata["a"] = {1, 2}
    with pytest.raises(InvalidArgumentError, match="JSON"):
        collection.commit()
    collection.index.metadata["a"] = 7
    assert collection.commit() == 3


def test_a_reader_is_copied_by_its_version(tmp_path: Path) -> None:
    writer = filled(tmp_path / "c")
    reader = Collection.open(tmp_path / "c")
    writer.delete([0])
    writer.commit()
    assert len(pickle.loads(pickle.dumps(reader))) == 50


@pytest.mark.parametrize("mode", ["file", "r", "w"])
def test_what_was_read_does_not_need_its_files(tmp_path: Path, mode: Any) -> None:
    """They are large enough to be mapped; whoever reads a mapped file that was cut is killed."""
    writer = filled(tmp_path / "c", n=60_000)
    expected = writer.search(rows(9), k=3, filter="year < 50000", columns="label")
    path = tmp_path / ("x" if mode == "file" else "c")
    if mode == "file":
        writer.save(path)
    writer.close()
    with pytest.raises(MemoryError, match=r"to read .* takes \d{7} bytes, memory_limit is 1000000"):
        Collection.open(path, mmap=False, memory_limit=1_000_000)
    with pytest.raises(InvalidArgumentError, match="mmap is 1"):
        Collection.open(path, mmap=1)  # type: ignore[arg-type]
    opened = Collection.open(path, mode="r" if mode == "file" else mode, mmap=False)
    if mode == "w":
        opened.add(rows(60_000, 1))
        opened.delete(np.arange(60_000, 120_000))
        assert opened.commit() == 3
    for file in [path] if mode == "file" else path.glob("*.npy"):
        os.truncate(file, 0)
    found = opened.search(rows(9), k=3, filter="year < 50000", columns="label")
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert found.attributes["label"].tolist() == expected.attributes["label"].tolist()
    assert opened.get([1]).tolist() == rows(60_000)[[1]].tolist()


def test_a_copy_is_read_as_the_collection_was(tmp_path: Path) -> None:
    filled(tmp_path / "c", n=60_000).close()
    copy = pickle.loads(pickle.dumps(Collection.open(tmp_path / "c", mmap=False)))
    expected = copy.search(rows(5), k=2).ids
    for file in (tmp_path / "c").glob("*.npy"):
        os.truncate(file, 0)
    np.testing.assert_array_equal(copy.search(rows(5), k=2).ids, expected)


def test_nothing_is_built_on_files_that_were_not_verified(tmp_path: Path) -> None:
    filled(tmp_path / "c", n=50).close()
    vectors = next((tmp_path / "c").glob("*-vectors.npy"))
    raw = bytearray(vectors.read_bytes())
    raw[-1] ^= 1
    vectors.write_bytes(raw)
    opened = Collection.open(tmp_path / "c", verify=False)
    assert len(opened) == 50
    for change in (lambda: opened.save(tmp_path / "x"), opened.verify):
        with pytest.raises(CorruptIndexError, match=vectors.name):
            change()
    with pytest.raises(CorruptIndexError, match=vectors.name):
        Collection.open(tmp_path / "c", mode="w", verify=False)


def test_a_path_that_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    writer = filled(Path("c"))
    reader = Collection.open("c")
    monkeypatch.chdir("/")
    writer.delete([0])
    assert writer.commit() == 3
    assert len(pickle.loads(pickle.dumps(reader))) == 50


def test_one_file_of_a_folder(tmp_path: Path) -> None:
    collection = filled(tmp_path / "c", "graph")
    collection.delete([0])
    collection.add(rows(3, 1))
    collection.save(tmp_path / "file")
    again = Collection.open(tmp_path / "file")
    assert sorted(again.index.ids.tolist()) == sorted(collection.index.ids.tolist())
    assert again.count("year < 10") == 9
    assert len(collection) == 52


@pytest.mark.parametrize("method", ["add", "remove"])
@pytest.mark.parametrize("after", [True, False])
def test_a_change_that_is_stopped_is_undone_or_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, after: bool
) -> None:
    """Ctrl-C right before or right after the core has changed its rows."""
    collection = filled(tmp_path / "c")
    collection.add(rows(9, 1))
    real = getattr(engine.Index, method)

    def stopped(*arguments: Any) -> None:
        if after:
            real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(engine.Index, method, stopped)
        with pytest.raises(KeyboardInterrupt):
            collection.add(rows(3, 2)) if method == "add" else collection.delete([55])
    if not after:
        assert collection.add(rows(3, 2)).tolist() == [59, 60, 61]
        assert collection.delete([55]) == 1
        assert collection.commit() == 3
    else:
        for work in (collection.commit, lambda: collection.count("year > 1"), lambda: collection.add(rows(1))):
            with pytest.raises(InvalidArgumentError, match=r"rollback\(\) helps"):
                work()
        collection.rollback()
        assert collection.commit() == 2
    Collection.open(tmp_path / "c").verify()


# ---- who may do what


def test_one_writer(tmp_path: Path) -> None:
    writer = filled(tmp_path / "c")
    with pytest.raises(LockedError, match=rf"being written to by process {os.getpid()} on "):
        Collection.open(tmp_path / "c", mode="w")
    code = (
        "import sys, engine\ntry: engine.Collection.open(sys.argv[1], mode='w')\n"
        "except engine.LockedError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code, tmp_path / "c"], capture_output=True, text=True, timeout=60)
    assert f"process {os.getpid()} on " in told.stdout
    writer.close()
    Collection.open(tmp_path / "c", mode="w").close()


def test_a_folder_that_could_not_be_opened_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "c").close()
    with pytest.raises(engine.EncoderMismatchError) as caught:
        Collection.open(tmp_path / "c", mode="w", encoder=encoders.get("hashing", dim=64))
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(StorageError, match="cannot open collection"):
            Collection.open(tmp_path / "c", mode="w")
    Collection.open(tmp_path / "c", mode="w").close()
    del caught


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.add(rows(1)),
        lambda c: c.upsert(rows(1), [0]),
        lambda c: c.update([0], {"year": [1]}),
        lambda c: c.delete([0]),
        lambda c: c.optimize(),
        lambda c: c.commit(),
        lambda c: c.rollback(),
    ],
    ids=["add", "upsert", "update", "delete", "optimize", "commit", "rollback"],
)
def test_who_reads_or_has_closed_changes_nothing(tmp_path: Path, change: Any) -> None:
    writer = filled(tmp_path / "c")
    with pytest.raises(StorageError, match="open it with mode='w'"):
        change(Collection.open(tmp_path / "c"))
    writer.close()
    writer.close()
    with pytest.raises(LockedError, match="was closed"):
        change(writer)
    assert len(writer.search(rows(1), k=3).ids) == 1


def child(collection: Collection, answers: Any) -> None:
    try:
        found = collection.search(rows(1), k=1).ids.item()
        collection.add(rows(1))
    except LockedError as error:
        answers.put((found, str(error)))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_searches_and_does_not_write(tmp_path: Path) -> None:
    writer = filled(tmp_path / "c")
    writer.search(rows(8), k=1)  # its threads are there before the fork
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=child, args=(writer, answers))
    process.start()
    found, message = answers.get(timeout=60)
    process.join(60)
    assert (found, process.exitcode) == (0, 0)
    assert "another process" in message
    with pytest.raises(LockedError):
        Collection.open(tmp_path / "c", mode="w")
    assert writer.commit() == 2


def test_bad_arguments(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    with pytest.raises(StorageError, match="not empty"):
        Collection.create(tmp_path / "c", dim=2)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot create"):
        Collection.create(tmp_path / "file", dim=2)
    with pytest.raises(InvalidArgumentError, match="keep is 0"):
        Collection.create(tmp_path / "d", dim=2, keep=0)
    with pytest.raises(InvalidArgumentError, match="mode is 'a'"):
        Collection.open(tmp_path / "c", mode="a")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="it is past"):
        Collection.open(tmp_path / "c", mode="w", version=1)
    (tmp_path / "empty").mkdir()
    for mode in ("r", "w"):
        with pytest.raises(StorageError, match="holds no collection"):
            Collection.open(tmp_path / "empty", mode=mode)  # type: ignore[arg-type]
    Collection.create(dim=2).save(tmp_path / "x.nrf")
    for options in ({"mode": "w"}, {"version": 1}):
        with pytest.raises(InvalidArgumentError, match="which only the folder"):
            Collection.open(tmp_path / "x.nrf", **options)  # type: ignore[arg-type]


def test_rows_changed_behind_its_back_are_noticed(tmp_path: Path) -> None:
    collection = filled(tmp_path / "c")
    collection.index.remove([3])
    with pytest.raises(InvalidArgumentError, match="index has changed"):
        collection.count("year > 3")
    with pytest.raises(InvalidArgumentError, match="index has changed"):
        collection.commit()
    collection.rollback()
    assert collection.count("year > 2") == 47


def test_a_merge_that_is_stopped_halfway_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = filled(tmp_path / "c")
    collection.add(rows(10, 1))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(engine.Attributes, "append_typed", stop)
        with pytest.raises(KeyboardInterrupt):
            collection.optimize()
    with pytest.raises(InvalidArgumentError, match=r"rollback\(\) helps"):
        collection.search(rows(1), filter="year > 3")
    collection.rollback()
    assert collection.count("year > 2") == 47


@pytest.mark.parametrize("kind", ["exact", "graph"])
@pytest.mark.parametrize("work", ["commit", "optimize"])
def test_others_change_and_commit_while_segments_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str, kind: Any
) -> None:
    """Rows that go, change, come or are replaced while their segment is made anew."""
    monkeypatch.setattr(_segments, "FOLD", 60)
    collection = filled(tmp_path / "c", kind)
    collection.add(rows(50, 1), attributes={"year": list(range(50, 100))})
    real, begun, go_on = Segments.merged, threading.Event(), threading.Event()

    def merged(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        begun.set()
        assert go_on.wait(60)
        return result

    monkeypatch.setattr(Segments, "merged", merged)
    thread = threading.Thread(target=getattr(collection, work))
    thread.start()
    assert begun.wait(60)
    collection.delete([3, 70])
    collection.update([4, 71], {"year": [-4, -71]})
    collection.upsert(rows(2, 2), [5, 72], attributes={"year": [-5, -72]})
    added = collection.add(rows(9, 3), attributes={"year": [1000] * 9})
    collection.delete(added[:1])
    assert collection.commit() == 3
    collection.add(rows(1, 4), attributes={"year": [2000]})
    go_on.set()
    thread.join(60)
    assert sizes(collection)[0] == 100
    collection.commit()
    for held in (collection, Collection.open(tmp_path / "c")):
        held.verify()
        assert len(held) == 100 - 2 + 8 + 1
        expected = {i: i for i in range(100) if i not in (3, 70)} | {4: -4, 71: -71, 5: -5, 72: -72}
        expected |= dict.fromkeys(added[1:].tolist(), 1000) | {109: 2000}
        assert dict(zip(held.index.ids.tolist(), held.attributes["year"].tolist(), strict=True)) == expected
        found = held.search(rows(2, 2), k=1, exact=True, columns=["year"])
        assert (found.ids[:, 0].tolist(), found.attributes["year"][:, 0].tolist()) == ([5, 72], [-5, -72])
        np.testing.assert_array_equal(held.get([5, 72]), rows(2, 2))
        assert held.search(rows(50)[[3]], k=1, exact=True).ids.item() != 3


def test_a_merge_that_a_rollback_overtakes_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = filled(tmp_path / "c")
    collection.add(rows(50, 1))
    real = Segments.merged

    def merged(*arguments: Any, **options: Any) -> Any:
        collection.rollback()
        return real(*arguments, **options)

    monkeypatch.setattr(Segments, "merged", merged)
    collection.optimize()
    assert sizes(collection) == [50]
    assert collection.commit() == 2


@pytest.mark.parametrize("folder", [True, False])
def test_what_would_take_too_much_memory_is_refused(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "c" if folder else None
    collection = Collection.create(path, dim=DIM, memory_limit=50_000)
    collection.add(rows(100))
    with pytest.raises(MemoryError, match=r"to add 1000 rows takes about \d+ bytes with what is in memory, .* 50000"):
        collection.add(rows(1000))
    with pytest.raises(MemoryError, match="to add 1000 rows"):
        collection.upsert(rows(1000), np.arange(1000))
    assert len(collection) == 100
    collection.commit()
    collection.close()
    with pytest.raises(InvalidArgumentError, match="memory_limit is 0"):
        Collection.create(dim=2, memory_limit=0)
    if folder:
        small = Collection.open(tmp_path / "c", mode="w", memory_limit=5_000)
        small.delete([0])
        with pytest.raises(MemoryError, match="to merge 99 rows"):
            small.optimize()
        small.delete(np.arange(1, 31))
        assert small.commit() == 3  # without the merge that is due
        assert sizes(small) == [100]
        with pytest.raises(MemoryError, match=r"to read .* takes \d+ bytes, memory_limit is 2000"):
            Collection.open(tmp_path / "c", mmap=False, memory_limit=2_000)
        assert len(Collection.open(tmp_path / "c", memory_limit=2_000)) == 69
        small.close()
        read = Collection.open(tmp_path / "c", mode="w", mmap=False, memory_limit=12_000)
        with pytest.raises(MemoryError, match="to add 100 rows"):  # beside what was read
            read.add(rows(100))


# ---- segments


def test_few_segments_whatever_the_commits(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "c", dim=DIM)
    for i in range(40):
        collection.add(rows(7, i))
        collection.commit()
        held = sizes(collection)
        assert sum(held) == 7 * (i + 1)
        assert all(size > 2 * sum(held[j + 1 :]) for j, size in enumerate(held[:-1]))
    collection.delete(np.arange(280)[::2])
    collection.commit()
    assert sum(sizes(collection)) == 140
    collection.optimize()
    assert sizes(collection) == [140]


def test_a_graph_takes_in_what_has_become_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_segments, "FOLD", 300)
    collection = Collection.create(tmp_path / "c", dim=DIM, kind="graph")
    kinds = []
    for i in range(9):
        collection.add(rows(100, i))
        collection.commit()
        assert isinstance(collection.index, Segments)
        kinds.append([segment.index.kind for segment in collection.index.segments])
    assert kinds[2] == ["exact"]
    assert kinds[3] == ["graph"]
    assert kinds[6] == ["graph", "exact"]
    assert kinds[7] == ["graph"]
    collection.verify()
    everything = np.concatenate([rows(100, i) for i in range(9)])
    assert (collection.search(everything, k=1, recall=0.99).ids[:, 0] == np.arange(900)).mean() > 0.98
    plan = collection.explain(filter=np.arange(900) < 450)
    assert "450 of 800 rows pass" in repr(plan)
    assert "other segments" not in repr(plan)
    assert "100 rows of 1 other segments exactly" in repr(collection.explain(k=1))


def test_a_search_of_segments_is_that_of_one_index(tmp_path: Path) -> None:
    """Ties across segments too: vectors repeat."""
    rng = np.random.default_rng(3)
    vectors = rng.integers(-1, 2, size=(300, DIM)).astype(np.float32) + np.float32(0.5)
    ids = rng.permutation(300)
    collection = Collection.create(tmp_path / "c", dim=DIM, metric="l2")
    for part in (slice(0, 210), slice(210, 280), slice(280, 300)):
        collection.add(vectors[part], ids=ids[part])
        collection.commit()
    gone = ids[[5, 17, 210, 290]]
    collection.delete(gone)
    assert sizes(collection) == [210, 70, 20]
    whole = engine.Index(DIM, metric="l2")
    live = ~np.isin(ids, gone)
    whole.add(vectors[live], ids=ids[live])
    queries = rng.integers(-1, 2, size=(20, DIM))
    order = {key: row for row, key in enumerate(whole.ids.tolist())}
    rank = np.array([order[key] for key in collection.index.ids.tolist()])
    mask = rng.random(296) < 0.3
    for k in (1, 10, 296, 400):
        for ours, theirs in ((None, None), (mask[rank], mask), (ids[live][:40], ids[live][:40])):
            found, expected = collection.search(queries, k, filter=ours), whole.search(queries, k, filter=theirs)
            np.testing.assert_array_equal(found.ids, expected.ids)
            np.testing.assert_array_equal(found.distances, expected.distances)
            assert found.stats.selectivity == pytest.approx(expected.stats.selectivity)
    near, expected_near = collection.index.range_search(queries, 6.0), whole.range_search(queries, 6.0)
    np.testing.assert_array_equal(near.offsets, expected_near.offsets)
    np.testing.assert_array_equal(near.ids, expected_near.ids)
    np.testing.assert_array_equal(near.distances, expected_near.distances)


def test_what_was_committed_is_mapped(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "c", dim=64)
    vectors = np.random.default_rng(0).normal(size=(9000, 64)).astype(np.float32)
    collection.add(vectors)
    before = collection.search(vectors[:20], k=5)
    collection.commit()
    assert f"{tmp_path}/c/000000-vectors.npy" in Path("/proc/self/maps").read_text()
    assert (collection.search(vectors[:20], k=5).ids == before.ids).all()
    collection.delete([3])
    assert collection.add(vectors[3]).tolist() == [9000]
    collection.commit()
    assert collection.search(vectors[3], k=1).ids.tolist() == [[9000]]


def test_ids_across_segments(tmp_path: Path) -> None:
    collection = filled(tmp_path / "c")
    with pytest.raises(InvalidArgumentError, match=r"ids\[1\] is 7, which is in the index already"):
        collection.add(rows(2), ids=[100, 7])
    with pytest.raises(InvalidArgumentError, match="99, which is not in the collection"):
        collection.delete([99])
    with pytest.raises(InvalidArgumentError, match="99, which is not in the index"):
        collection.get([99])
    collection.delete([7])
    assert collection.add(rows(2, 1), ids=[100, 7]).tolist() == [100, 7]
    np.testing.assert_array_equal(collection.get([7, 0]), [rows(2, 1)[1], rows(1)[0]])
    assert collection.add(rows(1)).tolist() == [101]
    collection.add(rows(1), ids=[2**63 - 1])
    with pytest.raises(InvalidArgumentError, match="give them"):
        collection.add(rows(1))
    collection.commit()
    Collection.open(tmp_path / "c").verify()


@pytest.mark.parametrize("n_segments", [0, 1, 2])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": [[1.0, 2.0]]}, "queries have dim 2|queries has dim 2"),
        ({"queries": [[1e39] * 4]}, r"queries\[0, 0\] is 1e\+39"),
        ({"queries": [[np.nan] * 4]}, r"queries\[0, 0\] is nan"),
        ({"k": 0}, "k is 0"),
        ({"k": "a"}, "k is 'a'"),
        ({"recall": 2}, "recall is 2"),
        ({"ef": 0}, "ef is 0"),
        ({"recall": 0.9, "ef": 9}, "recall is 0.9 and ef 9"),
        ({"executor": "walk"}, "executor is 'walk'"),
    ],
)
def test_what_is_wrong_is_said_whatever_the_segments(
    tmp_path: Path, n_segments: int, change: dict[str, Any], message: str
) -> None:
    collection = Collection.create(tmp_path / "c", dim=4, kind="graph")
    for n in (40, 9)[:n_segments]:
        collection.add(np.random.default_rng(n).standard_normal((n, 4)))
        collection.commit()
    assert len(sizes(collection)) == n_segments
    if n_segments == 0 and "queries" in change and len(change["queries"][0]) == 4:
        message = "no vectors to search"
    with pytest.raises((InvalidArgumentError, engine.NotBuiltError), match=message):
        collection.index.search(**{"queries": [[1.0] * 4], "k": 3, **change})
