"""Functions of users as predicates."""

from __future__ import annotations

import ctypes
import importlib.util
import pickle
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from predicates import SCHEMA, core_attributes

from engine import col, udf
from engine.exceptions import InvalidArgumentError, UnsupportedError
from engine.filters import bind, count, resolve
from engine.filters.function import BLOCK_ROWS, Udf

FIVE = core_attributes(
    {
        "year": [1, 2, None, 0, 5],
        "price": [1.0, 2.0, 3.0, None, 0.5],
        "section": ["a", "b", None, "c", "a"],
        "archived": [True, False, True, None, True],
        "day": [datetime(2024, 1, i, tzinfo=timezone.utc) for i in range(1, 6)],
        "tags": [[], ["a"], None, [], []],
    },
    SCHEMA,
)


def dear(year: int, price: float) -> bool:
    return year * price >= 2


def first_days(day: int) -> bool:
    return day < 1_704_240_000_000_000


def not_nought(year: int) -> bool:
    if year == 0:
        raise ValueError("year is nought")
    return year > 1


def test_rows_are_those_where_it_is_true() -> None:
    predicate = udf(dear, columns=["year", "price"])
    assert resolve(predicate, FIVE).rows().tolist() == [1, 4]
    assert resolve(~predicate, FIVE).rows().tolist() == [0]
    assert (count(predicate, FIVE), count(~predicate, FIVE)) == (2, 1)
    assert resolve(predicate & (col("section") == "a"), FIVE).rows().tolist() == [4]
    assert resolve(~(predicate | col("year").is_null()), FIVE).rows().tolist() == [0]
    assert resolve(udf(lambda flag: flag, "archived"), FIVE).rows().tolist() == [0, 2, 4]
    assert resolve(udf(first_days, ["day"]), FIVE).rows().tolist() == [0, 1]
    assert resolve(udf(lambda a, b: a == b, ["year", "year"]), FIVE).rows().tolist() == [0, 1, 3, 4]


def test_many_blocks_agree_with_numpy(rng: np.random.Generator) -> None:
    n = 2 * BLOCK_ROWS + 17
    values = rng.integers(-5, 6, n)

    columns = core_attributes({"year": [None if value == 5 else value for value in values.tolist()]}, {"year": "int64"})
    predicate = udf(lambda year: (year % 3 == 1) or year < -3, ["year"])
    expected = ((values % 3 == 1) | (values < -3)) & (values != 5)
    np.testing.assert_array_equal(resolve(predicate, columns).to_mask(), expected)
    np.testing.assert_array_equal(resolve(~predicate, columns).to_mask(), ~expected & (values != 5))


def test_it_is_a_predicate_like_others() -> None:
    predicate = udf(dear, ["year", "price"])
    assert predicate == udf(dear, ("year", "price"))
    assert hash(predicate) == hash(udf(dear, ["year", "price"]))
    assert predicate != udf(dear, ["price", "year"])
    assert predicate != udf(first_days, ["day"])
    assert repr(~predicate | (col("year") == 1)) == "(col('year') == 1) | ~udf(dear, columns=['year', 'price'])"
    assert eval(repr(predicate), {"udf": udf, "dear": dear}) == predicate
    assert predicate.columns == {"year", "price"}
    assert ~~predicate == predicate
    assert pickle.loads(pickle.dumps(udf(np_free, ["year"]))) == udf(np_free, ["year"])


def np_free(year: int) -> bool:
    return year > 0


np_free.__module__ = __name__


def test_numba_functions_are_taken_too() -> None:
    import numba

    assert udf(numba.njit(dear), ["year", "price"]) == udf(dear, ["year", "price"])


def test_dividing_by_zero_is_no_error() -> None:
    assert resolve(udf(lambda year: 1 / year > 0.3, ["year"]), FIVE).rows().tolist() == [0, 1, 3]


def test_what_it_raises_is_told_with_the_row() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"not_nought raised ValueError\('year is nought'\) for row 3: \[0\]"
    ):
        resolve(udf(not_nought, ["year"]), FIVE)
    known = core_attributes({"year": [3, None, 1]}, {"year": "int64"})
    assert resolve(udf(not_nought, ["year"]), known).rows().tolist() == [0]  # NULL is not shown to it


def test_the_address_can_be_called_from_c() -> None:
    predicate = udf(dear, ["year", "price"])
    assert isinstance(predicate, Udf)
    block = predicate.block(SCHEMA)
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(block.address)
    years, prices, passes = np.array([1, 2, 3]), np.array([1.0, 1.0, 0.5]), np.zeros(3, np.bool_)
    addresses = (ctypes.c_void_p * 2)(years.ctypes.data, prices.ctypes.data)
    assert function(ctypes.addressof(addresses), 3, passes.ctypes.data) == -1
    assert passes.tolist() == [False, True, False]
    assert predicate.block(SCHEMA) is block


@pytest.mark.parametrize(
    ("function", "columns", "message"),
    [
        (lambda x: x > 1, ["section"], r"'section' is keyword, expected int64, float64, bool, timestamp; compare"),
        (lambda x: x > 1, ["tags"], r"'tags' is keywords, expected int64"),
        (lambda x: x > 1, ["yaer"], r"the column 'yaer'; expected 'year'"),
        (lambda x: x + 1, ["year"], r"the function <lambda> returns int64, expected bool"),
        (lambda x: print(globals()) is None, ["year"], r"numba cannot compile the function <lambda>: .*globals"),
        (lambda x: x.nothing, ["year"], r"numba cannot compile the function <lambda>: .*nothing"),
    ],
)
def test_refused_for_its_columns(function: Any, columns: list[str], message: str) -> None:
    predicate = udf(function, columns)
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        bind(predicate, SCHEMA)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    ("function", "columns", "message"),
    [
        (dear, ["year"], r"function dear does not take 1 values: missing a required argument: 'price'"),
        (dear, ["a", "b", "c"], r"does not take 3 values"),
        (3, ["year"], r"function is 3, expected a Python function"),
        (len, ["year"], r"expected a Python function"),
        (dear, [], r"columns is \[\], expected names"),
        (dear, [1, 2], r"columns is \[1, 2\], expected names"),
        (dear, None, r"columns is None, expected names"),
    ],
)
def test_refused_at_once(function: Any, columns: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        udf(function, columns)


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("engine.filters.function.find_spec", lambda name: None if name == "numba" else find(name))
    with pytest.raises(UnsupportedError, match=r"udf needs numba: pip install 'nearfield\[jit\]'"):
        udf(dear, ["year", "price"])
