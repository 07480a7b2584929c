"""Images as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import SMALL, Net, extractor, torch

from encoders import Preprocess
from engine.exceptions import InvalidArgumentError


def test_preprocessing_is_resize_then_centre_crop(rng: np.random.Generator) -> None:
    from PIL import Image

    smooth = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((90, 60), Image.Resampling.BICUBIC)
    found = Preprocess(size=28, resize=30, mean=(0, 0, 0), std=(1, 1, 1))(np.asarray(smooth))
    expected = smooth.resize((45, 30), Image.Resampling.BICUBIC).crop((8, 1, 36, 29))
    assert found.shape == (3, 28, 28)
    error = abs(found.numpy().transpose(1, 2, 0) - np.asarray(expected, np.float32))
    assert np.median(error) < 8  # the middle lies between two pixels here


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (7, 1000), (333, 334)])
def test_preprocessing_takes_any_shape(shape: tuple[int, int]) -> None:
    pixels = Preprocess(size=24, resize=24, mean=(0, 0, 0), std=(1, 2, 1))(np.full((*shape, 3), 100, np.uint8))
    assert pixels.shape == (3, 24, 24)
    assert pixels.unique().tolist() == [50, 100]


def test_preprocessing_options_are_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="resize is 10, expected at least size, 20"):
        Preprocess(size=20, resize=10)
    cases: list[dict[str, Any]] = [
        {"std": (1, 0, 1)}, {"std": (1, -1, 1)}, {"std": 0}, {"std": (1, 1)}, {"std": (1, np.inf, 1)}, {"std": "abc"},
        {"mean": (0, np.nan, 0)}, {"mean": None}, {"mean": (0, 0, 0, 0)}, {"mean": ("a", "b", "c")}, {"size": 1.5},
    ]  # fmt: skip
    for options in cases:
        with pytest.raises(InvalidArgumentError, match=rf"{next(iter(options))} (is|has) .*expected"):
            Preprocess(**options)


def test_equal_settings_are_equal() -> None:
    arrays: Any = Preprocess(size=np.int64(20), resize=20, mean=np.zeros(3), std=np.ones(3, np.float32))  # type: ignore[arg-type]
    assert arrays == Preprocess(size=20, resize=20, mean=(0, 0, 0), std=(1, 1, 1))
    assert repr(arrays) == "Preprocess(size=20, resize=20, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))"


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (None, "preprocess is None, expected a callable"),
        ("resize", "preprocess is 'resize', expected a callable"),
        (lambda image: None, "preprocess gave a NoneType, expected a float tensor"),
        (lambda image: SMALL(image).numpy(), "preprocess gave a ndarray, expected a float tensor"),
        (lambda image: SMALL(image).to(torch.uint8), "preprocess gave a torch.uint8, expected a float tensor"),
        (lambda image: torch.zeros(3), r"preprocess gave shapes \{\(3,\)\}"),
    ],
)
def test_what_is_no_preprocessing(net: Any, preprocess: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        extractor(net, "norm", preprocess=preprocess)


def test_other_float_tensors_are_taken(images: list[Any]) -> None:
    expected = extractor(Net(), "norm").encode_images(images)

    def tracked(image: Any) -> Any:
        return SMALL(image).double().requires_grad_()

    np.testing.assert_allclose(extractor(Net(), "norm", preprocess=tracked).encode_images(images), expected, atol=1e-5)
    whole = torch.nn.Sequential(torch.nn.Identity())
    assert extractor(whole, "0", preprocess=tracked).encode_images(images).shape == (6, 3)
