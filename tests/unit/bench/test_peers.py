from __future__ import annotations

import numpy as np
import pytest

from bench import peers
from bench.datasets import unit
from bench.oracle import Oracle

ALWAYS = ("nearfield", "numpy", "torch", "sklearn")
LIBRARIES = [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.peers) for name in peers.NAMES]


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_finds_the_nearest(name: str, rng: np.random.Generator) -> None:
    adapter = peers.load(name)
    vectors, queries = unit(rng.normal(size=(600, 24))), unit(rng.normal(size=(300, 24)))
    oracle = Oracle(vectors, queries, 10)
    library = adapter(vectors, 2)
    many, one = library.search(queries, 10), library.search(queries[:1], 10)
    shot = adapter.one_shot(vectors, queries[:1], 10, 2)
    assert many.shape == (300, 10)
    assert one.shape == shot.shape == (1, 10)
    for ids in (many, one, shot):
        assert oracle.agreement(ids)["within_float32"] == 1


def test_each_adapter_has_a_distribution() -> None:
    assert peers.version("numpy") == np.__version__


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.NAMES, "nothing", "no-such-distribution")
    assert peers.version("nothing") is None
    with pytest.raises(ImportError):
        peers.load("nothing")
