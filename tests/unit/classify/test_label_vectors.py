"""LabelVectorClassifier: METHODS 3.9."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from engine.classify import LabelVectorClassifier, NearestClassMean
from engine.exceptions import InvalidArgumentError


@pytest.fixture
def topics(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """200 documents about two topics, three keywords of each: near the topic, but not its middle."""
    middles = 3 * np.eye(2, 12)
    docs = middles[np.arange(200) % 2] + rng.standard_normal((200, 12))
    off = rng.standard_normal((2, 12))
    x, y = (middles[i] + 0.8 * off[i] + 0.3 * rng.standard_normal((3, 12)) for i in range(2))
    return docs, {"x": x, "y": y}, np.array(["x", "y"])[np.arange(200) % 2]


def cosines(rows: Any, vector: Any) -> Any:
    return rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)


@pytest.mark.parametrize(
    "settings",
    [{"similarity_threshold": 0.5}, {"similarity_threshold_offset": 0.3}, {"max_docs": 17},
     {"similarity_threshold": 0.1, "max_docs": 9}, {"similarity_threshold": 0.99, "min_docs": 4}],
)  # fmt: skip
def test_the_steps_against_plain_numpy(topics: Any, settings: dict[str, Any]) -> None:
    docs, keywords, _ = topics
    clf = LabelVectorClassifier(**settings).fit(docs, keywords)
    for i, name in enumerate(clf.classes_):
        keyword = keywords[name].mean(axis=0)
        np.testing.assert_allclose(clf.keyword_vectors_[i], keyword, rtol=1e-5)
        scores = cosines(docs, keyword)
        order = np.argsort(-scores, kind="stable")
        offset = settings.get("similarity_threshold_offset")
        threshold = settings.get("similarity_threshold", -1 if offset is None else scores.max() - offset)
        n = min(max((scores >= threshold).sum(), settings.get("min_docs", 1)), settings.get("max_docs", 200))
        np.testing.assert_array_equal(clf.selected_docs_[i], order[:n])
        np.testing.assert_allclose(clf.label_vectors_[i], docs[order[:n]].mean(axis=0), rtol=1e-4, atol=1e-5)
    scores = np.stack([cosines(docs, vector) for vector in clf.label_vectors_], axis=1)
    np.testing.assert_allclose(clf.class_scores(docs), scores, atol=1e-5)
    np.testing.assert_array_equal(clf.predict(docs), clf.classes_[scores.argmax(axis=1)])


def test_documents_teach_more_than_keywords(topics: Any) -> None:
    docs, keywords, y = topics
    by_keywords = NearestClassMean().fit(np.concatenate(list(keywords.values())), ["x"] * 3 + ["y"] * 3).score(docs, y)
    assert LabelVectorClassifier(max_docs=40).fit(docs, keywords).score(docs, y) > by_keywords


@pytest.mark.parametrize("settings", [{"similarity_threshold": -1}, {}])
def test_all_documents_make_all_labels_equal(topics: Any, settings: dict[str, Any]) -> None:
    docs, keywords, _ = topics
    with pytest.warns(UserWarning, match="every label takes all documents, so all label vectors are equal"):
        clf = LabelVectorClassifier(**settings).fit(docs, keywords)
    np.testing.assert_allclose(clf.label_vectors_[0], clf.label_vectors_[1], rtol=1e-5)


def test_a_keyword_that_is_a_document_is_plain_keyword_similarity(topics: Any) -> None:
    docs, _, _ = topics
    clf = LabelVectorClassifier(similarity_threshold=0.9999).fit(docs, {"x": docs[:1], "y": docs[1:2]})
    assert [rows.tolist() for rows in clf.selected_docs_] == [[0], [1]]
    np.testing.assert_allclose(clf.class_scores(docs)[:, 0], cosines(docs, docs[0]), atol=1e-5)


def test_an_outlier_is_left_out(rng: np.random.Generator) -> None:
    pytest.importorskip("sklearn")
    topics = np.eye(2, 8)
    docs = np.concatenate([topics[i] + 0.05 * rng.standard_normal((30, 8)) for i in (0, 1)])
    docs = np.concatenate([docs, [[1, 1.2, 0, 0, 0, 0, 0, 0]]])  # between the topics
    for outliers, expected in ((None, True), ("lof", False)):
        clf = LabelVectorClassifier(similarity_threshold=0.5, outliers=outliers, n_neighbors=10)  # type: ignore[arg-type]
        clf.fit(docs, {"x": topics[:1], "y": topics[1:]})
        assert (60 in clf.selected_docs_[0]) is expected
        assert len(clf.selected_docs_[0]) >= 25


def test_the_order_of_documents_changes_nothing(topics: Any, rng: np.random.Generator) -> None:
    docs, keywords, _ = topics
    plain = LabelVectorClassifier(max_docs=20).fit(docs, keywords)
    order = rng.permutation(200)
    mixed = LabelVectorClassifier(max_docs=20).fit(docs[order], [keywords["y"], keywords["x"]], ["y", "x"])
    np.testing.assert_allclose(mixed.label_vectors_, plain.label_vectors_, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mixed.predict(docs), plain.predict(docs))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plain)).predict(docs), plain.predict(docs))
    assert order[mixed.selected_docs_[0]].tolist() == plain.selected_docs_[0].tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"similarity_threshold": 1.5}, "similarity_threshold is 1.5, expected -1 to 1"),
        ({"similarity_threshold": "high"}, "similarity_threshold is 'high'"),
        ({"similarity_threshold_offset": -0.1}, "similarity_threshold_offset is -0.1, expected a number of at least 0"),
        ({"min_docs": 0}, "min_docs is 0"),
        ({"max_docs": 0}, "max_docs is 0"),
        ({"min_docs": 5, "max_docs": 5}, "max_docs is 5, expected more than min_docs: 5"),
        ({"outliers": "zscore"}, "outliers is 'zscore', expected 'lof' or None"),
        ({"n_neighbors": 0}, "n_neighbors is 0"),
    ],
)
def test_bad_settings(topics: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        LabelVectorClassifier(**settings).fit(topics[0], topics[1])


@pytest.mark.parametrize(
    ("docs", "keywords", "names", "message"),
    [
        (np.eye(2), {"x": []}, None, r"keyword_vectors\['x'\] is empty, expected at least one keyword"),
        (np.eye(2), {"x": np.eye(3)}, None, r"keyword_vectors\['x'\] has dim 3, expected 2"),
        (np.eye(2), [np.eye(2)], None, "label_names is None, expected texts"),
        (np.eye(2), [np.eye(2)], ["x", "y"], "label_names has 2 names, expected 1 that differ"),
        (np.eye(2), [np.eye(2)] * 2, ["x", "x"], "label_names has 2 names, expected 2 that differ"),
        (np.eye(2), {"x": np.eye(2)}, ["x"], "expected None: keyword_vectors has names"),
        (np.eye(2), {}, None, "label_names has 0 names"),
        (np.eye(2), {"x": [[1, 0], [-1, 0]]}, None, r"the keyword vectors\[0\] is zero"),
        ("a document", {"x": np.eye(2)}, None, "doc_vectors has dtype"),
        (["a document"], {"x": np.eye(2)}, None, "doc_vectors has dtype"),
        ([[0, 0]], {"x": np.eye(2)}, None, r"doc_vectors\[0\] is zero"),
    ],
)
def test_bad_data(docs: Any, keywords: Any, names: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        LabelVectorClassifier(max_docs=2).fit(docs, keywords, names)
