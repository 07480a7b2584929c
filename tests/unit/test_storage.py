"""engine.storage: what was written comes back, or an error says why not."""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from engine import storage
from engine.exceptions import CorruptIndexError, InvalidArgumentError, StorageError
from engine.storage import read_container, write_container

Arrays = dict[str, NDArray[Any]]

HEADER = {"metric": "cosine", "dim": 3, "metadata": {"name": "ä", "nested": [1, 2.5, None, True, "x"]}}
ARRAYS: Arrays = {
    "vectors": np.arange(15, dtype=np.float32).reshape(5, 3),
    "half": np.arange(6, dtype=np.float16).reshape(2, 3),
    "ids": np.array([3, 1, 2, 9, 2**62], np.int64),
    "empty": np.empty((0, 3), np.uint16),
    "mask": np.array([True, False, True]),
    "scalar": np.array(7.5),
    "aligned": np.arange(64, dtype=np.uint8),
}

both = pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "memory"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small file of ours."""
    path = tmp_path / "small.nrf"
    write_container(path, HEADER, ARRAYS)
    return path


def same(left: Arrays, right: Arrays) -> bool:
    """Names in order, dtypes, shapes and every bit."""
    return list(left) == list(right) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(left.values(), right.values(), strict=True)
    )


def refused(path: Path, **options: bool) -> str:
    """The message of the CorruptIndexError that reading `path` must give."""
    with pytest.raises(CorruptIndexError) as caught:
        read_container(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


def forge(
    path: Path, text: bytes, body: bytes = b"", version: int = storage.VERSION, n_bytes: int | None = None
) -> None:
    """Write a file with valid checksums around any header and body."""
    padding = bytes(-len(text) % 64)
    size = 64 + len(text) + len(padding) + len(body)
    n_bytes = len(text) if n_bytes is None else n_bytes
    preamble = storage.MAGIC + struct.pack("<QQQQ16x", version, n_bytes, xxhash.xxh3_64_intdigest(text), size)
    path.write_bytes(preamble + xxhash.xxh3_64_digest(preamble)[::-1] + text + padding + body)


# ---- what was written comes back


@both
@pytest.mark.parametrize("verify", [True, False])
def test_round_trip(path: Path, mmap: bool, verify: bool) -> None:
    header, arrays = read_container(path, mmap=mmap, verify=verify)
    assert header == HEADER
    assert same(arrays, ARRAYS)
    for array in arrays.values():
        assert array.ctypes.data % 64 == 0 or array.size == 0
        assert array.flags.writeable is not mmap


@both
def test_nothing_at_all(tmp_path: Path, mmap: bool) -> None:
    write_container(tmp_path / "x", {}, {})
    assert read_container(tmp_path / "x", mmap=mmap) == ({}, {})


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(20)[::-3],
        np.arange(5, dtype=">i4"),
        np.arange(5, dtype=">f8").reshape(5, 1)[::2],
    ],
    ids=["transposed", "fortran", "strided", "big-endian", "big-endian-strided"],
)
def test_layout_in_memory_does_not_matter(tmp_path: Path, array: NDArray[Any]) -> None:
    write_container(tmp_path / "x", {}, {"a": array})
    read = read_container(tmp_path / "x")[1]["a"]
    assert read.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(read, array)


def test_longer_than_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CHUNK", 100)
    array = np.arange(1001, dtype=np.uint16)
    write_container(tmp_path / "x", {}, {"a": array})
    for mmap in (True, False):
        np.testing.assert_array_equal(read_container(tmp_path / "x", mmap=mmap)[1]["a"], array)
    damaged = bytearray((tmp_path / "x").read_bytes())
    damaged[-200] ^= 1
    (tmp_path / "x").write_bytes(damaged)
    assert "checksum of array 'a'" in refused(tmp_path / "x")


names = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
any_array = st.sampled_from(sorted(storage.DTYPES)).flatmap(
    lambda code: npst.arrays(code, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)


@given(header=st.dictionaries(names, json_values, max_size=4), arrays=st.dictionaries(names, any_array, max_size=4))
def test_any_content_comes_back(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], arrays: Arrays
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.nrf"
    write_container(path, header, arrays)
    for mmap in (True, False):
        read_header, read_arrays = read_container(path, mmap=mmap)
        assert read_header == header
        assert same(read_arrays, arrays)


def test_the_document_tells_the_truth(path: Path) -> None:
    """Reads a file by docs/file_format.md alone."""
    raw = path.read_bytes()
    magic, version, n, checksum, size = struct.unpack("<8sQQQQ", raw[:40])
    assert (magic, version, size, raw[40:56]) == (b"\x93NRF\r\n\x1a\n", 2, len(raw), bytes(16))
    assert struct.unpack("<Q", raw[56:64])[0] == xxhash.xxh3_64_intdigest(raw[:56])
    text = raw[64 : 64 + n]
    assert checksum == xxhash.xxh3_64_intdigest(text)
    first = -(-(64 + n) // 64) * 64
    entry = json.loads(text.decode("ascii"))["arrays"]["vectors"]
    assert sorted(entry) == ["dtype", "nbytes", "offset", "shape", "xxh3_64"]
    block = raw[first + entry["offset"] :][: entry["nbytes"]]
    assert entry["xxh3_64"] == xxhash.xxh3_64_hexdigest(block)
    np.testing.assert_array_equal(np.frombuffer(block, entry["dtype"]).reshape(entry["shape"]), ARRAYS["vectors"])


# ---- damage


@both
def test_every_flipped_byte_is_found(path: Path, mmap: bool) -> None:
    raw = path.read_bytes()
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= (0x01, 0x80, 0xFF)[position % 3]
        path.write_bytes(damaged)
        refused(path, mmap=mmap)


@both
@pytest.mark.parametrize("verify", [True, False])
def test_every_cut_is_found(path: Path, mmap: bool, verify: bool) -> None:
    raw = path.read_bytes()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        message = refused(path, mmap=mmap, verify=verify)
        assert ("is empty" if length == 0 else "cut short" if length >= 8 else "not a nearfield index") in message


@both
@pytest.mark.parametrize("tail", [b"\0", b"\0" * 64, b"x" * 1000])
def test_growth_is_found(path: Path, mmap: bool, tail: bytes) -> None:
    path.write_bytes(path.read_bytes() + tail)
    assert "too long" in refused(path, mmap=mmap)


@both
@given(data=st.data())
def test_random_damage_is_found(tmp_path_factory: pytest.TempPathFactory, mmap: bool, data: st.DataObject) -> None:
    """Several bytes at once, swapped blocks, zeroed and repeated spans."""
    path = tmp_path_factory.getbasetemp() / f"random-{mmap}.nrf"
    write_container(path, HEADER, ARRAYS)
    raw = path.read_bytes()
    damaged = bytearray(raw)
    places = st.integers(0, len(raw))
    for _ in range(data.draw(st.integers(1, 4))):
        start, stop, other = sorted([data.draw(places), data.draw(places)]) + [data.draw(places)]
        kind = data.draw(st.sampled_from(["zero", "copy", "delete", "insert", "noise"]))
        if kind == "zero":
            damaged[start:stop] = bytes(len(damaged[start:stop]))
        elif kind == "copy":
            damaged[other : other + stop - start] = damaged[start:stop]
        elif kind == "delete":
            del damaged[start:stop]
        elif kind == "insert":
            damaged[start:start] = damaged[other : other + 64]
        else:
            damaged[start : start + 8] = data.draw(st.binary(min_size=8, max_size=8))
    path.write_bytes(damaged)
    if damaged == raw:
        assert same(read_container(path, mmap=mmap)[1], ARRAYS)
    else:
        refused(path, mmap=mmap)


@both
@given(raw=st.binary(max_size=200))
def test_noise_is_refused(tmp_path_factory: pytest.TempPathFactory, mmap: bool, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.nrf"
    for content in (raw, storage.MAGIC + raw):
        path.write_bytes(content)
        refused(path, mmap=mmap)


@both
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"once upon a time\n", "not a nearfield index: it begins with b'once upo'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a nearfield index"),
        (b"\x93NUMPY\x01\x00" + bytes(100), "not a nearfield index"),
        (b"\x80\x04\x95" + bytes(100), "not a nearfield index"),
        (storage.MAGIC.replace(b"\r\n", b"\n") + bytes(100), "not a nearfield index"),
        (storage.MAGIC, "cut short: it ends after 8 bytes"),
    ],
    ids=["empty", "text", "png", "npy", "pickle", "text-mode", "magic-only"],
)
def test_files_of_others(tmp_path: Path, mmap: bool, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    assert message in refused(tmp_path / "x", mmap=mmap)


def test_newer_version(tmp_path: Path) -> None:
    forge(tmp_path / "x", b'{"header": {}, "arrays": {}}', version=3)
    assert "format version 3, this release reads version 2" in refused(tmp_path / "x")


def test_without_verify_damage_in_a_large_array_passes_and_nothing_else(path: Path) -> None:
    large = np.arange(300_001, dtype=np.float32)  # not whole lines, so padding follows
    write_container(path, {}, {**ARRAYS, "large": large})
    raw = path.read_bytes()

    def damage(place: int) -> None:
        path.write_bytes(raw[:place] + b"\xff" + raw[place + 1 :])

    start = raw.index(large.tobytes())
    damage(start + 4)
    assert "checksum of array 'large'" in refused(path)
    arrays = read_container(path, verify=False)[1]
    assert arrays["large"][1] != 1
    with pytest.raises(CorruptIndexError, match="checksum of array 'large'"):
        arrays.verify()
    damage(raw.index(ARRAYS["ids"].tobytes()))
    assert "checksum of array 'ids'" in refused(path, verify=False)
    damage(start + large.nbytes)
    assert "padding behind its array 'large'" in refused(path, verify=False)


GOOD = {"dtype": "|u1", "shape": [64], "offset": 0, "nbytes": 64, "xxh3_64": xxhash.xxh3_64_hexdigest(bytes(64))}


def with_entry(**changes: Any) -> bytes:
    return json.dumps({"header": {}, "arrays": {"a": {**GOOD, **changes}}}).encode()


def test_the_forger_can_forge(tmp_path: Path) -> None:
    """The good entry passes, so the changed ones below fail for their change."""
    forge(tmp_path / "x", with_entry(), bytes(64))
    assert same(read_container(tmp_path / "x")[1], {"a": np.zeros(64, np.uint8)})


@both
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b"\xff\xfe",
        b"1" * 5000,
        b"[" * 100_000,
        b'{"header": {}, "arrays": []}',
        b'{"header": [], "arrays": {}}',
        b'{"header": {}, "arrays": {"a": null}}',
        b'{"header": {}, "arrays": {}}',
        with_entry(dtype="|O"),
        with_entry(dtype="<f4"),
        with_entry(dtype=["|u1"]),
        with_entry(dtype="|V1"),
        with_entry(shape=64),
        with_entry(shape="64"),
        with_entry(shape=[-64]),
        with_entry(shape=[-8, -8]),
        with_entry(shape=[64.0]),
        with_entry(shape=[True, 64]),
        with_entry(shape=[63]),
        with_entry(shape=[1] * 40 + [64]),
        with_entry(shape=[2**62, 4]),
        with_entry(shape=[2**70], nbytes=2**70),
        with_entry(shape=[0, 2**70], nbytes=0),
        with_entry(shape=[0, 2**40, 2**40], nbytes=0),
        with_entry(shape=[128], nbytes=128),
        with_entry(nbytes=64.0),
        with_entry(nbytes=-64),
        with_entry(offset=64),
        with_entry(offset=-64),
        with_entry(offset=2**63),
        with_entry(offset=None),
        with_entry(xxh3_64=None),
        with_entry(xxh3_64="0" * 16),
        json.dumps({"header": {}, "arrays": {"a": GOOD, "b": GOOD}}).encode(),
        json.dumps({"header": {}, "arrays": {"a": {**GOOD, "shape": [32], "nbytes": 32}}}).encode(),
    ],
)
def test_a_forged_header_is_refused(tmp_path: Path, mmap: bool, text: bytes) -> None:
    """Valid checksums around a lie: no allocation, no other error, no array."""
    forge(tmp_path / "x", text, bytes(64))
    refused(tmp_path / "x", mmap=mmap)


@pytest.mark.parametrize("n_bytes", [65, 2**40, 2**64 - 1, 2**63])
def test_a_forged_header_length_is_refused(tmp_path: Path, n_bytes: int) -> None:
    forge(tmp_path / "x", b'{"header": {}, "arrays": {}}', n_bytes=n_bytes)
    assert "does not fit" in refused(tmp_path / "x")


# ---- failures of the disk


def files(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def fail(code: int) -> Callable[..., Any]:
    def failing(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return failing


@pytest.mark.parametrize("function", ["fsync", "replace", "fchmod"])
def test_a_failing_call_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    before = files(path.parent)
    monkeypatch.setattr(os, function, fail(errno.EIO))
    with pytest.raises(StorageError, match="cannot write index") as caught:
        write_container(path, {}, {"other": np.arange(5)})
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))
    assert isinstance(caught.value, OSError)
    monkeypatch.undo()
    assert files(path.parent) == before


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    """The kernel itself stops the writing, in the middle of an array."""
    import resource
    import signal

    before = files(path.parent)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(StorageError) as caught:
            write_container(path, {}, {"large": np.zeros(1_000_000, np.uint8)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert files(path.parent) == before


def test_ctrl_c_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(path.parent)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_container(path, {}, {})
    monkeypatch.undo()
    assert files(path.parent) == before


def test_everything_is_synced_in_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(descriptor: int) -> None:
        calls.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def watch_replace(source: str, target: str) -> None:
        calls.append("replace")
        assert read_container(source)[0] == {"new": True}
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    write_container(path, {"new": True}, {})
    assert calls == ["fsync file", "replace", "fsync folder"]
    assert list(files(path.parent)) == [path.name]


@pytest.mark.parametrize("target", ["missing/x.nrf", "folder", "small.nrf/x"])
def test_impossible_targets(path: Path, target: str) -> None:
    (path.parent / "folder").mkdir()
    before = files(path.parent)
    with pytest.raises(StorageError, match="cannot write index"):
        write_container(path.parent / target, {}, {})
    assert files(path.parent) == before


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read index: No such file.*missing\.nrf") as caught:
        read_container(tmp_path / "missing.nrf")
    assert caught.value.errno == errno.ENOENT


def test_reading_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path)


def test_a_mapped_file_may_be_replaced(path: Path) -> None:
    _, arrays = read_container(path)
    write_container(path, HEADER, {name: array + array for name, array in arrays.items()})
    assert same(arrays, ARRAYS)


def test_links_and_permissions_survive(path: Path) -> None:
    path.chmod(0o640)
    link = path.parent / "link.nrf"
    link.symlink_to(path.name)
    write_container(link, {"new": 1}, {})
    assert link.is_symlink()
    assert read_container(path)[0] == {"new": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_container(tmp_path / "x", {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


# ---- arguments


@pytest.mark.parametrize(
    "header",
    [{"a": np.int64(1)}, {"a": {1}}, {"a": float("nan")}, {"a": float("inf")}, {1: "a"}, {"a": (1, 2)}, {"a": b"x"}],
    ids=["numpy", "set", "nan", "inf", "int-key", "tuple", "bytes"],
)
def test_headers_that_json_would_change_are_refused(tmp_path: Path, header: dict[Any, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="header"):
        write_container(tmp_path / "x", header, {})
    assert not files(tmp_path)


def test_endless_headers_are_refused(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(InvalidArgumentError, match="header"):
        write_container(tmp_path / "x", endless, {})


@pytest.mark.parametrize("dtype", [object, "U3", "S3", "M8[s]", "c8", "V4", [("a", "f4")]])
def test_other_dtypes_are_refused(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="array 'a' has dtype"):
        write_container(tmp_path / "x", {}, {"a": np.empty(2, dtype)})
    assert not files(tmp_path)


def test_a_path_must_be_a_path() -> None:
    with pytest.raises(InvalidArgumentError, match="path is 3"):
        write_container(3, {}, {})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="path is 'a"):
        read_container("a\0b")
