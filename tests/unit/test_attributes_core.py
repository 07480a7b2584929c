"""Columns of the core: what is large, what is odd, what is refused, and readers that come together."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from engine import InvalidArgumentError, col
from engine._core import Attributes, Bitmap
from engine.filters import resolve

N = 1_000_000
LEAST, MOST = -(2**63), 2**63 - 1


def attributes_of(n: int, **columns: tuple[str, Any]) -> Attributes:
    attributes = Attributes()
    for name, (kind, _) in columns.items():
        attributes.add_column(name, kind)
    attributes.append(n, {name: data for name, (_, data) in columns.items()})
    return attributes


@pytest.fixture(scope="module")
def million() -> Attributes:
    """Frequent, rare and single values; every seventh row is NULL in `maybe`."""
    rng = np.random.default_rng(0)
    i = np.arange(N)
    return attributes_of(
        N,
        single=("keyword", [f"id-{row}" for row in i]),
        section=("keyword", [f"s{value}" for value in np.minimum(rng.geometric(0.05, N), 99)]),
        number=("int64", rng.permutation(N)),
        maybe=("float64", np.where(i % 7 == 0, np.nan, rng.normal(size=N))),
    )


def test_a_million_distinct_values(million: Attributes) -> None:
    assert million.equal("single", ["id-999999"]).rows().tolist() == [N - 1]
    assert million.equal("single", ["id-5", "id-70000", "id-1000000"]).rows().tolist() == [5, 70000]
    assert million.count_equal("single", ["nothing"]) == 0
    assert million.take("single", [N - 1, 0])[0] == ["id-999999", "id-0"]


COLUMNS = {
    "once": lambda row: f"v{row}",
    "twice, near": lambda row: f"v{row // 2}",
    "twice, far": lambda row: f"v{row % 1500}",
    "some": lambda row: None if row % 3 == 0 else f"v{row}",
    "half are one": lambda row: "one" if row % 2 else f"v{row}",
    "backwards": lambda row: f"v{row * 7919 % 3000}",
    "more and more": lambda row: f"v{int(row**0.5)}",
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("change", ["none", "few", "many", "moved", "added again"])
def test_every_value_has_its_rows(name: str, change: str) -> None:
    """Before and after changes, looked up one by one if they are few; as keywords, as members of sets, as numbers."""
    rng = np.random.default_rng(0)
    values = [COLUMNS[name](row) for row in range(3000)]
    attributes = attributes_of(0, key=("keyword", []), tags=("keywords", []), number=("int64", []))

    def cells(held: list[str | None]) -> dict[str, Any]:
        nulls = np.array([value is None for value in held])
        texts = [value or "" for value in held]
        numbers = np.array([crc32(text.encode()) for text in texts], np.int64)
        return {"key": (texts, nulls), "tags": ([[text, "all"] for text in texts], nulls), "number": (numbers, nulls)}

    def append(added: list[str | None]) -> None:
        attributes.append(len(added), cells(added))

    def drop(rows: np.ndarray) -> list[str | None]:
        gone = [values[row] for row in rows]
        for row in np.sort(rows)[::-1]:
            values[row] = values[-1]
            values.pop()
        attributes.drop(rows)
        return gone

    def check() -> None:
        for value in {*values} - {None}:
            rows = [row for row, held in enumerate(values) if held == value]
            assert attributes.equal("key", [value]).rows().tolist() == rows
            assert attributes.count_equal("key", [value]) == len(rows)
            found = attributes.contains("tags", [value], "any")
            assert (found.rows().tolist(), found.count()) == (rows, len(rows))
            assert attributes.contains("tags", [value, "all"], "exact").rows().tolist() == rows
            assert attributes.equal("number", [crc32(value.encode())]).rows().tolist() == rows

    append(values)
    check()
    if change == "moved":
        rows = rng.permutation(3000)[:50]
        for column, given in cells([values[row] for row in rows[::-1]]).items():
            attributes.set(column, rows, given)
        for row, value in zip(rows, [values[row] for row in rows[::-1]], strict=True):
            values[row] = value
    elif change != "none":
        gone = drop(rng.permutation(3000)[: 30 if change == "few" else 1200])
        if change == "added again":
            append(gone)
            values += gone
    check()


def test_slices_of_any_length(million: Attributes) -> None:
    numbers = million.take("number", np.arange(N))[0]
    for lo, hi in [
        (0, 0),
        (0, N),
        (N // 2, N // 2 + 10),
        (1, N - 2),
        (62_500, 125_000),
        (31_249, 93_751),
        (7, 500_000),
    ]:
        found = million.between("number", lo, hi, False, True)
        np.testing.assert_array_equal(found.to_mask(), (numbers >= lo) & (numbers < hi))
        assert found.count() == million.count_between("number", lo, hi, False, True) == max(0, min(hi, N) - lo)
    values, nulls = million.take("maybe", np.arange(N))
    found = million.between("maybe", None, 0.25, False, False)
    np.testing.assert_array_equal(found.to_mask(), (values <= 0.25) & ~nulls)
    assert nulls.sum() == million.nulls("maybe").count() == (N + 6) // 7


def test_frequent_and_rare_values(million: Attributes) -> None:
    sections = np.array(million.take("section", np.arange(N))[0])
    for values in (["s1"], ["s99"], ["s1", "s2", "s90"], [f"s{i}" for i in range(100)]):
        found = million.equal("section", values)
        np.testing.assert_array_equal(found.to_mask(), np.isin(sections, values))
        assert found.count() == million.count_equal("section", values) == found.to_mask().sum()


def test_bytes_beyond_the_values(million: Attributes) -> None:
    """At most 12 a row, with all that readers need."""
    million.count_equal("section", ["s1"])
    million.count_equal("single", ["id-7"])
    twice = attributes_of(N, key=("keyword", [f"id-{row // 2}" for row in range(N)]))
    twice.count_equal("key", ["id-7"])
    text = sum(len(f"id-{row}") for row in range(N))
    assert million.nbytes("single") <= 12 * N + text
    assert twice.nbytes("key") <= 12 * N + text / 2
    million.count_between("number", 0, 1, False, False)
    million.count_between("maybe", 0.0, 1.0, False, False)
    assert million.nbytes("section") <= 12 * N
    assert million.nbytes("number") <= (8 + 12) * N
    assert million.nbytes("maybe") <= (8 + 12) * N
    assert million.nbytes() == sum(million.nbytes(name) for name in million.schema)


def test_a_set_with_many_members() -> None:
    many = [f"m{i}" for i in range(10_000)]
    attributes = attributes_of(4, tags=("keywords", [many, [], ["m7", "m7"], many[:9999]]))
    assert attributes.contains("tags", many, "exact").rows().tolist() == [0]
    assert attributes.contains("tags", many[:9999], "all").rows().tolist() == [0, 3]
    assert attributes.contains("tags", ["m7"], "exact").rows().tolist() == [2]
    assert attributes.contains("tags", [*many, "other"], "all").count() == 0
    assert attributes.contains("tags", ["m9999", "other"], "any").rows().tolist() == [0]
    assert attributes.contains("tags", [], "exact").rows().tolist() == [1]
    assert attributes.take("tags", [0, 2])[0] == [tuple(many), ("m7",)]


def test_large_sets_in_every_row() -> None:
    sets = [[f"m{row * member % 997}" for member in range(1, 60)] + [f"own {row}"] for row in range(500)]
    attributes = attributes_of(500, tags=("keywords", sets))
    for value in ["m0", "m1", "m996", "own 0", "own 499", "none"]:
        rows = [row for row, members in enumerate(sets) if value in members]
        found = attributes.contains("tags", [value], "any")
        assert (found.rows().tolist(), found.count()) == (rows, len(rows))
    assert attributes.contains("tags", ["m5", "own 5"], "all").rows().tolist() == [5]


def test_a_value_that_is_set_again_and_again() -> None:
    """What it was is not kept for ever, and a long text beside it is not copied each time."""
    attributes = attributes_of(2, key=("keyword", ["x" * 1_000_000, "0"]))
    for i in range(3000):
        attributes.set("key", [1], [f"{i}"])
    assert attributes.equal("key", ["2999"]).rows().tolist() == [1]
    assert attributes.equal("key", ["x" * 1_000_000]).rows().tolist() == [0]
    assert attributes.nbytes("key") < 1_500_000


def test_text_of_any_kind_and_length() -> None:
    texts = ["", "\0", "a\0b", "\u00e9", "e\u0301", "日本語", "🏳️‍🌈", "x" * 5_000_000, "x" * 4_999_999 + "y"]
    attributes = attributes_of(len(texts), text=("keyword", texts))
    assert attributes.take("text", range(len(texts)))[0] == texts
    for row, text in enumerate(texts):
        assert attributes.equal("text", [text]).rows().tolist() == [row]


def test_the_ends_of_numbers() -> None:
    attributes = attributes_of(
        4,
        i=("int64", [LEAST, -1, 0, MOST]),
        f=("float64", [-0.0, math.inf, -math.inf, math.nan]),
    )
    assert attributes.between("i", LEAST, MOST, True, True).rows().tolist() == [1, 2]
    assert attributes.between("i", None, LEAST, False, False).rows().tolist() == [0]
    assert attributes.equal("i", [MOST, MOST, 5]).rows().tolist() == [3]
    assert attributes.equal("f", [0.0]).rows().tolist() == [0]
    assert math.copysign(1, attributes.take("f", [0])[0][0]) == -1
    assert attributes.between("f", None, None, False, False).rows().tolist() == [0, 1, 2]
    assert attributes.between("f", None, math.inf, False, True).rows().tolist() == [0, 2]
    assert attributes.between("f", 0.0, None, True, False).rows().tolist() == [1]
    assert attributes.nulls("f").rows().tolist() == [3]
    assert attributes.equal("f", [math.nan]).count() == 0
    assert (
        attributes.between("i", 5, -5, False, False).count() == attributes.count_between("i", 5, -5, False, False) == 0
    )


def test_dictionaries_do_not_keep_what_is_gone() -> None:
    attributes = attributes_of(0, key=("keyword", []), tags=("keywords", []))
    for round_ in range(40):
        texts = [f"{round_}-{row}-{'x' * 50}" for row in range(500)]
        attributes.drop(range(len(attributes)))
        attributes.append(500, {"key": texts, "tags": [[text] for text in texts]})
    assert attributes.equal("key", ["39-7-" + "x" * 50]).rows().tolist() == [7]
    assert attributes.contains("tags", ["39-7-" + "x" * 50], "any").rows().tolist() == [7]
    assert attributes.nbytes() < 1_500_000  # all that was ever there are 2.5 MB of text


def test_every_kind_of_numbers() -> None:
    attributes = attributes_of(0, i=("int64", []), f=("float64", []), b=("bool", []))
    for i, f in [(np.int8, np.float16), (np.int32, np.float32), (np.int64, np.float64)]:
        attributes.append(2, {"i": np.array([1, -2], i), "f": np.array([0.5, 4], f), "b": np.array([True, False])})
    attributes.append(2, {"i": np.arange(8)[::-4], "f": np.array([1.0, 2.0], object), "b": [True, False]})
    assert attributes.take("i", range(8))[0].tolist() == [1, -2, 1, -2, 1, -2, 7, 3]
    assert attributes.take("f", range(8))[0].tolist() == [0.5, 4, 0.5, 4, 0.5, 4, 1, 2]
    assert attributes.count_equal("b", [True]) == 4


ALL = {
    "keyword": ("keyword", ["a"]),
    "int64": ("int64", [1]),
    "float64": ("float64", [1.0]),
    "bool": ("bool", [True]),
    "timestamp": ("timestamp", [1]),
    "keywords": ("keywords", [["a"]]),
}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.add_column("int64", "int64"), r"there is a column 'int64' already"),
        (lambda a: a.add_column("x", "int32"), r"type is 'int32', expected 'keyword', 'int64'"),
        (lambda a: a.add_column("", "int64"), r"name is empty"),
        (lambda a: a.append(1, {"yaer": [1]}), r"no column 'yaer', expected one of \[keyword, int64,"),
        (lambda a: a.append(1, {1: [1]}), r"a name in data is 1, expected a str"),
        (lambda a: a.append(2, {"int64": [1]}), r"data of 'int64' has length 1, expected 2"),
        (lambda a: a.append(1, {"int64": ([1], np.array([True, False]))}), r"nulls of 'int64' have length 2, expe"),
        (lambda a: a.append(1, {"int64": ([1], [True])}), r"nulls of 'int64' is \[True\], expected a bool"),
        (lambda a: a.append(1, {"int64": (1,)}), r"data of 'int64' is \(1,\), expected values or \(values, nulls\)"),
        (lambda a: a.append(1, {"int64": 1}), r"data of 'int64' is 1, expected an array or a list"),
        (lambda a: a.append(2, {"int64": [1, "x"]}), r"data of 'int64'\[1\] is 'x', expected an int"),
        (lambda a: a.append(2, {"int64": [1, None]}), r"data of 'int64'\[1\] is None, expected an int"),
        (lambda a: a.append(1, {"int64": np.array([1.5])}), r"data of 'int64' has dtype float64, expected int64"),
        (lambda a: a.append(1, {"int64": np.array([1], np.uint64)}), r"has dtype uint64, expected int64"),
        (lambda a: a.append(1, {"int64": np.ones((1, 1), int)}), r"data of 'int64' has 2 dimensions, expected 1"),
        (lambda a: a.append(1, {"int64": [2**63]}), r"is 9223372036854775808, expected a number that int64 can hold"),
        (lambda a: a.append(1, {"float64": np.array([1])}), r"data of 'float64' has dtype int64, expected float64"),
        (lambda a: a.append(1, {"bool": np.array([1])}), r"data of 'bool' has dtype int64, expected bool"),
        (lambda a: a.append(1, {"keyword": "a"}), r"data of 'keyword' is 'a', expected a list of str"),
        (lambda a: a.append(1, {"keyword": ["\udc80"]}), r"\[0\] is '\\udc80', expected text that UTF-8 can hold"),
        (lambda a: a.append(1, {"keyword": [["x" * 9999]]}), r"'keyword'\[0\] is \['x{70,90}\.\.\., expected"),
        (lambda a: a.append(1, {"keywords": ["ab"]}), r"data of 'keywords'\[0\] is 'ab', expected a list of str"),
        (lambda a: a.append(1, {"keywords": [["a", 1]]}), r"data of 'keywords'\[0\] is 1, expected a str"),
        (lambda a: a.append(2**32, {}), r"at most 4294967280 rows"),
        (lambda a: a.set("zzz", [0], [1]), r"no column 'zzz'"),
        (lambda a: a.set("int64", [1], [1]), r"rows holds 1, expected 0 to 1 - 1"),
        (lambda a: a.set("int64", [0.5], [1]), r"rows has dtype float64, expected integers"),
        (lambda a: a.set("int64", [0], [1, 2]), r"data of 'int64' has length 2, expected 1"),
        (lambda a: a.drop([0, 0]), r"rows holds 0 twice"),
        (lambda a: a.drop([-1]), r"rows holds -1"),
        (lambda a: a.truncate(2), r"n is 2, expected 0 to 1"),
        (lambda a: a.take("int64", [1]), r"rows holds 1"),
        (lambda a: a.take("zzz", [0]), r"no column 'zzz'"),
        (lambda a: a.nulls("zzz"), r"no column 'zzz'"),
        (lambda a: a.nbytes("zzz"), r"no column 'zzz'"),
        (lambda a: a.equal("int64", ["a"]), r"'int64' is int64, which is not compared with the type keyword"),
        (lambda a: a.equal("int64", [True]), r"not compared with the type bool"),
        (lambda a: a.equal("float64", [1]), r"'float64' is float64, which is not compared with the type int64"),
        (lambda a: a.equal("int64", [2**63]), r"values\[0\] is 9223372036854775808"),
        (lambda a: a.equal("int64", [None]), r"values\[0\] is None, expected a str, int, float or bool"),
        (lambda a: a.equal("keyword", "a"), r"values is 'a', expected a list"),
        (lambda a: a.equal("keywords", ["a"]), r"is keywords, which is compared with no value; expected contains"),
        (lambda a: a.count_equal("keywords", ["a"]), r"is compared with no value"),
        (lambda a: a.between("keyword", "a", None, False, False), r"is keyword, which has no ranges; expected int64,"),
        (lambda a: a.count_between("bool", None, None, False, False), r"is bool, which has no ranges"),
        (lambda a: a.between("int64", 0.5, None, False, False), r"not compared with the type float64"),
        (lambda a: a.between("float64", None, math.nan, False, False), r"a limit of the column 'float64' is nan"),
        (lambda a: a.contains("keyword", ["a"], "any"), r"is keyword, which has no members; expected keywords"),
        (lambda a: a.contains("keywords", [1], "any"), r"values\[0\] is 1, expected a str"),
        (lambda a: a.contains("keywords", ["a"], "some"), r"mode is 'some', expected 'any', 'all' or 'exact'"),
    ],
)
def test_refused(call: Any, message: str) -> None:
    attributes = attributes_of(1, **ALL)
    with pytest.raises((InvalidArgumentError, NotImplementedError), match=message):
        call(attributes)
    assert len(attributes) == 1
    assert attributes.schema == {kind: kind for kind in ALL}
    for kind, (_, values) in ALL.items():
        assert [*attributes.take(kind, [0])[0]] == ([("a",)] if kind == "keywords" else values)


MEMORY = """
import resource
import numpy as np
from engine._core import Attributes

