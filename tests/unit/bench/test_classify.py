"""bench.classify: its table, and that a small run of each part works."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import classify

pytestmark = pytest.mark.filterwarnings("ignore:fewer rows")


def test_a_group_begins_with_its_baseline() -> None:
    runs = [
        {"few: plain": 0.5, "few: ours": 0.6, "all: plain": 0.8},
        {"few: plain": 0.7, "few: ours": 0.7, "all: plain": 0.9},
    ]
    assert list(classify.table("data", runs)) == [
        "| data | few: plain | 0.6000 | 0.1414 |  |  |  |",
        "| data | few: ours | 0.6500 | 0.0707 | plain | 0.0500 | 0.0707 |",
        "| data | all: plain | 0.8500 | 0.0707 |  |  |  |",
    ]


@pytest.fixture
def labelled(rng: np.random.Generator) -> classify.Labelled:
    means = 2 * rng.standard_normal((6, 16))
    y, y_test = np.arange(120) % 6, np.arange(60) % 6
    names = np.array(list("abcdef"))
    return classify.Labelled(
        (means[y] + rng.standard_normal((120, 16))).astype(np.float32), names[y],
        (means[y_test] + rng.standard_normal((60, 16))).astype(np.float32), names[y_test],
        means.astype(np.float32), {name: means[i : i + 1].astype(np.float32) for i, name in enumerate(names)},
    )  # fmt: skip


def test_every_part_gives_shares(labelled: classify.Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(classify, "IMAGE_ENCODER", "pixels")
    names = np.unique(labelled.y)
    figures = classify.from_names(labelled, names) | classify.from_all(labelled)
    figures |= classify.from_shots(labelled, names, 0) | classify.open_set(labelled, names, 0)
    assert len(figures) == 22
    more = classify.unseen(labelled, names, 0)
    assert len(more) == 4
    assert all(0 <= value <= 1 for name, value in (figures | more).items() if "distance" not in name)
    assert figures["all rows: class mean"] > 0.8
    runs = list(classify.sessions(labelled, tmp_path, n_base=4, n_way=2, n_seeds=2))
    assert len(runs) == 2
    assert len(runs[0]) == 18


def test_regions_are_told_apart_by_text_vectors_and_by_each_other(rng: np.random.Generator) -> None:
    text = rng.standard_normal((20, 64)).astype(np.float32)
    figures = classify.regions(text / np.linalg.norm(text, axis=1, keepdims=True), 0)
    shares = {name: value for name, value in figures.items() if "distance" not in name}
    assert len(shares) == 4
    assert all(0.5 < share <= 1 for share in shares.values())
    assert max(shares, key=lambda name: shares[name]).endswith((": text", ": Tip-Adapter"))


def test_characters_are_read_from_the_archive(tmp_path: Path) -> None:
    Image: Any = pytest.importorskip("PIL.Image")
    with zipfile.ZipFile(tmp_path / "small.zip", "w") as archive:
        for letter, drawing in (("character02", 3), ("character01", 20)):
            file = io.BytesIO()
            Image.fromarray(np.full((105, 105), 255 * (drawing == 3), np.uint8)).save(file, "PNG")
            archive.writestr(f"background/Greek/{letter}/0001_{drawing:02}.png", file.getvalue())
    images, labels, drawing = classify.characters(tmp_path / "small.zip")
    assert images.shape == (2, 784)
    assert labels.tolist() == ["Greek/character01", "Greek/character02"]
    assert drawing.tolist() == [19, 2]
    assert images.mean(axis=1).tolist() == [1.0, 0.0]


def test_missing_data_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    assert classify.main(["--only", "omniglot", "--seeds", "1"]) == 0
    assert "| omniglot | left out: " in capsys.readouterr().out


@pytest.mark.slow
def test_banking77_by_names_alone(tmp_path: Path) -> None:
    folder = classify.data_folder() / "banking77" / "banking_data"
    if not folder.exists():
        pytest.skip(f"{folder} is missing; set NEARFIELD_DATA")
    pytest.importorskip("sentence_transformers")
    test = classify.read_csv(folder / "test.csv", "text", "category")
    title = lambda name: name.replace("_", " ").replace("?", "")  # noqa: E731
    data = classify.encoded_texts(tmp_path, (test[0][:0], test[1][:0]), test, title)
    figures = classify.from_names(data, np.unique(test[1]))
    assert figures["name: cosine"] >= 0.62
    assert figures["name: label vectors, 8 documents"] > figures["name: cosine"] + 0.03


@pytest.mark.slow
def test_teen_helps_with_one_drawing_of_a_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (classify.data_folder() / "omniglot").exists():
        pytest.skip(f"{classify.data_folder() / 'omniglot'} is missing; set NEARFIELD_DATA")
    monkeypatch.setattr(classify, "features", lambda network, images: images)  # pixels are what is looked at
    runs = list(classify.omniglot(tmp_path, 5))
    gains = np.array([run["pixels, 1 shots: TEEN 0.5"] - run["pixels, 1 shots: class mean"] for run in runs])
    assert gains.mean() > gains.std(ddof=1)
