"""A library that keeps no checksums, and trials that end badly; for processes of their own."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from bench.peers.durable import Durable

__all__ = ["Careless", "endangered", "trial"]


def endangered(worker: int) -> None: ...


def trial(state: None, seed: int) -> str:
    if seed == 1:
        os._exit(3)
    if seed == 2:
        time.sleep(60)
    if seed == 3:
        raise ValueError(seed)
    return "fine"


class Careless(Durable):
    loses = False

    def __init__(self, vectors: Any) -> None:
        self.inner = vectors

    @classmethod
    def create(cls, path: str, dim: int) -> Careless:
        return cls(np.zeros((0, dim), np.float32))

    @classmethod
    def open(cls, path: str, dim: int) -> Careless:
        with open(path, "rb") as file:
            return cls(np.frombuffer(file.read(), np.float32).reshape(-1, dim))

    def add(self, ids: Any, vectors: Any) -> None:
        if not (self.loses and len(self)):
            self.inner = np.concatenate([self.inner, vectors])

    def save(self, path: str) -> None:
        with open(path, "wb") as file:
            file.write(self.inner.tobytes())

    def search(self, queries: Any, k: int) -> tuple[Any, Any]:
        distances = ((queries[:, None] - self.inner) ** 2).sum(axis=2)
        ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return ids, np.take_along_axis(distances, ids, 1)
