"""Collections against a dict of rows: filters see the rows as they are now, folders keep them as committed."""

from __future__ import annotations

import copy
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine import Collection, InvalidArgumentError, UnsupportedError, _segments, col

DIM = 8
WORDS = ["red", "green", "blue", "grün"]
years = st.none() | st.integers(2018, 2024)
labels = st.none() | st.sampled_from(WORDS)
tags = st.none() | st.lists(st.sampled_from(WORDS), max_size=3, unique=True).map(tuple)
PREDICATES: list[tuple[Any, Any]] = [
    (col("year") > 2020, lambda row: row["year"] is not None and row["year"] > 2020),
    ("label = 'red' OR year IS NULL", lambda row: row["label"] == "red" or row["year"] is None),
    ({"label": {"$in": ["blue", "grün"]}}, lambda row: row["label"] in ("blue", "grün")),
    (col("tags").contains("green"), lambda row: "green" in (row["tags"] or ())),
    (~(col("label") == "red"), lambda row: row["label"] not in (None, "red")),
]


class Rows(RuleBasedStateMachine):
    kind: str

    @initialize(seed=st.integers(0, 2**32 - 1))
    def start(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        schema: Any = {"year": "int64", "label": "keyword", "tags": "keywords"}
        self.collection = self.created(schema)
        self.rows: dict[int, dict[str, Any]] = {}

    def created(self, schema: Any) -> Collection:
        return Collection.create(dim=DIM, kind=self.kind, schema=schema)  # type: ignore[arg-type]

    def some(self, data: st.DataObject, *, least: int = 0) -> list[int]:
        known = sorted(self.rows)
        return data.draw(st.lists(st.sampled_from(known), unique=True, min_size=least, max_size=20)) if known else []

    def drawn(self, data: st.DataObject, n: int) -> tuple[np.ndarray[Any, Any], list[dict[str, Any]]]:
        row = st.fixed_dictionaries({"year": years, "label": labels, "tags": tags})
        vectors = self.rng.integers(-9, 10, size=(n, DIM)).astype(np.float32) + np.float32(0.5)
        return vectors, data.draw(st.lists(row, min_size=n, max_size=n))

    def keep(self, ids: Any, vectors: Any, attributes: list[dict[str, Any]]) -> None:
        for key, vector, row in zip(np.asarray(ids).tolist(), vectors, attributes, strict=True):
            self.rows[key] = {**row, "vector": vector}

    @rule(data=st.data(), n=st.integers(1, 30))
    def add(self, data: st.DataObject, n: int) -> None:
        vectors, attributes = self.drawn(data, n)
        self.keep(self.collection.add(vectors, attributes=attributes), vectors, attributes)

    @rule(data=st.data(), fresh=st.lists(st.integers(10**6, 10**6 + 20), unique=True, max_size=4))
    def upsert(self, data: st.DataObject, fresh: list[int]) -> None:
        ids = [*self.some(data), *(key for key in fresh if key not in self.rows)]
        if ids:
            vectors, attributes = self.drawn(data, len(ids))
            self.keep(self.collection.upsert(vectors, ids, attributes=attributes), vectors, attributes)

    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        ids = self.some(data)
        if ids:
            new = data.draw(st.lists(years, min_size=len(ids), max_size=len(ids)))
            self.collection.update(ids, {"year": new})
            for key, year in zip(ids, new, strict=True):
                self.rows[key]["year"] = year

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        ids = self.some(data, least=1)
        if ids:
            assert self.collection.delete(ids) == len(ids)
            for key in ids:
                del self.rows[key]

    @rule(which=st.sampled_from(PREDICATES))
    def delete_where(self, which: tuple[Any, Any]) -> None:
        gone = [key for key, row in self.rows.items() if which[1](row)]
        if len(gone) < len(self.rows) / 2:
            assert self.collection.delete(filter=which[0]) == len(gone)
            for key in gone:
                del self.rows[key]

    @rule(data=st.data(), what=st.sampled_from(["update", "upsert", "add", "delete"]))
    def fail(self, data: st.DataObject, what: str) -> None:
        ids = [*self.some(data), 5 * 10**6]
        vectors = np.ones((len(ids), DIM))
        wrong = {"year": ["x"] * len(ids)}
        if what == "upsert":
            vectors[-1] = np.nan
        change: dict[str, Callable[[], object]] = {
            "update": lambda: self.collection.update(ids, {"year": [1] * len(ids)}),
            "upsert": lambda: self.collection.upsert(vectors, ids),
            "add": lambda: self.collection.add(vectors, attributes=wrong),
            "delete": lambda: self.collection.delete(ids),
        }
        with pytest.raises(InvalidArgumentError):
            change[what]()

    @rule()
    def copy(self) -> None:
        self.collection = pickle.loads(pickle.dumps(self.collection))

    @rule()
    def optimize(self) -> None:
        """A graph drops what was removed and puts its rows into another order."""
        self.collection.optimize()
        assert sorted(self.collection.index.ids.tolist()) == sorted(self.rows)

    @invariant()
    def answers(self) -> None:
        self.check(self.collection, self.rows)

    def check(self, collection: Collection, rows: dict[int, dict[str, Any]]) -> None:
        assert sorted(collection.index.ids.tolist()) == sorted(rows)
        assert len(collection) == len(rows)
        if not rows:
            return
        query = np.full(DIM, 0.5, np.float32)
        query[0] = 3.5
        for predicate, passes in PREDICATES:
            allowed = {key for key, row in rows.items() if passes(row)}
            assert collection.count(predicate) == len(allowed)
            found = collection.search(query, k=5, filter=predicate, exact=True, columns=["year", "label", "tags"])
            ids = [key for key in found.ids[0].tolist() if key >= 0]
            assert len(ids) == min(5, len(allowed))
            assert allowed.issuperset(ids)
            for name in ("year", "label", "tags"):
                assert found.attributes[name][0].tolist()[: len(ids)] == [rows[key][name] for key in ids]
        each = collection.search([query] * 3, k=5, filter=[PREDICATES[0][0], None, PREDICATES[0][0]], exact=True)
        alone = collection.search(query, k=5, filter=PREDICATES[0][0], exact=True)
        assert each.ids.tolist() == [
            *alone.ids.tolist(),
            *collection.search(query, 5, exact=True).ids.tolist(),
            *alone.ids.tolist(),
        ]


class Stored(Rows):
    """In a folder, where versions stay as they were committed."""

    def created(self, schema: Any) -> Collection:
        self.folder = Path(tempfile.mkdtemp())
        self.versions: dict[int, dict[int, dict[str, Any]]] = {1: {}}
        return Collection.create(self.folder / "c", dim=DIM, kind=self.kind, schema=schema)  # type: ignore[arg-type]

    def teardown(self) -> None:
        self.collection.close()
        shutil.rmtree(self.folder)

    @rule()
    def copy(self) -> None:
        with pytest.raises(UnsupportedError, match="cannot be copied"):
            pickle.dumps(self.collection)

    @rule()
    def commit(self) -> None:
        version = self.collection.commit()
        assert version in (max(self.versions), max(self.versions) + 1)
        self.versions[version] = copy.deepcopy(self.rows)
        sizes = [len(segment) for segment in self.collection.index.segments]  # type: ignore[attr-defined]
        assert all(size > 2 * sum(sizes[i + 1 :]) for i, size in enumerate(sizes[:-1]) if i or self.kind == "exact")

    @rule()
    def rollback(self) -> None:
        self.collection.rollback()
        self.rows = copy.deepcopy(self.versions[max(self.versions)])

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = Collection.open(self.folder / "c", mode="w")
        self.rows = copy.deepcopy(self.versions[max(self.versions)])

    @rule(back=st.integers(0, 5))
    def travel(self, back: int) -> None:
        version = max(self.versions) - back
        kept = [number for number in sorted(self.versions) if number >= max(self.versions) - 4]
        assert self.collection.versions == kept
        if version in kept:
            opened = Collection.open(self.folder / "c", version=version)
            assert opened.version == version
            self.check(opened, self.versions[version])
            self.check(pickle.loads(pickle.dumps(opened)), self.versions[version])
        else:
            with pytest.raises(InvalidArgumentError, match="expected one that is kept"):
                Collection.open(self.folder / "c", version=version)


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_a_collection_is_its_rows(kind: str) -> None:
    machine = type("Rows", (Rows,), {"kind": kind}).TestCase
    machine.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
    machine("runTest").runTest()


@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_a_folder_is_what_was_committed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_segments, "FOLD", 40)
    machine = type("Stored", (Stored,), {"kind": kind}).TestCase
    machine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
    machine("runTest").runTest()
