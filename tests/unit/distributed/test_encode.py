"""Ray Data path: what an actor does, without Ray; and the whole of it where Ray is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encoders
import engine
from engine.distributed.encode import Encoding, collect, encode
from engine.exceptions import EncoderMismatchError, InvalidArgumentError, UnsupportedError

HASHING = encoders.get("hashing", dim=64)


def test_what_cannot_be_encoded_is_reported() -> None:
    texts = np.array(["a red bus", None, "?!", "a wolf", 5, "\ud800"], object)
    batch = Encoding(HASHING, "document", "text")({"text": texts, "id": np.arange(6)})
    assert (batch["error"] == "").tolist() == [True, False, False, True, False, False]
    assert batch["error"][1] == "text is None, expected a str"
    assert "expected a word in each" in batch["error"][2]
    good = [0, 3]
    assert (batch["vector"][good] == HASHING.encode_documents(["a red bus", "a wolf"])).all()
    assert np.isnan(np.delete(batch["vector"], good, axis=0)).all()
    assert set(batch["encoder"]) == {HASHING.fingerprint}
    assert batch["id"].tolist() == list(range(6))


def test_images_are_read_where_they_lie(tmp_path: Path) -> None:
    Image: Any = pytest.importorskip("PIL.Image")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    batch = Encoding(lambda: encoders.get("pixels"), "image", "path", str(tmp_path))(
        {"path": np.array(["red.png", "bad.png", "none.png"], object)}
    )
    assert batch["error"][0] == ""
    assert "not an image" in batch["error"][1]
    assert "none.png" in batch["error"][2]
    assert np.isfinite(batch["vector"][0]).all()


class Batches:
    """What Ray Data gives, without Ray."""

    def __init__(self, *batches: dict[str, Any]) -> None:
        self.batches = batches

    def iter_batches(self, **_: Any) -> Iterator[dict[str, Any]]:
        return (dict(batch) for batch in self.batches)


def encoded(*texts: Any, encoder: Any = HASHING) -> dict[str, Any]:
    names = np.array([f"{i}.txt" for i in range(len(texts))])
    return Encoding(encoder, "document", "text")({"path": names, "text": np.array(texts, object)})


def test_a_collection_takes_what_was_encoded() -> None:
    collection = engine.Collection.create(encoder=HASHING)
    batches: Any = Batches(encoded("a red bus", "?!"), encoded(None), encoded("a grey wolf"))
    assert collect(batches, collection) == len(collection) == 2
    found = collection.search(["wolf"], k=1, columns=["text", "path"])
    assert found.attributes["text"].tolist() == [["a grey wolf"]]
    assert [path for path, _ in collection.skipped] == ["1.txt", "0.txt"]
    other: Any = Batches(encoded("a red bus", encoder=encoders.get("hashing")))
    with pytest.raises(EncoderMismatchError, match=r"dataset is of encoder 'hashing:.*expected 'hashing:"):
        collect(other, collection)
    zero = encoded("a bus")
    zero["vector"][:] = 0
    batches = Batches(zero)
    assert collect(batches, collection) == 0
    assert collection.skipped[-1] == ("0.txt", "its vector is zero, which has no cosine")


def test_bad_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, message in [
        ({"side": "audio"}, "side is"), ({"batch_size": 0}, "batch_size is"), ({"n_actors": 0}, "n_actors is"),
        ({"num_gpus": "all"}, "num_gpus is"), ({"encoder": "hashing"}, "encoder is 'hashing', expected"),
    ]:  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=message):
            encode("folder", **{"encoder": HASHING, **options})  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(UnsupportedError, match=r"needs ray.data .*pip install 'nearfield\[ray\]'"):
        encode("folder", HASHING)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray: Any = pytest.importorskip("ray", reason="Ray is not installed: pip install 'nearfield[ray]'")
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_folders_and_parquet_with_ray(ray: Any, tmp_path: Path) -> None:
    pa: Any = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    texts: list[Any] = [f"text number {i}" for i in range(50)]
    texts[7] = None
    expected = HASHING.encode_documents([text for text in texts if text])
    for part in range(2):
        rows = {"text": texts[part::2], "number": list(range(part, 50, 2))}
        pyarrow.parquet.write_table(pa.table(rows), tmp_path / f"part{part}.parquet")
    result = encode(tmp_path, lambda: encoders.get("hashing", dim=64), batch_size=8, n_actors=2)
    collection = engine.Collection.create(encoder=HASHING)
    assert collect(result, collection) == 49
    assert [reason for _, reason in collection.skipped] == ["text is None, expected a str"]
    order = np.argsort(collection.attributes["number"])
    np.testing.assert_allclose(collection.get(collection.index.ids)[order], expected, atol=1e-6)
    with pytest.raises(InvalidArgumentError, match=r"column is 'body', expected one of \['text', 'number'\]"):
        encode(tmp_path / "part0.parquet", HASHING, column="body")
    with pytest.raises(InvalidArgumentError, match="has the column 'vector'"):
        encode(ray.data.from_items([{"text": "a", "vector": 1}]), HASHING)

    Image: Any = pytest.importorskip("PIL.Image")
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    Image.new("RGB", (9, 9), "red").save(folder / "a" / "red.png")
    (folder / "bad.jpg").write_bytes(b"no image")
    pixels = engine.Collection.create(encoder=encoders.get("pixels"))
    assert collect(encode(folder, encoders.get("pixels"), side="image"), pixels) == 1
    assert pixels.attributes["path"].tolist() == ["a/red.png"]
    assert [path for path, _ in pixels.skipped] == ["bad.jpg"]

    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("a red bus")
    (tmp_path / "texts" / "two.txt").write_text("")
    read = engine.Collection.create(encoder=HASHING)
    with pytest.warns(UserWarning, match=r"1 files are left out; the first: two.txt: is blank"):
        dataset = encode(tmp_path / "texts", HASHING)
    assert collect(dataset, read) == 1
    assert read.attributes["text"].tolist() == ["a red bus"]
