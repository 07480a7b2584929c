"""Attributes stay beside their rows, whatever happens to the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import engine
from engine import Collection, CorruptIndexError
from engine.attributes import Attributes
from engine.storage import read_container, write_container


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_rows_that_came_before_the_attributes(kind: engine.types.IndexKind) -> None:
    """An index may hold rows already: they have no values."""
    index = engine.Index(2, metric="l2", kind=kind)
    index.add(np.eye(2), ids=[7, 3])
    collection = Collection(index)
    collection.upsert([[5, 5]], [9], attributes={"year": [2020]})
    assert collection.search([0, 0], 3, filter="year = 2020").ids.tolist() == [[9, -1, -1]]
    assert sorted(collection.search([0, 0], 3, filter="year IS NULL").ids[0, :2].tolist()) == [3, 7]
    collection.update([3], {"year": [2020]})
    assert collection.search([0, 0], 3, filter="year = 2020").ids.tolist() == [[3, 9, -1]]


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_an_insertion_that_fails_halfway(kind: engine.types.IndexKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph keeps the places of the rows that it took and lost again, or drops them and others at once."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((90, 4))
    collection = Collection.create(dim=4, kind=kind)
    collection.add(vectors[:50], attributes={"row": np.arange(50)})

    def check(rows: list[int]) -> None:
        assert collection.count("row >= 0") == len(collection) == len(rows)
        for wanted in ([row for row in rows if row % 2], rows[-3:]):
            found = collection.search(vectors[0], len(wanted) + 1, filter={"row": {"$in": wanted}}, columns=["row"])
            assert found.ids[0, -1] == -1
            assert sorted(found.attributes["row"][0, :-1].tolist()) == wanted

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Attributes, "append_typed", out_of_memory)
        with pytest.raises(MemoryError):
            collection.add(vectors[50:60], attributes={"row": np.arange(50, 60)})
    check(list(range(50)))
    collection.add(vectors[50:60], attributes={"row": np.arange(50, 60)})
    check(list(range(60)))
    collection.delete(filter="row < 5")
    check(list(range(5, 60)))
    with monkeypatch.context() as patch:
        patch.setattr(Attributes, "append_typed", out_of_memory)
        with pytest.raises(MemoryError):
            collection.add(vectors[60:], attributes={"row": np.arange(60, 90)})
    assert collection.index.n_dead == 0
    check(list(range(5, 60)))
    assert sorted(collection.attributes["row"].tolist()) == list(range(5, 60))
    collection.add(vectors[60:], attributes={"row": np.arange(60, 90)})
    check(list(range(5, 90)))
    collection.delete(filter="row < 7")
    collection.optimize()
    check(list(range(7, 90)))


def test_a_file_of_a_graph_that_lost_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors, row = rng.standard_normal((50, 4)), np.arange(50)
    collection = Collection.create(dim=4, kind="graph")
    collection.upsert(vectors, row + 100, attributes={"row": row, "name": [f"row {each}" for each in row]})
    collection.delete([103, 148])
    assert collection.index.n_dead == 2
    collection.save(tmp_path / "c")
    opened = Collection.open(tmp_path / "c")
    assert opened.index.n_dead == 2
    for each in (opened, collection):
        assert each.count("row >= 0") == 48
        for i in (0, 2, 4, 47, 49):
            found = each.search(vectors[i], 2, filter=f"name = 'row {i}'", columns=["row"])
            assert found.ids.tolist() == [[100 + i, -1]]
            assert found.attributes["row"][0, 0] == i
        each.delete(filter="row BETWEEN 10 AND 19")
        each.add(vectors[:1] + 9, attributes={"row": [77]})
        assert each.search(vectors[0], 1, filter="row = 77").ids.tolist() == [[150]]
        assert each.count("row >= 0") == 39


def test_a_file_of_a_graph_that_lost_all_rows_is_damaged(tmp_path: Path) -> None:
    """A graph drops them before."""
    collection = Collection.create(dim=4, kind="graph")
    collection.add(np.eye(4), attributes={"row": np.arange(4)})
    collection.save(tmp_path / "c")
    header, arrays = read_container(tmp_path / "c")
    parts = dict(arrays.items()) | {"dead": np.arange(4, dtype=np.uint32)}
    parts |= {name: array[:0] for name, array in parts.items() if name.startswith("column")}
    write_container(tmp_path / "c", header, parts)
    with pytest.raises(CorruptIndexError):
        Collection.open(tmp_path / "c")
