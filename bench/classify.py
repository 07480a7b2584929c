"""Classification without training, method by method and data set by data set: `python -m bench.classify`.

One table: the mean and the standard deviation over seeds of what each method reaches, and the simple baseline beside
it. Seeds draw the labelled rows, or the classes that come later. Data sets that are missing are reported and left out:
Banking77, Medical Abstracts, WordNet, Omniglot and Detic's text vectors of label spaces below NEARFIELD_DATA,
Fashion-MNIST there or from Debian's dataset-fashion-mnist. Texts are encoded once, with all-MiniLM-L6-v2, and images
with EfficientNet-lite0, into a cache on disk.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import math
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import encoders
from engine import classify, discovery, evaluation

from .datasets import data_folder

__all__ = ["main"]

ENCODER = "sbert:all-MiniLM-L6-v2"
IMAGE_ENCODER = "features:efficientnet-lite0"
SHOTS = 10
Matrix = NDArray[np.float32]
Figures = dict[str, float]
DEBIAN = Path("/usr/share/datasets")
FIRST_NOUN = 4  # among WordNet's lexicographer files
NOUNS = (
    "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling", "food", "group",
    "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process", "quantity", "relation",
    "shape", "state", "substance", "time",
)  # fmt: skip


@dataclass(frozen=True)
class Labelled:
    """Rows to learn from and rows to test on; for texts also the names of the classes and their vectors."""

    X: Matrix
    y: NDArray[Any]
    X_test: Matrix
    y_test: NDArray[Any]
    names: Matrix | None = None
    keywords: dict[Any, Matrix] | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = argparse.ArgumentParser(prog="bench.classify", description="Classification without training.")
    options.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), help="data sets, default all")
    options.add_argument("--seeds", type=int, default=5, help="default %(default)s")
    options.add_argument("--cache", type=Path, default=Path(".nearfield/encoded"), help="folder of encoded texts")
    given = options.parse_args(argv)
    print("| data | method | mean | deviation | baseline | gain | its deviation |\n|---|---|---|---|---|---|---|")
    for name in given.only:
        try:
            runs = list(TASKS[name](given.cache, given.seeds))
        except FileNotFoundError as error:
            print(f"| {name} | left out: {error} | | | | | |", flush=True)
            continue
        for line in table(name, runs):
            print(line, flush=True)
    return 0


def table(data: str, runs: list[Figures]) -> Iterator[str]:
    """A row a method; the first method of a group ("group: method") is the baseline of the others."""
    baselines: dict[str, str] = {}
    for method in runs[0]:
        group = method.partition(":")[0]
        baseline = baselines.setdefault(group, method)
        values = np.array([run[method] for run in runs])
        gains = values - [run[baseline] for run in runs]
        beside = (
            ["", "", ""] if method == baseline else [baseline.partition(": ")[2], *(f"{v:.4f}" for v in spread(gains))]
        )
        yield " | ".join(["| " + data, method, *(f"{v:.4f}" for v in spread(values)), *beside]) + " |"


def spread(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


# Texts


def banking77(cache: Path, n_seeds: int) -> Iterator[Figures]:
    """77 intents: from names, from 10 labelled questions a class, from all of them, and with 17 unknown classes."""
    folder = data_folder() / "banking77" / "banking_data"
    train, test = (read_csv(folder / f"{part}.csv", "text", "category") for part in ("train", "test"))
    data = encoded_texts(cache, train, test, lambda name: name.replace("_", " ").replace("?", ""))
    yield from seeded(data, n_seeds)


def wordnet(cache: Path, n_seeds: int) -> Iterator[Figures]:
    """What nouns are the names of (25 kinds, such as a person, a place, a time), as questions ask for in TREC's set."""
    import pyarrow.parquet as parquet

    def part(name: str) -> tuple[Matrix, NDArray[Any]]:
        kinds = parquet.read_table(folder / f"{name}.parquet", columns=["lexfile"])["lexfile"].to_numpy() - FIRST_NOUN
        rows = np.flatnonzero((kinds >= 0) & (kinds < len(NOUNS)))
        return np.load(folder / f"{name}.f16.npy")[rows].astype(np.float32), np.array(NOUNS)[kinds[rows]]

    folder = data_folder() / "wordnet"
    names = encoders.get(ENCODER, cache=cache).encode_documents(list(NOUNS))
    keywords = {name: names[i : i + 1] for i, name in enumerate(NOUNS)}
    yield from seeded(Labelled(*part("base"), *part("query"), names, keywords), n_seeds)