attributes = Attributes()
for kind in ("bool", "int64", "keyword", "keywords"):
    attributes.add_column(kind, kind)
data = {"bool": [True], "int64": [7], "keyword": ["a"], "keywords": [["a", "b"]]}
attributes.append(1, data)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20, resource.RLIM_INFINITY))
failed = 0
for megabytes in range(20, 400, 40):
    n = megabytes * 2**20 // 10
    try:
        attributes.append(n, {"int64": np.arange(n)})
    except MemoryError:
        failed += 1
        assert len(attributes) == 1, len(attributes)
    else:
        attributes.truncate(1)
    for name, value in data.items():
        assert list(attributes.take(name, [0])[0]) in (value, [tuple(value[0])] if name == "keywords" else value)
    assert attributes.between("int64", 7, 7, False, False).count() == 1
assert failed
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory")
def test_memory_that_runs_out_leaves_all_as_it_was() -> None:
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr


def test_readers_and_a_writer() -> None:
    """Whoever asks first makes what all need; changes wait for readers, and readers see whole changes."""
    n = 20_000
    attributes = attributes_of(n, i=("int64", np.arange(n)), k=("keyword", [f"k{i % 100}" for i in range(n)]))

    def read(_: int) -> list[Bitmap]:
        return [attributes.between("i", 0, 999, False, False), attributes.equal("k", ["k7"])]

    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(read, range(50)))
            assert all(bitmaps == found[0] for bitmaps in found)
            assert [bitmap.count() for bitmap in found[0]] == [1000, 200]
            changing = pool.submit(lambda: [attributes.append(100, {"i": np.full(100, -1)}) for _ in range(20)])
            for numbers, keywords in pool.map(read, range(50)):
                assert (numbers.count(), keywords.count(), len(numbers) % 100) == (1000, 200, 0)
            changing.result()


