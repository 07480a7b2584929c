"""engine.cli: what the commands write, and how they fail."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import cli, images
from engine.collection import Collection
from engine.index import Index

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("typer")
encoders = pytest.importorskip("encoders")


class Letters(encoders.BaseEncoder):  # type: ignore[misc, name-defined]
    """Counts letters, and the brightness of images: an encoder without a model."""

    def __init__(self) -> None:
        super().__init__(encoders.EncoderSpec("letters", 26))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.array([[image.mean() + 1] * 26 for image in images], np.float32)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)

    encode_documents = encode_queries


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an encoder of texts and images."""
    monkeypatch.setattr(encoders.registry, "FAMILIES", dict(encoders.registry.FAMILIES))
    encoders.register("letters", {"": []})(lambda model: Letters())
    return "letters"


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Six pictures, brighter above or on the left, and one file that is none."""
    folder = tmp_path / "pictures"
    for label, lit in (("above", np.s_[:4, :]), ("left", np.s_[:, :4])):
        (folder / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 60, (8, 8, 3), np.uint8)
            pixels[lit] += 150
            Image.fromarray(pixels).save(folder / label / f"{i} [x].png")
    (folder / "left" / "torn.png").write_text("not a picture")
    return folder


@pytest.fixture
def file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The pictures as one file."""
    out = tmp_path / "pictures.nrf"
    assert cli.main(["index", str(folder), "--encoder", "pixels", "--out", str(out)]) == 0
    capsys.readouterr()
    return out


