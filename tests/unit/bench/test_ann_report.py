from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from records import DATA, RUN, built

from bench.ann_report import races, report
from bench.plot import plot
from bench.report import MET, MISSED


def point(library: str, recall: float, speed: float, **more: Any) -> dict[str, Any]:
    """A point of a curve: 100 queries at `speed` a second; its value is its recall."""
    common = {"figure": "curve", "data": "wordnet", "library": library, "k": 10, "threads": 1, "group": 0}
    rest = {"parameter": "ef", "value": recall, "recall": recall, "n_queries": 100, "seconds": [100 / speed]}
    return {**common, **rest, **more}


def curve(library: str, *speeds: float) -> list[dict[str, Any]]:
    """Points at the recalls that are judged."""
    return [point(library, recall, speed) for recall, speed in zip((0.9, 0.95, 0.99, 0.999), speeds, strict=False)]


def lines(*records: dict[str, Any], data: dict[str, Any] = DATA) -> dict[str, str]:
    """Targets in the report, with what was measured; met or missed is the key's first word."""
    judged = [line for line in report([RUN, data, *records]).splitlines() if line.startswith((MET, MISSED))]
    return dict(line.rsplit(": ", 1) for line in judged)


def test_speed_is_judged_against_hnswlib_and_the_best_peer() -> None:
    peers = curve("hnswlib", 100, 80, 60, 40) + curve("scann", 200, 160, 50, 30)
    found = lines(*peers, *curve("nearfield", 301, 150, 119, 81), *curve("nearfield-float16", 290, 185, 181, 119))
    assert found[f"{MET} recall 0.9: at least 3x hnswlib"] == "3.01x hnswlib (nearfield)"
    assert found[f"{MET} recall 0.99: at least 3x hnswlib"] == "3.02x hnswlib (nearfield-float16)"
    assert found[f"{MISSED} recall 0.999: at least 3x hnswlib"] == (
        "2.98x hnswlib (nearfield-float16); "
        "at the weakest settings nearfield-float16 3448.3 us for 0.90 and hnswlib 10000.0 us for 0.90"
    )
    assert found[f"{MET} recall 0.95: at least 1.1x the best peer"] == "1.16x scann (nearfield-float16)"
    assert found[f"{MET} recall 0.999: the default at least 2x hnswlib"] == "2.02x hnswlib (nearfield)"
    assert found[f"{MISSED} recall 0.99: the default at least 2x hnswlib"].startswith("1.98x hnswlib (nearfield); ")


def test_a_recall_we_do_not_reach_is_missed_and_one_that_nobody_else_does_is_not_judged() -> None:
    found = lines(*curve("hnswlib", 1, 1, 1, 1), *curve("nearfield", 9, 9, 9))
    assert found[f"{MISSED} recall 0.999: at least 3x hnswlib"] == "not reached"
    text = report([RUN, DATA, *curve("hnswlib", 1, 1, 1), *curve("nearfield", 9, 9, 9, 9)])
    assert "recall 0.999: at least 3x hnswlib: not judged, it was not reached by what we compare with" in text


def test_missing_libraries_are_named_and_nothing_is_judged_without_ours() -> None:
    missing = {"figure": "build", "data": "wordnet", "library": "nearfield", "group": 0, "missing": "TypeError: no M"}
    text = report([RUN, DATA, built("hnswlib"), missing, *curve("hnswlib", 1, 1, 1, 1)])
    assert "nearfield is missing: TypeError: no M" in text
    assert "recall 0.9: at least 3x hnswlib: not judged, nearfield is missing" in text
    assert text.endswith("targets met: 0 of 0")


def test_a_data_set_that_is_not_there_is_named() -> None:
    text = report([RUN, {"figure": "data", "data": "fashion", "missing": "no such folder"}])
    assert "DATA fashion: not measured, no such folder" in text


