"""examples/demo.py: its parts on little data, and the whole once."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

import engine
from engine.evaluation import ground_truth, recall_at_k
from examples import load_example

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    return load_example("demo")


def write_idx(path: Path, values: NDArray[np.uint8], kind: int = 8) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def fashion(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder like that of Fashion-MNIST: 40 pictures of ten classes, told apart by a bright row."""
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    labels = np.arange(40, dtype=np.uint8) % 10
    pictures = rng.integers(0, 40, (40, 28, 28), np.uint8)
    pictures[np.arange(40), 2 * labels] = 255
    write_idx(folder / "t10k-images-idx3-ubyte.gz", pictures)
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", labels)
    return folder


def test_idx_files_come_back(demo: ModuleType, tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 256, (3, 5, 7), np.uint8)
    write_idx(tmp_path / "x.gz", values)
    np.testing.assert_array_equal(demo.read_idx(tmp_path / "x.gz"), values)
    write_idx(tmp_path / "floats.gz", values, kind=13)
    with pytest.raises(engine.CorruptIndexError, match="holds type 13, expected 8"):
        demo.read_idx(tmp_path / "floats.gz")


def test_folders_hold_the_pictures_and_nothing_older(
    demo: ModuleType, tmp_path: Path, rng: np.random.Generator
) -> None:
    pictures = rng.integers(0, 256, (4, 6, 5), np.uint8)
    for n in (4, 3):
        folder = demo.write_folder(tmp_path / "pictures", pictures[:n], np.array(["b", "a", "b", "c"]))
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png")) == [
        "a/00001.png", "b/00000.png", "b/00002.png",
    ]  # fmt: skip
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "b" / "00002.png")), pictures[2])


def test_a_folder_of_somebody_else_stays(demo: ModuleType, tmp_path: Path) -> None:
    kept = tmp_path / "digits" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("years of work")
    with pytest.raises(SystemExit, match=r"digits.* is not of this demo.*--out"):
        demo.image_folders(tmp_path, tmp_path / "missing", 20)
    assert [path.name for path in kept.parent.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("n_wrong", "expected"), [(0, 0), (1, 1), (3, 3), (30, 3), (38, 4), (40, 6)])
def test_examples_show_right_and_wrong(demo: ModuleType, n_wrong: int, expected: int) -> None:
    right = np.arange(40) >= n_wrong
    rows = demo.examples(right, 6)
    assert len(set(rows)) == 6
    assert (~right[rows]).sum() == expected


def test_numpy_is_a_fair_baseline(demo: ModuleType, rng: np.random.Generator) -> None:
    queries, vectors = (rng.random((n, 12), np.float32) for n in (20, 500))
    for mask in (np.ones(500, bool), rng.random(500) < 0.1):
        truth = ground_truth(queries, vectors, 10, metric="l2", mask=mask).ids
        assert recall_at_k(demo.numpy_search(queries, vectors, 10, mask), truth) == 1.0


def test_patches_are_cut_from_the_photographs(demo: ModuleType) -> None:
    from sklearn.datasets import load_sample_images

    found = demo.patches(1, 50)
    photograph = load_sample_images().images[0]
    np.testing.assert_array_equal(found[0], photograph[1:9, 1:9].reshape(-1) / np.float32(255))
    assert found.shape == (2 * 9 * 13, 192)


def test_images_are_judged_and_drawn(
    demo: ModuleType, fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.show_images(tmp_path / "out", fashion, 200, ["pixels"])
    said = capsys.readouterr().out
    assert "digits: 200 images, each labelled by its 20 nearest among the other 199." in said
    assert "fashion: 40 images" in said
    assert f"nearfield classify {tmp_path / 'out' / 'digits-pixels.nrf'}\n" in said
    picture = Image.open(tmp_path / "out" / "neighbours.png").convert("RGB")
    colours = {colour for _, colour in picture.getcolors(picture.width * picture.height)}
    assert {(0x88, 0x88, 0x88), (0x1A, 0x98, 0x50), (0xD7, 0x30, 0x27)} <= colours
    assert len(engine.Collection.open(tmp_path / "out" / "digits-pixels.nrf")) == 200


def test_the_mistakes_named_are_of_the_best(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first encoder sees one grey per image, the second all pixels."""
    sizes = {"blurred": 1, "sharp": 8}
    monkeypatch.setattr(demo.encoders, "get", lambda name, get=demo.encoders.get: get("pixels", size=sizes[name]))
    demo.show_images(tmp_path, tmp_path / "missing", 100, list(sizes))
    said = capsys.readouterr().out
    assert "Best: sharp" in said
    assert f"nearfield classify {tmp_path / 'digits-sharp.nrf'}\n" in said


def test_without_fashion_mnist_it_says_so(demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = demo.image_folders(tmp_path, tmp_path / "missing", 20)
    assert list(folders) == ["digits"]
    assert "Fashion-MNIST is left out" in capsys.readouterr().out


def test_filters_find_everything(demo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    demo.show_filters(step=12, n_queries=20, repeats=1)
    said = capsys.readouterr().out
    assert "nearfield found everything under every filter" in said
    assert len([line for line in said.splitlines() if "%, " in line[:8]]) >= 9


@pytest.mark.slow
def test_the_whole_demo(demo: ModuleType, fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("torch", "sentence_transformers", "efficientnet_lite_pytorch"):
        pytest.importorskip(module)
    assert demo.main(["--out", str(tmp_path / "out"), "--fashion", str(fashion), "--images", "40"]) == 0
    said = capsys.readouterr().out
    assert "features:efficientnet-lite0: " in said
    assert "4 of 4 questions find the sentence that was meant." in said
    assert "Done in" in said
