"""Vectors that hurt: what hypothesis draws for the tests of the core.

Hypothesis chooses sizes, families of rows and a seed; numpy makes the numbers, so that a case of a million numbers
costs nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.types import VectorDtype

Rows = NDArray[np.float32]
Maker = Callable[[np.random.Generator, int, int], NDArray[np.floating]]

TYPICAL_DIMS = (384, 768, 1024, 1536, 4096)
# Largest number of each dtype, and one below which all may round to zero.
LIMITS = {"float32": (float(np.finfo(np.float32).max), 0.0), "float16": (65504.0, 1e-7), "bfloat16": (3.38e38, 1e-40)}


def gaussian(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    return np.asarray(rng.standard_normal((n, dim)))


def unit(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    rows = gaussian(rng, n, dim)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def huge(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    return gaussian(rng, n, dim) * 10.0 ** rng.uniform(15, 37, (n, 1))


def tiny(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    return gaussian(rng, n, dim) * 10.0 ** rng.uniform(-37, -15, (n, 1))


def denormal(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    return np.asarray(rng.integers(-1000, 1001, (n, dim)) * 2.0**-149)


def dominant(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    """One coordinate outweighs all others, so a code with one scale a row keeps nothing of them."""
    rows = gaussian(rng, n, dim)
    rows[:, int(rng.integers(dim))] *= 1e5
    return rows


def constant(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    return np.repeat(rng.choice([-1.0, 0.1, 1 / 3, 1.0, 7.0], (n, 1)), dim, axis=1)


def lattice(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    """Small integers: most distances are equal to others."""
    return rng.integers(-1, 2, (n, dim)).astype(np.float64)


def one_hot(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    return np.asarray(np.eye(dim)[rng.integers(dim, size=n)] * rng.choice([-1.0, 1.0, 3.0], (n, 1)))


def all_scales(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    """Coordinates from 1e-30 to 1e30 in one row."""
    return rng.choice([-1.0, 1.0], (n, dim)) * 10.0 ** rng.uniform(-30, 30, (n, dim))


def cluster(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    """All near one point, far from the origin."""
    return gaussian(rng, 1, dim) * 10 + gaussian(rng, n, dim) * 1e-3


def near_ties(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.floating]:
    """Scores that differ by less than 1e-7."""
    return gaussian(rng, 1, dim) * (1 + gaussian(rng, n, dim) * 3e-8)


FAMILIES: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        gaussian, unit, huge, tiny, denormal, dominant, constant, lattice, one_hot, all_scales, cluster, near_ties
    )
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A search problem; the short repr is what hypothesis prints and `make` repeats."""

    dim: int
    n: int
    n_queries: int
    families: tuple[str, ...]
    seed: int
    dtype: VectorDtype = "float32"

    def make(self) -> tuple[Rows, Rows]:
        """``(vectors, queries)``: no zero rows, all within `dtype`."""
        rng = np.random.default_rng(self.seed)
        makers = [FAMILIES[name] for name in self.families]
        n_all = self.n + self.n_queries
        of_family = rng.integers(len(makers), size=n_all)
        rows = np.empty((n_all, self.dim))
        for number, maker in enumerate(makers):
            rows[of_family == number] = maker(rng, int((of_family == number).sum()), self.dim)
        copies = rng.random(n_all) < 0.2
        rows[copies] = rows[rng.integers(n_all, size=int(copies.sum()))]
        nudged = copies & (rng.random(n_all) < 0.5)
        rows[nudged] *= 1 + 2.0**-23 * rng.integers(-1, 2, (int(nudged.sum()), self.dim))
        largest, least = LIMITS[self.dtype]
        kept = np.clip(rows, -largest, largest).astype(np.float32)
        kept[~(abs(kept) > least).any(axis=1), 0] = 1.0
        return kept[: self.n], kept[self.n :]


def cases(
    *, dims: st.SearchStrategy[int] | None = None, most: int = 300, dtypes: tuple[VectorDtype, ...] = ("float32",)
) -> st.SearchStrategy[Case]:
    """Search problems of up to `most` rows."""
    return st.builds(
        Case,
        dim=st.integers(1, 97) if dims is None else dims,
        n=st.integers(1, most),
        n_queries=st.integers(1, 6),
        families=st.lists(st.sampled_from(sorted(FAMILIES)), min_size=1, max_size=4, unique=True).map(tuple),
        seed=st.integers(0, 2**32 - 1),
        dtype=st.sampled_from(dtypes),
    )


metrics = st.sampled_from(["cosine", "ip", "l2"])
