"""Time series -> how near the patterns of each class come to them.

References
----------
Le et al., *ShapeFormer: Shapelet Transformer for Multivariate Time Series Classification*, KDD 2024 (arXiv:2405.14608),
whose search for shapelets this is; the transformer behind them is not here. Batista et al., *CID: an efficient
complexity-invariant distance for time series*, DMKD 2014.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from engine._validate import as_array, as_count, as_finite, as_path, show
from engine.evaluation._labels import as_labels
from engine.exceptions import InvalidArgumentError, NotBuiltError, StorageError
from engine.storage import write_text

from .base import BaseEncoder, EncoderSpec, Vectors
from .registry import register

__all__ = ["Shapelet", "ShapeletEncoder", "important_points"]

FLOOR = 1e-3  # in the complexity, so that what is constant has one
FEWEST_POINTS = 5
SHORTEST = 3  # values of a shapelet
FORMAT = "nearfield.shapelets/1"
Series = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shapelet:
    """A pattern of a class.

    Attributes
    ----------
    values : ndarray, shape (length,), float64
    label : str or int
    row, channel, start : int
        The series of `fit` that it is cut from, and where.
    gain : float
        Bits by which the distance to it tells its class from the others.
    """

    values: Series
    label: Any
    row: int
    channel: int
    start: int
    gain: float


class ShapeletEncoder(BaseEncoder):
    """The vector of a series: its distance to each of the shapelets that `fit` has found, class by class.

    Candidates lie between the perceptually important points of the series of a class; those whose distance tells the
    class best from the others are kept, of overlapping ones the better.

    Parameters
    ----------
    n_per_class : int, default 10
        Shapelets of each class, fewer where there are no more.
    window : int, optional
        A shapelet is looked for at most so far from where it was cut. Default: everywhere.
    n_pip : float, default 0.2
        Important points of a series, as a share of its length; at least 5.
    max_candidates : int, default 500
        Of a class; if there are more, so many are drawn.
    random_state : int, default 0
        Of the draw.

    Attributes
    ----------
    shapelets_ : list of Shapelet
        One for each dimension of the vectors.

    Notes
    -----
    `fit` takes time in proportion to candidates, series, positions and the length of shapelets. Series may differ in
    length. The distance is complexity-invariant: the Euclidean one, times the ratio of the complexities.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((40, 60)) * 0.1
    >>> y = np.repeat(["flat", "bump"], 20)
    >>> X[20:, 30:40] += np.hanning(10) * 3
    >>> encoder = ShapeletEncoder(n_per_class=2).fit(X, y)
    >>> vectors = encoder.encode_series(X)
    >>> vectors.shape, bool(vectors[20:, 0].max() < vectors[:20, 0].min())
    ((40, 4), True)
    """

    def __init__(
        self,
        n_per_class: int = 10,
        window: int | None = None,
        n_pip: float = 0.2,
        *,
        max_candidates: int = 500,
        random_state: int = 0,
    ) -> None:
        self.n_per_class = as_count(n_per_class, "n_per_class")
        self.window = window if window is None or window == 0 else as_count(window, "window")
        self.n_pip = as_finite(n_pip, "n_pip")
        if not 0 < self.n_pip <= 1:
            raise InvalidArgumentError(f"n_pip is {n_pip}, expected a share above 0 and at most 1")
        self.max_candidates = as_count(max_candidates, "max_candidates")
        self.random_state = random_state
        self.shapelets_: list[Shapelet] = []
        self._identify(0)

    def fit(self, X: Any, y: ArrayLike) -> ShapeletEncoder:
        """Find the shapelets of each class; gives another fingerprint.

        Parameters
        ----------
        X : array_like, shape (n, length) or (n, n_channels, length), or a sequence of arrays of different length
        y : array_like, shape (n,)
            At least two classes.

        Raises
        ------
        InvalidArgumentError
            Series that are none, or differ in their channels; one class alone; no series that has a pattern.

        Warns
        -----
        UserWarning
            Classes whose series are all straight lines, and have no shapelet.
        """
        series = as_series(X, "X")
        labels = as_labels(y, "y", n=len(series))
        classes = np.unique(labels).tolist()
        if len(classes) < 2:
            raise InvalidArgumentError(f"y holds one class only, {classes[0]!r}, expected at least two")
        found: list[Shapelet] = []
        rng = np.random.default_rng(self.random_state)
        for name in classes:
            candidates = [
                (row, channel, start, stop)
                for row in np.flatnonzero(labels == name).tolist()
                for channel, values in enumerate(series[row])
                for start, stop in intervals(values, self.n_pip)
            ]
            if len(candidates) > self.max_candidates:
                drawn = rng.choice(len(candidates), self.max_candidates, replace=False)
                candidates = [candidates[i] for i in np.sort(drawn)]
            found += self._best(candidates, series, labels == name, name)
        if not found:
            raise InvalidArgumentError("X holds straight lines only, expected series with patterns")
        if missing := set(classes) - {shapelet.label for shapelet in found}:
            warnings.warn(f"classes {show(sorted(missing))} have no shapelet: their series are lines", stacklevel=2)
        self.shapelets_ = found
        self._identify(series[0].shape[0])
        return self

    def encode_series(self, X: Any) -> Vectors:
        """Distances of `X`, as for `fit`, to the shapelets, shape (n, n_shapelets).

        Raises
        ------
        InvalidArgumentError
            A series that is shorter than a shapelet, or has other channels.
        """
        if not self.shapelets_:
            raise NotBuiltError("ShapeletEncoder is not fitted: call fit first")
        series = as_series(X, "X")
        longest = max(len(shapelet.values) for shapelet in self.shapelets_)
        for row, values in enumerate(series):
            if len(values) != self.n_channels:
                raise InvalidArgumentError(f"X[{row}] has {len(values)} channels, expected {self.n_channels}")
            if values.shape[1] < longest:
                raise InvalidArgumentError(
                    f"X[{row}] has length {values.shape[1]}, expected the longest shapelet's {longest}"
                )
        stacks = list(stacked(series))
        vectors = [self._distances(s.values, s.channel, s.start, stacks, len(series)) for s in self.shapelets_]
        return np.ascontiguousarray(np.transpose(vectors), np.float32)

    transform = encode_series

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the shapelets to one file of JSON, for `load` and ``encoders.get("timeseries:<file>")``.

        Raises
        ------
        StorageError
            The disk said no.
        """
        entries = [vars(shapelet) | {"values": shapelet.values.tolist()} for shapelet in self.shapelets_]
        data = {"format": FORMAT, "window": self.window, "n_channels": self.n_channels, "shapelets": entries}
        write_text(path, json.dumps(data))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ShapeletEncoder:
        """Read what `save` wrote.

        Raises
        ------
        InvalidArgumentError
            Not that.
        StorageError
            The file cannot be read.
        """
        place = as_path(path)
        try:
            with open(place, encoding="utf-8") as file:
                data = json.load(file)
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r}")
            encoder = cls(window=data["window"])
            encoder.shapelets_ = [
                Shapelet(**entry | {"values": np.array(entry["values"], np.float64)}) for entry in data["shapelets"]
            ]
            encoder._identify(data["n_channels"])
        except OSError as error:
            raise StorageError(error.errno, f"cannot read shapelets: {error.strerror}", place) from error
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidArgumentError(f"{place} holds no shapelets: {error!r}") from None
        return encoder

    def _identify(self, n_channels: int) -> None:
        """Take dim and fingerprint of what is known now."""
        self.n_channels = n_channels
        state = xxhash.xxh3_128()
        for shapelet in self.shapelets_:
            state.update(f"{shapelet.channel}:{shapelet.start}:{len(shapelet.values)};".encode())
            state.update(shapelet.values.tobytes())
        settings = {"window": self.window, "n_channels": n_channels}
        super().__init__(EncoderSpec("timeseries", len(self.shapelets_), state.hexdigest(), settings))

    def _best(
        self, candidates: list[tuple[int, int, int, int]], series: list[Series], inside: NDArray[np.bool_], name: Any
    ) -> list[Shapelet]:
        """The shapelets of the class whose series are `inside`, the best first."""
        stacks = list(stacked(series))
        shapelets = []
        for row, channel, start, stop in candidates:
            values = series[row][channel, start:stop].copy()
            if len(values) <= min(part.shape[2] for _, part in stacks):
                gain = information_gain(self._distances(values, channel, start, stacks, len(series)), inside)
                shapelets.append(Shapelet(values, name, row, channel, start, gain))
        kept: list[Shapelet] = []
        for shapelet in sorted(shapelets, key=lambda shapelet: -shapelet.gain):
            if len(kept) < self.n_per_class and not any(overlap(shapelet, other) for other in kept):
                kept.append(shapelet)
        return kept

    def _distances(
        self, values: Series, channel: int, start: int, stacks: list[tuple[NDArray[np.int64], Series]], n: int
    ) -> Series:
        """How near each series comes to `values` near `start`, shape (n,)."""
        found = np.empty(n)
        for rows, part in stacks:
            last = part.shape[2] - len(values)
            low, high = 0, last
            if self.window is not None:
                low, high = min(max(0, start - self.window), last), min(start + self.window, last)
            windows = sliding_window_view(part[:, channel], len(values), axis=1)[:, low : high + 1]
            found[rows] = cid(windows, values).min(axis=1)
        return found


