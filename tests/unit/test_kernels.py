"""Single kernels of the active instruction set against numpy; the last test repeats this file for every other one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isas import OTHERS, is_outer, pass_with
from numpy.typing import NDArray
from reference import rounded_to
from strategies import Case, cases

from engine import _core
from engine.types import VectorDtype

kernels = _core.kernels
DTYPES: tuple[VectorDtype, ...] = ("float32", "float16", "bfloat16")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
LENGTHS = [*range(1, 98), 384, 768, 1024, 1536, 4096, 65_536]


def stored(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """`values`, which `dtype` can hold exactly, as the core takes them."""
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(dtype)


def summed(terms: NDArray[np.float64]) -> float:
    """The fixed order: 16 running sums by index modulo 16, then a tree."""
    sums = np.zeros(16)
    for row in np.pad(terms, (0, -len(terms) % 16)).reshape(-1, 16):
        sums += row
    four = (sums[0:4] + sums[8:12]) + (sums[4:8] + sums[12:16])
    two = four[:2] + four[2:]
    return float(two[0] + two[1])


@every_dtype
def test_exact_sums_have_the_bits_of_the_fixed_order(dtype: str, rng: np.random.Generator) -> None:
    for n in LENGTHS:
        a = rng.standard_normal(n).astype(np.float32)
        b = rounded_to(rng.standard_normal(n).astype(np.float32), dtype)
        x, y = a.astype(np.float64), b.astype(np.float64)
        dot, norm = kernels.dot_norm(a, stored(b, dtype), dtype)
        assert (dot, norm) == (summed(x * y), summed(y * y))
        assert kernels.squared_norm(stored(b, dtype), dtype) == norm
        assert kernels.squared_l2(a, stored(b, dtype), dtype) == summed((x - y) ** 2)


@given(case=cases(dtypes=DTYPES))
def test_sums_of_hard_numbers_are_within_their_bound(case: Case) -> None:
    vectors, queries = case.make()
    a, b = queries[0], rounded_to(vectors[:1], case.dtype)[0]
    x, y = a.astype(np.float64), b.astype(np.float64)
    dot, norm = kernels.dot_norm(a, stored(b, case.dtype), case.dtype)
    ulps = (case.dim / 16 + 5) * 2.0**-53
    assert abs(dot - math.fsum(x * y)) <= ulps * math.fsum(abs(x * y))
    assert abs(norm - math.fsum(y * y)) <= ulps * math.fsum(y * y)
    squared = math.fsum((x - y) ** 2)
    assert abs(kernels.squared_l2(a, stored(b, case.dtype), case.dtype) - squared) <= (ulps + 2.0**-51) * squared


@every_dtype
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(dtype: str, wrong: float) -> None:
    """The check of user input relies on it, at any place of any length."""
    for n in (1, 15, 16, 17, 33, 64):
        for place in range(n):
            b = np.ones(n, np.float32)
            b[place] = wrong
            assert not math.isfinite(kernels.dot_norm(np.ones(n, np.float32), stored(b, dtype), dtype)[1])


@given(case=cases(dtypes=DTYPES))
def test_store_rounds_to_nearest_even(case: Case) -> None:
    vectors, _ = case.make()
    for row in vectors:
        raw = kernels.store(row, case.dtype)
        expected = stored(rounded_to(row[None], case.dtype)[0], case.dtype)
        np.testing.assert_array_equal(np.asarray(raw).view(expected.dtype), expected)


@pytest.mark.parametrize("dim", [1, 7, 16, 33, 100])
def test_largest_products_of_sets(dim: int, rng: np.random.Generator) -> None:
    """`multiply` and `largest`: tails of rows and of columns, sets longer than a block of either."""
    sizes, lengths = [1, 2, 24, 25, 70], [1, 5, 16, 300]
    rows, queries = (rng.standard_normal((sum(n), dim)).astype(np.float32) for n in (sizes, lengths))
    offsets, starts = (np.cumsum([0, *n]) for n in (sizes, lengths))
    listed = np.array([4, 0, 2, 3, 1, 1])
    found = _core.maxsim(queries, starts, rows, offsets, listed, 2)
    products = queries.astype(np.float64) @ rows.astype(np.float64).T
    largest = np.maximum.reduceat(products, offsets[:-1], axis=1)
    expected = np.add.reduceat(largest, starts[:-1], axis=0)[:, listed]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize(("n", "d", "k"), [(3, 2, 1), (16, 4, 2), (17, 16, 5), (100, 33, 2)])
def test_a_step_of_descent(n: int, d: int, k: int, summed: bool, rng: np.random.Generator) -> None:
    """`softmax_gradient` and `adam`, by the definitions in float64."""
    m, temperature = 50, 0.05
    queries, documents = (x / np.linalg.norm(x, axis=1)[:, None] for x in map(rng.standard_normal, ((m, d), (n, d))))
    qrels = np.array([rng.choice(n, k, replace=False) for _ in range(m)])
    logits = queries @ documents.T / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    own = np.take_along_axis(shares, qrels, axis=1)
    loss = -(np.log(own.sum(axis=1)) if summed else np.log(own).mean(axis=1)).mean()
    gradient = shares.copy()
    share = own / own.sum(axis=1, keepdims=True) if summed else np.full_like(own, 1 / k)
    np.put_along_axis(gradient, qrels, own - share, axis=1)
    gradient /= m * temperature
    rows = [queries.astype(np.float32), documents.astype(np.float32)]
    moments = [np.zeros_like(rows[i]) for i in (0, 0, 1, 1)]
    losses = np.zeros(1)
    _core.descend(*rows, moments, qrels, losses, 0, temperature, 0.01, summed)  # type: ignore[arg-type]
    assert losses[0] == pytest.approx(loss, rel=1e-5, abs=1e-6)
    for found, slope in ((moments[0], gradient @ documents), (moments[2], gradient.T @ queries)):
        np.testing.assert_allclose(found, 0.1 * slope, rtol=1e-3, atol=1e-6 * np.abs(slope).max() + 1e-8)
    for found, slope in ((moments[1], gradient @ documents), (moments[3], gradient.T @ queries)):
        np.testing.assert_allclose(found, 0.001 * slope**2, rtol=2e-3, atol=1e-8 * np.square(slope).max() + 1e-12)
    np.testing.assert_allclose(np.linalg.norm(rows[0], axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_all_16_bit_numbers_load_exactly(dtype: str) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    values = kernels.load(bits.view(np.uint8), dtype)
    with np.errstate(invalid="ignore"):
        expected = (
            bits.view(np.float16).astype(np.float32)
            if dtype == "float16"
            else (bits.astype(np.uint32) << 16).view(np.float32)
        )
    np.testing.assert_array_equal(values, expected)
    finite = np.isfinite(expected)
    back = np.asarray(kernels.store(expected[finite], dtype)).view(np.uint16)
    np.testing.assert_array_equal(back, bits[finite])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_ties_between_16_bit_numbers_go_to_the_even_one(dtype: str) -> None:
    """Half way between each two neighbours, and one float32 step to each side of it."""
    bits = np.arange(2**15 - 1, dtype=np.uint16)
    numbers = kernels.load(bits.view(np.uint8), dtype)
    low, high = (numbers[:-1][np.isfinite(numbers[1:])], numbers[1:][np.isfinite(numbers[1:])])
    middle = ((low.astype(np.float64) + high) / 2).astype(np.float32)
    for values in (middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))):
        for signed in (values, -values):
            got = kernels.load(kernels.store(np.ascontiguousarray(signed), dtype), dtype)
            np.testing.assert_array_equal(got, rounded_to(signed[None], dtype)[0])


# ---- float32: within a bound


@given(case=cases(dtypes=DTYPES))
def test_float_sums_of_rows_are_within_their_bound(case: Case) -> None:
    vectors, queries = case.make()
    kept = rounded_to(vectors, case.dtype)
    given = np.stack([stored(row, case.dtype) for row in kept])
    rows = np.random.default_rng(case.seed).integers(len(kept), size=20).astype(np.uint32)
    with np.errstate(over="ignore", invalid="ignore"):
        both = kernels.dot_norm_rows(queries[0], given, case.dtype, rows)
        dots, norms = (np.asarray(part, np.float64) for part in both)
        scores = np.asarray(kernels.squared_l2_rows(queries[0], given, case.dtype, rows), np.float64)
    x, y = queries[0].astype(np.float64), kept[rows].astype(np.float64)
    ulps, tiny = (case.dim / 16 + 8) * 2.0**-24, case.dim * 2.0**-126
    for got, terms in ((dots, x * y), (norms, y * y), (-scores, (x - y) ** 2)):
        magnitude = abs(terms).sum(axis=1)
        usual = magnitude < 1e37  # beyond, float32 may overflow, which must not look like a small number
        assert (abs(got - terms.sum(axis=1)) <= 1.01 * ulps * magnitude + tiny)[usual].all()
        assert not (abs(got[~usual & (magnitude > 1e39)]) < 1e38).any()


@every_dtype
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_rows_that_are_not_finite_survive(dtype: str, wrong: float) -> None:
    for n in (1, 15, 16, 17, 33):
        for place in range(n):
            vectors = np.ones((2, n), np.float32)
            vectors[1, place] = wrong
            given = np.stack([stored(row, dtype) for row in vectors])
            query, rows = np.ones(n, np.float32), np.arange(2, dtype=np.uint32)
            dots, norms = (np.asarray(part) for part in kernels.dot_norm_rows(query, given, dtype, rows))
            assert kernels.screen_rows(dots, norms, 0.0, 1e9) == 0b10
            scores = np.asarray(kernels.squared_l2_rows(query, given, dtype, rows))
            assert kernels.screen_rows(scores, None, 0.0, 1e9) == 0b10


@given(n=st.integers(1, 64), factor=st.floats(-2, 2, width=32), seed=st.integers(0, 2**32 - 1))
def test_screening_of_rows(n: int, factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(n).astype(np.float32)
    norms = (10.0 ** rng.uniform(-38, 38, n)).astype(np.float32)
    norms[rng.random(n) < 0.5] = 1
    for squared in (norms, None):
        bound = scores.astype(np.float64) + (0 if squared is None else np.sqrt(squared, dtype=np.float64) * factor)
        threshold = np.float32(np.median(bound))
        mask = kernels.screen_rows(scores, squared, factor, threshold)
        survived = np.array([mask >> r & 1 for r in range(64)], bool)
        assert not survived[n:].any()
        unusual = False if squared is None else ~((squared >= np.float32(1e-26)) & (squared < np.float32(1e36)))
        slack = 1e-6 * (abs(bound) + abs(scores) + abs(threshold))
        assert survived[:n][(bound > threshold + slack) | unusual].all()
        assert not survived[:n][(bound < threshold - slack) & ~np.asarray(unusual)].any()


@given(n=st.integers(1, 64), floats=st.booleans(), biased=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_bounds_of_distances(n: int, floats: bool, biased: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dots = rng.standard_normal(n).astype(np.float32) if floats else rng.integers(-(2**31), 2**31, n).astype(np.int32)
    terms = (rng.random((4, n)) * 10.0 ** rng.uniform(-9, 9, (4, 1))).astype(np.float32)
    low, high, score, error, rest, bias_low, bias_high = query = rng.standard_normal(7)
    scale, row_error, norm, bias = terms.astype(np.float64)
    lows, highs = kernels.bound_distances(dots, terms, list(query), biased)
    middle, beside = score * dots * scale, error * row_error + rest * norm
    below, above = (bias_low * bias * biased, bias_high * bias * biased)
    slack = 1e-14 * (
        abs(np.array([middle, error * row_error, rest * norm, below, above])).sum(axis=0) + abs(low) + abs(high)
    )
    assert (abs(lows - (low + middle - beside + below)) <= slack).all()
    assert (abs(highs - (high + middle + beside + above)) <= slack).all()


@pytest.mark.parametrize("place", range(17))
@pytest.mark.parametrize("term", range(4))
def test_what_is_not_a_number_bounds_nothing(term: int, place: int) -> None:
    terms = np.ones((4, 17), np.float32)
    terms[term, place] = np.nan
    lows, highs = kernels.bound_distances(np.ones(17, np.int32), terms, [0.0] + [1.0] * 6, True)
    assert (lows[place], highs[place]) == (-np.inf, np.inf)
    assert np.isfinite(np.delete(lows, place)).all()
    assert np.isfinite(np.delete(highs, place)).all()


@given(
    values=st.lists(st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1.0, np.nextafter(1, 2), np.inf, np.nan]), max_size=64),
    limit=st.sampled_from([-np.inf, -1.0, 0.0, 1.0, np.inf]),
)
def test_values_not_above_a_limit(values: list[float], limit: float) -> None:
    mask = kernels.not_above(np.array(values), limit)
    assert mask == sum(1 << i for i, value in enumerate(values) if not value > limit)


# ---- integers: exact


@given(
    row_bytes=st.integers(1, 12).map(lambda n: 16 * n),
    n_rows=st.integers(1, 64),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_nibble_dots(row_bytes: int, n_rows: int, extreme: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.array([0x00, 0x0F, 0xF0, 0xFF]) if extreme else np.arange(256)
    plane = rng.choice(values, (100, row_bytes)).astype(np.uint8)
    query = (rng.choice([-127, 127], 2 * row_bytes) if extreme else rng.integers(-127, 128, 2 * row_bytes)).astype(
        np.int8
    )
    rows = rng.integers(100, size=n_rows).astype(np.uint32)
    nibbles = np.hstack([plane & 15, plane >> 4]).astype(np.int64)
    np.testing.assert_array_equal(kernels.dot_nibbles(plane, rows, query), nibbles[rows] @ query.astype(np.int64))


def test_nibble_dots_of_the_largest_dim() -> None:
    """The largest sum there can be: 15 * 127 * 65,536."""
    plane = np.full((2, 32_768), 0xFF, np.uint8)
    for sign in (-1, 1):
        query = np.full(65_536, sign * 127, np.int8)
        assert kernels.dot_nibbles(plane, np.array([1], np.uint32), query).tolist() == [sign * 15 * 127 * 65_536]


@given(
    dim=st.integers(1, 48).map(lambda n: 4 * n),
    n_queries=st.integers(1, 30),
    n_rows=st.integers(1, 64),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_tiles_of_bytes(dim: int, n_queries: int, n_rows: int, extreme: bool, seed: int) -> None:
    """A row survives from exactly its dot product on; saturating 16-bit sums would show at the extremes."""
    rng = np.random.default_rng(seed)
    most = kernels.query_limit()
    rows = (rng.choice([0, 255], (64, dim)) if extreme else rng.integers(256, size=(64, dim))).astype(np.uint8)
    queries = (
        rng.choice([-most, most], (n_queries, dim)) if extreme else rng.integers(-most, most + 1, (n_queries, dim))
    )
    dots = queries @ rows.astype(np.int64).T
    for threshold in (float(dots.flat[0]), float(dots.flat[0]) + 0.5, float(np.median(dots)), 0.0):
        for n in (n_rows, 64):
            masks = np.asarray(kernels.screen_tile_i8(rows, queries.astype(np.int8), threshold, n), np.uint64)
            bits = np.array([[int(mask) >> r & 1 for r in range(n)] for mask in masks], bool)
            np.testing.assert_array_equal(bits, dots[:, :n].astype(np.float32) >= np.float32(threshold))


@given(dim=st.integers(1, 48).map(lambda n: 4 * n), n_rows=st.integers(1, 64), seed=st.integers(0, 2**32 - 1))
def test_signed_codes(dim: int, n_rows: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(256, size=(64, dim)).astype(np.uint8)
    codes, sums = (np.asarray(part) for part in kernels.signed_codes(rows, n_rows))
    wide = rows.astype(np.int64)
    signed = np.maximum(wide - 136, -127) if kernels.query_limit() == 127 else (np.maximum(wide, 10) - 135) // 2
    assert abs(signed).max() <= kernels.query_limit()
    by_row = codes.reshape(64, -1)
    assert by_row.shape[1] == -(-dim // 64) * 64
    np.testing.assert_array_equal(by_row[:n_rows, :dim], signed[:n_rows])
    assert not by_row[:n_rows, dim:].any()
    np.testing.assert_array_equal(sums[:n_rows], signed[:n_rows].sum(axis=1))


def test_tiles_of_the_largest_dim() -> None:
    rows = np.full((64, 65_536), 255, np.uint8)
    for sign in (-1, 1):
        queries = np.full((3, 65_536), sign * kernels.query_limit(), np.int8)
        dot = sign * 255.0 * kernels.query_limit() * 65_536
        for threshold, passes in ((dot - 1e3, True), (dot + 1e3, False)):
            masks = kernels.screen_tile_i8(rows, queries, threshold)
            assert [int(mask) for mask in masks] == [2**64 - 1 if passes else 0] * 3


@pytest.mark.parametrize("limit", [63, 127])
@pytest.mark.parametrize("dim", [1, 15, 16, 17, 384, 784])
def test_encode_query(dim: int, limit: int, rng: np.random.Generator) -> None:
    y, center = rng.standard_normal((2, dim)).astype(np.float32)
    for factor, subtracted in ((0.25, 0.0), (1.0, 1.0)):
        codes, scale, squared, shift, norm, rest, total = kernels.encode_query(y, factor, subtracted, center, limit)
        v = y.astype(np.float64) * factor - subtracted * center
        assert scale == np.abs(v).max() / limit
        np.testing.assert_array_equal(codes, np.rint(v * (1 / scale)))
        assert np.abs(codes.astype(int)).max() == limit
        assert (norm, total) == (np.square(codes.astype(float)).sum(), codes.sum(dtype=int))
        np.testing.assert_allclose([squared, shift], [v @ v, center.astype(np.float64) @ v], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(rest, np.square(v * (1 / scale) - codes).sum(), rtol=1e-12, atol=1e-20)
    codes, scale, *others = kernels.encode_query(np.zeros(dim, np.float32), 1.0, 0.0, center, limit)
    assert (scale, others, codes.any()) == (1e-30, [0, 0, 0, 0, 0], False)


@given(st.sets(st.integers(-(2**63), 2**63 - 2), min_size=1, max_size=70), st.data())
def test_insert(given_numbers: set[int], data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(sorted(given_numbers)))
    numbers = np.array(sorted(given_numbers - {value}), np.int64)
    place, after = kernels.insert(numbers, value)
    n = len(given_numbers)
    assert place == np.searchsorted(numbers, value)
    assert after[:n].tolist() == sorted(given_numbers)
    assert set(after[n:].tolist()) == {2**63 - 1}


@pytest.mark.parametrize("n", [1, 2, 16, 64, 128, 256, 1024, 65_536])
def test_hadamard(n: int, rng: np.random.Generator) -> None:
    """Integers, so that every order of summation gives the same."""
    x = rng.integers(-50, 50, n).astype(np.float32)
    right = x.astype(np.float64)
    stride = 1
    while stride < n:
        pairs = right.reshape(-1, 2, stride)
        right = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).ravel()
        stride *= 2
    np.testing.assert_array_equal(kernels.hadamard(x), right)


@pytest.mark.parametrize("dim", [16, 48, 384, 4096])
def test_steps(dim: int, rng: np.random.Generator) -> None:
    x, y, origin = (rng.standard_normal(dim).astype(np.float32) for _ in range(3))
    y[::7] = x[::7]  # no step at all counts as one upwards
    *sums, signs = kernels.code_step(x, y, origin)
    step = y.astype(np.float64) - x
    sign = np.where(step < 0, -1, 1)
    right = np.abs(step).sum(), (step**2).sum(), (sign * x).sum(), ((x.astype(np.float64) + origin) * step).sum()
    np.testing.assert_allclose(sums, right, rtol=1e-5, atol=1e-4 * dim**0.5)
    np.testing.assert_array_equal(np.unpackbits(signs, bitorder="little"), sign > 0)


@pytest.mark.parametrize("n_pairs", [2, 6, 48, 256, 258, 1024])
def test_estimates(n_pairs: int, rng: np.random.Generator) -> None:
    codes = rng.integers(256, size=(n_pairs, 32), dtype=np.uint8)
    tables = rng.integers(128, size=(2 * n_pairs, 16), dtype=np.uint8)
    if n_pairs == 256:
        tables[:] = 127  # the largest sums that 16 bits are given
    shift, factor = rng.standard_normal((2, 32)).astype(np.float32)
    shift[5] = np.inf  # a place without a neighbour
    low, high = np.arange(n_pairs)[:, None] * 2, np.arange(n_pairs)[:, None] * 2 + 1
    sums = tables[low, codes & 15].sum(axis=0, dtype=np.int64) + tables[high, codes >> 4].sum(axis=0, dtype=np.int64)
    right = 0.5 + shift + factor * (sums / 1024 - 3.0)
    worst = float(np.median(right))
    nearer, keys = kernels.estimate(codes.ravel(), tables.ravel(), shift, factor, 0.5, 1 / 1024, 3.0, worst)
    np.testing.assert_allclose(keys, right, rtol=1e-4, atol=1e-4)
    assert [nearer >> i & 1 for i in range(32)] == (keys < np.float32(worst)).tolist()


def test_the_query_limit_is_that_of_the_instruction_set() -> None:
    assert kernels.query_limit() == (63 if _core.isa() in ("avx2", "avx512") else 127)


def test_int8_peak_is_a_speed() -> None:
    assert kernels.int8_peak(0.01) > 1e8


# ---- the others


@pytest.mark.parametrize("isa", OTHERS)
@is_outer
def test_the_other_instruction_sets(isa: str) -> None:
    pass_with(isa, __file__)
