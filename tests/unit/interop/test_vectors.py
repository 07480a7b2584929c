"""engine.interop: files of vectors, written and read, and damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import CorruptIndexError, InvalidArgumentError, StorageError
from engine.interop import read_benchmark, read_vectors, write_vectors

FLOATS = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
BYTES = np.arange(35, dtype=np.uint8).reshape(7, 5)
OF_NAME: dict[str, Any] = {
    "x.npy": FLOATS,
    "x.fvecs": FLOATS,
    "x.bvecs": BYTES,
    "x.ivecs": BYTES.astype(np.int32) - 9,
    "x.fbin": FLOATS,
    "x.u8bin": BYTES,
    "x.i8bin": BYTES.astype(np.int8) - 9,
    "x.safetensors": FLOATS,
    "x.hdf5": FLOATS,
}


@pytest.mark.parametrize("name", OF_NAME)
def test_round_trip(name: str, tmp_path: Path) -> None:
    needs(name)
    write_vectors(tmp_path / name, OF_NAME[name])
    found = read_vectors(tmp_path / name)
    assert found.dtype == OF_NAME[name].dtype
    np.testing.assert_array_equal(found, OF_NAME[name])


def needs(name: str) -> None:
    if name.endswith("hdf5"):
        pytest.importorskip("h5py")
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")


def test_bytes_are_as_others_have_them(tmp_path: Path) -> None:
    write_vectors(tmp_path / "x.fvecs", [[1.0, 2.0]])
    assert (tmp_path / "x.fvecs").read_bytes() == b"\2\0\0\0\0\0\x80\x3f\0\0\0\x40"
    write_vectors(tmp_path / "x.u8bin", [[1, 2], [3, 4]])
    assert (tmp_path / "x.u8bin").read_bytes() == b"\2\0\0\0\2\0\0\0\1\2\3\4"
    write_vectors(tmp_path / "x.npy", FLOATS)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), FLOATS)


@pytest.mark.parametrize("name", OF_NAME)
def test_every_cut_and_growth_is_found(name: str, tmp_path: Path) -> None:
    needs(name)
    if name.endswith("hdf5"):
        pytest.skip("HDF5 checks what it needs itself")
    write_vectors(tmp_path / name, OF_NAME[name])
    raw = (tmp_path / name).read_bytes()
    for damaged in (raw[:-1], raw[: len(raw) // 2], raw[:3], b"", raw + b"\0"):
        (tmp_path / name).write_bytes(damaged)
        if name == "x.npy" and len(damaged) > len(raw):
            continue  # numpy maps what it needs
        with pytest.raises(CorruptIndexError, match=r"x\."):
            read_vectors(tmp_path / name)


def test_rows_of_other_lengths(tmp_path: Path) -> None:
    raw = np.array([[2, 1, 2], [1, 1, 2]], "<i4")
    (tmp_path / "x.ivecs").write_bytes(raw.tobytes())
    with pytest.raises(CorruptIndexError, match="dim 1 in row 1, expected 2"):
        read_vectors(tmp_path / "x.ivecs")


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="expected a name that ends in one of"):
        read_vectors("x.txt")
    with pytest.raises(InvalidArgumentError, match=r"shape \(3,\)"):
        write_vectors(tmp_path / "x.npy", [1, 2, 3])
    with pytest.raises(InvalidArgumentError, match=r"vectors\[0, 1\] is 256, expected what uint8 can hold"):
        write_vectors(tmp_path / "x.bvecs", [[1, 256]])
    with pytest.raises(StorageError, match="No such file"):
        read_vectors(tmp_path / "none.fbin")
    with pytest.raises(StorageError):
        write_vectors(tmp_path / "no" / "x.fbin", FLOATS)


def test_tensors_by_name(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    library.save_file({"a": FLOATS, "b": FLOATS + 1}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(read_vectors(tmp_path / "x.safetensors", key="b"), FLOATS + 1)
    with pytest.raises(InvalidArgumentError, match=r"key is None, but .* has \['a', 'b'\]"):
        read_vectors(tmp_path / "x.safetensors")
    with pytest.raises(InvalidArgumentError, match="key is 'c'"):
        read_vectors(tmp_path / "x.safetensors", key="c")


def test_a_file_of_ann_benchmarks(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.attrs["distance"] = "angular"
        file["train"], file["test"], file["neighbors"] = FLOATS, FLOATS[:2], BYTES[:2].astype(np.int32)
        file["distances"] = FLOATS[:2]
    found = read_benchmark(tmp_path / "x.hdf5")
    assert (found.metric, found.neighbors.dtype) == ("cosine", np.int64)
    np.testing.assert_array_equal(found.train, FLOATS)
    np.testing.assert_array_equal(read_vectors(tmp_path / "x.hdf5"), FLOATS)
    (tmp_path / "x.hdf5").write_bytes(b"not HDF5")
    with pytest.raises(CorruptIndexError, match="cannot be read"):
        read_vectors(tmp_path / "x.hdf5")


def test_headers_that_numpy_stumbles_over(tmp_path: Path) -> None:
    for header in (
        b"{'descr': '<f4', 'fortran_order': False, 'shape' :(4, 3",
        b"{'a': (",
        b"\xff",
        b"[1, 2]",
        b"(" * 90,
    ):
        raw = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(48)
        (tmp_path / "x.npy").write_bytes(raw)
        with pytest.raises(CorruptIndexError, match=r"not a sound \.npy file"):
            read_vectors(tmp_path / "x.npy")
