"""engine._validate: converted exactly, or refused by name, value and expectation."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from engine import _validate
from engine.exceptions import InvalidArgumentError

validate: Any = _validate  # whose arguments are wrong on purpose here
MATRIX: Any = np.arange(12, dtype=np.float32).reshape(3, 4)


class Subclass(np.ndarray):
    """As np.matrix and others, which change what operators mean."""


def test_a_right_matrix_is_not_copied() -> None:
    assert np.shares_memory(validate.as_matrix(MATRIX, "queries"), MATRIX)


@pytest.mark.parametrize(
    "value",
    [
        MATRIX.tolist(),
        MATRIX.astype(np.float64),
        MATRIX.astype(np.float16),
        MATRIX.astype(np.longdouble),
        MATRIX.astype(np.int8),
        MATRIX.astype(np.uint64),
        MATRIX.astype(">f4"),
        MATRIX.astype(">i2"),
        MATRIX.astype(object),
        np.asfortranarray(MATRIX),
        np.repeat(MATRIX, 2, axis=1)[:, ::2],
        MATRIX[::-1][::-1],
        np.require(np.frombuffer(b"x" + MATRIX.tobytes(), np.uint8)[1:].view(np.float32).reshape(3, 4)),
        tuple(MATRIX),
        memoryview(MATRIX),
        MATRIX.view(Subclass),
    ],
    ids=[
        "lists",
        "float64",
        "float16",
        "longdouble",
        "int8",
        "uint64",
        "big-endian",
        "big-endian-int",
        "object",
        "fortran",
        "strided",
        "reversed",
        "unaligned",
        "tuple-of-rows",
        "memoryview",
        "subclass",
    ],
)
def test_other_forms_of_the_same_matrix(value: Any) -> None:
    matrix = validate.as_matrix(value, "queries")
    assert type(matrix) is np.ndarray
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert matrix.flags.aligned
    np.testing.assert_array_equal(matrix, MATRIX)


def test_bools_are_numbers() -> None:
    np.testing.assert_array_equal(validate.as_matrix([[True, False]], "queries"), [[1, 0]])


def test_a_vector_is_one_row() -> None:
    assert validate.as_matrix(MATRIX[0], "queries").shape == (1, 4)


@given(npst.arrays(np.float64, (3, 5), elements=st.floats(-1e30, 1e30)))
def test_float64_is_rounded_to_nearest(array: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(validate.as_matrix(array, "queries"), array.astype(np.float32))


def test_the_input_is_not_changed() -> None:
    before = MATRIX.copy()
    validate.as_matrix(MATRIX[:, ::2], "queries")
    np.testing.assert_array_equal(MATRIX, before)


class NeedsGradient:
    """As a tensor of torch that takes part in training."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


