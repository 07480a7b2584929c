"""Every way to classify without training, on the 77 intents of bank customers: `python examples/classify.py`.

Reads Banking77 (PolyAI, CC-BY-4.0) as ``banking77/banking_data/{train,test}.csv`` below NEARFIELD_DATA, and encodes it
with all-MiniLM-L6-v2; nothing is downloaded. Every figure that it prints was measured in the run: shares of the test
questions that got the right one of 77 labels, where nothing else is said.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import encoders
from engine.classify import (
    TEEN,
    DescriptionClassifier,
    DifferentialReranker,
    FrechetPredictor,
    KNNClassifier,
    LabelFreeAdapter,
    LabelMetric,
    LabelVectorClassifier,
    NearestClassMean,
    OpenSetClassifier,
    PairStore,
    PromptOptimizer,
    SubclassPrototypes,
    TipAdapter,
    VocabularyIndex,
    ZeroShotClassifier,
)
from engine.discovery import NCDKMeans, class_relation
from engine.evaluation import (
    accuracy,
    auroc,
    clustering_accuracy,
    embedding_report,
    fpr_at_tpr,
    fscil,
    fscil_sessions,
    oscr,
    zero_shot_retrieval,
)

DATA = Path(os.environ.get("NEARFIELD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
ENCODER = "sbert:all-MiniLM-L6-v2"
SHOTS = 10


@dataclass(frozen=True)
class Bank:
    """Questions, their vectors and labels: all of the test set, and a few of the training set for each label."""

    encoder: Any
    names: list[str]
    tests: list[str]
    X: NDArray[np.float32]
    y: NDArray[Any]
    shots: list[str]
    X_shots: NDArray[np.float32]
    y_shots: NDArray[Any]

    def of(self, name: str) -> list[str]:
        """The shots of a label."""
        return [text for text, label in zip(self.shots, self.y_shots, strict=True) if label == name]


def main(argv: Sequence[str] | None = None) -> int:
    """Run all of it."""
    options = argparse.ArgumentParser(description="Classification as retrieval, on Banking77.")
    options.add_argument("--data", type=Path, default=DATA, help="folder of evaluation data, default %(default)s")
    options.add_argument("--cache", type=Path, help="keep vectors in this folder, so that the next run is faster")
    options.add_argument("--tests", type=int, default=3080, help="test questions to use, default %(default)s")
    given = options.parse_args(argv)
    if not (given.data / "banking77").exists():
        print(f"{given.data / 'banking77'} is missing; set NEARFIELD_DATA", file=sys.stderr)
        return 1
    began = perf_counter()
    with TemporaryDirectory() as folder:
        run(given.data / "banking77" / "banking_data", given.cache or Path(folder), given.tests)
    print(f"\nDone in {perf_counter() - began:.0f} s.")
    return 0


def run(folder: Path, cache: Path, n_tests: int) -> None:
    with step("encode"):
        bank = read(folder, cache, n_tests)
        print(f"  {len(bank.tests)} test questions, {SHOTS} labelled ones for each of {len(bank.names)} labels")
    for show in (
        from_names,
        from_shots,
        from_both,
        without_labels,
        beyond_the_classes,
        over_time,
        new_classes,
        vectors,
    ):
        with step(show.__name__.replace("_", " ")):
            show(bank)


@contextmanager
def step(name: str) -> Iterator[None]:
    print(f"\n{name.capitalize()}")
    began = perf_counter()
    yield
    print(f"  ({perf_counter() - began:.1f} s)")


def read(folder: Path, cache: Path, n_tests: int) -> Bank:
    """The data, encoded; short questions first, so that a batch has one length."""
    encoder = encoders.get(ENCODER, cache=cache)
    rng = np.random.default_rng(0)
    texts, labels = {}, {}
    for part in ("train", "test"):
        with open(folder / f"{part}.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        texts[part] = np.array([row["text"] for row in rows])
        labels[part] = np.array([row["category"].replace("_", " ").replace("?", "") for row in rows])
    names = sorted(set(labels["train"].tolist()))
    shots = np.concatenate(
        [rng.choice(np.flatnonzero(labels["train"] == name), SHOTS, replace=False) for name in names]
    )
    tests = rng.permutation(len(texts["test"]))[:n_tests]

    def encoded(some: NDArray[Any]) -> NDArray[np.float32]:
        order = np.argsort([len(text) for text in some])
        vectors = np.empty((len(some), encoder.dim), np.float32)
        vectors[order] = encoder.encode_documents(some[order].tolist())
        return vectors

    chosen, asked = texts["train"][shots], texts["test"][tests]
    return Bank(
        encoder=encoder,
        names=names,
        tests=asked.tolist(),
        X=encoded(asked),
        y=labels["test"][tests],
        shots=chosen.tolist(),
        X_shots=encoded(chosen),
        y_shots=labels["train"][shots],
    )


def say(method: str, figure: float, more: str = "") -> None:
    print(f"  {method:<52}{figure:6.3f}  {more}")


def from_names(bank: Bank) -> None:
    """Nothing but the names of the labels."""
    zero_shot = ZeroShotClassifier(bank.encoder, templates=["{}"]).fit(bank.names)
    say("zero-shot, the name alone", zero_shot.score(bank.X, bank.y))
    templates = ["{}", "a question about {}", "how do I deal with {}"]
    for aggregate in ("mean_embedding", "mean_logit", "max_logit"):
        several = ZeroShotClassifier(bank.encoder, templates=templates, aggregate=aggregate).fit(bank.names)  # type: ignore[arg-type]
        say(f"zero-shot, three templates, {aggregate}", several.score(bank.X, bank.y))
    (row,) = VocabularyIndex(bank.names, zero_shot.class_embeddings_).name(bank.X[:1], k=2)
    print(f"  {bank.tests[0]!r}: " + ", ".join(f"{name} {score:.2f}" for name, score in row))


def from_shots(bank: Bank) -> None:
    """A few labelled questions."""
    say("nearest class mean", NearestClassMean().fit(bank.X_shots, bank.y_shots).score(bank.X, bank.y))
    say("k-NN, 5 neighbours", KNNClassifier(5).fit(bank.X_shots, bank.y_shots).score(bank.X, bank.y))
    for method in ("lelp", "kmeans"):
        parts = SubclassPrototypes(2, method=method).fit(bank.X_shots, bank.y_shots)  # type: ignore[arg-type]
        say(f"two prototypes a class, {method}", parts.score(bank.X, bank.y))
    described = {name: bank.of(name) for name in bank.names}
    for aggregate in ("mean_embedding", "mean_logit"):
        clf = DescriptionClassifier(bank.encoder, aggregate=aggregate).fit(described)  # type: ignore[arg-type]
        say(f"labelled questions as descriptions, {aggregate}", clf.score(bank.X, bank.y))
    label = str(clf.predict(bank.X[:1])[0])
    sentence, score = clf.explain(bank.X[0], label)[0]
    print(f"  {bank.tests[0]!r} is {label!r}: {score:.2f} like {sentence!r}")


def from_both(bank: Bank) -> None:
    """Names and labelled questions."""
    zero_shot = ZeroShotClassifier(bank.encoder, templates=["{}"]).fit(bank.names)
    text = zero_shot.class_embeddings_
    rest = np.arange(len(bank.y_shots)) % SHOTS >= SHOTS // 2  # half of the shots validate
    tip = TipAdapter(logit_scale=2).fit(
        bank.X_shots[~rest], bank.y_shots[~rest], text, X_val=bank.X_shots[rest], y_val=bank.y_shots[rest]
    )
    best = TipAdapter(tip.alpha_, tip.beta_, logit_scale=2).fit(bank.X_shots, bank.y_shots, text)
    say("Tip-Adapter", best.score(bank.X, bank.y), f"alpha {tip.alpha_:.2f}, beta {tip.beta_:.2f}")
    library = {name: bank.X_shots[bank.y_shots == name] for name in bank.names}
    chosen = PromptOptimizer(n_iter_descriptions=12, random_state=0).fit(bank.X_shots, bank.y_shots, library)
    say("ProAPO among the labelled questions", chosen.classifier().score(bank.X, bank.y))
    store = PairStore()
    mistakes = zero_shot.predict(bank.X_shots)
    for a, b in {tuple(sorted(pair)) for pair in zip(bank.y_shots, mistakes, strict=True) if pair[0] != pair[1]}:
        store.add(str(a), str(b), list(zip(bank.of(a), bank.of(b), strict=True)))
    fudd = DifferentialReranker(zero_shot, store, bank.encoder, top_k=10, fallback_template="{}").fit()
    say("FuDD: zero-shot, then what was confused", fudd.score(bank.X, bank.y), f"{len(store)} pairs described")


def without_labels(bank: Bank) -> None:
    """Names, and questions nobody has labelled: the test questions themselves."""
    text = ZeroShotClassifier(bank.encoder, templates=["{}"]).fit(bank.names).class_embeddings_
    for head in ("prototype", "mlp"):
        adapter = LabelFreeAdapter(head).fit(bank.X, text, bank.X, classes=bank.names)  # type: ignore[arg-type]
        say(f"NoLA, head {head}", adapter.score(bank.X, bank.y))
    keywords = {name: text[i : i + 1] for i, name in enumerate(bank.names)}
    vectors = LabelVectorClassifier(max_docs=10).fit(bank.X, keywords)
    say("label vectors, 10 documents a label", vectors.score(bank.X, bank.y))


def beyond_the_classes(bank: Bank) -> None:
    """What is of no known class, and labels that no classifier has seen."""
    known = bank.names[:60]
    rows, tests = np.isin(bank.y_shots, known), np.isin(bank.y, known)
    for criterion in ("max_cosine", "margin", "knn", "mahalanobis"):
        clf = OpenSetClassifier(NearestClassMean(), criterion=criterion)  # type: ignore[arg-type]
        clf.fit(bank.X_shots[rows], bank.y_shots[rows])
        scores, right = clf.score_samples(bank.X), clf.base_.predict(bank.X) == bank.y
        more = f"FPR@95 {fpr_at_tpr(tests, scores):.3f}, OSCR {oscr(tests, scores, right):.3f}"
        say(f"AUROC of 17 unknown labels, {criterion}", auroc(tests, scores), more)
    text = ZeroShotClassifier(bank.encoder, templates=["{}"]).fit(bank.names).class_embeddings_
    base = NearestClassMean(temperature=0.05).fit(bank.X_shots[rows], bank.y_shots[rows])
    loki = FrechetPredictor(LabelMetric.from_embeddings(text, bank.names), base.classes_)
    hidden = ~tests
    guesses = loki.predict(base.predict_proba(bank.X[hidden]))
    distance = loki.expected_distance(guesses, bank.y[hidden])
    plain = loki.expected_distance(base.predict(bank.X[hidden]), bank.y[hidden])
    say(
        "Loki: unseen labels hit",
        accuracy(bank.y[hidden], guesses),
        f"squared distance {distance:.3f}, was {plain:.3f}",
    )


def over_time(bank: Bank) -> None:
    """57 labels, then four sessions of 5 new ones with 5 questions each."""
    sessions = fscil_sessions(bank.X_shots, bank.y_shots, bank.X, bank.y, n_base=57, n_way=5, n_shots=5, random_state=0)
    for name, classifier in (("class means", NearestClassMean()), ("TEEN", TEEN(0.1))):
        report = fscil(classifier, sessions)
        more = (
            f"base {report.base[-1]:.3f}, new {report.new[-1]:.3f}, new taken for base {report.base_confusion[-1]:.3f}"
        )
        say(f"harmonic mean at the end, {name}", float(report.harmonic_mean[-1]), more)


def new_classes(bank: Bank) -> None:
    """Questions of 10 labels that are not known, beside 67 that are."""
    known, hidden = np.isin(bank.y_shots, bank.names[:67]), ~np.isin(bank.y, bank.names[:67])
    ncd = NCDKMeans(10, random_state=0).fit(bank.X[hidden], bank.X_shots[known], bank.y_shots[known])
    say("clusters that are the hidden labels", clustering_accuracy(bank.y[hidden], ncd.labels_))
    base = NearestClassMean().fit(bank.X_shots[known], bank.y_shots[known])
    relation = class_relation(ncd.cluster_centers_[:1], base.prototypes_)[0]
    best = np.argsort(-relation)[:3]
    print("  a new cluster is " + ", ".join(f"{relation[i]:.2f} {base.classes_[i]}" for i in best))


def vectors(bank: Bank) -> None:
    """How good the vectors are, whatever is made of them."""
    print(f"  {zero_shot_retrieval(bank.X, bank.y)}")
    print("  " + str(embedding_report(bank.X, bank.y)).replace("\n", "\n  "))


if __name__ == "__main__":
    sys.exit(main())
