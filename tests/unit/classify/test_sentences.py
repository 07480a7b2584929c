"""Zero-shot and description classifiers: METHODS 3.2 and 3.3, without a model."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import encoders
from engine.classify import IMAGENET_7, IMAGENET_80, DescriptionClassifier, ZeroShotClassifier
from engine.exceptions import EncoderMismatchError, InvalidArgumentError, NotBuiltError

ENCODER = encoders.get("hashing", dim=128)
WORDS = ["red", "bus", "green", "apple", "grey", "wolf", "a", "photo", "bird", "black", "bill", "breast", "tall"]
NAMES = ["red bus", "green apple", "grey wolf"]
BIRDS = {
    "robin": ["a small bird with a red breast", "a brown back", "thin legs"],
    "raven": ["a large black bird", "a thick black bill"],
    "heron": ["a tall grey bird"],
}


class Both(encoders.BaseEncoder):
    """Texts by their words; images by how bright each channel is."""

    def __init__(self) -> None:
        super().__init__(encoders.EncoderSpec("both", 128))
        self.n_texts = 0

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.n_texts += len(texts)
        return ENCODER.encode_documents(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return ENCODER.encode_documents(texts)

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        colours = ENCODER.encode_documents(["red", "green", "grey"])
        return np.array([image.mean(axis=(0, 1)) @ colours for image in images], np.float32)


def cosines(queries: Any, sentences: list[str]) -> NDArray[np.float64]:
    left, right = (part.astype(np.float64) for part in (queries, ENCODER.encode_documents(sentences)))
    return (left / np.linalg.norm(left, axis=1, keepdims=True)) @ right.T


@pytest.fixture
def queries(rng: np.random.Generator) -> NDArray[np.float32]:
    """Noisy mixtures of words."""
    words = ENCODER.encode_queries(WORDS)
    return (rng.random((300, len(words))) ** 3 @ words + 0.05 * rng.standard_normal((300, 128))).astype(np.float32)


# The templates


def test_templates() -> None:
    assert len(IMAGENET_80) == len(set(IMAGENET_80)) == 80
    assert len(IMAGENET_7) == 7
    assert set(IMAGENET_7) < set(IMAGENET_80)
    assert all(template.count("{}") == 1 for template in IMAGENET_80)
    for one in (
        "a photo of a {}.",
        "graffiti of the {}.",
        "a photo of a hard to see {}.",
        "the plushie {}.",
        "itap of my {}.",
    ):
        assert one in IMAGENET_80


# What METHODS says to verify


def test_one_template_is_the_plain_embedding(queries: Any) -> None:
    plain = ZeroShotClassifier(ENCODER, templates=["{}"]).fit(NAMES)
    assert plain.classes_.tolist() == sorted(NAMES)
    np.testing.assert_allclose(plain.class_embeddings_, ENCODER.encode_documents(sorted(NAMES)), atol=1e-7)
    np.testing.assert_allclose(plain.class_scores(queries), cosines(queries, sorted(NAMES)), atol=1e-6)


@pytest.mark.parametrize("aggregate", ["mean_embedding", "mean_logit", "max_logit"])
def test_order_and_copies_of_templates_change_nothing(queries: Any, aggregate: Any) -> None:
    plain = ZeroShotClassifier(ENCODER, aggregate=aggregate).fit(NAMES)
    for templates in (IMAGENET_7 * 3, IMAGENET_7[::-1]):
        other = ZeroShotClassifier(ENCODER, templates=templates, aggregate=aggregate).fit(NAMES[::-1])
        np.testing.assert_allclose(other.class_scores(queries), plain.class_scores(queries), atol=1e-6)
        np.testing.assert_array_equal(other.predict(queries), plain.predict(queries))


def test_the_aggregates_against_plain_numpy(queries: Any) -> None:
    each = [cosines(queries, [t.replace("{}", name) for t in IMAGENET_80]) for name in sorted(NAMES)]
    vectors = [ENCODER.encode_documents([t.replace("{}", name) for t in IMAGENET_80]) for name in sorted(NAMES)]
    means = np.array([part.astype(np.float64).mean(axis=0) for part in vectors])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    expected = {
        "mean_embedding": (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ means.T,
        "mean_logit": np.stack([part.mean(axis=1) for part in each], axis=1),
        "max_logit": np.stack([part.max(axis=1) for part in each], axis=1),
    }
    for aggregate, scores in expected.items():
        zero_shot = ZeroShotClassifier(ENCODER, templates=IMAGENET_80, aggregate=aggregate).fit(NAMES)  # type: ignore[arg-type]
        np.testing.assert_allclose(zero_shot.class_scores(queries), scores, atol=1e-6)
        np.testing.assert_array_equal(zero_shot.predict(queries), zero_shot.classes_[scores.argmax(axis=1)])
        logits = np.exp(100 * (scores - scores.max(axis=1, keepdims=True)))
        shares = logits / logits.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(zero_shot.predict_proba(queries), shares, atol=1e-4)


def test_the_means_differ_by_the_length_of_the_mean_alone(queries: Any) -> None:
    """mean_j cos(x, t_j) = ||mean_j t_j|| cos(x, mean t)."""
    embedding = DescriptionClassifier(ENCODER).fit(BIRDS)
    logit = DescriptionClassifier(ENCODER, aggregate="mean_logit").fit(BIRDS)
    lengths = [np.linalg.norm(ENCODER.encode_documents(BIRDS[name]).mean(axis=0)) for name in sorted(BIRDS)]
    assert max(lengths) == pytest.approx(1)
    assert min(lengths) < 0.8
    np.testing.assert_allclose(logit.class_scores(queries), embedding.class_scores(queries) * lengths, atol=1e-6)
    assert (logit.predict(queries) != embedding.predict(queries)).any()


def test_equal_descriptions_make_the_means_agree(queries: Any) -> None:
    same = {name: [sentences[0]] * 3 for name, sentences in BIRDS.items()}
    embedding = DescriptionClassifier(ENCODER).fit(same)
    logit = DescriptionClassifier(ENCODER, aggregate="mean_logit").fit(same)
    np.testing.assert_allclose(logit.class_scores(queries), embedding.class_scores(queries), atol=1e-6)


def test_explain_gives_the_sentences_that_decided(queries: Any) -> None:
    clf = DescriptionClassifier(ENCODER, aggregate="mean_logit").fit(BIRDS)
    for name in BIRDS:
        explained = clf.explain(queries[0], name)
        assert sorted(sentence for sentence, _ in explained) == sorted(BIRDS[name])
        scores = [score for _, score in explained]
        assert scores == sorted(scores, reverse=True)
        assert np.mean(scores) == pytest.approx(
            clf.class_scores(queries[:1])[0, list(clf.classes_).index(name)], abs=1e-6
        )
        np.testing.assert_allclose(scores, cosines(queries[:1], [s for s, _ in explained])[0], atol=1e-6)
    assert clf.explain("black bill", "raven")[0][0] == "a thick black bill"


# Texts, images, vectors


def test_texts_images_and_vectors_are_predicted() -> None:
    encoder = Both()
    zero_shot = ZeroShotClassifier(encoder, templates=["a photo of a {}."]).fit(NAMES)
    images = [np.zeros((4, 4, 3), np.uint8) + np.eye(3, dtype=np.uint8)[i] * 200 for i in range(3)]
    assert zero_shot.predict(images).tolist() == NAMES
    assert zero_shot.predict(["the apple is green", "wolf"]).tolist() == ["green apple", "grey wolf"]
    assert zero_shot.predict(ENCODER.encode_queries(["bus"])).tolist() == ["red bus"]
    assert zero_shot.explain(images[0], "red bus")[0][0] == "a photo of a red bus."


def test_each_sentence_is_encoded_once() -> None:
    encoder = Both()
    ZeroShotClassifier(encoder, templates=IMAGENET_80 * 2).fit(NAMES)
    assert encoder.n_texts == 240


def test_descriptions_beside_templates(queries: Any) -> None:
    more = {"red bus": ["it has wheels", "it is long"]}
    zero_shot = ZeroShotClassifier(ENCODER, templates=["a {}"]).fit(NAMES, more)
    combined = DescriptionClassifier(ENCODER, combine_templates=["a {}"]).fit(
        {name: more.get(name, []) for name in NAMES}
    )
    assert zero_shot.offsets_.tolist() == [0, 1, 2, 5]
    np.testing.assert_allclose(combined.class_scores(queries), zero_shot.class_scores(queries), atol=1e-7)


def test_a_class_without_descriptions_falls_back_on_request() -> None:
    birds = BIRDS | {"crane": []}
    with pytest.raises(
        InvalidArgumentError, match=r"descriptions\['crane'\] is empty, expected some, or fallback_template"
    ):
        DescriptionClassifier(ENCODER).fit(birds)
    with pytest.warns(UserWarning, match=r"no descriptions of \['crane'\]: they are 'a photo of a \{\}\.' alone"):
        clf = DescriptionClassifier(ENCODER, fallback_template="a photo of a {}.").fit(birds)
    assert clf.explain("crane", "crane")[0][0] == "a photo of a crane."


def test_settings_are_heard_and_kept(queries: Any) -> None:
    base = pytest.importorskip("sklearn.base")
    clf = base.clone(DescriptionClassifier(ENCODER, logit_scale=10.0)).fit(BIRDS)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(queries), clf.predict_proba(queries))
    before = clf.predict_proba(queries)
    assert abs(clf.set_params(logit_scale=20.0).predict_proba(queries) - before).max() > 0.05
    assert clf.set_params(aggregate="mean_logit").predict(queries).tolist() != again.predict(queries).tolist()


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"templates": ["a photo"]}, r"templates\[0\] is 'a photo', expected a text with \{\}"),
        ({"templates": []}, "templates is empty"),
        ({"templates": [3]}, r"templates\[0\] is 3, expected a str"),
        ({"aggregate": "sum"}, "aggregate is 'sum', expected one of 'mean_embedding'"),
        ({"logit_scale": 0}, "logit_scale is 0.0, expected a number above 0"),
        ({"encoder": "clip"}, r"encoder is 'clip', expected an Encoder: pass encoders.get\('clip'\)"),
        ({"encoder": None}, "encoder is None, expected an Encoder"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ZeroShotClassifier(**({"encoder": ENCODER} | settings)).fit(NAMES)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"class_names is \[\], expected a list of names"),
        ("cat", "class_names is 'cat', expected a list of names"),
        (["cat", ""], r"class_names\[1\] is '', expected names that differ and are not blank"),
        (["cat", "dog", "cat"], r"class_names\[2\] is 'cat', expected names that differ"),
        (["cat", 3], r"class_names\[1\] is 3, expected a str"),
    ],
)
def test_bad_names(names: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ZeroShotClassifier(ENCODER).fit(names)


@pytest.mark.parametrize(
    ("descriptions", "message"),
    [
        ({}, r"descriptions is \[\]"),
        (["robin"], r"descriptions is \['robin'\], expected a mapping"),
        ({"robin": [3]}, r"descriptions\['robin'\]\[0\] is 3"),
        ({"robin": ["red", " "]}, r"descriptions\['robin'\] holds ' ', expected sentences"),
    ],
)
def test_bad_descriptions(descriptions: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        DescriptionClassifier(ENCODER).fit(descriptions)


def test_other_misuse() -> None:
    zero_shot = ZeroShotClassifier(ENCODER)
    with pytest.raises(NotBuiltError, match="call fit first"):
        zero_shot.predict(["cat"])
    with pytest.raises(InvalidArgumentError, match="descriptions holds 'cow', expected one of class_names"):
        zero_shot.fit(NAMES, {"cow": ["moo"]})
    zero_shot.fit(NAMES)
    with pytest.raises(InvalidArgumentError, match="X has dim 3, expected 128"):
        zero_shot.predict(np.eye(3))
    with pytest.raises(InvalidArgumentError, match=r"X\[0\] is zero"):
        zero_shot.predict(np.zeros((1, 128)))
    with pytest.raises(InvalidArgumentError, match="name is 'cow', expected one of classes_"):
        zero_shot.explain("moo", "cow")
    with pytest.raises(InvalidArgumentError, match="x is 2 rows, expected one"):
        zero_shot.explain(np.ones((2, 128)), "red bus")
    with pytest.raises(InvalidArgumentError, match="aggregate is 'max_logit', expected one of"):
        DescriptionClassifier(ENCODER, aggregate="max_logit").fit(BIRDS)  # type: ignore[arg-type]

    class Wrong(Both):
        def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return super().encode_queries(texts)[:, :64]

    with pytest.raises(EncoderMismatchError, match=r"returned shape \(1, 64\), expected \(1, 128\)"):
        ZeroShotClassifier(Wrong()).fit(NAMES).predict(["bus"])
