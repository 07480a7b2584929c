"""How many of the rows that pass a probe of k-means cells must look at: `python -m bench.probes`, for decision 0011.

No time is measured. Cells are ranked by their centres, and the rows that pass are looked at cell by cell, for every query in
as many cells; the least number that finds 99 % of the ten nearest in the mean is what a perfect stop rule would choose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.filters import PredicateCache

from . import datasets
from .filtered_cells import grid
from .filtered_data import made
from .report import table

K, RECALL, N_QUERIES = 10, 0.99, 100
SELECTIVITIES = (0.01, 0.05, 0.2, 0.5)


def share_looked_at(scores: NDArray[np.float32], rank: NDArray[np.int64], allowed: list[NDArray[np.int64]]) -> float:
    """Share of the rows that pass in the fewest first cells that hold `RECALL` of the nearest.

    Parameters
    ----------
    scores : ndarray, shape (n_queries, n)
    rank : ndarray, shape (n_queries, n)
        Place of each row's cell among the cells, the nearest first.
    allowed : list of ndarray
        Rows that pass, for each query.
    """
    needed = [own[rows[np.argsort(-score[rows])[:K]]] for score, own, rows in zip(scores, rank, allowed, strict=True)]
    n_probes = np.sort(np.concatenate(needed))[int(np.ceil(RECALL * sum(map(len, needed)))) - 1]
    return float(np.mean([(own[rows] <= n_probes).mean() for own, rows in zip(rank, allowed, strict=True)]))


def main() -> None:
    import faiss

    workload = made(datasets.at_hand(), None, N_QUERIES, grid(["range"], selectivities=SELECTIVITIES), 0)
    cache = PredicateCache()
    allowed = {
        asked.cell: [np.flatnonzero(cache.resolve(each, workload.columns).to_mask()) for each in asked.predicates]
        for asked in workload.asked
        if asked.cell.kind == "range"
    }
    scores = workload.queries @ workload.vectors.T
    n = len(workload.vectors)
    rows = [["cells", "correlation", "passes", "rows that pass looked at"]]
    for n_cells in (round(n**0.5), round(3 * n**0.5)):
        kmeans = faiss.Kmeans(workload.vectors.shape[1], n_cells, niter=8, spherical=True, seed=0)
        kmeans.train(workload.vectors)
        cells = kmeans.index.search(workload.vectors, 1)[1][:, 0]
        order = np.argsort(-(workload.queries @ kmeans.centroids.T), axis=1)
        rank = np.argsort(order, axis=1)[:, cells]
        for cell, passing in allowed.items():
            share = share_looked_at(scores, rank, passing)
            rows.append([str(n_cells), cell.correlation, f"{cell.selectivity:g}", f"{share:.0%}"])
    print(f"{workload.name}; recall {RECALL:g} of the {K} nearest\n{table(rows)}")


if __name__ == "__main__":
    main()
