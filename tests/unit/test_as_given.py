"""Arguments that the core takes as they are given, and those that Python looks at first: the answer is the same."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

import engine
from engine import _core
from engine.exceptions import InvalidArgumentError
from engine.types import IndexKind, SearchResult, SearchStats

VECTORS = np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32)
QUERIES = VECTORS[:3] + np.float32(0.1)
EVEN = engine.Bitmap(np.arange(300) % 2 == 0)
PLAIN: dict[str, Any] = {
    "queries": QUERIES,
    "k": 5,
    "recall": 0.9,
    "ef": None,
    "filter": EVEN,
    "n_threads": 1,
    "executor": "auto",
}


@pytest.fixture(scope="module", params=["exact", "graph"])
def index(request: pytest.FixtureRequest) -> engine.Index:
    kind: IndexKind = request.param
    index = engine.Index(6, kind=kind, n_threads=1)
    index.add(VECTORS)
    return index


def core_of(index: engine.Index) -> _core.ExactIndex | _core.GraphIndex:
    return index._core


def unaligned(values: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    raw = np.empty(values.nbytes + 1, np.uint8)[1:]
    raw[:] = values.view(np.uint8).ravel()
    return raw.view(np.float32).reshape(values.shape)


class Whole(int):
    pass


@pytest.mark.parametrize(
    "change",
    [{}, {"queries": QUERIES[0]}, {"filter": None}, {"executor": "exact"}, {"k": 300}, {"k": 301}, {"recall": 1.0}],
    ids=str,
)
def test_what_is_plain_is_taken(index: engine.Index, change: dict[str, Any]) -> None:
    given = PLAIN | change
    taken = core_of(index).search_as_given(*given.values())
    assert taken is not None
    careful = index._search(**given)
    np.testing.assert_array_equal(taken.ids, careful.ids)
    np.testing.assert_array_equal(taken.distances, careful.distances)
    assert taken.ids.shape == (len(np.atleast_2d(given["queries"])), given["k"])
    assert taken.metric == index.metric


@pytest.mark.parametrize(
    "change",
    [
        {"queries": QUERIES.astype(np.float64)},
        {"queries": QUERIES.tolist()},
        {"queries": np.asfortranarray(QUERIES)},
        {"queries": np.repeat(QUERIES, 2, axis=0)[::2]},
        {"queries": unaligned(QUERIES)},
        {"queries": QUERIES.astype(">f4")},
        {"k": np.int64(5)},
        {"k": Whole(5)},
        {"recall": np.float64(0.9)},
        {"recall": 1},
        {"n_threads": np.int32(1)},
        {"filter": np.arange(300) % 2 == 0},
        {"filter": np.arange(0, 300, 2)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_has_to_be_converted_gives_the_same(index: engine.Index, change: dict[str, Any]) -> None:
    assert core_of(index).search_as_given(*(PLAIN | change).values()) is None
    found, expected = index.search(**PLAIN | change), index.search(**PLAIN)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": np.ma.masked_array(QUERIES, QUERIES > 0)}, "queries is a masked array"),
        ({"queries": QUERIES[:0]}, "queries has shape"),
        ({"queries": QUERIES[:, :5].copy()}, "queries has dim 5, expected 6"),
        ({"queries": QUERIES[None]}, "queries has shape"),
        ({"k": True}, "k is True"),
        ({"k": 0}, "k is 0"),
        ({"k": 2**70}, "k is 1180591620717411303424"),
        ({"k": 5.0}, r"k is 5\.0"),
        ({"recall": 0.0}, "recall is 0"),
        ({"recall": 1.01}, r"recall is 1\.01"),
        ({"recall": float("nan")}, "recall is nan"),
        ({"recall": True}, "recall is True"),
        ({"n_threads": 0}, "n_threads is 0"),
        ({"n_threads": 1025}, "n_threads is 1025"),
        ({"filter": "even"}, "filter"),
        ({"filter": engine.Bitmap(np.ones(299, bool))}, "299"),
        ({"executor": "fast"}, "executor is 'fast'"),
        ({"executor": None}, "executor is None"),
        ({"executor": "\ud800"}, "executor is '"),
        ({"executor": "sweep", "filter": None}, "executor is 'sweep'"),
        ({"ef": 10}, "ef"),
        ({"ef": 0, "recall": None}, "ef is 0"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(index: engine.Index, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        index.search(**PLAIN | change)
    np.testing.assert_array_equal(index.search(QUERIES, 1).ids[:, 0], [0, 1, 2])


def test_walks_are_plain_too() -> None:
    graph = engine.Index(6, kind="graph", n_threads=1)
    graph.add(VECTORS)
    ways: list[dict[str, Any]] = [{"executor": "in_filter"}, {"executor": "sweep"}, {"ef": 30, "recall": None}]
    for change in ways:
        taken = core_of(graph).search_as_given(*(PLAIN | change).values())
        assert taken is not None
        np.testing.assert_array_equal(taken.ids, graph._search(**PLAIN | change).ids)


def test_large_results_are_weighed_first(index: engine.Index) -> None:
    many = PLAIN | {"queries": np.repeat(QUERIES, 2000, axis=0), "k": 2800}  # 2**24 places and some
    assert core_of(index).search_as_given(*many.values()) is None
    assert core_of(index).search_as_given(*(many | {"k": 1}).values()) is not None


def test_results_are_those_of_python(index: engine.Index) -> None:
    result = index.search(**PLAIN)
    assert type(result) is SearchResult
    assert type(result.stats) is SearchStats
    assert [field.name for field in dataclasses.fields(result)] == ["ids", "distances", "metric", "stats", "attributes"]
    assert result.attributes == {}
    assert result.attributes is not index.search(**PLAIN).attributes
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.ids = result.ids  # type: ignore[misc]
    for twin in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), dataclasses.replace(result)):
        np.testing.assert_array_equal(twin.ids, result.ids)
        assert twin.stats == result.stats
    assert repr(result.stats).startswith("SearchStats(strategy=")


class Derived(_core.Bitmap):
    pass


class Both(_core.Bitmap, _core.ExactIndex):
    """What the core holds of a second class does not lie where that of an only one does."""

    def __init__(self) -> None:
        _core.Bitmap.__init__(self, np.zeros(300, bool))
        _core.ExactIndex.__init__(self, 6, "cosine", "float32")


def test_derived_classes_are_taken_for_what_they_hold(index: engine.Index) -> None:
    taken = core_of(index).search_as_given(*(PLAIN | {"filter": Derived(np.arange(300) % 2 == 0)}).values())
    assert taken is not None
    np.testing.assert_array_equal(taken.ids, index.search(QUERIES, 5, filter=EVEN, recall=0.9).ids)
    both = Both()
    both.add(VECTORS, None, 1)
    held = both.search_as_given(*PLAIN.values())
    assert held is not None
    assert (held.ids % 2 == 0).all()
    none = core_of(index).search_as_given(*(PLAIN | {"filter": both}).values())
    assert none is not None
    assert (none.ids == -1).all()


def test_methods_without_names_check_what_they_are_called_with(index: engine.Index) -> None:
    core: Any = core_of(index)
    with pytest.raises(TypeError, match="6 arguments, expected 7"):
        core.search_as_given(*list(PLAIN.values())[:-1])
    with pytest.raises(TypeError, match="no keyword arguments"):
        core.search_as_given(**PLAIN)
    with pytest.raises(TypeError, match="search_as_given"):
        type(core).search_as_given(EVEN, *PLAIN.values())
    empty = type(core).__new__(type(core))
    with pytest.raises(TypeError, match="not made by its constructor"):
        empty.search_as_given(*PLAIN.values())
    for kind in (_core.Bitmap, Derived, Both):
        bare: Any = kind.__new__(kind)
        assert core.search_as_given(*(PLAIN | {"filter": bare}).values()) is None
    with pytest.raises(TypeError, match="not made by its constructor"):
        Both.__new__(Both).search_as_given(*PLAIN.values())
