"""Steps of the optimiser on a device of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import require
from ..exceptions import InvalidArgumentError
from ._descent import BETA_1, BETA_2, EPSILON

__all__ = ["as_device", "descend"]

Matrix = NDArray[Any]
BLOCK = 1 << 26  # scores at once


def as_device(name: str) -> Any:
    """The device of that name; one that cannot be used is refused."""
    torch = require("torch", f"device={name!r}", "encoders")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidArgumentError(f"device is {name!r}, expected one that torch can use here: {reason}") from None
    return device


def descend(
    device: Any,
    queries: Matrix,
    documents: Matrix,
    moments: tuple[Matrix, Matrix, Matrix, Matrix],
    qrels: NDArray[np.int64],
    losses: NDArray[np.float64],
    done: int,
    temperature: float,
    lr: float,
    summed: bool,
) -> None:
    """`_descent.descend`, on `device`."""
    torch = require("torch", "FreeEmbedding(device=...)", "encoders")
    arrays = (queries, documents, *moments)
    q, d, *held = (torch.from_numpy(array).to(device) for array in arrays)
    relevant = torch.from_numpy(qrels).to(device)
    found = torch.zeros(len(losses), dtype=torch.float64, device=device)
    step = max(1, BLOCK // len(d))
    with torch.no_grad():
        for i in range(len(losses)):
            of_queries, of_documents = torch.empty_like(q), torch.zeros_like(d)
            for start in range(0, len(q), step):
                rows = q[start : start + step]
                scores, loss = softmax_gradient(rows @ d.T / temperature, relevant[start : start + step], summed)
                scores /= len(q) * temperature
                found[i] += loss / len(q)
                of_queries[start : start + step] = scores @ d
                of_documents += scores.T @ rows
            adam(torch, q, of_queries, held[0], held[1], done + i + 1, lr)
            adam(torch, d, of_documents, held[2], held[3], done + i + 1, lr)
    losses[:] = found.cpu().numpy()
    for array, tensor in zip(arrays, (q, d, *held), strict=True):
        array[:] = tensor.cpu().numpy()


def softmax_gradient(logits: Any, relevant: Any, summed: bool) -> tuple[Any, Any]:
    """The gradient of the sum of losses by `logits`, and that sum."""
    logs = logits.log_softmax(dim=1)
    own = logs.gather(1, relevant)
    if summed:
        losses, target = -own.logsumexp(dim=1), own.softmax(dim=1)
    else:
        losses, target = -own.mean(dim=1), own.new_full(own.shape, 1 / own.shape[1])
    return logs.exp_().scatter_add_(1, relevant, -target), losses.sum()


def adam(torch: Any, rows: Any, gradient: Any, first: Any, second: Any, step: int, lr: float) -> None:
    """`_descent.adam`."""
    first.lerp_(gradient, 1 - BETA_1)
    second.lerp_(gradient * gradient, 1 - BETA_2)
    rows -= (lr / (1 - BETA_1**step)) * first / ((second / (1 - BETA_2**step)).sqrt_() + EPSILON)
    rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True)