class Ran:
    """Runs a command and keeps what it wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *argv: object) -> None:
        self.code = cli.main([str(word) for word in argv])
        self.out, self.error = capsys.readouterr()

    @property
    def json(self) -> Any:
        assert all(line.startswith('{"progress"') for line in self.error.splitlines())  # a slow machine writes some
        return json.loads(self.out)


def test_index_says_what_it_wrote_and_what_it_skipped(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "all.nrf"
    ran = Ran(capsys, "index", folder, "--encoder", "pixels", "--out", out, "--metric", "l2", "--dtype", "float16")
    assert ran.code == 0
    assert ran.out.startswith("6 rows of dim 1025 in ")
    assert ran.out.endswith(f"written to {out}\n")
    assert ran.error == "skipped left/torn.png: is not an image of a known format\n"
    index = Collection.open(out).index
    assert (index.metric, index.dtype, len(index)) == ("l2", "float16", 6)


def test_index_as_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "all.nrf"
    found = Ran(capsys, "index", folder, "--encoder", "pixels", "--out", out, "--no-labels", "--json").json
    assert found["rows"] == 6
    assert found["dim"] == 1025
    assert found["labels"] == {}
    assert found["columns"] == ["path"]
    assert found["skipped"] == [{"path": "left/torn.png", "reason": "is not an image of a known format"}]
    assert found["seconds"] > 0
    assert found["encoder"]["name"] == "pixels"


def test_index_uses_the_cache(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        Ran(capsys, "index", folder, "--encoder", "pixels", "--out", tmp_path / name, "--cache", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir())
    a, b = (Collection.open(tmp_path / name) for name in ("a", "b"))
    np.testing.assert_array_equal(a.get(a.index.ids), b.get(b.index.ids))


def test_index_notices_at_once_what_it_cannot_write(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "load_encoder", lambda *_, **__: pytest.fail("it went to work first"))
    call = ("index", folder, "--encoder", "pixels", "--out")
    failed(capsys, 1, "cannot write index: No such file or directory", *call, tmp_path / "no" / "such" / "x")
    failed(capsys, 1, "cannot write index: Is a directory", *call, tmp_path)
    failed(capsys, 1, "cannot write index: Not a directory", *call, folder / "left" / "torn.png" / "x")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("option", [("--labels",), ("--no-labels",), ("--workers", 2)])
def test_options_of_images_are_refused_for_texts(
    option: tuple[object, ...], letters: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.txt").write_text("a bee\n")
    call = ("index", tmp_path / "words.txt", "--encoder", letters, "--out", tmp_path / "out.nrf", *option)
    failed(capsys, 2, "is for a folder of images", *call)
    assert not (tmp_path / "out.nrf").exists()


def test_info(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = Ran(capsys, "info", file, "--json").json
    assert facts["labels"] == {"above": 3, "left": 3}
    assert facts["file_bytes"] == file.stat().st_size
    assert facts["skipped"][0]["path"] == "left/torn.png"
    lines = {words[0]: words[1:] for line in Ran(capsys, "info", file).out.splitlines() if (words := line.split())}
    assert lines["rows"] == ["6"]
    assert lines["encoder"] == ["pixels"]
    assert lines["skipped"] == ["1", "files"]


def test_search_with_an_image(file: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = Ran(capsys, "search", file, "--image", folder / "left" / "1 [x].png", "-k", 3, "--json").json["hits"]
    assert hits[0]["path"] == "left/1 [x].png"
    assert hits[0]["distance"] == pytest.approx(0, abs=1e-6)
    assert [hit["label"] for hit in hits] == ["left"] * 3
    assert "left/1 [x].png" in Ran(capsys, "search", file, "--image", folder / "left" / "1 [x].png").out


def test_search_with_a_row_leaves_it_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = Ran(capsys, "search", file, "--id", 0, "-k", 2, "--json").json["hits"]
    assert len(hits) == 2
    assert {hit["id"] for hit in hits} == {1, 2}
    assert len(Ran(capsys, "search", file, "--id", 0, "-k", 50, "--json").json["hits"]) == 5


def test_texts_are_indexed_and_searched(letters: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("a bee\n\nan owl\n???\n")
    out = tmp_path / "words.nrf"
    found = Ran(capsys, "index", tmp_path / "words.txt", "--encoder", letters, "--out", out, "--json").json
    assert found["rows"] == 2
    assert [entry["path"] for entry in found["skipped"]] == ["texts[2]", "words.txt:2"]
    hits = Ran(capsys, "search", out, "--text", "owls", "-k", 1, "--json").json["hits"]
    assert hits[0]["text"] == "an owl"
    assert hits[0]["path"] == "words.txt:3"


def test_a_text_is_a_text_whatever_it_looks_like(
    letters: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.txt").write_text("tac gnp\nzzz\n")
    for source, option in ((tmp_path / "words.txt", ()), (folder, ("--no-labels",))):
        out = tmp_path / "out.nrf"
        assert Ran(capsys, "index", source, "--encoder", letters, "--out", out, *option).code == 0
        ran = Ran(capsys, "search", out, "--text", "cat.png", "-k", 1, "--json")
        assert ran.code == 0
        assert ran.json["hits"][0]["id"] == 0
    assert Ran(capsys, "search", out, "--image", folder / "left" / "0 [x].png", "--json").code == 0


def test_classify_leaves_one_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Ran(capsys, "classify", file, "-k", 2, "--json").json
    assert report["accuracy"] == report["top_5"] == 1.0
    assert report["confusions"] == []
    assert report["classes"]["left"]["support"] == 3
    assert report["k"] == 2
    text = Ran(capsys, "classify", file, "-k", 2).out
    assert text.startswith("leave one out, 2 neighbours: accuracy 1.0000, top-5 1.0000\n\nclass ")


def test_classify_options_count(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All five others vote alike: three of the other class outvote two of the own."""
    report = Ran(capsys, "classify", file, "-k", 5, "--weights", "uniform", "--json").json
    assert report["accuracy"] == 0.0
    assert report["confusions"][0] == {"true": "above", "predicted": "left", "n": 3}
    assert "above taken for left (3x)" in Ran(capsys, "classify", file, "-k", 5, "--temperature", 1e9).out


