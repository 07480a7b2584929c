from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from workers import Direct

import engine
from bench import datasets, run
from bench.ann import ENOUGH, Plan, by_turns, fitting, measure, sweep
from bench.ann_tasks import Built, Setting, abilities, all_at_once, costs, one_by_one, prepare, recall
from bench.measure import MeasureError, Worker
from bench.peers import ann
from bench.report import read

PEERS = [name for name in ann.NAMES if not name.startswith(ann.OURS)]


class Exact(ann.Approximate):
    """Searches a part of the rows exactly: the part is the recall."""

    targets = (0.5,)

    def __init__(self, vectors: ann.Rows, metric: str, n_threads: int) -> None:
        self.vectors, self.metric = vectors, metric

    @classmethod
    def grid(cls, k: int) -> list[float]:
        return [0.25, 0.5, 1.0, 2.0]

    def tune(self, value: float, n_threads: int) -> None:
        self.rows = self.vectors[: round(value * len(self.vectors))]

    aim = tune

    def search(self, queries: ann.Rows, k: int) -> ann.Ids:
        return engine.topk(queries, self.rows, k, metric=self.metric).ids

    def nbytes(self) -> int:
        return self.vectors.nbytes


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.ann.Worker", Direct)
    monkeypatch.setattr(ann, "load", lambda name: {"exact": Exact}[name])
    monkeypatch.setitem(ann.NAMES, "exact", ann.Library("exact", "Exact", "numpy"))
    monkeypatch.setitem(ann.NAMES, "nothing", ann.Library("nothing", "Nothing", "no-such-distribution"))


@pytest.mark.usefixtures("inline")
def test_a_library_that_dies_late_does_not_cost_the_others_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fragile(Exact):
        targets = ()

        def search(self, queries: ann.Rows, k: int) -> ann.Ids:
            if len(queries) == datasets.QUERIES:
                raise MeasureError("Traceback\nthe process ended with exit code -11")
            return super().search(queries, k)

    monkeypatch.setattr(ann, "load", lambda name: {"exact": Exact, "nothing": Fragile}[name])
    monkeypatch.setattr(ann, "version", lambda name: "1")
    plan = Plan(("clustered",), rows=200, libraries=("exact", "nothing"), n_single=2, repeats=1)
    records = list(measure(plan))
    assert [record["missing"] for record in records if "missing" in record] == ["the process ended with exit code -11"]
    assert {record["library"] for record in records if record["figure"] == "batch"} == {"exact"}


@pytest.mark.usefixtures("inline")
def test_a_sweep_stops_where_it_is_good_enough_and_the_missing_are_named() -> None:
    plan = Plan(("clustered",), rows=600, ks=(1, 10), libraries=("exact", "nothing"), n_single=5, repeats=2)
    records = list(measure(plan))
    data, *rest = records
    assert (data["rows"], data["metric"], data["n_queries"]) == (600, "cosine", datasets.QUERIES)
    assert [record["missing"] for record in rest if record["library"] == "nothing"] == ["not installed"]
    for k in (1, 10):
        here = [record for record in rest if record.get("k") == k]
        curve = [record for record in here if record["figure"] == "curve"]
        assert [record["value"] for record in curve] == [0.25, 0.5, 1.0]  # 2.0 cannot be better
        assert curve[-1]["recall"] == 1
        assert curve[0]["recall"] == pytest.approx(0.25, abs=0.1)
        assert all(len(record["seconds"]) == 2 and record["n_queries"] == 5 for record in curve)
        aimed = [record for record in here if record["figure"] == "calibrated"]
        assert [(record["value"], record["recall"]) for record in aimed] == [(0.5, curve[1]["recall"])]
        batches = [record for record in here if record["figure"] == "batch"]
        assert [(record["threads"], record["value"]) for record in batches] == [(1, 1.0), (2, 1.0)]
    assert next(record["index_bytes"] for record in rest if record["figure"] == "build") == 600 * 384 * 4


def test_a_data_set_that_is_missing_is_said_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    records = list(measure(Plan(("wordnet", "clustered"), rows=50, libraries=())))
    assert str(tmp_path / "wordnet") in records[0]["missing"]
    assert "missing" not in records[1]


