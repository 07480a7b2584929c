"""Collections: images and texts in, neighbours with attributes out, saved and opened."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import encoders
import engine
from engine import (
    Collection,
    CorruptIndexError,
    EncoderMismatchError,
    InvalidArgumentError,
    NotBuiltError,
    StorageError,
)
from engine._table import Table
from engine.attributes import Attributes
from engine.storage import read_container, write_container

COLORS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
PIXELS = encoders.get("pixels", size=4, mode="rgb")


class Letters:
    """How often each letter occurs; queries count twice, so that sides can be told apart."""

    dim = 26
    fingerprint = "letters:1"
    name = "letters"

    def encode_documents(self, texts: Sequence[str]) -> Any:
        counts = [[text.count(chr(97 + letter)) for letter in range(26)] for text in texts]
        return np.array(counts, np.float32).reshape(-1, 26)

    def encode_queries(self, texts: Sequence[str]) -> Any:
        return 2 * self.encode_documents(texts)

    def encode_images(self, images: Sequence[Any]) -> Any:
        raise engine.UnsupportedError("no images")


def image_of(color: Any, rng: np.random.Generator | None = None) -> Any:
    image = np.empty((8, 8, 3), np.uint8)
    image[:] = color
    if rng is not None:
        image = np.clip(image + rng.integers(-30, 31, image.shape), 0, 255).astype(np.uint8)
    return image


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three classes of four images, and files that are none."""
    for name, color in COLORS.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(image_of(color, rng)).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "images/green/text.png").write_text("not an image")
    (tmp_path / "images/red/1.png").write_bytes((tmp_path / "images/red/1.png").read_bytes()[:70])
    (tmp_path / "images/readme.txt").write_text("not named as an image")
    return tmp_path / "images"


@pytest.fixture
def colors(folder: Path) -> Collection:
    return Collection.from_images(folder, PIXELS, batch_size=5, progress=False)


# ---- images


def test_a_folder_becomes_a_collection(colors: Collection) -> None:
    assert len(colors) == 11
    assert colors.index.ids.tolist() == list(range(11))
    assert colors.paths is not None
    assert colors.labels is not None
    assert colors.paths.tolist()[:5] == ["blue/0.png", "blue/1.png", "blue/2.png", "blue/3.png", "green/0.png"]
    assert colors.labels.tolist() == ["blue"] * 4 + ["green"] * 4 + ["red"] * 3
    assert [path for path, _ in colors.skipped] == ["green/text.png", "red/1.png"]
    assert "not an image" in colors.skipped[0][1]
    assert repr(colors) == "<Collection of 11 rows, dim 49, pixels, columns ['path', 'label']>"


def test_neighbours_have_the_query_s_class(colors: Collection, folder: Path) -> None:
    for name, color in COLORS.items():
        found = colors.search(image_of(color), k=3, columns=["label", "path"])
        assert found.attributes["label"].tolist() == [[name] * 3]
        assert all(path.startswith(name) for path in found.attributes["path"][0])


def test_all_kinds_of_image_queries_agree(colors: Collection, folder: Path) -> None:
    path = folder / "green/2.png"
    array = np.asarray(Image.open(path))
    for query in (
        path,
        str(path),
        array,
        Image.open(path),
        [path],
        [array],
        array[None],
        PIXELS.encode_images([array]),
    ):
        found = colors.search(query, k=1)
        assert found.ids.tolist() == [[6]]
        assert found.distances.item() == pytest.approx(0, abs=1e-6)
    assert colors.search([path, path], k=1).ids.tolist() == [[6], [6]]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, 4), (64, 2)])
def test_batches_and_workers_change_nothing(colors: Collection, folder: Path, batch_size: int, workers: int) -> None:
    other = Collection.from_images(folder, PIXELS, batch_size=batch_size, workers=workers, progress=False)
    assert (other.get(other.index.ids) == colors.get(colors.index.ids)).all()
    assert other.skipped == colors.skipped
    assert other.attributes["path"].tolist() == colors.attributes["path"].tolist()


