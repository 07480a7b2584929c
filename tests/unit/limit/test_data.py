"""engine.limit: patterns, data sets, baselines and their recall."""

from __future__ import annotations

import os
import re
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Collection
from engine.exceptions import InvalidArgumentError, StorageError
from engine.limit import (
    BM25,
    LimitDataset,
    RandomAdditive,
    RandomMaxSim,
    SparseWords,
    average_query_strength,
    evaluate,
    graph_density,
    load_limit,
    make_limit_dataset,
    make_qrels,
)
from engine.limit.patterns import check_memory


@pytest.fixture(scope="module")
def small() -> LimitDataset:
    """The real LIMIT-small."""
    folder = Path(os.environ.get("NEARFIELD_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
    if not (folder / "limit").is_dir():
        pytest.skip(f"{folder / 'limit'} is missing: set NEARFIELD_DATA to test the real LIMIT-small")
    return load_limit(folder / "limit" / "data" / "limit-small")


# patterns


@pytest.mark.parametrize("pattern", ["dense", "random", "cycle", "disjoint"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_rows_of_every_pattern_are_sorted_sets_of_k(pattern: Any, k: int) -> None:
    rows = make_qrels(30, 10, k, pattern)
    assert rows.shape == (10, k)
    assert rows.dtype == np.int64
    assert (np.diff(rows, axis=1) > 0).all()
    assert rows.min() >= 0
    assert rows.max() < 30


def test_dense_is_over_as_few_documents_as_have_so_many_sets() -> None:
    rows = make_qrels(50_000, 1000)
    assert len(np.unique(rows)) == 46
    assert len(np.unique(rows, axis=0)) == 1000
    assert rows[0].tolist() == [0, 1]
    assert len(make_qrels(7, k=3)) == comb(7, 3)


def test_cycle_overlaps_and_disjoint_does_not() -> None:
    rows = make_qrels(10, k=3, pattern="cycle")
    assert all(len({*rows[i]} & {*rows[(i + 1) % 10]}) == 2 for i in range(10))
    assert len(np.unique(make_qrels(12, 4, 3, "disjoint"))) == 12


def test_random_sets_are_seeded() -> None:
    one, same, other = (make_qrels(100, 50, 2, "random", seed) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 5}, "k is 5, expected less than the number of documents, 5"),
        ({"k": 0}, "k is 0"),
        ({"n_queries": 11}, "n_queries is 11, expected at most 10"),
        ({"n_queries": 3, "pattern": "disjoint"}, "n_docs is 5, expected at least 6"),
        ({"n_queries": 6, "pattern": "cycle"}, "n_queries is 6, expected at most 5"),
        ({"n_docs": 10**6}, r"499999500000 queries of 2 documents would take 7450\.6 GiB"),
        ({"pattern": "round"}, "pattern is 'round', expected one of"),
    ],
)
def test_bad_patterns(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make_qrels(**{"n_docs": 5} | arguments)


def test_difficulty_of_all_pairs_in_closed_form() -> None:
    for n in (3, 10, 46):
        assert average_query_strength(make_qrels(n)) == pytest.approx(2 * (n - 2) / 3)
        assert graph_density(make_qrels(n)) == 1.0
    assert average_query_strength(make_qrels(20, pattern="disjoint")) == 0.0
    assert graph_density([[0, 1, -1], [3, 2, 1], [5, -1, -1]]) == pytest.approx(4 / 10)


def test_strength_against_sets(rng: np.random.Generator) -> None:
    rows = np.where(rng.random((20, 4)) < 0.2, -1, np.argsort(rng.random((20, 9)), axis=1)[:, :4])
    rows[:, 0] = np.maximum(rows[:, 0], 9)
    sets = [{*row.tolist()} - {-1} for row in rows]
    pairs = [len(a & b) / len(a | b) for i, a in enumerate(sets) for j, b in enumerate(sets) if i != j]
    assert average_query_strength(rows) == pytest.approx(sum(pairs) / 20)


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ([[1, 2], [-1, -1]], r"qrels\[1\] has no relevant document"),
        ([[1, 1]], r"qrels\[0\] is \[1, 1\], expected each document once"),
        ([[0.5, 1]], "qrels has dtype float64"),
        ([1, 2], r"qrels has shape \(2,\)"),
    ],
)
def test_bad_qrels(qrels: Any, message: str) -> None:
    for function in (graph_density, average_query_strength):
        with pytest.raises(InvalidArgumentError, match=message):
            function(qrels)