def seeded(data: Labelled, n_seeds: int) -> Iterator[Figures]:
    """All that can be had from rows to learn from, rows to test on, and names."""
    names = np.unique(data.y)
    fixed = from_names(data, names) | from_all(data)
    for seed in range(n_seeds):
        yield fixed | from_shots(data, names, seed) | open_set(data, names, seed) | unseen(data, names, seed)


def medical(cache: Path, n_seeds: int) -> Iterator[Figures]:
    """Five kinds of conditions: all abstracts by names; as there are test ones only, by rows of a random half."""
    folder = data_folder() / "medical_abstracts"
    texts, labels = read_csv(folder / "medical_tc_test.csv", "medical_abstract", "condition_label")
    codes, titles = read_csv(folder / "medical_tc_labels.csv", "condition_label", "condition_name")
    title = dict(zip(codes.tolist(), titles.tolist(), strict=True))
    data = encoded_texts(cache, (texts[:0], labels[:0]), (texts, labels), lambda code: title[code])
    names = np.unique(labels)
    fixed = from_names(data, names)
    for seed in range(n_seeds):
        train, test = np.array_split(np.random.default_rng(seed).permutation(len(labels)), 2)
        half = Labelled(data.X_test[train], labels[train], data.X_test[test], labels[test], data.names)
        yield fixed | from_all(half) | from_shots(half, names, seed) | open_set(half, names, seed)


def encoded_texts(cache: Path, train: Any, test: Any, title: Callable[[str], str]) -> Labelled:
    encoder = encoders.get(ENCODER, cache=cache)
    classes = np.unique(test[1]).tolist()
    names = encoder.encode_documents([title(name) for name in classes])
    keywords = {name: encoder.encode_documents(title(name).split()) for name in classes}
    parts = [
        encode(encoder, texts) if len(texts) else np.empty((0, encoder.dim), np.float32) for texts, _ in (train, test)
    ]
    return Labelled(parts[0], train[1], parts[1], test[1], names, keywords)


def encode(encoder: Any, texts: NDArray[Any]) -> Matrix:
    """Short texts first, so that a batch has about one length."""
    order = np.argsort([len(text) for text in texts])
    vectors = np.empty((len(texts), encoder.dim), np.float32)
    for start in range(0, len(order), 1024):
        rows = order[start : start + 1024]
        vectors[rows] = encoder.encode_documents(texts[rows].tolist())
    return vectors


def from_names(data: Labelled, names: NDArray[Any]) -> Figures:
    assert data.names is not None
    assert data.keywords is not None
    figures = {}
    size = len(data.y_test) // len(names) // 5
    whole = {name: data.names[i : i + 1] for i, name in enumerate(names.tolist())}
    for kind, keywords in (("name", whole), ("its words", data.keywords)):
        means = np.array([rows.mean(axis=0) for rows in keywords.values()])
        figures[f"{kind}: cosine"] = classify.NearestClassMean().fit(means, names).score(data.X_test, data.y_test)
        vectors = classify.LabelVectorClassifier(max_docs=size).fit(data.X_test, keywords)
        figures[f"{kind}: label vectors, {size} documents"] = vectors.score(data.X_test, data.y_test)
    for head in ("prototype", "mlp"):
        adapter = classify.LabelFreeAdapter(head).fit(data.X_test, data.names, data.X_test, classes=names)
        figures[f"name: NoLA, head {head}"] = adapter.score(data.X_test, data.y_test)
    return figures