def masked(values: Any) -> Any:
    return np.ma.masked_array(values, mask=np.zeros_like(values, dtype=bool))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: validate.as_matrix(np.zeros((2, 3, 4)), "queries"),
            r"queries has shape \(2, 3, 4\), expected \(n, dim\)",
        ),
        (lambda: validate.as_matrix(5.0, "queries"), r"queries has shape \(\), expected"),
        (
            lambda: validate.as_matrix(np.zeros((0, 4)), "queries"),
            r"queries has shape \(0, 4\), expected at least one row",
        ),
        (lambda: validate.as_matrix(np.zeros((2, 0)), "queries"), r"queries has dim 0, expected 1 to 65536"),
        (lambda: validate.as_matrix([], "queries"), r"queries has dim 0, expected"),
        (lambda: validate.as_matrix(np.zeros((1, 65_537)), "queries"), r"queries has dim 65537, expected 1 to 65536"),
        (lambda: validate.as_matrix(MATRIX, "queries", dim=8), r"queries has dim 4, expected 8"),
        (lambda: validate.as_matrix([[1, np.nan]], "queries"), r"queries\[0, 1\] is nan, expected finite"),
        (lambda: validate.as_matrix([[1], [-np.inf]], "queries"), r"queries\[1, 0\] is -inf, expected finite"),
        (
            lambda: validate.as_matrix([[1e39]], "queries"),
            r"queries\[0, 0\] is 1e\+39, expected a number within float32",
        ),
        (lambda: validate.as_matrix(np.array([[np.inf]], np.float16), "queries"), r"queries\[0, 0\] is inf"),
        (lambda: validate.as_matrix([[2**200]], "queries"), r"queries\[0, 0\] is .*, expected a number within float32"),
        (lambda: validate.as_matrix([[1, 2], [3]], "queries"), r"queries is not a rectangular array"),
        (lambda: validate.as_matrix([["1", "2"]], "queries"), r"queries has dtype <U1, expected real numbers"),
        (lambda: validate.as_matrix([[None, 1.0]], "queries"), r"queries has dtype object, expected real numbers"),
        (
            lambda: validate.as_matrix(np.zeros((1, 2), complex), "queries"),
            r"queries has dtype complex128, expected real",
        ),
        (
            lambda: validate.as_matrix(np.zeros((1, 2), "M8[s]"), "queries"),
            r"queries has dtype datetime64.*, expected real",
        ),
        (lambda: validate.as_matrix({"a": 1}, "queries"), r"queries has dtype object, expected real numbers"),
        (lambda: validate.as_matrix(masked(MATRIX), "queries"), r"queries is a masked array"),
        (lambda: validate.as_matrix(None, "queries"), r"queries has dtype object, expected real numbers"),
        (
            lambda: validate.as_matrix(np.array([[np.complex64(9j)]], object), "queries"),
            r"queries has dtype object, expected real numbers",
        ),
        (lambda: validate.as_matrix([[10**400, 1]], "queries"), r"queries holds an integer that no float can hold"),
        (lambda: validate.as_ids([10**400]), r"ids holds an integer that no float can hold"),
        (lambda: validate.as_matrix(NeedsGradient(), "queries"), r"queries is not a rectangular array.*requires grad"),
        (lambda: validate.as_count(0, "k"), r"k is 0, expected an integer from 1"),
        (lambda: validate.as_count(-3, "k"), r"k is -3, expected an integer from 1"),
        (lambda: validate.as_count(2**31, "k"), r"k is 2147483648, expected an integer from 1 to 2147483647"),
        (lambda: validate.as_count(1.0, "k"), r"k is 1.0, expected an integer"),
        (lambda: validate.as_count("10", "k"), r"k is '10', expected an integer"),
        (lambda: validate.as_count(None, "k"), r"k is None, expected an integer"),
        (lambda: validate.as_count(True, "k"), r"k is True, expected an integer"),
        (lambda: validate.as_count(np.array([1, 2]), "k"), r"k is array.*, expected an integer"),
        (lambda: validate.as_threads(0), r"n_threads is 0, expected an integer from 1"),
        (lambda: validate.as_threads(5000), r"n_threads is 5000, expected an integer from 1 to 1024"),
        (lambda: validate.as_threads("all"), r"n_threads is 'all', expected an integer"),
        (lambda: validate.as_finite(np.nan, "radius"), r"radius is nan, expected a finite number"),
        (lambda: validate.as_finite(np.inf, "radius"), r"radius is inf, expected a finite number"),
        (lambda: validate.as_finite("far", "radius"), r"radius is 'far', expected a number"),
        (lambda: validate.as_finite([1, 2], "radius"), r"radius is \[1, 2\], expected a number"),
        (lambda: validate.as_finite(10**400, "radius"), r"radius is 1000.*, expected a"),
        (lambda: validate.as_finite(None, "radius"), r"radius is None, expected a number"),
        (lambda: validate.as_finite("3", "radius"), r"radius is '3', expected a number"),
        (lambda: validate.as_finite(b"3", "radius"), r"radius is b'3', expected a number"),
        (lambda: validate.as_finite(np.array("3"), "radius"), r"radius is array\('3'.*, expected a number"),
        (lambda: validate.as_finite(True, "radius"), r"radius is True, expected a number"),
        (lambda: validate.as_finite(np.True_, "radius"), r"radius is .*True.*, expected a number"),
        (lambda: validate.as_finite(np.complex64(3), "radius"), r"radius is .*3.*, expected a number"),
        (lambda: validate.as_flag("no", "mmap"), r"mmap is 'no', expected True or False"),
        (lambda: validate.as_flag(0, "mmap"), r"mmap is 0, expected True or False"),
        (lambda: validate.as_flag(None, "mmap"), r"mmap is None, expected True or False"),
        (lambda: validate.as_json({"a": (1, 2)}, "metadata"), r"metadata changes on the way through JSON"),
        (lambda: validate.as_json({"a": {1}}, "metadata"), r"metadata cannot be written as JSON"),
        (lambda: validate.as_json({"a": np.nan}, "metadata"), r"metadata cannot be written as JSON"),
        (
            lambda: validate.as_k(2**31 - 1, 10**6),
            r"k is 2147483647, expected at most \d+ for 1000000 queries",
        ),
        (lambda: validate.as_k(0, 1), r"k is 0, expected an integer from 1"),
        (
            lambda: validate.as_choice("cos", "metric", ("cosine", "l2")),
            r"metric is 'cos', expected one of 'cosine', 'l2'",
        ),
        (lambda: validate.as_choice(["l2"], "metric", ("cosine", "l2")), r"metric is \['l2'\], expected one of"),
        (lambda: validate.as_ids([0, -1]), r"ids\[1\] is -1, expected 0 to 2\*\*63 - 1"),
        (lambda: validate.as_ids(np.array([2**63], np.uint64)), r"ids\[0\] is 9223372036854775808, expected 0 to"),
        (lambda: validate.as_ids([2**70]), r"ids"),
        (lambda: validate.as_ids([0.0, 1.0]), r"ids has dtype float64, expected integers"),
        (lambda: validate.as_ids([True]), r"ids has dtype bool, expected integers"),
        (lambda: validate.as_ids([[1, 2]]), r"ids has shape \(1, 2\), expected one dimension"),
        (lambda: validate.as_ids(["a"]), r"ids has dtype <U1, expected"),
        (lambda: validate.as_ids([1, 2], n=3), r"ids has length 2, expected 3"),
        (lambda: validate.as_mask(np.ones(3, np.int8), 3), r"mask has dtype int8, expected bool"),
        (lambda: validate.as_mask(np.ones(3, bool), 4), r"mask has shape \(3,\), expected \(4,\)"),
        (lambda: validate.as_mask(masked(np.ones(3, bool)), 3), r"mask is a masked array"),
        (lambda: validate.as_mask([[True], [True, False]], 2), r"mask is not a list of bools"),
        (lambda: validate.as_mask(np.ones((3, 1), bool), 3), r"mask has shape \(3, 1\), expected \(3,\)"),
        (lambda: validate.as_path(3), r"path is 3, expected a path"),
        (lambda: validate.as_path(""), r"path is '', expected a path"),
        (lambda: validate.as_path("a\0b"), r"path is .*, expected a path"),
        (lambda: validate.as_path(None, "folder"), r"folder is None, expected a path"),
    ],
)
def test_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        call()


