"""Encoders: speed beside the models' own loops, accuracy with real weights, and what a killed run costs.

CLIP's and DINO's weights are random here, for only the shapes decide how fast they are; MiniLM's and EfficientNet's
are real.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .classify import ENCODER, read_csv
from .datasets import data_folder
from .measure import MeasureError, Timing, Worker, in_turns, seconds
from .report import Record, count, table, unjudged, verdict

__all__ = ["Plan", "measure", "report", "wilson"]

ARCHITECTURES = {"clip": "ViT-B-32", "dino": "vit_small_patch16_224"}
BATCH_SIZES = (16, 32, 64)
NAIVE, OURS = "one at a time", "nearfield"
OVERHEAD, GAIN, AGAIN = 0.05, 1.3, 0.02
ACCURACY = {"Banking77, 5-NN": 0.915, "Medical Abstracts, zero-shot": 0.53}
PHOTOS = "features:efficientnet-lite0"


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    rows: int = 64  # photographs and texts that are timed
    repeats: int = 3
    seed: int = 0
    n_threads: int = 2
    folder: Path | None = None  # one subfolder a class
    cache: Path = Path(".nearfield/encoded")
    n_killed: int = 10_000  # texts of the run that is killed; all there are, if less
    figures: tuple[str, ...] = ("speed", "accuracy", "photos", "resume")

    @classmethod
    def quick(cls) -> Plan:
        return cls(rows=32, repeats=1, n_killed=640, figures=("speed", "photos", "resume"))


def measure(plan: Plan) -> Iterator[Record]:
    """One record for each model and way of calling it, each accuracy, and the killed run."""
    parts: dict[str, Callable[[Plan], Iterator[Record]]] = {
        "speed": speed,
        "accuracy": accuracy,
        "photos": photos,
        "resume": resume,
    }
    for figure in plan.figures:
        yield from parts[figure](plan)


# Speed


def speed(plan: Plan) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        for model in ("clip images", "clip texts", "dino images", "efficientnet images", "minilm texts"):
            try:
                with Worker(Race, model, folder, plan.rows, plan.seed, n_threads=plan.n_threads) as worker:
                    ways = worker.run(Race.names)
                    timings = in_turns(ways, lambda way: worker.run(Race.time, way), repeats=plan.repeats)
                    difference = worker.run(Race.difference)
            except MeasureError as error:
                yield {"figure": "speed", "model": model, "missing": str(error).strip().splitlines()[-1]}
                continue
            for way, timing in timings.items():
                yield {
                    "figure": "speed", "model": model, "way": way, "n": plan.rows, "seconds": timing.seconds,
                    "difference": difference,
                }  # fmt: skip


class Race:
    """A model, items for it, and the ways to get their vectors; lives in a process of its own."""

    def __init__(self, model: str, folder: str, n: int, seed: int) -> None:
        import torch

        name, _, kind = model.partition(" ")
        torch.manual_seed(seed)
        self.items: list[Any] = photographs(Path(folder), n, seed) if kind == "images" else sentences(n)
        self.loop, encoder = MODELS[name](Path(folder), kind)
        self.ways: dict[str, Callable[[list[Any]], Any]] = {OURS: side(encoder, kind)}
        if name == "clip":
            half = clip_encoder(Path(folder), dtype="auto")
            self.ways |= {f"{OURS}, dtype='auto'": side(half, kind)} if half.dtype != "float32" else {}

    def names(self) -> list[str]:
        return [NAIVE, *(f"batches of {size}" for size in BATCH_SIZES), *self.ways]

    def run(self, way: str) -> Any:
        """Vectors of all items."""
        if way in self.ways:
            return self.ways[way](self.items)
        import torch

        size = 1 if way == NAIVE else int(way.rpartition(" ")[2])
        with torch.inference_mode():
            return torch.nn.functional.normalize(self.loop(self.items, size).float(), dim=-1).numpy()

    def time(self, way: str) -> float:
        return seconds(lambda: self.run(way))[0]

    def difference(self) -> float:
        """The largest between our unit vectors and those of the model's own loop."""
        ours = self.run(OURS)
        return float(abs(ours / np.linalg.norm(ours, axis=1, keepdims=True) - self.run("batches of 32")).max())


def side(encoder: Any, kind: str) -> Callable[[list[Any]], Any]:
    encode: Callable[[list[Any]], Any] = encoder.encode_images if kind == "images" else encoder.encode_documents
    return encode