def important_points(values: ArrayLike, n: int) -> NDArray[np.int64]:
    """The ends of a series and the points that stand out most from the line between their neighbours, `n` in all.

    One after the other, each the farthest from the chord of the points chosen so far; fewer than `n` where all others
    lie on the chords. Time is scaled to unit deviation.

    Examples
    --------
    >>> important_points([0, 1, 2, 3, 2, 1, 0], 3).tolist()
    [0, 3, 6]
    """
    y = np.asarray(values, np.float64)
    x = np.arange(len(y), dtype=np.float64)
    x /= x.std() or 1
    points = [0, len(y) - 1]
    distance = chord_distance(x, y)
    while len(points) < n and distance.max(initial=0) > 1e-12:
        point = int(distance.argmax())
        place = int(np.searchsorted(points, point))
        points.insert(place, point)
        for left, right in ((points[place - 1], point), (point, points[place + 1])):
            distance[left : right + 1] = chord_distance(x[left : right + 1], y[left : right + 1])
    return np.array(points, np.int64)


def chord_distance(x: Series, y: Series) -> Series:
    """Perpendicular distance of each point from the line through the first and the last."""
    dx, dy = x[-1] - x[0], y[-1] - y[0]
    length = np.hypot(dx, dy)
    if len(x) < 3 or not length:
        return np.zeros(len(x))
    return abs(dy * (x - x[0]) - dx * (y - y[0])) / length  # type: ignore[no-any-return]


