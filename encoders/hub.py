"""The hub that weights come from: asked only where it can be reached, and what to do where it cannot."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

from engine.exceptions import UnsupportedError

from .base import require

__all__ = ["cache_alone_if_offline", "missing_weights"]


@contextmanager
def cache_alone_if_offline() -> Iterator[None]:
    """Where the hub's name has no address, huggingface_hub looks into its cache only; it would retry for a minute."""
    constants = require("huggingface_hub.constants", "loading weights")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not has_address(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def has_address(endpoint: str) -> bool:
    """True if the host of a URL can be looked up, or a proxy does that."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(endpoint).hostname, 443)
    except OSError:
        return False
    return True


def missing_weights(name: str, source: str, error: Exception) -> UnsupportedError:
    """Says where the weights of the encoder `name` come from and where to put them."""
    return UnsupportedError(
        f"the weights of {name!r} are not on this machine and cannot be fetched ({error}): where there is a network, "
        f"download {source}, then pass weights='<the file>', or copy the hub's cache folder (HF_HOME, by default "
        "~/.cache/huggingface) to this machine"
    )
