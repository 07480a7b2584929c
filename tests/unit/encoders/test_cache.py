"""The embedding cache: every item once, whatever happens to the file or the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders import BaseEncoder, CachedEncoder, EncoderSpec, PixelEncoder, get
from encoders.cache import Rows
from engine.exceptions import EncoderMismatchError, InvalidArgumentError, StorageError

DIM = 5


class Counting(BaseEncoder):
    """Vectors from the content alone, and how many items it was asked for."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(EncoderSpec("counting", DIM, settings={"seed": seed}))
        self.seed = seed
        self.n_encoded = 0

    def encode_images(self, images: Sequence[Any]) -> Any:
        return self.encode([image.tobytes() + repr(image.shape).encode() for image in images], 0)

    def encode_queries(self, texts: Sequence[str]) -> Any:
        return self.encode([text.encode() for text in texts], 1)

    def encode_documents(self, texts: Sequence[str]) -> Any:
        return self.encode([text.encode() for text in texts], 2)

    def encode(self, items: list[bytes], side: int) -> Any:
        self.n_encoded += len(items)
        rows = [np.random.default_rng([self.seed, side, *item]).standard_normal(DIM) for item in items]
        return np.array(rows, np.float32).reshape(-1, DIM)


def words(*numbers: int) -> list[str]:
    return [f"word {number}" for number in numbers]


def rows_file(folder: Path) -> Path:
    (file,) = folder.glob("*.rows")
    return file


def test_known_items_are_not_encoded_again(tmp_path: Path) -> None:
    encoder = Counting()
    plain, cached = Counting(), CachedEncoder(encoder, tmp_path)
    for numbers in ([1, 2], [2, 3, 2, 1], [], [4]):
        assert (cached.encode_queries(words(*numbers)) == plain.encode_queries(words(*numbers))).all()
    assert (encoder.n_encoded, cached.n_misses, cached.n_hits) == (4, 4, 3)
    again = CachedEncoder(Counting(), tmp_path)
    assert (again.encode_queries(words(4, 1)) == plain.encode_queries(words(4, 1))).all()
    assert (again.n_misses, again.n_hits) == (0, 2)


def test_sides_and_encoders_are_kept_apart(tmp_path: Path) -> None:
    cached = CachedEncoder(Counting(), tmp_path)
    assert (cached.encode_queries(["a"]) != cached.encode_documents(["a"])).any()
    other = CachedEncoder(Counting(seed=1), tmp_path)
    assert (other.encode_queries(["a"]) != cached.encode_queries(["a"])).any()
    assert other.n_misses == 1


def test_images_are_known_by_pixels_and_shape(tmp_path: Path) -> None:
    cached = CachedEncoder(Counting(), tmp_path)
    wide, tall = np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)
    cached.encode_images([wide, tall, wide[:, ::-1]])
    assert (cached.n_hits, cached.n_misses) == (1, 2)
    changed = wide.copy()
    changed[0, 0, 0] = 1
    cached.encode_images([changed])
    assert cached.n_misses == 3


def test_a_cached_encoder_is_the_encoder_by_all_other_means(tmp_path: Path) -> None:
    cached: Any = get("pixels", cache=tmp_path / "deep" / "cache", size=4)
    plain: Any = get("pixels", size=4)
    assert isinstance(cached, CachedEncoder)
    assert (cached.dim, cached.fingerprint, cached.name) == (plain.dim, plain.fingerprint, "pixels")
    assert cached.options == {"size": 4}


@pytest.mark.parametrize("position", [0, 17, 30, -1])
def test_a_damaged_row_is_encoded_again(tmp_path: Path, position: int) -> None:
    expected = CachedEncoder(Counting(), tmp_path).encode_queries(words(1, 2, 3))
    file = rows_file(tmp_path)
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)
    cached = CachedEncoder(Counting(), tmp_path)
    assert (cached.encode_queries(words(1, 2, 3)) == expected).all()
    assert (cached.n_misses, cached.n_hits) == (1, 2)
    healed = CachedEncoder(Counting(), tmp_path)
    assert (healed.encode_queries(words(1, 2, 3)) == expected).all()
    assert healed.n_misses == 0


