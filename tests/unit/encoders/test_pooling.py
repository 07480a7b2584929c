"""States of tokens -> vectors, and vectors -> their first numbers: METHODS 7.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import encoders
from encoders.pooling import pool
from engine.exceptions import InvalidArgumentError

torch = pytest.importorskip("torch")


@pytest.fixture
def padded(rng: np.random.Generator) -> tuple[list[Any], dict[str, tuple[Any, Any]]]:
    """Texts of 1 to 5 tokens, alone and in batches filled up with what must not be read, on either side."""
    texts = [rng.standard_normal((n, 7)) for n in (3, 1, 5)]
    batches = {}
    for side in ("left", "right"):
        states, mask = np.full((3, 5, 7), np.nan), np.zeros((3, 5), np.int64)
        for row, text in enumerate(texts):
            part = slice(5 - len(text), None) if side == "left" else slice(len(text))
            states[row, part], mask[row, part] = text, 1
        batches[side] = torch.tensor(states), torch.tensor(mask)
    return texts, batches


@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_reads_tokens_alone(padded: Any, side: str) -> None:
    texts, batches = padded
    for pooling, expected in [
        ("mean", [text.mean(axis=0) for text in texts]),
        ("cls", [text[0] for text in texts]),
        ("last", [text[-1] for text in texts]),
    ]:
        np.testing.assert_allclose(pool(*batches[side], pooling).numpy(), expected, atol=1e-12)


def test_pooling_refuses(padded: Any) -> None:
    states, mask = padded[1]["left"]
    with pytest.raises(InvalidArgumentError, match="pooling is 'max', expected one of 'mean', 'cls', 'last'"):
        pool(states, mask, "max")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="a row without a token"):
        pool(states, mask * 0, "mean")


def test_truncation(rng: np.random.Generator) -> None:
    X = rng.standard_normal((20, 8))
    unit = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    np.testing.assert_allclose(encoders.truncate(unit, 8), unit, atol=1e-7)
    assert (encoders.truncate(unit, 8, renormalize=False) == unit).all()
    short = encoders.truncate(X, 3)
    assert short.shape == (20, 3)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(short, encoders.truncate(unit, 3), atol=1e-6)
    assert (encoders.truncate([[0, 0, 5]], 2) == 0).all()
    for dim in (9, 0, -1, 2.5):
        with pytest.raises(InvalidArgumentError, match="dim is"):
            encoders.truncate(X, dim)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="renormalize is 'no'"):
        encoders.truncate(X, 3, renormalize="no")  # type: ignore[arg-type]
