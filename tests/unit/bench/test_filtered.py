from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workers import Direct

import engine
from bench import datasets, run
from bench.ann import available_bytes
from bench.columns import Columns
from bench.filtered import Plan, Task, judged, measure
from bench.filtered_cells import KINDS, Cell, Maker, grid
from bench.filtered_data import REAL, Asked, made
from bench.measure import MeasureError
from bench.peers import filtered
from bench.report import read
from engine.evaluation import filtered_ground_truth, recall_at_k
from engine.filters import Predicate, resolve

TINY = Plan(("clustered",), rows=400, selectivities=(0.01, 0.5), libraries=("exact",), n_queries=12, repeats=2)


class Exact(filtered.Filtered):
    """Searches a part of the rows exactly: the part is the parameter."""

    separate = True

    def __init__(self, vectors: filtered.Rows, columns: Columns, metric: Any, n_threads: int) -> None:
        self.vectors, self.columns = vectors, columns

    @classmethod
    def grid(cls, k: int) -> list[float]:
        return [0.25, 0.5, 1.0]

    def tune(self, value: float) -> None:
        self.n = round(value * len(self.vectors))

    def make(self, predicate: Predicate) -> Any:
        return resolve(predicate, self.columns).to_mask()

    def search(self, query: filtered.Rows, k: int, filter: Any) -> filtered.Ids:
        ids = engine.topk(query, self.vectors[: self.n], k, mask=filter[: self.n]).ids[0]
        return ids[ids >= 0]

    def how(self) -> str:
        return "all of them"

    def nbytes(self) -> int:
        return self.vectors.nbytes


class Fragile(Exact):
    separate = False

    def make(self, predicate: Predicate) -> Any:
        if "!=" in repr(predicate) or "0.5" in repr(predicate):
            raise MeasureError("no")
        return super().make(predicate)

    def search(self, query: filtered.Rows, k: int, filter: Any) -> filtered.Ids:
        if len(np.flatnonzero(filter)) > 100:
            raise MeasureError("Traceback\ntoo many pass")
        return super().search(query, k, filter)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"exact": Exact, "nearfield": Exact, "fragile": Fragile}
    monkeypatch.setattr("bench.filtered.Worker", Direct)
    monkeypatch.setattr(filtered, "load", lambda name: known[name])
    for name in ("exact", "fragile"):
        monkeypatch.setitem(filtered.NAMES, name, filtered.Library(name, "Exact", "numpy"))
    monkeypatch.setitem(filtered.NAMES, "nothing", filtered.Library("nothing", "Nothing", "no-such-distribution"))


@pytest.mark.usefixtures("inline")
def test_every_cell_is_answered_at_the_first_setting_that_is_good_enough() -> None:
    data, built, *rest = measure(TINY)
    assert (data["rows"], data["metric"], data["n_queries"]) == (400, "cosine", 12)
    assert built["index_bytes"] == 400 * 384 * 4
    cells = [record for record in rest if record["figure"] == "cell"]
    assert [(cell["correlation"], cell["selectivity"]) for cell in cells] == [
        (correlation, share) for correlation in ("positive", "none", "negative") for share in (0.01, 0.5)
    ]
    assert all(cell["passing"] == pytest.approx(cell["selectivity"]) for cell in cells)
    points = [record for record in rest if record["figure"] == "point"]
    assert len(points) == len(cells)
    for point in points:
        assert point["value"] == 1.0
        assert point["tried"] == {"0.5": pytest.approx(0.5, abs=0.4), "1.0": 1.0}
        assert (point["recall"], point["worst_bucket"], point["complete"], point["valid"]) == (1, 1, 1, 1)
        assert point["ways"] == {"all of them": 12}
        assert len(point["seconds"]) == len(point["seconds_in"]) == 2
        assert 0 < point["p50_s"] <= point["p99_s"]


@pytest.mark.usefixtures("inline")
def test_one_that_fails_or_is_missing_is_named_and_the_others_go_on() -> None:
    plan = Plan(**{**TINY.__dict__, "libraries": ("nothing", "fragile", "exact"), "ks": (1, 10)})
    records = list(measure(plan))
    missing = [record for record in records if "missing" in record]
    assert [record["missing"] for record in missing if record["figure"] == "build"] == ["not installed"]
    failed = [record for record in missing if record["figure"] == "point"]
    assert {record["missing"] for record in failed} == {"too many pass"}
    assert {(record["selectivity"], record["k"]) for record in failed} == {(0.5, 1), (0.5, 10)}
    points = [record for record in records if record["figure"] == "point" and "missing" not in record]
    assert sum(point["library"] == "exact" for point in points) == 12
    assert sum(point["library"] == "fragile" for point in points) == 6
    fragile = next(point for point in points if point["library"] == "fragile")
    assert fragile["seconds"] == fragile["seconds_in"]  # its filters are not made apart


def test_judged_by_what_there_is_to_find() -> None:
    allowed = [engine.Bitmap.from_rows(20, rows) for rows in ([1, 2, 3], [4], [])]
    right = np.array([[3, 2, 1], [4, -1, -1], [-1, -1, -1]])
    task = Task(Asked(Cell("range", "none", 0.1), []), allowed, np.array([0.5, 0.1, 0.0]), right)
    assert judged(right, task, 3) == {
        "n_queries": 3, "recall": 1, "worst_bucket": 1, "worst_query": 1, "complete": 1, "valid": 1
    }  # fmt: skip
    found = judged(np.array([[3, 2, -1], [5, 5, -1], [-1, -1, -1]]), task, 3)
    assert found == {
        "n_queries": 3, "recall": 0.5, "worst_bucket": 0, "worst_query": 0, "complete": 2 / 3, "valid": 0.5
    }  # fmt: skip
    assert judged(right[:1, :1], task, 1)["recall"] == 1