def test_every_length_of_a_torn_write_is_survived(tmp_path: Path) -> None:
    expected = CachedEncoder(Counting(), tmp_path).encode_queries(words(1, 2))
    file = rows_file(tmp_path)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        cached = CachedEncoder(Counting(), tmp_path)
        assert (cached.encode_queries(words(1, 2)) == expected).all()
        assert cached.n_hits == length // (len(whole) // 2)
        assert file.stat().st_size == len(whole)


def test_garbage_and_a_file_of_another_encoder_are_not_believed(tmp_path: Path) -> None:
    CachedEncoder(Counting(seed=1), tmp_path / "other").encode_queries(words(1, 2))
    expected = CachedEncoder(Counting(), tmp_path / "own").encode_queries(words(1, 2))
    file = rows_file(tmp_path / "own")
    for content in (os.urandom(1000), rows_file(tmp_path / "other").read_bytes()):
        file.write_bytes(content)
        cached = CachedEncoder(Counting(), tmp_path / "own")
        assert (cached.encode_queries(words(1, 2)) == expected).all()
        assert cached.n_misses == 2


def test_rows_of_others_are_seen_and_a_removed_file_is_no_trouble(tmp_path: Path) -> None:
    one, two = CachedEncoder(Counting(), tmp_path), CachedEncoder(Counting(), tmp_path)
    one.encode_queries(words(1))
    two.encode_queries(words(1, 2))
    one.encode_queries(words(1, 2))
    assert (one.n_misses, two.n_misses) == (1, 1)
    rows_file(tmp_path).unlink()
    assert (one.encode_queries(words(2)) == Counting().encode_queries(words(2))).all()
    assert one.n_misses == 2
    assert (two.encode_queries(words(1, 2)) == Counting().encode_queries(words(1, 2))).all()


WRITER = """
import sys
sys.path[:0] = {paths!r}
from test_cache import Counting, words
from encoders import CachedEncoder
cached = CachedEncoder(Counting(), {folder!r})
print("ready", flush=True)
for start in range({start}, {stop}, 3):
    cached.encode_queries(words(*range(start, start + 3)))
"""


def writer(folder: Path, start: int, stop: int) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    code = WRITER.format(paths=paths, folder=str(folder), start=start, stop=stop)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def check(folder: Path, stop: int) -> int:
    """Every vector is right; how many came from the cache."""
    cached = CachedEncoder(Counting(), folder)
    assert (cached.encode_queries(words(*range(stop))) == Counting().encode_queries(words(*range(stop)))).all()
    return cached.n_hits


def test_writers_at_the_same_time(tmp_path: Path) -> None:
    writers = [writer(tmp_path, 0, 300), writer(tmp_path, 150, 450)]
    assert [process.wait() for process in writers if process.communicate()] == [0, 0]
    assert check(tmp_path, 450) == 450


def test_threads_may_share_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    cached, checksum, waits = CachedEncoder(Counting(), tmp_path), Rows.checksum, rng.uniform(0, 0.001, 97)

    def slow(rows: Rows, key: bytes, vector: Any) -> int:  # other threads come in between two rows
        time.sleep(waits[key[0] % 97])
        return checksum(rows, key, vector)

    def work(numbers: Any) -> None:
        for part in numbers.reshape(-1, 20):
            items = words(*part)
            assert (cached.encode_queries(items) == Counting().encode_queries(items)).all()

    monkeypatch.setattr(Rows, "checksum", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [rng.permutation(200) for _ in range(4)]))
    assert cached.n_hits + cached.n_misses == 4 * 200
    assert check(tmp_path, 200) == 200


def test_writers_killed_at_any_time(tmp_path: Path, rng: np.random.Generator) -> None:
    for _ in range(3):
        process = writer(tmp_path, 0, 10**9)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0.001, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        check(tmp_path, 60)
    assert check(tmp_path, 60) == 60


