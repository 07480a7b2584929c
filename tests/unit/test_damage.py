"""Folders of collections with damaged files: an error of ours says so, whatever was done to them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import check, files, forge, make, use
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Collection, CorruptIndexError, StorageError

KINDS = ("exact", "graph")
IDS = [i for i in range(86) if i != 5]


@pytest.fixture(scope="module", params=KINDS)
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never changed."""
    path = tmp_path_factory.mktemp("sound") / str(request.param)
    make(path, request.param).close()
    return path


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "c"))


def refused(folder: Path, what: str = "") -> None:
    """Opening the version that is concerned, or at the latest verifying all of them, says that it is damaged."""
    with pytest.raises(CorruptIndexError) as caught:  # noqa: PT012
        opened = Collection.open(folder)
        check(opened, IDS)
        opened.verify()
    assert str(folder) in str(caught.value), what


def changed(path: Path, raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Damage of every sort, at some places of a file."""
    rng = np.random.default_rng(len(raw))
    for place in {
        *rng.integers(0, min(len(raw), 64), 3).tolist(),
        *rng.integers(0, len(raw), 4).tolist(),
        len(raw) - 1,
    }:
        flipped = bytearray(raw)
        flipped[place] ^= 1 << int(rng.integers(8))
        yield f"{path.name}: bit in {place}", bytes(flipped)
    for length in {0, len(raw) // 2, len(raw) - 1}:
        yield f"{path.name}: cut to {length}", raw[:length]
    for tail in (b"\0", raw[:64]):
        yield f"{path.name}: grown by {len(tail)}", raw + tail


def test_the_sound_one_is_sound(folder: Path) -> None:
    opened = Collection.open(folder)
    check(opened, IDS)
    opened.verify()
    assert opened.attributes["share"][opened.index.ids == 70].tolist() == [500.0]


def test_damage_to_any_file_is_found(folder: Path) -> None:
    n = 0
    for path in files(folder):
        raw = path.read_bytes()
        for what, damaged in changed(path, raw):
            if damaged != raw:
                path.write_bytes(damaged)
                refused(folder, what)
                n += 1
        path.write_bytes(raw)
    assert n > 400
    Collection.open(folder).verify()


@pytest.mark.parametrize("mode", ["r", "w"])
def test_damage_is_found_when_the_version_is_opened(folder: Path, mode: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())["manifest"]
    for entry in manifest["segments"][0]["arrays"].values():
        path = folder / entry["file"]
        raw = path.read_bytes()
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 4]))
        with pytest.raises(CorruptIndexError, match=path.name):
            Collection.open(folder, mode=mode)
        path.write_bytes(raw)
    Collection.open(folder, mode=mode).close()  # the lock was let go of


def test_files_that_are_missing_swapped_or_something_else(folder: Path) -> None:
    for path in files(folder):
        kept = path.read_bytes()
        path.unlink()
        if path.name == "manifest.json":
            with pytest.raises(StorageError, match="holds no collection"):
                Collection.open(folder)
        else:
            refused(folder, f"{path.name} missing")
        path.mkdir()
        with pytest.raises((CorruptIndexError, StorageError)):
            Collection.open(folder).verify()
        path.rmdir()
        path.write_bytes(kept)
    one, other = (next(p for p in files(folder) if p.name.endswith(end)) for end in ("-vectors.npy", "-ids.npy"))
    for first, second in ((one, other), (folder / "manifest.json", folder / "manifest-2.json")):
        contents = first.read_bytes(), second.read_bytes()
        first.write_bytes(contents[1])
        second.write_bytes(contents[0])
        with pytest.raises(CorruptIndexError):
            Collection.open(folder)
        first.write_bytes(contents[0])
        second.write_bytes(contents[1])


def test_an_older_manifest_is_not_taken_for_the_last(folder: Path) -> None:
    for version in (2, 3):
        shutil.copy(folder / f"manifest-{version}.json", folder / "manifest.json")
        with pytest.raises(CorruptIndexError, match=f"version {version}, not the last one"):
            Collection.open(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(folder: Path) -> None:
    files(folder)[0].chmod(0)
    with pytest.raises(StorageError, match="Permission denied"):
        Collection.open(folder)


def test_of_another_version(folder: Path) -> None:
    for change, message in (({"format_version": 2}, "version 2"), ({"format": "other"}, "'other'")):
        forge(folder, lambda manifest: manifest.update(change))  # noqa: B023
        with pytest.raises(CorruptIndexError, match=message):
            Collection.open(folder)
        forge(folder, lambda manifest: manifest.update(format_version=1, format="nearfield.collection"))


# ---- checksums that an attacker has made anew


values: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63, 2**64, 2**200, -(2**63)]),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["exact", "graph", "cosine", "int8", "fast", "keyword", "keywords", "../x", "<f8", "|O"]),
    st.lists(st.integers(-1, 3), max_size=3),
    st.just({}),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every member of every object and list, below `value`."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []:
        yield value, key
        yield from places(value[key])


@settings(max_examples=30)
@given(data=st.data())
def test_a_forged_manifest_does_no_harm(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "forged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)

    def change(manifest: dict[str, Any]) -> None:
        for _ in range(data.draw(st.integers(1, 2))):
            every = list(places(manifest))
            inside, key = every[data.draw(st.integers(0, len(every) - 1))]
            what = data.draw(st.sampled_from(["change", "remove", "copy"]))
            if what == "remove":
                del inside[key]
            elif what == "copy":
                other, which = every[data.draw(st.integers(0, len(every) - 1))]
                inside[key] = json.loads(json.dumps(other[which]))
            else:
                inside[key] = data.draw(values)

    try:
        forge(folder, change)
    except (ValueError, AttributeError, TypeError):  # what JSON cannot hold, or segments that are none
        return
    use(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_forged_center_is_refused(folder: Path, value: float) -> None:
    path = next(path for path in files(folder) if "center" in path.name)
    center = np.load(path)
    center[2] = value
    np.save(path, center)
    forge(folder, lambda manifest: None)
    with pytest.raises(CorruptIndexError, match=r"center\[2\] is NaN or Inf"):
        Collection.open(folder)


@settings(max_examples=30)
@given(data=st.data())
def test_forged_arrays_do_no_harm(sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "forged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    arrays = [path for path in files(folder) if path.suffix == ".npy"]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(arrays))
        raw = bytearray(path.read_bytes())
        begin = 10 + int.from_bytes(raw[8:10], "little")
        if len(raw) == begin:
            continue
        start = data.draw(st.integers(begin, len(raw) - 1))
        given = data.draw(st.sampled_from([b"\xff" * 8, b"\x80", b"\0" * 16, b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f"]))
        raw[start : start + len(given)] = given[: len(raw) - start]
        path.write_bytes(raw)
    forge(folder, lambda manifest: None)
    use(folder)
