"""Classification as retrieval: labels without training."""

from .descriptions import DescriptionClassifier
from .knn import KNNClassifier
from .prototypes import TEEN, NearestClassMean, calibrate_prototypes
from .templates import IMAGENET_7, IMAGENET_80
from .zeroshot import ZeroShotClassifier

__all__ = [
    "IMAGENET_7",
    "IMAGENET_80",
    "TEEN",
    "DescriptionClassifier",
    "KNNClassifier",
    "NearestClassMean",
    "ZeroShotClassifier",
    "calibrate_prototypes",
]
