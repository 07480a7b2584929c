"""Models that turn images and texts into vectors; the heavy frameworks are imported on first use.

>>> import encoders
>>> pixels = encoders.get("pixels", size=8)
>>> pixels.dim
65
"""

from __future__ import annotations

from . import descriptions, features, hashing, pixels, sbert
from .base import BaseEncoder, EncoderSpec, available, get, register
from .cache import CachedEncoder
from .features import TorchFeatureExtractor
from .hashing import HashingEncoder
from .noise import NoiseSpec
from .pixels import PixelEncoder
from .preprocess import Preprocess
from .sbert import SbertEncoder
from .scan import LayerScore, scan_layers

__all__ = [
    "BaseEncoder",
    "CachedEncoder",
    "EncoderSpec",
    "HashingEncoder",
    "LayerScore",
    "NoiseSpec",
    "PixelEncoder",
    "Preprocess",
    "SbertEncoder",
    "TorchFeatureExtractor",
    "available",
    "descriptions",
    "features",
    "get",
    "hashing",
    "pixels",
    "register",
    "sbert",
    "scan_layers",
]
