"""Word vectors: files, averages, SIF and all-but-the-top: METHODS 7.4."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encoders
import engine
from encoders import AllButTheTop, WordVectorEncoder, WordVectors
from engine.exceptions import InvalidArgumentError, NotBuiltError, StorageError

WORDS = ["the", "a", "red", "bus", "green", "apple", "wolf", "New", "new"]
TEXTS = ["the red bus", "a green apple", "the wolf, a wolf", "the new red apple", "a bus"]


@pytest.fixture
def table(rng: np.random.Generator) -> WordVectors:
    return WordVectors(WORDS, rng.standard_normal((len(WORDS), 5)))


def encoder(table: WordVectors, **options: Any) -> WordVectorEncoder:
    return WordVectorEncoder(table, **{"normalize": False, **options})


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_files_are_read(tmp_path: Path, table: WordVectors, header: bool, packed: bool) -> None:
    lines = [f"{len(WORDS)} 5"] * header + [
        " ".join([word, *map(repr, row.tolist())]) for word, row in zip(WORDS, table.vectors, strict=True)
    ]
    data = "\n".join(lines).encode() + b"\n"
    path = tmp_path / ("w.vec.gz" if packed else "w.vec")
    path.write_bytes(gzip.compress(data) if packed else data)
    found = WordVectors.load(path)
    assert found.words == WORDS
    assert (found.vectors == table.vectors).all()
    assert found.fingerprint == table.fingerprint
    assert WordVectors.load(path, limit=2).words == ["the", "a"]
    assert (encoders.get(f"wordvectors:{path}", normalize=False).encode_queries(["bus"]) == table["bus"]).all()


def test_odd_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_bytes(b"a 1 2\r\n\n. . . 3 4 \nb\t5\t6\n\xff 7 8\n")
    found = WordVectors.load(tmp_path / "w.txt")
    assert found.words == ["a", ". . .", "b", "\ufffd"]
    assert found.vectors.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 3\n", "line 2 has 1 numbers, expected 2"),
        ("a 1 2\nb 3 4 5\n", "line 2 does not have 2 finite numbers"),
        ("2 3\na 1 2 3\nb 1 2\n", "line 3 has 2 numbers, expected 3"),
        ("a 1 2\nb 3 x\n", "line 2 has no 2 numbers after the word"),
        ("a 1 2\nb nan 1\n", "line 2 does not have 2 finite"),
        ("a 1 2\nb 1e99 1\n", "line 2 does not have 2 finite"),
        ("a\n", "line 1 has 0 numbers, expected some"),
        ("", "holds no word"),
        ("5 3\n", "holds no word"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_malformed_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "w.txt").write_text(text)
    with pytest.raises(InvalidArgumentError, match=message):
        WordVectors.load(tmp_path / "w.txt")


def test_files_that_say_too_much(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("3 1\na 1\nb 2\n")
    with pytest.warns(UserWarning, match="says 3 words and holds 2"):
        WordVectors.load(tmp_path / "w.txt")
    (tmp_path / "w.txt").write_text("a 1\nb 2\na 3\n")
    with pytest.warns(UserWarning, match="1 words come twice, such as 'a': the first counts"):
        found = WordVectors.load(tmp_path / "w.txt")
    assert (found.words, found["a"].tolist()) == (["a", "b"], [1])
    (tmp_path / "w.gz").write_bytes(gzip.compress(b"a 1\n" * 1000)[:20])
    for path in (tmp_path, tmp_path / "none", tmp_path / "w.gz"):
        with pytest.raises(StorageError, match="cannot read word vectors"):
            WordVectors.load(path)


@pytest.mark.parametrize("aggregate", ["mean", "tfidf"])
def test_one_word_is_its_vector(table: WordVectors, aggregate: Any) -> None:
    found = encoder(table, aggregate=aggregate).fit(TEXTS).encode_documents(WORDS)
    np.testing.assert_allclose(found, table.vectors, atol=1e-6)


def test_the_mean_is_that_of_the_words(table: WordVectors) -> None:
    found = encoder(table).encode_queries(["The red, RED bus: unknown", "New new"])
    expected = (table["the"] + 2 * table["red"] + table["bus"]) / 4
    np.testing.assert_allclose(found, [expected, (table["New"] + table["new"]) / 2], atol=1e-6)
    exact = encoder(table, lower=False).encode_queries(["The red bus"])
    np.testing.assert_allclose(exact[0], (table["red"] + table["bus"]) / 2, atol=1e-6)


def test_rare_words_are_heavy_in_tfidf(table: WordVectors) -> None:
    found = encoder(table, aggregate="tfidf").fit(TEXTS).encode_documents(["the wolf"])[0]
    weights = np.log([6 / (1 + 3), 6 / (1 + 1)]) + 1
    np.testing.assert_allclose(found, weights @ [table["the"], table["wolf"]] / weights.sum(), atol=1e-6)


def test_sif_weighs_and_takes_away_what_all_share(table: WordVectors) -> None:
    n_words = sum(len(text.split()) for text in TEXTS)
    share = {word: sum(text.replace(",", "").split().count(word) for text in TEXTS) / n_words for word in WORDS}
    rows = np.array([
        np.mean([0.1 / (0.1 + share[word]) * table[word] for word in text.replace(",", "").split()], axis=0)
        for text in TEXTS
    ])  # fmt: skip
    first = np.linalg.svd(rows)[2][0]
    fitted = encoder(table, aggregate="sif", a=0.1).fit(TEXTS)
    found = fitted.encode_documents(TEXTS)
    np.testing.assert_allclose(found, rows - rows @ np.outer(first, first), atol=1e-5)
    assert abs(found @ first).max() < 1e-5


def test_sif_with_a_large_a_is_the_mean_less_the_first_direction(table: WordVectors) -> None:
    means = encoder(table).encode_documents(TEXTS).astype(np.float64)
    first = np.linalg.svd(means)[2][0]
    found = encoder(table, aggregate="sif", a=1e9).fit(TEXTS).encode_documents(TEXTS)
    np.testing.assert_allclose(found, means - means @ np.outer(first, first), atol=1e-5)
    plain = encoder(table, aggregate="sif", a=1e9, n_components=0).fit(TEXTS).encode_documents(TEXTS)
    np.testing.assert_allclose(plain, means, atol=1e-5)


def test_a_text_does_not_depend_on_the_others(table: WordVectors) -> None:
    for aggregate in ("mean", "tfidf", "sif"):
        fitted = WordVectorEncoder(table, aggregate=aggregate).fit(TEXTS)  # type: ignore[arg-type]
        together = fitted.encode_documents(TEXTS)
        assert (np.concatenate([fitted.encode_documents([text]) for text in TEXTS]) == together).all()
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_what_was_learned_is_in_the_fingerprint(table: WordVectors) -> None:
    fresh, one, other = (encoder(table, aggregate="sif") for _ in range(3))
    one.fit(TEXTS)
    other.fit(TEXTS[:3])
    assert len({fresh.fingerprint, one.fingerprint, other.fingerprint, encoder(table).fingerprint}) == 4
    assert encoder(table, aggregate="sif").fit(TEXTS).fingerprint == one.fingerprint
    collection = engine.Collection.from_texts(TEXTS, one, progress=False)
    with pytest.raises(engine.EncoderMismatchError, match="fingerprint"):
        collection.encoder = other
    one.fit(TEXTS[:3])
    with pytest.raises(engine.EncoderMismatchError, match="fingerprint"):
        collection.search(["a bus"], k=1)


def test_texts_without_a_known_word(table: WordVectors) -> None:
    for text in ("", "unknown", "?!"):
        with pytest.raises(InvalidArgumentError, match=r"texts\[1\] is .* expected a word that the table has"):
            encoder(table).encode_documents(["a bus", text])
        zeros = WordVectorEncoder(table, on_empty="zero").encode_documents([text])
        assert (zeros == 0).all()
    assert encoder(table).encode_documents([]).shape == (0, 5)
    with pytest.raises(InvalidArgumentError, match="expected words that the table has"):
        encoder(table, aggregate="sif").fit(["unknown"])
    for aggregate in ("tfidf", "sif"):
        with pytest.raises(NotBuiltError, match="needs fit first"):
            encoder(table, aggregate=aggregate).encode_documents(["a bus"])


def test_unknown_words_are_known_by_their_parts(rng: np.random.Generator) -> None:
    table = WordVectors(["running", "runner", "apple"], np.eye(3))
    found = encoder(table, unknown="parts").encode_documents(["runnings", "apple"])
    assert found[0].argmax() == 0
    assert found[0, 2] == 0
    assert found[0].sum() == pytest.approx(1)
    assert found[1].tolist() == [0, 0, 1]
    with pytest.raises(InvalidArgumentError, match=r"texts\[0\] is 'zzz'"):
        encoder(table, unknown="parts").encode_documents(["zzz"])


def test_all_but_the_top(rng: np.random.Generator) -> None:
    X = rng.standard_normal((120, 40)) + 4 + 3 * rng.standard_normal((120, 1)) @ rng.standard_normal((1, 40))
    for n in (None, 1, 5):
        top = AllButTheTop(n)
        found = top.fit_transform(X)
        assert top.components_.shape == (n or 1, 40)
        np.testing.assert_allclose(top.components_ @ top.components_.T, np.eye(n or 1), atol=1e-9)
        assert abs(found @ top.components_.T).max() < 1e-3
        assert abs(found.mean(axis=0)).max() < 1e-4
        assert isotropy(found) > isotropy(X) + 0.3
        np.testing.assert_allclose(found[:3], top.transform(X[:3]), atol=1e-5)


def isotropy(X: Any) -> float:
    """The smallest over the largest partition function along principal directions: 1 if all are alike."""
    unit = X / np.linalg.norm(X, axis=1).mean()
    sums = np.exp(unit @ np.linalg.svd(unit, full_matrices=False)[2].T).sum(axis=0)
    mirrored = np.exp(-unit @ np.linalg.svd(unit, full_matrices=False)[2].T).sum(axis=0)
    return float(min(sums.min(), mirrored.min()) / max(sums.max(), mirrored.max()))


def test_bad_arguments(table: WordVectors) -> None:
    for options in (
        {"aggregate": "sum"}, {"a": 0}, {"a": float("nan")}, {"n_components": 6}, {"unknown": "guess"},
        {"on_empty": "skip"}, {"lower": 1}, {"normalize": "no"},
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=f"{next(iter(options))} is"):
            encoder(table, **options)
    for make in (
        lambda: WordVectorEncoder("words"),  # type: ignore[arg-type]
        lambda: WordVectors(["a"], [[1.0], [2.0]]),
        lambda: WordVectors(["a", 5], [[1.0], [2.0]]),  # type: ignore[list-item]
        lambda: WordVectors(["a"], [[np.inf]]),
        lambda: WordVectors.load("w", limit=0),
        lambda: AllButTheTop(5).fit(np.eye(5)),
        lambda: encoder(table).encode_documents([None]),  # type: ignore[list-item]
    ):
        with pytest.raises(InvalidArgumentError, match="expected"):
            make()
    with pytest.raises(NotBuiltError, match="call fit first"):
        AllButTheTop().transform(np.eye(5))
    with pytest.raises(KeyError, match="zebra"):
        table["zebra"]
