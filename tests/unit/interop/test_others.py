"""engine.interop: indexes of faiss and hnswlib, there and back, with the answers that they give themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine import CorruptIndexError, StorageError, UnsupportedError
from engine.interop import from_faiss, from_hnswlib, to_faiss, to_hnswlib

VECTORS = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
IDS = np.random.default_rng(2).permutation(1000)[:60].astype(np.int64)


def filled(metric: Any) -> engine.Index:
    index = engine.Index(8, metric=metric)
    index.add(VECTORS, IDS)
    return index


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_faiss(metric: Any, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    index = filled(metric)
    theirs = to_faiss(index)
    faiss.write_index(theirs, str(tmp_path / "x.faiss"))
    _, found = theirs.search(VECTORS[:9] / np.linalg.norm(VECTORS[:9], axis=1, keepdims=True), 5)
    unit = VECTORS[:9] / np.linalg.norm(VECTORS[:9], axis=1, keepdims=True)
    np.testing.assert_array_equal(found, index.search(unit, 5).ids)
    for given in (theirs, tmp_path / "x.faiss"):
        again = from_faiss(given)
        assert again.metric == ("l2" if metric == "l2" else "ip")
        np.testing.assert_array_equal(again.search(unit, 5).ids, found)


def test_faiss_of_many_kinds(tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    for description in ("Flat", "HNSW8", "IVF4,Flat"):
        theirs = faiss.index_factory(8, description)
        theirs.train(VECTORS)
        theirs.add(VECTORS)
        ours = from_faiss(theirs, kind="graph")
        assert (ours.kind, ours.ids.tolist()) == ("graph", list(range(60)))
        np.testing.assert_array_equal(ours.get(np.arange(60)), VECTORS)
    assert len(from_faiss(faiss.IndexFlatL2(8))) == 0
    with pytest.raises(UnsupportedError, match="metric"):
        from_faiss(faiss.IndexFlat(8, faiss.METRIC_L1))
    (tmp_path / "x").write_bytes(b"nothing of the sort")
    with pytest.raises(CorruptIndexError, match="faiss can read"):
        from_faiss(tmp_path / "x")


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_hnswlib(metric: Any, tmp_path: Path) -> None:
    pytest.importorskip("hnswlib")
    index = filled(metric)
    theirs = to_hnswlib(index)
    theirs.save_index(str(tmp_path / "x"))
    again = from_hnswlib(tmp_path / "x", 8, metric=metric)
    assert (again.kind, again.metric, sorted(again.ids.tolist())) == ("graph", metric, sorted(IDS.tolist()))
    np.testing.assert_array_equal(again.search(VECTORS[:9], 5, recall=1).ids, index.search(VECTORS[:9], 5).ids)
    theirs.set_ef(60)
    np.testing.assert_array_equal(theirs.knn_query(VECTORS[:9], 5)[0], index.search(VECTORS[:9], 5).ids)
    with pytest.raises(StorageError, match="no such file"):
        from_hnswlib(tmp_path / "none", 8)
