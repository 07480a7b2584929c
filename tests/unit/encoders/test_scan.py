"""Which layer is best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import SMALL, TokensFirst, extractor, torch

from encoders import NoiseSpec, scan_layers
from engine.classify import KNNClassifier
from engine.exceptions import InvalidArgumentError


class Colors(torch.nn.Module):  # type: ignore[misc, name-defined]
    """`keep` keeps the colours, `lose` leaves nothing to tell classes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.keep, self.lose = torch.nn.Identity(), torch.nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.lose(self.keep(x) * 0 + 1)


def test_scanning_finds_the_layer_that_classifies(rng: np.random.Generator) -> None:
    labels = np.array(["red", "green"] * 8)
    images = [np.zeros((16, 16, 3), np.uint8) for _ in labels]
    for image, label in zip(images, labels, strict=True):
        image[:, :, ("red", "green").index(label)] = rng.integers(150, 256)
    scores = scan_layers(
        Colors(), images, labels, preprocess=SMALL, layers=["lose", "keep"], pools=["gap", "grid:2", "cls"],
        noises=[None, NoiseSpec(1000)], batch_size=5,
    )  # fmt: skip
    assert [(score.layer, score.t, score.pool, score.dim) for score in scores[:2]] == [
        ("keep", 0, "gap", 3),
        ("keep", 0, "grid:2", 12),
    ]
    assert scores[0].accuracy == 1.0
    assert len(scores) == 8  # cls takes tokens, and these layers give maps
    assert max(score.accuracy for score in scores if score.layer == "lose") < 0.6


def test_scanning_all_layers_leaves_out_what_gives_no_vectors(net: Any, images: list[Any]) -> None:
    scores = scan_layers(net, images, [0, 1] * 3, preprocess=SMALL, pools=["gap", "none", "mean_tokens"])
    found = {score.layer for score in scores}
    assert {"", "conv", "relu", "drop", "norm", "tokens", "head"} == found


def test_bad_arguments_of_a_scan(net: Any, images: list[Any]) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"labels": [1]}, "labels has 1 labels, expected 6"),
        ({"layers": ["nothing"]}, "layer is 'nothing'"),
        ({"pools": ["max"]}, "pool is 'max'"),
        ({"layers": ["head"]}, r"pools is \['gap'\], expected one that fits a layer; they gave .*shape \(1, 2\)"),
        ({"labels": [0, 1, np.nan, 0, 1, 0]}, r"labels\[2\] is nan"),
        ({"labels": [0, 1, None, 0, 1, 0]}, "labels holds NoneType and int"),
        ({"labels": [3] * 6}, "labels holds one class only, 3"),
        ({"noises": (5,)}, "noise is 5, expected a NoiseSpec"),
        ({"noises": ()}, r"noises is \[\], expected"),
        ({"noises": NoiseSpec(1)}, r"noises is NoiseSpec\(.*expected a sequence"),
        ({"pools": "gap"}, "pools is 'gap', expected a sequence"),
        ({"pools": 5}, "pools is 5, expected a sequence"),
        ({"layers": "conv"}, "layers is 'conv', expected a sequence"),
        ({"n_noise": 0}, "n_noise is 0"),
        ({"preprocess": None}, "preprocess is None"),
        ({"n_neighbors": 0}, "n_neighbors is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ]
    for changed, message in cases:
        options: dict[str, Any] = {"labels": [0, 1] * 3, "preprocess": SMALL, **changed}
        with pytest.raises(InvalidArgumentError, match=message):
            scan_layers(net, images, options.pop("labels"), **options)


@pytest.mark.parametrize("batch_size", [8, 16, 32])
def test_layers_with_other_axes_first_are_left_out(rng: np.random.Generator, batch_size: int) -> None:
    images = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(16)]  # as many as there are tokens
    pools = ["mean_tokens", "cls"]
    scores = scan_layers(
        TokensFirst(), images, [0, 1] * 8, preprocess=SMALL, pools=pools, batch_size=batch_size
    )  # fmt: skip
    assert {(score.layer, score.pool) for score in scores} == {
        (layer, pool) for layer in ("last", "") for pool in pools
    }


def test_the_vote_is_that_of_the_classifier(net: Any, images: list[Any]) -> None:
    labels = ["a", "b", "b", "a", "b", "a"]
    vectors = extractor(net, "norm").encode_images(images)
    for n_neighbors in (1, 3, 5):
        (score,) = scan_layers(net, images, labels, preprocess=SMALL, layers=["norm"], n_neighbors=n_neighbors)
        assert score.accuracy == KNNClassifier(n_neighbors).fit(vectors, labels).score(None, labels)
