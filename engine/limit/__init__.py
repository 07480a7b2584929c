"""Capacity of embeddings: how many sets of documents single vectors can tell apart, and how many yours do.

What the numbers prove, and what they do not, is said in docs/limit.md.
"""

from .baselines import RandomAdditive, RandomMaxSim
from .bounds import dimension_lower_bound, max_gap, max_margin
from .constructions import CyclicEmbedding, SimplexEmbedding, cyclic_embedding, simplex_embedding
from .critical import CRITICAL_N, CriticalN, critical_n, critical_n_fit
from .dataset import LimitDataset, load_limit, make_limit_dataset
from .evaluate import evaluate
from .free import FreeEmbedding
from .patterns import average_query_strength, graph_density, make_qrels
from .realizable import Realizable, realizable_subsets
from .report import CapacityReport, ReportRow, capacity_report
from .words import BM25, SparseWords

__all__ = [
    "BM25",
    "CRITICAL_N",
    "CapacityReport",
    "CriticalN",
    "CyclicEmbedding",
    "FreeEmbedding",
    "LimitDataset",
    "RandomAdditive",
    "RandomMaxSim",
    "Realizable",
    "ReportRow",
    "SimplexEmbedding",
    "SparseWords",
    "average_query_strength",
    "capacity_report",
    "critical_n",
    "critical_n_fit",
    "cyclic_embedding",
    "dimension_lower_bound",
    "evaluate",
    "graph_density",
    "load_limit",
    "make_limit_dataset",
    "make_qrels",
    "max_gap",
    "max_margin",
    "realizable_subsets",
    "simplex_embedding",
]