def test_metric_dtype_and_labels_are_passed_on(folder: Path) -> None:
    plain = Collection.from_images(folder, PIXELS, labels=None, metric="l2", dtype="float16", progress=False)
    assert plain.labels is None
    assert (plain.index.metric, plain.index.dtype) == ("l2", "float16")
    assert list(plain.attributes) == ["path"]


def test_images_in_no_class_folder(folder: Path) -> None:
    Image.fromarray(image_of(0)).save(folder / "stray.png")
    labelled = Collection.from_images(folder, PIXELS, progress=False)
    assert ("stray.png", "lies in no subfolder, which would be its label") in labelled.skipped
    assert len(labelled) == 11
    assert len(Collection.from_images(folder, PIXELS, labels=None, progress=False)) == 12
    flat = Collection.from_images(folder / "blue", PIXELS, progress=False)
    assert flat.labels is None
    assert len(flat) == 4


def test_the_bar_is_for_terminals(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Collection.from_images(folder, PIXELS)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [{}, {"notes.txt": b"hello"}, {"a/fake.png": b"text"}, {"empty.jpg": b""}])
def test_a_folder_without_usable_images_is_refused(tmp_path: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidArgumentError, match=r"folder is .*expected"):
        Collection.from_images(tmp_path, PIXELS, progress=False)


def test_an_image_whose_vector_the_metric_cannot_take_is_skipped(folder: Path) -> None:
    class Broken:
        dim, fingerprint = 2, "broken"

        def encode_images(self, images: Any) -> Any:
            rows = np.ones((len(images), 2), np.float32)
            rows[[image.mean(axis=(0, 1)).argmax() == 2 for image in images]] = 0
            rows[[image.mean(axis=(0, 1)).argmax() == 1 for image in images]] = np.nan
            return rows

        encode_queries = encode_documents = encode_images

    collection = Collection.from_images(folder, Broken(), progress=False)
    assert set(collection.labels.tolist()) == {"red"}  # type: ignore[union-attr]
    reasons = dict(collection.skipped)
    assert reasons["blue/0.png"] == "its vector is zero, which has no cosine"
    assert reasons["green/0.png"] == "its vector is not finite"
    assert len(reasons) == 4 + 4 + 2
    assert len(Collection.from_images(folder, Broken(), metric="l2", progress=False)) == 7


@pytest.mark.parametrize(
    ("dtype", "value", "reason"),
    [
        ("float16", 70000.0, "its vector holds 70000.0, too large for float16"),
        ("float16", 1e-9, "its vector holds 1e-09, too small for float16"),
        ("bfloat16", -3.4e38, r"its vector holds -3.4e+38, too large for bfloat16"),
        ("float32", 1e39, "its vector holds 1e+39, too large for float32"),
        ("float32", 1e-60, "its vector holds 1e-60, too small for float32"),
    ],
)
def test_an_image_whose_vector_the_dtype_cannot_keep_is_skipped(
    folder: Path, dtype: Any, value: float, reason: str
) -> None:
    class Extreme:
        dim, fingerprint = 2, "extreme"

        def encode_images(self, images: Any) -> Any:
            return np.array([[value if image.mean(axis=(0, 1)).argmax() == 1 else 1, 0] for image in images])

        encode_queries = encode_documents = encode_images

    collection = Collection.from_images(folder, Extreme(), dtype=dtype, progress=False)
    assert collection.labels is not None
    assert set(collection.labels.tolist()) == {"blue", "red"}
    assert [why for path, why in collection.skipped if path.startswith("green") and "text" not in path] == [reason] * 4


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.array([["a", "b"]] * 4), "what encoder .* returned has dtype <U1, expected real numbers"),
        (np.array([[None, 1.0]] * 4), "what encoder .* returned has dtype object, expected real numbers"),
        (np.ma.masked_array(np.ones((4, 2)), np.ones((4, 2))), "what encoder .* returned is a masked array"),
    ],
)
def test_an_encoder_that_gives_no_numbers_is_refused(folder: Path, output: Any, message: str) -> None:
    class Broken:
        dim, fingerprint = 2, "broken"

        def encode_images(self, images: Any) -> Any:
            return output[: len(images)]

        encode_queries = encode_documents = encode_images

    with pytest.raises(InvalidArgumentError, match=message):
        Collection.from_images(folder / "blue", Broken(), progress=False)
    with pytest.raises(InvalidArgumentError, match=message):
        Collection.create(encoder=Broken()).add([image_of(1)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "parent"}, "labels is 'parent', expected one of 'folder'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"progress": "no"}, "progress is 'no', expected True or False, or 'json'"),
        ({"metric": "manhattan"}, "metric is 'manhattan'"),
        ({"dtype": "int4"}, "dtype is 'int4'"),
        ({"encoder": "pixels"}, r"encoder is 'pixels', expected an Encoder: pass encoders.get\('pixels'\)"),
        ({"encoder": None}, "encoder is None, expected an Encoder"),
        ({"encoder": PIXELS.encode_images}, "encoder is .*expected an Encoder"),
        ({"folder": "/does/not/exist"}, "folder is '/does/not/exist'"),
    ],
)
def test_bad_arguments_for_images(folder: Path, options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"folder": folder, "encoder": PIXELS, "progress": False, **options}
    with pytest.raises(InvalidArgumentError, match=message):
        Collection.from_images(**arguments)


