"""Models that turn images and texts into vectors; the heavy frameworks are imported on first use.

>>> import encoders
>>> pixels = encoders.get("pixels", size=8)
>>> pixels.dim
65
"""

from __future__ import annotations

from . import clip, descriptions, dino, features, fused, hashing, instruct, onnx, pixels, sbert, timeseries, wordvectors
from .base import BaseEncoder, EncoderSpec
from .cache import CachedEncoder
from .clip import ClipEncoder
from .dino import DinoEncoder
from .features import TorchFeatureExtractor
from .fused import FusionEncoder
from .hashing import HashingEncoder
from .instruct import InstructEncoder
from .noise import NoiseSpec
from .onnx import OnnxEncoder
from .pixels import PixelEncoder
from .pooling import truncate
from .preprocess import Preprocess
from .principal import AllButTheTop
from .registry import available, get, register
from .sbert import SbertEncoder
from .scan import LayerScore, scan_layers
from .timeseries import ShapeletEncoder
from .wordvectors import WordVectorEncoder, WordVectors

__all__ = [
    "AllButTheTop",
    "BaseEncoder",
    "CachedEncoder",
    "ClipEncoder",
    "DinoEncoder",
    "EncoderSpec",
    "FusionEncoder",
    "HashingEncoder",
    "InstructEncoder",
    "LayerScore",
    "NoiseSpec",
    "OnnxEncoder",
    "PixelEncoder",
    "Preprocess",
    "SbertEncoder",
    "ShapeletEncoder",
    "TorchFeatureExtractor",
    "WordVectorEncoder",
    "WordVectors",
    "available",
    "clip",
    "descriptions",
    "dino",
    "features",
    "fused",
    "get",
    "hashing",
    "instruct",
    "onnx",
    "pixels",
    "register",
    "sbert",
    "scan_layers",
    "timeseries",
    "truncate",
    "wordvectors",
]
