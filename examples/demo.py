"""The three jobs on real data, in words and one picture: `python examples/demo.py`, or `make demo`.

1. Images: scikit-learn's digits, and Fashion-MNIST if Debian's dataset-fashion-mnist is installed, as folders of PNG
   files: index them, classify each image by its neighbours, draw some of them.
2. Filtered search: 60,000 patches of two photographs, against numpy's brute force.
3. Texts: sentences found and labelled by meaning.

Every figure that it prints was measured in the run. All data is on the disk; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits, load_sample_images

import encoders
import engine
from engine.classify import KNNClassifier
from engine.evaluation import accuracy, class_report, ground_truth, recall_at_k
from engine.images import read_image

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist
FASHION_NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
ENCODERS = ("pixels", "features:efficientnet-lite0")
SENTENCE_ENCODER = "sbert:all-MiniLM-L6-v2"
N_NEIGHBORS = 20
MARKER = ".nearfield-demo"  # only folders that hold this file are written anew
COLOURS = {"query": "#888888", "right": "#1a9850", "wrong": "#d73027"}

# Four sentences on each of eight subjects.
SENTENCES = {
    "cooking": [
        "Let the onions turn golden before you add the garlic.",
        "The dough has to rest for an hour under a damp cloth.",
        "Roast the vegetables until their edges are brown.",
        "A pinch of salt brings out the sweetness of the tomatoes.",
    ],
    "astronomy": [
        "The probe sent back pictures of the rings of Saturn.",
        "A total eclipse hid the Sun for four minutes.",
        "The light of that galaxy left it ten billion years ago.",
        "Two black holes merged and shook space itself.",
    ],
    "sports": [
        "She scored the winning goal in the last minute.",
        "The marathon runners were slowed by the heat.",
        "He won the second set after a long rally at the net.",
        "The coach changed the goalkeeper at half-time.",
    ],
    "money": [
        "The central bank raised its key interest rate again.",
        "Shares fell sharply after the quarterly report.",
        "They paid off the mortgage two years early.",
        "Inflation ate up what the workers had gained in wages.",
    ],
    "medicine": [
        "The surgeon repaired the valve through a small cut.",
        "A vaccine protected most of the children from measles.",
        "Her blood pressure dropped once she took the tablets.",
        "The X-ray showed a fracture below the knee.",
    ],
    "music": [
        "The violins come in softly after the second theme.",
        "Their new album was recorded in a single night.",
        "He tuned the guitar half a step lower.",
        "The choir rehearsed the difficult passage again and again.",
    ],
    "weather": [
        "Thick fog closed the airport until noon.",
        "A cold front will bring sleet to the valleys.",
        "The storm tore the roof off a barn.",
        "After weeks of drought it finally rained.",
    ],
    "gardening": [
        "Prune the roses before the first buds open.",
        "Slugs ate all the lettuce during the night.",
        "Plant the bulbs twice as deep as they are tall.",
        "The compost is ready once it smells of forest soil.",
    ],
}
# Each means the same as one sentence above, in other words.
QUESTIONS = {
    "a broken leg bone on a scan": "The X-ray showed a fracture below the knee.",
    "pests devouring plants in the vegetable patch": "Slugs ate all the lettuce during the night.",
    "borrowing becomes more expensive": "The central bank raised its key interest rate again.",
    "a spacecraft photographs the ringed planet": "The probe sent back pictures of the rings of Saturn.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo."""
    options = argparse.ArgumentParser(description="nearfield's three jobs on real data.")
    options.add_argument("--out", type=Path, default=Path("demo-out"), help="folder to write, default %(default)s")
    options.add_argument("--fashion", type=Path, default=FASHION_FOLDER, help="folder of Fashion-MNIST's .gz files")
    options.add_argument("--images", type=int, default=1000, help="use so many of each data set, default %(default)s")
    options.add_argument("--encoders", nargs="+", default=ENCODERS, metavar="NAME", help="of images")
    given = options.parse_args(argv)
    began = perf_counter()
    given.out.mkdir(parents=True, exist_ok=True)
    print(f"nearfield {engine.__version__}, instruction set {engine.isa()}, {os.cpu_count()} cores")
    show_images(given.out, given.fashion, given.images, given.encoders)
    show_filters()
    show_texts()
    print(f"\nDone in {perf_counter() - began:.0f} s.")
    return 0


# 1. Images


@dataclass(frozen=True)
class Judged:
    """A folder under one encoder: each image labelled by its neighbours."""

    data: str
    encoder: str
    folder: Path
    paths: NDArray[Any]
    labels: NDArray[Any]
    predicted: NDArray[Any]
    neighbors: NDArray[np.int64]
    said: str

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted == self.labels)


