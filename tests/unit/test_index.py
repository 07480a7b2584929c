"""engine.Index: its methods one by one. That its answers are exact is the matter of tests/property."""

from __future__ import annotations

import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import check_range, check_search, rounded_to

import engine
from engine.storage import read_container, write_container
from engine.types import IndexKind, Metric, VectorDtype

DIM = 24
VECTORS = np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)
QUERIES = np.random.default_rng(1).standard_normal((5, DIM)).astype(np.float32)


@pytest.fixture
def index() -> engine.Index:
    """300 rows with even ids."""
    index = engine.Index(DIM, metric="l2")
    index.add(VECTORS, ids=np.arange(0, 600, 2))
    return index


def test_a_new_index() -> None:
    index = engine.Index(DIM)
    assert (len(index), index.dim, index.metric, index.kind, index.dtype) == (0, DIM, "cosine", "exact", "float32")
    assert index.metadata == {}
    assert index.ids.shape == (0,)
    assert index.ids.dtype == np.int64
    assert "24" in repr(index)
    assert "cosine" in repr(index)


@pytest.mark.parametrize("name", ["dim", "metric", "kind", "dtype"])
def test_what_was_given_cannot_be_changed(index: engine.Index, name: str) -> None:
    """The core would not follow, and a file would say other than what it holds."""
    with pytest.raises(AttributeError):
        setattr(index, name, "ip")


# ---- add, remove, get


def test_ids_continue(index: engine.Index) -> None:
    assert index.add(VECTORS[:2]).tolist() == [599, 600]
    assert index.add(VECTORS[:1], ids=[5]).tolist() == [5]
    assert index.add(VECTORS[0]).tolist() == [601]
    assert index.ids.tolist() == [*range(0, 600, 2), 599, 600, 5, 601]


def test_an_id_is_not_given_twice(index: engine.Index) -> None:
    """Even when its row is gone: whoever kept the id would silently find another vector."""
    index.remove([598])
    assert index.add(VECTORS[0]).tolist() == [599]
    assert index.add(VECTORS[0], ids=[598]).tolist() == [598]


def test_remove(index: engine.Index) -> None:
    gone = np.arange(0, 600, 6)
    assert index.remove(gone) == 100
    with pytest.raises(engine.InvalidArgumentError, match=r"ids.* 0,? .*not in the index"):
        index.remove([2, 0])
    assert len(index) == 200
    assert not np.isin(index.ids, gone).any()
    rows = index.ids // 2
    np.testing.assert_array_equal(index.get(index.ids), VECTORS[rows])
    check_search(index.search(QUERIES, 10), QUERIES, VECTORS[rows], 10, "l2", ids=index.ids)
    assert index.remove(index.ids) == 200
    assert len(index) == 0
    with pytest.raises(engine.NotBuiltError):
        index.search(QUERIES, 1)
    index.add(VECTORS)
    assert index.search(VECTORS[:3], 1).distances.tolist() == [[0], [0], [0]]


def test_remove_all_or_nothing(index: engine.Index) -> None:
    for wrong in ([2, 4, 2], [2, 4, 7]):
        with pytest.raises(engine.InvalidArgumentError):
            index.remove(wrong)
        assert len(index) == 300
    assert index.remove([]) == 0
    assert index.remove(4) == 1


def test_get(index: engine.Index) -> None:
    np.testing.assert_array_equal(index.get([4, 0, 4]), VECTORS[[2, 0, 2]])
    assert index.get(4).shape == (1, DIM)
    assert index.get([]).shape == (0, DIM)


