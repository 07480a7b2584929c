from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.report import MET, MISSED, read, report, table

RUN = {
    "figure": "run", "rows": 1000, "dim": 100, "k": 10, "seed": 0, "data": "synthetic", "cpu": "a cpu", "cores": 2,
    "isa": "avx2", "python": "3.12", "commit": "abc", "repeats": 5, "quick": False,
}  # fmt: skip
RIGHT = {"identical": 1.0, "within_float32": 1.0}


def raced(figure: str, library: str, took: float, **more: Any) -> dict[str, Any]:
    """A record of 100 queries in `took` seconds."""
    common = {"figure": figure, "library": library, "version": "1", "threads": 2, "n_queries": 100}
    return {**common, "seconds": [took * 0.9, took, took * 1.5], **RIGHT, **more}


def lines(*records: dict[str, Any]) -> dict[str, str]:
    """Targets in the report, with what was measured; met or missed is the key's first word."""
    text = report([RUN, *records]).splitlines()
    judged = [line for line in text if line.startswith((MET, MISSED))]
    return dict(line.rsplit(": ", 1) for line in judged)


def test_table_aligns_numbers_to_the_right() -> None:
    assert table([["a", "n"], ["bcd", "1,000"]]).splitlines() == ["a        n", "bcd  1,000"]


def test_one_at_a_time_is_judged_against_the_fastest_peer() -> None:
    found = lines(raced("single", "nearfield", 1), raced("single", "numpy", 20), raced("single", "faiss", 9))
    assert found[f"{MET} at least 8x the fastest peer"] == "9.00x faiss"
    found = lines(raced("single", "nearfield", 1), raced("single", "numpy", 7.99))
    assert found[f"{MISSED} at least 8x the fastest peer"] == "7.99x numpy"


def test_one_wrong_id_is_not_identical() -> None:
    found = lines(raced("single", "nearfield", 1, identical=0.99), raced("single", "numpy", 20))
    assert found[f"{MISSED} ids identical to float64"] == "99 %"


def test_batch_against_the_peak_of_the_machine() -> None:
    # 100 queries x 1000 rows x 100 dims x 2 operations in 1 s: 20 Mop/s
    ours = raced("batch", "nearfield", 1, int8_peak=[1e9, 25e6, 25e6])
    found = lines(ours, raced("batch", "numpy", 5))
    assert found[f"{MET} at least 65 % of the int8 peak"].startswith("80 %")
    ours["int8_peak"] = [40e6]
    assert f"{MISSED} at least 65 % of the int8 peak" in lines(ours, raced("batch", "numpy", 5))


def test_a_missing_library_is_named() -> None:
    missing = {"figure": "single", "library": "scann", "threads": 1, "n_queries": 100, "missing": "not installed"}
    text = report([RUN, raced("single", "nearfield", 1), missing])
    row = next(line for line in text.splitlines() if line.startswith("scann"))
    assert "not installed" in row
    assert "not judged, no peer ran" in text


def test_memory_under_200_mb() -> None:
    record = {
        "figure": "memory",
        "library": "nearfield",
        "version": "1",
        "threads": 2,
        "n_queries": 9,
        "seconds": [1.0],
    }
    assert lines({**record, "extra_bytes": 199_000_000}) == {f"{MET} under 200 MB": "199.0 MB"}
    assert lines({**record, "extra_bytes": 200_000_000}) == {f"{MISSED} under 200 MB": "200.0 MB"}


def test_masks_in_proportion() -> None:
    def masked(share: float, took: float) -> dict[str, Any]:
        return raced("masks", "nearfield", took, share=share, shape="batch")

    found = lines(masked(1.0, 1.0), masked(0.5, 0.7), masked(0.1, 0.2))
    assert found[f"{MET} 50 % mask, one call: at most 1.5x its share of the unmasked time"] == "1.40x"
    assert found[f"{MISSED} 10 % mask, one call: at most 1.5x its share of the unmasked time"] == "2.00x"
    assert found[f"{MET} never slower than unmasked"] == "0.70x"
    assert lines(masked(1.0, 1.0), masked(0.5, 1.1))[f"{MISSED} never slower than unmasked"] == "1.10x"


def test_one_shot_is_judged_against_faiss_and_numpy_only() -> None:
    shots = [raced("one_shot", name, took) for name, took in (("nearfield", 1.0), ("faiss", 0.95), ("usearch", 0.1))]
    assert lines(*shots)[f"{MET} at most 1.1x the time of faiss or numpy, whichever is faster"] == "1.05x faiss"


def test_few_rows_are_told_apart() -> None:
    found = [
        raced("few", name, took, rows=rows, k=3)
        for rows, name, took in ((20, "nearfield", 2e-4), (20, "faiss", 1e-4), (100, "nearfield", 3e-4))
    ]
    text = report(found)
    assert "among the 20 rows of a raw matrix, 1 thread, k=3" in text
    assert "among the 100 rows of a raw matrix, 1 thread, k=3" in text
    (ours, alone) = [line for line in text.splitlines() if line.startswith("nearfield")]
    assert "0.50x" in ours
    assert "0.50x" not in alone
    assert text.count(f"{MET} ids identical to float64") == 2


def test_codes_and_import() -> None:
    codes = {"figure": "codes", "dtype": "float16", "seconds": [0.6], "codes_nbytes": 71, "float16_nbytes": 100}
    imported = {"figure": "import", "library": "engine", "seconds": [0.1], "heavy": ["torch"]}
    assert lines(codes, imported) == {
        f"{MISSED} float16: at most 0.7x of the float16 bytes": "0.710x",
        f"{MISSED} float16: codes built in under 0.5 s on one core": "0.600 s",
        f"{MET} under 0.3 s": "0.100 s",
        f"{MISSED} none of the heavy packages": "torch",
    }


@pytest.mark.parametrize("quick", [True, False])
def test_a_quick_run_says_so(quick: bool) -> None:
    assert ("QUICK" in report([{**RUN, "quick": quick}])) == quick


def test_records_survive_the_file(tmp_path: Path) -> None:
    records = [RUN, raced("single", "nearfield", 1), raced("single", "numpy", 20)]
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert report(read(path)) == report(records)
    assert report(records).endswith("targets met: 2 of 2")
