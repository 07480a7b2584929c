"""Classification as retrieval: labels without training."""

from .knn import KNNClassifier
from .prototypes import TEEN, NearestClassMean, calibrate_prototypes

__all__ = ["TEEN", "KNNClassifier", "NearestClassMean", "calibrate_prototypes"]
