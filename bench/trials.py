"""Trials that may crash or hang: in processes of their own, of which a new one follows each that ends so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

from .measure import MeasureError, Worker

__all__ = ["outcomes"]

STARTING = Lock()  # a worker inherits the environment, which is not that of another meanwhile


def outcomes(
    make_state: Callable[..., Any],
    args: Sequence[Any],
    trial: Callable[[Any, int], str],
    seeds: Sequence[int],
    *,
    limit_s: float = 60,
    n_workers: int = 1,
) -> dict[str, list[int]]:
    """What came of each trial, and of which.

    Parameters
    ----------
    make_state : callable
        A module-level function; called with `args`, and the number of the worker, once in each process.
    args : sequence
    trial : callable
        A module-level function of the state and a seed, which says in a few words what came of it.
    seeds : sequence of int
        One for each trial.
    limit_s : float, default 60
        Seconds after which a trial hangs.
    n_workers : int, default 1
        Processes at a time.

    Returns
    -------
    dict of str to list of int
        The words, among them those for a process that died, a trial that hung and an error that it raised, with the
        seeds that led to them.

    Examples
    --------
    >>> outcomes(str, ["x"], str.count, [], n_workers=2)
    {}
    """

    def some(number: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        worker: Worker | None = None
        for seed in seeds[number::n_workers]:
            if worker is None:
                with STARTING:
                    worker = Worker(make_state, *args, number, n_threads=1)
            try:
                found.append((worker.run(trial, seed, limit_s=limit_s), seed))
            except MeasureError as error:
                found.append((str(error).strip().splitlines()[-1], seed))
                if not worker.alive:
                    worker.close()
                    worker = None
        if worker:
            worker.close()
        return found

    with ThreadPoolExecutor(n_workers) as pool:
        every = [pair for part in pool.map(some, range(n_workers)) for pair in part]
    by_outcome: dict[str, list[int]] = {}
    for outcome, seed in sorted(every, key=lambda pair: pair[1]):
        by_outcome.setdefault(outcome, []).append(seed)
    return by_outcome
