"""nearfield: certified exact vector search, filters, and classification as retrieval.

Importing this loads numpy and the compiled core only; `engine.classify`, `engine.evaluation` and their like, and all
heavy packages, come on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._core import Bitmap, isa
from .exact import topk
from .exceptions import (
    CorruptIndexError,
    EncoderMismatchError,
    EngineError,
    InvalidArgumentError,
    LockedError,
    NotBuiltError,
    StorageError,
    UnsupportedError,
)
from .index import Index
from .protocols import Encoder
from .types import Plan, RangeResult, SearchResult, SearchStats

if TYPE_CHECKING:
    from . import classify, discovery, distributed, evaluation, filters, interop, limit, mining, multivector
    from .attributes import Attributes
    from .collection import Collection
    from .filters import col, udf

__all__ = [
    "Attributes",
    "Bitmap",
    "Collection",
    "CorruptIndexError",
    "Encoder",
    "EncoderMismatchError",
    "EngineError",
    "Index",
    "InvalidArgumentError",
    "LockedError",
    "NotBuiltError",
    "Plan",
    "RangeResult",
    "SearchResult",
    "SearchStats",
    "StorageError",
    "UnsupportedError",
    "__version__",
    "classify",
    "col",
    "discovery",
    "distributed",
    "evaluation",
    "filters",
    "interop",
    "isa",
    "limit",
    "mining",
    "multivector",
    "topk",
    "udf",
]

__version__ = "0.1.0"

MODULES = (
    "classify", "discovery", "distributed", "evaluation", "filters", "interop", "limit", "mining", "multivector",
)  # fmt: skip
LATER = {"Attributes": ".attributes", "Collection": ".collection", "col": ".filters", "udf": ".filters"}


def __getattr__(name: str) -> Any:
    """Loads the parts that a plain search does not need."""
    if name in MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in LATER:
        return getattr(importlib.import_module(LATER[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