def test_many_small_adds() -> None:
    index = engine.Index(DIM)
    for vector in VECTORS:
        index.add(vector)
    np.testing.assert_array_equal(index.get(index.ids), VECTORS)
    check_search(index.search(QUERIES, 10), QUERIES, VECTORS, 10, "cosine")


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2), ("bfloat16", 2)])
def test_dtypes(dtype: VectorDtype, size: int) -> None:
    index = engine.Index(DIM, metric="l2", dtype=dtype)
    index.add(VECTORS)
    assert index.dtype == dtype
    assert index.get(index.ids).dtype == np.float32
    np.testing.assert_array_equal(index.get(index.ids), rounded_to(VECTORS, dtype))
    check_search(index.search(QUERIES, 10), QUERIES, rounded_to(VECTORS, dtype), 10, "l2")
    assert index.nbytes >= VECTORS.size * size


def test_codes_are_small() -> None:
    """The figure of the issue: codes and bookkeeping add at most 0.7 of the float16 vectors' bytes."""
    index = engine.Index(384, dtype="float16")
    index.add(np.random.default_rng(0).standard_normal((5000, 384), np.float32))
    vectors = 5000 * 384 * 2
    assert vectors < index.nbytes <= 1.7 * vectors


# ---- filters


def test_the_forms_of_a_filter_agree(index: engine.Index, rng: np.random.Generator) -> None:
    mask = rng.random(300) < 0.2
    expected = index.search(QUERIES, 10, filter=mask)
    check_search(expected, QUERIES, VECTORS, 10, "l2", ids=index.ids, allowed=mask)
    assert expected.stats.selectivity == pytest.approx(mask.mean())
    allowed = index.ids[mask]
    for other in (allowed, allowed[::-1], np.repeat(allowed, 3), allowed.tolist(), engine.Bitmap(mask)):
        found = index.search(QUERIES, 10, filter=other)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("kind", ["exact", "graph"])
@pytest.mark.parametrize("in_order", [True, False])
def test_ids_that_were_row_numbers(kind: IndexKind, in_order: bool, rng: np.random.Generator) -> None:
    """Rows that go, move or come again under the number of another row are told apart."""
    index = engine.Index(DIM, metric="l2", kind=kind)
    ids = np.arange(300) if in_order else rng.permutation(300)
    index.add(VECTORS, ids=ids)
    held = dict(zip(ids.tolist(), VECTORS, strict=True))
    for step in range(6):
        gone = rng.choice(list(held), 20, replace=False)
        index.remove(gone)
        for each in gone.tolist():
            del held[each]
        again = rng.permutation(gone)[:8] if step % 2 else np.arange(8) + 1000 * (step + 1)
        moved = VECTORS[:8] + np.float32(step + 1)
        index.add(moved, ids=again)
        held.update(zip(again.tolist(), moved, strict=True))
        np.testing.assert_array_equal(index.get(list(held)), list(held.values()))
        some = rng.choice(list(held), 30, replace=False)
        mask = np.isin(index.ids, some)
        for allowed in (some, np.repeat(some, 2)):
            found = index.search(QUERIES, 5, filter=allowed)
            np.testing.assert_array_equal(found.ids, index.search(QUERIES, 5, filter=mask).ids)
            assert np.isin(found.ids, some).all()
        with pytest.raises(engine.InvalidArgumentError, match="which is not in the index"):
            index.search(QUERIES, 5, filter=np.setdiff1d(ids, list(held))[:1])


def test_a_mask_follows_the_rows_after_removing(index: engine.Index, rng: np.random.Generator) -> None:
    index.remove(np.arange(0, 300, 4))
    mask = rng.random(len(index)) < 0.3
    rows = index.ids // 2
    check_search(index.search(QUERIES, 10, filter=mask), QUERIES, VECTORS[rows], 10, "l2", ids=index.ids, allowed=mask)
    with pytest.raises(engine.InvalidArgumentError, match="filter"):
        index.search(QUERIES, 10, filter=np.ones(300, bool))


# ---- range search


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_range_search(metric: Metric, rng: np.random.Generator) -> None:
    index = engine.Index(DIM, metric=metric)
    index.add(VECTORS)
    mask = rng.random(300) < 0.5
    for rank in (0, 20, 299):
        radius = float(index.search(QUERIES[:1], 300).distances[0, rank])
        check_range(index.range_search(QUERIES, radius), QUERIES, VECTORS, radius, metric)
        found = index.range_search(QUERIES, radius, filter=mask)
        check_range(found, QUERIES, VECTORS, radius, metric, allowed=mask)


