"""engine.Index(kind="graph") in files: its own, those of collections, and what the command says of them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import DIM, METRICS, QUERIES, VECTORS, N, same_answers, state_of
from numpy.typing import NDArray
from reference import check_search, rounded_to

import engine
from engine import cli
from engine.storage import read_container, write_container
from engine.types import Metric, VectorDtype

# ---- save, load, pickle


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_save_load_and_pickle(tmp_path: Path, metric: Metric, dtype: VectorDtype) -> None:
    """Identical answers and bytes, also with dead rows; and it changes like the one that was saved."""
    index = engine.Index(DIM, metric=metric, kind="graph", M=20, ef_construction=60, seed=5, dtype=dtype)
    index.add(VECTORS[:2500])
    index.metadata = {"from": "here"}
    np.testing.assert_array_equal(index.get(index.ids), rounded_to(VECTORS[:2500], dtype))
    for gone in (0, 100):
        index.remove(index.ids[:gone])
        assert index.n_dead == gone
        index.save(tmp_path / "x")
        others = [engine.Index.load(tmp_path / "x", mmap=mmap) for mmap in (True, False)]
        others.append(pickle.loads(pickle.dumps(index)))
        for other in others:
            assert (other.kind, other.M, other.ef_construction, other.seed) == ("graph", 20, 60, 5)
            assert (other.metric, other.dtype, len(other), other.n_dead) == (metric, dtype, 2500 - gone, gone)
            assert (other.metadata, other.calibration) == (index.metadata, index.calibration)
            assert state_of(other) == state_of(index)
            for options in ({"ef": 20}, {"recall": 0.9}, {"recall": 1.0}):
                same_answers(index, other, **options)
    content = (tmp_path / "x").read_bytes()
    for other in others:
        other.add(VECTORS[2500:2600])
        other.remove(np.arange(1000, 1100))
        other.optimize()
        assert other.verify()["n_reached"] == 2400
        np.testing.assert_array_equal(other.get([2550]), rounded_to(VECTORS[2550:2551], dtype))
    assert (tmp_path / "x").read_bytes() == content


def test_an_empty_graph_is_saved(tmp_path: Path) -> None:
    engine.Index(DIM, kind="graph").save(tmp_path / "x")
    loaded = engine.Index.load(tmp_path / "x")
    assert (loaded.kind, len(loaded)) == ("graph", 0)
    assert loaded.add(VECTORS[:2]).tolist() == [0, 1]


@pytest.fixture
def saved(shared: engine.Index, tmp_path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    shared.save(tmp_path / "x")
    return read_container(tmp_path / "x", mmap=False)


def refused(folder: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]], match: str) -> None:
    write_container(folder / "y", header, arrays)
    with pytest.raises(engine.CorruptIndexError, match=match):
        engine.Index.load(folder / "y").verify()


@pytest.mark.parametrize("name", ["links", "entries", "dead", "calibration", "changed"])
def test_a_part_that_does_not_fit(saved: Any, tmp_path: Path, name: str) -> None:
    header, arrays = saved
    refused(tmp_path, header, {key: array for key, array in arrays.items() if key != name}, name)
    other = arrays[name].astype(np.uint16)
    refused(tmp_path, header, {**arrays, name: other}, name)
    for wrong in (arrays[name][:-1], np.append(arrays[name], arrays[name][:1])) if name != "dead" else ():
        if name != "entries":  # any number of them will do
            refused(tmp_path, header, {**arrays, name: wrong}, name)


@pytest.mark.parametrize(
    ("name", "place", "value", "match"),
    [
        ("links", 100, N, "links holds 4000, expected a row"),
        ("links", 100, 2**32 - 2, "links holds 4294967294"),
        ("entries", 0, N, "entries holds 4000, expected a row"),
        ("calibration", 0, 0.0, "calibration"),
        ("calibration", 1, np.nan, "calibration"),
        ("calibration", 2, 1.5, "calibration"),
        ("calibration", 3, -1.0, "calibration"),
    ],
)
def test_numbers_out_of_range(saved: Any, tmp_path: Path, name: str, place: int, value: float, match: str) -> None:
    header, arrays = saved
    arrays[name][place] = value
    refused(tmp_path, header, arrays, match)


def test_no_entries(saved: Any, tmp_path: Path) -> None:
    header, arrays = saved
    refused(tmp_path, header, {**arrays, "entries": arrays["entries"][:0]}, "entries is empty")


@pytest.mark.parametrize("dead", [[N], [2**32 - 1], [5, 5]])
def test_dead_rows_that_are_none(saved: Any, tmp_path: Path, dead: list[int]) -> None:
    header, arrays = saved
    refused(tmp_path, header, {**arrays, "dead": np.array(dead, np.uint32)}, "dead holds")


@pytest.mark.parametrize("key", ["kind", "M", "ef_construction", "seed", "layout"])
def test_a_header_that_does_not_fit(saved: Any, tmp_path: Path, key: str) -> None:
    header, arrays = saved
    refused(tmp_path, {name: value for name, value in header.items() if name != key}, arrays, "y")
    for wrong in ("x", -1, 1.5, "exact", 2**64, [32]):
        refused(tmp_path, {**header, key: wrong}, arrays, "y")
    refused(tmp_path, {**header, "M": 16}, arrays, "links has length")


def test_verify_finds_links_that_are_not_sound(saved: Any, tmp_path: Path) -> None:
    """What can be walked without harm is loaded, and found by `verify` alone."""
    header, arrays = saved
    links = arrays["links"].reshape(N, 32)
    row = int(np.argmax((links[:, 5] < N) & (links[:, 30] >= N)))
    for place, value, match in [
        (0, row, "n_self_links 1"),
        (1, links[row, 0], "n_repeated 1"),
        (31, 0, "n_after_end 1"),
    ]:
        broken = links.copy()
        broken[row, place] = value
        refused(tmp_path, header, {**arrays, "links": broken.ravel()}, match)
    if header["layout"] == "fast":
        broken = links.copy()
        broken[row, :2] = links[row, 1::-1]
        refused(tmp_path, header, {**arrays, "links": broken.ravel()}, "n_not_beside 1")
        beside = arrays["neighbours"].copy()
        beside[:4] = 254  # the first neighbour of the first row
        refused(tmp_path, header, {**arrays, "neighbours": beside}, "neighbours holds one that is no row")
        refused(tmp_path, header, {**arrays, "neighbours": beside[:-1]}, "neighbours has")
        refused(tmp_path, header, {**arrays, "neighbours_origin": arrays["neighbours_origin"][1:]}, "neighbours_origin")
    broken = np.full_like(links, 2**32 - 1)
    refused(tmp_path, header, {**arrays, "links": broken.ravel()}, "n_reached 64 of 4000 rows, expected at least 99.9%")


# ---- collections and the command line


def test_a_collection_may_be_a_graph(tmp_path: Path) -> None:
    collection = engine.Collection.create(dim=DIM, metric="l2", kind="graph")
    collection.add(VECTORS, attributes={"row": range(N)})
    collection.save(tmp_path / "x")
    for each in (collection, engine.Collection.open(tmp_path / "x")):
        assert each.index.kind == "graph"
        exact = each.search(QUERIES, 5, exact=True, columns=["row"])
        check_search(exact, QUERIES, VECTORS, 5, "l2")
        np.testing.assert_array_equal(exact.attributes["row"], exact.ids)
        np.testing.assert_array_equal(each.search(QUERIES, 5, recall=1.0, exact=True).ids, exact.ids)
        work = [each.search(QUERIES, 5, recall=recall).stats for recall in (0.5, None, 0.99)]
        assert [stats.strategy for stats in work] == ["graph"] * 3
        assert work[0].n_scored < work[1].n_scored < work[2].n_scored
        with pytest.raises(engine.InvalidArgumentError, match=r"recall is 0.9 and exact True, expected one of them"):
            each.search(QUERIES, 5, recall=0.9, exact=True)
        with pytest.raises(engine.InvalidArgumentError, match="exact is 1, expected True or False"):
            each.search(QUERIES, 5, exact=1)  # type: ignore[arg-type]


@pytest.fixture
def nearfield(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command: its exit code, and what it wrote."""
    pytest.importorskip("typer")

    def run_command(*argv: object) -> tuple[int, str, str]:
        return (cli.main([str(word) for word in argv]), *capsys.readouterr())

    return run_command


