"""Typed columns, from every form that attributes come in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from engine.columns import typed_columns
from engine.exceptions import InvalidArgumentError, UnsupportedError

DAY = datetime(2024, 5, 17, 8, 30, tzinfo=timezone.utc)
MICROSECONDS = 1_715_934_600_000_000
LONG = "longer than the twelve bytes that a string view holds"
COLUMNS: dict[str, list[Any]] = {
    "year": [2020, None, -3],
    "price": [0.5, 2.0, None],
    "section": ["net", None, LONG],
    "archived": [None, True, False],
    "day": [DAY, None, DAY + timedelta(microseconds=1)],
    "tags": [["a", LONG], [], None],
}
EXPECTED = {
    "year": ("int64", [2020, 0, -3], [False, True, False]),
    "price": ("float64", [0.5, 2.0, 0.0], [False, False, True]),
    "section": ("keyword", ["net", "", LONG], [False, True, False]),
    "archived": ("bool", [False, True, False], [True, False, False]),
    "day": ("timestamp", [MICROSECONDS, 0, MICROSECONDS + 1], [False, True, False]),
    "tags": ("keywords", [("a", LONG), (), ()], [False, False, True]),
}
PANDAS = {"year": "Int64", "archived": "boolean", "price": "float64"}


class Stream:
    """Nothing but the protocol."""

    def __init__(self, table: Any) -> None:
        self.__arrow_c_stream__ = table.__arrow_c_stream__


def pandas_frame() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=PANDAS.get(name)) for name, values in COLUMNS.items()})


def arrow(**types: pa.DataType) -> pa.Table:
    return pa.table({name: pa.array(values, types.get(name)) for name, values in COLUMNS.items()})


FORMS: dict[str, Callable[[], Any]] = {
    "dict of lists": lambda: COLUMNS,
    "list of dicts": lambda: [{name: values[row] for name, values in COLUMNS.items()} for row in range(3)],
    "list of dicts without the missing": lambda: [
        {name: values[row] for name, values in COLUMNS.items() if values[row] is not None} for row in range(3)
    ],
    "pandas": pandas_frame,
    "pandas series": lambda: dict(pandas_frame().items()),
    "pandas with a zone": lambda: pandas_frame().assign(day=lambda frame: frame.day.dt.tz_convert("Asia/Tokyo")),
    "pandas categories": lambda: pandas_frame().astype({"section": "category"}),
    "pandas objects": lambda: pandas_frame().astype(object),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "polars series": lambda: {name: pl.Series(values) for name, values in COLUMNS.items()},
    "polars categories": lambda: pl.DataFrame(COLUMNS).with_columns(pl.col("section").cast(pl.Categorical)),
    "polars in chunks": lambda: pl.concat([pl.DataFrame(COLUMNS)[:1], pl.DataFrame(COLUMNS)[1:]], rechunk=False),
    "arrow": arrow,
    "arrow arrays": lambda: {name: pa.array(values) for name, values in COLUMNS.items()},
    "arrow batch": lambda: arrow().to_batches()[0],
    "arrow in chunks": lambda: pa.concat_tables([arrow()[:1], arrow()[1:1], arrow()[1:]]),
    "arrow by the protocol alone": lambda: Stream(arrow()),
    "arrow slice": lambda: pa.concat_tables([arrow(), arrow()]).combine_chunks()[2:5].take([1, 2, 0]),
    "arrow offsets": lambda: pa.concat_tables([arrow()[2:], arrow(), arrow()]).combine_chunks()[1:4],
    "arrow views": lambda: arrow(section=pa.string_view(), tags=pa.list_(pa.string_view())),
    "arrow views at an offset": lambda: pa.concat_tables(
        [arrow(section=pa.string_view(), tags=pa.large_list(pa.string_view()))] * 2
    ).combine_chunks()[3:],
    "arrow, large": lambda: arrow(section=pa.large_string(), tags=pa.large_list(pa.large_string())),
    "arrow, small": lambda: arrow(year=pa.int16(), price=pa.float16(), section=pa.dictionary(pa.int8(), pa.string())),
    "arrow, lists of codes": lambda: arrow(tags=pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "arrow, zone": lambda: arrow(day=pa.timestamp("us", "Europe/Paris")),
    "arrow, ns": lambda: arrow(day=pa.timestamp("ns")),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_columns(form: str) -> None:
    for schema in (None, {name: kind for name, (kind, _, _) in EXPECTED.items()}):
        columns = typed_columns(FORMS[form](), schema=schema)  # type: ignore[arg-type]
        assert columns.keys() == EXPECTED.keys()
        for name, (kind, values, nulls) in EXPECTED.items():
            column = columns[name]
            assert column.type == kind
            assert [*column.values] == values
            assert column.nulls.tolist() == nulls
            assert column.nulls.dtype == np.bool_
            if kind not in ("keyword", "keywords"):
                assert isinstance(column.values, np.ndarray)
                assert column.values.dtype == {"timestamp": "int64"}.get(kind, kind)


@pytest.mark.parametrize(
    ("values", "kind", "held"),
    [
        ([1, 2.5], "float64", [1.0, 2.5]),
        ([np.int8(1), np.int64(2)], "int64", [1, 2]),
        ([np.bool_(True)], "bool", [True]),
        (np.array([1, 255], np.uint8), "int64", [1, 255]),
        (np.array([1.5, -2], np.float16), "float64", [1.5, -2.0]),
        (np.array(["a", "é"]), "keyword", ["a", "é"]),
        (np.array(["2024-05-17T08:30", "NaT"], "datetime64[s]"), "timestamp", [MICROSECONDS, 0]),
        (np.array(["2024-05-17T08:30:00.000000999"], "datetime64[ns]"), "timestamp", [MICROSECONDS]),
        ([date(1970, 1, 2), datetime(1970, 1, 2)], "timestamp", [86_400_000_000] * 2),
        ([datetime(2024, 5, 17, 10, 30, tzinfo=timezone(timedelta(hours=2)))], "timestamp", [MICROSECONDS]),
        (pd.to_datetime(["2024-05-17T10:30+02:00", None]), "timestamp", [MICROSECONDS, 0]),
        ([("b", "a", "b"), {"z", "y"}, np.array(["q"])], "keywords", [("b", "a"), ("y", "z"), ("q",)]),
        ([None, None], "keyword", ["", ""]),
        ([], "keyword", []),
        (np.array([], np.int32), "int64", []),
        (range(3), "int64", [0, 1, 2]),
        (pa.array([None, None], pa.int8()), "int64", [0, 0]),
        (pa.nulls(2), "keyword", ["", ""]),
        (pa.array([1], pa.date32()), "timestamp", [86_400_000_000]),
        (pa.array([86_400_000], pa.date64()), "timestamp", [86_400_000_000]),
        (["x" * 1_000_000], "keyword", ["x" * 1_000_000]),
        ([[str(i) for i in range(10_000)]], "keywords", [tuple(str(i) for i in range(10_000))]),
    ],
)
def test_types_are_those_of_the_values(values: Any, kind: str, held: list[Any]) -> None:
    column = typed_columns({"x": values})["x"]
    assert (column.type, [*column.values]) == (kind, held)


def test_a_schema_converts_and_fills() -> None:
    schema: Any = {"price": "float64", "day": "timestamp", "year": "int64", "tags": "keywords"}
    columns = typed_columns({"price": [1, None], "day": ["2024-05-17T08:30:00Z", None]}, schema=schema)
    assert columns["price"].values.dtype == np.float64  # type: ignore[union-attr]
    assert columns["day"].values.tolist() == [MICROSECONDS, 0]  # type: ignore[union-attr]
    assert columns["year"].nulls.tolist() == [True, True]
    assert columns["tags"].values == [(), ()]
    assert typed_columns(None, 2, schema={"year": "int64"})["year"].values.tolist() == [0, 0]  # type: ignore[union-attr]
    assert typed_columns(None) == typed_columns({}) == typed_columns([]) == {}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"x": [None, 1, "a"]},
            r"attributes\['x'\]\[2\] is 'a' \(keyword\), but attributes\['x'\]\[1\] is 1 \(int64\)",
        ),
        ({"x": [1, 2.0, True]}, r"\[2\] is True \(bool\), but attributes\['x'\]\[0\] is 1 \(int64\)"),
        ({"x": ["a", ["a"]]}, r"\[1\] is \['a'\] \(keywords\), but .*\[0\] is 'a' \(keyword\)"),
        ({"x": ["a", b"b"]}, r"\[1\] is b'b', expected a str, int"),
        ({"x": [{}]}, r"\[0\] is {}, expected a str, int"),
        ({"x": [1], "y": [1, 2]}, r"attributes\['y'\] has 2 values, expected 1"),
        ({"x": [float("nan")]}, r"\[0\] is nan, expected a finite number, or None"),
        ({"x": np.array([1.0, np.nan])}, r"\[1\] is nan, expected a finite number"),
        ({"x": [1.0, float("inf")]}, r"\[1\] is inf"),
        ({"x": [2**63]}, r"\[0\] is 9223372036854775808, expected a number that int64 can hold"),
        ({"x": np.array([0, 2**63], np.uint64)}, r"\[1\] is 9223372036854775808, expected a finite number that int64"),
        ({"x": [0.5, 2**53 + 1]}, r"\[1\] is 9007199254740993, expected a number float64 can hold"),
        ({"x": [0.5, 10**400]}, r"\[1\] is 1000.*, expected a number float64 can hold"),
        ({"x": np.array(["300000-01-01"], "datetime64[D]")}, r"expected a time that int64 can hold"),
        ({"x": ["a", "\ud800"]}, r"\[1\] is '\\ud800', expected text that UTF-8 can hold"),
        ({"x": [["a", 3]]}, r"\[0\] has 3, expected keywords"),
        ({"x": [["a", None]]}, r"\[0\] has None, expected keywords"),
        ({"x": np.zeros((2, 2))}, r"shape \(2, 2\), expected one dimension"),
        ({"x": np.ma.masked_array([1, 2], [True, False])}, r"masked array"),
        ({"x": "abc"}, r"\['x'\] is 'abc', expected one value a row"),
        ({"x": 3}, r"\['x'\] is 3, expected one value a row"),
        ({3: [1]}, r"the key 3, expected a name"),
        ({"": [1]}, r"the key '', expected a name"),
        ([{"x": 1}, 5], r"attributes\[1\] is 5, expected a dict"),
        ("abc", r"attributes is 'abc', expected a dict of columns, a list of dicts"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), r"two columns 'x'"),
        (pd.DataFrame([[1, 2]]), r"the key 0, expected a name"),
        (pa.table({"x": pa.array([b"a"])}), r"\['x'\] has the Arrow format 'z', expected integers"),
        (pa.table({"x": pa.array([[1]])}), r"\['x'\] has lists of format 'l', expected of texts"),
        (pa.table({"x": pa.array([1]).dictionary_encode()}), r"Arrow dictionary of 'l', expected texts"),
        (pa.chunked_array([[1]]), r"Arrow array of format 'l', expected a table"),
        (pa.table([pa.array([1]), pa.array([2])], ["x", "x"]), r"two columns 'x'"),
    ],
)
def test_refused(attributes: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        typed_columns(attributes)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([None, "x"], "int64", r"\[1\] is 'x' \(keyword\), expected int64 as in the schema"),
        ([1.0], "int64", r"\[0\] is 1.0 \(float64\), expected int64"),
        ([1], "bool", r"expected bool"),
        (["soon"], "timestamp", r"\[0\] is 'soon', expected a datetime"),
        ([1], "timestamp", r"expected timestamp"),
        (["a"], "keywords", r"expected keywords"),
        ([1], "number", r"schema\['x'\] is 'number', expected one of 'keyword'"),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(values: list[Any], kind: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        typed_columns({"x": values}, schema={"x": kind})


def test_columns_beside_the_schema_and_wrong_lengths_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"the column 'y', expected those of the schema: \['x'\]"):
        typed_columns({"y": [1]}, schema={"x": "int64"})
    with pytest.raises(InvalidArgumentError, match=r"attributes\['x'\] has 2 values, expected 3"):
        typed_columns({"x": [1, 2]}, 3)


def test_the_input_is_copied() -> None:
    given = np.array([1, 2])
    column = typed_columns({"x": given})["x"]
    given[:] = 0
    assert [*column.values] == [1, 2]


def test_arrow_without_nanoarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoarrow", None)
    with pytest.raises(UnsupportedError, match=r"need.* nanoarrow .*pip install 'nearfield\[arrow\]'"):
        typed_columns(pa.table({"x": [1]}))
    assert typed_columns(pd.DataFrame({"x": [1]}))["x"].type == "int64"
