"""Every error the engine raises on purpose.

::

    EngineError
    ├── InvalidArgumentError (ValueError)
    │   └── EncoderMismatchError        a query from another encoder
    ├── NotBuiltError (RuntimeError)    asked before there is anything to answer from
    ├── CorruptIndexError (ValueError)  a file that is not what it should be
    ├── StorageError (OSError)          the disk said no
    │   └── LockedError                 someone else is writing
    └── UnsupportedError (NotImplementedError)

Memory running out stays `MemoryError`, Ctrl-C stays `KeyboardInterrupt`. A message names the argument,
the value and what was expected.
"""

__all__ = [
    "CorruptIndexError",
    "EncoderMismatchError",
    "EngineError",
    "InvalidArgumentError",
    "LockedError",
    "NotBuiltError",
    "StorageError",
    "UnsupportedError",
]


class EngineError(Exception):
    """Base of every error that the engine raises on purpose."""


class InvalidArgumentError(EngineError, ValueError):
    """An argument is not what the function takes; the message says which, its value, and what was expected."""


class EncoderMismatchError(InvalidArgumentError):
    """Vectors of one encoder met an index of another."""


class NotBuiltError(EngineError, RuntimeError):
    """The object holds nothing to answer from yet."""


class CorruptIndexError(EngineError, ValueError):
    """A stored file is damaged, cut short or not one of ours."""


class StorageError(EngineError, OSError):
    """Reading or writing failed; what was stored before is untouched."""


class LockedError(StorageError):
    """Another process holds the write lock."""


class UnsupportedError(EngineError, NotImplementedError):
    """Not available here: another build, machine or version is needed."""
