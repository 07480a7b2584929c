"""DifferentialReranker and PairStore: METHODS 3.6."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import encoders
from engine.classify import DifferentialReranker, NearestClassMean, PairStore, ZeroShotClassifier
from engine.exceptions import InvalidArgumentError, NotBuiltError, StorageError

ENCODER = encoders.get("hashing", dim=512)
BIRDS = ["crow", "eagle", "heron", "raven", "robin", "rook"]
PAIRS: dict[tuple[str, str], list[tuple[str, str]]] = {
    ("crow", "raven"): [("slim bill", "heavy bill"), ("square tail", "wedge tail")],
    ("rook", "crow"): [("grey face", "black face"), ("shaggy legs", "square tail")],
    ("raven", "rook"): [("heavy bill", "grey face")],
    ("eagle", "heron"): [("hooked beak", "long neck")],
}


@pytest.fixture
def base() -> ZeroShotClassifier:
    return ZeroShotClassifier(ENCODER, templates=["a photo of a {}."]).fit(BIRDS)


@pytest.fixture
def queries(rng: np.random.Generator) -> NDArray[np.float32]:
    words = ENCODER.encode_queries(
        [*BIRDS, "slim heavy bill", "square tail", "grey face", "wedge", "long neck", "a photo"]
    )
    return (rng.random((120, len(words))) ** 4 @ words + 0.02 * rng.standard_normal((120, 512))).astype(np.float32)


def oracle(base: Any, store: PairStore, x: NDArray[Any], k: int, dedup: bool = True) -> list[str]:
    """Steps 1 to 3 of the paper for one row, in plain Python."""
    first = sorted(range(6), key=lambda c: -base.class_scores(x[None])[0, c])
    candidates = [BIRDS[c] for c in first[:k]]
    scores = {}
    for name in candidates:
        sentences = []
        for other in candidates:
            if other != name:
                sentences += store.get(name, other)[0] or [f"a photo of a {name}."]
        vectors = ENCODER.encode_documents(sorted(set(sentences)) if dedup else sentences).astype(np.float64)
        mean = vectors.mean(axis=0)
        scores[name] = mean @ x / np.linalg.norm(mean)
    return sorted(candidates, key=lambda name: -scores[name]) + [BIRDS[c] for c in first[k:]]


@pytest.mark.parametrize("k", [2, 3, 6, 10])
@pytest.mark.parametrize("dedup", [True, False])
def test_against_the_steps_of_the_paper(base: Any, queries: Any, k: int, dedup: bool) -> None:
    store = PairStore(PAIRS)
    fudd = DifferentialReranker(base, store, ENCODER, top_k=k, dedup=dedup).fit()
    ranked = fudd.rank(queries)
    assert [row.tolist() for row in ranked] == [oracle(base, store, x, k, dedup) for x in queries]
    np.testing.assert_array_equal(fudd.predict(queries), ranked[:, 0])
    assert (fudd.predict(queries) != base.predict(queries)).any()


def test_one_candidate_is_the_first_pass(base: Any, queries: Any) -> None:
    fudd = DifferentialReranker(base, PairStore(PAIRS), ENCODER, top_k=1).fit()
    np.testing.assert_array_equal(fudd.predict(queries), base.predict(queries))


@pytest.mark.parametrize("k", [3, 6])
def test_the_template_alone_is_the_first_pass(base: Any, queries: Any, k: int) -> None:
    fudd = DifferentialReranker(base, PairStore(), ENCODER, top_k=k).fit()
    order = np.argsort(-base.class_scores(queries), axis=1, kind="stable")
    np.testing.assert_array_equal(fudd.rank(queries), base.classes_[order])
    assert len(fudd.missing_) == 15


def test_the_candidates_bound_the_accuracy(base: Any, queries: Any) -> None:
    fudd = DifferentialReranker(base, PairStore(PAIRS), ENCODER, top_k=3).fit()
    candidates = fudd.candidates(queries)
    assert candidates.shape == (120, 3)
    assert (fudd.predict(queries)[:, None] == candidates).any(axis=1).all()
    np.testing.assert_array_equal(candidates[:, 0], base.predict(queries))


def test_order_of_pairs_and_of_rows_changes_nothing(base: Any, queries: Any, rng: np.random.Generator) -> None:
    flipped = PairStore({(b, a): [(y, x) for x, y in pairs] for (a, b), pairs in reversed(PAIRS.items())})
    fudd = DifferentialReranker(base, PairStore(PAIRS), ENCODER, top_k=4).fit()
    ranked = fudd.rank(queries)
    np.testing.assert_array_equal(DifferentialReranker(base, flipped, ENCODER, top_k=4).fit().rank(queries), ranked)
    order = rng.permutation(120)
    np.testing.assert_array_equal(fudd.rank(queries[order]), ranked[order])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fudd)).rank(queries), ranked)


def test_without_shared_sentences_adding_up_pairs_is_exact(base: Any, queries: Any) -> None:
    store = PairStore(
        {
            (a, b): [(f"{a} unlike {b} {i}", f"{b} unlike {a} {i}") for i in range(2)]
            for a in BIRDS
            for b in BIRDS
            if a < b
        }
    )
    exact = DifferentialReranker(base, store, ENCODER, top_k=5).fit()
    fast = DifferentialReranker(base, store, ENCODER, top_k=5, dedup=False).fit()
    np.testing.assert_array_equal(fast.rank(queries), exact.rank(queries))


def test_two_classes_that_differ_where_the_first_pass_does_not_look(rng: np.random.Generator) -> None:
    """Equal in colour, different in bill: the first pass, by colour, is at chance, and FuDD is right."""
    colour, slim, heavy, other = ENCODER.encode_documents(["black", "slim bill", "heavy bill", "white"])
    nothing = rng.standard_normal(512)
    nothing -= np.linalg.lstsq(np.stack([slim, heavy], 1), nothing, rcond=None)[0] @ [slim, heavy]
    base = NearestClassMean().fit([colour, colour + 1e-4 * nothing, other], ["crow", "raven", "swan"])
    y = np.array(["crow", "raven"])[rng.integers(2, size=300)]
    X = colour + 0.4 * np.where((y == "crow")[:, None], slim, heavy) + 0.02 * rng.standard_normal((300, 512))
    store = PairStore({("crow", "raven"): [("slim bill", "heavy bill")]})
    fudd = DifferentialReranker(base, store, ENCODER, top_k=2).fit()
    assert abs(base.score(X, y) - 0.5) < 0.1
    assert fudd.score(X, y) > 0.99


# The store


def test_a_store_is_written_and_read(tmp_path: Path) -> None:
    store = PairStore(PAIRS)
    store.add("crow", "raven", [("öl", "ß")])
    store.to_json(tmp_path / "pairs.json")
    again = PairStore.from_json(tmp_path / "pairs.json")
    assert len(again) == len(store) == 4
    assert again.get("raven", "crow") == (["heavy bill", "wedge tail", "ß"], ["slim bill", "square tail", "öl"])
    assert again.get("crow", "rook") == (["black face", "square tail"], ["grey face", "shaggy legs"])
    assert again.get("crow", "swan") == ([], [])
    assert again.classes == ["crow", "eagle", "heron", "raven", "rook"]
    assert ("crow", "raven") not in again.missing(BIRDS)
    assert len(again.missing(BIRDS)) == 11
    assert repr(again) == "<PairStore of 4 pairs of 5 classes>"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({("crow", "crow"): [("a", "b")]}, "a pair holds 'crow' twice, expected two different classes"),
        ({("crow", ""): [("a", "b")]}, "a pair holds '', expected two names"),
        ({("crow", 3): [("a", "b")]}, "a pair holds 3"),
        ({("crow", "rook"): [("a", " ")]}, r"sentences of 'crow' and 'rook' hold \['a', ' '\], expected one of each"),
        ({("crow", "rook"): [("a",)]}, "expected one of each"),
        ({("crow", "rook"): [("a", 3)]}, r"sentences\[1\] is 3, expected a str"),
    ],
)
def test_bad_pairs(pairs: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        PairStore(pairs)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        PairStore.from_json(tmp_path / "none.json")
    for content, message in (
        ("{", "is no JSON"),
        ("[3]", "is no list of pairs"),
        ('[{"classes": ["a", "b", "c"], "sentences": []}]', "is no list of pairs"),
        ('[{"classes": ["a", "b"]}]', "is no list"),
    ):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(InvalidArgumentError, match=message):
            PairStore.from_json(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text(json.dumps([{"classes": ["a", "a"], "sentences": [["x", "y"]]}]))
    with pytest.raises(InvalidArgumentError, match="a pair holds 'a' twice"):
        PairStore.from_json(tmp_path / "bad.json")


def test_bad_rerankers(base: Any, queries: Any) -> None:
    for settings, message in (
        ({"top_k": 0}, "top_k is 0"),
        ({"fallback_template": "a photo"}, r"fallback_template\[0\] is 'a photo'"),
        ({"dedup": "no"}, "dedup is 'no', expected True or False"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            DifferentialReranker(base, PairStore(PAIRS), ENCODER, **settings).fit()  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="pair_descriptions holds 'swan', expected one of the classes"):
        DifferentialReranker(base, PairStore({("crow", "swan"): [("a", "b")]}), ENCODER).fit()
    with pytest.raises(InvalidArgumentError, match=r"pair_descriptions is \{\}, expected a PairStore"):
        DifferentialReranker(base, {}, ENCODER).fit()  # type: ignore[arg-type]
    with pytest.raises(NotBuiltError, match="this ZeroShotClassifier"):
        DifferentialReranker(ZeroShotClassifier(ENCODER), PairStore(), ENCODER).fit()
    with pytest.raises(NotBuiltError, match="this DifferentialReranker"):
        DifferentialReranker(base, PairStore(), ENCODER).predict(queries)
