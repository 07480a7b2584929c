"""Folders beyond 2**31 elements and 2**32 bytes an array, in sparse files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from engine import Collection
from engine._folder import framed, npy_header
from engine.storage import checksum, map_file

N, DIM = 2**20 + 3, 4096


@pytest.mark.stress
def test_an_array_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """Rows of zeros but for the last; whatever counts rows, elements or bytes in 32 bits does not find it."""
    last = np.arange(1, DIM + 1, dtype=np.float32)
    with Collection.create(tmp_path / "c", dim=DIM, metric="l2") as collection:
        collection.add([last])
    raw = (tmp_path / "c" / "manifest.json").read_bytes()
    manifest = json.loads(raw)["manifest"]
    (segment,) = manifest["segments"]
    segment["rows"], segment["header"]["next_id"], manifest["index"]["next_id"] = N, N, N
    for name, entry in segment["arrays"].items():
        path = tmp_path / "c" / entry["file"]
        small = np.load(path)
        if name == "center":
            continue
        per_row = small.size - 64 if name in ("high", "low") else small.size  # zeros follow the last row of these
        rows = N * per_row // (DIM if name == "vectors" else 1)
        shape = (N, DIM) if name == "vectors" else (rows + (64 if name in ("high", "low") else 0),)
        entry["shape"], entry["nbytes"] = list(shape), int(np.prod(shape)) * small.itemsize
        header = npy_header(small.dtype, shape)
        path.write_bytes(header)
        os.truncate(path, len(header) + entry["nbytes"])
        whole = np.memmap(path, small.dtype, "r+", offset=len(header), shape=shape)
        if name == "ids":
            whole[:] = np.arange(N)
        elif name == "vectors":
            whole[-1] = small[0]
        else:
            whole[(N - 1) * per_row : N * per_row] = small[:per_row]
        whole.flush()
        with path.open("rb") as file:
            entry["xxh3_64"] = f"{checksum(map_file(file)):016x}"
    (tmp_path / "c" / "manifest.json").write_bytes(framed(json.dumps(manifest).encode()))
    assert segment["arrays"]["vectors"]["nbytes"] > 2**34
    opened = Collection.open(tmp_path / "c")
    assert len(opened) == N
    np.testing.assert_array_equal(opened.get([N - 1, 0]), [last, np.zeros(DIM)])
    found = opened.search(last, k=2, exact=True)
    assert found.ids.tolist() == [[N - 1, 0]]
    assert found.distances[0, 0] == 0
    path = tmp_path / "c" / segment["arrays"]["vectors"]["file"]
    with path.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\x07")
    with pytest.raises(ValueError, match="checksum"):
        Collection.open(tmp_path / "c")
