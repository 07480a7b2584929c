"""Noise as diffusion models see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import extractor, prepared, torch

from encoders import NoiseSpec
from engine.exceptions import InvalidArgumentError


def test_noise_is_the_formula_and_the_same_for_every_image(net: Any, images: list[Any]) -> None:
    noise = NoiseSpec(90, seed=3)
    kept = np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:90])
    x = prepared(images)
    rest = (noise.add(x, 0) - kept**0.5 * x) / (1 - kept) ** 0.5
    assert abs(rest - rest[0]).max() < 1e-5
    assert abs(float(rest[0].mean())) < 0.1
    assert float(rest[0].std()) == pytest.approx(1, abs=0.1)
    assert (noise.add(x, 0) != noise.add(x, 1)).any()
    reference = extractor(net, "norm", noise=noise).encode_images(images)
    assert (extractor(net, "norm", noise=noise).encode_images(images) == reference).all()
    single = extractor(net, "norm", noise=noise, batch_size=1).encode_images(images)
    np.testing.assert_allclose(single, reference, atol=1e-5)


def test_draws_are_averaged(net: Any, images: list[Any]) -> None:
    noise = NoiseSpec(200)
    found = extractor(net, "norm", noise=noise, n_noise=3).encode_images(images)
    with torch.no_grad():
        draws = [net.norm(net.relu(net.conv(noise.add(prepared(images), draw)))).mean((2, 3)) for draw in range(3)]
    np.testing.assert_allclose(found, torch.stack(draws).mean(0), atol=1e-5)


def test_without_a_step_the_image_is_clean(net: Any, images: list[Any]) -> None:
    clean = extractor(net, "norm").encode_images(images)
    assert (extractor(net, "norm", noise=NoiseSpec(0), n_noise=5).encode_images(images) == clean).all()


def test_the_step_is_passed_on_where_asked(net: Any, images: list[Any]) -> None:
    with torch.no_grad():
        expected = net(NoiseSpec(7).add(prepared(images), 0), torch.full((6,), 6))
    found = extractor(net, "head", "none", noise=NoiseSpec(7, pass_t=True)).encode_images(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_step_is_the_index_of_the_noise_level() -> None:
    """As guided-diffusion has it: ``alphas_cumprod[step]`` is the share of the image that is left."""
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    ones = torch.ones(1, 3, 4, 4)
    for t in (1, 91, 1000):
        noise = NoiseSpec(t)
        noised = noise.add(ones, 0) - noise.add(ones * 0, 0)
        np.testing.assert_allclose(noised, np.full((1, 3, 4, 4), alphas_cumprod[noise.step] ** 0.5), atol=1e-5)
    assert NoiseSpec(0).step == 0


@pytest.mark.parametrize("t", [-1, 1001, 1.5, None, True])
def test_a_step_outside_the_schedule_is_refused(t: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"t is .*expected an integer from 0 to 1000"):
        NoiseSpec(t)


def test_a_schedule_that_is_none_is_refused() -> None:
    for betas in [(1.5,), "linear", "a", None, 5, [[0.1, 0.2]], (np.nan,), ("0.1",)]:
        with pytest.raises(InvalidArgumentError, match=r"betas (is|has) .*expected"):
            NoiseSpec(1, betas=betas)  # type: ignore[arg-type]


def test_other_options_are_checked() -> None:
    for seed in (1.5, "1", None, True, -1, 2**32):
        with pytest.raises(InvalidArgumentError, match=r"seed is .*expected an integer from 0 to"):
            NoiseSpec(1, seed=seed)  # type: ignore[arg-type]
    for flag in ("no", 1, None):
        with pytest.raises(InvalidArgumentError, match=r"pass_t is .*expected True or False"):
            NoiseSpec(1, pass_t=flag)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers(net: Any) -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    given = NoiseSpec(np.int64(90), betas=betas, seed=np.uint8(3))  # type: ignore[arg-type]
    assert given == NoiseSpec(90, seed=3)
    assert hash(given) == hash(NoiseSpec(90, seed=3))
    same = [extractor(net, "norm", noise=noise).fingerprint for noise in (given, NoiseSpec(90, seed=3))]
    assert same[0] == same[1]