def test_the_radius_itself_is_inside(index: engine.Index) -> None:
    assert index.range_search(VECTORS[:2], 0.0).ids.tolist() == [0, 2]
    assert index.range_search(VECTORS[:2], -1e-30).ids.tolist() == []


def test_everything_within(index: engine.Index) -> None:
    found = index.range_search(QUERIES, 1e30)
    assert found.offsets.tolist() == [0, 300, 600, 900, 1200, 1500]
    np.testing.assert_array_equal(found.ids.reshape(5, 300), index.search(QUERIES, 300).ids)


# ---- save and load


def test_save_and_load(index: engine.Index, tmp_path: Path) -> None:
    index.metadata["encoder"] = {"name": "ä", "sizes": [1, 2]}
    index.save(tmp_path / "x.nrf")
    for mmap in (True, False):
        loaded = engine.Index.load(tmp_path / "x.nrf", mmap=mmap)
        assert loaded.metadata == index.metadata
        assert (len(loaded), loaded.dim, loaded.metric, loaded.kind, loaded.dtype) == (
            300,
            DIM,
            "l2",
            "exact",
            "float32",
        )
        expected, found = index.search(QUERIES, 10), loaded.search(QUERIES, 10)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)


def test_an_empty_index_is_saved(tmp_path: Path) -> None:
    engine.Index(DIM, metric="ip", dtype="bfloat16").save(tmp_path / "x")
    loaded = engine.Index.load(tmp_path / "x")
    assert (len(loaded), loaded.dim, loaded.metric, loaded.dtype) == (0, DIM, "ip", "bfloat16")
    assert loaded.add(VECTORS[:2]).tolist() == [0, 1]


def test_the_next_id_is_saved(index: engine.Index, tmp_path: Path) -> None:
    index.remove([598])
    index.save(tmp_path / "x")
    assert engine.Index.load(tmp_path / "x").add(VECTORS[0]).tolist() == [599]


@pytest.mark.parametrize("mmap", [True, False])
def test_a_loaded_index_changes_like_any_other(index: engine.Index, tmp_path: Path, mmap: bool) -> None:
    """And the file does not change with it."""
    path = tmp_path / "x"
    index.save(path)
    content = path.read_bytes()
    loaded = engine.Index.load(path, mmap=mmap)
    loaded.remove([0, 2])
    loaded.add(VECTORS[:1], ids=[1])
    assert loaded.search(VECTORS[0], 1).ids.tolist() == [[1]]
    assert path.read_bytes() == content
    loaded.save(path)
    assert len(engine.Index.load(path)) == 299
    assert loaded.search(VECTORS[0], 1).ids.tolist() == [[1]]


