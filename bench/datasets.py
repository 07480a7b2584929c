"""What the benchmarks search: real sentence embeddings where they are found, made-up clusters elsewhere."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.types import Metric

__all__ = ["NAMED", "Dataset", "at_hand", "data_folder", "load", "named", "wordnet_columns"]

ROWS, QUERIES, DIM = 116_659, 1_000, 384


@dataclass(frozen=True)
class Dataset:
    """Rows to search, and queries that are not among them; unit rows under cosine.

    Attributes
    ----------
    name : str
        Says where the vectors come from.
    vectors : ndarray, shape (n, dim), float32
    queries : ndarray, shape (n_queries, dim), float32
    metric : {"cosine", "l2"}
    """

    name: str
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    metric: Metric = "cosine"


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
    try:
        return wordnet(rows, seed)
    except FileNotFoundError as error:
        vectors, queries = clusters(ROWS if rows is None else min(rows, ROWS), seed)
        return Dataset(f"synthetic: clusters of seed {seed}, since {error}", unit(vectors), unit(queries))


def wordnet(rows: int | None, seed: int) -> Dataset:
    folder = data_folder() / "wordnet"
    try:
        vectors = np.load(folder / "base.f16.npy", mmap_mode="r")[:rows]
        queries = np.load(folder / "query.f16.npy")
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} is missing; set NEARFIELD_DATA for real vectors") from None
    return Dataset("wordnet: sentence embeddings of its synsets", unit(vectors), unit(queries))


def wordnet_columns(rows: int, queries: NDArray[np.int64]) -> tuple[dict[str, list[Any]], list[dict[str, Any]]]:
    """Columns of the first rows, and those of some queries one by one; needs pyarrow.

    ``pos`` is n, v, a or r; ``lexfile`` the number of the lexicographer's file; ``lemmas`` how many; ``depth`` that in
    the tree of hypernyms.
    """
    from pyarrow import parquet

    names = ["pos", "lexfile", "lemmas", "depth"]
    base, own = (
        parquet.read_table(data_folder() / "wordnet" / f"{part}.parquet", columns=names) for part in ("base", "query")
    )
    return base[:rows].to_pydict(), own.take(queries).to_pylist()


def clusters(rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows and queries around common centres, some of them far more popular than others."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((500, DIM), dtype=np.float32)
    share = 1 / np.arange(1, 501)
    drawn = rng.choice(500, rows + QUERIES, p=share / share.sum())
    points = centres[drawn] + rng.standard_normal((rows + QUERIES, DIM), dtype=np.float32)
    return points[QUERIES:], points[:QUERIES]


def fashion(rows: int | None, seed: int) -> Dataset:
    """Fashion-MNIST's 60,000 training images of 28 x 28, searched with the first of its test images."""
    folders = (data_folder() / "fashion-mnist", Path("/usr/share/datasets/fashion-mnist"))
    folder = next((folder for folder in folders if folder.exists()), None)
    if folder is None:
        raise FileNotFoundError(
            f"{folders[0]} and {folders[1]} are missing; the latter comes with Debian's dataset-fashion-mnist"
        )
    vectors, queries = (
        np.frombuffer(gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
        .reshape(-1, 784)[:most]
        .astype(np.float32)
        for part, most in (("train", rows), ("t10k", QUERIES))
    )
    return Dataset("Fashion-MNIST: images as they are", vectors, queries, "l2")


CHUNK = 10_000
CENTRES, LATENT = 2_000, 64


def clustered(rows: int, seed: int) -> Dataset:
    """Clusters in few of their dimensions, as embeddings are: fewer rows are the first of more."""
    rng = np.random.default_rng(seed)
    lift = rng.standard_normal((LATENT, DIM), dtype=np.float32) / np.float32(LATENT**0.5)
    centres = rng.standard_normal((CENTRES, LATENT), dtype=np.float32)
    share = 1 / np.arange(1, CENTRES + 1) ** 0.5  # some are more popular than others
    share /= share.sum()

    def draw(n: int, part: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([seed, part])
        points: NDArray[np.float32] = centres[rng.choice(CENTRES, n, p=share)] + 0.7 * rng.standard_normal(
            (n, LATENT), dtype=np.float32
        )
        points = points @ lift
        points += 0.5 * rng.standard_normal((n, DIM), dtype=np.float32)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return points

    vectors = np.empty((rows, DIM), np.float32)
    for part, at in enumerate(range(0, rows, CHUNK), 1):
        vectors[at : at + CHUNK] = draw(CHUNK, part)[: rows - at]
    return Dataset(f"synthetic: {CENTRES:,} clusters of seed {seed}", vectors, draw(QUERIES, 0))


NAMED: dict[str, Callable[[int | None, int], Dataset]] = {
    "wordnet": wordnet,
    "fashion": fashion,
    "clustered": lambda rows, seed: clustered(rows or 1_000_000, seed),
    "clustered-100k": lambda rows, seed: clustered(min(rows or 100_000, 100_000), seed),
}


def at_hand() -> str:
    """The data set that is real where it is found, or made up in its shape."""
    return "wordnet" if (data_folder() / "wordnet").exists() else "clustered-100k"


def named(name: str, rows: int | None = None, *, seed: int = 0) -> Dataset:
    """A data set of `bench ann`; FileNotFoundError says what is missing where it is not there.

    Examples
    --------
    >>> named("clustered", 100).vectors.shape
    (100, 384)
    """
    return NAMED[name](rows, seed)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """`vectors` as float32, each of length 1."""
    rows = np.array(vectors, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