def from_all(data: Labelled) -> Figures:
    methods: dict[str, Any] = {
        "class mean": classify.NearestClassMean(),
        "3 sub-classes, k-means": classify.SubclassPrototypes(3, method="kmeans"),
        "3 sub-classes, LELP": classify.SubclassPrototypes(3),
        "3 sub-classes, LELP, soft mixture": classify.SubclassPrototypes(3, soft=True, temperature=0.05),
        "k-NN 20": classify.KNNClassifier(20),
    }
    fitted = {name: method.fit(data.X, data.y).score(data.X_test, data.y_test) for name, method in methods.items()}
    return {f"all rows: {name}": figure for name, figure in fitted.items()}


def from_shots(data: Labelled, names: NDArray[Any], seed: int) -> Figures:
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.choice(np.flatnonzero(data.y == name), SHOTS, replace=False) for name in names])
    X, y, test = data.X[rows], data.y[rows], (data.X_test, data.y_test)
    group = f"{SHOTS} shots: "
    figures = {group + "class mean": classify.NearestClassMean().fit(X, y).score(*test)}
    figures[group + "k-NN 5"] = classify.KNNClassifier(5).fit(X, y).score(*test)
    figures[group + "2 sub-classes, k-means"] = classify.SubclassPrototypes(2, method="kmeans").fit(X, y).score(*test)
    validate = np.arange(len(rows)) % SHOTS >= SHOTS // 2
    for name, search in (("logit scale 100", "grid"), ("logit scale chosen too", "scales")):  # on half of the shots
        tip = classify.TipAdapter(search=search)  # type: ignore[arg-type]
        tip.fit(X[~validate], y[~validate], data.names, X_val=X[validate], y_val=y[validate])
        best = classify.TipAdapter(tip.alpha_, tip.beta_, logit_scale=tip.logit_scale_).fit(X, y, data.names)
        figures[f"{group}Tip-Adapter, {name}"] = best.score(*test)
    library = {name: X[y == name] for name in names.tolist()}
    proapo = classify.PromptOptimizer(random_state=seed).fit(X, y, library)
    figures[group + "ProAPO, rows as sentences"] = proapo.classifier().score(*test)
    return figures


