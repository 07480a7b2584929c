"""Packages that only some functions need, imported on first use."""

from __future__ import annotations

import importlib
from typing import Any

from .exceptions import UnsupportedError

__all__ = ["require"]


def require(module: str, what: str, extra: str = "sklearn") -> Any:
    """`module`, imported now because `what` needs it; it comes with the extra `extra`.

    Examples
    --------
    >>> require("json", "this example").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedError(f"{what} needs {module} ({error}): pip install 'nearfield[{extra}]'") from error
