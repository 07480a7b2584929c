"""The encoder without a model: the same words, the same vector, everywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import encoders
from engine.exceptions import InvalidArgumentError, UnsupportedError


def test_words_alone_count() -> None:
    encoder = encoders.get("hashing", dim=4096)
    texts = ["A red bus.", "the BUS", "bus, red a!", "bus bus red a", "Überfall"]
    vectors = encoder.encode_queries(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    cosines = vectors @ vectors[0]
    np.testing.assert_allclose(cosines, [1, 1 / np.sqrt(6), 1, 4 / np.sqrt(18), 0], atol=5 / np.sqrt(4096))
    np.testing.assert_array_equal(vectors, encoder.encode_documents(texts))


def test_other_processes_agree() -> None:
    code = "import encoders; print(encoders.get('hashing').encode_queries(['ein Wort'])[0, :20].tolist())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(encoders.get("hashing").encode_queries(["ein Wort"])[0, :20].tolist())


def test_what_is_refused() -> None:
    encoder = encoders.get("hashing")
    with pytest.raises(InvalidArgumentError, match=r"texts holds '\.\.\.', expected a word in each"):
        encoder.encode_queries(["fine", "..."])
    with pytest.raises(InvalidArgumentError, match=r"texts\[0\] is 3"):
        encoder.encode_queries([3])  # type: ignore[list-item]
    with pytest.raises(UnsupportedError, match="takes no images"):
        encoder.encode_images([np.zeros((2, 2, 3), np.uint8)])
    for dim in (0, 65, 70_000):
        with pytest.raises(InvalidArgumentError, match="dim is"):
            encoders.get("hashing", dim=dim)
