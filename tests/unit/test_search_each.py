"""Searches with a filter for each query, and rows of ids: in the core, which trusts its caller with little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine import Bitmap, Collection, col
from engine.types import IndexKind

N, DIM = 6000, 16
every_kind = pytest.mark.parametrize("kind", ["exact", "graph"])


def made(kind: IndexKind, n_threads: int) -> tuple[engine.Index, list[Bitmap | None]]:
    """An index that has lost rows, and filters of a few rows to all of them, None among them."""
    rng = np.random.default_rng(0)
    index = engine.Index(DIM, kind=kind, n_threads=n_threads)
    index.add(rng.standard_normal((N, DIM), np.float32))
    index.remove(rng.permutation(N)[:100])
    shares = [0.0, 0.0005, 0.005, 0.05, 0.4, 0.9, 1.0]
    return index, [None, *(Bitmap(rng.random(len(index)) < share) for share in shares)]


@every_kind
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_queries", [1, 5, 300])
def test_each_query_is_answered_as_if_alone(kind: IndexKind, n_threads: int, n_queries: int) -> None:
    """Some filters are those of more than 32 queries, some of one."""
    index, filters = made(kind, n_threads)
    rng = np.random.default_rng(1)
    queries = rng.standard_normal((n_queries, DIM), np.float32)
    chosen = [filters[i] for i in np.minimum(rng.geometric(0.4, n_queries) - 1, len(filters) - 1)]
    found = index._search_each(queries, 7, chosen, 1.0)
    for query, each, ids, distances in zip(queries, chosen, found.ids, found.distances, strict=True):
        alone = index.search(query, 7, filter=each, recall=1.0)
        np.testing.assert_array_equal(ids, alone.ids[0])
        np.testing.assert_array_equal(distances, alone.distances[0])


@every_kind
def test_a_wrong_filter_or_query_is_named_and_nothing_breaks(kind: IndexKind) -> None:
    index, filters = made(kind, 2)
    queries = np.random.default_rng(1).standard_normal((40, DIM), np.float32)
    short = Bitmap(np.ones(len(index) - 1, np.bool_))
    with pytest.raises(engine.InvalidArgumentError, match=f"{len(index) - 1}.*{len(index)}"):
        index._search_each(queries, 3, [*filters[:3], *[short] * 37], 0.9)
    for wrong, message in ((np.nan, r"queries\[31, 4\] is nan"), (0, r"queries\[31\] is a zero vector")):
        bad = queries.copy()
        bad[31] = wrong if wrong == 0 else bad[31]
        bad[31, 4] = wrong
        with pytest.raises(engine.InvalidArgumentError, match=message):
            index._search_each(bad, 3, [filters[3], None] * 20, 0.9)
    with pytest.raises(engine.InvalidArgumentError, match="filters has 3 entries, expected 40"):
        index._core.search_each(queries, 3, 0.9, filters[:3], 1)
    assert index._core.search_each(queries, 3, 0.9, [None] * 40, 0)[0].min() >= 0  # as one thread
    assert index._search_each(np.asfortranarray(queries, np.float64), 3, [None] * 40, 0.9).ids.min() >= 0


@every_kind
def test_rows_of_ids(kind: IndexKind) -> None:
    index, _ = made(kind, 1)
    held = index.ids
    asked = np.concatenate([np.arange(-2, N + 2), [2**62]])
    places = (~index._dead()).rows()
    rows: Any = {int(each): int(place) for place, each in zip(places, held, strict=True)}
    np.testing.assert_array_equal(index._core.find(asked), [rows.get(int(each), -1) for each in asked])
    assert engine.Index(DIM, kind=kind)._core.find(np.array([0, 1])).tolist() == [-1, -1]
    assert index._core.rows_of(np.sort(held[:5])[::-1].copy()).rows().tolist() == [0, 1, 2, 3, 4]


@every_kind
@pytest.mark.parametrize("where", ["memory", "folder"])
def test_a_collection_that_has_lost_rows(kind: IndexKind, where: str, tmp_path: Path) -> None:
    """Its columns are no longer in the order of its index."""
    rng = np.random.default_rng(2)
    collection = Collection.create(tmp_path / "folder" if where == "folder" else None, dim=DIM, kind=kind)
    group = rng.integers(0, 50, N)
    ids = collection.add(rng.standard_normal((N, DIM), np.float32), ids=rng.permutation(N), attributes={"group": group})
    collection.delete(ids[:700])
    group_of = dict(zip(ids.tolist(), group.tolist(), strict=True))
    queries = rng.standard_normal((120, DIM), np.float32)
    asked = [None if i % 50 == 49 else col("group") == i % 50 for i in range(120)]
    found = collection.search(queries, 4, filter=asked, exact=True, columns=["group"])
    for i, each in enumerate(asked):
        alone = collection.search(queries[i], 4, filter=each, exact=True)
        assert found.ids[i].tolist() == alone.ids[0].tolist()
        assert each is None or set(found.attributes["group"][i].tolist()) == {i % 50}
        assert found.attributes["group"][i].tolist() == [group_of[int(each)] for each in found.ids[i]]


def test_many_large_filters_are_not_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.collection.MOST_BITMAP_BYTES", 5000)
    rng = np.random.default_rng(3)
    collection = Collection.create(dim=DIM)
    collection.add(rng.standard_normal((N, DIM), np.float32), attributes={"number": np.arange(N)})
    queries = rng.standard_normal((60, DIM), np.float32)
    asked = [None if i % 7 == 0 else col("number") >= 40 * (i % 50) for i in range(60)]
    found = collection.search(queries, 4, filter=asked)
    for i, each in enumerate(asked):
        assert found.ids[i].tolist() == collection.search(queries[i], 4, filter=each).ids[0].tolist()
    assert found.stats.n_scored > 60 * N / 2


def test_an_encoder_s_vectors_are_taken_as_they_come() -> None:
    """It may return float64, and columns in place of rows."""

    class Doubles:
        name, dim, fingerprint, normalized = "doubles", 2, "1", False

        def encode_documents(self, texts: list[str]) -> Any:
            return np.asfortranarray([[len(text), 1.0] for text in texts])

        encode_queries = encode_documents

        def encode_images(self, images: list[Any]) -> Any:
            raise NotImplementedError

    collection = Collection.from_texts(["a", "bb", "cccc"], Doubles(), metric="l2", attributes={"n": [1, 2, 3]})
    found = collection.search(["xx", "yyy"], 1, filter=[col("n") != 2, None])
    assert found.ids.tolist() == [[0], [1]]
