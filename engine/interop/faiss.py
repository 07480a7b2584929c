"""Indexes of faiss."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .._validate import as_path
from ..exceptions import CorruptIndexError, UnsupportedError
from ..index import Index
from ..types import IndexKind
from .vectors import imported

__all__ = ["from_faiss", "to_faiss"]


def from_faiss(index: Any, *, kind: IndexKind = "exact") -> Index:
    """The vectors of an index of faiss under their ids, in an index of ours.

    Parameters
    ----------
    index : faiss.Index or path_like
        Flat, HNSW, IVF or another that can give its vectors back; within ``IndexIDMap`` too. A file is read by faiss,
        which may crash on one that is damaged.
    kind : {"exact", "graph"}
        Of the result. Links are made anew.

    Returns
    -------
    Index
        Of metric "ip" or "l2". What faiss has compressed comes back as it decodes it.

    Raises
    ------
    UnsupportedError
        faiss is not installed; another metric; an index that cannot give its vectors back.
    CorruptIndexError
        faiss cannot read the file.
    """
    faiss = imported("faiss", "faiss-cpu")
    if isinstance(index, (str, os.PathLike)):
        try:
            index = faiss.read_index(as_path(index))
        except RuntimeError as error:
            raise CorruptIndexError(f"{as_path(index)} is not an index that faiss can read: {error}") from None
    metrics: dict[int, Any] = {faiss.METRIC_INNER_PRODUCT: "ip", faiss.METRIC_L2: "l2"}
    if index.metric_type not in metrics:
        raise UnsupportedError(f"index has the metric {index.metric_type} of faiss, expected inner product or L2")
    result = Index(index.d, metric=metrics[index.metric_type], kind=kind)
    mapped = isinstance(index, (faiss.IndexIDMap, faiss.IndexIDMap2))
    ids = faiss.vector_to_array(index.id_map) if mapped else None
    inner = faiss.downcast_index(index.index) if mapped else index  # the outer one owns it
    if isinstance(inner, faiss.IndexIVF):
        inner.make_direct_map()
    try:
        if inner.ntotal:
            result.add(inner.reconstruct_n(0, inner.ntotal), ids)
    except RuntimeError as error:
        name = type(inner).__name__
        raise UnsupportedError(f"index is a {name}, which cannot give its vectors back: {error}") from None
    return result


def to_faiss(index: Index) -> Any:
    """The rows of an index as a flat index of faiss, under their ids: ``faiss.write_index`` saves it.

    Returns
    -------
    faiss.IndexIDMap2
        Under cosine of the inner product of normalised vectors.
    """
    faiss = imported("faiss", "faiss-cpu")
    ids = index.ids
    vectors = index.get(ids)
    if index.metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = faiss.IndexFlatL2(index.dim) if index.metric == "l2" else faiss.IndexFlatIP(index.dim)
    result = faiss.IndexIDMap2(flat)
    result.add_with_ids(vectors, ids)
    return result
