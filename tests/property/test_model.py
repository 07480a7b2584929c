"""An index against a dict: random sequences of add, remove, get, search, save and load."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from reference import Rows, check_search, rounded_to

import engine
from engine.types import Metric, VectorDtype

new_ids = st.lists(st.integers(0, 60) | st.integers(2**40, 2**40 + 5), max_size=8)


class IndexModel(RuleBasedStateMachine):
    """`self.model` maps id to vector, as the index should keep it."""

    @initialize(
        dim=st.integers(1, 20),
        metric=st.sampled_from(["cosine", "ip", "l2"]),
        dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
        seed=st.integers(0, 2**32 - 1),
    )
    def create(self, dim: int, metric: Metric, dtype: VectorDtype, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.index = engine.Index(dim, metric=metric, dtype=dtype, n_threads=1)
        self.model: dict[int, Rows] = {}
        self.largest = -1

    def draw(self, n: int) -> Rows:
        """Small integers without zero rows: many duplicates, exact in every dtype."""
        rows = self.rng.integers(-2, 3, (n, self.index.dim)).astype(np.float32)
        rows[~rows.any(axis=1), 0] = 1
        return rows

    def matrix(self) -> Rows:
        return np.array([self.model[i] for i in self.index.ids.tolist()], np.float32).reshape(-1, self.index.dim)

    @rule(n=st.integers(1, 40))
    def add(self, n: int) -> None:
        vectors = self.draw(n)
        ids = self.index.add(vectors).tolist()
        assert ids == list(range(self.largest + 1, self.largest + 1 + n))
        self.model.update(zip(ids, vectors, strict=True))
        self.largest = ids[-1]

    @rule(ids=new_ids)
    def add_with_ids(self, ids: list[int]) -> None:
        vectors = self.draw(len(ids))
        if not ids or len(set(ids)) < len(ids) or self.model.keys() & set(ids):
            with pytest.raises(engine.InvalidArgumentError):
                self.index.add(vectors, ids=ids)
        else:
            assert self.index.add(vectors, ids=ids).tolist() == ids
            self.model.update(zip(ids, vectors, strict=True))
            self.largest = max(self.largest, *ids)

    @rule(n=st.integers(2, 10), wrong=st.sampled_from([np.nan, np.inf]))
    def add_what_cannot_be_added(self, n: int, wrong: float) -> None:
        vectors = self.draw(n)
        vectors[-1, -1] = wrong
        with pytest.raises(engine.InvalidArgumentError):
            self.index.add(vectors)

    @precondition(lambda self: self.model)
    @rule(share=st.floats(0, 1), unknown=st.booleans())
    def remove(self, share: float, unknown: bool) -> None:
        known = sorted(self.model)
        gone = [i for i in known if self.rng.random() < share]
        if unknown:
            with pytest.raises(engine.InvalidArgumentError, match=str(2**50)):
                self.index.remove([*gone, 2**50])
            return
        assert self.index.remove(gone) == len(gone)
        for i in gone:
            del self.model[i]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.model)), min_size=1, max_size=5))
        np.testing.assert_array_equal(self.index.get(ids), np.array([self.model[i] for i in ids]))

    @rule(unknown=st.integers(2**41, 2**42))
    def get_what_is_not_there(self, unknown: int) -> None:
        with pytest.raises(engine.InvalidArgumentError, match=str(unknown)):
            self.index.get([unknown])

    @precondition(lambda self: self.model)
    @rule(k=st.integers(1, 50), n_queries=st.integers(1, 4), masked=st.booleans())
    def search(self, k: int, n_queries: int, masked: bool) -> None:
        queries = self.draw(n_queries)
        mask = self.rng.random(len(self.index)) < 0.5 if masked else None
        result = self.index.search(queries, k, filter=mask)
        check_search(result, queries, self.matrix(), k, self.index.metric, ids=self.index.ids, allowed=mask)

    @rule(mmap=st.booleans())
    def save_and_load(self, mmap: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.nrf")
            self.index.save(path)
            self.index = engine.Index.load(path, mmap=mmap)

    @invariant()
    def same_content(self) -> None:
        if hasattr(self, "index"):
            assert len(self.index) == len(self.model)
            assert sorted(self.index.ids.tolist()) == sorted(self.model)
            np.testing.assert_array_equal(self.matrix(), rounded_to(self.matrix(), self.index.dtype))


IndexModel.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestIndexModel = IndexModel.TestCase
