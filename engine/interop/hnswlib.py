"""Indexes of hnswlib."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .._validate import as_choice, as_count, as_path
from ..exceptions import CorruptIndexError, StorageError
from ..index import Index
from ..types import IndexKind, Metric
from .vectors import imported

__all__ = ["from_hnswlib", "to_hnswlib"]

SPACES: dict[Metric, str] = {"cosine": "cosine", "ip": "ip", "l2": "l2"}


def from_hnswlib(
    path: str | os.PathLike[str], dim: int, *, metric: Metric = "cosine", kind: IndexKind = "graph"
) -> Index:
    """The vectors of a file of hnswlib under their labels, in an index of ours.

    Parameters
    ----------
    path : path_like
        What ``save_index`` wrote. It is read by hnswlib, which may crash on a file that is damaged.
    dim : int
        Length of the vectors, which the file does not say.
    metric : {"cosine", "ip", "l2"}
        The space of the index, which the file does not say either. Under cosine hnswlib has normalised the vectors.
    kind : {"graph", "exact"}
        Of the result. Links are made anew.

    Raises
    ------
    UnsupportedError
        hnswlib is not installed.
    CorruptIndexError
        hnswlib cannot read the file, or it is of another dim.
    """
    hnswlib = imported("hnswlib", "hnswlib")
    as_choice(metric, "metric", tuple(SPACES))
    name, dim = as_path(path), as_count(dim, "dim")
    if not os.path.isfile(name):
        raise StorageError(2, "cannot read index: no such file", name)
    index = hnswlib.Index(SPACES[metric], dim)
    try:
        index.load_index(name)
        ids = np.array(index.get_ids_list(), np.int64)
        vectors = np.array(index.get_items(ids), np.float32).reshape(len(ids), dim)
    except (RuntimeError, ValueError) as error:
        raise CorruptIndexError(f"{name} is not an index of dim {dim} that hnswlib can read: {error}") from None
    result = Index(dim, metric=metric, kind=kind)
    if len(ids):
        order = np.argsort(ids)
        result.add(vectors[order], ids[order])
    return result


def to_hnswlib(index: Index, *, M: int = 16, ef_construction: int = 200) -> Any:
    """The rows of an index as one of hnswlib, under their ids: its ``save_index`` saves it."""
    hnswlib = imported("hnswlib", "hnswlib")
    result = hnswlib.Index(SPACES[index.metric], index.dim)
    ids = index.ids
    result.init_index(max_elements=max(1, len(ids)), M=M, ef_construction=ef_construction)
    if len(ids):
        result.add_items(index.get(ids), ids)
    return result
