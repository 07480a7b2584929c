"""Beyond the known classes: new classes among unlabelled rows, and classes that only their domains tell apart."""

from .clusters import NCDKMeans, NCDSpectralClustering, estimate_n_classes, hidden_class_folds
from .relations import class_relation, known_gate, sinkhorn_assign
from .shift import LatentLabelShift, unmix

__all__ = [
    "LatentLabelShift",
    "NCDKMeans",
    "NCDSpectralClustering",
    "class_relation",
    "estimate_n_classes",
    "hidden_class_folds",
    "known_gate",
    "sinkhorn_assign",
    "unmix",
]
