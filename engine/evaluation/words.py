"""What word vectors know, and what they are biased to: analogies and association tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validate import as_array, as_matrix
from ..exact import topk
from ..exceptions import InvalidArgumentError
from ._rows import unit_rows

__all__ = ["AnalogyReport", "analogy", "weat"]

ROUNDING = 1e-12  # cosines that differ by less are the same


@dataclass(frozen=True)
class AnalogyReport:
    """Answers to "a is to b as c is to ?".

    Attributes
    ----------
    accuracy : float
        Share of questions answered as expected.
    answers : ndarray, shape (n_questions,), int64
        Row of the answer to each.
    """

    accuracy: float
    answers: NDArray[np.int64]


def analogy(vectors: ArrayLike, questions: ArrayLike) -> AnalogyReport:
    """Answer each question by the row nearest to ``b - a + c``, all at unit length; a, b and c are no answers.

    Parameters
    ----------
    vectors : array_like, shape (n_words, dim)
        At least four.
    questions : array_like, shape (n_questions, 4), int
        Rows of a, b, c and of the expected answer.

    Raises
    ------
    InvalidArgumentError
        Another shape, a row that is not there, a vector of zeros.

    References
    ----------
    Mikolov, Yih & Zweig, *Linguistic Regularities in Continuous Space Word Representations*, NAACL 2013.

    Examples
    --------
    >>> man, woman, king, queen = [1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]
    >>> analogy([man, woman, king, queen, [0, -1, 0]], [[0, 1, 2, 3]]).accuracy
    1.0
    """
    rows = unit_rows(vectors, "vectors")
    asked = as_array(questions, "questions")
    if asked.ndim != 2 or asked.shape[1] != 4 or not len(asked) or asked.dtype.kind not in "iu":
        raise InvalidArgumentError(
            f"questions has shape {asked.shape} and dtype {asked.dtype}, expected (n, 4) integers"
        )
    if asked.min() < 0 or asked.max() >= len(rows):
        wrong = asked[(asked < 0) | (asked >= len(rows))][0]
        raise InvalidArgumentError(f"questions holds {wrong}, expected rows from 0 to {len(rows) - 1}")
    if len(rows) < 4:
        raise InvalidArgumentError(f"vectors has {len(rows)} rows, expected at least 4")
    a, b, c, expected = asked.T
    found = topk(unit_rows(rows[b] - rows[a] + rows[c], "b - a + c"), rows, 4).ids
    allowed = (found[:, :, None] != asked[:, None, :3]).all(axis=2)
    answers = found[np.arange(len(found)), allowed.argmax(axis=1)]
    return AnalogyReport(float((answers == expected).mean()), answers)


def weat(X: ArrayLike, Y: ArrayLike, A: ArrayLike, B: ArrayLike) -> float:
    """How much nearer `X` is to `A` than to `B`, compared with `Y`: the effect size of the association test, -2 to 2.

    Parameters
    ----------
    X, Y : array_like, shape (n, dim)
        Target words, such as flowers and insects.
    A, B : array_like, shape (n, dim)
        Attribute words, such as pleasant and unpleasant ones.

    Returns
    -------
    float
        The difference of the mean associations of `X` and `Y`, over the standard deviation of all of them; an
        association is the mean cosine with `A` less that with `B`. NaN where all associations are the same.

    References
    ----------
    Caliskan, Bryson & Narayanan, *Semantics derived automatically from language corpora contain human-like biases*,
    Science 2017.

    Examples
    --------
    >>> round(weat([[1, 0], [2, 0]], [[0, 1], [0, 3]], [[1, 0]], [[0, 1]]), 3)
    1.732
    """
    dim = as_matrix(X, "X").shape[1]
    x, y, a, b = (unit_rows(rows, name, dim=dim) for rows, name in zip((X, Y, A, B), "XYAB", strict=True))
    if len(x) + len(y) < 3:
        raise InvalidArgumentError("X and Y hold 2 rows, expected at least 3, for a deviation")
    associations = [(rows @ a.T).mean(axis=1) - (rows @ b.T).mean(axis=1) for rows in (x, y)]
    deviation = np.concatenate(associations).std(ddof=1)
    return (
        float((associations[0].mean() - associations[1].mean()) / deviation) if deviation > ROUNDING else float("nan")
    )