# ---- texts

TEXTS = ["apple", "banana", "cherry", "!!", "apricot"]


def test_texts_become_a_collection() -> None:
    fruit = Collection.from_texts(TEXTS, Letters(), labels=list("abcda"), attributes={"n": range(5)}, progress=False)
    assert fruit.index.ids.tolist() == [0, 1, 2, 4]
    assert fruit.skipped == [("texts[3]", "its vector is zero, which has no cosine")]
    assert {name: column.tolist() for name, column in fruit.attributes.items()} == {
        "text": ["apple", "banana", "cherry", "apricot"],
        "label": ["a", "b", "c", "a"],
        "n": [0, 1, 2, 4],
    }
    found = fruit.search("bananas", k=2, columns="text")
    assert found.attributes["text"].tolist() == [["banana", "apple"]]
    assert fruit.get([1])[0, 0] == 3


def test_queries_are_encoded_as_queries_and_documents_as_documents() -> None:
    fruit = Collection.from_texts(TEXTS[:2], Letters(), metric="l2", progress=False)
    assert fruit.search("apple", k=1).distances.item() == 1 + 4 + 1 + 1  # twice the counts, minus the counts
    fruit.add(["cherry"])
    assert (fruit.get([2]) == Letters().encode_documents(["cherry"])).all()


def test_a_text_that_ends_like_an_image_is_a_text_among_texts(folder: Path, tmp_path: Path) -> None:
    files = Collection.from_texts(["cat.png", "dog.png"], Letters(), progress=False)
    assert files.search("cat.png", k=1, columns="text").attributes["text"].item() == "cat.png"
    assert files.search(["dog.png"], k=1).ids.tolist() == [[1]]
    assert files.add(["owl.png"]).tolist() == [2]
    attributes = Attributes()  # whatever the columns are called
    attributes.append_typed(3, {})
    files._table = Table(files.index, attributes)
    files.save(tmp_path / "files.nrf")
    assert Collection.open(tmp_path / "files.nrf", encoder=Letters()).search("owl.png", k=1).ids.tolist() == [[2]]
    with pytest.raises(engine.UnsupportedError, match="no images"):
        files.search(folder / "red/0.png")

    begun = Collection.create(encoder=Letters())
    begun.add(["a cat"])
    assert begun.search("cat.png", k=1).ids.tolist() == [[0]]