def show_images(out: Path, fashion: Path, n_images: int, names: Sequence[str]) -> None:
    """Folders of images -> how well neighbours label them, and a picture of some."""
    title("1. Images: index a folder, label each image by its neighbours")
    judged = []
    for data, folder in image_folders(out, fashion, n_images).items():
        files = [out / f"{data}-{name.replace(':', '-')}.nrf" for name in names]
        results = [judge(data, folder, name, file) for name, file in zip(names, files, strict=True)]
        n = len(results[0].labels)
        print(f"\n{data}: {n} images, each labelled by its {N_NEIGHBORS} nearest among the other {n - 1}.")
        for result in results:
            print(f"  {result.said}")
        best, file = max(zip(results, files, strict=True), key=lambda pair: pair[0].right.mean())
        print(f"  Best: {best.encoder}, {100 * best.right.mean():.1f} % right.")
        print(f"  Its most frequent mistakes: {command()} classify {file}")
        judged += results
    contact_sheet(judged, columns=len(names)).save(out / "neighbours.png")
    print(f"\n{out / 'neighbours.png'} shows images, framed in grey, and the nearest neighbours of each: green is the")
    print("same class, red another. Up to half of the images were picked since the first encoder labels them wrong.")


def command() -> str:
    """How to call `nearfield` from here: that of this environment, which may be on no search path."""
    beside = Path(sys.executable).with_name("nearfield")
    return os.path.relpath(beside) if beside.exists() else "nearfield"


def image_folders(out: Path, fashion: Path, n_images: int) -> dict[str, Path]:
    """The data as folders of PNG files, one subfolder a class."""
    digits = load_digits()
    pictures = np.round(digits.images[:n_images] * (255 / 16)).astype(np.uint8)
    folders = {"digits": write_folder(out / "digits", pictures, digits.target.astype(str))}
    if fashion.is_dir():
        pictures = read_idx(fashion / "t10k-images-idx3-ubyte.gz")[:n_images]
        labels = np.array(FASHION_NAMES)[read_idx(fashion / "t10k-labels-idx1-ubyte.gz")]
        folders["fashion"] = write_folder(out / "fashion", pictures, labels)
    else:
        print(f"Fashion-MNIST is left out: {fashion} is not there (apt install dataset-fashion-mnist).")
    return folders


def write_folder(folder: Path, pictures: NDArray[np.uint8], labels: NDArray[Any]) -> Path:
    """Write each picture as ``folder/<label>/<number>.png``; what an earlier run wrote there is gone."""
    if (folder / MARKER).exists():
        shutil.rmtree(folder)
    if folder.exists():
        raise SystemExit(f"{folder} is not of this demo: delete it, or let the demo write elsewhere with --out")
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    for label in set(labels[: len(pictures)].tolist()):
        (folder / label).mkdir()
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=False)):
        Image.fromarray(picture).save(folder / label / f"{i:05}.png")
    return folder


def read_idx(path: Path) -> NDArray[np.uint8]:
    """A file in the format of MNIST: 2 zero bytes, the type (8: uint8), the number of sizes, the sizes, the values."""
    with gzip.open(path) as file:
        _, _, kind, n_sizes = file.read(4)
        if kind != 8:
            raise engine.CorruptIndexError(f"{path} holds type {kind}, expected 8: uint8")
        shape = np.frombuffer(file.read(4 * n_sizes), ">u4")
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


def judge(data: str, folder: Path, name: str, file: Path) -> Judged:
    """Index `folder`, keep it as `file`, and label each image by the others."""
    encoder = encoders.get(name)
    began = perf_counter()
    collection = engine.Collection.from_images(folder, encoder)
    encoded = perf_counter()
    collection.save(file)
    labels, paths = np.asarray(collection.labels), np.asarray(collection.paths)
    searched = perf_counter()
    knn = KNNClassifier(N_NEIGHBORS, index=collection.index).fit(None, labels)
    predicted, neighbors = knn.predict(None, return_neighbors=True)
    done = perf_counter()
    n, report = len(collection), class_report(labels, predicted)
    error = 100 * np.sqrt(report.accuracy * (1 - report.accuracy) / n)
    hardest = int(report.recall.argmin())
    said = (
        f"{name}: {100 * report.accuracy:.1f} % right (standard error {error:.1f}), least so for "
        f"{report.classes[hardest]!s}: {100 * report.recall[hardest]:.0f} %.\n"
        f"    encoded {n / (encoded - began):.0f} images a second, labelled all in {1000 * (done - searched):.0f} ms"
    )
    return Judged(data, name, folder, paths, labels, predicted, neighbors.ids, said)