Loop = Callable[[list[Any], int], Any]  # items, batch size -> vectors


def in_batches(prepare: Callable[[list[Any]], Any], forward: Callable[[Any], Any]) -> Loop:
    """A batch prepared and computed after the other."""
    import torch

    return lambda items, size: torch.cat(
        [forward(prepare(items[start : start + size])) for start in range(0, len(items), size)]
    )


def opened(transform: Any) -> Callable[[list[Any]], Any]:
    """As the README of open_clip does it: open, transform, stack."""
    import torch
    from PIL import Image

    return lambda paths: torch.stack([transform(Image.open(path)) for path in paths])


def clip_model(folder: Path, kind: str) -> tuple[Loop, Any]:
    import open_clip
    import torch

    name, weights = ARCHITECTURES["clip"], str(folder / "clip.pt")
    if not os.path.exists(weights):
        torch.save(open_clip.create_model(name).state_dict(), weights)
    model, _, transform = open_clip.create_model_and_transforms(name, weights)
    model.eval()
    if kind == "images":
        return in_batches(opened(transform), model.encode_image), clip_encoder(folder)
    return in_batches(open_clip.get_tokenizer(name), model.encode_text), clip_encoder(folder)


def clip_encoder(folder: Path, **options: Any) -> Any:
    import encoders

    return encoders.get(f"clip:{ARCHITECTURES['clip']}", weights=folder / "clip.pt", **options)


def dino_model(folder: Path, kind: str) -> tuple[Loop, Any]:
    import timm
    import torch

    import encoders

    name, weights = ARCHITECTURES["dino"], folder / "dino.pt"
    model = timm.create_model(name, pretrained=False, num_classes=0).eval()
    torch.save(model.state_dict(), weights)
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    return in_batches(opened(transform), model), encoders.get(f"dino:{name}", weights=weights)


def efficientnet_model(folder: Path, kind: str) -> tuple[Loop, Any]:
    import torch

    import encoders

    encoder: Any = encoders.get(PHOTOS)
    reader = encoder.reader

    def features(x: Any) -> Any:
        return torch.nn.functional.adaptive_avg_pool2d(reader.module.extract_features(x), 1).flatten(1)

    reader.module.eval()
    return in_batches(opened(lambda image: reader.preprocess(np.asarray(image))), features), encoder


def minilm_model(folder: Path, kind: str) -> tuple[Loop, Any]:
    """Its own loop sorts by length."""
    import encoders

    encoder: Any = encoders.get(ENCODER)
    model = encoder.model
    return lambda texts, size: model.encode(texts, batch_size=size, convert_to_tensor=True), encoder


MODELS = {"clip": clip_model, "dino": dino_model, "efficientnet": efficientnet_model, "minilm": minilm_model}


