"""How fast classification is: `python -m bench.classify_speed`.

k-NN beside scikit-learn's, Fréchet predictions over very many labels beside the argmin over all of them, and the search
for prompts. Everything is asked in turns and the medians are printed; two threads but where one is said.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine import classify

from . import datasets

__all__ = ["main"]

Matrix = NDArray[np.float32]


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each figure."""
    options = argparse.ArgumentParser(prog="bench.classify_speed", description="How fast classification is.")
    options.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), help="default all")
    options.add_argument("--quick", action="store_true", help="few rows: does all work?")
    given = options.parse_args(argv)
    for name in given.only:
        print(f"{name}: {FIGURES[name](given.quick)}", flush=True)
    return 0


def knn(quick: bool) -> str:
    """K = 20 over all rows of the data at hand, 10,000 queries; labels are cells of the space."""
    from sklearn.neighbors import KNeighborsClassifier

    data = datasets.load(2000 if quick else None)
    n_queries = 200 if quick else 10_000
    rng = np.random.default_rng(0)
    queries = datasets.unit(data.vectors[rng.integers(len(data.vectors), size=n_queries)] + noise(rng, n_queries, 384))
    y = (data.vectors @ data.vectors[:100].T).argmax(axis=1)
    ours = classify.KNNClassifier(20, weights="uniform").fit(data.vectors, y)
    theirs = KNeighborsClassifier(20, algorithm="brute", metric="cosine", n_jobs=2).fit(data.vectors, y)
    seconds, right = elapsed(theirs.predict, queries)
    took = [elapsed(ours.predict, queries) for _ in range(3)]
    fast = median(each for each, _ in took)
    same = float(np.mean(took[0][1] == right))
    return (
        f"{len(data.vectors):,} rows, {n_queries:,} queries, k = 20: {fast:.2f} s, scikit-learn {seconds:.1f} s, "
        f"{seconds / fast:.1f}x; {same:.2%} of the labels are the same"
    )


def frechet(quick: bool) -> str:
    """One prediction at a time over 1,000,000 labels of 64 dimensions, of 1000 observed ones."""
    n, n_asked = (3_000, 20) if quick else (1_000_000, 200)
    vectors = datasets.unit(datasets.clustered(n, 0).vectors[:, :64])
    metric = classify.LabelMetric.from_embeddings(vectors, np.arange(n))
    rng = np.random.default_rng(1)
    observed = rng.choice(n, 1000, replace=False)
    points = datasets.unit(vectors[rng.integers(n, size=2 * n_asked)] + noise(rng, 2 * n_asked, 64))
    scores = np.exp(20 * points @ vectors[observed].T)
    sample, probabilities = np.split(scores / scores.sum(axis=1, keepdims=True), 2)
    means = probabilities @ vectors[observed]
    right = np.array([np.argmin((vectors**2).sum(axis=1) - 2 * vectors @ mean) for mean in means])
    lines = []
    kinds: tuple[Literal["exact", "graph"], ...] = ("exact", "graph")
    for kind in kinds:
        built, predictor = elapsed(classify.FrechetPredictor, metric, observed, kind=kind, sample=sample)
        took = [elapsed(predictor.predict, row[None]) for row in probabilities for _ in range(2)][1::2]
        found = float(np.mean([label[0] for _, label in took] == right))
        each = 1000 * median(seconds for seconds, _ in took)
        lines.append(f"{kind} {each:.2f} ms, {found:.1%} of the argmin over all, built in {built:.0f} s")
    return f"{n:,} labels, one prediction: {'; '.join(lines)}"


def prompts(quick: bool) -> str:
    """200 iterations over 100 classes of 50 sentences, one row a class, on one thread."""
    n_iter = 1 if quick else 100
    rng = np.random.default_rng(0)
    centres = datasets.unit(rng.standard_normal((100, 512)))
    library = {c: datasets.unit(centres[c] + noise(rng, 50, 512)) for c in range(100)}
    X, y = datasets.unit(centres + noise(rng, 100, 512)), np.arange(100)
    optimizer = classify.PromptOptimizer(n_iter=n_iter, n_iter_descriptions=n_iter, random_state=0)
    wall, cpu = time.perf_counter(), time.process_time()
    optimizer.fit(X, y, library)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"{2 * n_iter} iterations, 100 classes x 50 sentences x 512: {wall:.1f} s, {cpu:.1f} s of CPU"


def noise(rng: np.random.Generator, n: int, dim: int) -> Matrix:
    """About as long as a unit vector."""
    return rng.standard_normal((n, dim), np.float32) / np.float32(dim**0.5)


def elapsed(run: Callable[..., Any], *args: Any, **options: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = run(*args, **options)
    return time.perf_counter() - started, result


FIGURES: dict[str, Callable[[bool], str]] = {"knn": knn, "frechet": frechet, "prompts": prompts}

if __name__ == "__main__":
    raise SystemExit(main())