# data sets


def test_the_real_data(small: LimitDataset) -> None:
    assert (len(small.corpus), small.qrels.shape) == (46, (1000, 2))
    assert average_query_strength(small.qrels) == pytest.approx(28.4653333, abs=1e-6)
    assert graph_density(small.qrels) == pytest.approx(1000 / 1035)
    counts = np.bincount(small.qrels.ravel())
    assert (counts.min(), counts.max()) == (37, 45)
    # The texts were read right: an attribute is asked for exactly of those documents that have it.
    for query, rows in zip(small.queries.values(), small.qrels, strict=True):
        attribute = query.removeprefix("Who likes ").removesuffix("?")
        assert [i for i, likes in enumerate(small.doc_attributes) if attribute in likes] == rows.tolist()


def test_baselines_on_the_real_data(small: LimitDataset) -> None:
    """Reference values in METHODS, measured with another implementation."""
    bm25 = evaluate(small, BM25(small.documents))
    assert bm25["recall@2"] == pytest.approx(0.9915, abs=0.003)
    assert bm25["recall@10"] == bm25["recall@20"] == 1.0
    assert evaluate(small, RandomMaxSim(small, 4), ks=[2]) == {"recall@2": 1.0}
    for dim, expected in ((32, (16.5, 50.9, 75.1)), (128, (41.8, 80.1, 93.0)), (512, (87.9, 99.3, 99.9))):
        runs = [evaluate(small, RandomAdditive(small, dim, seed), (2, 10, 20)) for seed in range(3)]
        means = np.mean([list(run.values()) for run in runs], axis=0)
        assert np.abs(100 * means - expected).max() <= 3


def test_generated_documents_answer_their_queries() -> None:
    data = make_limit_dataset(30, 100, 3, n_attributes_per_doc=12)
    assert (len(data.corpus), len(data.queries), data.qrels.shape) == (30, 100, (100, 3))
    assert len({*data.queries.values()}) == 100
    for query, rows in zip(data.queries.values(), data.qrels, strict=True):
        attribute = query.removeprefix("Who likes ").removesuffix("?")
        assert [i for i, likes in enumerate(data.doc_attributes) if attribute in likes] == rows.tolist()
    assert min(map(len, data.doc_attributes)) == 12
    assert all(len({*likes}) == len(likes) for likes in data.doc_attributes)


def test_the_seed_decides_all() -> None:
    assert make_limit_dataset(10, 20).corpus == make_limit_dataset(10, 20).corpus
    assert make_limit_dataset(10, 20).corpus != make_limit_dataset(10, 20, random_state=1).corpus


