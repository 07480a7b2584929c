"""engine.Bitmap against numpy bool arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

import engine
from engine import InvalidArgumentError


def of_length(n: int) -> st.SearchStrategy[NDArray[np.bool_]]:
    """Many rows or few, which are listed."""
    few = st.sets(st.integers(0, n - 1), max_size=n // 32) if n else st.just(set())
    return npst.arrays(np.bool_, n) | few.map(lambda rows: np.isin(np.arange(n), [*rows]))


lengths = st.integers(0, 200) | st.integers(200, 700)
masks = lengths.flatmap(of_length)
pairs = lengths.flatmap(lambda n: st.tuples(of_length(n), of_length(n)))


@given(mask=masks)
def test_a_bitmap_is_its_mask(mask: NDArray[np.bool_]) -> None:
    bitmap = engine.Bitmap(mask)
    assert len(bitmap) == len(mask)
    assert bitmap.count() == mask.sum()
    assert bitmap.to_mask().dtype == np.bool_
    np.testing.assert_array_equal(bitmap.to_mask(), mask)
    np.testing.assert_array_equal(bitmap.rows(), np.flatnonzero(mask))


@given(mask=masks)
def test_from_rows(mask: NDArray[np.bool_]) -> None:
    rows = np.random.default_rng(0).permutation(np.flatnonzero(mask))
    np.testing.assert_array_equal(engine.Bitmap.from_rows(len(mask), rows).to_mask(), mask)
    np.testing.assert_array_equal(engine.Bitmap.from_rows(len(mask), np.repeat(rows, 2)).to_mask(), mask)


@pytest.mark.parametrize("count", [31, 32, 33, 511, 512, 4_000])
def test_few_of_four_billion_rows(count: int, rng: np.random.Generator) -> None:
    n = 2**32 - 16  # the most that there may be
    rows = np.unique(np.append(rng.integers(n, size=count - 2), [0, n - 1]))
    np.testing.assert_array_equal(engine.Bitmap.from_rows(n, rng.permutation(rows)).rows(), rows)


@pytest.mark.parametrize("n", [70_000, 300_000, 5_000_000])
@pytest.mark.parametrize("count", [20, 1_000, 4_000])
def test_few_of_many_rows(n: int, count: int, rng: np.random.Generator) -> None:
    rows = np.unique(np.append(rng.integers(n, size=count), [0, 1, 2, 63, 64, n - 1]))
    others = np.append(rng.choice(rows, len(rows) // 2), rng.integers(n, size=count))
    mask = np.zeros(n, bool)
    mask[rows] = True
    of_rows = engine.Bitmap.from_rows(n, rng.permutation(np.append(rows, rows[:5])))
    np.testing.assert_array_equal(of_rows.rows(), rows)
    np.testing.assert_array_equal(engine.Bitmap(mask).rows(), rows)
    for bitmap in (of_rows, engine.Bitmap(mask)):
        both = bitmap & engine.Bitmap.from_rows(n, others)
        np.testing.assert_array_equal(both.rows(), np.intersect1d(rows, others))


@given(pair=pairs)
def test_algebra(pair: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
    left, right = pair
    a, b = engine.Bitmap(left), engine.Bitmap(right)
    for got, expected in [(a & b, left & right), (a | b, left | right), (a ^ b, left ^ right), (~a, ~left)]:
        np.testing.assert_array_equal(got.to_mask(), expected)
        assert got.count() == expected.sum()
    np.testing.assert_array_equal((~~a).to_mask(), left)
    np.testing.assert_array_equal((~(a & b)).to_mask(), (~a | ~b).to_mask())
    np.testing.assert_array_equal(a.to_mask(), left)
    assert (a == b) == bool((left == right).all())
    assert ~(a & b) == (~a | ~b)


@pytest.mark.parametrize("step", [2, -1])
def test_strided_masks(step: int, rng: np.random.Generator) -> None:
    mask = (rng.random(101) < 0.5)[::step]
    np.testing.assert_array_equal(engine.Bitmap(mask).to_mask(), mask)


def test_the_mask_is_copied() -> None:
    mask = np.array([True, False])
    bitmap = engine.Bitmap(mask)
    mask[:] = True
    assert bitmap.count() == 1


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones(3, np.uint8), "mask has dtype uint8, expected bool"),
        (np.ones((2, 2), bool), "mask has 2 dimensions, expected 1"),
        (np.array(True), "mask has 0 dimensions, expected 1"),
        ([1, 0, 1], "mask has dtype int64, expected bool"),
        (np.array(["a"]), "mask has dtype <U1, expected bool"),
    ],
)
def test_wrong_masks(mask: Any, message: str) -> None:
    with pytest.raises(engine.InvalidArgumentError, match=message):
        engine.Bitmap(mask)


@pytest.mark.parametrize(
    ("n", "rows", "message"),
    [
        (3, [3], r"rows.*3"),
        (3, [0, -1], r"rows.*-1"),
        (3, [0.5], r"rows has dtype float64, expected integers"),
        (3, [[1, 2]], "rows has 2 dimensions, expected 1"),
        (-1, [], r"n is -1, expected 0 to 4294967280"),
        (2**33, [2**32 + 5], r"n is 8589934592, expected 0 to 4294967280"),
    ],
)
def test_wrong_rows(n: Any, rows: Any, message: str) -> None:
    with pytest.raises(engine.InvalidArgumentError, match=message):
        engine.Bitmap.from_rows(n, rows)


@pytest.mark.parametrize("operator", ["and", "or", "xor"])
def test_lengths_must_agree(operator: str) -> None:
    with pytest.raises(engine.InvalidArgumentError, match=r"3.*4|4.*3"):
        getattr(engine.Bitmap(np.ones(3, bool)), f"__{operator}__")(engine.Bitmap(np.ones(4, bool)))


def test_only_with_bitmaps() -> None:
    with pytest.raises(TypeError):
        engine.Bitmap(np.ones(3, bool)) & 1  # type: ignore[operator]


def test_repr_says_how_many() -> None:
    assert "3" in repr(engine.Bitmap(np.array([True, False, True])))
    assert "2" in repr(engine.Bitmap(np.array([True, False, True])))


@given(mask=masks, data=st.data())
def test_slice(mask: NDArray[np.bool_], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(mask)))
    end = data.draw(st.integers(begin, len(mask)))
    part = engine.Bitmap(mask).slice(begin, end)
    np.testing.assert_array_equal(part.to_mask(), mask[begin:end])
    assert part.count() == mask[begin:end].sum()
    assert part == engine.Bitmap(mask[begin:end])


@given(pair=pairs)
def test_compress_and_spread(pair: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
    left, right = pair
    rows = engine.Bitmap(right)
    part = engine.Bitmap(left).compress(rows)
    np.testing.assert_array_equal(part.to_mask(), left[right])
    np.testing.assert_array_equal(part.spread(rows).to_mask(), left & right)


def test_parts_that_do_not_fit() -> None:
    bitmap, other = engine.Bitmap(np.ones(5, np.bool_)), engine.Bitmap(np.ones(4, np.bool_))
    for begin, end in ((3, 2), (0, 6)):
        with pytest.raises(InvalidArgumentError, match="expected within 5 rows"):
            bitmap.slice(begin, end)
    with pytest.raises(InvalidArgumentError, match="rows has 4 rows, expected 5"):
        bitmap.compress(other)
    with pytest.raises(InvalidArgumentError, match="rows holds 5 rows, expected 4"):
        other.spread(bitmap)
