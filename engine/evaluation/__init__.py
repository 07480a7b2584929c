"""Judging: labels that were predicted, ids that were found, and the exact answer to compare with."""

from .brute_force import ground_truth
from .classification import ClassReport, accuracy, class_report, top_k_accuracy
from .filtered import filtered_ground_truth
from .fscil import FSCILReport, fscil, fscil_sessions
from .retrieval import label_recall_at_k, recall_at_k, recall_per_query

__all__ = [
    "ClassReport",
    "FSCILReport",
    "accuracy",
    "class_report",
    "filtered_ground_truth",
    "fscil",
    "fscil_sessions",
    "ground_truth",
    "label_recall_at_k",
    "recall_at_k",
    "recall_per_query",
    "top_k_accuracy",
]