def test_the_schema_is_one_object_until_there_is_another_column() -> None:
    attributes = Attributes()
    attributes.add_column("year", "int64")
    before = attributes.schema
    attributes.append(2, {"year": [1, 2]})
    assert attributes.schema is before
    assert resolve(col("year") == 1, attributes).rows().tolist() == [0]
    with pytest.raises(TypeError):
        before["year"] = "keyword"
    asked = col("section") == "a"
    with pytest.raises(InvalidArgumentError, match="section"):
        resolve(asked, attributes)
    attributes.add_column("section", "keyword")
    assert before == {"year": "int64"}
    assert attributes.schema == {"year": "int64", "section": "keyword"}
    assert resolve(asked, attributes).count() == 0


def test_a_predicate_is_bound_to_the_columns_it_is_asked_of() -> None:
    """A form that was kept for other columns would ask for the wrong type."""
    whole, broken = Attributes(), Attributes()
    whole.add_column("x", "int64")
    broken.add_column("x", "float64")
    whole.append(3, {"x": [1, 2, 3]})
    broken.append(3, {"x": [1.0, 2.5, 3.0]})
    above = col("x") > 2
    for _ in range(2):
        assert resolve(above, whole).rows().tolist() == [2]
        assert resolve(above, broken).rows().tolist() == [1, 2]
    assert pickle.loads(pickle.dumps(above)) == above


