"""How far a run is: counts, JSON lines, and what is no kind of progress."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import engine
from engine import progress as module
from engine.exceptions import InvalidArgumentError
from engine.progress import Progress


def test_a_line_says_done_total_skipped_rate_and_time(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.5, 101.7, 104.0])
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    with Progress(10, "image", "json") as progress:
        for n, skipped in ((3, 0), (1, 1), (4, 1)):
            progress.update(n, skipped=skipped)
    lines = [json.loads(line)["progress"] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        {"done": 3, "total": 10, "skipped": 0, "per_second": 2.0, "eta_seconds": 3.5},
        {"done": 8, "total": 10, "skipped": 2, "per_second": 2.0, "eta_seconds": 1.0},
    ]


@pytest.mark.parametrize("kind", [True, False])
def test_nothing_is_written_where_nobody_looks(capsys: Any, monkeypatch: pytest.MonkeyPatch, kind: bool) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    with Progress(2, "text", kind) as progress:
        progress.update(2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["JSON", 1, None])
def test_what_is_no_kind_of_progress(kind: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"progress is .*, expected True or False, or 'json'"):
        Progress(1, "text", kind)


def test_collections_say_how_far_they_are(tmp_path: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import encoders

    monkeypatch.setattr(module, "EVERY", 0.0)
    for i in range(5):
        Image.fromarray(np.full((4, 4, 3), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "torn.png").write_bytes(b"no image")
    engine.Collection.from_images(tmp_path, encoders.get("pixels"), batch_size=2, progress="json")
    engine.Collection.from_texts(["a b", "c d"], encoders.get("hashing"), progress="json")
    lines = [json.loads(line)["progress"] for line in capsys.readouterr().err.splitlines()]
    assert [line["done"] for line in lines] == [2, 4, 6, 2]
    assert [line["skipped"] for line in lines] == [0, 0, 1, 0]
    assert {line["total"] for line in lines} == {6, 2}
