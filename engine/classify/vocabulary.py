"""Names without a list of classes: the nearest of very many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from .._validate import as_count
from ..evaluation._labels import as_labels
from ..index import Index
from ._base import check_embeddings, refuse_zero

__all__ = ["VocabularyIndex"]


class VocabularyIndex:
    """Names for rows without a list of classes: the nearest of very many text vectors.

    Parameters
    ----------
    names : sequence of str
    embeddings : array_like, shape (n_names, dim)
    synonyms : mapping of names to the name that stands for them, optional
        Only the best of those that stand for the same is given.

    Examples
    --------
    >>> import numpy as np
    >>> vocabulary = VocabularyIndex(["cat", "kitty", "dog"], [[1, 0], [1, 0.1], [0, 1]], {"kitty": "cat"})
    >>> vocabulary.name([[1, 0.2]], k=2)
    [[('cat', 0.995...), ('dog', 0.196...)]]
    """

    def __init__(self, names: Sequence[str], embeddings: ArrayLike, synonyms: Mapping[str, str] | None = None) -> None:
        vectors = refuse_zero(check_embeddings(embeddings, "embeddings"), "embeddings")
        labels = as_labels(names, "names", n=len(vectors)).tolist()
        stands_for = {} if synonyms is None else dict(synonyms)
        self._groups = [stands_for.get(name, name) for name in labels]
        self._largest = max(Counter(self._groups).values())
        self._index = Index(vectors.shape[1])
        self._index.add(vectors)

    def __len__(self) -> int:
        return len(self._groups)

    def name(self, X: ArrayLike, k: int = 5) -> list[list[tuple[str, float]]]:
        """For each row the `k` nearest names and their cosines, the best first; of synonyms the one they stand for."""
        as_count(k, "k")
        rows = refuse_zero(check_embeddings(X, dim=self._index.dim))
        found = self._index.search(rows, min(k * self._largest, len(self)))
        named = []
        for ids, scores in zip(found.ids, found.similarities, strict=True):
            best: dict[str, float] = {}
            for i, score in zip(ids.tolist(), scores.tolist(), strict=True):
                best.setdefault(self._groups[i], score)
            named.append(list(best.items())[:k])
        return named

    def report(self, X: ArrayLike) -> list[tuple[str, int]]:
        """How often each name is the nearest, the most frequent first."""
        return Counter(names[0][0] for names in self.name(X, 1)).most_common()
