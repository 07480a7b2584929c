"""Classification as retrieval: labels without training."""

from .cache_model import TipAdapter
from .descriptions import DescriptionClassifier
from .differential import DifferentialReranker
from .domains import DomainStandardizer
from .knn import KNNClassifier
from .label_free import LabelFreeAdapter, ensemble_logits, select_confident
from .label_metric import FrechetPredictor, LabelMetric, locus, next_class
from .label_vectors import LabelVectorClassifier
from .openset import OpenSetClassifier
from .pairs import PairStore
from .prompts import ProAPOFitness, PromptOptimizer
from .prototypes import TEEN, NearestClassMean, calibrate_prototypes
from .regions import RegionClassifier, multi_scale_crops, nms
from .subclasses import SubclassPrototypes
from .templates import IMAGENET_7, IMAGENET_80
from .vocabulary import VocabularyIndex
from .zeroshot import ZeroShotClassifier

__all__ = [
    "IMAGENET_7",
    "IMAGENET_80",
    "TEEN",
    "DescriptionClassifier",
    "DifferentialReranker",
    "DomainStandardizer",
    "FrechetPredictor",
    "KNNClassifier",
    "LabelFreeAdapter",
    "LabelMetric",
    "LabelVectorClassifier",
    "NearestClassMean",
    "OpenSetClassifier",
    "PairStore",
    "ProAPOFitness",
    "PromptOptimizer",
    "RegionClassifier",
    "SubclassPrototypes",
    "TipAdapter",
    "VocabularyIndex",
    "ZeroShotClassifier",
    "calibrate_prototypes",
    "ensemble_logits",
    "locus",
    "multi_scale_crops",
    "next_class",
    "nms",
    "select_confident",
]
