"""DINO and DINOv2: timm's architectures with random weights in local files, beside timm called directly."""

from __future__ import annotations

import json
import socket
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import encoders
from encoders import devices
from encoders.dino import as_layers
from engine.exceptions import InvalidArgumentError, UnsupportedError

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

DINO, REGISTERS = "vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"
SIZES = {DINO: 64, REGISTERS: 28}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a plain transformer and of one with registers."""
    folder: Path = tmp_path_factory.mktemp("dino")
    for name in SIZES:
        torch.manual_seed(0)
        torch.save(timm.create_model(name, pretrained=False, num_classes=0).state_dict(), folder / f"{name}.pth")
    return folder


@cache
def dino(folder: Path, name: str = DINO, **options: Any) -> Any:
    return encoders.get(f"dino:{name}", **{"weights": folder / f"{name}.pth", "image_size": SIZES[name], **options})


def direct(folder: Path, name: str, images: list[Any], **config: Any) -> tuple[Any, Any]:
    """Model and prepared images as timm's documentation has them."""
    overlay = {"file": str(folder / f"{name}.pth")}
    model = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, img_size=SIZES[name]
    ).eval()
    args = {"input_size": (3, SIZES[name], SIZES[name]), **config}
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model, args=args), is_training=False)
    return model, torch.stack([transform(Image.fromarray(image)) for image in images])


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", [DINO, REGISTERS])
def test_class_token_and_mean_of_patches_are_those_of_timm(folder: Path, images: list[Any], name: str) -> None:
    model, x = direct(folder, name, images)
    with torch.no_grad():
        tokens, pooled = model.forward_features(x).numpy(), model(x).numpy()
    first = tokens[:, 0]
    patches = tokens[:, 1 + (4 if name == REGISTERS else 0) :]
    np.testing.assert_allclose(pooled, first, atol=1e-6)
    for pool, expected in (
        ("cls", first),
        ("mean", patches.mean(1)),
        ("cls+mean", np.concatenate([first, patches.mean(1)], 1)),
    ):
        raw = dino(folder, name, pool=pool, normalize=False)
        assert raw.dim == expected.shape[1]
        np.testing.assert_allclose(raw.encode_images(images), expected, atol=1e-5)
        np.testing.assert_allclose(raw.encode_patches(images), patches, atol=1e-5)
    encoder = dino(folder, name)
    np.testing.assert_allclose(encoder.encode_images(images), unit(first), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_patches(images), unit(patches), atol=1e-5)


def test_layers_are_put_one_after_the_other(folder: Path, images: list[Any]) -> None:
    model, x = direct(folder, DINO, images)
    heard: list[Any] = []
    for block in (model.blocks[3], model.blocks[10]):
        block.register_forward_hook(lambda _m, _i, output: heard.append(model.norm(output)))
    with torch.no_grad():
        model(x)
    expected = np.concatenate([tokens[:, 0].numpy() for tokens in heard], 1)
    for layers in ((3, 10), (-9, -2)):
        encoder = dino(folder, layers=layers, normalize=False)
        np.testing.assert_allclose(encoder.encode_images(images), expected, atol=1e-5)
    both = dino(folder, layers=(3, 10), pool="cls+mean")
    assert both.dim == both.encode_images(images).shape[1] == 4 * 192
    assert dino(folder, layers=11).fingerprint == dino(folder, layers=-1).fingerprint == dino(folder).fingerprint
    assert both.fingerprint != dino(folder, layers=(3, 10)).fingerprint


@pytest.mark.parametrize(
    "option",
    [
        {"crop_pct": 0.5, "interpolation": "bilinear"},
        {"crop_mode": "squash", "mean": (0.1, 0.2, 0.3)},
        {"crop_mode": "border", "std": (0.1, 0.2, 0.3)},
    ],
)
def test_every_option_of_preprocessing(folder: Path, images: list[Any], option: dict[str, Any]) -> None:
    model, x = direct(folder, DINO, images, **option)
    with torch.no_grad():
        expected = unit(model(x).numpy())
    encoder, plain = dino(folder, **option), dino(folder)
    np.testing.assert_allclose(encoder.encode_images(images), expected, atol=1e-5)
    assert abs(plain.encode_images(images) - expected).max() > 1e-5
    assert encoder.fingerprint != plain.fingerprint


