"""engine.limit: what theory says, and the constructions that reach it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine
from engine.exceptions import InvalidArgumentError
from engine.limit import (
    cyclic_embedding,
    dimension_lower_bound,
    make_qrels,
    max_gap,
    max_margin,
    simplex_embedding,
)

# Table 1 of arXiv:2508.21038: margin 0.1, k = 2, 10, 100, 1000
TABLE = {
    2: (4, 13),
    3: (6, 23, 135),
    4: (8, 33, 233, 1354),
    5: (10, 42, 329, 2334),
    6: (12, 52, 425, 3296),
    7: (14, 61, 521, 4257),
    8: (16, 71, 617, 5217),
    9: (17, 81, 713, 6177),
    10: (19, 90, 809, 7137),
    11: (21, 100, 905, 8098),
}


@pytest.mark.parametrize("exponent", TABLE)
def test_the_published_table(exponent: int) -> None:
    row = TABLE[exponent]
    assert tuple(dimension_lower_bound(10**exponent, k) for k in (2, 10, 100, 1000)[: len(row)]) == row


def test_the_bound_at_its_edges() -> None:
    assert dimension_lower_bound(8, 1, margin=1) == 3  # 2 ** 3 sets, exactly
    assert dimension_lower_bound(10**7, 5 * 10**6) == pytest.approx(10**7 * np.log(2) / np.log(11), rel=1e-4)
    assert dimension_lower_bound(2, 1, margin=1e-9) == 1


@pytest.mark.parametrize("margin", [0, -0.1, 1.5, np.nan, "wide"])
def test_bad_margins(margin: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="margin is"):
        dimension_lower_bound(10, 2, margin)


@pytest.mark.parametrize("function", [dimension_lower_bound, max_gap, cyclic_embedding])
@pytest.mark.parametrize("k", [0, 10, 11])
def test_bad_k(function: Any, k: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"k is {k}"):
        function(10, k)


def gaps(scores: np.ndarray[Any, Any], subsets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Least score of a set minus the largest of the rest."""
    own = np.take_along_axis(scores, subsets, axis=1).min(axis=1)
    rest = scores.copy()
    np.put_along_axis(rest, subsets, -np.inf, axis=1)
    return np.asarray(own - rest.max(axis=1))


@pytest.mark.parametrize(("n", "k"), [(3, 1), (5, 2), (46, 2), (9, 4), (12, 11)])
def test_the_simplex_has_the_largest_gap_there_is(n: int, k: int) -> None:
    embedding = simplex_embedding(n)
    products = embedding.documents @ embedding.documents.T
    np.testing.assert_allclose(products, np.where(np.eye(n), 1, -1 / (n - 1)), atol=1e-12)
    subsets = make_qrels(n, k=k)
    np.testing.assert_allclose(
        gaps(embedding.query(subsets) @ embedding.documents.T, subsets), max_gap(n, k), atol=1e-9
    )
    assert max_margin(n, k) == max_gap(n, k) / 2


@pytest.mark.parametrize(("n", "k"), [(10, 2), (46, 2), (200, 2), (20, 3), (12, 4), (7, 1)])
def test_every_set_has_a_query_on_the_moment_curve(n: int, k: int) -> None:
    embedding = cyclic_embedding(n, k)
    subsets = make_qrels(n, k=k)
    assert embedding.documents.shape == (n, 2 * k)
    np.testing.assert_allclose(np.linalg.norm(embedding.documents, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(embedding.query(subsets), axis=1), 1)
    assert gaps(embedding.query(subsets) @ embedding.documents.T, subsets).min() > 0


def test_float32_tells_46_documents_apart_and_float16_does_not() -> None:
    """The sharpest test of precision there is for a search: half gaps are down to 1.5e-5."""
    embedding, subsets = cyclic_embedding(46, 2), make_qrels(46)
    queries = embedding.query(subsets)
    assert gaps(queries @ embedding.documents.T, subsets).min() / 2 == pytest.approx(1.5e-5, rel=0.05)
    solved = {}
    for dtype in (np.float32, np.float16):
        index = engine.Index(4, metric="ip", dtype=np.dtype(dtype).name)  # type: ignore[arg-type]
        index.add(embedding.documents.astype(dtype))
        for found in (index.search(queries, 2), engine.topk(queries, embedding.documents.astype(dtype), 2)):
            right = (np.sort(found.ids, axis=1) == subsets).all(axis=1)
            solved.setdefault(dtype, set()).add(float(right.mean()))
    assert solved[np.float32] == {1.0}
    assert max(solved[np.float16]) < 0.95


@pytest.mark.parametrize(
    ("subsets", "message"), [([0, 1, 2], "expected 2"), ([0, 99], "expected documents below 10"), ([3, 3], "once")]
)
def test_bad_subsets(subsets: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        cyclic_embedding(10, 2).query(subsets)


def test_too_few_documents() -> None:
    with pytest.raises(InvalidArgumentError, match="n is 4, expected more than 4"):
        cyclic_embedding(4, 2)
    with pytest.raises(InvalidArgumentError, match="n is 1, expected at least 2"):
        simplex_embedding(1)
