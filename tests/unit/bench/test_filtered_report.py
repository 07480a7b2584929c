from __future__ import annotations

from typing import Any

from records import DATA, RUN, built

from bench.filtered_report import report
from bench.report import MET, MISSED


def cell(correlation: str = "none", selectivity: float = 0.01, k: int = 10) -> dict[str, Any]:
    return {
        "figure": "cell", "data": "wordnet", "kind": "equality", "correlation": correlation, "selectivity": selectivity,
        "k": k, "passing": selectivity, "local": selectivity / 2, "n_filters": 9, "n_queries": 100, "group": 0,
    }  # fmt: skip


def point(library: str, speed: float, of: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What a library did in a cell: 100 queries at `speed` a second, half of it with the filter counted."""
    common = {
        **(of or cell()),
        "figure": "point",
        "library": library,
        "value": 10,
        "separate": True,
        "ways": {"exact": 9},
    }
    good = {"recall": 1.0, "worst_bucket": 0.97, "complete": 1.0, "valid": 1.0}
    times = {"p50_s": 1e-3, "p99_s": 2e-3, "seconds": [100 / speed], "seconds_in": [200 / speed]}
    return {**common, **good, **times, **more}


def lines(*records: dict[str, Any]) -> dict[str, str]:
    judged = [line for line in report([RUN, DATA, *records]).splitlines() if line.startswith((MET, MISSED))]
    return dict(line.rsplit(": ", 1) for line in judged)


def grid(*ratios: float) -> list[dict[str, Any]]:
    """A cell for each ratio of our speed to numpy's."""
    records = []
    for k, ratio in enumerate(ratios, 1):
        here = cell(k=k)
        records += [here, point("nearfield", 100 * ratio, here), point("numpy", 100, here)]
    return records


def test_speed_is_judged_in_every_cell() -> None:
    found = lines(*grid(2, 5, 5, 5, 6, 7, 8, 2.5, 2.2, 9))
    assert found[f"{MET} at least 5x the best peer in 70 % of the cells, filter ready"] == "70%"
    assert found[f"{MET} at least 2x the best peer in every cell, filter ready"] == "at worst 2.00x"
    found = lines(*grid(1.99, 4.9, 5))
    assert found[f"{MISSED} at least 5x the best peer in 70 % of the cells, filter counted"] == "33%"
    assert found[f"{MISSED} at least 2x the best peer in every cell, filter counted"] == "at worst 1.99x"


def test_only_peers_that_find_enough_are_compared_with() -> None:
    fast = point("faiss-hnsw", 10_000, recall=0.949)
    exact = point("nearfield-exact", 20_000)
    slow = point("zvec", 50, recall=0.95)
    found = lines(cell(), point("nearfield", 500), fast, exact, slow)
    assert found[f"{MET} at least 2x the best peer in every cell, filter ready"] == "at worst 10.00x"
    text = report([RUN, DATA, cell(), point("nearfield", 500), fast])
    assert "speed, filter ready: not judged, no peer reached 0.95" in text
    assert "(0.95)" in text  # what it reached, in its column, where the others have their speed


def test_what_we_do_not_find_counts_as_no_speed() -> None:
    found = lines(cell(), point("nearfield", 500, recall=0.9), point("numpy", 1))
    assert found[f"{MISSED} at least 2x the best peer in every cell, filter ready"] == "at worst 0.00x"
    assert found[f"{MISSED} recall at least 0.99 in every cell"].startswith("0 of 1, at worst 0.9000 (equality, none")


def test_the_way_we_choose_is_judged_by_the_others_we_have() -> None:
    records = []
    for k, faster in enumerate([0.5, 1, 1.5, 1, 1, 1, 1, 1, 1, 2.9], 1):
        here = cell(k=k)
        records += [here, point("nearfield", 100, here), point("nearfield-exact", 100 * faster, here)]
    found = lines(*records)
    assert found[f"{MET} within 1.5x of our best way to search in 90 % of the cells"] == "90%"
    assert found[f"{MET} within 3x of our best way to search in 100 % of the cells"] == "at worst 2.90x"
    found = lines(*records, cell(k=20), point("nearfield", 1, cell(k=20)), point("nearfield-exact", 3.1, cell(k=20)))
    assert found[f"{MISSED} within 1.5x of our best way to search in 90 % of the cells"] == "82%"
    assert found[f"{MISSED} within 3x of our best way to search in 100 % of the cells"] == "at worst 3.10x"
    assert "not judged, no other way was measured" in report([RUN, DATA, *grid(9)])


def test_rows_that_are_missing_or_do_not_pass_are_seen() -> None:
    for wrong in ({"complete": 0.99}, {"valid": 0.5}):
        found = lines(*grid(9), cell(k=50), point("nearfield", 1, cell(k=50), **wrong))
        assert found[f"{MISSED} min(k, matches) rows that pass in every cell"] == "1 of 2"


def test_the_worst_cell_comes_first_and_those_without_a_peer_last() -> None:
    alone = cell(k=100)
    records = [alone, point("nearfield", 1, alone), *grid(5, 0.5, 3)]
    text = report([RUN, DATA, *records])
    rows = [line.split() for line in text.splitlines() if line.startswith("equality")]
    assert [row[4] for row in rows[:4]] == ["2", "3", "1", "100"]
    assert [row[4] for row in rows[4:]] == ["100", "1", "2", "3"]  # the table of libraries is in the order of the grid


def test_who_is_missing_or_fails_is_told_once() -> None:
    missing = {**built("scann"), "missing": "not installed"}
    failed = [{**cell(k=k), "figure": "point", "library": "zvec", "missing": "no sets"} for k in (1, 10)]
    text = report([RUN, DATA, missing, built("nearfield"), built("zvec"), *grid(9), *failed])
    assert "scann is missing: not installed" in text
    assert "zvec failed in 2 cells, first equality none 0.01 k=1: no sets" in text
    assert "not judged, nearfield was not measured" in report([RUN, DATA, cell(), point("numpy", 1)])
    gone = {"figure": "data", "data": "wordnet", "missing": "it is not there"}
    assert "DATA wordnet: not measured, it is not there" in report([RUN, gone])


def test_quick_runs_say_so() -> None:
    assert "QUICK RUN" in report([{**RUN, "quick": True}, DATA, *grid(9)])