def test_vectors_do_not_depend_on_the_batch(folder: Path, images: list[Any]) -> None:
    small = dino(folder, batch_size=1)
    np.testing.assert_allclose(small.encode_images(images), dino(folder).encode_images(images), atol=1e-5)
    assert small.fingerprint == dino(folder).fingerprint


def test_half_precision(folder: Path, images: list[Any]) -> None:
    if not devices.computes("bfloat16"):
        pytest.skip("this processor has no bfloat16")
    half, full = dino(folder, dtype="bfloat16", device="cpu"), dino(folder, device="cpu")
    assert (half.encode_images(images) * full.encode_images(images)).sum(1).min() > 0.999
    assert half.fingerprint != full.fingerprint


def test_a_folder_that_timm_wrote(folder: Path, images: list[Any], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = timm.create_model(DINO, pretrained=False, num_classes=0)
    weights = torch.load(folder / f"{DINO}.pth", weights_only=True)
    save_file(weights, tmp_path / "model.safetensors")
    config = {"architecture": DINO, "num_classes": 0, "pretrained_cfg": model.pretrained_cfg}
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder = encoders.get(f"dino:{tmp_path}", image_size=64)
    np.testing.assert_allclose(encoder.encode_images(images), dino(folder).encode_images(images), atol=1e-6)
    assert encoder.fingerprint == dino(folder).fingerprint
    with pytest.raises(InvalidArgumentError, match=r"weights is .*holds its own"):
        encoders.get(f"dino:{tmp_path}", weights=folder / f"{DINO}.pth")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "vit_smal_patch14_dinov2",
            {},
            r"expected a folder, or one of timm\.list_models.*did you mean 'vit_small_patch14",
        ),
        ("vit_small_patch14_dinov2.foo", {}, r"expected one of .*did you mean 'vit_small_patch14_dinov2.lvd142m'"),
        (DINO, {"weights": "missing.pth"}, "weights is 'missing.pth', expected an existing file"),
        (DINO, {"pool": "max"}, "pool is 'max', expected one of 'cls', 'mean', 'cls\\+mean'"),
        (DINO, {"layers": 12}, "layers is 12, expected integers from -12 to 11"),
        (DINO, {"crop_pct": 0}, "crop_pct is 0, expected a number above 0 and at most 1"),
        (DINO, {"crop_mode": "middle"}, "crop_mode is 'middle'"),
        (DINO, {"interpolation": "random"}, "interpolation is 'random'"),
        (DINO, {"image_size": -1}, "image_size is -1"),
        (DINO, {"image_size": 3}, "expected a checkpoint that fits"),
    ],
)
def test_bad_arguments(folder: Path, name: str, options: dict[str, Any], message: str) -> None:
    weights = {"weights": folder / f"{DINO}.pth"} if name == DINO else {}
    with pytest.raises(InvalidArgumentError, match=message):
        encoders.get(f"dino:{name}", **{**weights, **options})


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (-13, "layers is -13, expected integers from -12 to 11"),
        ([], r"layers is \[\], expected numbers of blocks"),
        ("last", "layers is 'last'"),
        ([True], r"layers is \[True\]"),
        ([1.0], r"layers is \[1.0\], expected integers"),
        ([3, 2], r"layers is \[3, 2\], expected each block once, in rising order"),
        ([11, -1], r"layers is \[11, -1\], expected each block once"),
    ],
)
def test_layers_that_are_none(layers: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        as_layers(layers, 12)


def test_a_network_without_a_class_token(tmp_path: Path) -> None:
    net = timm.create_model("resnet10t", pretrained=False, num_classes=0)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    with pytest.raises(UnsupportedError, match="expected a vision transformer with a class token"):
        encoders.get("dino:resnet10t", weights=tmp_path / "net.pth")


def test_weights_that_are_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr("encoders.hub.getproxies", dict)
    with pytest.raises(UnsupportedError, match=r"'dino:vit_small_patch14_dinov2.lvd142m' are not .*download timm/vit_"):
        encoders.get("dinov2")


def test_it_takes_no_texts(folder: Path) -> None:
    with pytest.raises(UnsupportedError, match="takes no texts"):
        dino(folder).encode_queries(["a"])
