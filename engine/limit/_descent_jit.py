"""Steps of the optimiser compiled by numba for float32: the softmax with its gradient in one pass, and so Adam."""

from __future__ import annotations

import numba
import numpy as np

from ._descent import BETA_1, BETA_2, EPSILON

__all__ = ["descend"]

F = np.float32
COMPILED = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}
# 2 ** f for f in 0..1 as a polynomial, error 4e-7: numba's own exp does not run on whole vector registers, and the
# builtin max would keep a loop from doing so.
C1, C2, C3, C4, C5 = (F(c) for c in (0.69315159, 0.24016431, 0.05579394, 0.00903089, 0.00185888))
LOG2_E, ONE, LEAST = F(1.4426950408889634), F(1), F(-126)
SMALL = 1 << 18  # multiplications of a product for which OpenBLAS starts no threads: they cost more than they save


@numba.njit(**COMPILED)
def descend(queries, documents, moments, qrels, losses, done, temperature, lr, summed):  # type: ignore[no-untyped-def]
    """`_descent.descend`."""
    (m, d), n = queries.shape, len(documents)
    step = max(16, SMALL // (n * d))
    scores, of_queries = np.empty((step, n), F), np.empty((step, d), F)
    part, of_documents = np.empty((n, d), F), np.empty((n, d), F)
    transposed = np.empty((d, n), F)
    bits = np.empty(n, np.int32)
    for i in range(len(losses)):
        losses[i] = 0
        of_documents[:] = 0
        transposed[:] = documents.T
        for start in range(0, m, step):
            rows = queries[start : start + step]
            block, gradient = scores[: len(rows)], of_queries[: len(rows)]
            np.dot(rows, transposed, block)
            losses[i] += softmax_gradient(block, qrels[start : start + step], bits, temperature, m, summed)
            np.dot(block, documents, gradient)
            np.dot(block.T, rows, part)
            of_documents += part
            adam(rows, gradient, moments[0][start:], moments[1][start:], done + i + 1, lr)
        adam(documents, of_documents, moments[2], moments[3], done + i + 1, lr)


@numba.njit(**COMPILED)
def softmax_gradient(scores, qrels, bits, temperature, m, summed):  # type: ignore[no-untyped-def]
    """Replace `scores` by the gradient of the loss of all `m` queries by them; their part of the loss."""
    n, k = scores.shape[1], qrels.shape[1]
    steepness = LOG2_E / F(temperature)
    powers = bits.view(np.float32)
    loss = 0.0
    for i in range(len(scores)):
        row, relevant = scores[i], qrels[i]
        top = row[0]
        for j in range(n):
            top = row[j] if row[j] > top else top
        own = F(0)
        for j in relevant:
            own += row[j] - top
        for j in range(n):
            x = (row[j] - top) * steepness
            x = x if x > LEAST else LEAST
            whole = np.floor(x)
            f = x - whole
            bits[j] = (np.int32(whole) + np.int32(127)) << np.int32(23)  # 2 ** whole, read as a float
            row[j] = ONE + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * C5))))
        total = F(0)
        for j in range(n):
            row[j] *= powers[j]
            total += row[j]
        share = F(0)
        for j in relevant:
            share += row[j]
        loss += np.log(total / share) if summed else np.log(total) - own / (F(k) * F(temperature))
        for j in relevant:
            row[j] -= row[j] * total / share if summed else total / F(k)
        slope = ONE / (F(m) * F(temperature) * total)
        for j in range(n):
            row[j] *= slope
    return loss / m


@numba.njit(**COMPILED)
def adam(rows, gradient, first, second, step, lr):  # type: ignore[no-untyped-def]
    """`_descent.adam`."""
    rate = F(lr / (1 - BETA_1**step))
    correction = F(1 / np.sqrt(1 - BETA_2**step))
    keep_1, keep_2, new_1, new_2, epsilon = F(BETA_1), F(BETA_2), F(1 - BETA_1), F(1 - BETA_2), F(EPSILON)
    for i in range(len(rows)):
        row, g, mean, square = rows[i], gradient[i], first[i], second[i]
        length = F(0)
        for j in range(len(row)):
            mean[j] = keep_1 * mean[j] + new_1 * g[j]
            square[j] = keep_2 * square[j] + new_2 * g[j] * g[j]
            row[j] -= rate * mean[j] / (np.sqrt(square[j]) * correction + epsilon)
            length += row[j] * row[j]
        shrink = ONE / np.sqrt(length)
        for j in range(len(row)):
            row[j] *= shrink