def photographs(folder: Path, n: int, seed: int) -> list[str]:
    """JPEG files of 500 x 375: cuts of the two photographs that scikit-learn brings."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng, sources = np.random.default_rng(seed), load_sample_images().images
    paths = [str(folder / f"{i:05}.jpg") for i in range(n)]
    for i, path in enumerate(paths):
        source = sources[i % len(sources)]
        top, left = (int(rng.integers(0, had - kept)) for had, kept in zip(source.shape[:2], (375, 500), strict=True))
        Image.fromarray(source[top : top + 375, left : left + 500]).save(path, quality=90)
    return paths


def sentences(n: int) -> list[str]:
    """Questions of Banking77, or made-up ones of like length."""
    try:
        return list(map(str, banking("train")[0][:n]))
    except FileNotFoundError:
        rng = np.random.default_rng(0)
        words = ["card", "transfer", "when", "my", "is", "lost", "account", "money", "please", "top-up"]
        return [" ".join(rng.choice(words, rng.integers(4, 20))) for _ in range(n)]


# Accuracy


def accuracy(plan: Plan) -> Iterator[Record]:
    for name, figure in (("Banking77, 5-NN", banking_5nn), ("Medical Abstracts, zero-shot", medical_zero_shot)):
        try:
            with Worker(int, n_threads=plan.n_threads) as worker:
                right, n = worker.run(figure, str(plan.cache))
            yield {"figure": "accuracy", "name": name, "right": right, "n": n}
        except MeasureError as error:
            yield {"figure": "accuracy", "name": name, "missing": str(error).strip().splitlines()[-1]}


def banking(part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    return read_csv(data_folder() / "banking77" / "banking_data" / f"{part}.csv", "text", "category")


def banking_5nn(state: Any, cache: str) -> tuple[int, int]:
    """Questions whose five nearest of the training split vote for their intent."""
    import encoders
    from engine.classify import KNNClassifier

    encoder = encoders.get(ENCODER, cache=cache)
    (texts, y), (asked, expected) = banking("train"), banking("test")
    knn = KNNClassifier(5).fit(encoder.encode_documents(texts.tolist()), y)
    predicted = knn.predict(encoder.encode_documents(asked.tolist()))
    return int((predicted == expected).sum()), len(expected)


def medical_zero_shot(state: Any, cache: str) -> tuple[int, int]:
    """Abstracts that are nearest to the name of their condition."""
    import encoders
    from engine.classify import ZeroShotClassifier

    folder = data_folder() / "medical_abstracts"
    texts, labels = read_csv(folder / "medical_tc_test.csv", "medical_abstract", "condition_label")
    codes, names = read_csv(folder / "medical_tc_labels.csv", "condition_label", "condition_name")
    name_of = dict(zip(codes.tolist(), names.tolist(), strict=True))
    zero_shot = ZeroShotClassifier(encoders.get(ENCODER, cache=cache), templates=["{}"]).fit(names.tolist())
    predicted = zero_shot.predict(texts.tolist())
    return sum(guess == name_of[label] for guess, label in zip(predicted, labels, strict=True)), len(labels)


# A collection with a folder a class


def photos(plan: Plan) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as made:
        try:
            folder = plan.folder or drawings(Path(made), plan.rows, plan.seed)
            with Worker(int, n_threads=plan.n_threads) as worker:
                yield {"figure": "photos", **worker.run(one_nn, str(folder), str(plan.cache))}
        except (FileNotFoundError, MeasureError) as error:
            yield {"figure": "photos", "missing": str(error).strip().splitlines()[-1]}


def one_nn(state: Any, folder: str, cache: str) -> Record:
    """Images whose nearest other image is of their class."""
    import encoders
    from engine import Collection
    from engine.classify import KNNClassifier

    collection = Collection.from_images(folder, encoders.get(PHOTOS, cache=cache), progress=False)
    assert collection.labels is not None, "a folder with a subfolder a class"
    knn = KNNClassifier(1, index=collection.index).fit(None, collection.labels)
    right = int((knn.predict(None) == collection.labels).sum())
    classes = len(np.unique(collection.labels))
    return {"right": right, "n": len(collection), "classes": classes, "skipped": len(collection.skipped)}


def drawings(folder: Path, n: int, seed: int) -> Path:
    """Characters of Omniglot, 20 drawings each, as folders of PNG files."""
    path = data_folder() / "omniglot" / "python" / "images_background_small1.zip"
    with zipfile.ZipFile(path) as archive:
        files = sorted(name for name in archive.namelist() if name.endswith(".png"))
        of: dict[str, list[str]] = {}
        for name in files:
            of.setdefault("-".join(Path(name).parts[-3:-1]), []).append(name)
        for character in np.random.default_rng(seed).permutation(sorted(of))[: max(2, n // 20)].tolist():
            (folder / character).mkdir()
            for name in of[character]:
                (folder / character / Path(name).name).write_bytes(archive.read(name))
    return folder


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson.

    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    share, width = right / n, z * math.sqrt(right * (n - right) / n**3 + (z / (2 * n)) ** 2)
    centre, scale = share + z**2 / (2 * n), 1 + z**2 / n
    return (centre - width) / scale, (centre + width) / scale


# A run that is killed


def resume(plan: Plan) -> Iterator[Record]:
    """Kill a run when half of its vectors are written; what the next run encodes again."""
    texts = [f"{i} {text}" for i, text in enumerate(sentences(plan.n_killed))]  # all different
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", __name__, cache, str(plan.n_killed)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and kept(cache) < len(texts) // 2:
            sleep(0.002)
        finished = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        if finished:
            yield {"figure": "resume", "missing": (said.strip().splitlines() or ["it ended before it was killed"])[-1]}
            return
        import encoders

        before = kept(cache)
        cached: Any = encoders.get(ENCODER, cache=cache)
        cached.encode_documents(texts)
        # What was being encoded at the kill is lost: at most one part, whatever part of it was done.
        part = kept_at_once(len(texts))
        yield {
            "figure": "resume", "n": len(texts), "kept": before, "encoded": cached.n_misses,
            "again": cached.n_misses - (len(texts) - before) + part,
        }  # fmt: skip


def kept(cache: str) -> int:
    """Rows of MiniLM in the cache's only file."""
    files = list(Path(cache).glob("*.rows"))
    return files[0].stat().st_size // (16 + 8 + 4 * 384) if files else 0


