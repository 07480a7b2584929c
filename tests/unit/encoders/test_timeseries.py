"""Shapelets of time series: METHODS 9.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encoders
import engine
from encoders import ShapeletEncoder
from encoders.timeseries import cid, important_points, information_gain
from engine.classify import KNNClassifier
from engine.exceptions import InvalidArgumentError, NotBuiltError, StorageError

BUMP = 3 * np.hanning(12)


def planted(rng: np.random.Generator, n: int, length: int = 60, at: int = 25, shift: int = 3) -> tuple[Any, Any]:
    """Noise; in every other series a bump about `at`."""
    X, y = 0.2 * rng.standard_normal((n, length)), np.arange(n) % 2
    for row in np.flatnonzero(y):
        start = at + int(rng.integers(-shift, shift + 1))
        X[row, start : start + 12] += BUMP
    return X, y


def test_a_planted_pattern_is_found(rng: np.random.Generator) -> None:
    X, y = planted(rng, 40)
    encoder = ShapeletEncoder(3, window=10).fit(X, y)
    best = next(shapelet for shapelet in encoder.shapelets_ if shapelet.label == 1)
    assert best.gain == pytest.approx(1.0)
    assert best.values.max() > 1  # it holds the top of the bump, which begins at 25 + or - 3
    assert best.start <= 34
    assert best.start + len(best.values) >= 28
    X_test, y_test = planted(rng, 60)
    clf = KNNClassifier(1, metric="l2").fit(encoder.encode_series(X), y)
    assert clf.score(encoder.encode_series(X_test), y_test) >= 0.95


def test_the_window_says_where_to_look(rng: np.random.Generator) -> None:
    X, y = planted(rng, 30, shift=0)
    moved = np.roll(X, 25, axis=1)
    near, everywhere = (ShapeletEncoder(1, window=window).fit(X, y) for window in (3, None))
    column = [shapelet.label for shapelet in near.shapelets_].index(1)
    found = [encoder.encode_series(moved)[y == 1, column] for encoder in (near, everywhere)]
    assert found[0].min() > 2 * found[1].max()


def test_a_series_is_at_no_distance_from_what_was_cut_from_it(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((20, 2, 50)), np.arange(20) % 4
    for window in (None, 0, 5):
        encoder = ShapeletEncoder(4, window).fit(X, y)
        vectors = encoder.encode_series(X)
        assert vectors.shape == (20, encoder.dim)
        for column, shapelet in enumerate(encoder.shapelets_):
            stop = shapelet.start + len(shapelet.values)
            assert (X[shapelet.row, shapelet.channel, shapelet.start : stop] == shapelet.values).all()
            assert vectors[shapelet.row, column] == 0
        labels = [shapelet.label for shapelet in encoder.shapelets_]
        assert labels == sorted(labels)
        assert max(map(labels.count, labels)) <= 4


def test_distances_are_the_least_over_all_places(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((12, 40)), np.arange(12) % 2
    for window in (None, 4):
        encoder = ShapeletEncoder(2, window).fit(X, y)
        for column, s in enumerate(encoder.shapelets_):
            last = 40 - len(s.values)
            low, high = (0, last) if window is None else (max(0, s.start - window), min(last, s.start + window))
            for row, x in enumerate(X):
                parts = [x[place : place + len(s.values)] for place in range(low, high + 1)]
                c = lambda v: np.sqrt((np.diff(v) ** 2).sum() + 1e-3)  # noqa: E731
                expected = min(
                    np.linalg.norm(part - s.values) * max(c(part), c(s.values)) / min(c(part), c(s.values))
                    for part in parts
                )
                assert encoder.encode_series([x])[0, column] == pytest.approx(expected, rel=1e-5), row


def test_complexity_makes_no_distance_smaller(rng: np.random.Generator) -> None:
    windows, values = rng.standard_normal((100, 9)), rng.standard_normal(9)
    assert (cid(windows, values) >= np.linalg.norm(windows - values, axis=1) - 1e-12).all()
    flat = np.zeros(9)
    assert np.isfinite(cid(windows, flat)).all()
    assert cid(flat[None], flat)[0] == 0


def test_the_important_point_of_a_triangle_is_its_apex() -> None:
    triangle = np.concatenate([np.arange(7.0), np.arange(5.0, -20, -1)])
    assert important_points(triangle, 3).tolist() == [0, 6, 31]
    assert important_points(triangle, 10).tolist() == [0, 6, 31]  # all others lie on the lines
    zigzag = [0.0, 5, 0, -3, 0]
    assert important_points(zigzag, 4).tolist() == [0, 1, 3, 4]
    assert important_points([1.0, 1, 1, 1], 4).tolist() == [0, 3]


def test_important_points_stand_out_most(rng: np.random.Generator) -> None:
    y = rng.standard_normal(30)
    x = np.arange(30) / np.arange(30).std()
    for n in range(3, 12):
        before, now = important_points(y, n - 1), important_points(y, n)
        (added,) = set(now) - set(before)

        def off(point: int, before: Any = before) -> float:
            right = np.searchsorted(before, point)
            if before[right] == point:
                return 0.0
            a, b = (np.array([x[i], y[i]]) for i in (before[right - 1], before[right]))
            p = np.array([x[point], y[point]]) - a
            return float(abs(p[0] * (b - a)[1] - p[1] * (b - a)[0]) / np.linalg.norm(b - a))

        assert off(added) == pytest.approx(max(map(off, range(30))))


def test_information_gain() -> None:
    inside = np.array([True, True, False, False])
    assert information_gain(np.array([0.0, 1, 2, 3]), inside) == 1
    assert information_gain(np.array([1.0, 1, 1, 1]), inside) == 0
    half = np.array([True, False, True, False])
    best = 1 - 3 / 4 * -(1 / 3 * np.log2(1 / 3) + 2 / 3 * np.log2(2 / 3))
    assert information_gain(np.array([0.0, 1, 2, 3]), half) == pytest.approx(best)
    assert information_gain(np.array([0.0, 1, 1, 1]), inside) == pytest.approx(best)


def test_overlapping_shapelets_are_dropped(rng: np.random.Generator) -> None:
    X, y = planted(rng, 10)
    spans: dict[Any, set[int]] = {}
    for s in ShapeletEncoder(100).fit(X, y).shapelets_:
        places = set(range(s.start, s.start + len(s.values)))
        assert not places & spans.setdefault((s.label, s.row), set())
        spans[s.label, s.row] |= places


def test_series_may_differ_in_length(rng: np.random.Generator) -> None:
    X, y = planted(rng, 20)
    ragged = [x[: 50 + row % 3] for row, x in enumerate(X)]
    encoder = ShapeletEncoder(2).fit(ragged, y)
    together = encoder.encode_series(ragged)
    alone = np.concatenate([encoder.encode_series([x]) for x in ragged])
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert (encoder.encode_series(np.asarray(X)[:, None]) == encoder.encode_series(X)).all()


def test_the_same_again(rng: np.random.Generator, tmp_path: Path) -> None:
    X, y = planted(rng, 20)
    one, same, other = (ShapeletEncoder(2, max_candidates=20, random_state=seed).fit(X, y) for seed in (0, 0, 1))
    assert one.fingerprint == same.fingerprint != other.fingerprint != ShapeletEncoder().fingerprint
    one.save(tmp_path / "shapelets.json")
    again: Any = encoders.get(f"timeseries:{tmp_path / 'shapelets.json'}")
    assert again.fingerprint == one.fingerprint
    assert (again.encode_series(X) == one.encode_series(X)).all()
    collection = engine.Collection.create(encoder=one)
    collection.add(one.encode_series(X), attributes={"label": y.tolist()})
    collection.encoder = again
    with pytest.raises(engine.EncoderMismatchError):
        collection.encoder = other
    (tmp_path / "shapelets.json").write_text("{}")
    with pytest.raises(InvalidArgumentError, match="holds no shapelets"):
        ShapeletEncoder.load(tmp_path / "shapelets.json")
    with pytest.raises(StorageError, match="cannot read shapelets"):
        ShapeletEncoder.load(tmp_path)
    with pytest.raises(StorageError, match="cannot write"):
        one.save(tmp_path)


def test_bad_series(rng: np.random.Generator) -> None:
    X, y = planted(rng, 10)
    encoder = ShapeletEncoder(2).fit(X, y)
    for bad, message in [
        ([X[0], X[1, :4]], r"X\[1\] has length 4, expected the longest shapelet's"),
        ([X[0], X[:2]], r"X\[1\] has 2 channels, expected 1 as the first"),
        ([X[:2]], r"X\[0\] has 2 channels, expected 1"),
        ([X[0, :2]], r"X\[0\] has shape \(1, 2\)"),
        ([], "expected at least one series"),
        (None, "expected at least one series"),
        ([None], r"X\[0\]"),
        ([np.full(60, np.nan)], r"X\[0\] holds what is not finite"),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            encoder.encode_series(bad)
    with pytest.raises(NotBuiltError, match="call fit first"):
        ShapeletEncoder().encode_series(X)
    with pytest.raises(engine.UnsupportedError, match="takes no texts"):
        encoder.encode_documents(["a"])


def test_lines_have_no_shapelet(rng: np.random.Generator) -> None:
    X, y = planted(rng, 10)
    X[y == 0] = 5.0
    with pytest.warns(UserWarning, match=r"classes \[0\] have no shapelet"):
        encoder = ShapeletEncoder(2).fit(X, y)
    assert np.isfinite(encoder.encode_series(X)).all()
    with pytest.raises(InvalidArgumentError, match="straight lines only"):
        ShapeletEncoder().fit(np.ones((4, 9)), [0, 0, 1, 1])


@pytest.mark.parametrize(
    "options",
    [{"n_per_class": 0}, {"window": -1}, {"n_pip": 0}, {"n_pip": 1.5}, {"n_pip": np.nan}, {"max_candidates": 0}],
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{next(iter(options))} is"):
        ShapeletEncoder(**options)


def test_bad_labels(rng: np.random.Generator) -> None:
    X, y = planted(rng, 10)
    for labels, message in [(y[:9], "expected 10"), (y * 0, "one class only"), (y + 0.5, "expected strings or int")]:
        with pytest.raises(InvalidArgumentError, match=message):
            ShapeletEncoder().fit(X, labels)
