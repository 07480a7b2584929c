"""Work on several machines, with Ray: `pip install 'nearfield[ray]'`."""

from .encode import collect, encode

__all__ = ["collect", "encode"]