@pytest.mark.parametrize(
    ("took", "speed", "mark"), [(5, 100, MET), (5.1, 100, MISSED), (5, 99, MISSED)], ids=["both", "slow", "worse"]
)
def test_a_build_counts_only_with_equal_curves(took: float, speed: float, mark: str) -> None:
    found = lines(
        built("hnswlib", 10), built("nearfield", took),
        *curve("hnswlib", 100, 100, 100, 100), *curve("nearfield", 100, 100, 100, speed),
    )  # fmt: skip
    expected = f"{took / 10:.2f}x, curves at least {speed / 100:.2f}x"
    assert found[f"{mark} built in at most 0.5x hnswlib's time, at equal or better curves"] == expected


def test_bytes() -> None:
    builds = [
        built("hnswlib"),
        built("nearfield", index_bytes=460_000),
        built("nearfield-compact", index_bytes=200_000),
    ]
    compact, default = (
        "compact at most 0.40x hnswlib's bytes, recall 0.99 reachable",
        "default at most 1.15x the raw float32 bytes",
    )
    found = lines(*builds, *curve("nearfield-compact", 9, 9, 9))
    assert found[f"{MET} {compact}"] == "0.40x, best recall 0.9900"
    assert found[f"{MET} {default}"] == "1.150x, 60 bytes a row beside the vectors"
    found = lines(*builds, *curve("nearfield-compact", 9, 9))
    assert f"{MISSED} {compact}" in found
    assert f"{MISSED} {default}" in lines(built("nearfield", index_bytes=460_001), *curve("nearfield", 1))


def test_batches_are_compared_with_the_same_setting_alone() -> None:
    batch = point("nearfield", 0.95, 190, figure="batch", threads=2)
    what = "batch on 2 threads at least 1.9x one at a time on 1"
    assert lines(*curve("nearfield", 500, 100), batch)[f"{MET} {what}"] == "1.90x"
    assert lines(*curve("nearfield", 500, 101), batch)[f"{MISSED} {what}"] == "1.88x"


def test_a_promised_recall_may_be_missed_by_a_hundredth() -> None:
    what = "k=10: recall asked for reached within 0.01 on unseen queries"
    asked = [point("nearfield", reached, 9, figure="calibrated", value=0.95) for reached in (0.97, 0.94)]
    assert lines(*curve("nearfield", 1), *asked)[f"{MET} {what}"] == "at worst 0.9400 for 0.95 (nearfield)"
    asked.append(point("nearfield-compact", 0.9399, 9, figure="calibrated", value=0.95))
    assert lines(*curve("nearfield", 1), *asked)[f"{MISSED} {what}"] == "at worst 0.9399 for 0.95 (nearfield-compact)"


def test_growth_needs_both_sizes_in_full() -> None:
    def sized(data: str, rows: int, took: float, speed: float) -> list[dict[str, Any]]:
        records = [DATA | {"rows": rows}, built("nearfield", took), point("nearfield", 0.95, speed)]
        return [record | {"data": data} for record in records]

    small, large = sized("clustered-100k", 100_000, 1, 210), sized("clustered", 1_000_000, 13, 100)
    found = lines(*small, *large)
    assert found[f"{MET} QPS at 0.95 falls by less than 2.2x"] == "2.10x"
    assert found[f"{MISSED} build time grows by less than 13x"] == "13.00x"
    assert "GROWTH" not in report([RUN, *small, *sized("clustered", 500_000, 13, 100)])


def test_figures_of_other_ks_are_shown_and_not_judged() -> None:
    records = [record | {"k": 100} for record in curve("hnswlib", 1, 1) + curve("nearfield", 9, 9)]
    text = report([RUN, DATA, built("hnswlib"), *records])
    assert "k=100" in text
    assert "3x hnswlib" not in text


def test_plot_draws_one_picture_for_each_race(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    records = [DATA, *curve("hnswlib", 9, 8, 7, 6), point("hnswlib", 1.0, 5), *curve("nearfield", 20, 19)]
    more = [record | {"k": 1} for record in curve("hnswlib", 9)]
    written = plot(races(records + more), tmp_path / "ann.jsonl")
    assert [path.name for path in written] == ["ann-wordnet-k10.png", "ann-wordnet-k1.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
