"""engine.Attributes: tables of every kind in, bitmaps out, kept until something changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from engine import Attributes, InvalidArgumentError, col

COLUMNS: dict[str, list[Any]] = {
    "year": [2019, 2021, None],
    "price": [0.5, None, 2.0],
    "section": ["net", None, "games"],
    "sold": [True, False, None],
    "day": [datetime(2024, 5, 17), None, datetime(2024, 5, 18, 8, 30)],
    "tags": [["new"], [], None],
}
ROWS = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]
SCHEMA = {
    "year": "int64",
    "price": "float64",
    "section": "keyword",
    "sold": "bool",
    "day": "timestamp",
    "tags": "keywords",
}


@pytest.mark.parametrize(
    "table",
    [
        COLUMNS,
        ROWS,
        pd.DataFrame(
            {**COLUMNS, "year": pd.array(COLUMNS["year"], "Int64"), "sold": pd.array(COLUMNS["sold"], "boolean")}
        ),
        pl.DataFrame(COLUMNS),
        pa.table(COLUMNS),
    ],
    ids=["columns", "rows", "pandas", "polars", "pyarrow"],
)
def test_tables_of_every_kind(table: Any) -> None:
    attributes = Attributes(table)
    assert attributes.schema == SCHEMA
    assert attributes.where((col("year") >= 2020) | (col("price") > 1)).rows().tolist() == [1, 2]
    assert attributes.where("day >= '2024-05-18' AND section = 'games'").rows().tolist() == [2]
    assert attributes.where({"tags": ["new"], "sold": True}).rows().tolist() == [0]
    assert attributes.where("tags IS NULL").rows().tolist() == [2]
    assert attributes.count("sold") == attributes.count("NOT sold") == 1
    attributes.append(table)
    assert attributes.where("section = 'net'").rows().tolist() == [0, 3]
    taken = attributes.take([5, 0], ["day", "tags"])
    assert taken["day"].values.view("datetime64[us]").tolist() == [COLUMNS["day"][2], COLUMNS["day"][0]]
    assert taken["tags"].values == [(), ("new",)]
    assert taken["tags"].nulls.tolist() == [True, False]


def test_a_bitmap_is_kept_until_something_changes() -> None:
    attributes = Attributes({"x": [1, 2, 3, 4]})
    big = col("x") > 2
    for change, expected in [
        (lambda: None, [2, 3]),
        (lambda: attributes.append({"x": [5]}), [2, 3, 4]),
        (lambda: attributes.update([0, 2], {"x": [9, None]}), [0, 3, 4]),
        (lambda: attributes.drop([0]), [0, 3]),
        (lambda: attributes.truncate(3), [0]),
        (lambda: attributes.add_column("y", "bool"), [0]),
        (lambda: attributes.append([{"y": True}]), [0]),
    ]:
        change()
        found = attributes.where(big)
        assert found.rows().tolist() == expected
        assert len(found) == len(attributes)
        assert attributes.where("x > 2") is found
        assert attributes.count(big) == len(expected)
    assert attributes.where("y").rows().tolist() == [3]


def test_columns_that_are_not_given_are_null() -> None:
    attributes = Attributes({"x": [1]}, schema={"x": "float64", "y": "keyword"})
    attributes.append({"y": ["a", "b"]})
    attributes.append({}, n=1)
    assert attributes.where("x IS NULL").rows().tolist() == [1, 2, 3]
    attributes.update([3], [{"x": 7}])
    assert attributes.take([3])["x"].values.tolist() == [7.0]
    assert attributes.where("y IS NULL").rows().tolist() == [0, 3]


def test_rows_before_there_are_columns() -> None:
    attributes = Attributes()
    assert (len(attributes), attributes.schema, attributes.nbytes) == (0, {}, 0)
    attributes.append({}, n=2)
    attributes.append({"x": ["a"]})
    assert attributes.where("x IS NULL").rows().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.append({"x": ["a"]}), r"attributes\['x'\]\[0\] is 'a' \(keyword\), expected int64"),
        (lambda a: a.append({"z": [1]}), r"attributes has the column 'z', expected those of the schema: \['x', 'y'\]"),
        (lambda a: a.append({"x": [1, 2]}, n=1), r"attributes\['x'\] has 2 values, expected 1"),
        (lambda a: a.append({"x": [1], "y": [1]}), r"attributes\['y'\]\[0\] is 1"),
        (lambda a: a.update([0], {"z": [1]}), r"attributes has the column 'z'"),
        (lambda a: a.update([2], {"x": [1]}), r"rows holds 2, expected 0 to 2 - 1"),
        (lambda a: a.update([0], {"x": [1, 2]}), r"attributes\['x'\] has 2 values, expected 1"),
        (lambda a: a.drop([5]), r"rows holds 5"),
        (lambda a: a.truncate(3), r"n is 3"),
        (lambda a: a.add_column("x", "bool"), r"there is a column 'x' already"),
        (lambda a: a.take([0], "z"), r"columns has 'z'"),
        (lambda a: a.where("z = 1"), r"the column 'z'"),
        (lambda a: a.count("x = 'a'"), r"'x' is int64, got the str 'a'"),
    ],
)
def test_refused(change: Any, message: str) -> None:
    attributes = Attributes({"x": [1, 2], "y": ["a", None]})
    kept = attributes.where("x = 1")
    with pytest.raises(InvalidArgumentError, match=message):
        change(attributes)
    assert attributes.schema == {"x": "int64", "y": "keyword"}
    assert attributes.take([0, 1])["x"].values.tolist() == [1, 2]
    assert attributes.where("x = 1") == kept


def test_threads() -> None:
    attributes = Attributes({"x": np.arange(1000), "y": np.arange(1000) % 2 == 0})

    def work(i: int) -> int:
        if i % 10 == 0:
            attributes.append({"x": [-1], "y": [True]})
        return attributes.where((col("x") >= 0) & (col("y") == True)).count()  # noqa: E712

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(300))) == {500}
    assert len(attributes) == 1030
