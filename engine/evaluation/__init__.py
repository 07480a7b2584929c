"""Judging: labels that were predicted, ids that were found, and the exact answer to compare with."""

from .brute_force import ground_truth
from .candidates import CandidateReport, best_threshold, rank_candidates
from .classification import ClassReport, accuracy, class_report, top_k_accuracy
from .clustering import ari, clustering_accuracy, nmi, pairwise_f1
from .embedding import EmbeddingReport, embedding_report, icn_score
from .filtered import filtered_ground_truth
from .fscil import FSCILReport, fscil, fscil_sessions
from .open_set import auroc, average_precision, fpr_at_tpr, oscr, threshold_at_tpr
from .retrieval import label_recall_at_k, recall_at_k, recall_per_query
from .words import AnalogyReport, analogy, weat
from .zero_shot import RetrievalReport, map_at_r, r_precision, zero_shot_retrieval

__all__ = [
    "AnalogyReport",
    "CandidateReport",
    "ClassReport",
    "EmbeddingReport",
    "FSCILReport",
    "RetrievalReport",
    "accuracy",
    "analogy",
    "ari",
    "auroc",
    "average_precision",
    "best_threshold",
    "class_report",
    "clustering_accuracy",
    "embedding_report",
    "filtered_ground_truth",
    "fpr_at_tpr",
    "fscil",
    "fscil_sessions",
    "ground_truth",
    "icn_score",
    "label_recall_at_k",
    "map_at_r",
    "nmi",
    "oscr",
    "pairwise_f1",
    "r_precision",
    "rank_candidates",
    "recall_at_k",
    "recall_per_query",
    "threshold_at_tpr",
    "top_k_accuracy",
    "weat",
    "zero_shot_retrieval",
]
