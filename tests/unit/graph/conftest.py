"""A graph that is built once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from graphs import DIM, VECTORS, N

import engine


@pytest.fixture(scope="session", name="shared", params=["plain", "fast"])
def built_once(request: pytest.FixtureRequest) -> engine.Index:
    """4,000 rows with even ids; not to be changed."""
    index = engine.Index(DIM, metric="l2", kind="graph", layout=request.param)
    index.add(VECTORS, ids=np.arange(0, 2 * N, 2))
    return index


@pytest.fixture
def index(shared: engine.Index) -> engine.Index:
    """The same, to be changed."""
    return pickle.loads(pickle.dumps(shared))  # type: ignore[no-any-return]
