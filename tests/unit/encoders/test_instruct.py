"""Instruction-prefixed encoders, on random models built from their configurations: METHODS 7.1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encoders
import engine
from engine.exceptions import InvalidArgumentError, UnsupportedError

pytest.importorskip("transformers")
from tinymodels import save_model

TEXTS = ["a cat", "dog", "a b c d e f g h", "", "find a cat : dog", "e " * 30]
KINDS = ["qwen2", "bert", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mistral", "gpt2", "t5"))]


class Folders(dict[str, Path]):
    """Kind of model -> its folder, made when it is first asked for."""

    def __init__(self, make: Callable[[str], Path]) -> None:
        self.make = make

    def __missing__(self, kind: str) -> Path:
        return self.setdefault(kind, save_model(self.make(kind), kind))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(tmp_path_factory.mktemp)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models as small as these only wait for other threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(folder: Path, **options: Any) -> Any:
    return encoders.get(f"instruct:{folder}", device="cpu", **{"max_length": 64, **options})


def states(folder: Path, text: str) -> Any:
    """The states of one text alone, from transformers itself."""
    import torch
    import transformers as t

    tokens = t.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    model = t.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(input_ids=tokens["input_ids"]).last_hidden_state[0].numpy()


@pytest.mark.parametrize("kind", KINDS[:-1])  # t5's decoder is left out
def test_vectors_are_those_of_transformers(folders: Folders, kind: str) -> None:
    texts = [text for text in TEXTS if text]
    for pooling, take in [("last", lambda s: s[-1]), ("mean", lambda s: s.mean(axis=0)), ("cls", lambda s: s[0])]:
        ours = load(folders[kind], pooling=pooling, normalize=False, add_eos=False).encode_documents(texts)
        expected = np.array([take(states(folders[kind], text)) for text in texts])
        np.testing.assert_allclose(ours, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_neither_batch_nor_padding_matter(folders: Folders, kind: str, pooling: str) -> None:
    reference = load(folders[kind], pooling=pooling, batch_size=1).encode_queries(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(reference, axis=1), 1, atol=1e-5)
    for padding in ("right", "left"):
        found = load(folders[kind], pooling=pooling, padding=padding)
        for found.batch_size in (2, 5, 100):
            np.testing.assert_allclose(found.encode_queries(TEXTS), reference, atol=1e-5)
            np.testing.assert_allclose(found.encode_queries(TEXTS[::-1])[::-1], reference, atol=1e-5)


def test_a_prefix_is_of_one_side(folders: Folders) -> None:
    plain = load(folders["qwen2"])
    prefixed = load(folders["qwen2"], query_prefix="query : ", document_prefix="passage : ")
    assert np.allclose(prefixed.encode_queries(["cat"]), plain.encode_queries(["query : cat"]), atol=1e-6)
    assert np.allclose(prefixed.encode_documents(["cat"]), plain.encode_documents(["passage : cat"]), atol=1e-6)
    told = load(folders["qwen2"], instruction="find a dog")
    assert np.allclose(told.encode_documents(TEXTS), plain.encode_documents(TEXTS), atol=1e-6)
    expected = plain.encode_queries(["Instruct: find a dog\nQuery: cat"])
    assert np.allclose(told.encode_queries(["cat"]), expected, atol=1e-6)
    again = plain.with_instruction("find a dog")
    assert again.fingerprint == told.fingerprint
    assert again.model is plain.model
    assert (again.encode_queries(TEXTS) == told.encode_queries(TEXTS)).all()
    shown = plain.with_instruction("find", examples=[("dog", "a dog")])
    expected = plain.encode_queries(["Instruct: find\nQuery: dog\nResponse: a dog\n\nInstruct: find\nQuery: cat"])
    assert np.allclose(shown.encode_queries(["cat"]), expected, atol=1e-6)
    reloaded = encoders.get(shown.name, **shown.options)
    assert reloaded.fingerprint == shown.fingerprint
    assert prefixed.with_instruction("find").options == {
        "max_length": 64, "document_prefix": "passage : ", "instruction": "find", "examples": [],
    }  # fmt: skip
    fingerprints = {encoder.fingerprint for encoder in (plain, prefixed, told, shown)}
    assert len(fingerprints) == 4


def test_a_collection_refuses_another_instruction(folders: Folders) -> None:
    plain = load(folders["qwen2"])
    collection = engine.Collection.from_texts(["a cat", "dog"], plain, progress=False)
    with pytest.raises(engine.EncoderMismatchError, match="fingerprint"):
        collection.encoder = plain.with_instruction("find")


@pytest.mark.parametrize("kind", ["qwen2", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_all_tokens_see_all_without_the_causal_mask(folders: Folders, kind: str) -> None:
    own, free = (load(folders[kind], pooling="cls", attention=name) for name in ("own", "bidirectional"))
    changed = ["a b c", "a b dog"]
    assert np.ptp(own.encode_documents(changed), axis=0).max() < 1e-6  # the first sees only itself
    assert np.ptp(free.encode_documents(changed), axis=0).max() > 1e-3
    alone = load(folders[kind], pooling="cls", attention="bidirectional", batch_size=1, padding="left")
    np.testing.assert_allclose(alone.encode_documents(TEXTS), free.encode_documents(TEXTS), atol=1e-5)


def test_a_model_without_a_causal_mask_stays_as_it_is(folders: Folders) -> None:
    bert = [load(folders["bert"], pooling="mean", attention=name) for name in ("own", "bidirectional")]
    np.testing.assert_allclose(*(encoder.encode_documents(TEXTS) for encoder in bert), atol=1e-5)


def test_the_end_of_a_text_is_a_token(folders: Folders, tmp_path: Path) -> None:
    last = load(folders["qwen2"])
    expected = load(folders["qwen2"], add_eos=False).encode_documents(["a cat [EOS]"])
    np.testing.assert_allclose(last.encode_documents(["a cat"]), expected, atol=1e-6)
    np.testing.assert_allclose(last.encode_documents(["a cat [EOS]"]), expected, atol=1e-6)  # not twice
    long = last.encode_documents(["a " * 500, "a " * 5000])
    assert np.ptp(long, axis=0).max() < 1e-6
    mean = load(folders["qwen2"], pooling="mean")
    np.testing.assert_allclose(mean.encode_documents([""]), last.encode_documents([""]), atol=1e-6)
    mean.tokenizer.eos_token = None
    with pytest.raises(InvalidArgumentError, match=r"texts\[1\] is '', which gives no token"):
        mean.encode_documents(["a", ""])
    save_model(tmp_path, "bert", eos=False)
    assert load(tmp_path).eos is None
    with pytest.raises(InvalidArgumentError, match="add_eos is True, expected False"):
        load(tmp_path, add_eos=True)


def test_a_tokenizer_of_another_model_is_found_out(tmp_path: Path) -> None:
    save_model(tmp_path, "qwen2", eos=False)  # transformers gives it an end of text that the model does not know
    with pytest.raises(InvalidArgumentError, match=r"the tokenizer gives token 20, expected less than the model's 20"):
        load(tmp_path)


def test_truncation(folders: Folders) -> None:
    whole, short = load(folders["qwen2"]), load(folders["qwen2"], truncate_dim=8)
    assert (whole.dim, short.dim) == (24, 8)
    expected = encoders.truncate(whole.encode_documents(TEXTS), 8)
    np.testing.assert_allclose(short.encode_documents(TEXTS), expected, atol=1e-6)
    assert short.fingerprint != whole.fingerprint
    with pytest.raises(InvalidArgumentError, match="truncate_dim is 25, expected an integer from 1 to 24"):
        load(folders["qwen2"], truncate_dim=25)
    strict = load(folders["qwen2"], truncate=False, max_length=5)
    strict.encode_documents(["a b c d"])
    with pytest.raises(InvalidArgumentError, match=r"texts\[1\] has 5 tokens, expected at most 4, or truncate=True"):
        strict.encode_documents(["a", "a b c d e"])


def test_sizes_and_odd_texts(folders: Folders) -> None:
    encoder = load(folders["qwen2"])
    assert encoder.encode_queries([]).shape == encoder.encode_documents([]).shape == (0, 24)
    vectors = encoder.encode_documents(["", "cat " * 260_000, "\x00\u2028\U0001f600"])
    assert vectors.shape == (3, 24)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    for texts, where in [([None], r"texts\[0\] is None"), (["a", 5], r"texts\[1\] is 5"), (None, "texts is None")]:
        with pytest.raises(InvalidArgumentError, match=where):
            encoder.encode_queries(texts)
    with pytest.raises(UnsupportedError, match="takes no images"):
        encoder.encode_images([np.zeros((2, 2, 3), np.uint8)])


def test_half_precision_is_near_and_another_fingerprint(folders: Folders) -> None:
    full = load(folders["qwen2"])
    try:
        half = load(folders["qwen2"], dtype="bfloat16")
    except UnsupportedError as error:
        pytest.skip(str(error))
    cosines = (full.encode_documents(TEXTS) * half.encode_documents(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.97
    assert half.fingerprint != full.fingerprint


def test_what_decides_the_speed_is_not_in_the_fingerprint(folders: Folders) -> None:
    one, other = load(folders["qwen2"]), load(folders["qwen2"], batch_size=2, padding="left")
    assert one.fingerprint == other.fingerprint
    settings = [{"pooling": "mean"}, {"normalize": False}, {"max_length": 9}, {"attention": "bidirectional"}]
    others = {load(folders["qwen2"], **setting).fingerprint for setting in settings}
    assert len(others | {one.fingerprint}) == 5


@pytest.mark.slow
def test_padding_that_a_model_cannot_take_is_refused(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers as t

    forward = t.GPT2Model.forward

    def without_places(self: Any, input_ids: Any, attention_mask: Any) -> Any:
        return forward(self, input_ids=input_ids, attention_mask=attention_mask)

    monkeypatch.setattr(t.GPT2Model, "forward", without_places)
    load(folders["gpt2"])
    with pytest.raises(UnsupportedError, match="padding is 'left', which changes this model's vectors: try 'right'"):
        load(folders["gpt2"], padding="left")


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "max"}, {"padding": "both"}, {"attention": "none"}, {"query_prefix": 5}, {"document_prefix": None},
        {"instruction": b"find"}, {"instruction": "find", "query_prefix": "query"}, {"examples": [("a",)]},
        {"truncate_dim": 0}, {"normalize": 1}, {"truncate": 0}, {"max_length": 65}, {"batch_size": 0},
        {"dtype": "float64"}, {"add_eos": "yes"},
    ],
)  # fmt: skip
def test_bad_options(folders: Folders, options: dict[str, Any]) -> None:
    name = "query_prefix" if len(options) == 2 else next(iter(options))
    with pytest.raises(InvalidArgumentError, match=f"{name} (is|holds) .*expected"):
        load(folders["qwen2"], **options)


def test_a_folder_without_a_model(tmp_path: Path, folders: Folders) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expected a folder with config.json.*model.safetensors"):
        load(tmp_path)
    for file in folders["qwen2"].iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InvalidArgumentError, match=r"expected a folder with config.json.*model.safetensors"):
        load(tmp_path)
    with pytest.raises(InvalidArgumentError, match="no such folder"):
        load(tmp_path / "none" / "at" / "all")
