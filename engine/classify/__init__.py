"""Classification as retrieval: labels without training."""

from .knn import KNNClassifier

__all__ = ["KNNClassifier"]