def test_a_file_that_does_not_say_what_its_items_were(tmp_path: Path) -> None:
    """As earlier releases wrote it: a column "text" tells."""
    Collection.from_texts(["cat.png"], Letters(), progress=False).save(tmp_path / "x")
    header, arrays = read_container(tmp_path / "x", mmap=False)
    del header["metadata"]["nearfield.collection"]["items"]
    write_container(tmp_path / "x", header, arrays)
    assert Collection.open(tmp_path / "x", encoder=Letters()).search("cat.png", k=1).ids.tolist() == [[0]]


def test_zero_vectors_are_skipped_on_request() -> None:
    fruit = Collection.create(encoder=Letters())
    with pytest.raises(InvalidArgumentError, match="zero"):
        fruit.add(["apple", "!!"])
    assert fruit.add(["apple", "!!", "cherry"], attributes={"n": [1, 2, 3]}, on_zero="skip").tolist() == [0, 1]
    assert fruit.attributes["n"].tolist() == [1, 3]
    assert fruit.add(["?", "fig"], ids=[8, 9], on_zero="skip").tolist() == [9]
    assert fruit.add(["?"], on_zero="skip").tolist() == []
    assert [name for name, _ in fruit.skipped] == ["items[1]", "items[0]", "items[0]"]
    with pytest.raises(InvalidArgumentError, match=r"nan, expected finite"):
        fruit.add(np.full(26, np.nan), on_zero="skip")
    assert Collection.create(dim=2, metric="l2").add([[0, 0]], on_zero="skip").tolist() == [0]


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_ids_of_texts(batch_size: int) -> None:
    fruit = Collection.from_texts(TEXTS, Letters(), ids=[9, 2**40, 3, 4, 1], batch_size=batch_size, progress=False)
    assert fruit.index.ids.tolist() == [9, 2**40, 3, 1]
    assert fruit.search("cherry", k=1, columns=["text"]).attributes["text"].item() == "cherry"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": []}, "texts is empty"),
        ({"texts": ["a", 5]}, r"texts\[1\] is 5, expected a str"),
        ({"texts": 5}, "texts is 5"),
        ({"ids": [1, 1, 2, 3, 4]}, "ids has 1 more than once"),
        ({"ids": [1]}, "ids has length 1, expected 5"),
        ({"ids": [-1, 0, 1, 2, 3]}, r"ids\[0\] is -1"),
        ({"labels": ["a"]}, r"attributes\['label'\] has 1 values, expected 5"),
        ({"labels": "abcde"}, r"attributes\['label'\] is 'abcde'"),
        ({"attributes": {"x": [1, 2, 3, 4, float("nan")]}}, r"attributes\['x'\]\[4\] is nan"),
        ({"attributes": {"x": [[], 1, 2, 3, 4]}}, r"attributes\['x'\]\[0\] is \[\]"),
        ({"attributes": {5: range(5)}}, "attributes has the key 5"),
        ({"attributes": ["red"]}, "attributes has 1 rows, expected 5"),
        ({"progress": 1}, "progress is 1, expected True or False"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_arguments_for_texts(options: dict[str, Any], message: str) -> None:
    class Never(Letters):
        def encode_documents(self, texts: Sequence[str]) -> Any:
            raise AssertionError("bad arguments are found before the work begins")

    with pytest.raises(InvalidArgumentError, match=message):
        Collection.from_texts(**{"texts": TEXTS, "encoder": Never(), "progress": False, **options})


def test_texts_of_which_none_can_be_used() -> None:
    with pytest.raises(InvalidArgumentError, match=r"texts has 2 entries, .*but texts\[0\]: its vector is zero"):
        Collection.from_texts(["!", "?"], Letters(), progress=False)


# ---- vectors, attributes, searches


def test_columns_that_come_late_or_stay_away() -> None:
    collection = Collection.create(dim=2)
    assert collection.add([[1, 0], [0, 1]]).tolist() == [0, 1]
    assert collection.add([1, 1], attributes={"year": [2020]}).tolist() == [2]
    collection.add([[2, 1]], ids=[50], attributes={"name": ["x"]})
    assert collection.attributes["year"].tolist() == [None, None, 2020, None]
    assert collection.attributes["name"].tolist() == [None, None, None, "x"]
    found = collection.search([1, 1], k=6, columns=["year", "name"])
    assert found.ids.tolist() == [[2, 50, 0, 1, -1, -1]]
    assert found.attributes["year"].tolist() == [[2020, None, None, None, None, None]]
    assert found.attributes["name"].tolist() == [[None, "x", None, None, None, None]]
    assert found.attributes["year"].shape == found.ids.shape


def test_filters_and_searches_without_columns(colors: Collection) -> None:
    green = colors.labels == "green"
    query = image_of(COLORS["red"])
    found = colors.search(query, k=5, filter=green)
    assert sorted(found.ids[0].tolist()) == [-1, 4, 5, 6, 7]
    assert colors.search(query, k=2, filter=[0, 1]).ids.max() <= 1
    assert colors.search(query, k=1, filter=engine.Bitmap(green)).ids[0, 0] in (4, 5, 6, 7)
    assert found.attributes == {}
    assert colors.search(query).ids.shape == (1, 10)


def test_a_search_in_an_empty_collection() -> None:
    empty = Collection.create(encoder=PIXELS)
    assert len(empty) == 0
    with pytest.raises(NotBuiltError):
        empty.search(image_of(0), k=2)
    assert empty.attributes == {}
    assert (empty.paths, empty.labels) == (None, None)


def columns_of(collection: Collection) -> dict[str, list[Any]]:
    return {name: array.tolist() for name, array in collection.attributes.items()}


def test_nothing_is_half_added(colors: Collection) -> None:
    before, skipped = columns_of(colors), list(colors.skipped)
    good = PIXELS.encode_images([image_of(9)])
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (good, {"attributes": {"path": ["a", "b"]}}, "has 2 values, expected 1"),
        (good, {"attributes": {"path": [{}]}}, "expected a str"),
        (good, {"attributes": ["red"]}, r"attributes\[0\] is 'red', expected a dict of names and values"),
        (good, {"attributes": []}, "attributes has 0 rows, expected 1"),
        (good, {"on_zero": "drop"}, "on_zero is 'drop', expected one of 'error', 'skip'"),
        (np.zeros((1, 49)), {"on_zero": "skip", "ids": [1, 2]}, "ids has length 2, expected 1"),
        (np.vstack([np.zeros(49), good]), {"on_zero": "skip", "ids": [20, 0]}, "0"),
        (good, {"ids": [0]}, "0"),
        (np.zeros((1, 49)), {}, "zero"),
        ([[np.nan] * 49], {}, "nan"),
        ([image_of(1), "missing.png"], {}, "missing.png"),
    ]
    for items, options, message in cases:
        with pytest.raises(InvalidArgumentError, match=message):
            colors.add(items, **options)
    assert columns_of(colors) == before
    assert colors.skipped == skipped
    assert len(colors) == 11
    colors.add(good, attributes={"label": ["dark"]})
    assert colors.attributes["path"][-1] is None