def contact_sheet(
    judged: Sequence[Judged], *, columns: int, rows: int = 6, shown: int = 8, side: int = 52
) -> Image.Image:
    """One block for each of `judged`; its rows: an image, how it was labelled, its nearest neighbours."""
    gap, caption, head = 4, 92, 30
    width, height = caption + (1 + shown) * (side + gap) + 6 * gap, head + rows * (side + gap)
    lines = -(-len(judged) // columns)
    sheet = Image.new("RGB", (columns * width + gap, lines * height + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for block, result in enumerate(judged):
        left, top = gap + block % columns * width, gap + block // columns * height
        heading = f"{result.data}, {result.encoder}: {100 * result.right.mean():.1f} % right"
        draw.text((left, top + 6), heading, "black", font)
        # The first encoder's mistakes, half of the rows, for every encoder the same images.
        first = next(other for other in judged if other.data == result.data)
        for line, query in enumerate(examples(first.right, rows)):
            y = top + head + line * (side + gap)
            fate = "right" if result.right[query] else "wrong"
            text = f"{result.labels[query]}\nlabelled\n{result.predicted[query]}"
            draw.multiline_text((left, y), text, COLOURS[fate], font, spacing=1)
            for place, row in enumerate([query, *result.neighbors[query, :shown]]):
                x = left + caption + place * (side + gap) + (2 * gap if place else 0)
                same = "query" if not place else "right" if result.labels[row] == result.labels[query] else "wrong"
                picture = Image.fromarray(read_image(result.folder / result.paths[row]))
                sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (x, y))
                draw.rectangle((x - 1, y - 1, x + side, y + side), outline=COLOURS[same], width=3)
                if same == "wrong":  # a cross too, for those who see red and green alike
                    draw.line((x + 2, y + 2, x + 12, y + 12), COLOURS[same], 3)
                    draw.line((x + 2, y + 12, x + 12, y + 2), COLOURS[same], 3)
    return sheet


def examples(right: NDArray[np.bool_], n: int) -> list[int]:
    """`n` rows spread over all: half of them labelled wrong, if there are so many."""
    wrong, good = np.flatnonzero(~right), np.flatnonzero(right)
    n_wrong = max(min(n // 2, len(wrong)), n - len(good))
    parts = [(good, n - n_wrong), (wrong, n_wrong)]
    return [int(rows[i]) for rows, count in parts if count for i in np.linspace(0, len(rows) - 1, count).astype(int)]


# 2. Filtered search


def show_filters(*, step: int = 3, n_queries: int = 300, k: int = 10, repeats: int = 5) -> None:
    """Patches of photographs under filters: found and how fast, beside brute force in numpy."""
    title("2. Filtered search: patches of two photographs, with only some allowed")
    rng = np.random.default_rng(0)
    vectors = patches(0, step)
    queries = rng.permutation(patches(1, step))[:n_queries]  # cut elsewhere: none is in the index
    index = engine.Index(vectors.shape[1], metric="l2")
    index.add(vectors)
    unfiltered = index.search(queries, 10 * k)
    brightness = vectors.mean(axis=1)
    print(f"{len(vectors)} patches of dim {index.dim}, {len(queries)} queries in one call, k = {k}, metric l2.")
    print("recall: share of the true nearest (float64, among the allowed) that was found. qps: queries a second.")
    print("numpy: one product of all queries and all allowed rows, in float32.")
    print(f"filtered after: search for {10 * k} among all rows, then drop what is not allowed.\n")
    print("allowed                 nearfield           numpy               filtered after")
    print("                        recall      qps     recall      qps             recall")
    recalls, ratios = [], {}
    for selectivity in (1.0, 0.5, 0.1, 0.01, 0.001):
        filters = {"random": rng.random(len(vectors)) < selectivity}
        filters["darkest"] = brightness <= np.quantile(brightness, selectivity)
        for kind, mask in filters.items() if selectivity < 1 else [("all", filters["random"])]:
            truth = ground_truth(queries, vectors, k, metric="l2", mask=mask).ids
            searches = (partial(nearfield_search, queries, index), partial(numpy_search, queries, vectors))
            (ours, our_time), (theirs, their_time) = timed(repeats, [partial(search, k, mask) for search in searches])
            after = np.where(mask[unfiltered.ids], unfiltered.ids, -1)
            recall, peer, late = (recall_at_k(ids, truth) for ids in (ours, theirs, after))
            name = f"{100 * selectivity:g} %, {kind}"
            recalls.append(recall)
            ratios[name] = their_time / our_time
            print(
                f"{name:<20}{recall:10.4f}{n_queries / our_time:9.0f}"
                f"{peer:11.4f}{n_queries / their_time:9.0f}{late:19.4f}"
            )
    found = "everything under every filter" if min(recalls) == 1 else f"{100 * min(recalls):.2f} % or more"
    print(f"\nnearfield found {found}.")
    print(f"Its queries a second are {min(ratios.values()):.1f} to {max(ratios.values()):.1f} times numpy's.")
    if slower := [name for name, ratio in ratios.items() if ratio < 1]:
        print(f"It was slower than numpy under: {'; '.join(slower)}.")


def patches(offset: int, step: int, side: int = 8) -> NDArray[np.float32]:
    """Every `step`-th patch of scikit-learn's two photographs, as rows from 0 to 1."""
    found = []
    for photograph in load_sample_images().images:
        windows = np.lib.stride_tricks.sliding_window_view(photograph, (side, side, 3))[offset::step, offset::step, 0]
        found.append(windows.reshape(-1, side * side * 3))
    return np.concatenate(found).astype(np.float32) / np.float32(255)


def nearfield_search(
    queries: NDArray[np.float32], index: engine.Index, k: int, mask: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """What is measured of ours: turning the mask into a bitmap counts too."""
    return index.search(queries, k, filter=mask).ids


def numpy_search(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, mask: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Brute force as numpy does it best: one matrix product over the allowed rows."""
    rows = np.flatnonzero(mask)
    base = vectors[rows]
    distances = np.einsum("nd,nd->n", base, base) - 2 * (queries @ base.T)
    near = np.argpartition(distances, min(k, len(rows) - 1), axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1)
    return rows[np.take_along_axis(near, order, axis=1)]


def timed(repeats: int, searches: Sequence[Callable[[], NDArray[np.int64]]]) -> list[tuple[NDArray[np.int64], float]]:
    """The answer of each search and its median time; they take turns, so that a busy moment hits all.

    Before each there is a pause, until threads of numpy's no longer spin and take a core from the other, and a search
    that does not count, which wakes everything up.
    """
    answers = [search() for search in searches]
    times: list[list[float]] = [[] for _ in searches]
    for _ in range(repeats):
        for search, seconds in zip(searches, times, strict=True):
            sleep(0.1)
            search()
            began = perf_counter()
            search()
            seconds.append(perf_counter() - began)
    return list(zip(answers, map(median, times), strict=True))


# 3. Texts


def show_texts() -> None:
    """Sentences by meaning: found, labelled by the names of the classes, labelled by their neighbours."""
    title("3. Texts: find and label sentences by meaning")
    encoder = encoders.get(SENTENCE_ENCODER)
    subjects, sentences = zip(*((name, text) for name, texts in SENTENCES.items() for text in texts), strict=True)
    collection = engine.Collection.from_texts(sentences, encoder, labels=subjects, progress=False)
    print(f"{len(collection)} sentences on {len(SENTENCES)} subjects, encoded by {SENTENCE_ENCODER}.\n")

    found = collection.search(list(QUESTIONS), k=1, columns=["text"]).attributes["text"][:, 0].tolist()
    for question, answer in zip(QUESTIONS, found, strict=True):
        print(f"  {question!r} finds {answer!r}")
    n_right = sum(answer == meant for answer, meant in zip(found, QUESTIONS.values(), strict=True))
    print(f"{n_right} of {len(QUESTIONS)} questions find the sentence that was meant.\n")

    names = encoder.encode_documents([f"a sentence about {name}" for name in SENTENCES])
    nearest = engine.topk(collection.get(collection.index.ids), names, 1).ids[:, 0]
    by_name = accuracy(subjects, np.array(list(SENTENCES))[nearest])
    knn = KNNClassifier(3, index=collection.index).fit(None, subjects)
    print(f"Labelled by the nearest class name, no example given: {100 * by_name:.0f} % right.")
    print(f"Labelled by the 3 nearest other sentences: {100 * knn.score(None, subjects):.0f} % right.\n")

    clothes = engine.Collection.from_texts(FASHION_NAMES, encoder, progress=False)
    for wish in ("something for your feet", "keeps you warm in winter", "carries your things"):
        nearest_names = clothes.search(wish, k=3, columns=["text"]).attributes["text"][0].tolist()
        print(f"  Of the classes of Fashion-MNIST, nearest to {wish!r}: {', '.join(nearest_names)}")


def title(text: str) -> None:
    print(f"\n{text}\n{'=' * len(text)}")


if __name__ == "__main__":
    raise SystemExit(main())
