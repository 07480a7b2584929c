"""What the benchmarks search: real sentence embeddings where they are found, made-up clusters elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset", "data_folder", "load"]

ROWS, QUERIES, DIM = 116_659, 1_000, 384


@dataclass(frozen=True)
class Dataset:
    """Unit rows to search, and queries that are not among them.

    Attributes
    ----------
    name : str
        Says where the vectors come from.
    vectors : ndarray, shape (n, dim), float32
    queries : ndarray, shape (n_queries, dim), float32
    """

    name: str
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]


def data_folder() -> Path:
    """The folder of evaluation data: NEARFIELD_DATA, or ../shared/data beside the checkout."""
    return Path(os.environ.get("NEARFIELD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def load(rows: int | None = None, *, seed: int = 0) -> Dataset:
    """WordNet's sentence embeddings, or clusters of the same shape where they are missing.

    Parameters
    ----------
    rows : int, optional
        Keep only so many. Default: all 116,659.
    seed : int, default 0
        Of the made-up clusters.

    Examples
    --------
    >>> data = load(100)
    >>> data.vectors.shape, data.vectors.dtype
    ((100, 384), dtype('float32'))
    """
    folder = data_folder() / "wordnet"
    try:
        vectors = np.load(folder / "base.f16.npy", mmap_mode="r")[:rows]
        queries = np.load(folder / "query.f16.npy")
        name = "wordnet: sentence embeddings of its synsets"
    except FileNotFoundError:
        vectors, queries = clusters(ROWS if rows is None else min(rows, ROWS), seed)
        name = f"synthetic: clusters of seed {seed}, since {folder} is missing; set NEARFIELD_DATA for real vectors"
    return Dataset(name, unit(vectors), unit(queries))


def clusters(rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows and queries around common centres, some of them far more popular than others."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((500, DIM), dtype=np.float32)
    share = 1 / np.arange(1, 501)
    drawn = rng.choice(500, rows + QUERIES, p=share / share.sum())
    points = centres[drawn] + rng.standard_normal((rows + QUERIES, DIM), dtype=np.float32)
    return points[QUERIES:], points[:QUERIES]


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """`vectors` as float32, each of length 1."""
    rows = np.array(vectors, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
