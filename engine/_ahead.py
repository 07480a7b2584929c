"""Work done before it is asked for, in threads, so that it overlaps with what the caller does meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead", "one_ahead"]

S = TypeVar("S")
T = TypeVar("T")


def ahead(work: Callable[[S], T], items: Iterable[S], *, workers: int, most: int) -> Iterator[T]:
    """`work` of each item, in their order; `workers` threads stay up to `most` items ahead.

    Examples
    --------
    >>> list(ahead(len, ["a", "bb"], workers=2, most=1))
    [1, 2]
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    waiting: deque[Future[T]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """`items`; a thread makes the next one while the caller has the one before.

    Examples
    --------
    >>> list(one_ahead(iter([1, 2])))
    [1, 2]
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]
