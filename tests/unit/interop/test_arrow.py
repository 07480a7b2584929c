"""Collection.to_arrow: the table that comes out goes in again."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from engine import Collection, InvalidArgumentError

arrow = pytest.importorskip("pyarrow")
pytest.importorskip("nanoarrow")


def test_there_and_back(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "c", dim=2, metric="l2")
    attributes = {
        "year": [2020, None, 7],
        "label": ["a", "b", None],
        "tags": [["x"], None, []],
        "when": [datetime.datetime(2024, 1, 2), None, datetime.datetime(1969, 1, 1)],
        "good": [True, None, False],
        "share": [0.5, None, -1.0],
    }
    collection.add([[1, 2], [3, 4], [5, 6]], ids=[7, 5, 9], attributes=attributes)
    table = collection.to_arrow()
    assert table.column_names == ["id", "vector", *attributes]
    assert table["id"].to_pylist() == [7, 5, 9]
    assert table["vector"].to_pylist() == [[1, 2], [3, 4], [5, 6]]
    assert table["tags"].to_pylist() == [["x"], None, []]
    assert str(table.schema.field("when").type) == "timestamp[us, tz=UTC]"
    other = Collection.create(dim=2, metric="l2")
    other.add(
        np.stack(table["vector"].to_numpy()), ids=table["id"].to_numpy(), attributes=table.select(list(attributes))
    )
    assert other.schema == collection.schema
    for name, column in collection.attributes.items():
        assert str(other.attributes[name].tolist()) == str(column.tolist())


def test_nothing_and_names_that_are_taken() -> None:
    collection = Collection.create(dim=2, schema={"label": "keyword"})
    assert collection.to_arrow().num_rows == 0
    collection = Collection.create(dim=2, schema={"id": "keyword"})
    with pytest.raises(InvalidArgumentError, match="a column 'id'"):
        collection.to_arrow()
