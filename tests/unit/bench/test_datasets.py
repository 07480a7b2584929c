from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import datasets


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    assert datasets.data_folder() == tmp_path
    monkeypatch.delenv("NEARFIELD_DATA")
    assert datasets.data_folder().parts[-2:] == ("shared", "data")


def test_stored_embeddings_are_normalised_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    (tmp_path / "wordnet").mkdir()
    base = rng.normal(size=(50, 8)).astype(np.float16)
    np.save(tmp_path / "wordnet" / "base.f16.npy", base)
    np.save(tmp_path / "wordnet" / "query.f16.npy", base[:5])
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    data = datasets.load(20)
    assert data.name.startswith("wordnet")
    assert data.vectors.shape == (20, 8)
    assert data.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(data.vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(data.queries, data.vectors[:5])


def test_made_up_clusters_say_so_and_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    first, again, other = datasets.load(200), datasets.load(200), datasets.load(200, seed=1)
    assert "synthetic" in first.name
    assert "NEARFIELD_DATA" in first.name
    assert first.vectors.shape == (200, datasets.DIM)
    assert first.queries.shape == (datasets.QUERIES, datasets.DIM)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.vectors, other.vectors)
    np.testing.assert_allclose(np.linalg.norm(first.queries, axis=1), 1, rtol=1e-6)