def test_a_data_set_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    assert datasets.at_hand() == "clustered-100k"
    (record,) = measure(Plan(("wordnet",)))
    assert str(tmp_path / "wordnet") in record["missing"]
    (tmp_path / "wordnet").mkdir()
    assert datasets.at_hand() == "wordnet"


@pytest.mark.parametrize("name", ["nearfield", "nearfield-exact", "nearfield-folder", "numpy"])
def test_what_is_always_there_is_exact(name: str) -> None:
    check(name, 1.0)


def test_the_collection_that_is_measured_has_lost_a_row() -> None:
    data = datasets.clustered(100, 0)
    columns = Maker(data.vectors, data.queries, "cosine", 0).columns()
    library: Any = filtered.load("nearfield-folder")(data.vectors, columns, "cosine", 1)
    assert (len(library.collection), library.collection.index.n_dead) == (100, 1)


@pytest.mark.peers
@pytest.mark.parametrize("name", [name for name in filtered.NAMES if not filtered.is_ours(name) and name != "numpy"])
def test_a_peer_finds_enough_in_every_kind(name: str) -> None:
    if filtered.version(name) is None:
        pytest.skip(f"{name} is not installed")
    check(name, 0.95)


def check(name: str, recall: float) -> None:
    """Build a library, and ask it every kind of predicate at its most thorough."""
    data = datasets.clustered(1500, 0)
    queries = data.queries[:8]
    maker = Maker(data.vectors, queries, "cosine", 0)
    made = {cell: maker.predicates(cell) for cell in grid(KINDS, ["negative"], (0.002, 0.3, 0.9))}
    columns = maker.columns()
    library = filtered.load(name)(data.vectors, columns, "cosine", 2)
    assert library.nbytes() >= data.vectors.nbytes / 2
    library.tune(library.grid(10)[-1])
    for cell, predicates in made.items():
        if name == "zvec" and cell.kind == "exact":
            continue
        right = filtered_ground_truth(queries, data.vectors, 10, filters=predicates, attributes=columns)
        found = np.full_like(right.ids, -1)
        for row, (query, predicate) in enumerate(zip(queries, predicates, strict=True)):
            ids = library.search(query, 10, library.make(predicate))
            found[row, : len(ids)] = ids
        assert recall_at_k(found, right.ids) >= recall, cell


@pytest.mark.usefixtures("inline")
def test_the_command_prints_the_worst_cell_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "filtered.jsonl"
    options = ["--datasets", "clustered-100k", "--rows", "1000", "--queries", "10", "--repeats", "1", "--threads", "1"]
    cells = ["--kinds", "not", "--correlations", "none", "--selectivities", "0.02,0.7", "--k", "1,10"]
    assert run.main(["filtered", *options, *cells, "--libraries", "nearfield,exact", "--out", str(out)]) == 0
    head, *records = read(out)
    assert (head["threads"], head["repeats"]) == (1, 1)
    assert [record["figure"] for record in records] == ["data", "build", "build", *["cell", "point", "point"] * 4]
    printed = capsys.readouterr().out
    assert "DATA clustered-100k: 1,000 x 384, cosine, 10 queries a cell" in printed
    assert "[met]      recall at least 0.99 in every cell: 4 of 4" in printed
    assert run.main(["filtered", "--quick", *options, *cells, "--libraries", "exact", "--json", "--out", str(out)]) == 0
    assert [json.loads(line)["figure"] for line in capsys.readouterr().out.splitlines()][:2] == ["run", "data"]


def test_the_whole_grid_is_asked_for() -> None:
    plan = Plan.full()
    assert len(grid(plan.kinds, plan.correlations, plan.selectivities)) * len(plan.ks) == 8 * 3 * 7 * 3
    assert Plan().kinds == ("equality",)
    assert available_bytes() > 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--libraries", "nosuch"], "unknown: nosuch; expected some of nearfield"),
        (["--kinds", "like"], "unknown: like; expected some of equality"),
        (["--correlations", "some"], "unknown: some; expected some of positive"),
        (["--selectivities", "0.1,1"], "0.1,1 is not all between 0 and 1"),
        (["--selectivities", "x"], "invalid shares value: 'x'"),
        (["--queries", "3"], "3 is not at least 10"),
    ],
)
def test_wrong_arguments_are_named(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["filtered", *argv])
    assert message in capsys.readouterr().err


def test_real_columns_are_asked_where_they_are() -> None:
    pytest.importorskip("pyarrow")
    if datasets.at_hand() != "wordnet":
        pytest.skip(f"{datasets.data_folder() / 'wordnet'} is missing: set NEARFIELD_DATA to test its real columns")
    workload = made("wordnet", 2000, 10, [], 0)
    assert [asked.cell.kind for asked in workload.asked] == list(REAL)
    for asked in workload.asked:
        assert len(asked.predicates) == 10
        assert 0 <= asked.cell.selectivity <= 1


def test_real_columns_that_are_missing_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "wordnet").mkdir()
    rng = np.random.default_rng(0)
    for part in ("base", "query"):
        np.save(tmp_path / "wordnet" / f"{part}.f16.npy", rng.normal(size=(50, 8)).astype(np.float16))
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    workload = made("wordnet", None, 10, [Cell("range", "none", 0.5)], 0)
    assert len(workload.asked) == 1
    assert "without its real columns: " in workload.name