def test_classify_new_images(file: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "classify", file, folder / "left", folder / "above" / "0 [x].png", "-k", 3, "--json").json
    assert [image["label"] for image in ran["images"]] == ["left"] * 3 + ["above"]
    assert ran["images"][0]["nearest"] == "left/0 [x].png"
    assert 0.5 < ran["images"][0]["share"] <= 1
    assert [entry["path"] for entry in ran["skipped"]] == [str(folder / "left" / "torn.png")]
    table = Ran(capsys, "classify", file, folder / "left")
    assert "torn.png" in table.error
    assert "left" in table.out


def test_classify_gives_a_row_for_each_image_given(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In small batches, as those of large images are."""
    monkeypatch.setattr(images, "BATCH_BYTES", 300)  # 8 x 8 x 3 = 192 bytes each
    monkeypatch.chdir(folder)
    seen: list[int] = []
    encode = encoders.PixelEncoder.encode_images
    monkeypatch.setattr(encoders.PixelEncoder, "encode_images", lambda self, x: seen.append(len(x)) or encode(self, x))
    given = ["left/0 [x].png", "missing.png", folder / "left" / "0 [x].png", "left/0 [x].png", "above"]
    ran = Ran(capsys, "classify", file, *given, "-k", 3, "--json").json
    above = [f"above/{i} [x].png" for i in range(3)]
    assert [image["path"] for image in ran["images"]] == [given[0], str(given[2]), given[3], *above]
    assert [image["label"] for image in ran["images"]] == ["left"] * 3 + ["above"] * 3
    assert [image["nearest"] for image in ran["images"]] == ["left/0 [x].png"] * 3 + above
    assert ran["skipped"] == [{"path": "missing.png", "reason": "cannot be read: No such file or directory"}]
    assert seen == [2, 2, 2]


def test_classify_searches_once(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []
    search = Index.search
    monkeypatch.setattr(Index, "search", lambda *args, **kwargs: calls.append(1) or search(*args, **kwargs))
    assert Ran(capsys, "classify", file, folder).code == 0
    assert len(calls) == 1


# Failing


def failed(capsys: pytest.CaptureFixture[str], code: int, message: str, *argv: object) -> None:
    """Demand one line on the standard error, or one JSON object on the standard output."""
    ran = Ran(capsys, *argv)
    assert (ran.code, ran.out) == (code, "")
    assert ran.error.startswith("nearfield: ")
    assert ran.error.count("\n") == 1
    assert message in ran.error
    ran = Ran(capsys, *argv, "--json")
    assert ran.code == code
    assert message in ran.json["error"]


def test_classify_fails_if_nothing_was_labelled(file: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "classify", file, "nope.png", folder / "left" / "torn.png")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error == (
        "skipped nope.png: cannot be read: No such file or directory\n"
        f"skipped {folder / 'left' / 'torn.png'}: is not an image of a known format\n"
    )
    ran = Ran(capsys, "classify", file, "nope.png", "--json")
    assert ran.code == 1
    assert ran.json["images"] == []
    assert [entry["path"] for entry in ran.json["skipped"]] == ["nope.png"]


def test_bad_calls(file: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, empty = tmp_path / "out.nrf", tmp_path / "empty"
    empty.mkdir()
    failed(capsys, 2, "No such command", "find")
    failed(capsys, 2, "Missing argument", "info")
    failed(capsys, 2, "did you mean 'pixels'?", "index", folder, "--encoder", "pixel", "--out", out)
    failed(capsys, 2, "hamming", "index", folder, "--encoder", "pixels", "--out", out, "--metric", "hamming")
    failed(capsys, 2, "expected an existing folder", "index", "/nowhere", "--encoder", "pixels", "--out", out)
    failed(capsys, 2, "files below it", "index", empty, "--encoder", "pixels", "--out", out)
    failed(capsys, 2, "expected one of --image, --text and --id", "search", file)
    failed(capsys, 2, "expected one of --image, --text and --id", "search", file, "--id", 1, "--text", "x")
    failed(capsys, 2, "99", "search", file, "--id", 99)
    failed(capsys, 2, "k is 0", "search", file, "--image", folder / "left" / "1 [x].png", "-k", 0)
    failed(capsys, 2, "k is 0", "search", file, "--id", 0, "-k", 0)
    failed(capsys, 2, "is not an image", "search", file, "--image", folder / "left" / "torn.png")
    failed(capsys, 2, "temperature is 0.0", "classify", file, "--temperature", 0)
    failed(capsys, 2, "weights is 'gauss'", "classify", file, "--weights", "gauss")
    failed(capsys, 1, "takes no texts", "search", file, "--text", "a cat")
    assert not out.exists()


def test_bad_files(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("not an index")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    failed(capsys, 1, "No such file", "info", tmp_path / "missing")
    failed(capsys, 1, "is not a nearfield index", "info", tmp_path / "text")
    failed(capsys, 1, "is damaged", "classify", tmp_path / "damaged")


def test_files_without_labels_or_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection = Collection.create(dim=2)
    collection.add(np.eye(2))
    collection.save(tmp_path / "bare")
    failed(capsys, 2, "has no labels", "classify", tmp_path / "bare")
    failed(capsys, 2, "does not name the encoder", "search", tmp_path / "bare", "--text", "x")
    assert Ran(capsys, "search", tmp_path / "bare", "--id", 1, "--json").json["hits"] == [{"id": 0, "distance": 1.0}]
    assert Ran(capsys, "info", tmp_path / "bare").code == 0


def test_other_errors_keep_their_traceback(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is not dressed up as an error of the user's."""
    monkeypatch.setattr(cli, "description", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", str(file)])


def test_without_typer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "HAVE_TYPER", False)
    ran = Ran(capsys, "info", "x")
    assert ran.code == 1
    assert ran.error == "the command line needs typer and rich: pip install 'nearfield[cli]'\n"


def test_bench_forwards_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[list[str]] = []
    run = types.ModuleType("bench.run")
    run.main = lambda argv: seen.append(argv) or 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench", types.ModuleType("bench"))
    monkeypatch.setitem(sys.modules, "bench.run", run)
    assert Ran(capsys, "bench", "exact", "--only", "batch", "--help", "--json").code == 3
    assert seen == [["exact", "--only", "batch", "--help", "--json"]]


def test_bench_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "bench.run", None)
    failed(capsys, 1, "bench needs the package bench.run", "bench", "exact")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"]):
        ran = Ran(capsys, *argv)
        assert ran.code == 0
        assert all(name in ran.out for name in ("index", "search", "classify", "info", "bench"))
    for name in ("index", "search", "classify", "info"):
        assert "--json" in Ran(capsys, name, "--help").out


def test_importing_it_loads_no_encoder() -> None:
    code = "import engine.cli, sys; print('encoders' in sys.modules, 'torch' in sys.modules, 'PIL' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False"] * 3


def test_the_process_ends_without_a_traceback(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "engine.cli", "info", str(tmp_path / "missing")]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("nearfield: ")
    assert "Traceback" not in ran.stderr


def test_a_folder_is_verified_and_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Collection.create(tmp_path / "c", dim=2) as collection:
        collection.add(np.eye(2), attributes={"label": ["a", "b"]})
    assert cli.main(["verify", str(tmp_path / "c"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    assert cli.main(["info", str(tmp_path / "c"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == {"a": 1, "b": 1}
    assert cli.main(["search", str(tmp_path / "c"), "--id", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["label"] == "b"
    vectors = next((tmp_path / "c").glob("*-vectors.npy"))
    vectors.write_bytes(vectors.read_bytes()[:-1])
    assert cli.main(["verify", str(tmp_path / "c"), "--json"]) == 1
    assert "cut short" in capsys.readouterr().out