def test_verify_of_sound_files(shared: engine.Index, tmp_path: Path, nearfield: Callable[..., Any]) -> None:
    shared.save(tmp_path / "graph")
    collection = engine.Collection.create(dim=2)
    collection.add([[1, 0], [0, 1]])
    collection.save(tmp_path / "collection")
    code, out, _ = nearfield("verify", tmp_path / "graph")
    assert (code, out.splitlines()[0]) == (0, f"{tmp_path}/graph is sound: {N} rows, kind graph")
    assert ["n_reached", str(N)] in [line.split() for line in out.splitlines()]
    assert nearfield("verify", tmp_path / "collection")[:2] == (
        0,
        f"{tmp_path}/collection is sound: 2 rows, kind exact\n",
    )
    facts = json.loads(nearfield("verify", tmp_path / "graph", "--json")[1])
    assert (facts["file"], facts["kind"], facts["rows"], facts["sound"]) == (f"{tmp_path}/graph", "graph", N, True)
    assert facts["report"] == shared.inspect()


def test_verify_of_damaged_files(saved: Any, tmp_path: Path, nearfield: Callable[..., Any]) -> None:
    """A flipped bit, links that are not sound, columns that do not fit, no file at all: each is exit code 1."""
    header, arrays = saved
    damaged = bytearray((tmp_path / "x").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "bit").write_bytes(damaged)
    links = arrays["links"].copy()
    links[0] = 0
    write_container(tmp_path / "links", header, {**arrays, "links": links})
    meta = {
        "version": 2,
        "schema": {"label": "keyword"},
        "columns": {"label": ["a"]},
        "skipped": [],
        "encoder": {},
        "items": None,
    }
    write_container(tmp_path / "columns", {**header, "metadata": {"nearfield.collection": meta}}, arrays)
    expected = {"bit": "checksum", "links": "n_self_links 1", "columns": "label", "no": "No such file"}
    for name, message in expected.items():
        code, out, error = nearfield("verify", tmp_path / name)
        assert (code, out) == (1, "")
        assert message in error
        code, out, error = nearfield("verify", tmp_path / name, "--json")
        assert (code, error) == (1, "")
        assert message in json.loads(out)["error"]


def test_index_with_a_kind(tmp_path: Path, nearfield: Callable[..., Any]) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    call = ("index", tmp_path, "--encoder", "pixels", "--out", tmp_path / "x.nrf")
    assert nearfield(*call, "--kind", "graph")[0] == 0
    assert engine.Collection.open(tmp_path / "x.nrf").index.kind == "graph"
    assert nearfield(*call)[0] == 0
    assert engine.Collection.open(tmp_path / "x.nrf").index.kind == "exact"
    assert nearfield(*call, "--kind", "tree")[0] == 2
