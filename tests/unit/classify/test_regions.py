"""Regions and vocabularies: METHODS 5.3."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.datasets import data_folder
from engine.classify import RegionClassifier, VocabularyIndex, multi_scale_crops, nms
from engine.exceptions import InvalidArgumentError

NAMES = ["dog", "cat", "bus"]


@pytest.fixture
def regions(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    text = rng.standard_normal((3, 16))
    codes = np.arange(60) % 3
    return text, text[codes] + 0.8 * rng.standard_normal((60, 16)), np.array(NAMES)[codes]


def softmax(scores: Any) -> Any:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def cosines(left: Any, right: Any) -> Any:
    return left @ right.T / np.linalg.norm(left, axis=1, keepdims=True) / np.linalg.norm(right, axis=1)


def test_the_formula(regions: Any, rng: np.random.Generator) -> None:
    text, X, _ = regions
    X = np.concatenate([X[:40], rng.standard_normal((20, 16))])
    order, background = np.argsort(NAMES), rng.standard_normal(16)
    scores = cosines(X, np.concatenate([text[order], background[None]]))
    for given, last in ((background, scores[:, 3]), (0.4, np.full(60, 0.4))):
        shares = softmax(np.column_stack([scores[:, :3], last]) / 0.05)
        clf = RegionClassifier(given, temperature=0.05).fit(text, NAMES)
        np.testing.assert_allclose(clf.predict_proba(X), shares[:, :3], rtol=1e-4, atol=1e-7)
        expected = np.append(np.sort(NAMES), "background")[shares.argmax(axis=1)]
        np.testing.assert_array_equal(clf.predict(X), expected)
        assert set(expected) > {"background"}


def test_without_a_background_it_never_wins(regions: Any) -> None:
    text, X, y = regions
    clf = RegionClassifier().fit(text, NAMES)
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1)
    assert clf.score(X, y) > 0.9
    far = RegionClassifier(-1.0).fit(text, NAMES)
    np.testing.assert_array_equal(far.predict(X), clf.predict(X))


def test_two_heads(regions: Any, rng: np.random.Generator) -> None:
    text, X, _ = regions
    other = X + rng.standard_normal(X.shape)
    alone = [RegionClassifier(temperature=0.1).fit(text, NAMES).predict_proba(part) for part in (X, other)]
    for weight, expected in ((1.0, alone[0]), (0.0, alone[1])):
        both = RegionClassifier(temperature=0.1, base_weight=weight, novel_weight=weight).fit(text, NAMES)
        np.testing.assert_allclose(both.predict_proba(X, other), expected, rtol=1e-5, atol=1e-9)
    mask = np.array([True, False, True])  # in the order given: dog, cat, bus
    mixed = RegionClassifier(temperature=0.1).fit(text, NAMES, base_mask=mask).predict_proba(X, other)
    weights = np.where(mask[np.argsort(NAMES)], 2 / 3, 1 / 3)
    product = alone[0] ** weights * alone[1] ** (1 - weights)
    np.testing.assert_allclose(mixed, product / product.sum(axis=1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(mixed.sum(axis=1), 1)


def test_boxes_of_the_same_thing_are_one(regions: Any) -> None:
    text, _, _ = regions
    X = np.concatenate([text, text[:1] + 0.3 * text[1:2], text[:1]])
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 9], [50, 0, 60, 10]]
    rows, labels, scores = RegionClassifier(0.1).fit(text, NAMES).detect(X, boxes)
    assert sorted(rows.tolist()) == [0, 1, 2, 4]
    assert sorted(labels.tolist()) == ["bus", "cat", "dog", "dog"]
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize(
    ("boxes", "iou", "kept"),
    [
        ([[0, 0, 2, 2], [0, 0, 2, 2]], 0.5, [0]),  # identical
        ([[0, 0, 2, 2], [2, 0, 4, 2]], 0.0, [0, 1]),  # touching: 0
        ([[0, 0, 4, 4], [1, 1, 3, 3]], 0.25, [0, 1]),  # nested: 4 / 16, not above
        ([[0, 0, 4, 4], [1, 1, 3, 3]], 0.24, [0]),
        ([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2]], 0.3, [0, 2]),  # 1/3 with the first; what is dropped drops nothing
    ],
)
def test_suppression_by_hand(boxes: Any, iou: float, kept: list[int]) -> None:
    scores = np.linspace(0.9, 0.5, len(boxes))
    assert nms(boxes, scores, iou).tolist() == kept
    flipped = nms(boxes[::-1], scores[::-1], iou).tolist()
    assert [len(boxes) - 1 - i for i in flipped] == kept
    assert nms(np.empty((0, 4)), []).tolist() == []


def test_crops(rng: np.random.Generator) -> None:
    image = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    (inner, wide), (edge, cut) = multi_scale_crops(image, [[10, 6, 14, 10], [-5, 15, 5, 25]], (1.0, 2.0))
    np.testing.assert_array_equal(inner, image[6:10, 10:14])
    np.testing.assert_array_equal(wide, image[4:12, 8:16])
    np.testing.assert_array_equal(edge, image[15:20, 0:5])
    np.testing.assert_array_equal(cut, image[10:20, 0:10])


# A vocabulary


def test_a_text_vector_is_named_by_itself(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((500, 32))
    names = [f"name {i}" for i in range(500)]
    vocabulary = VocabularyIndex(names, vectors)
    found = vocabulary.name(vectors[:50], k=3)
    assert [row[0][0] for row in found] == names[:50]
    assert all(row[0][1] == pytest.approx(1, abs=1e-6) for row in found)
    assert all(len(row) == 3 for row in found)
    noisy = vectors[[3, 3, 3, 7]] + 0.5 * rng.standard_normal((4, 32))
    assert vocabulary.report(noisy) == [("name 3", 3), ("name 7", 1)]


def test_synonyms_collapse(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((6, 8))
    names = ["a", "a1", "a2", "b", "b1", "c"]
    vocabulary = VocabularyIndex(names, vectors, {"a1": "a", "a2": "a", "b1": "b"})
    for row in vocabulary.name(rng.standard_normal((20, 8)), k=3):
        assert sorted(name for name, _ in row) == ["a", "b", "c"]
        assert [score for _, score in row] == sorted((score for _, score in row), reverse=True)
    assert vocabulary.name(vectors[2:3], 1)[0][0] == ("a", pytest.approx(1, abs=1e-6))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 0, 2]], r"boxes\[0\] is \[0.0, 0.0, 0.0, 2.0\], expected left < right and top < bottom"),
        ([[0, 0, 1, 1], [3, 3, 2, 9]], r"boxes\[1\] is"),
        ([[0, 0, np.nan, 2]], r"boxes\[0\] is"),
        ([[0, 0, 2]], r"boxes has shape \(1, 3\), expected \(n, 4\)"),
    ],
)
def test_bad_boxes(boxes: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        nms(boxes, np.ones(len(boxes)))
    with pytest.raises(InvalidArgumentError, match=message):
        multi_scale_crops(np.zeros((5, 5, 3), np.uint8), boxes)


def test_other_bad_input(regions: Any) -> None:
    text, X, _ = regions
    fitted = RegionClassifier().fit(text, NAMES)
    with pytest.raises(InvalidArgumentError, match=r"scores is \[1, inf\], expected 2 finite numbers"):
        nms([[0, 0, 1, 1]] * 2, [1, np.inf])
    with pytest.raises(InvalidArgumentError, match=r"boxes\[0\] lies outside the image of 5 x 5"):
        multi_scale_crops(np.zeros((5, 5, 3), np.uint8), [[9, 9, 12, 12]])
    with pytest.raises(InvalidArgumentError, match=r"boxes has shape \(1, 4\), expected \(60, 4\)"):
        fitted.detect(X, [[0, 0, 1, 1]])
    with pytest.raises(InvalidArgumentError, match=r"base_mask has shape \(2,\)"):
        RegionClassifier().fit(text, NAMES, base_mask=[True, False])
    with pytest.raises(InvalidArgumentError, match="second has 3 rows, expected 60"):
        fitted.predict(X, X[:3])
    with pytest.raises(InvalidArgumentError, match="background has dim 3, expected 16"):
        RegionClassifier(np.ones(3)).fit(text, NAMES).predict(X)
    with pytest.raises(InvalidArgumentError, match="background_label is 'cat', which is a class"):
        RegionClassifier(background_label="cat").fit(text, NAMES)
    with pytest.raises(InvalidArgumentError, match=r"base_weight is 1\.5"):
        RegionClassifier(base_weight=1.5).fit(text, NAMES)
    with pytest.raises(InvalidArgumentError, match="k is 0"):
        VocabularyIndex(NAMES, text).name(X, 0)
    with pytest.raises(InvalidArgumentError, match="names has 2 labels, expected 3"):
        VocabularyIndex(NAMES[:2], text)


def test_real_text_vectors_name_planted_regions(rng: np.random.Generator) -> None:
    """CLIP's text vectors of the 1203 classes of LVIS; regions are these and noise."""
    folder = data_folder() / "detic_clip_text" / "datasets" / "metadata"
    if not folder.exists():
        pytest.skip(f"{folder} is missing; set NEARFIELD_DATA")
    text = np.load(folder / "lvis_v1_clip_a+cname.npy").astype(np.float32)
    names = np.array([f"class {i:04}" for i in range(len(text))])
    codes = rng.integers(len(text), size=400)
    length = np.linalg.norm(text, axis=1).mean() / np.sqrt(text.shape[1])
    regions = text[codes] + 1.0 * length * rng.standard_normal((400, text.shape[1])).astype(np.float32)
    nearest = cosines(regions.astype(np.float64), text.astype(np.float64)).argmax(axis=1)
    clf = RegionClassifier().fit(text, names.tolist())
    np.testing.assert_array_equal(clf.predict(regions), names[nearest])
    assert clf.score(regions, names[codes]) > 0.9
    found = VocabularyIndex(names.tolist(), text).name(regions, k=1)
    assert [row[0][0] for row in found] == names[nearest].tolist()
