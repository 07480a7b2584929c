"""Features of torch modules: bad arguments, and EfficientNet-lite0 with its real weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import extractor

import encoders
from encoders import devices
from engine.exceptions import InvalidArgumentError

DEEP = "features:efficientnet-lite0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "convv"}, r"layer is 'convv', expected .*'conv'"),
        ({"layer": None}, "layer is None"),
        ({"layer": "unused"}, "gave nothing: the forward pass does not call it"),
        ({"layer": "attention", "pool": "mean_tokens"}, "gave a tuple"),
        ({"layer": "head"}, r"'gap' can pool, but it gave shape \(1, 2\)"),
        ({"pool": "max"}, "pool is 'max', expected 'gap'"),
        ({"pool": "grid:0"}, "pool is 'grid:0'"),
        ({"pool": "grid:k"}, "pool is 'grid:k'"),
        ({"pool": None}, "pool is None"),
        ({"noise": 5}, "noise is 5, expected a NoiseSpec"),
        ({"n_noise": 0}, "n_noise is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"architecture": 5}, "architecture is 5, expected a str"),
        ({"architecture": "Net at 0x7f00"}, "architecture is 'Net at 0x7f00', expected a text without addresses"),
        ({"preprocess_id": ""}, "preprocess_id is '', expected a str that is not empty"),
        ({"preprocess_id": 1}, "preprocess_id is 1"),
    ],
)
def test_bad_arguments(net: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        extractor(net, **{"layer": "norm", **options})


# ---- the real network


@pytest.fixture(scope="module")
def photographs() -> list[Any]:
    datasets = pytest.importorskip("sklearn.datasets")
    return [datasets.load_sample_image(name) for name in ("china.jpg", "flower.jpg")]


@pytest.fixture(scope="module")
def efficientnet() -> Any:
    return encoders.get(DEEP)


@pytest.mark.parametrize(("name", "flower"), [(DEEP, 985), ("features:efficientnet-lite2", 599)])
def test_efficientnet_sees_a_palace_and_a_daisy(photographs: list[Any], name: str, flower: int) -> None:
    """By ImageNet's numbers; lite2 takes the daisy for a honeycomb."""
    if name not in encoders.available():
        pytest.skip("its weights are not installed")
    logits: Any = encoders.get(name, layer="_fc", pool="none").encode_images(photographs)
    assert logits.argmax(axis=1).tolist() == [698, flower]


def test_efficientnet_recognises_a_photograph_however_it_is_cut(efficientnet: Any, photographs: list[Any]) -> None:
    assert efficientnet.dim == 1280
    changed = [image[30:, 30:-30][:, ::-1] for image in photographs]
    one, two = efficientnet.encode_images(photographs), efficientnet.encode_images(changed)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, two)]
    cosines = unit[0] @ unit[1].T
    assert cosines.diagonal().min() > 0.7 > 0.4 > cosines[0, 1]


def test_efficientnet_does_not_depend_on_the_batch(efficientnet: Any, photographs: list[Any]) -> None:
    single = np.concatenate([efficientnet.encode_images([image]) for image in photographs])
    np.testing.assert_allclose(efficientnet.encode_images(photographs), single, atol=1e-5)


def test_efficientnet_has_one_fingerprint(efficientnet: Any) -> None:
    assert encoders.get(DEEP, batch_size=2).fingerprint == efficientnet.fingerprint
    assert efficientnet.fingerprint == "features:523ea019de99e4cd77ad3c521ba46a0c"


def test_efficientnet_in_bfloat16_is_near_and_another_encoder(efficientnet: Any, photographs: list[Any]) -> None:
    if not devices.computes("bfloat16"):
        pytest.skip("this processor has no bfloat16")
    half: Any = encoders.get(DEEP, dtype="bfloat16", device="cpu", workers=2)
    one, two = half.encode_images(photographs), efficientnet.encode_images(photographs)
    assert one.dtype == np.float32
    cosines = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert cosines.min() > 0.99
    assert half.fingerprint != efficientnet.fingerprint
    assert half.options == {"dtype": "bfloat16"}


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"module is 'resnet', expected a torch\.nn\.Module"):
        extractor("resnet", "norm")
