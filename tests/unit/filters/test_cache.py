"""Kept bitmaps: the same ones, no more bytes than allowed, from many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from predicates import core_attributes

from engine import Bitmap, col
from engine.exceptions import InvalidArgumentError
from engine.filters import PredicateCache, resolve

year = col("year")
ROWS = core_attributes({"year": [i % 100 for i in range(20_000)]}, {"year": "int64"})


def test_equal_predicates_share_a_bitmap() -> None:
    cache = PredicateCache()
    first = cache.resolve((year > 3) & (year < 9), ROWS, 1)
    assert cache.resolve(~(~(year < 9) | (year <= 3)), ROWS, 1) is first
    assert cache.resolve("year > 3 AND 9 > year", ROWS, 1) is first
    assert cache.resolve({"year": {"$gt": 3, "$lt": 9}}, ROWS, 1) is first
    assert first == resolve((year > 3) & (year < 9), ROWS)
    assert len(cache) == 1
    assert 20_000 // 8 < cache.nbytes < 10_000


def test_versions_are_apart() -> None:
    cache = PredicateCache()
    assert cache.resolve(year == 1, ROWS, 1) is not cache.resolve(year == 1, ROWS, 2)
    assert len(cache) == 2
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_the_least_lately_used_goes_first() -> None:
    cache = PredicateCache(20_000)
    kept = cache.resolve(year == 0, ROWS)
    for value in range(1, 50):
        cache.resolve(year == value, ROWS)
        assert cache.resolve(year == 0, ROWS) is kept
        assert cache.nbytes <= 20_000
    assert 2 <= len(cache) < 10


def test_what_does_not_fit_is_not_kept() -> None:
    cache = PredicateCache(2500)
    assert cache.resolve(year == 1, ROWS).count() == 200
    assert (len(cache), cache.nbytes) == (0, 0)
    long = PredicateCache(100_000)
    long.resolve(year.isin(range(10_000)), ROWS)  # the bitmap would fit, the list does not
    assert len(long) == 0


def test_errors_are_not_kept() -> None:
    cache = PredicateCache()
    for _ in range(2):
        with pytest.raises(InvalidArgumentError, match=r"the str 'a'"):
            cache.resolve(year == "a", ROWS)
    assert len(cache) == 0
    with pytest.raises(InvalidArgumentError, match=r"max_bytes is 0"):
        PredicateCache(0)


def test_threads() -> None:
    cache = PredicateCache(15_000)

    def ask(i: int) -> tuple[int, Any]:
        return i % 7, cache.resolve(year == i % 7, ROWS)

    expected: list[Bitmap] = [resolve(year == value, ROWS) for value in range(7)]
    with ThreadPoolExecutor(4) as pool:
        for value, found in pool.map(ask, range(500)):
            assert found == expected[value]
    assert cache.nbytes <= 15_000
