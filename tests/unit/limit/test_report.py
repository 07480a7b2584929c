"""engine.limit.capacity_report and `nearfield limit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import cli
from engine.exceptions import InvalidArgumentError, StorageError
from engine.limit import BM25, LimitDataset, RandomAdditive, capacity_report, evaluate, make_limit_dataset


@pytest.fixture(scope="module")
def data() -> LimitDataset:
    return make_limit_dataset(12, 40, n_attributes_per_doc=8)


def test_rows_are_what_evaluate_gives(data: LimitDataset) -> None:
    encoder = RandomAdditive(data, 64)
    queries, documents = encoder.encode_queries(list(data.queries.values())), encoder.encode_documents(data.documents)
    report = capacity_report(encoder, data, dims=(8, None), ks=(2, 4))
    by_name = {(row.name, row.dim): row.recall for row in report.rows}
    assert by_name["embedding", 64] == evaluate(data, encoder, (2, 4))
    assert by_name["embedding", 8] == evaluate(data, (queries[:, :8], documents[:, :8]), (2, 4))
    assert by_name["embedding", 8]["recall@2"] < by_name["embedding", 64]["recall@2"]
    assert by_name["BM25", 0] == evaluate(data, BM25(data.documents), (2, 4))
    assert by_name["MaxSim", 32]["recall@2"] == by_name["sparse words", 0]["recall@2"] == 1
    assert capacity_report((queries, documents), data, dims=(8, None), ks=(2, 4)) == report
    assert report.dim == 64
    assert report.precision["float32"] == 1 > report.precision["float16"]
    assert report.precision["float16 with sums in float16"] == pytest.approx(0.84, abs=0.005)


def test_truncation_to_random_directions(data: LimitDataset) -> None:
    encoder = RandomAdditive(data, 64)
    first, turned = (capacity_report(encoder, data, dims=(8, None), truncate=how) for how in ("matryoshka", "random"))  # type: ignore[arg-type]
    assert first.rows[0] != turned.rows[0]
    assert first.rows[1].recall == pytest.approx(turned.rows[1].recall)


def test_default_dims_and_texts_of_another_form() -> None:
    data = LimitDataset({"a": "red", "b": "blue", "c": "sea"}, {"q": "red sea"}, np.array([[0, 2]]))
    report = capacity_report((np.ones((1, 70)), np.eye(3, 70)), data, ks=[2])
    assert [(row.name, row.dim) for row in report.rows] == [("embedding", d) for d in (32, 64, 70)] + [
        ("sparse words", 0),
        ("BM25", 0),
    ]
    assert report.rows[-1].recall == {"recall@2": 1.0}


def test_the_page_names_what_was_found(data: LimitDataset) -> None:
    pytest.importorskip("scipy")
    report = capacity_report(RandomAdditive(data, 3), data, critical_dims=(3,))
    assert report.realizable is not None
    assert 0 < report.realizable < 1
    page = str(report)
    assert f"{100 * report.realizable:.1f} % of 66 sets of 2 documents" in page
    assert "free embeddings of 3 dimensions: all pairs of 4 documents" in page
    assert json.loads(json.dumps(report.to_dict()))["critical"]["3"]["n"] == 4


def test_the_plot(data: LimitDataset, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = capacity_report(RandomAdditive(data, 16), data, critical_dims=(3,))
    report.plot(tmp_path / "limit.png")
    assert (tmp_path / "limit.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(StorageError, match="cannot write plot"):
        report.plot(tmp_path / "missing" / "limit.png")


@pytest.mark.parametrize(
    ("embedding", "arguments", "message"),
    [
        ((np.ones((40, 8)), np.ones((12, 8))), {"dims": (9,)}, r"dims is \(9,\), expected numbers from 1 to 8"),
        ((np.ones((40, 8)), np.ones((12, 8))), {"dims": ()}, r"dims is \(\)"),
        ((np.ones((40, 8)), np.ones((12, 8))), {"truncate": "pca"}, "truncate is 'pca'"),
        ((np.ones((40, 8)), np.ones((11, 8))), {}, "11 document embeddings were given, expected 12"),
        ((np.ones((40, 8)), np.ones((12, 9))), {}, "query embeddings has dim 8, expected 9"),
        ((np.full((40, 8), np.nan), np.ones((12, 8))), {}, "is nan"),
        ("sbert", {}, "embedding is a str, expected an encoder or a pair"),
    ],
)
def test_bad_input(data: LimitDataset, embedding: Any, arguments: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        capacity_report(embedding, data, **arguments)


# nearfield limit


@pytest.fixture
def additive(data: LimitDataset, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an encoder of these texts."""
    pytest.importorskip("typer")
    encoders = pytest.importorskip("encoders")
    monkeypatch.setattr(encoders.registry, "FAMILIES", dict(encoders.registry.FAMILIES))
    encoders.register("additive", {"": []})(lambda model: RandomAdditive(data, 16))
    return "additive"


def test_the_command(data: LimitDataset, additive: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    data.save(tmp_path)
    picture = tmp_path / "limit.png"
    words = ["limit", str(tmp_path), "--encoder", additive, "--dims", "4,16", "--critical", "3"]
    assert cli.main([*words, "--plot", str(picture)]) == 0
    assert "12 documents, 40 queries" in capsys.readouterr().out
    assert picture.stat().st_size > 0
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["dim"]) for row in found["rows"][:2]] == [("embedding", 4), ("embedding", 16)]
    assert found["critical"]["3"]["n"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dims", "4,x"], "dims is '4,x', expected whole numbers"),
        (["--dims", "17"], "dims is [17], expected numbers from 1 to 16"),
        (["--critical", "3;4"], "critical is '3;4'"),
        (["--plot", "/missing/limit.png"], "cannot write"),
    ],
)
def test_bad_calls(
    data: LimitDataset,
    additive: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    data.save(tmp_path)
    assert cli.main(["limit", str(tmp_path), "--encoder", additive, *words]) in (1, 2)
    assert message in capsys.readouterr().err