def test_rows_of_a_frequent_value_are_shared_until_cells_change() -> None:
    attributes = attributes_of(1_000, a=("keyword", ["odd" if row % 2 else "even" for row in range(1_000)]))
    asked = col("a") == "odd"
    before = resolve(asked, attributes)
    assert resolve(asked, attributes) is before
    attributes.set("a", [0, 1], ["odd", "even"])
    after = resolve(asked, attributes)
    assert before.rows().tolist() == list(range(1, 1_000, 2))
    assert after.rows().tolist() == [0, *range(3, 1_000, 2)]
    attributes.append(1, {"a": ["odd"]})
    assert resolve(asked, attributes).rows().tolist() == [0, *range(3, 1_000, 2), 1_000]
    attributes.drop([0])
    assert resolve(asked, attributes).rows().tolist() == [0, *range(3, 1_000, 2)]
    assert (len(before), before.count()) == (1_000, 500)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(lambda rng, n: np.zeros(n), id="constant"),
        pytest.param(lambda rng, n: rng.integers(0, 2, n), id="halves"),
        pytest.param(lambda rng, n: rng.choice([1, 2, 3], n, p=[0.05, 0.9, 0.05]), id="one that is most"),
        pytest.param(lambda rng, n: np.minimum(rng.geometric(0.6, n), 30), id="falling"),
        pytest.param(lambda rng, n: rng.integers(0, 50, n), id="even"),
        pytest.param(lambda rng, n: rng.integers(0, n // 64 + 40, n), id="as many as are marked, about"),
        pytest.param(lambda rng, n: rng.permutation(n), id="all different"),
    ],
)
def test_numbers_with_any_share_of_values(values: Any, rng: np.random.Generator) -> None:
    n = 60_000  # more than a step of sets has
    numbers = values(rng, n).astype(np.float64)
    missing = rng.random(n) < 0.1
    attributes = attributes_of(n, a=("float64", np.where(missing, np.nan, numbers)))
    asked = [*np.quantile(numbers, [0, 0.03, 0.5, 0.97, 1], method="nearest").tolist(), float(numbers.max()) + 1]

    def check() -> None:
        for lo in asked:
            equal = (numbers == lo) & ~missing
            assert np.array_equal(attributes.equal("a", [lo]).to_mask(), equal)
            assert np.array_equal(resolve(col("a") == lo, attributes).to_mask(), equal)
            assert attributes.count_equal("a", [lo]) == equal.sum()
            for hi in (None, *asked):
                for lo_open, hi_open in ((False, False), (True, False), (False, True)):
                    within = ~missing & (numbers > lo if lo_open else numbers >= lo)
                    if hi is not None:
                        within &= numbers < hi if hi_open else numbers <= hi
                    assert np.array_equal(attributes.between("a", lo, hi, lo_open, hi_open).to_mask(), within)
                    assert attributes.count_between("a", lo, hi, lo_open, hi_open) == within.sum()
        least = (numbers < asked[2]) & ~missing
        assert np.array_equal(attributes.between("a", None, asked[2], False, True).to_mask(), least)

    check()
    changed = rng.choice(n, 100, replace=False)
    numbers[changed] = rng.choice(numbers, 100)
    missing[changed] = False
    attributes.set("a", changed.tolist(), numbers[changed].tolist())
    check()
    attributes.drop([0])
    numbers[0], missing[0] = numbers[-1], missing[-1]
    numbers, missing = numbers[:-1], missing[:-1]
    check()
