"""Which layer of a torch module classifies best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._validate import as_count, show
from engine.evaluation._labels import as_labels
from engine.exceptions import InvalidArgumentError
from engine.images import as_images

from .base import Vectors
from .layers import LayerReader, check_module
from .noise import NoiseSpec
from .preprocess import Prepare

if TYPE_CHECKING:
    import torch

__all__ = ["LayerScore", "scan_layers"]

T = TypeVar("T")


@dataclass(frozen=True)
class LayerScore:
    """How well the features of one layer classify."""

    accuracy: float
    layer: str
    t: int
    pool: str
    dim: int


def scan_layers(
    module: torch.nn.Module,
    images: Sequence[NDArray[np.uint8]],
    labels: ArrayLike,
    *,
    preprocess: Prepare,
    layers: Sequence[str] | None = None,
    pools: Sequence[str] = ("gap",),
    noises: Sequence[NoiseSpec | None] = (None,),
    n_noise: int = 1,
    n_neighbors: int = 5,
    batch_size: int = 32,
) -> list[LayerScore]:
    """Leave-one-out k-NN accuracy of every layer, noise and pooling, from one forward pass for each noise.

    Parameters
    ----------
    module, preprocess, n_noise, batch_size
        As for `TorchFeatureExtractor`.
    images : sequence of ndarray
        uint8 RGB.
    labels : array_like, shape (len(images),)
        The class of each image: strings or whole numbers, at least two different ones.
    layers : sequence of str, optional
        Default: all.
    pools : sequence of str, default ("gap",)
        A pooling is left out for a layer whose output it does not fit. So is a layer that the forward pass does not
        call, and one whose output has another first axis than the images.
    noises : sequence of NoiseSpec or None
        Default: the clean image alone.
    n_neighbors : int, default 5
        Voters, fewer where there are no more images. They vote as in `engine.classify.KNNClassifier`.

    Returns
    -------
    list of LayerScore
        Best first; equal ones in the order of `noises`, `layers`, `pools`.

    Raises
    ------
    InvalidArgumentError
        Unknown layer or pooling, nothing that fits, labels that are none or are not one for each image.
    """
    module, checked = check_module(module), as_images(images, "images")
    classes = as_labels(labels, "labels", n=len(checked))
    if len(np.unique(classes)) < 2:
        raise InvalidArgumentError(f"labels holds one class only, {classes.tolist()[0]!r}, expected at least two")
    n_neighbors = min(as_count(n_neighbors, "n_neighbors"), len(checked) - 1)
    names = [name for name, _ in module.named_modules()] if layers is None else listed(layers, "layers")
    pools, noises = listed(pools, "pools"), listed(noises, "noises")
    readers = [
        LayerReader(module, names, pools, preprocess=preprocess, noise=noise, n_noise=n_noise, batch_size=batch_size)
        for noise in noises
    ]
    scores: list[LayerScore] = []
    gave: dict[str, str] = {}
    for reader in readers:
        dims, gave = reader.probe(checked[0])
        found = reader.read(checked) if dims else {}
        t = reader.noise.t if reader.noise else 0
        for layer in reader.layers:
            for pool in reader.pools:
                rows = found.get((layer, pool))
                if (layer, pool) in dims and rows is not None and len(rows) == len(checked):
                    scores.append(LayerScore(accuracy_of(rows, classes, n_neighbors), layer, t, pool, rows.shape[1]))
    if not scores:
        raise InvalidArgumentError(f"pools is {show(pools)}, expected one that fits a layer; they gave {gave}")
    return sorted(scores, key=lambda score: -score.accuracy)


def accuracy_of(vectors: Vectors, labels: NDArray[Any], n_neighbors: int) -> float:
    """Share of rows whose nearest other rows, by cosine, vote for the row's own label."""
    from engine.classify import KNNClassifier

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    # Between unit vectors l2 is twice the distance of the cosine, hence twice the temperature; it takes zero rows too.
    return KNNClassifier(n_neighbors, metric="l2", temperature=0.14).fit(unit, labels).score(None, labels)


def listed(values: Iterable[T], name: str) -> list[T]:
    """`values` as a list that is not empty."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or not (values := list(values)):
        raise InvalidArgumentError(f"{name} is {show(values)}, expected a sequence with at least one entry")
    return values
