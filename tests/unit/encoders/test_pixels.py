"""Pixels as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from encoders import PixelEncoder
from engine.exceptions import InvalidArgumentError, UnsupportedError


def noise(rng: np.random.Generator, n: int = 7) -> list[Any]:
    return [rng.integers(0, 256, (rng.integers(1, 40), rng.integers(1, 40), 3), dtype=np.uint8) for _ in range(n)]


def test_an_image_of_the_right_size_is_its_own_vector(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    vector = PixelEncoder(size=4, mode="rgb").encode_images([image])[0]
    np.testing.assert_allclose(vector[:-1], image.ravel() / 255, rtol=1e-6)
    assert vector[-1] == pytest.approx(np.sqrt(48) / 255)
    grey = np.repeat(image[:, :, :1], 3, axis=2)
    np.testing.assert_allclose(
        PixelEncoder(size=4).encode_images([grey])[0, :-1], grey[:, :, 0].ravel() / 255, rtol=1e-6
    )


def test_shrinking_averages() -> None:
    board = np.zeros((32, 32, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    assert abs(PixelEncoder(size=4).encode_images([board])[0, :-1] - 0.5).max() < 0.02


def test_without_its_mean_brightness_does_not_count(rng: np.random.Generator) -> None:
    dark = rng.integers(0, 100, (8, 8, 3), dtype=np.uint8)
    a, b = PixelEncoder(size=8, mode="rgb", remove_mean=True).encode_images([dark, dark + np.uint8(50)])
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert a[:-1].sum() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("remove_mean", [False, True])
def test_plain_images_have_a_cosine(remove_mean: bool) -> None:
    plain = [np.full((9, 5, 3), grey, np.uint8) for grey in (0, 128, 255)]
    encoder = PixelEncoder(size=8, remove_mean=remove_mean)
    collection = engine.Collection.create(encoder=encoder)
    collection.add(plain)
    nearest = collection.search(plain[:1], k=1)
    assert nearest.ids.item() == 0
    assert nearest.distances.item() == pytest.approx(0, abs=1e-7)


def test_the_constant_coordinate_moves_cosines_by_no_more_than_promised(rng: np.random.Generator) -> None:
    a, b = (rng.uniform(0, 1, 1024) for _ in range(2))
    c = np.sqrt(1024) / 255

    def cosine(x: Any, y: Any) -> float:
        return float(x @ y / np.sqrt((x @ x) * (y @ y)))

    moved = cosine(np.append(a, c), np.append(b, c)) - cosine(a, b)
    brightness = min(np.sqrt(np.mean(a**2)), np.sqrt(np.mean(b**2)))
    assert abs(moved) <= 1 / (255 * brightness) ** 2


def test_vectors_do_not_depend_on_the_batch(rng: np.random.Generator) -> None:
    images, encoder = noise(rng), PixelEncoder()
    together = encoder.encode_images(images)
    assert together.dtype == np.float32
    assert together.shape == (7, encoder.dim) == (7, 1025)
    assert (together == np.concatenate([encoder.encode_images([image]) for image in images])).all()
    assert encoder.encode_images([]).shape == (0, 1025)


def test_settings_are_in_the_fingerprint() -> None:
    options: list[dict[str, Any]] = [{}, {"size": 16}, {"mode": "rgb"}, {"remove_mean": True}]
    assert len({PixelEncoder(**each).fingerprint for each in options}) == 4
    assert PixelEncoder().fingerprint == PixelEncoder(size=32).fingerprint


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": 1.5},
        {"size": 10_000},
        {"mode": "gray"},
        {"mode": None},
        {"size": "8"},
        {"remove_mean": "no"},
        {"remove_mean": 1},
    ],
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"{next(iter(options))} is .*expected"):
        PixelEncoder(**options)


def test_texts_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="takes no texts"):
        PixelEncoder().encode_queries(["a cat"])


def test_one_image_and_paths_and_pillow_images(tmp_path: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    (image,), encoder = noise(rng, 1), PixelEncoder(size=8)
    Image.fromarray(image).save(tmp_path / "a.png")
    expected = encoder.encode_images([image])
    for given in (image, tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(image), [Image.fromarray(image)]):
        assert (encoder.encode_images(given) == expected).all()
    for bad in (5, None, [5], image[:, :, 0], image.astype(float), [image[:, :, 0]]):
        with pytest.raises(InvalidArgumentError, match=r"images.* is "):
            encoder.encode_images(bad)
