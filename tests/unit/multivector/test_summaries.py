"""Summaries of tokens: what each method keeps, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine
from engine.multivector import MultiVectorIndex, TokenSummarizer
from engine.multivector.summaries import merged

METHODS = ("selector", "kmeans", "tome", "pool")
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def items(rng: np.random.Generator) -> list[NDArray[np.float32]]:
    return [rng.standard_normal((30 + i, 8)).astype(np.float32) for i in range(5)]


@every_method
def test_summaries_lie_among_the_tokens(method: Any, items: list[NDArray[np.float32]]) -> None:
    short = TokenSummarizer(6, method=method).fit_transform(items)
    for rows, tokens in zip(short, items, strict=True):
        assert rows.shape == (1 if method == "pool" else 6, 8)
        assert (rows >= tokens.min(axis=0) - 1e-6).all()
        assert (rows <= tokens.max(axis=0) + 1e-6).all()


def test_as_many_clusters_as_tokens_are_the_tokens(items: list[NDArray[np.float32]]) -> None:
    tokens = items[0]
    rows = TokenSummarizer(len(tokens) - 1, method="kmeans").fit_transform([np.concatenate([tokens, tokens[:4]])])[0]
    assert len(np.unique(rows, axis=0)) == len(tokens) - 1
    (same,) = TokenSummarizer(len(tokens), method="kmeans").fit_transform([np.concatenate([tokens, tokens])])
    assert np.unique(same, axis=0) == pytest.approx(np.unique(tokens, axis=0))


def test_at_temperature_0_each_selector_takes_one_token(items: list[NDArray[np.float32]]) -> None:
    summarizer = TokenSummarizer(5, temperature=1e-6).fit(items)
    for rows, tokens in zip(summarizer.transform(items), items, strict=True):
        assert summarizer.selectors_ is not None
        assert rows == pytest.approx(tokens[(summarizer.selectors_ @ tokens.T).argmax(axis=1)])


def test_a_selector_takes_the_weighted_mean_of_the_paper(items: list[NDArray[np.float32]]) -> None:
    S = np.random.default_rng(0).standard_normal((3, 8))
    (rows,) = TokenSummarizer(3, selectors=S).fit(items).transform(items[:1])
    weights = np.exp(S.astype(np.float32).astype(np.float64) @ items[0].T / np.sqrt(8))
    weights /= weights.sum(axis=1, keepdims=True)
    assert rows == pytest.approx(weights @ items[0], abs=1e-6)


def test_merging_keeps_sizes_and_the_mean_weighted_by_them(items: list[NDArray[np.float32]]) -> None:
    for n in (1, 2, 7, 20, 33):
        rows, sizes = merged(items[4].astype(np.float64), n)
        assert len(rows) == n
        assert sizes.sum() == len(items[4])
        assert sizes @ rows / sizes.sum() == pytest.approx(items[4].mean(axis=0), abs=1e-6)


@pytest.mark.parametrize("method", ["selector", "kmeans", "pool"])
def test_the_order_of_tokens_changes_nothing(method: Any, items: list[NDArray[np.float32]]) -> None:
    order = np.random.default_rng(1).permutation(len(items[2]))
    summarizer = TokenSummarizer(4, method=method).fit(items)
    here, there = summarizer.transform([items[2], items[2][order]])
    assert here == pytest.approx(there, abs=1e-5)


def test_short_items_are_kept_or_padded(items: list[NDArray[np.float32]]) -> None:
    short, query = items[0][:3], items[1][:4]
    (kept,) = TokenSummarizer(5).fit(items).transform([short])
    (padded,) = TokenSummarizer(5, pad=True).fit(items).transform([short])
    assert (kept == short).all()
    assert padded.shape == (5, 8)
    assert engine.multivector.maxsim(query, padded) == pytest.approx(engine.multivector.maxsim(query, short))


@pytest.mark.parametrize("method", ["selector", "kmeans", "tome"])
def test_more_tokens_find_more(method: Any, rng: np.random.Generator) -> None:
    objects = rng.standard_normal((50, 16))
    images = [objects[rng.choice(50, 3, replace=False)].repeat(8, axis=0) for _ in range(120)]
    images = [rows + 0.2 * rng.standard_normal(rows.shape) for rows in images]
    queries = [rows[::8] + 0.2 * rng.standard_normal((3, 16)) for rows in images[:40]]
    full = MultiVectorIndex(16)
    full.add(images)
    wanted = full.search(queries, 5).ids
    recalls, errors = [], []
    for n in (1, 3, 12):
        summarizer = TokenSummarizer(n, method=method, temperature=0.5 if method == "selector" else None).fit(images)
        index = MultiVectorIndex(16)
        index.add(summarizer.transform(images))
        found = index.search(queries, 5).ids
        recalls.append(np.mean([len(np.intersect1d(a, b)) / 5 for a, b in zip(found, wanted, strict=True)]))
        errors.append(summarizer.error(images[:20], queries[:10]))
    assert recalls[0] < recalls[2]
    assert recalls == sorted(recalls)
    assert errors[0] > errors[2]


@every_method
def test_nothing_left_out_costs_nothing(method: Any, items: list[NDArray[np.float32]]) -> None:
    error = TokenSummarizer(99, method=method).fit(items).error(items, items[:1])
    assert error > 0.1 if method == "pool" else error == 0


BAD: list[tuple[dict[str, Any], str]] = [
    ({"n_tokens": 0}, "n_tokens is 0"),
    ({"method": "mean"}, "method is 'mean'"),
    ({"temperature": 0}, "temperature is 0.0"),
    ({"pad": 1}, "pad is 1"),
    ({"n_tokens": 2, "selectors": np.ones((2, 7))}, "selectors has dim 7, expected 8"),
    ({"n_tokens": 2, "selectors": np.ones((3, 8))}, "selectors has 3 rows, expected 2"),
]


@pytest.mark.parametrize(("settings", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_settings_are_refused(settings: dict[str, Any], message: str, items: list[NDArray[np.float32]]) -> None:
    with pytest.raises(engine.InvalidArgumentError, match=message):
        TokenSummarizer(**settings).fit(items)


def test_bad_items_are_refused(items: list[NDArray[np.float32]]) -> None:
    with pytest.raises(engine.NotBuiltError):
        TokenSummarizer().transform(items)
    summarizer = TokenSummarizer().fit(items)
    for wrong, message in (([np.ones((2, 7))], "dim 7, expected 8"), ([], "items is empty"), ([[]], r"items\[0\]")):
        with pytest.raises(engine.InvalidArgumentError, match=message):
            summarizer.transform(wrong)
