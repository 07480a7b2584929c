"""engine.limit: free embeddings against a plain float64 form of the loss, and the largest n they solve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine import _core
from engine.exceptions import InvalidArgumentError
from engine.limit import CRITICAL_N, FreeEmbedding, critical_n, critical_n_fit, make_qrels
from engine.limit import _descent as plain
from engine.limit.free import accuracy, margins, steps_for

Matrix = Any


def loss(queries: Matrix, documents: Matrix, qrels: Matrix, temperature: float, summed: bool) -> float:
    """The loss by its definition, one query at a time."""
    total = 0.0
    for query, relevant in zip(queries, qrels, strict=True):
        scores = np.exp(documents @ query / temperature)
        shares = scores[relevant] / scores.sum()
        total += -np.log(shares.sum()) if summed else -np.log(shares).mean()
    return total / len(qrels)


def state(rng: np.random.Generator, n: int, d: int, dtype: Any = np.float64) -> tuple[Matrix, ...]:
    qrels = make_qrels(n)
    rows = [rng.standard_normal((size, d)) for size in (len(qrels), n)]
    queries, documents = (np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype) for x in rows)
    return queries, documents, tuple(np.zeros_like(x) for x in (queries, queries, documents, documents)), qrels


@pytest.mark.parametrize("summed", [False, True])
def test_the_gradient_by_finite_differences(rng: np.random.Generator, summed: bool) -> None:
    queries, documents, _, qrels = state(rng, 6, 3)
    scores = queries @ documents.T
    assert plain.softmax_gradient(scores, qrels, 0.1, summed) == pytest.approx(
        loss(queries, documents, qrels, 0.1, summed)
    )
    for rows, gradient in ((queries, scores @ documents), (documents, scores.T @ queries)):
        for i, j in ((0, 0), (3, 2), (5, 1)):
            kept, sides = rows[i, j], []
            for h in (1e-6, -1e-6):
                rows[i, j] = kept + h
                sides.append(loss(queries, documents, qrels, 0.1, summed))
            rows[i, j] = kept
            assert gradient[i, j] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("temperature", [0.03, 0.1, 5.0])
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize(("n", "d"), [(3, 1), (5, 3), (20, 7), (47, 12)])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_other_steps_follow_plain_float64(
    rng: np.random.Generator, n: int, d: int, summed: bool, temperature: float, device: str | None
) -> None:
    if device:
        pytest.importorskip("torch")
    descend, in_threads = steps_for("float32", device)
    assert in_threads == (device is None)
    queries, documents, moments, qrels = state(rng, n, d, np.float32)
    wide = [queries.astype(np.float64), documents.astype(np.float64), tuple(x.astype(np.float64) for x in moments)]
    losses, expected = np.zeros(10), np.zeros(10)
    descend(queries, documents, moments, qrels, losses, 0, temperature, 0.01, summed)
    plain.descend(*wide, qrels, expected, 0, temperature, 0.01, summed)  # type: ignore[arg-type]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-6)
    # Adam divides by the gradient's own size: where that is rounding, the direction is, too. So not each number.
    assert np.median(np.abs(queries - wide[0])) < 1e-4
    assert np.median(np.abs(documents - wide[1])) < 1e-4


def test_the_core_changes_nothing_it_does_not_understand(rng: np.random.Generator) -> None:
    queries, documents, moments, qrels = state(rng, 5, 3, np.float32)
    before = queries.copy()
    good = (queries, documents, moments, qrels, np.zeros(3), 0, 0.1, 0.01, False)
    for place, wrong, message in (
        (0, queries[:, :2].copy(), "queries or their moments"),
        (1, documents[:0], "documents or their moments"),
        (2, (moments[0], moments[1][:4], *moments[2:]), "queries or their moments"),
        (3, qrels[:4], "qrels"),
        (3, qrels + 4, "qrels holds"),
        (3, qrels - 1, "qrels holds -1"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            _core.descend(*good[:place], wrong, *good[place + 1 :])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _core.descend(queries.astype(np.float64), *good[1:])  # type: ignore[arg-type]
    assert (queries == before).all()


def test_a_device_of_torch_fits_too() -> None:
    pytest.importorskip("torch")
    for dtype in ("float32", "float64"):
        free = FreeEmbedding(5, dtype=dtype, device="cpu").fit(make_qrels(8), 8)  # type: ignore[arg-type]
        assert free.stop_reason_ == "solved"
        assert free.doc_embeddings_.dtype == np.dtype(dtype)
    for name in ("meta:x", "nowhere"):
        with pytest.raises(InvalidArgumentError, match=f"device is '{name}', expected one that torch can use here"):
            FreeEmbedding(5, device=name).fit(make_qrels(8), 8)


@pytest.mark.gpu
def test_a_gpu_fits_too() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    assert FreeEmbedding(5, device="cuda").fit(make_qrels(8), 8).stop_reason_ == "solved"


def test_adam_by_its_definition(rng: np.random.Generator) -> None:
    rows, gradients = rng.standard_normal((4, 3)), rng.standard_normal((5, 4, 3))
    moments = np.zeros((2, 4, 3))
    expected, mean, square = rows.copy(), 0.0, 0.0
    for step, g in enumerate(gradients, 1):
        plain.adam(rows, g, moments[0], moments[1], step, 0.01)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        expected = expected - 0.01 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_fit_is_solved(dtype: Any) -> None:
    qrels = make_qrels(8)
    free = FreeEmbedding(5, dtype=dtype).fit(qrels, 8)
    assert (free.accuracy_, free.stop_reason_) == (1.0, "solved")
    assert free.query_embeddings_.shape == (28, 5)
    assert free.doc_embeddings_.dtype == np.dtype(dtype)
    assert free.n_iter_ == len(free.losses_)
    assert free.losses_[-10:].mean() < free.losses_[:10].mean()
    top = np.sort(np.argsort(-free.query_embeddings_ @ free.doc_embeddings_.T, axis=1)[:, :2], axis=1)
    assert (top == qrels).all()
    assert free.margin_ > 0


def test_the_sum_lets_a_query_settle_for_one_document() -> None:
    free = FreeEmbedding(5, positives="sum").fit(make_qrels(8), 8)
    assert free.stop_reason_ == "converged"
    assert 0.5 <= free.accuracy_ < 1
    assert free.loss_ < 0.01 < FreeEmbedding(5).fit(make_qrels(8), 8).loss_


def test_the_fit_repeats_and_the_seed_matters() -> None:
    one, same, other = (FreeEmbedding(4, n_restarts=2, random_state=s).fit(make_qrels(7), 7) for s in (1, 1, 2))
    assert (one.doc_embeddings_ == same.doc_embeddings_).all()
    assert (one.doc_embeddings_ != other.doc_embeddings_).any()


def test_reasons_to_stop() -> None:
    qrels = make_qrels(9)
    assert FreeEmbedding(2, max_iter=120, check_every=50).fit(qrels, 9).n_iter_ == 120
    hopeless = FreeEmbedding(2).fit(qrels, 9)
    assert hopeless.stop_reason_ == "converged"
    assert hopeless.accuracy_ < 1
    assert hopeless.margin_ < 0
    late = FreeEmbedding(2, patience=10**6, time_limit=0.05).fit(qrels, 9)
    assert late.stop_reason_ == "time_limit"
    assert late.n_iter_ > 0


def test_k_may_be_1_and_n_may_be_one_more() -> None:
    assert FreeEmbedding(2, k=1).fit(make_qrels(6, k=1), 6).accuracy_ == 1
    assert FreeEmbedding(3, k=4).fit(make_qrels(5, k=4), 5).accuracy_ == 1


def test_accuracy_and_margin_by_definition(rng: np.random.Generator) -> None:
    queries, documents, _, qrels = state(rng, 9, 3)
    scores = queries @ documents.T
    hits = [len({*np.argsort(-row)[:2].tolist()} & {*two.tolist()}) for row, two in zip(scores, qrels, strict=True)]
    assert accuracy(queries, documents, qrels) == sum(hits) / qrels.size
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    assert accuracy(queries @ rotation, documents @ rotation, qrels) == sum(hits) / qrels.size
    order = rng.permutation(9)
    assert accuracy(queries, documents[order], np.argsort(order)[qrels]) == sum(hits) / qrels.size
    worst = [scores[i, two].min() - np.delete(scores[i], two).max() for i, two in enumerate(qrels)]
    np.testing.assert_allclose(margins(queries, documents, qrels), worst)


def test_a_tie_does_not_count() -> None:
    assert accuracy(np.ones((3, 1)), np.ones((3, 1)), make_qrels(3)) == 0


@pytest.mark.parametrize(
    ("settings", "qrels", "n_docs", "message"),
    [
        ({"d": 0}, [[0, 1]], 3, "d is 0"),
        ({"temperature": 0}, [[0, 1]], 3, "temperature is 0.0, expected a number above 0"),
        ({"temperature": 0.01, "positives": "sum"}, [[0, 1]], 3, "temperature is 0.01, expected at least 0.025"),
        ({"lr": np.nan}, [[0, 1]], 3, "lr is nan"),
        ({"positives": "max"}, [[0, 1]], 3, "positives is 'max'"),
        ({"dtype": "float16"}, [[0, 1]], 3, "dtype is 'float16'"),
        ({"time_limit": -1}, [[0, 1]], 3, "time_limit is -1.0"),
        ({}, [[0, 1]], 2, "k is 2, expected less than the number of documents, 2"),
        ({}, [[0, 3]], 3, "expected documents below 3"),
        ({}, [[0, 1, 2]], 5, "qrels has rows of up to 3 documents, expected 2 in each"),
        ({}, [[0, -1]], 5, "expected 2 in each"),
        ({"d": 50}, make_qrels(300), 300, "a step takes about .* without force=True"),
        ({}, make_qrels(40), 10**13, "would take .* GiB"),
    ],
)
def test_bad_fits(settings: Any, qrels: Any, n_docs: int, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        FreeEmbedding(**{"d": 4} | settings).fit(qrels, n_docs)


# critical n


@pytest.mark.parametrize("d", [4, 5, 6, 8])
def test_critical_n_is_near_the_published_one(d: int) -> None:
    """A band, not equality: restarts solve a few more than the paper's single seed."""
    found = critical_n(d, time_limit=120)
    assert not found.exhausted
    assert CRITICAL_N[d] - 1 <= found.n <= CRITICAL_N[d] + 4
    assert found.tried[found.n] == 1
    assert found.n == max(found.solved)
    assert found.reached_most if found.n == CRITICAL_N[d] + 4 else found.tried[found.n + 1] < 1