SLOW = """
import sys
sys.path[:0] = {paths!r}
from test_cache import Slow, words
from encoders import CachedEncoder
CachedEncoder(Slow(), {folder!r}).encode_documents(words(*range({n})))
"""


class Slow(Counting):
    """Takes its time, as models do."""

    def encode(self, items: list[bytes], side: int) -> Any:
        time.sleep(0.005)
        return super().encode(items, side)


def test_a_run_killed_half_way_goes_on_from_there(tmp_path: Path) -> None:
    """One call for all items: what was encoded before the kill, but for one in a hundred, is not encoded again."""
    n = 6400
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    process = subprocess.Popen([sys.executable, "-c", SLOW.format(paths=paths, folder=str(tmp_path), n=n)])
    row, half = 16 + 8 + 4 * DIM, n // 2
    while not (files := list(tmp_path.glob("*.rows"))) or files[0].stat().st_size < half * row:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = files[0].stat().st_size // row
    encoder = Counting()
    vectors = CachedEncoder(encoder, tmp_path).encode_documents(words(*range(n)))
    assert half <= kept < n
    assert encoder.n_encoded == n - kept  # and at most one part, 64, was encoded twice: 1 % of the items
    np.testing.assert_array_equal(vectors, Counting().encode_documents(words(*range(n))))


def test_an_encoder_that_fails_on_the_way_keeps_what_it_did(tmp_path: Path) -> None:
    encoder: Any = Counting()
    given: list[int] = []

    def failing(texts: Sequence[str]) -> Any:
        given.append(len(texts))
        if len(given) == 3:
            raise MemoryError
        return Counting().encode_queries(texts)

    encoder.encode_queries = failing
    with pytest.raises(MemoryError):
        CachedEncoder(encoder, tmp_path).encode_queries(words(*range(1000)))
    assert given == [64, 64, 64]
    assert check(tmp_path, 1000) == 128


def test_an_encoder_that_lies_about_its_shape_is_refused(tmp_path: Path) -> None:
    liar = Counting()
    liar.dim = DIM + 1
    with pytest.raises(EncoderMismatchError, match=r"returned shape \(2, 5\), expected \(2, 6\)"):
        CachedEncoder(liar, tmp_path).encode_queries(["a", "b"])


def test_an_encoder_that_has_changed_is_refused(tmp_path: Path) -> None:
    encoder = Counting()
    cached = CachedEncoder(encoder, tmp_path)
    cached.encode_queries(["a"])
    encoder.fingerprint = "counting:2"
    with pytest.raises(EncoderMismatchError, match=r"was 'counting:.* and is 'counting:2'"):
        cached.encode_queries(["a"])


def test_vectors_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    broken: Any = Counting()
    broken.encode_queries = lambda texts: np.full((len(texts), DIM), np.nan, np.float32)
    assert np.isnan(CachedEncoder(broken, tmp_path).encode_queries(["a"])).all()
    assert (CachedEncoder(Counting(), tmp_path).encode_queries(["a"]) == Counting().encode_queries(["a"])).all()


def test_bad_arguments(tmp_path: Path) -> None:
    bad: Any = "pixels"
    with pytest.raises(InvalidArgumentError, match="encoder is 'pixels', expected an Encoder"):
        CachedEncoder(bad, tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"texts\[0\] is 5"):
        CachedEncoder(Counting(), tmp_path).encode_queries([5])  # type: ignore[list-item]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot make the cache"):
        CachedEncoder(PixelEncoder(), tmp_path / "file")


def test_a_file_that_cannot_be_read_or_written_is_an_error(tmp_path: Path) -> None:
    cached = CachedEncoder(Counting(), tmp_path)
    cached.encode_queries(["a"])
    file = rows_file(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(StorageError, match="cannot read the cache"):
        cached.encode_queries(["a"])
    with pytest.raises(StorageError, match="cannot write the cache"):
        CachedEncoder(Counting(), Path("/proc")).encode_queries(["a"])
