"""Figure 1: files that are damaged are refused, and forged ones do no harm; all in processes that may crash."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import damage
from scales import short_and_long

from bench.trials import outcomes


@short_and_long(20, 10_000)
def test_damage_is_refused(size: int, tmp_path: Path, figure: Any) -> None:
    """In folders opened to read, to write, and to read unverified and then verified; in the file of `save`."""
    expected = [f"{sort}, {mode}: refused" for sort, mode in damage.DAMAGES]
    judge(damage.damaged, expected, size, tmp_path, figure)


@short_and_long(20, 10_000)
def test_forgeries_do_no_harm(size: int, tmp_path: Path, figure: Any) -> None:
    """Checksums are sound. Wrong answers may come of it, but no crash, no hang, no other error, no memory."""
    expected = [f"{sort}, {mode}: harmless" for sort, mode in damage.FORGED]
    judge(damage.forged, expected, size, tmp_path, figure)


def judge(trial: Any, expected: list[str], size: int, root: Path, figure: Any) -> None:
    """`size` trials of each sort, and nothing but what is expected of each."""
    seeds = range(size * len(expected))
    found = outcomes(damage.states, [str(root)], trial, seeds, n_workers=min(2, len(os.sched_getaffinity(0))))
    for what, which in sorted(found.items()):
        figure(1, f"{trial.__name__}: {len(which)} {what}" + ("" if what in expected else f", such as {which[:5]}"))
    assert sorted(found) == sorted(expected)
