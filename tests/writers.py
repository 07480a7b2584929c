"""A writer that goes on for ever, and readers that know what it has written."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from folders import add, check, vectors_of

from engine import Collection

__all__ = ["ids_of", "read", "write"]


def ids_of(version: int) -> Any:
    """What is in each version of `write`."""
    return np.arange(7 * max(0, version - 10), 40 * (version - 1))


def write(path: Path, version: int, told: Any = None) -> None:
    """Go on from `version`; tell that, and each that `commit` has returned."""
    collection = Collection.open(path, mode="w")
    assert collection.version == version
    if told:
        told.send(version)
    while True:
        now, then = ids_of(version), ids_of(version + 1)
        collection.delete(np.setdiff1d(now, then))
        add(collection, np.setdiff1d(then, now))
        version = collection.commit()
        if told:
            told.send(version)
        if version % 50 == 0:
            collection.optimize()


def read(path: Path, seconds: float, answers: Any) -> None:
    """Compare version after version with what must be in it; answer how many."""
    rng = np.random.default_rng(os.getpid())
    until, n = time.monotonic() + seconds, 0
    try:
        while time.monotonic() < until:
            opened = Collection.open(path)
            ids = ids_of(opened.version)
            check(opened, ids)
            if len(ids) >= 5:
                queries = vectors_of(rng.uniform(0, 1000, 10))
                squares = ((queries[:, None] - vectors_of(ids)) ** 2).sum(axis=2)
                found = opened.search(queries, k=5)
                assert np.allclose(found.distances, np.sort(squares, axis=1)[:, :5], atol=1e-5)
                assert np.allclose(found.distances, np.take_along_axis(squares, found.ids - ids[0], 1), atol=1e-5)
            n += 1
        answers.put(n)
    except BaseException as error:
        answers.put(repr(error))