@pytest.mark.parametrize(
    ("queries", "options", "error", "message"),
    [
        (np.ones((2, 8)), {}, EncoderMismatchError, "queries has dim 8, the collection has 49"),
        (np.full(49, np.inf), {}, InvalidArgumentError, "inf"),
        (np.zeros(49), {}, InvalidArgumentError, "zero"),
        ([[1, 2], [3]], {}, InvalidArgumentError, "queries"),
        (None, {}, InvalidArgumentError, "queries"),
        ("a cat", {}, engine.UnsupportedError, "takes no texts"),
        ("cat.png", {}, InvalidArgumentError, r"path is 'cat.png', expected an image file.*No such file"),
        (["a.png", 5], {}, InvalidArgumentError, "a.png"),
        ([image_of(0), 5], {}, InvalidArgumentError, r"queries\[1\] is 5"),
        (np.ones(49), {"k": 0}, InvalidArgumentError, "k is 0"),
        (
            np.ones(49),
            {"columns": ["colour"]},
            InvalidArgumentError,
            r"columns has 'colour', expected some of \['path'",
        ),
        (np.ones(49), {"columns": None}, InvalidArgumentError, "columns is None, expected some of"),
        (np.ones(49), {"columns": 5}, InvalidArgumentError, "columns is 5, expected some of"),
        (np.ones(49), {"columns": [["path"]]}, InvalidArgumentError, r"columns has \['path'\], expected some of"),
        (np.ones(49), {"filter": [True]}, InvalidArgumentError, "filter"),
    ],
)
def test_bad_queries(colors: Collection, queries: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        colors.search(queries, **options)


def test_a_collection_without_an_encoder_takes_vectors_only() -> None:
    collection = Collection.create(dim=3)
    for items in ("a text", ["a text"], np.array(["a text"]), image_of(0), "image.png"):
        with pytest.raises(InvalidArgumentError, match=r"expected vectors: the collection has no encoder$"):
            collection.search(items)
    with pytest.raises(InvalidArgumentError, match="dim is None"):
        Collection.create()


def test_rows_changed_behind_its_back_are_noticed(colors: Collection) -> None:
    colors.index.remove([3])
    for use in (lambda: colors.paths, lambda: colors.search(np.ones(49), columns=["path"]), lambda: colors.save("x")):
        with pytest.raises(InvalidArgumentError, match="index has changed, its attributes have not"):
            use()


def test_rows_replaced_behind_its_back_are_noticed(colors: Collection) -> None:
    """As many as before, even under the same ids: the attributes are those of others."""
    with pytest.raises(InvalidArgumentError):
        colors.index.add(np.zeros(49))
    assert pickle.loads(pickle.dumps(colors)).paths.tolist() == colors.paths.tolist()  # type: ignore[union-attr]
    first = colors.get([0])
    colors.index.remove([0])
    colors.index.add(first, ids=[0])
    for use in (lambda: colors.labels, lambda: colors.add(first), lambda: colors.search(first, columns="path")):
        with pytest.raises(InvalidArgumentError, match="index has changed, its attributes have not"):
            use()
    assert colors.search(first, k=1).ids.tolist() == [[0]]


def test_without_attributes_the_index_may_change() -> None:
    collection = Collection.create(dim=2)
    collection.index.add(np.eye(2))
    collection.add([1, 1], attributes={"year": [2020]})
    assert collection.attributes["year"].tolist() == [None, None, 2020]


def test_a_dim_that_the_encoder_does_not_have() -> None:
    with pytest.raises(EncoderMismatchError, match="dim 26, expected 5"):
        Collection.create(dim=5, encoder=Letters())

    class Liar(Letters):
        dim = 7

    with pytest.raises(EncoderMismatchError, match=r"returned shape \(1, 26\), expected \(1, 7\)"):
        Collection.from_texts(["a"], Liar(), progress=False)


# ---- attributes


def test_columns_as_arrays() -> None:
    time = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)
    cases: list[tuple[list[Any], str]] = [
        (["a", "bc"], "U"), ([1, 2], "i"), ([1.5, 2.5], "f"), ([True, False], "b"),
        ([None, "a"], "O"), ([None, 2], "O"), (["a\0", "b"], "O"), (["\0a\0\0b", "c"], "U"),
        ([("x", "y"), ()], "O"), ([None], "O"),
    ]  # fmt: skip
    for values, kind in cases:
        collection = Collection.create(dim=2)
        collection.add(np.ones((len(values), 2)), attributes={"x": values})
        array = collection.attributes["x"]
        assert array.dtype.kind == kind, values
        assert array.tolist() == values
    collection = Collection.create(dim=2)
    collection.add(np.ones((2, 2)), attributes={"f": [np.float32(0.5), None], "t": [None, time]})
    assert np.isnan(collection.attributes["f"]).tolist() == [False, True]
    assert collection.attributes["t"].tolist() == [None, time.replace(tzinfo=None)]


