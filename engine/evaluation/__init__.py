"""Judging: labels that were predicted, ids that were found, and the exact answer to compare with."""

from .brute_force import ground_truth
from .classification import ClassReport, accuracy, class_report, top_k_accuracy
from .retrieval import label_recall_at_k, recall_at_k

__all__ = [
    "ClassReport",
    "accuracy",
    "class_report",
    "ground_truth",
    "label_recall_at_k",
    "recall_at_k",
    "top_k_accuracy",
]