def test_metadata_that_json_cannot_keep(index: engine.Index, tmp_path: Path) -> None:
    index.metadata["bad"] = {1, 2}
    with pytest.raises(engine.InvalidArgumentError):
        index.save(tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_metadata_is_set_only_to_what_json_can_keep(index: engine.Index) -> None:
    index.metadata = {"a": [1, None, "ä"]}
    for wrong in ({"a": {1}}, {1: "a"}, {"a": (1, 2)}, {"a": np.nan}, [1], None):
        with pytest.raises(engine.InvalidArgumentError, match="metadata"):
            index.metadata = wrong  # type: ignore[assignment]
    assert index.metadata == {"a": [1, None, "ä"]}


def test_a_container_that_is_no_index(tmp_path: Path) -> None:
    """Checksums are right, the content is not ours."""
    write_container(tmp_path / "x", {"song": "la"}, {"notes": np.arange(3)})
    with pytest.raises(engine.CorruptIndexError, match="x"):
        engine.Index.load(tmp_path / "x")


@pytest.mark.parametrize("mmap", [True, False])
def test_a_container_with_a_part_missing_or_of_another_shape(index: engine.Index, tmp_path: Path, mmap: bool) -> None:
    """Each array dropped, cut, widened; each header entry dropped or changed: refused, never read past the end."""
    path = tmp_path / "x"
    index.save(path)
    header, arrays = read_container(path, mmap=False)
    broken = [(header, {name: a for name, a in arrays.items() if name != gone}) for gone in arrays]
    for name, array in arrays.items():
        other = np.dtype(np.uint16 if array.dtype != np.uint16 else np.uint8)
        for replacement in (array[:-1], np.repeat(array, 2, axis=0), array[None], array.astype(other)):
            broken.append((header, {**arrays, name: replacement}))
    broken += [({key: value for key, value in header.items() if key != gone}, arrays) for gone in header]
    for key in ("dim", "metric", "dtype", "kind"):
        broken += [({**header, key: value}, arrays) for value in (None, "x", -1, 2**40, 25)]
    for wrong_header, wrong_arrays in broken:
        write_container(path, wrong_header, wrong_arrays)
        with pytest.raises(engine.CorruptIndexError, match="x"):
            engine.Index.load(path, mmap=mmap)


def test_ids_in_a_file_must_be_distinct(index: engine.Index, tmp_path: Path) -> None:
    path = tmp_path / "x"
    index.save(path)
    header, arrays = read_container(path, mmap=False)
    for wrong in (2, -1):
        arrays["ids"][0] = wrong
        write_container(path, header, arrays)
        with pytest.raises(engine.CorruptIndexError, match="ids"):
            engine.Index.load(path, mmap=False)
        for use in (lambda index: index.verify(), lambda index: index.get([3]), lambda index: index.remove([3])):
            with pytest.raises(engine.CorruptIndexError, match="ids"):
                use(engine.Index.load(path))


@pytest.mark.parametrize("options", [{"kind": "exact"}, {"kind": "graph"}, {"kind": "graph", "layout": "fast"}])
def test_damage_in_a_mapped_file_does_no_harm(
    options: dict[str, Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    """Any byte of a file with large arrays: it is refused at once, or the index answers or says that it is damaged."""
    index = engine.Index(96, metric="l2", n_threads=2, **options)
    vectors = rng.standard_normal((6000, 96), dtype=np.float32)
    index.add(vectors)
    index.save(tmp_path / "x")
    raw = (tmp_path / "x").read_bytes()
    _, arrays = read_container(tmp_path / "x")
    large = [name for name, array in arrays.items() if array.nbytes > 2**20]
    assert "vectors" in large
    answered = 0
    for trial in range(40):
        damaged = bytearray(raw)
        first = int(rng.integers(64, len(raw) - 4096))
        damaged[first : first + 4096] = rng.bytes(4096)
        (tmp_path / "y").write_bytes(damaged)
        try:
            mapped = engine.Index.load(tmp_path / "y", n_threads=2)
            for ef in (None, 50) if options["kind"] == "graph" else (None,):
                found = mapped.search(vectors[trial : trial + 5], 10, ef=ef)
                answered += 1
                assert (found.ids < 6000).all()
        except engine.CorruptIndexError:
            continue
        with pytest.raises(engine.CorruptIndexError):
            mapped.verify()
        with pytest.raises(engine.CorruptIndexError):
            mapped.add(vectors[:1])
    assert answered > 10


@pytest.mark.parametrize("kind", ["exact", "graph"])
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_the_file_is_what_the_document_says(tmp_path: Path, metric: Metric, kind: IndexKind) -> None:
    layout: Any = "fast" if kind == "graph" else None
    index = engine.Index(40, metric=metric, dtype="bfloat16", kind=kind, layout=layout)
    index.add(np.ones((3, 40)))
    index.save(tmp_path / "x")
    header, arrays = read_container(tmp_path / "x")
    document = (Path(__file__).resolve().parents[2] / "docs" / "file_format.md").read_text("utf-8")
    section, _, of_graph = document.partition("## What an index keeps in it")[2].partition(
        "## What a graph keeps besides"
    )
    if kind == "graph":
        section += of_graph
    listed = re.findall(r"^\| (`.*?`) \| `(.*?)`", section, re.MULTILINE)
    expected = {name: dtype.replace("\\", "") for names, dtype in listed for name in re.findall(r"`(\w+)`", names)}
    assert {name: array.dtype.str for name, array in arrays.items()} == expected
    assert all(f"`{key}`" in section for key in header)
    n, b = 3, 16 * 2
    sizes = {"vectors": n * 80, "center": 40, "high": n * b + 64, "low": n * b + 64, "bias": n if metric == "l2" else 0}
    sizes |= {"neighbours": n * (12 * 32 + 32 * 48 // 8), "neighbours_origin": 41}
    sizes |= {"links": n * 32, "entries": 3, "sample": 0, "sample_links": 0, "sample_entries": 0}
    sizes |= {"dead": 0, "calibration": 0, "changed": 1, "longest": 1}
    assert {name: len(array) for name, array in arrays.items()} == {name: sizes.get(name, n) for name in expected}


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_the_center_follows_rows_that_move(tmp_path: Path, metric: Metric, rng: np.random.Generator) -> None:
    """Rows of a kind are coded around one center; once there are twice as many, and elsewhere, around another."""

    def center() -> Any:
        index.save(tmp_path / "x")
        return read_container(tmp_path / "x")[1]["center"]

    index = engine.Index(16, metric=metric)
    index.add(rng.standard_normal((2000, 16)) + 3)
    first = center()
    index.add(rng.standard_normal((2000, 16)) + 3)
    np.testing.assert_array_equal(center(), first)
    index.add(rng.standard_normal((8000, 16)) - 3)
    mean = index.get(index.ids)[::3]
    mean = mean / np.linalg.norm(mean, axis=1, keepdims=True) if metric == "cosine" else mean
    np.testing.assert_allclose(center(), mean.mean(axis=0), atol=0.1 * np.linalg.norm(first))


def test_the_largest_id_is_saved(tmp_path: Path) -> None:
    index = engine.Index(DIM)
    index.add(VECTORS[:2], ids=[2**63 - 1, 2**63 - 2])
    index.save(tmp_path / "x")
    loaded = engine.Index.load(tmp_path / "x")
    assert loaded.ids.tolist() == [2**63 - 1, 2**63 - 2]
    with pytest.raises(engine.InvalidArgumentError, match="ids"):
        loaded.add(VECTORS[2])


def test_pickle(index: engine.Index, rng: np.random.Generator) -> None:
    index.metadata = {"from": "here"}
    other = pickle.loads(pickle.dumps(index))
    queries = rng.normal(size=(3, index.dim))
    assert other.metadata == index.metadata
    assert (other.metric, other.dtype, len(other)) == (index.metric, index.dtype, len(index))
    for ours, theirs in zip(index.search(queries, 5), other.search(queries, 5), strict=True):
        assert (ours == theirs).all()
    assert other.add(queries).tolist() == index.add(queries).tolist()


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_threads_may_be_the_first_to_ask_a_mapped_index_for_ids(kind: IndexKind, tmp_path: Path) -> None:
    """The map of ids is made when the first of them needs it."""
    vectors = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
    made = engine.Index(16, kind=kind)
    made.add(vectors, ids=np.arange(3000) * 7)
    made.save(tmp_path / "x")
    expected = made.search(vectors[:4], 3, filter=made.ids[::2]).ids
    for _ in range(5):
        index = engine.Index.load(tmp_path / "x", mmap=True)
        start = threading.Barrier(8)

        def ask(i: int, index: engine.Index = index, start: threading.Barrier = start) -> bool:
            start.wait()
            if i % 2:
                return np.array_equal(index.get([7 * i]), vectors[[i]])
            return np.array_equal(index.search(vectors[:4], 3, filter=made.ids[::2]).ids, expected)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(8)))