# ---- saved and opened


def test_saved_and_opened_is_the_same(colors: Collection, tmp_path: Path) -> None:
    colors.index.metadata["mine"] = [1, 2]
    colors.save(tmp_path / "colors.nrf")
    assert colors.index.metadata == {"mine": [1, 2]}
    again = Collection.open(tmp_path / "colors.nrf", encoder=encoders.get("pixels", size=4, mode="rgb"))
    assert again.index.metadata == {"mine": [1, 2]}
    assert again.skipped == colors.skipped
    assert {name: column.tolist() for name, column in again.attributes.items()} == {
        name: column.tolist() for name, column in colors.attributes.items()
    }
    query = image_of(COLORS["red"])
    ours, theirs = colors.search(query, columns=["path"]), again.search(query, columns=["path"])
    assert (ours.ids == theirs.ids).all()
    assert (ours.distances == theirs.distances).all()
    assert (ours.attributes["path"] == theirs.attributes["path"]).all()
    again.add([query], attributes={"label": ["new"], "path": ["new.png"]})
    again.save(tmp_path / "colors.nrf")
    assert len(Collection.open(tmp_path / "colors.nrf")) == 12


def test_the_file_names_its_encoder(colors: Collection, tmp_path: Path) -> None:
    colors.save(tmp_path / "c.nrf")
    again = Collection.open(tmp_path / "c.nrf")
    assert again.encoder is None
    with pytest.raises(InvalidArgumentError, match=r"no encoder; set \.encoder to encoders.get\('pixels'\)"):
        again.search(image_of(0))
    info = again.encoder_info
    again.encoder = encoders.get(info["name"], **info["options"])
    assert again.search(image_of(COLORS["blue"]), k=1, columns=["label"]).attributes["label"].item() == "blue"
    assert info == {
        "name": "pixels",
        "options": {"size": 4, "mode": "rgb"},
        "dim": 49,
        "fingerprint": PIXELS.fingerprint,
    }