def test_neighbours_in_time_are_of_different_libraries() -> None:
    cases = [(name, Setting("tune", value)) for name, n in (("a", 3), ("b", 1), ("c", 2)) for value in range(n)]
    assert [(name, setting.value) for name, setting in by_turns(cases)] == [
        ("a", 0), ("b", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2),
    ]  # fmt: skip


def test_fewer_indexes_at_a_time_where_memory_is_short() -> None:
    assert fitting(raw_bytes=100, free_bytes=4000) == 10
    assert fitting(raw_bytes=100, free_bytes=10) == 2


def test_recall_counts_what_was_found_once() -> None:
    right = np.array([[1, 2, 3, 4]])
    assert recall(np.array([[4, 3, 9, 1]]), right) == 0.75
    assert recall(np.array([[1, 1, 1, 1]]), right) == 0.25
    assert recall(np.array([[-1, -1, -1, -1]]), right) == 0


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_exact_answers_are_those_of_float64(
    metric: engine.Metric, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, queries = rng.normal(size=(400, 12)).astype(np.float32), rng.normal(size=(20, 12)).astype(np.float32)
    if metric == "cosine":
        vectors, queries = datasets.unit(vectors), datasets.unit(queries)
    data = datasets.Dataset("made up", vectors, queries, metric)
    monkeypatch.setitem(datasets.NAMED, "made-up", lambda rows, seed: data)
    facts = prepare("made-up", tmp_path, None, 0, 7, 2)
    assert facts[1:] == ("made up", 400, 12, 20, metric, 400 * 12 * 4)
    apart = ((queries[:, None].astype(np.float64) - vectors) ** 2).sum(axis=2)  # on unit rows it ranks like cosine
    np.testing.assert_array_equal(np.load(tmp_path / "right.npy"), np.argsort(apart, axis=1)[:, :7])


def test_ef_is_never_less_than_k() -> None:
    assert list(ann.Approximate.grid(100))[:3] == [100, 120, 180]
    assert list(ann.Approximate.grid(10))[:2] == [10, 16]


@pytest.mark.peers
@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("name", PEERS)
def test_a_library_is_built_and_swept(
    name: str, metric: engine.Metric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ann.version(name) is None:
        pytest.skip(f"{name} is not installed")
    data = datasets.clustered(1500, 0)
    scale = np.float32(1 if metric == "cosine" else 50)
    made_up = datasets.Dataset("made up", data.vectors * scale, data.queries[:40] * scale, metric)
    monkeypatch.setitem(datasets.NAMED, "made-up", lambda rows, seed: made_up)
    facts = prepare("made-up", tmp_path, None, 0, 10, 2)
    with Worker(Built, facts, name, 2, n_threads=2) as worker:
        able = worker.run(abilities, 10)
        found = sweep(worker, [Setting("tune", value) for value in able.grid], 10)
        assert max(found.values()) >= 0.97
        assert list(found.values())[-1] >= ENOUGH or len(found) == len(able.grid)
        last = list(found)[-1]
        assert worker.run(one_by_one, last, 10, 3) > 0
        assert worker.run(costs)["index_bytes"] > data.vectors.nbytes / 2
        if able.batched:
            assert worker.run(all_at_once, last, 10, 2) > 0


@pytest.mark.peers
def test_the_command_prints_curves_and_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hnswlib")
    out = tmp_path / "new" / "ann.jsonl"
    options = ["--datasets", "clustered-100k", "--rows", "2000", "--repeats", "1", "--builds", "1"]
    assert run.main(["ann", *options, "--libraries", "nearfield,hnswlib", "--k", "1,10", "--out", str(out)]) == 0
    figures = {record["figure"] for record in read(out)}
    assert figures >= {"run", "data", "build", "curve", "batch"}
    printed = capsys.readouterr().out
    for part in ("DATA clustered-100k: 2,000 x 384", "k=1,", "k=10,", "hnswlib with 1: ", "targets met"):
        assert part in printed
    assert (tmp_path / "new" / "ann-clustered-100k-k10.png").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--libraries", "nosuch"], "unknown: nosuch; expected some of nearfield"),
        (["--datasets", "mnist"], "unknown: mnist; expected some of wordnet"),
        (["--k", "10,0"], "0 is not at least 1"),
        (["--only", "batch"], "unrecognized arguments: --only batch"),
    ],
)
def test_wrong_arguments_are_named(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run.main(["ann", *argv])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
