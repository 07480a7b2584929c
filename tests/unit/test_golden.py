"""Files that earlier releases wrote: each is loaded for ever, and holds what it held."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine import Collection

GOLDEN = Path(__file__).parent.parent / "golden"
N = 24
IDS = [3 * i for i in range(N) if i not in (3, 10)]
VECTORS = np.random.default_rng(7).integers(-9, 9, size=(N, 4)).astype(np.float32)

KINDS = ("exact", "graph")
NAMES = [f"{form}-{kind}" for form in ("collection-2", "collection-3", "folder-1") for kind in KINDS]


def golden(name: str, folder: Path) -> Path:
    """A file as it is, or a folder unpacked."""
    if (GOLDEN / f"{name}.nrf").exists():
        return GOLDEN / f"{name}.nrf"
    shutil.unpack_archive(GOLDEN / f"{name}.zip", folder / name)
    return folder / name


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_what_it_held(name: str, tmp_path: Path) -> None:
    collection = Collection.open(golden(name, tmp_path))
    assert sorted(collection.index.ids.tolist()) == IDS
    assert collection.index.metadata == {"made": "once"} or name.startswith("collection-2")
    np.testing.assert_array_equal(collection.get(IDS), VECTORS[np.array(IDS) // 3])
    for id_ in IDS:
        i = id_ // 3
        found = collection.search(VECTORS[i], k=1, exact=True, columns=list(collection.schema))
        assert (found.ids.item(), found.distances.item()) == (id_, 0)
        row = {column: values.item() for column, values in found.attributes.items()}
        assert row["label"] == (None if i % 5 == 4 else "grün" if i % 2 else "red")
        assert row["year"] == (None if i % 7 == 6 else 2000 + i)
        assert row["score"] == i / 8
        assert row["new"] is (i % 3 == 0)
        assert found.attributes["seen"].item() == (np.datetime64("2024-01-01T00:00:00", "us") + i).item()
        if "tags" in row:
            assert row["tags"] == ("a", "b")[: i % 3]
    collection.verify()


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_gone_on_with(kind: str, tmp_path: Path) -> None:
    path = golden(f"folder-1-{kind}", tmp_path)
    assert len(Collection.open(path, version=2)) == 16
    with Collection.open(path, mode="w") as collection:
        assert collection.add([[1, 2, 3, 4]], attributes={"year": [7]}).tolist() == [3 * (N - 1) + 1]
    again = Collection.open(path)
    assert (len(again), again.count("year = 7")) == (len(IDS) + 1, 1)
    again.verify()