def test_another_encoder_is_refused(colors: Collection, tmp_path: Path) -> None:
    colors.save(tmp_path / "c.nrf")
    same_dim = encoders.get("pixels", size=4, mode="rgb", remove_mean=True)
    for other in (same_dim, encoders.get("pixels"), Letters()):
        with pytest.raises(EncoderMismatchError, match=r"fingerprint|dim"):
            Collection.open(tmp_path / "c.nrf", encoder=other)
        with pytest.raises(EncoderMismatchError):
            colors.encoder = other
    assert colors.encoder is PIXELS
    cached = encoders.get("pixels", cache=tmp_path / "cache", size=4, mode="rgb")
    assert Collection.open(tmp_path / "c.nrf", encoder=cached).encoder is cached
    with pytest.raises(InvalidArgumentError, match="expected an Encoder"):
        Collection.open(tmp_path / "c.nrf", encoder="pixels")  # type: ignore[arg-type]


def test_an_encoder_that_has_changed_is_refused() -> None:
    letters = Letters()
    collection = Collection.from_texts(["abc"], letters, progress=False)
    collection.search(["a"], k=1)
    letters.fingerprint = "letters:2"
    for ask in (lambda: collection.search(["a"], k=1), lambda: collection.add(["b"])):
        with pytest.raises(EncoderMismatchError, match="has fingerprint 'letters:2', but the vectors are of letters"):
            ask()
    assert len(collection) == 1


def test_a_cache_serves_a_second_index(folder: Path, tmp_path: Path) -> None:
    for misses in (11, 0):
        cached: Any = encoders.get("pixels", cache=tmp_path / "cache", size=4, mode="rgb")
        collection = Collection.from_images(folder, cached, progress=False)
        assert (len(collection), cached.n_misses) == (11, misses)


def test_a_collection_of_vectors_is_saved_too(tmp_path: Path) -> None:
    collection = Collection.create(dim=2, metric="ip", dtype="bfloat16")
    collection.add([[1, 2], [3, 4]], ids=[7, 5], attributes={"é": ["ü", None]})
    collection.save(tmp_path / "v.nrf")
    again = Collection.open(tmp_path / "v.nrf")
    assert again.encoder_info == {}
    assert again.attributes["é"].tolist() == ["ü", None]
    assert again.get([5]).tolist() == [[3, 4]]
    assert (again.index.metric, again.index.dtype) == ("ip", "bfloat16")


