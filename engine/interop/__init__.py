"""Vectors and indexes of others, in and out. Whatever a format needs is imported on first use."""

from __future__ import annotations

from .faiss import from_faiss, to_faiss
from .hnswlib import from_hnswlib, to_hnswlib
from .vectors import Benchmark, read_benchmark, read_vectors, write_vectors

__all__ = [
    "Benchmark",
    "from_faiss",
    "from_hnswlib",
    "read_benchmark",
    "read_vectors",
    "to_faiss",
    "to_hnswlib",
    "write_vectors",
]
