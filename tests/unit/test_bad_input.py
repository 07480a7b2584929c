"""Input that ruins other libraries: an error that says argument, value and expectation, or the right answer.

Everything here also runs under ``python -O``, so the checks are no assert statements: `problem` returns what is wrong.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine import (
    CorruptIndexError,
    EngineError,
    InvalidArgumentError,
    NotBuiltError,
    StorageError,
    UnsupportedError,
)
from engine.types import Metric

untyped: Any = engine  # whose arguments are wrong on purpose here
DIM = 8
VECTORS = np.random.default_rng(0).standard_normal((20, DIM)).astype(np.float32)
QUERY = np.random.default_rng(1).standard_normal((2, DIM)).astype(np.float32)
ZERO = np.zeros((1, DIM), np.float32)


def index_of(metric: Metric = "cosine", **options: Any) -> engine.Index:
    """Twenty rows with ids 100 to 119."""
    index = engine.Index(DIM, metric=metric, **options)
    index.add(VECTORS, ids=np.arange(100, 120))
    return index


def with_value(value: float) -> Any:
    array = QUERY.astype(np.float64)
    array[1, 5] = value
    return array


def folder_of(**files: bytes) -> Path:
    folder = Path(tempfile.mkdtemp())
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def damaged(position: int) -> Path:
    path = folder_of() / "damaged.nrf"
    index_of().save(path)
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)
    return path


@dataclass(frozen=True)
class Bad:
    """`call` must raise `error`, its message must match every part of `message`, and the index must not change."""

    call: Callable[[Any], object]
    message: str
    error: type[EngineError] = InvalidArgumentError


BAD = {
    # numbers
    "nan-in-query": Bad(
        lambda i: i.search(with_value(np.nan), 3), r"queries\[1(, 5)?\] .*(nan|NaN).*, expected finite"
    ),
    "nan-in-float32-query": Bad(
        lambda i: i.search(with_value(np.nan).astype("f4"), 3), r"queries\[1(, 5)?\] .*(nan|NaN).*, expected finite"
    ),
    "nan-in-vectors": Bad(
        lambda i: i.add(with_value(np.nan).astype("f4")), r"vectors\[1(, 5)?\] .*(nan|NaN).*, expected finite"
    ),
    "nan-in-range-query": Bad(
        lambda i: i.range_search(with_value(np.nan).astype("f4"), 1.0),
        r"queries\[1(, 5)?\] .*(nan|NaN).*, expected finite",
    ),
    "nan-in-topk-queries": Bad(
        lambda i: untyped.topk(with_value(np.nan).astype("f4"), VECTORS, 3),
        r"queries\[1(, 5)?\] .*(nan|NaN).*, expected finite",
    ),
    "nan-in-topk-vectors": Bad(
        lambda i: untyped.topk(QUERY, with_value(np.nan).astype("f4"), 3),
        r"vectors\[1(, 5)?\] .*(nan|NaN).*, expected finite",
    ),
    "inf-in-query": Bad(
        lambda i: i.search(with_value(np.inf).astype("f4"), 3), r"queries\[1(, 5)?\] .*(inf|Inf).*, expected finite"
    ),
    "minus-inf-in-vectors": Bad(
        lambda i: i.add(with_value(-np.inf).astype("f4")), r"vectors\[1(, 5)?\] .*(-inf|Inf).*, expected finite"
    ),
    "inf-in-topk-vectors": Bad(
        lambda i: untyped.topk(QUERY, with_value(np.inf).astype("f4"), 3, metric="l2"),
        r"vectors\[1(, 5)?\] .*(inf|Inf).*, expected finite",
    ),
    "too-large-for-float32": Bad(
        lambda i: i.search(with_value(1e39), 3), r"queries\[1, 5\] is 1e\+39, expected a number within float32"
    ),
    "added-too-large-for-float32": Bad(
        lambda i: i.add(with_value(1e39)), r"vectors\[1, 5\] is 1e\+39, expected a number within float32"
    ),
    "range-query-too-large-for-float32": Bad(
        lambda i: i.range_search(with_value(1e39), 1), r"queries\[1, 5\] is 1e\+39, expected a number within float32"
    ),
    "topk-too-large-for-float32": Bad(
        lambda i: untyped.topk(QUERY, with_value(-1e39), 3),
        r"vectors\[1, 5\] is -1e\+39, expected a number within float32",
    ),
    "too-large-for-float16": Bad(
        lambda i: index_of(dtype="float16").add(with_value(70000.0)), r"vectors\[1(, 5)?\].* too large .*float16"
    ),
    "too-large-for-bfloat16": Bad(
        lambda i: index_of(dtype="bfloat16").add(with_value(3.4e38)), r"vectors\[1(, 5)?\].* too large .*bfloat16"
    ),
    "zero-vector-under-cosine": Bad(lambda i: i.add(np.vstack([QUERY, ZERO])), r"vectors\[2\].*zero.*cosine"),
    "zero-query-under-cosine": Bad(lambda i: i.search(np.vstack([QUERY, ZERO]), 3), r"queries\[2\].*zero.*cosine"),
    "zero-range-query-under-cosine": Bad(lambda i: i.range_search(ZERO, 1.0), r"queries\[0\].*zero.*cosine"),
    "zero-vector-in-topk": Bad(
        lambda i: untyped.topk(QUERY, np.vstack([VECTORS, ZERO]), 3), r"vectors\[20\].*zero.*cosine"
    ),
    "zero-query-in-topk": Bad(lambda i: untyped.topk(ZERO, VECTORS, 3), r"queries\[0\].*zero.*cosine"),
    "zero-once-in-float16": Bad(
        lambda i: index_of(dtype="float16").add(QUERY * 1e-20), r"vectors\[0\].*too small.*float16"
    ),
    # shapes
    "wrong-dim-of-query": Bad(lambda i: i.search(QUERY[:, :7], 3), r"queries has dim 7, expected 8"),
    "wrong-dim-of-vectors": Bad(lambda i: i.add(VECTORS[:, :7]), r"vectors has dim 7, expected 8"),
    "dims-of-topk-differ": Bad(
        lambda i: untyped.topk(QUERY, VECTORS[:, :7], 3), r"(queries|vectors) has dim [78], expected [78]"
    ),
    "query-transposed": Bad(lambda i: i.search(VECTORS.T, 3), r"queries has dim 20, expected 8"),
    "three-axes": Bad(lambda i: i.search(QUERY[None], 3), r"queries has shape \(1, 2, 8\), expected \(n, dim\)"),
    "no-axes": Bad(lambda i: i.search(3.0, 3), r"queries has shape \(\), expected \(n, dim\)"),
    "no-queries": Bad(lambda i: i.search(QUERY[:0], 3), r"queries has shape \(0, 8\), expected at least one row"),
    "no-vectors": Bad(lambda i: i.add(VECTORS[:0]), r"vectors has shape \(0, 8\), expected at least one row"),
    "no-topk-vectors": Bad(
        lambda i: untyped.topk(QUERY, VECTORS[:0], 3), r"vectors has shape \(0, 8\), expected at least one row"
    ),
    "ragged-lists": Bad(lambda i: i.search([[1.0] * 8, [1.0] * 7], 3), r"queries is not a rectangular array"),
    # kinds of array
    "strings": Bad(lambda i: i.search(QUERY.astype(str), 3), r"queries has dtype <U\d+, expected real numbers"),
    "complex": Bad(
        lambda i: i.search(QUERY.astype(complex), 3), r"queries has dtype complex128, expected real numbers"
    ),
    "objects": Bad(lambda i: i.search(np.array([[None] * DIM]), 3), r"queries has dtype object, expected real numbers"),
    "none": Bad(lambda i: i.search(None, 3), r"queries has dtype object, expected real numbers"),
    "masked-array": Bad(lambda i: i.search(np.ma.masked_array(QUERY, QUERY > 1), 3), r"queries is a masked array"),
    "masked-mask": Bad(
        lambda i: untyped.topk(QUERY, VECTORS, 3, mask=np.ma.masked_array(np.ones(20, bool), np.ones(20, bool))),
        r"mask is a masked array",
    ),
    "masked-filter": Bad(
        lambda i: i.search(QUERY, 3, filter=np.ma.masked_array(np.ones(20, bool), np.ones(20, bool))),
        r"filter is a masked array",
    ),
    "complex-in-objects": Bad(
        lambda i: i.search([[np.complex64(9j)] * DIM], 3), r"queries has dtype complex64, expected real numbers"
    ),
    "complex-objects": Bad(
        lambda i: i.search(np.array([[np.complex64(9j)] * DIM], object), 3),
        r"queries has dtype object, expected real numbers",
    ),
    "integer-beyond-float64": Bad(lambda i: i.search([[10**400] * DIM], 3), r"queries holds an integer that no float"),
    "dates": Bad(
        lambda i: i.search(np.zeros((1, DIM), "M8[s]"), 3), r"queries has dtype datetime64\[s\], expected real numbers"
    ),
    # k, radius, threads
    "k-zero": Bad(lambda i: i.search(QUERY, 0), r"k is 0, expected an integer from 1"),
    "k-negative": Bad(lambda i: i.search(QUERY, -1), r"k is -1, expected an integer from 1"),
    "k-float": Bad(lambda i: i.search(QUERY, 2.0), r"k is 2\.0, expected an integer"),
    "k-text": Bad(lambda i: i.search(QUERY, "3"), r"k is '3', expected an integer"),
    "k-bool": Bad(lambda i: i.search(QUERY, True), r"k is True, expected an integer"),
    "k-none": Bad(lambda i: untyped.topk(QUERY, VECTORS, None), r"k is None, expected an integer"),
    "k-beyond-int32": Bad(lambda i: i.search(QUERY, 2**40), r"k is 1099511627776, expected an integer from 1 to"),
    "k-beyond-memory": Bad(
        lambda i: i.search(np.ones((20_000, DIM)), 2**31 - 1),
        r"k is 2147483647, expected at most \d+ for 20000",
    ),
    "topk-k-beyond-memory": Bad(
        lambda i: untyped.topk(np.ones((20_000, DIM)), VECTORS, 2**31 - 1), r"k is 2147483647, expected at most \d+ for"
    ),
    "radius-of-digits": Bad(lambda i: i.range_search(QUERY, "3"), r"radius is '3', expected a number"),
    "radius-bool": Bad(lambda i: i.range_search(QUERY, True), r"radius is True, expected a number"),
    "radius-nan": Bad(lambda i: i.range_search(QUERY, np.nan), r"radius is nan, expected a finite number"),
    "radius-inf": Bad(lambda i: i.range_search(QUERY, np.inf), r"radius is inf, expected a finite number"),
    "radius-text": Bad(lambda i: i.range_search(QUERY, "near"), r"radius is 'near', expected a number"),
    "threads-zero": Bad(lambda i: i.search(QUERY, 3, n_threads=0), r"n_threads is 0, expected an integer from 1"),
    "threads-text": Bad(lambda i: i.search(QUERY, 3, n_threads="all"), r"n_threads is 'all', expected an integer"),
    "threads-of-index": Bad(lambda i: untyped.Index(DIM, n_threads=-1), r"n_threads is -1, expected an integer from 1"),
    "threads-of-topk": Bad(
        lambda i: untyped.topk(QUERY, VECTORS, 3, n_threads=0), r"n_threads is 0, expected an integer from 1"
    ),
    # ids
    "ids-twice-in-one-call": Bad(lambda i: i.add(QUERY, ids=[7, 7]), r"ids.*7.*(twice|unique|distinct|duplicate)"),
    "ids-already-there": Bad(lambda i: i.add(QUERY, ids=[1, 105]), r"ids.*105.*(already|exist|new|taken)"),
    "ids-negative": Bad(lambda i: i.add(QUERY, ids=[1, -2]), r"ids\[1\] is -2, expected 0 to"),
    "ids-float": Bad(lambda i: i.add(QUERY, ids=[1.0, 2.0]), r"ids has dtype float64, expected integers"),
    "ids-bool": Bad(lambda i: i.add(QUERY, ids=[True, False]), r"ids has dtype bool, expected integers"),
    "ids-text": Bad(lambda i: i.add(QUERY, ids=["a", "b"]), r"ids has dtype <U1, expected"),
    "ids-too-few": Bad(lambda i: i.add(QUERY, ids=[1]), r"ids has length 1, expected 2"),
    "ids-too-many": Bad(lambda i: i.add(QUERY, ids=[1, 2, 3]), r"ids has length 3, expected 2"),
    "ids-two-axes": Bad(lambda i: i.add(QUERY, ids=[[1], [2]]), r"ids has shape \(2, 1\), expected one dimension"),
    "ids-beyond-int64": Bad(
        lambda i: i.add(QUERY, ids=np.array([1, 2**63], np.uint64)), r"ids\[1\] is 9223372036854775808, expected 0 to"
    ),
    "get-unknown-id": Bad(lambda i: i.get([100, 99]), r"ids.*99.*"),
    "get-negative-id": Bad(lambda i: i.get([-1]), r"ids\[0\] is -1, expected 0 to"),
    "remove-unknown-id": Bad(lambda i: i.remove([100, 99]), r"ids.*99.*not in the index"),
    "remove-twice": Bad(lambda i: i.remove([100, 101, 100]), r"ids.*100.*twice"),
    "remove-float-id": Bad(lambda i: i.remove([100.0]), r"ids has dtype float64, expected integers"),
    "remove-mask": Bad(lambda i: i.remove(np.ones(20, bool)), r"ids has dtype bool, expected integers"),
    # filters
    "mask-too-short": Bad(
        lambda i: i.search(QUERY, 3, filter=np.ones(19, bool)), r"filter has shape \(19,\), expected \(20,\)"
    ),
    "mask-too-long": Bad(
        lambda i: i.range_search(QUERY, 3, filter=np.ones(21, bool)), r"filter has shape \(21,\), expected \(20,\)"
    ),
    "mask-two-axes": Bad(
        lambda i: i.search(QUERY, 3, filter=np.ones((2, 20), bool)), r"filter has shape \(2, 20\), expected"
    ),
    "topk-mask-too-short": Bad(
        lambda i: untyped.topk(QUERY, VECTORS, 3, mask=np.ones(19, bool)), r"mask has shape \(19,\), expected \(20,\)"
    ),
    "topk-mask-of-ints": Bad(
        lambda i: untyped.topk(QUERY, VECTORS, 3, mask=np.ones(20, int)), r"mask has dtype int64, expected bool"
    ),
    "bitmap-too-short": Bad(lambda i: i.search(QUERY, 3, filter=untyped.Bitmap(np.ones(19, bool))), r"filter.*19.*20"),
    "filter-of-floats": Bad(lambda i: i.search(QUERY, 3, filter=np.ones(20)), r"filter has dtype float64, expected"),
    "filter-negative-id": Bad(lambda i: i.search(QUERY, 3, filter=[100, -1]), r"filter\[1\] is -1, expected 0 to"),
    "filter-unknown-id": Bad(lambda i: i.search(QUERY, 3, filter=[100, 99]), r"(ids|filter).*99.*not in the index"),
    "filter-bytes-0-and-1": Bad(
        lambda i: i.search(QUERY, 3, filter=np.ones(20, np.uint8)), r"(ids|filter).*1.*not in the index"
    ),
    "filter-text": Bad(lambda i: i.search(QUERY, 3, filter="red"), r"filter.*"),
    "filter-function": Bad(lambda i: i.search(QUERY, 3, filter=lambda row: True), r"filter.*"),
    # the index itself
    "search-on-empty-index": Bad(lambda i: untyped.Index(DIM).search(QUERY, 3), r"no vectors", NotBuiltError),
    "range-search-on-empty-index": Bad(
        lambda i: untyped.Index(DIM).range_search(QUERY, 1.0), r"no vectors", NotBuiltError
    ),
    "unknown-metric": Bad(
        lambda i: untyped.Index(DIM, metric="euclid"), r"metric is 'euclid', expected one of 'cosine', 'ip', 'l2'"
    ),
    "unknown-metric-in-topk": Bad(
        lambda i: untyped.topk(QUERY, VECTORS, 3, metric="dot"),
        r"metric is 'dot', expected one of 'cosine', 'ip', 'l2'",
    ),
    "metric-none": Bad(lambda i: untyped.Index(DIM, metric=None), r"metric is None, expected one of"),
    "unknown-kind": Bad(lambda i: untyped.Index(DIM, kind="tree"), r"kind is 'tree', expected one of 'exact'"),
    "unknown-dtype": Bad(
        lambda i: untyped.Index(DIM, dtype="float8"),
        r"dtype is 'float8', expected one of 'float32', 'float16', 'bfloat16'",
    ),
    "dim-zero": Bad(lambda i: untyped.Index(0), r"dim is 0, expected an integer from 1 to 65536"),
    "dim-float": Bad(lambda i: untyped.Index(8.0), r"dim is 8\.0, expected an integer"),
    "dim-too-large": Bad(lambda i: untyped.Index(65_537), r"dim is 65537, expected an integer from 1 to 65536"),
    "unknown-device": Bad(
        lambda i: untyped.topk(QUERY, VECTORS, 3, device="tpu"), r"device is 'tpu', expected 'cpu'", UnsupportedError
    ),
    # files
    "save-into-nowhere": Bad(
        lambda i: i.save(folder_of() / "no" / "x.nrf"), r"No such file or directory.*x\.nrf", StorageError
    ),
    "save-over-a-folder": Bad(lambda i: i.save(folder_of()), r"Is a directory", StorageError),
    "load-from-nowhere": Bad(
        lambda i: untyped.Index.load(folder_of() / "x.nrf"), r"No such file or directory.*x\.nrf", StorageError
    ),
    "load-text": Bad(
        lambda i: untyped.Index.load(folder_of(a=b"hello, world, how are you?") / "a"),
        r"/a is not a nearfield index: it begins with b'hello, w'",
        CorruptIndexError,
    ),
    "load-empty-file": Bad(lambda i: untyped.Index.load(folder_of(a=b"") / "a"), r"/a is empty", CorruptIndexError),
    "load-damaged-start": Bad(
        lambda i: untyped.Index.load(damaged(40)), r"damaged\.nrf is damaged: the checksum", CorruptIndexError
    ),
    "load-damaged-end": Bad(
        lambda i: untyped.Index.load(damaged(-100), mmap=False), r"damaged\.nrf is damaged: the", CorruptIndexError
    ),
    "save-to-a-number": Bad(lambda i: i.save(3), r"path is 3, expected a path"),
    "mmap-text": Bad(lambda i: untyped.Index.load(damaged(40), mmap="no"), r"mmap is 'no', expected True or False"),
    "metadata-no-dict": Bad(lambda i: setattr(i, "metadata", [1]), r"metadata is \[1\], expected a dict"),
    "metadata-no-json": Bad(lambda i: setattr(i, "metadata", {"a": {1}}), r"metadata cannot be written as JSON"),
    "load-none": Bad(lambda i: untyped.Index.load(None), r"path is None, expected a path"),
}


def results(index: engine.Index) -> bytes:
    """Everything that an index answers, as bytes to compare."""
    found = index.search(QUERY, 5)
    everything = (found.ids, found.distances, index.ids, index.get(index.ids))
    return b"".join(part.tobytes() for part in everything)


def problem(bad: Bad) -> str:
    """What is wrong with how the engine takes this input; empty if nothing."""
    index = index_of()
    before = results(index)
    try:
        answer = bad.call(index)
    except bad.error as error:
        if not re.search(bad.message, str(error), re.DOTALL):
            return f"the message is {str(error)!r}, expected {bad.message!r}"
        if len(str(error)) > 400:
            return f"the message has {len(str(error))} characters"
    except Exception as error:  # whatever else comes is the finding
        return f"{error!r} instead of {bad.error.__name__}"
    else:
        return f"no error, it gave {answer!r}"
    if results(index) != before:
        return "the index answers otherwise than before"
    index.add(QUERY, ids=[7, 8])
    if index.search(QUERY, 1).ids.ravel().tolist() != [7, 8]:
        return "adding after the error went wrong"
    return ""


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    assert not problem(BAD[name])


def test_the_table_covers_what_was_promised() -> None:
    assert len(BAD) >= 40


def test_all_of_it_under_python_o() -> None:
    """`assert` does nothing there, so an error that was one would be gone."""
    code = (
        "import sys, test_bad_input as t; wrong = {n: p for n, b in t.BAD.items() if (p := t.problem(b))}; "
        "sys.exit(str(wrong) if wrong or __debug__ else 0)"
    )
    here = Path(__file__).resolve()
    path = os.pathsep.join([str(here.parent), str(here.parents[2])])
    ran = subprocess.run(
        [sys.executable, "-O", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr


# ---- unusual, and right


def read_only(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


FORMS: dict[str, Callable[[Any], Any]] = {
    "fortran-order": np.asfortranarray,
    "every-second-column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed-twice": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "float64": lambda a: a.astype(np.float64),
    "longdouble": lambda a: a.astype(np.longdouble),
    "big-endian": lambda a: a.astype(">f4"),
    "objects-of-floats": lambda a: a.astype(object),
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a.tolist())),
    "read-only": read_only,
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),
    "broadcast": lambda a: np.broadcast_to(a[None], (3, *a.shape))[1],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_array_gives_the_same_answer(form: str) -> None:
    convert = FORMS[form]
    expected = index_of("l2").search(QUERY, 5)
    index = engine.Index(DIM, metric="l2")
    index.add(convert(VECTORS), ids=np.arange(100, 120))
    found = index.search(convert(QUERY), 5)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert engine.topk(convert(QUERY), convert(VECTORS), 5, metric="l2").ids.tolist() == (expected.ids - 100).tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, np.float16, bool])
def test_whole_numbers_are_numbers(dtype: Any) -> None:
    numbers = np.eye(DIM).astype(dtype)
    assert engine.topk(numbers, numbers, 1, metric="l2").ids.ravel().tolist() == list(range(DIM))


def test_the_input_is_copied() -> None:
    vectors = VECTORS.copy()
    index = engine.Index(DIM)
    index.add(vectors)
    before = results(index)
    vectors[:] = 1
    assert results(index) == before


def test_results_may_be_changed() -> None:
    index = index_of()
    before = results(index)
    index.ids[:] = 0
    index.get([100])[:] = 0
    ids, distances = index.search(QUERY, 3)
    ids[:], distances[:] = 0, 0
    assert results(index) == before


def test_k_above_n_pads() -> None:
    for found in (index_of().search(QUERY, 25), engine.topk(QUERY, VECTORS, 25)):
        assert found.ids.shape == (2, 25)
        assert (found.ids[:, 20:] == -1).all()
        assert np.isposinf(found.distances[:, 20:]).all()
        assert (found.ids[:, :20] >= 0).all()
        assert np.isneginf(found.similarities[:, 20:]).all()


@pytest.mark.parametrize(
    "nothing", [np.zeros(20, bool), [], np.array([], np.int64), engine.Bitmap(np.zeros(20, bool))], ids=type
)
def test_a_filter_that_matches_nothing_gives_nothing(nothing: Any) -> None:
    found = index_of().search(QUERY, 3, filter=nothing)
    assert (found.ids == -1).all()
    assert np.isposinf(found.distances).all()
    assert found.stats.selectivity == 0
    assert len(index_of().range_search(QUERY, 10.0, filter=nothing).ids) == 0


def test_an_empty_mask_in_topk_gives_nothing() -> None:
    assert (engine.topk(QUERY, VECTORS, 3, mask=np.zeros(20, bool)).ids == -1).all()


def test_ids_above_int32() -> None:
    index = engine.Index(DIM)
    big = [2**31, 2**32 + 1, 2**53 + 1, 2**63 - 1]
    index.add(VECTORS[:4], ids=big)
    assert index.search(VECTORS[:4], 1).ids.ravel().tolist() == big
    assert index.search(VECTORS[:4], 1, filter=big[2:]).ids[2:].ravel().tolist() == big[2:]
    np.testing.assert_array_equal(index.get(big[::-1]), VECTORS[3::-1])
    with pytest.raises(InvalidArgumentError, match=r"ids"):
        index.add(VECTORS[:1])  # the next id would be 2**63
    assert len(index) == 4


def test_nothing_is_half_added() -> None:
    """A bad row far behind good ones."""
    index = index_of()
    many = np.ones((5000, DIM), np.float32)
    for position in (0, 2500, 4999):
        broken = many.copy()
        broken[position] = 0
        with pytest.raises(InvalidArgumentError, match=rf"vectors\[{position}\]"):
            index.add(broken)
        assert len(index) == 20
    assert index.add(many).tolist() == list(range(120, 5120))


def test_zero_vectors_are_fine_elsewhere() -> None:
    for metric in ("ip", "l2"):
        index = engine.Index(DIM, metric=metric)
        index.add(ZERO)
        assert index.search(ZERO, 1).distances.tolist() == [[0.0]]


def test_the_smallest_and_largest_numbers() -> None:
    """No overflow to inf, no underflow to a tie; beyond float32 the distance saturates and the order stays right."""
    largest = np.finfo(np.float32).max
    rows = np.array([[largest, largest], [1.0, 1.0], [1e-45, 1e-45], [-largest, -largest]], np.float32)
    found = engine.topk([[largest, largest]], rows, 4, metric="l2")
    assert found.ids.tolist() == [[0, 1, 2, 3]]
    assert found.distances.tolist() == [[0, largest, largest, largest]]
    found = engine.topk([[largest, largest]], rows, 4, metric="ip")
    assert found.ids.tolist() == [[0, 1, 2, 3]]
    assert found.distances[0, 0] == -largest
    assert found.distances[0, 3] == largest
    assert np.isfinite(found.distances).all()
    found = engine.topk([[1e-45, 1e-45]], rows[:3], 3)
    np.testing.assert_allclose(found.distances, 0, atol=1e-15)


# ---- files of images


def test_an_encoder_of_another_dim() -> None:
    class Liar:
        dim, fingerprint = 16, "liar"

        def encode_images(self, images: Any) -> Any:
            return np.ones((len(images), 8), np.float32)

        encode_queries = encode_documents = encode_images

    with pytest.raises(InvalidArgumentError, match=r"8.*16|16.*8"):
        engine.Collection.from_texts(["a", "b"], Liar())


def test_a_folder_without_images() -> None:
    pytest.importorskip("PIL")
    import encoders

    with pytest.raises(InvalidArgumentError, match=r"folder is .*, expected a folder with .png"):
        engine.Collection.from_images(
            folder_of(**{"notes.txt": b"hello"}), encoders.get("pixels"), labels=None, progress=False
        )


def test_a_text_file_named_png() -> None:
    image = pytest.importorskip("PIL.Image")
    import encoders

    folder = folder_of(**{"text.png": b"this is not an image", "empty.png": b""})
    image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(folder / "good.png")
    collection = engine.Collection.from_images(folder, encoders.get("pixels"), labels=None, progress=False)
    assert len(collection) == 1
    assert {Path(str(skipped[0])).name for skipped in collection.skipped} == {"text.png", "empty.png"}
