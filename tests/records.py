"""Records of a benchmark, as its report reads them."""

from __future__ import annotations

from typing import Any

RUN = {
    "figure": "run", "seed": 0, "cpu": "a cpu", "cores": 2, "isa": "avx2", "python": "3.12", "commit": "abc",
    "repeats": 5, "quick": False,
}  # fmt: skip
DATA = {
    "figure": "data", "data": "wordnet", "source": "texts", "rows": 1000, "dim": 100, "metric": "cosine",
    "n_queries": 50, "raw_bytes": 400_000,
}  # fmt: skip


def built(library: str, took: float = 10, index_bytes: int = 500_000, **more: Any) -> dict[str, Any]:
    common = {"figure": "build", "data": "wordnet", "library": library, "version": "1", "threads": 2, "group": 0}
    return {**common, "seconds": [took], "peak_bytes": 1_000_000, "index_bytes": index_bytes, **more}