def test_messages_stay_short() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        validate.as_choice("x" * 10_000, "metric", ("l2",))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [1, np.int64(1), np.uint8(1), np.array(1)])
def test_counts(value: Any) -> None:
    assert validate.as_count(value, "k") == 1
    assert type(validate.as_count(value, "k")) is int


@pytest.mark.parametrize("value", [0.5, np.float16(0.5), np.longdouble(0.5), np.array(0.5), Fraction(1, 2)])
def test_numbers(value: Any) -> None:
    assert validate.as_finite(value, "radius") == 0.5
    assert type(validate.as_finite(value, "radius")) is float
    assert validate.as_finite(3, "radius") == 3


def test_flags() -> None:
    assert validate.as_flag(np.True_, "mmap") is True
    assert validate.as_flag(False, "mmap") is False


def test_results_may_take_half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2**28 < validate.memory_bytes() < 2**60
    monkeypatch.setattr(validate, "memory_bytes", lambda: 2 * 12 * 10**9)
    assert validate.as_k(10**6, 1000) == 10**6
    with pytest.raises(InvalidArgumentError, match=r"k is 1000001, expected at most 1000000 for 1000 queries"):
        validate.as_k(10**6 + 1, 1000)


def test_the_first_number_that_is_not_finite_is_named() -> None:
    wrong = [[np.nan, 0], [0, 1e39], [0, 0]]
    with pytest.raises(InvalidArgumentError, match=r"vectors\[0, 0\] is nan, expected finite"):
        validate.refuse_infinite(wrong, "vectors")
    with pytest.raises(InvalidArgumentError, match=r"vectors\[1, 1\] is 1e\+39, expected a number within float32"):
        validate.refuse_infinite(wrong, "vectors", np.array([1, 2]))
    validate.refuse_infinite(wrong, "vectors", np.array([2]))


def test_threads() -> None:
    assert validate.as_threads(3) == 3
    assert validate.as_threads(None) >= 1


@pytest.mark.parametrize(
    "value",
    [[0, 5, 2**40], np.array([0, 5, 2**40], np.uint64), np.array([0, 5, 2**40], ">i8"), (0, 5, 2**40)],
    ids=["list", "uint64", "big-endian", "tuple"],
)
def test_ids(value: Any) -> None:
    ids = validate.as_ids(value)
    assert ids.dtype == np.int64
    assert ids.dtype.isnative
    assert ids.flags.c_contiguous
    assert ids.tolist() == [0, 5, 2**40]


def test_no_ids_are_ids() -> None:
    assert validate.as_ids([]).dtype == np.int64


def test_paths() -> None:
    assert validate.as_path(Path("a") / "b") == "a/b"
    assert validate.as_path(b"a") == "a"