@pytest.mark.parametrize("start", [3, 5, 9])
@pytest.mark.parametrize("search", ["gallop", "up"])
def test_every_start_finds_the_same(start: int, search: Any) -> None:
    assert critical_n(3, start=start, search=search).n == 4


@pytest.mark.parametrize("search", ["gallop", "up"])
def test_no_larger_n_than_most_is_tried(search: Any) -> None:
    found = critical_n(6, start=8, most=11, search=search)
    assert (found.n, max(found.tried), found.reached_most, found.exhausted) == (11, 11, True, False)
    assert not critical_n(3, start=4).reached_most


def test_one_relevant_document_needs_two_dimensions_only() -> None:
    assert critical_n(2, k=1, time_limit=0.5).n >= 8


def test_out_of_time_is_flagged() -> None:
    found = critical_n(20, time_limit=0.05)
    assert found.exhausted
    assert found.solved == ()
    assert found.n == 2


def test_the_published_table_and_its_cubic() -> None:
    assert (CRITICAL_N[4], CRITICAL_N[16], CRITICAL_N[32], CRITICAL_N[45], len(CRITICAL_N)) == (10, 79, 296, 626, 42)
    assert max(abs(critical_n_fit(d) - n) for d, n in CRITICAL_N.items()) == pytest.approx(22.3, abs=0.1)
    assert critical_n_fit(4096) == pytest.approx(250e6, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d": 0}, "d is 0"),
        ({"d": 4, "start": 2}, "k is 2, expected less than the number of documents, 2"),
        ({"d": 4, "start": 12, "most": 11}, "most is 11, expected at least 12"),
        ({"d": 4, "search": "down"}, "search is 'down'"),
        ({"d": 4, "time_limit": 0}, "time_limit is 0.0"),
    ],
)
def test_bad_searches(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        critical_n(**arguments)
