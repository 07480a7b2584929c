"""Texts from the caller and from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.exceptions import InvalidArgumentError, StorageError
from engine.texts import as_texts, read_texts


def test_texts_as_list_tuple_array_or_alone() -> None:
    assert as_texts("a", "texts") == ["a"]
    for value in (["a", "é"], ("a", "é"), np.array(["a", "é"])):
        assert as_texts(value, "texts") == ["a", "é"]
    assert all(type(text) is str for text in as_texts(np.array(["a"]), "texts"))
    assert as_texts([], "texts") == []


@pytest.mark.parametrize(
    ("value", "where"),
    [(5, "texts is 5"), (None, "texts is None"), (b"ab", "texts is b'ab'"), (["a", 5], r"texts\[1\] is 5"),
     (["a", None], r"texts\[1\]"), (["\ud800"], "UTF-8"), ({"a": 1}, "texts is"), ([b"a"], r"texts\[0\]")],
)  # fmt: skip
def test_what_is_no_text_is_refused(value: Any, where: str) -> None:
    with pytest.raises(InvalidArgumentError, match=where):
        as_texts(value, "texts")


def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n  two words \nbad \xff byte\nlast \xc3\xa9")
    names, texts, skipped = read_texts(path)
    assert names == ["lines.txt:1", "lines.txt:3", "lines.txt:5"]
    assert texts == ["one", "two words", "last é"]
    assert skipped[0] == ("lines.txt:2", "is blank")
    assert skipped[1][0] == "lines.txt:4"
    assert "not UTF-8" in skipped[1][1]


def test_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/2.TXT").write_text("two\nlines")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "image.png").write_text("no")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    names, texts, skipped = read_texts(tmp_path)
    assert names == ["a.txt", "b/2.TXT"]
    assert texts == ["one", "two\nlines"]
    assert skipped == [("blank.txt", "is blank"), ("gone.txt", "cannot be read: No such file or directory")]


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="expected lines"):
        read_texts(tmp_path)
    (tmp_path / "blank.txt").write_text("\n\n")
    with pytest.raises(InvalidArgumentError, match="expected lines"):
        read_texts(tmp_path / "blank.txt")
    with pytest.raises(StorageError, match="cannot read texts"):
        read_texts(tmp_path / "missing.txt")