def test_sets_of_keywords_are_saved(tmp_path: Path) -> None:
    collection = Collection.create(dim=2)
    collection.add(np.eye(2), attributes={"tags": [["new", "red"], None]})
    collection.save(tmp_path / "x")
    assert Collection.open(tmp_path / "x").attributes["tags"].tolist() == [("new", "red"), None]


def test_an_index_saved_without_its_columns_is_no_collection(tmp_path: Path) -> None:
    collection = Collection.create(dim=2)
    collection.add(np.eye(2), attributes={"label": ["a", "b"]})
    collection.save(tmp_path / "x")
    engine.Index.load(tmp_path / "x").save(tmp_path / "y")
    with pytest.raises(CorruptIndexError, match="column0_codes"):
        Collection.open(tmp_path / "y")


def test_what_is_no_collection_is_refused(tmp_path: Path) -> None:
    index = engine.Index(2)
    index.add([[1, 2]])
    index.save(tmp_path / "index.nrf")
    with pytest.raises(CorruptIndexError, match=r"no collection; open it with Index\.load"):
        Collection.open(tmp_path / "index.nrf")
    (tmp_path / "text.nrf").write_text("hello")
    with pytest.raises(CorruptIndexError):
        Collection.open(tmp_path / "text.nrf")
    with pytest.raises(StorageError):
        Collection.open(tmp_path / "missing.nrf")
    good = {"version": 1, "columns": {}, "skipped": [], "encoder": {}}
    for meta in (
        {**good, "version": 2},
        {**good, "columns": {"a": [1, 2]}},
        {**good, "columns": [1]},
        {**good, "skipped": [1]},
        {**good, "encoder": 5},
        {"version": 1},
    ):
        index.metadata["nearfield.collection"] = meta
        index.save(tmp_path / "index.nrf")
        with pytest.raises(CorruptIndexError, match=r"index\.nrf"):
            Collection.open(tmp_path / "index.nrf")


def test_a_failed_save_leaves_the_file_and_the_collection(colors: Collection, tmp_path: Path) -> None:
    colors.save(tmp_path / "c.nrf")
    colors.encoder_info["options"] = {"size": {4}}
    with pytest.raises(InvalidArgumentError, match="JSON"):
        colors.save(tmp_path / "c.nrf")
    with pytest.raises(StorageError):
        Collection.create(dim=2).save(tmp_path / "no" / "folder.nrf")
    assert len(Collection.open(tmp_path / "c.nrf")) == 11
    assert colors.index.metadata == {}


# ---- layers and real data


def test_collections_import_neither_encoders_nor_pillow() -> None:
    code = "import sys, engine; engine.Collection; print([m for m in ('encoders', 'PIL', 'torch') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_digits_find_their_like(tmp_path: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:600], digits.target, strict=False)):
        path = tmp_path / str(label) / f"{number:04}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((image * 15.9).astype(np.uint8)).save(path)
    collection = Collection.from_images(tmp_path, encoders.get("pixels", size=8), progress=False)
    assert len(collection) == 600
    found = collection.search(collection.get(collection.index.ids), k=2, columns=["label"])
    assert (found.ids[:, 0] == collection.index.ids).mean() > 0.99
    accuracy = (found.attributes["label"][:, 1] == collection.labels).mean()
    assert accuracy > 0.97


def test_images_in_memory_are_encoded_as_they_are() -> None:
    collection = Collection.create(encoder=PIXELS)
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 255)).save(file, "PNG")
    collection.add([image_of(COLORS["blue"]), Image.open(file)], attributes={"label": ["blue", "red"]})
    assert collection.search(image_of(COLORS["red"]), k=1, columns=["label"]).attributes["label"].item() == "red"
