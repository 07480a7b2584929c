"""bench.formats and bench.filtered_files: tiny files of every layout, whole and damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import run
from bench.filtered_files import from_folder
from bench.formats import read_jsonl, read_lists, read_neighbours, read_sparse, read_vectors
from bench.report import read
from engine.evaluation import filtered_ground_truth
from engine.exceptions import CorruptIndexError
from engine.filters import resolve

VECTORS = np.random.default_rng(0).integers(-9, 9, (7, 3)).astype(np.float32)


def vecs(rows: Any, dtype: str) -> bytes:
    return b"".join(np.int32(len(row)).tobytes() + np.asarray(row, dtype).tobytes() for row in rows)


def xbin(table: NDArray[Any], dtype: str) -> bytes:
    return np.array(table.shape, np.uint32).tobytes() + table.astype(dtype).tobytes()


def spmat(rows: list[list[int]], n_columns: int) -> bytes:
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    head = np.array([len(rows), n_columns, starts[-1]], np.int64)
    columns = np.array([column for row in rows for column in row], np.int32)
    return head.tobytes() + starts.tobytes() + columns.tobytes() + np.ones(len(columns), np.float32).tobytes()


def jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def saved(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.fvecs", vecs(VECTORS, "<f4")), ("a.fbin", xbin(VECTORS, "<f4")), ("a.i8bin", xbin(VECTORS, "i1"))],
)
def test_vectors_come_back(name: str, content: bytes, tmp_path: Path) -> None:
    path = saved(tmp_path, name, content)
    np.testing.assert_array_equal(read_vectors(path), VECTORS)
    np.testing.assert_array_equal(read_vectors(path, 4), VECTORS[:4])
    assert read_vectors(path).dtype == np.float32


def test_bytes_lists_neighbours_tags_and_objects_come_back(tmp_path: Path) -> None:
    table = np.arange(12).reshape(4, 3) + 240
    np.testing.assert_array_equal(read_vectors(saved(tmp_path, "a.u8bin", xbin(table, "u1"))), table)
    lists = [[3, 1], [], [5], [7, 8, 9]]
    assert read_lists(saved(tmp_path, "a.ivecs", vecs(lists, "<i4"))).tolist() == [
        [3, 1, -1], [-1] * 3, [5, -1, -1], [7, 8, 9]
    ]  # fmt: skip
    for content, shape in ((b"", (0, 1)), (bytes(8), (2, 1))):  # no rows, two of nothing
        assert read_lists(saved(tmp_path, "b.ivecs", content)).shape == shape
    distances = np.zeros((4, 3), np.float32).tobytes()
    for content in (xbin(table, "<i4") + distances, xbin(table, "<i4")):
        assert read_neighbours(saved(tmp_path, "a.ibin", content)).tolist() == table.tolist()
    tags = read_sparse(saved(tmp_path, "a.spmat", spmat([[4, 0], [], [2]], 5)))
    assert ([tags.row(row).tolist() for row in range(3)], tags.n_columns) == ([[4, 0], [], [2]], 5)
    path = saved(tmp_path, "a.jsonl", jsonl([{"é": 1}, {"b": None}, {}]))
    assert read_jsonl(path) == [{"é": 1}, {"b": None}, {}]
    assert read_jsonl(path, 2) == [{"é": 1}, {"b": None}]


GOOD: list[tuple[str, bytes, Callable[[Path], Any]]] = [
    ("a.fvecs", vecs(VECTORS, "<f4"), read_vectors),
    ("a.fbin", xbin(VECTORS, "<f4"), read_vectors),
    ("a.u8bin", xbin(np.ones((4, 3)), "u1"), read_vectors),
    ("a.ivecs", vecs([[3, 1], [7, 8, 9]], "<i4"), read_lists),
    ("a.ibin", xbin(np.ones((4, 3)), "<i4") + bytes(48), read_neighbours),
    ("a.spmat", spmat([[4, 0], [], [2]], 5), read_sparse),
]


@pytest.mark.parametrize(("name", "content", "reader"), GOOD, ids=[name for name, *_ in GOOD])
def test_a_file_cut_short_anywhere_is_refused(
    name: str, content: bytes, reader: Callable[[Path], Any], tmp_path: Path
) -> None:
    whole = reader(saved(tmp_path, name, content))
    for size in range(len(content)):
        path = saved(tmp_path, name, content[:size])
        try:
            found, refused = reader(path), ""
        except CorruptIndexError as error:
            found, refused = None, str(error)
        if found is None:
            assert str(path) in refused
        else:  # what has no header cannot know how many rows there were; neighbours may have no distances
            assert name in ("a.fvecs", "a.ivecs", "a.ibin")
            assert size == 0 or len(found) <= len(whole)
    with pytest.raises(CorruptIndexError):
        reader(saved(tmp_path, name, content + b"x"))


NAN = np.array([[1, np.nan]])


@pytest.mark.parametrize(
    ("name", "content", "reader", "message"),
    [
        ("a.fvecs", vecs([[1, 2], [1, 2, 3, 4], []], "<f4"), read_vectors, "dim 4 in row 1, expected 2 as in row 0"),
        ("a.fvecs", b"", read_vectors, "0 bytes"),
        ("a.fvecs", vecs([[]], "<f4"), read_vectors, "4 bytes"),
        ("a.fvecs", np.int32(-3).tobytes() * 4, read_vectors, "16 bytes"),
        ("a.fvecs", vecs(NAN, "<f4"), read_vectors, "not finite in row 0"),
        ("a.fbin", xbin(NAN, "<f4"), read_vectors, "not finite in row 0"),
        ("a.fbin", np.array([2**31, 2**31], np.uint32).tobytes(), read_vectors, "8 bytes, its header says"),
        ("a.npy", b"", read_vectors, r"not a sound \.npy file"),
        ("a.ivecs", vecs([[1]], "<i4") + np.int32(-1).tobytes(), read_lists, "row 1 has -1 numbers, but 0 are left"),
        ("a.spmat", spmat([[5]], 5), read_sparse, "column 5 in entry 0, expected 0 to 4"),
        ("a.spmat", spmat([[-1]], 5), read_sparse, "column -1 in entry 0, expected 0 to 4"),
        ("a.spmat", np.array([-1, 5, 0], np.int64).tobytes(), read_sparse, "-1 rows"),
        ("a.spmat", np.array([1, 5, 1, 1, 1], np.int64).tobytes() + bytes(8), read_sparse, "do not follow each other"),
        ("a.jsonl", b'{"a": 1}\n[2]\n', read_jsonl, r"line 2 is \[2\], expected a JSON object"),
        ("a.jsonl", b'{"a": 1}\n\n{"a"\n', read_jsonl, "line 3: "),
        ("a.jsonl", b'{"a": "\xff"}\n', read_jsonl, "line 1: "),
    ],
)
def test_what_is_wrong_is_named(
    name: str, content: bytes, reader: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, name, content)
    with pytest.raises(CorruptIndexError, match=message) as raised:
        reader(path)
    assert str(path) in str(raised.value)


# ---- data sets

N, DIM, QUERIES = 300, 8, 12


def arxiv(folder: Path) -> Path:
    """A data set like arxiv-for-fanns, with the exact answers."""
    rng = np.random.default_rng(0)
    vectors, queries = (rng.normal(size=(n, DIM)).astype(np.float32) for n in (N, QUERIES))
    held = [
        {
            "number_of_sub_categories": int(rng.integers(1, 4)),
            "update_date": int(rng.integers(13_000, 14_000)),
            "main_categories": rng.choice(["cs", "math", "stat", "econ"], rng.integers(1, 3), replace=False).tolist(),
            "authors": ["nobody"],
        }
        for _ in range(N)
    ]
    wanted = {
        "em": [{"label": 1 + row % 4} for row in range(QUERIES)],  # nothing has 4
        "r": [{"range_start": 13_000 + 50 * row, "range_end": 13_020 + 90 * row} for row in range(QUERIES)],
        "emis": [{"label": ["cs", "econ", "math"][row % 3]} for row in range(QUERIES)],
    }
    pass_of: dict[str, Callable[[Any, Any], bool]] = {
        "em": lambda row, asked: row["number_of_sub_categories"] == asked["label"],
        "r": lambda row, asked: asked["range_start"] <= row["update_date"] <= asked["range_end"],
        "emis": lambda row, asked: asked["label"] in row["main_categories"],
    }
    saved(folder, "database_vectors.fvecs", vecs(vectors, "<f4"))
    saved(folder, "query_vectors.fvecs", vecs(queries, "<f4"))
    saved(folder, "database_attributes.jsonl", jsonl(held))
    for kind, asked in wanted.items():
        masks = np.array([[pass_of[kind](row, query) for row in held] for query in asked])
        right = filtered_ground_truth(queries, vectors, 20, filters=masks, metric="l2").ids
        saved(folder, f"{kind}_query_attributes.jsonl", jsonl(asked))
        saved(folder, f"ground_truth_{kind}.ivecs", vecs([row[row >= 0] for row in right], "<i4"))
    return folder


def yfcc(folder: Path) -> Path:
    """A data set like that of the filter track, with the exact answers."""
    rng = np.random.default_rng(0)
    vectors, queries = (rng.integers(0, 256, (n, DIM)) for n in (N, QUERIES))
    tags = [rng.choice(6, rng.integers(0, 5), replace=False).tolist() for _ in range(N)]
    wanted = [rng.choice(6, 1 + row % 2, replace=False).tolist() for row in range(QUERIES)]
    masks = np.array([[{*row} >= {*asked} for row in tags] for asked in wanted])
    right = filtered_ground_truth(queries, vectors, 10, filters=masks, metric="l2").ids
    saved(folder, "base.10M.u8bin", xbin(vectors, "u1"))
    saved(folder, "query.public.100K.u8bin", xbin(queries, "u1"))
    saved(folder, "base.metadata.10M.spmat", spmat(tags, 6))
    saved(folder, "query.metadata.public.100K.spmat", spmat(wanted, 6))
    saved(folder, "GT.public.ibin", xbin(right, "<i4") + bytes(4 * right.size))
    return folder


@pytest.mark.parametrize(("make", "kinds"), [(arxiv, ["EM", "R", "EMIS"]), (yfcc, ["tags"])])
def test_a_data_set_asks_what_its_answers_answer(
    make: Callable[[Path], Path], kinds: list[str], tmp_path: Path
) -> None:
    workload = from_folder(make(tmp_path), None, QUERIES)
    assert (workload.vectors.shape, workload.queries.shape, workload.metric) == ((N, DIM), (QUERIES, DIM), "l2")
    assert [asked.cell.kind for asked in workload.asked] == kinds
    for asked in workload.asked:
        assert asked.right is not None
        found = filtered_ground_truth(
            workload.queries, workload.vectors, asked.right.shape[1], filters=asked.predicates, metric="l2",
            attributes=workload.columns,
        )  # fmt: skip
        np.testing.assert_array_equal(found.ids, asked.right)
        passing = [resolve(predicate, workload.columns).count() / N for predicate in asked.predicates]
        assert asked.cell.selectivity == pytest.approx(np.mean(passing))
    part = from_folder(tmp_path, 100, 5)
    assert (len(part.vectors), len(part.columns), len(part.queries)) == (100, 100, 5)
    assert all(asked.right is None and len(asked.predicates) == 5 for asked in part.asked)


@pytest.mark.parametrize(
    ("make", "name", "content", "message"),
    [
        (arxiv, "database_attributes.jsonl", jsonl([{}] * (N - 1)), "has 299 rows, expected 300"),
        (
            arxiv,
            "database_attributes.jsonl",
            jsonl([{"update_date": "x"}] * N),
            "line 1: update_date is 'x', expected a",
        ),
        (arxiv, "database_attributes.jsonl", jsonl([{"main_categories": "cs"}] * N), "expected a list of texts"),
        (arxiv, "em_query_attributes.jsonl", jsonl([{}] * QUERIES), "a row that asks nothing: 'label'"),
        (arxiv, "em_query_attributes.jsonl", jsonl([{"label": "cs"}] * QUERIES), "a row that asks nothing: .*'cs'"),
        (arxiv, "r_query_attributes.jsonl", jsonl([{"range_start": 1}] * QUERIES), "'range_end'"),
        (arxiv, "r_query_attributes.jsonl", b"", "has 0 rows, expected 12"),
        (arxiv, "ground_truth_em.ivecs", vecs([[300]] * QUERIES, "<i4"), "has the row 300, expected 0 to 299"),
        (arxiv, "ground_truth_em.ivecs", b"", "has 0 rows, expected 12"),
        (yfcc, "base.metadata.10M.spmat", spmat([[]] * (N + 1), 6), "has 301 rows, expected 300"),
        (yfcc, "query.metadata.public.100K.spmat", spmat([[]], 6), "has 1 rows, expected 12"),
        (yfcc, "base.10M.u8bin", b"", "0 bytes, its header says 0 rows"),
    ],
)
def test_files_that_do_not_fit_are_named(
    make: Callable[[Path], Path], name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    make(tmp_path)
    saved(tmp_path, name, content)
    with pytest.raises(CorruptIndexError, match=message) as raised:
        from_folder(tmp_path, None, QUERIES)
    assert name in str(raised.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has neither database_vectors\.fvecs nor"):
        from_folder(tmp_path, None, QUERIES)
    (yfcc(tmp_path) / "GT.public.ibin").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no GT\*\.ibin"):
        from_folder(tmp_path, None, QUERIES)


def test_a_folder_is_measured_against_its_own_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "papers").mkdir()
    folder, out = arxiv(tmp_path / "papers"), tmp_path / "out.jsonl"
    options = ["--libraries", "nearfield-exact,numpy", "--repeats", "1", "--queries", "12", "--out", str(out)]
    assert run.main(["filtered", "--folder", str(folder), "--folder", str(tmp_path / "gone"), *options]) == 0
    records = read(out)
    cells = [record for record in records if record["figure"] == "cell"]
    assert [(cell["kind"], cell["correlation"], cell["agreement"]) for cell in cells] == [
        (kind, "as given", 1.0) for kind in ("EM", "R", "EMIS")
    ]
    points = [record for record in records if record["figure"] == "point"]
    assert len(points) == 6
    assert all(point["recall"] == point["complete"] == point["valid"] == 1 for point in points)
    assert "DATA gone: not measured" in capsys.readouterr().out
