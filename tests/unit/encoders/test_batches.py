"""Batches through a model: order, threads, and a device whose memory is too small."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from encoders.batches import encode_images, encode_texts
from engine.exceptions import InvalidArgumentError

torch = pytest.importorskip("torch")
CPU: dict[str, Any] = {"device": torch.device("cpu")}


def means(batch: Any) -> Any:
    return batch.float().mean((1, 2, 3))[:, None]


def prepare(image: Any) -> Any:
    return torch.from_numpy(image[:2, :2].transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (4, 3), (100, 2)])
def test_images_keep_their_order(batch_size: int, workers: int) -> None:
    images = [np.full((3, 3, 3), i, np.uint8) for i in range(11)]
    vectors = encode_images(images, prepare, means, batch_size=batch_size, workers=workers, **CPU)
    assert vectors.tolist() == [[i] for i in range(11)]


def test_texts_keep_their_order_though_the_longest_go_first() -> None:
    seen: list[list[int]] = []

    def tokenize(texts: list[str]) -> Any:
        seen.append([len(text) for text in texts])
        return torch.tensor([[float(len(text))] for text in texts])

    texts = ["a" * n for n in (3, 1, 7, 2, 7, 0, 5)]
    vectors = encode_texts(texts, tokenize, lambda batch: batch, batch_size=3, **CPU)
    assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert seen == [[7, 7, 5], [3, 2, 1], [0]]


def test_a_batch_that_memory_does_not_hold_is_halved() -> None:
    tried: list[int] = []

    def small(batch: Any) -> Any:
        tried.append(len(batch))
        if len(batch) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return means(batch)

    images = [np.full((2, 2, 3), i, np.uint8) for i in range(9)]
    vectors = encode_images(images, prepare, small, batch_size=9, workers=1, **CPU)
    assert vectors.tolist() == [[i] for i in range(9)]
    assert tried == [9, 4, 2, 2, 5, 2, 3]

    def none(batch: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        encode_images(images, prepare, none, batch_size=9, workers=1, **CPU)


def test_the_next_batch_is_prepared_while_the_model_computes() -> None:
    second = threading.Event()

    def notice(image: Any) -> Any:
        if image[0, 0, 0] == 3:  # of the second batch
            second.set()
        return prepare(image)

    def wait(batch: Any) -> Any:
        assert second.wait(10), "nothing is prepared while the model computes"
        return means(batch)

    encode_images([np.full((2, 2, 3), i, np.uint8) for i in range(4)], notice, wait, batch_size=2, workers=1, **CPU)


def test_what_preprocessing_refuses_is_named() -> None:
    def refuse(image: Any) -> Any:
        raise ValueError("height and width must be > 0")

    with pytest.raises(InvalidArgumentError, match=r"images\[0\] has shape \(2, 2, 3\), which preprocessing refuses"):
        encode_images([np.zeros((2, 2, 3), np.uint8)], refuse, means, batch_size=2, workers=1, **CPU)
    before = threading.active_count()
    with pytest.raises(InvalidArgumentError, match=r"images\[1\] is 5"):
        encode_images([np.zeros((2, 2, 3), np.uint8), 5], prepare, means, batch_size=2, workers=2, **CPU)
    assert threading.active_count() <= before
