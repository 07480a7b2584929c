"""Models that turn images and texts into vectors; the heavy frameworks are imported on first use.

>>> import encoders
>>> pixels = encoders.get("pixels", size=8)
>>> pixels.dim
65
"""

from __future__ import annotations

from . import clip, dino, features, hashing, onnx, pixels, sbert
from .base import BaseEncoder, EncoderSpec
from .cache import CachedEncoder
from .clip import ClipEncoder
from .dino import DinoEncoder
from .features import TorchFeatureExtractor
from .hashing import HashingEncoder
from .noise import NoiseSpec
from .onnx import OnnxEncoder
from .pixels import PixelEncoder
from .preprocess import Preprocess
from .registry import available, get, register
from .sbert import SbertEncoder
from .scan import LayerScore, scan_layers

__all__ = [
    "BaseEncoder",
    "CachedEncoder",
    "ClipEncoder",
    "DinoEncoder",
    "EncoderSpec",
    "HashingEncoder",
    "LayerScore",
    "NoiseSpec",
    "OnnxEncoder",
    "PixelEncoder",
    "Preprocess",
    "SbertEncoder",
    "TorchFeatureExtractor",
    "available",
    "clip",
    "dino",
    "features",
    "get",
    "hashing",
    "onnx",
    "pixels",
    "register",
    "sbert",
    "scan_layers",
]