def kept_at_once(n: int) -> int:
    """Items that the cache encodes before it writes."""
    from encoders import cache

    return min(max(cache.SMALLEST_PART, n // cache.PARTS), cache.LARGEST_PART)


def killed(cache: str, n: str) -> None:
    import encoders

    texts = [f"{i} {text}" for i, text in enumerate(sentences(int(n)))]
    encoders.get(ENCODER, cache=cache).encode_documents(texts)


# What it means


def report(records: Iterable[Record]) -> str:
    """Tables, and which targets were met."""
    records = list(records)
    blocks = []
    for figure, tell in (
        ("speed", tell_speed),
        ("accuracy", tell_accuracy),
        ("photos", tell_photos),
        ("resume", tell_resume),
    ):
        found = [record for record in records if record["figure"] == figure]
        if found:
            blocks.append("\n".join(tell(found)))
    return count("\n\n".join(blocks))


def tell_speed(found: list[Record]) -> Iterator[str]:
    rows = [["model", "way", "items a second", "slowest", "fastest"]]
    verdicts = []
    for model in dict.fromkeys(record["model"] for record in found):
        ways = {record["way"]: record for record in found if record["model"] == model and "way" in record}
        if not ways:
            reason = next(record["missing"] for record in found if record["model"] == model)
            verdicts.append(unjudged(f"{model}: overhead at most {OVERHEAD:.0%}", reason))
            continue
        took = {way: Timing(tuple(record["seconds"])) for way, record in ways.items()}
        n = next(iter(ways.values()))["n"]
        rows += [
            [model, way, f"{n / each.median:.1f}", f"{n / each.max:.1f}", f"{n / each.min:.1f}"]
            for way, each in took.items()
        ]
        best = min((way for way in took if way.startswith("batches")), key=lambda way: took[way].median)
        overhead = took[OURS].median / took[best].median - 1
        what = f"{model}: overhead over {best}, the model's best loop, at most {OVERHEAD:.0%}"
        verdicts.append(verdict(what, f"{overhead:+.1%}", overhead <= OVERHEAD))
        difference = ways[OURS]["difference"]
        verdicts.append(verdict(f"{model}: vectors equal to 1e-5", f"{difference:.1e}", difference <= 1e-5))
        if model == "clip images":
            gain = took[NAIVE].median / took[OURS].median
            verdicts.append(verdict(f"{model}: {GAIN} x one image at a time", f"{gain:.2f} x", gain >= GAIN))
    yield table(rows)
    yield ""
    yield from verdicts


def tell_accuracy(found: list[Record]) -> Iterator[str]:
    for record in found:
        what = f"{record['name']}, all-MiniLM-L6-v2: at least {ACCURACY[record['name']]}"
        if "missing" in record:
            yield unjudged(what, record["missing"])
            continue
        share = record["right"] / record["n"]
        low, high = wilson(record["right"], record["n"])
        yield verdict(
            what, f"{share:.4f} of {record['n']}, 95 % {low:.4f} - {high:.4f}", share >= ACCURACY[record["name"]]
        )


def tell_photos(found: list[Record]) -> Iterator[str]:
    for record in found:
        what = "EfficientNet-lite0, each image by its nearest other"
        if "missing" in record:
            yield unjudged(what, record["missing"])
            continue
        low, high = wilson(record["right"], record["n"])
        yield (
            f"{what}: {record['right'] / record['n']:.4f}, 95 % {low:.4f} - {high:.4f}; {record['n']} images of "
            f"{record['classes']} classes, {record['skipped']} files skipped"
        )


def tell_resume(found: list[Record]) -> Iterator[str]:
    for record in found:
        what = f"killed half way: at most {AGAIN:.0%} encoded again"
        if "missing" in record:
            yield unjudged(what, record["missing"])
            continue
        share = record["again"] / record["n"]
        said = (
            f"{share:.2%} of {record['n']} at most; {record['kept']} kept, {record['encoded']} encoded by the next run"
        )
        yield verdict(what, said, share <= AGAIN)


if __name__ == "__main__":
    killed(*sys.argv[1:])
