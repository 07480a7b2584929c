"""Image and text in one vector: METHODS 7.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import encoders
import engine
from encoders import FusionEncoder
from engine.exceptions import EncoderMismatchError, InvalidArgumentError, UnsupportedError

PIXELS, HASHING = encoders.get("pixels", size=2), encoders.get("hashing", dim=64)


class Towers(encoders.BaseEncoder):
    """Images by the means of their channels; texts by the colours they name, and queries the other way round."""

    def __init__(self) -> None:
        super().__init__(encoders.EncoderSpec("towers", 3))

    def encode_images(self, images: Sequence[Any]) -> Any:
        return np.array([image.mean(axis=(0, 1)) for image in images], np.float32).reshape(-1, 3)

    def encode_documents(self, texts: Sequence[str]) -> Any:
        colours = ("red", "green", "blue")
        return np.array([[3.0 * (colour in text) for colour in colours] for text in texts], np.float32).reshape(-1, 3)

    def encode_queries(self, texts: Sequence[str]) -> Any:
        return -self.encode_documents(texts)


BOTH = {"image": Towers(), "text": Towers()}
ITEMS: list[dict[str, Any]] = [
    {"image": np.full((4, 5, 3), (9, 0, 0), np.uint8), "text": "red"},
    {"image": np.full((2, 2, 3), (0, 9, 0), np.uint8), "text": "blue"},
    {"image": np.full((2, 2, 3), (0, 9, 0), np.uint8)},
    {"image": None, "text": "blue"},
]


def test_the_mean_is_of_what_is_there() -> None:
    half = np.sqrt(0.5)
    found = FusionEncoder(BOTH).encode_items(ITEMS)
    np.testing.assert_allclose(found, [[1, 0, 0], [0, half, half], [0, 1, 0], [0, 0, 1]], atol=1e-6)
    weighted = FusionEncoder(BOTH, fuse="weighted", weights={"image": 3, "text": 1}).encode_items(ITEMS)
    ten = np.sqrt(10)
    np.testing.assert_allclose(weighted, [[1, 0, 0], [0, 3 / ten, 1 / ten], [0, 1, 0], [0, 0, 1]], atol=1e-6)
    query = FusionEncoder(BOTH).encode_items([{"text": "blue"}], side="query")
    np.testing.assert_allclose(query, [[0, 0, -1]], atol=1e-6)


@pytest.mark.parametrize("weights", [None, {"image": 0.9, "text": 0.3}])
def test_products_of_concatenated_vectors_are_weighted_sums(weights: Any) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (8, 9, 3), dtype=np.uint8) for _ in range(5)]
    texts = ["a red bus", "a green bus", "a wolf", "wolf and bus", "red"]
    fused = FusionEncoder({"image": PIXELS, "text": HASHING}, fuse="concat", weights=weights)
    items = [{"image": image, "text": text} for image, text in zip(images, texts, strict=True)]
    found = fused.encode_items(items)
    parts = [
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (PIXELS.encode_images(images), HASHING.encode_documents(texts))
    ]
    share = 0.5 if weights is None else 0.75
    np.testing.assert_allclose(
        found @ found.T, share * parts[0] @ parts[0].T + (1 - share) * parts[1] @ parts[1].T, atol=1e-5
    )
    assert fused.dim == found.shape[1] == PIXELS.dim + HASHING.dim
    text_alone = fused.encode_documents(texts)
    np.testing.assert_allclose(text_alone @ text_alone.T, parts[1] @ parts[1].T, atol=1e-5)
    assert (text_alone[:, : PIXELS.dim] == 0).all()


def test_a_fused_encoder_serves_a_collection() -> None:
    fused = FusionEncoder(BOTH)
    collection = engine.Collection.create(encoder=fused)
    collection.add(fused.encode_items(ITEMS[:2]), attributes={"name": ["red bus", "blue leaf"]})
    found = collection.search([ITEMS[1]["image"]], k=1, columns=["name"])
    assert found.attributes["name"].tolist() == [["blue leaf"]]
    with pytest.raises(EncoderMismatchError, match="fingerprint"):
        collection.encoder = FusionEncoder(BOTH, fuse="weighted", weights={"image": 1, "text": 2})


def test_one_modality_alone_is_its_encoder() -> None:
    only = FusionEncoder({"text": HASHING})
    np.testing.assert_allclose(only.encode_documents(["a bus"]), HASHING.encode_documents(["a bus"]), atol=1e-6)
    with pytest.raises(InvalidArgumentError, match=r"(?s)items\[0\] is .*expected at least one of \['text'\]"):
        only.encode_images([np.zeros((2, 2, 3), np.uint8)])
    assert only.encode_items([]).shape == (0, 64)


def test_names(tmp_path: Any) -> None:
    fused: Any = encoders.get("fused:pixels+hashing", fuse="concat", image={"size": 2}, text={"dim": 64})
    assert fused.fingerprint == FusionEncoder({"image": PIXELS, "text": HASHING}, fuse="concat").fingerprint
    assert encoders.get("fused:hashing").encode_documents(["a"]).shape == (1, 256)
    with pytest.raises(InvalidArgumentError, match="expected 'fused:<image encoder>"):
        encoders.get("fused:pixels+hashing+sbert")
    with pytest.raises(UnsupportedError, match="takes no images"):
        encoders.get("fused:hashing").encode_images([np.zeros((2, 2, 3), np.uint8)])


@pytest.mark.parametrize(
    "items", [[{}], [{"image": None}], [{"sound": 1}], ["red"], [None], [{"text": 5}], [{"image": "x"}]]
)
def test_bad_items(items: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="expected"):
        FusionEncoder({"image": PIXELS, "text": HASHING}, fuse="concat").encode_items(items)


@pytest.mark.parametrize(
    ("towers", "options"),
    [
        ({}, {}), ({"sound": HASHING}, {}), (None, {}), ({"text": "hashing"}, {}), (BOTH, {"fuse": "sum"}),
        (BOTH, {"fuse": "weighted"}), (BOTH, {"weights": {"image": 1, "text": 1}}),
        (BOTH, {"fuse": "concat", "weights": {"image": 1}}), (BOTH, {"fuse": "concat", "weights": 5}),
        (BOTH, {"fuse": "weighted", "weights": {"image": 0, "text": 0}}),
        (BOTH, {"fuse": "weighted", "weights": {"image": -1, "text": 2}}),
        (BOTH, {"fuse": "weighted", "weights": {"image": np.nan, "text": 2}}),
        ({"image": PIXELS, "text": HASHING}, {}),
    ],
)  # fmt: skip
def test_bad_arguments(towers: Any, options: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="expected"):
        FusionEncoder(towers, **options)
