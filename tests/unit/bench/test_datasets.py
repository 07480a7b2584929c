from __future__ import annotations

import gzip
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


def test_fewer_clustered_rows_are_the_first_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "CHUNK", 100)
    few, many = datasets.named("clustered", 150), datasets.named("clustered-100k", 320)
    np.testing.assert_array_equal(few.vectors, many.vectors[:150])
    np.testing.assert_array_equal(few.queries, many.queries)
    assert not np.array_equal(many.vectors[:100], many.vectors[100:200])
    assert not np.array_equal(few.vectors, datasets.named("clustered", 150, seed=1).vectors)
    np.testing.assert_allclose(np.linalg.norm(many.vectors, axis=1), 1, rtol=1e-5)


def test_fashion_comes_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    images = rng.integers(0, 256, (6, 784), np.uint8)
    (tmp_path / "fashion-mnist").mkdir()
    for part, rows in (("train", images[:4]), ("t10k", images[4:])):
        packed = gzip.compress(bytes(16) + rows.tobytes())
        (tmp_path / "fashion-mnist" / f"{part}-images-idx3-ubyte.gz").write_bytes(packed)
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    data = datasets.named("fashion", 3)
    assert data.metric == "l2"
    np.testing.assert_array_equal(data.vectors, images[:3].astype(np.float32))
    np.testing.assert_array_equal(data.queries, images[4:].astype(np.float32))


def test_a_missing_data_set_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="NEARFIELD_DATA"):
        datasets.named("wordnet")
