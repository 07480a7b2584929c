"""Draws the recall-QPS curves of a run; needs matplotlib, the extra `plot`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .ann_report import RECALLS, Race, is_ours
from .curves import front

__all__ = ["plot"]


def plot(races: Iterable[Race], path: Path) -> list[Path]:
    """Draw one picture for each data set and k, named after `path`.

    Returns
    -------
    list of Path
        The PNG files.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    written = []
    for race in races:
        if not race.curves:
            continue
        figure = Figure(figsize=(9, 6), layout="constrained")
        axes = figure.add_subplot(xscale="log", yscale="log", xlim=(0.5, 2e-4))
        for name, points in race.curves.items():
            # A recall of 1 has no place on this axis: it is drawn at its end.
            curve = [(max(1 - point.recall, 2e-4), point.qps) for point in front(points)]
            axes.plot(*zip(*curve, strict=True), marker="o", label=name, linewidth=2.5 if is_ours(name) else 1.2)
        axes.set_xticks([1 - recall for recall in RECALLS], [f"{recall:g}" for recall in RECALLS])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(f"recall@{race.k}")
        axes.set_ylabel("queries a second, one at a time, 1 thread")
        axes.set_title(f"{race.facts['data']}: {race.facts['rows']:,} x {race.facts['dim']}, {race.facts['metric']}")
        axes.grid(alpha=0.3)
        axes.legend()
        written.append(path.with_name(f"{path.stem}-{race.facts['data']}-k{race.k}.png"))
        figure.savefig(written[-1], dpi=130)
    return written