def open_set(data: Labelled, names: NDArray[Any], seed: int) -> Figures:
    known = np.random.default_rng(seed).permutation(names)[: len(names) * 4 // 5]
    rows, tests = np.isin(data.y, known), np.isin(data.y_test, known)
    figures = {}
    for criterion in ("max_cosine", "margin", "energy", "knn", "mahalanobis"):
        clf = classify.OpenSetClassifier(classify.NearestClassMean(temperature=0.05), criterion=criterion)
        scores = clf.fit(data.X[rows], data.y[rows]).score_samples(data.X_test)
        figures[f"AUROC of unknown classes: {criterion}"] = evaluation.auroc(tests, scores)
    return figures


def unseen(data: Labelled, names: NDArray[Any], seed: int) -> Figures:
    """A fifth of the labels has no row: predicted by way of their names, and found as clusters."""
    assert data.names is not None
    known = np.random.default_rng(seed).permutation(names)[: len(names) * 4 // 5]
    rows, hidden = np.isin(data.y, known), ~np.isin(data.y_test, known)
    figures = loki(data.names, names, data.X[rows], data.y[rows], data.X_test[hidden], data.y_test[hidden])
    n = len(names) - len(known)
    for name, taught in (("k-means", (None, None)), ("beside known classes", (data.X[rows], data.y[rows]))):
        clusters = discovery.NCDKMeans(n, random_state=seed).fit(data.X_test[hidden], *taught)
        agree = evaluation.clustering_accuracy(data.y_test[hidden], clusters.labels_)
        figures[f"clusters that are unseen classes: {name}"] = agree
    return figures


def loki(vectors: Matrix, names: NDArray[Any], X: Matrix, y: Any, X_test: Matrix, y_test: Any) -> Figures:
    """Mean squared distance between the vectors of prediction and truth, for unseen classes; smaller is better."""
    base = classify.NearestClassMean(temperature=0.05).fit(X, y)
    predictor = classify.FrechetPredictor(classify.LabelMetric.from_embeddings(vectors, names), base.classes_)
    predictions = {"nearest class": base.predict(X_test), "Loki": predictor.predict(base.predict_proba(X_test))}
    group = "squared distance of unseen classes"
    return {f"{group}: {name}": predictor.expected_distance(each, y_test) for name, each in predictions.items()}


# Label spaces: real text vectors of class names, and planted regions


def detic(cache: Path, n_seeds: int) -> Iterator[Figures]:
    """CLIP's vectors of four label spaces; a region is the vector of its class and noise of twice its length."""
    folder = data_folder() / "detic_clip_text" / "datasets" / "metadata"
    files = {"COCO": "coco_clip_a+cname", "Objects365": "o365_clip_a+cnamefix", "OpenImages": "oid_clip_a+cname"}
    spaces = {}
    for space, file in (files | {"LVIS": "lvis_v1_clip_a+cname"}).items():
        text = np.load(folder / f"{file}.npy").astype(np.float32)
        spaces[space] = text / np.linalg.norm(text, axis=1, keepdims=True)
    for seed in range(n_seeds):
        yield {f"{space}, {name}": v for space, text in spaces.items() for name, v in regions(text, seed).items()}


def regions(text: Matrix, seed: int) -> Figures:
    """By the text vectors, by 5 regions a class, by both; and with half of the classes unseen."""
    rng = np.random.default_rng(seed)
    names = np.arange(len(text))
    (X, y), (X_test, y_test) = (planted(text, n, rng) for n in (5, 4))
    figures = {"text and 5 regions: text": classify.NearestClassMean().fit(text, names).score(X_test, y_test)}
    figures["text and 5 regions: class mean"] = classify.NearestClassMean().fit(X, y).score(X_test, y_test)
    figures["text and 5 regions: k-NN 5"] = classify.KNNClassifier(5).fit(X, y).score(X_test, y_test)
    figures["text and 5 regions: Tip-Adapter"] = classify.TipAdapter().fit(X, y, text).score(X_test, y_test)
    seen = rng.random(len(text)) < 0.5
    return figures | loki(text, names, X[seen[y]], y[seen[y]], X_test[~seen[y_test]], y_test[~seen[y_test]])


def planted(text: Matrix, n: int, rng: np.random.Generator) -> tuple[Matrix, NDArray[np.int64]]:
    """`n` regions of each class."""
    y = np.repeat(np.arange(len(text)), n)
    noise = rng.standard_normal((len(y), text.shape[1]), np.float32)
    return text[y] + 2 * noise / np.float32(np.sqrt(text.shape[1])), y


# Images, class by class


def fashion(cache: Path, n_seeds: int) -> Iterator[Figures]:
    """Six base classes with all rows, four new ones."""
    folder = next((p for p in (data_folder() / "fashion-mnist", DEBIAN / "fashion-mnist") if p.exists()), None)
    if folder is None:
        raise FileNotFoundError(f"{data_folder() / 'fashion-mnist'}; Debian has it as dataset-fashion-mnist")
    train, test = (idx_images(folder, part) for part in ("train", "t10k"))
    some = np.random.default_rng(0).permutation(len(train[1]))[:12_000]
    data = Labelled(train[0][some], train[1][some], test[0][:4000], test[1][:4000])
    return sessions(data, cache, n_base=6, n_way=4, n_seeds=n_seeds)


def omniglot(cache: Path, n_seeds: int) -> Iterator[Figures]:
    """60 base characters of 15 drawings, four sessions of 10 new ones; 5 drawings of each test."""
    images, labels, drawing = characters(data_folder() / "omniglot" / "python" / "images_background_small1.zip")
    test = drawing >= 15
    data = Labelled(images[~test], labels[~test], images[test], labels[test])
    return sessions(data, cache, n_base=60, n_way=10, n_seeds=n_seeds, most=100)


def sessions(
    data: Labelled, cache: Path, n_base: int, n_way: int, n_seeds: int, most: int | None = None
) -> Iterator[Figures]:
    """Harmonic means of base and new classes at the end, for pixels, their main axes, and EfficientNet's features."""
    network = encoders.get(IMAGE_ENCODER, cache=cache)
    views = {
        "pixels": (data.X, data.X_test),
        "64 components": components(data.X, data.X_test, 64),
        "EfficientNet": (features(network, data.X), features(network, data.X_test)),
    }
    for seed in range(n_seeds):
        figures = {}
        chosen = np.random.default_rng(seed).permutation(np.unique(data.y))[:most]
        rows, tests = np.isin(data.y, chosen), np.isin(data.y_test, chosen)
        for view, (X, X_test) in views.items():
            for n_shots in (1, 5):
                arranged = evaluation.fscil_sessions(
                    X[rows], data.y[rows], X_test[tests], data.y_test[tests],
                    n_base=n_base, n_way=n_way, n_shots=n_shots, random_state=seed,
                )  # fmt: skip
                methods = {
                    "class mean": classify.NearestClassMean(),
                    "TEEN 0.1": classify.TEEN(0.1),
                    "TEEN 0.5": classify.TEEN(),
                }
                for name, method in methods.items():
                    report = evaluation.fscil(method, arranged)
                    figures[f"{view}, {n_shots} shots: {name}"] = float(report.harmonic_mean[-1])
        yield figures


def features(encoder: Any, X: Matrix) -> Matrix:
    """Of squares in grey."""
    side = math.isqrt(X.shape[1])
    pictures = (X * 255).clip(0, 255).astype(np.uint8).reshape(-1, side, side, 1).repeat(3, axis=3)
    vectors: Matrix = encoder.encode_images(list(pictures))
    return vectors


def components(X: Matrix, X_test: Matrix, n: int) -> tuple[Matrix, Matrix]:
    """Along the first principal axes of at most 4000 rows."""
    mean = X.mean(axis=0)
    axes = np.linalg.svd(X[:4000] - mean, full_matrices=False)[2][:n].T
    return (X - mean) @ axes, (X_test - mean) @ axes


def read_csv(path: Path, text: str, label: str) -> tuple[NDArray[Any], NDArray[Any]]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([row[text] for row in rows]), np.array([row[label] for row in rows])


def idx_images(folder: Path, part: str) -> tuple[Matrix, NDArray[np.int64]]:
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"{part}-{kind}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for kind, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return images.reshape(-1, 784).astype(np.float32) / np.float32(255), labels.astype(np.int64)


def characters(path: Path) -> tuple[Matrix, NDArray[Any], NDArray[np.int64]]:
    """Omniglot's drawings at 28 x 28, ink as 1; their characters, and the number of the drawing."""
    from PIL import Image

    images, labels, drawing = [], [], []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".png")):
            picture = Image.open(io.BytesIO(archive.read(name))).convert("L").resize((28, 28), Image.Resampling.BOX)
            images.append(1 - np.asarray(picture, np.float32).ravel() / 255)
            labels.append("/".join(Path(name).parts[-3:-1]))
            drawing.append(int(Path(name).stem.rpartition("_")[2]) - 1)
    return np.array(images), np.array(labels), np.array(drawing)


TASKS: dict[str, Callable[[Path, int], Iterator[Figures]]] = {
    "banking77": banking77,
    "medical": medical,
    "wordnet": wordnet,
    "fashion": fashion,
    "omniglot": omniglot,
    "detic": detic,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)
    sys.exit(main())