def test_a_saved_data_set_comes_back(tmp_path: Path) -> None:
    data = make_limit_dataset(
        20, 50, n_attributes_per_doc=8, attributes=[f"Salt and Herb {i} and Oil" for i in range(99)]
    )
    data.save(tmp_path)
    read = load_limit(tmp_path)
    assert (read.corpus, read.queries, read.doc_attributes) == (data.corpus, data.queries, data.doc_attributes)
    assert (read.qrels == data.qrels).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attributes": ["a"] * 9}, "attributes holds 'a' twice"),
        ({"attributes": list("abc")}, "attributes has 3, expected at least 4"),
        ({"attributes": list("abcdefg"), "n_attributes_per_doc": 9}, "attributes has 7, expected at least"),
        ({"names": ["Ann"]}, "names has 1, expected at least 5"),
        ({"n_attributes_per_doc": 0}, "n_attributes_per_doc is 0"),
        ({"k": 5}, "k is 5"),
        ({"n_queries": 99}, "n_queries is 99, expected at most 10"),
    ],
)
def test_bad_recipes(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make_limit_dataset(**{"n_docs": 5, "n_queries": 4} | arguments)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("corpus", "not json", "corpus.jsonl, line 1 is not JSON"),
        ("corpus", '{"_id": "a"}', "corpus.jsonl, line 1 is .* expected an object with _id, text"),
        ("corpus", "", "corpus.jsonl is empty"),
        ("corpus", '{"_id": "a", "text": ""}\n{"_id": "a", "text": ""}', "line 2: _id is 'a' again"),
        ("qrels", '{"query-id": "query_0", "corpus-id": "?", "score": 1}', r"corpus-id is '\?', expected an id"),
        ("qrels", '{"query-id": "?", "corpus-id": "?", "score": 1}', r"query-id is '\?', expected an id"),
        ("qrels", "", "no relevant document for query .query_0"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    make_limit_dataset(5, 4).save(tmp_path)
    (tmp_path / f"{name}.jsonl").write_text(text)
    with pytest.raises(InvalidArgumentError, match=message):
        load_limit(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"corpus\.jsonl"):
        load_limit(tmp_path)


# recall


@pytest.fixture
def data() -> LimitDataset:
    return make_limit_dataset(12, 40, n_attributes_per_doc=8)


def test_all_kinds_of_retrievers_agree(data: LimitDataset) -> None:
    encoder = RandomAdditive(data, 16)
    texts = list(data.queries.values())
    queries, documents = encoder.encode_queries(texts), encoder.encode_documents(data.documents)
    collection = Collection.from_texts(data.documents, encoder, progress=False)
    expected = evaluate(data, encoder)
    assert 0.2 < expected["recall@2"] < 1
    assert expected["recall@20"] == expected["recall@100"] == 1.0
    for retriever in (
        collection,
        (queries, documents),
        queries @ documents.T,
        lambda batch: encoder.encode_queries(batch) @ documents.T,
    ):
        assert evaluate(data, retriever) == pytest.approx(expected)


def test_recall_counts_ragged_rows_by_query() -> None:
    data = LimitDataset({"a": "", "b": "", "c": ""}, {"p": "", "q": ""}, np.array([[0, 1], [2, -1]]))
    assert evaluate(data, np.array([[3, 1, 2], [1, 2, 3]]), ks=(1, 2)) == {"recall@1": 0.75, "recall@2": 0.75}


def test_equal_scores_are_ordered_by_position() -> None:
    data = LimitDataset({"a": "", "b": ""}, {"p": "", "q": ""}, np.array([[0], [1]]))
    assert evaluate(data, np.zeros((2, 2)), ks=[1]) == {"recall@1": 0.5}


def test_the_order_of_documents_does_not_matter(data: LimitDataset, rng: np.random.Generator) -> None:
    scores = rng.random((40, 12))
    order = rng.permutation(12)
    names = [list(data.corpus)[i] for i in order]
    place = np.argsort(order)
    shuffled = LimitDataset({name: data.corpus[name] for name in names}, data.queries, place[data.qrels])
    assert evaluate(data, scores) == evaluate(shuffled, scores[:, order])


@pytest.mark.parametrize(
    ("retriever", "message"),
    [
        (np.zeros((3, 3)), r"retriever has shape \(3, 3\), expected \(40, 12\)"),
        (np.full((40, 12), np.nan), "score of document 0 for query 0 is nan"),
        (lambda texts: np.zeros((1, 1)), r"retriever gave float64 .*\(1, 1\), expected scores \(40, 12\)"),
        ((np.ones((40, 3)), np.ones((11, 3))), "11 document embeddings were given, expected 12"),
        ((np.full((40, 3), np.nan), np.ones((12, 3))), r"query embeddings\[0, 0\] is nan"),
        ("bm25", "retriever is 'bm25', expected an encoder"),
    ],
)
def test_bad_retrievers(data: LimitDataset, retriever: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        evaluate(data, retriever)


def test_bad_cuts_and_foreign_documents(data: LimitDataset) -> None:
    scores = np.zeros((40, 12))
    for ks, message in (((), r"ks is \(\)"), ((0,), "ks is 0")):
        with pytest.raises(InvalidArgumentError, match=message):
            evaluate(data, scores, ks)
    with pytest.raises(InvalidArgumentError, match="expected documents below 12"):
        evaluate(LimitDataset(data.corpus, data.queries, data.qrels + 5), scores)
    with pytest.raises(InvalidArgumentError, match="qrels has 3 rows, expected 40"):
        evaluate(LimitDataset(data.corpus, data.queries, data.qrels[:3]), scores)


def test_bm25_by_the_formula() -> None:
    documents = ["red red ball", "blue ball", "the sea"]
    lengths, mean = np.array([3, 2, 2]), 7 / 3
    counts = np.array([[2, 0, 0], [1, 1, 0]])
    n_with = (counts > 0).sum(axis=1)[:, None]
    idf = np.log(1 + (3 - n_with + 0.5) / (n_with + 0.5))
    expected = (idf * counts * 2.5 / (counts + 1.5 * (0.25 + 0.75 * lengths / mean))).sum(axis=0)
    np.testing.assert_allclose(BM25(documents)(["RED ball, a unicorn"])[0], expected, rtol=1e-6)


@pytest.mark.parametrize(("arguments", "message"), [({"k1": -1}, "k1 is -1"), ({"b": 2}, "b 2.0")])
def test_bad_bm25(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        BM25(["a text"], **arguments)


def test_sparse_words_are_products_of_weights() -> None:
    documents, query = ["red ball ball", "blue ball", "the sea"], "ball by the sea, the ball"
    rarity = {"red": 1, "ball": 2, "blue": 1, "the": 1, "sea": 1}

    def weights(text: str) -> dict[str, float]:
        words = re.findall(r"\w\w+", text)
        return {w: np.log1p(words.count(w) * np.log1p(3 / rarity[w])) for w in words if w in rarity}

    asked = weights(query)
    expected = [sum(w * asked.get(word, 0) for word, w in weights(text).items()) for text in documents]
    np.testing.assert_allclose(SparseWords(documents)([query])[0], expected, rtol=1e-6)


def test_sparse_words_of_an_encoder() -> None:
    def encode(texts: list[str]) -> list[dict[str, float]]:
        return [dict.fromkeys(text, 2.0) for text in texts]

    assert SparseWords(["ab", "bc"], encode=encode)(["b", "cx"]).tolist() == [[4, 4], [0, 4]]
    data = make_limit_dataset(5, 4, n_attributes_per_doc=3)
    assert evaluate(data, SparseWords(data.documents), ks=(2,)) == {"recall@2": 1.0}


@pytest.mark.parametrize(
    ("documents", "encode", "message"),
    [
        ([], None, "documents is empty"),
        (["a"], lambda texts: [], "expected a mapping for each of 1 texts"),
        (["a"], lambda texts: [[1.0]], "expected a mapping"),
        (["a"], lambda texts: [{"x": -1.0}], "the weight of 'x' is -1"),
        (["a"], lambda texts: [{"x": np.nan}], "the weight of 'x' is nan"),
    ],
)
def test_bad_sparse_words(documents: Any, encode: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        SparseWords(documents, encode=encode)


def test_sets_of_vectors_are_searched_through_their_index(data: LimitDataset) -> None:
    few = RandomMaxSim(data, 8)
    sets = [few.encode_queries([text]) for text in data.queries.values()]
    assert evaluate(data, (sets, few.index), ks=(2, 3)) == evaluate(data, few, ks=(2, 3))
    with pytest.raises(InvalidArgumentError, match=f"{len(sets) - 1} queries were given, expected {len(sets)}"):
        evaluate(data, (sets[1:], few.index))
    few.index.remove([0])
    with pytest.raises(InvalidArgumentError, match=r"retriever has \d+ rows, expected"):
        evaluate(data, (sets, few.index))


def test_baselines_of_attributes_refuse_other_texts(data: LimitDataset) -> None:
    with pytest.raises(InvalidArgumentError, match="dataset has other texts"):
        RandomAdditive(LimitDataset({"a": "cat"}, {"q": "dog"}, np.array([[0]])), 4)
    with pytest.raises(InvalidArgumentError, match="expected queries of the data set"):
        RandomAdditive(data, 4).encode_queries(["Who?"])
    with pytest.raises(InvalidArgumentError, match="expected documents of the data set"):
        RandomAdditive(data, 4).encode_documents(["Ann likes all."])


def test_memory_is_named_in_gib() -> None:
    with pytest.raises(InvalidArgumentError, match=r"all scores would take 8.0 GiB, expected at most 1.0 GiB"):
        check_memory(2**33, "all scores", 2**30)