def intervals(values: Series, n_pip: float) -> list[tuple[int, int]]:
    """Start and end of what lies between three important points in a row."""
    points = important_points(values, max(FEWEST_POINTS, round(n_pip * len(values)))).tolist()
    if len(points) < 3:
        return []
    spans = zip(points, points[2:], strict=False)
    return [(start, stop + 1) for start, stop in spans if stop + 1 - start >= SHORTEST]


def cid(windows: Series, values: Series) -> Series:
    """Complexity-invariant distance of each of `windows`, shape (..., length), from `values`."""
    euclidean = np.sqrt(((windows - values) ** 2).sum(axis=-1))
    one, other = complexity(windows), complexity(values)
    return euclidean * np.maximum(one, other) / np.minimum(one, other)  # type: ignore[no-any-return]


def complexity(values: Series) -> Series:
    return np.sqrt((np.diff(values, axis=-1) ** 2).sum(axis=-1) + FLOOR)  # type: ignore[no-any-return]


def information_gain(distances: Series, inside: NDArray[np.bool_]) -> float:
    """Bits that the best threshold on `distances` tells about who is `inside`."""
    order = np.argsort(distances, kind="stable")
    near = np.cumsum(inside[order])
    n, total = len(inside), int(near[-1])
    splits = np.flatnonzero(np.diff(distances[order]))  # between different distances
    if not len(splits):
        return 0.0
    below = splits + 1
    left, right = entropy(near[splits] / below), entropy((total - near[splits]) / (n - below))
    return float(entropy(np.array(total / n)) - ((below * left + (n - below) * right) / n).min())


def entropy(share: Series) -> Series:
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return np.where((share > 0) & (share < 1), bits, 0.0)


def overlap(one: Shapelet, other: Shapelet) -> bool:
    """True if both are cut from the same values."""
    return (one.row, one.channel) == (other.row, other.channel) and (
        one.start < other.start + len(other.values) and other.start < one.start + len(one.values)
    )


def as_series(value: Any, name: str) -> list[Series]:
    """`value` as series of shape (n_channels, length), all with the same channels."""
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, (str, bytes)) or not len(value):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected at least one series")
    series: list[Series] = []
    for row, given in enumerate(value):
        array = as_array(given, f"{name}[{row}]").astype(np.float64)
        array = array[None, :] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] < SHORTEST or not len(array):
            raise InvalidArgumentError(
                f"{name}[{row}] has shape {array.shape}, expected (length,) or (n_channels, length)"
            )
        if not np.isfinite(array).all():
            raise InvalidArgumentError(f"{name}[{row}] holds what is not finite, expected finite numbers")
        if len(array) != len(series[0] if series else array):
            raise InvalidArgumentError(
                f"{name}[{row}] has {len(array)} channels, expected {len(series[0])} as the first"
            )
        series.append(array)
    return series


def stacked(series: list[Series]) -> Iterator[tuple[NDArray[np.int64], Series]]:
    """Series of one length together: their rows, and an array (n, n_channels, length)."""
    lengths = np.array([values.shape[1] for values in series])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        yield rows, np.stack([series[row] for row in rows])


@register("timeseries", {}, any_model=True)
def load(model: str | os.PathLike[str]) -> ShapeletEncoder:
    """The shapelets in the file `model`, as `ShapeletEncoder.save` writes it."""
    return ShapeletEncoder.load(model)
