"""Layers of a net built by hand: what they give, and that they are left alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from nets import SMALL, Net, TokensFirst, at_once, extractor, prepared, torch

from encoders import scan_layers
from engine.exceptions import InvalidArgumentError


def test_pools_equal_direct_computation(net: Any, images: list[Any]) -> None:
    with torch.no_grad():
        maps = net.norm(net.relu(net.conv(prepared(images))))
        tokens = maps.flatten(2).transpose(1, 2)
        mixed = net.attention(tokens, tokens, tokens)[0]
        head = net.head(mixed.mean(1))
    quarters = maps.reshape(6, 4, 2, 7, 2, 7).mean((3, 5)).flatten(1)
    for layer, pool, expected in [
        ("norm", "gap", maps.mean((2, 3))),
        ("norm", "grid:1", maps.mean((2, 3))),
        ("norm", "grid:2", quarters),
        ("norm", "grid:14", maps.flatten(1)),
        ("tokens", "cls", maps.flatten(2)[:, 0]),
        ("tokens", "mean_tokens", maps.flatten(2).mean(1)),
        ("head", "none", head),
        ("", "none", head),
    ]:
        found = extractor(net, layer, pool)
        assert found.dim == expected.shape[1]
        np.testing.assert_allclose(found.encode_images(images), expected, atol=1e-6, err_msg=f"{layer} {pool}")


def test_a_layer_that_the_next_one_overwrites_is_read_in_time(net: Any, images: list[Any]) -> None:
    with torch.no_grad():
        expected = net.conv(prepared(images)).mean((2, 3))
    np.testing.assert_allclose(extractor(net, "conv").encode_images(images), expected, atol=1e-6)


def test_vectors_do_not_depend_on_the_batch(net: Any, images: list[Any]) -> None:
    reference = extractor(net, "norm").encode_images(images)
    for batch_size in (1, 4, 100):
        found = extractor(net, "norm", batch_size=batch_size).encode_images(images)
        np.testing.assert_allclose(found, reference, atol=1e-5)
    assert reference.dtype == np.float32
    assert extractor(net, "norm").encode_images([]).shape == (0, 4)


def test_the_module_is_left_as_it_was(net: Any, images: list[Any]) -> None:
    net.train()
    net.norm.eval()
    encoder = extractor(net, "drop")
    first, second = encoder.encode_images(images), encoder.encode_images(images)
    assert (first == second).all(), "dropout was active"
    assert net.training
    assert net.drop.training
    assert not net.norm.training
    assert int(net.norm.num_batches_tracked) == 0
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 7, 16, 16))
    encoder.reader.preprocess = lambda image: torch.zeros(7, 16, 16)
    with pytest.raises(RuntimeError):
        encoder.encode_images(images)
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_threads_may_share_an_extractor(net: Any, images: list[Any]) -> None:
    encoder = extractor(net, "norm")
    check_at_once([encoder] * len(images), images)


@pytest.fixture
def _switching() -> Iterator[None]:
    """Threads take turns so often that they meet everywhere."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def check_at_once(extractors: list[Any], images: list[Any]) -> None:
    """Each extractor gives the same for its image in a thread of its own as alone."""
    pairs = list(zip(extractors, images, strict=True))
    expected = [extractor.encode_images([image]) for extractor, image in pairs]
    tasks = [lambda each=each, image=image: [each.encode_images([image]) for _ in range(10)] for each, image in pairs]
    for found, alone in zip(at_once(tasks), expected, strict=True):
        assert isinstance(found, list), found
        assert all((each == alone).all() for each in found)


@pytest.mark.usefixtures("_switching")
def test_threads_may_share_a_module_or_a_part_of_it(net: Any, images: list[Any]) -> None:
    whole = torch.nn.Sequential(torch.nn.Identity(), net).train()
    readers = [extractor(net, "drop"), extractor(net, "drop"), extractor(whole, "1.drop"), extractor(net, "conv")]
    check_at_once([*readers, extractor(whole, "1.conv"), extractor(net.conv, "")], images)
    assert net.drop.training


@pytest.mark.usefixtures("_switching")
def test_a_scan_and_an_extractor_may_share_a_module(net: Any, images: list[Any]) -> None:
    labels, encoder = [0, 0, 0, 1, 1, 1], extractor(net.train(), "drop")
    expected = encoder.encode_images(images)
    scan = partial(scan_layers, net, images, labels, preprocess=SMALL, layers=["drop", "norm"], batch_size=2)
    scores = scan()
    found = at_once([lambda: [scan() for _ in range(5)], lambda: [encoder.encode_images(images) for _ in range(20)]])
    assert found[0] == [scores] * 5
    assert all((each == expected).all() for each in found[1])


# ---- the axis of the images


@pytest.mark.parametrize("batch_size", [1, 2, 16, 32])
def test_images_must_be_on_the_first_axis(images: list[Any], batch_size: int) -> None:
    for pool in ("cls", "mean_tokens"):
        with pytest.raises(
            InvalidArgumentError, match=r"one output for each image.*shape \(16, 1, 48\) for a batch of 1"
        ):
            extractor(TokensFirst(), "block", pool, batch_size=batch_size)
        turned = extractor(TokensFirst(), "last", pool, batch_size=batch_size).encode_images(images)
        assert turned.shape == (6, 48)


def test_an_output_that_all_images_share_is_refused() -> None:
    class Positions(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(5, 3)

        def forward(self, x: Any) -> Any:
            return x.mean((2, 3)) + self.table(torch.arange(5)[None]).mean(1)

    with pytest.raises(InvalidArgumentError, match=r"\(1, 5, 3\) for a batch of 1, shape \(1, 5, 3\) for a batch of 2"):
        extractor(Positions(), "table", "mean_tokens")


def test_the_last_call_counts_even_if_it_does_not_fit(images: list[Any]) -> None:
    class Twice(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.relu = torch.nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.relu(x).mean((2, 3)))

    assert extractor(Twice(), "relu", "none").encode_images(images).shape == (6, 3)
    with pytest.raises(InvalidArgumentError, match=r"shape \(1, 3\)"):
        extractor(Twice(), "relu", "gap")


def test_vectors_of_several_dims_are_refused(images: list[Any]) -> None:
    def as_it_is(image: Any) -> Any:
        return torch.from_numpy(image.transpose(2, 0, 1).copy()).float()

    encoder = extractor(torch.nn.Sequential(torch.nn.Flatten()), "0", "none", preprocess=as_it_is, batch_size=1)
    with pytest.raises(InvalidArgumentError, match="preprocess gave several shapes"):
        encoder.encode_images(images)
    with pytest.raises(InvalidArgumentError, match="expected \\(1, 12288\\): preprocess must give the same shape"):
        encoder.encode_images(images[:1])


# ---- other dtypes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_modules_of_any_float_dtype(images: list[Any], dtype: Any) -> None:
    expected = extractor(Net(), "norm").encode_images(images)
    found = extractor(Net().to(dtype), "norm").encode_images(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.05 if dtype == torch.bfloat16 else 1e-5)
