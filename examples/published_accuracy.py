"""Published zero-shot and k-NN accuracies, again: `python examples/published_accuracy.py --help`.

For someone who has the weights and ImageNet's validation set (50,000 images, one folder a class, named by WordNet id);
neither comes with nearfield, and its developers could not run this on them. What it prints beside each figure is from

- open_clip's docs/openclip_results.csv: zero-shot top-1 with all 80 templates of CLIP;
- the table of facebookresearch/dino: 20-NN top-1, features of the training set as neighbours.

    python examples/published_accuracy.py clip ViT-B-32/openai --images imagenet/val --names names.json
    python examples/published_accuracy.py dino vit_small_patch16_224.dino --images imagenet/val --train imagenet/train

Any other collection with one folder a class does as well: then there is nothing published to compare with, and without
``--train`` each image is labelled by the others. A run that is stopped goes on from ``--cache``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import encoders
import engine
from engine.classify import KNNClassifier, ZeroShotClassifier
from engine.classify.templates import IMAGENET_80

# Top-1 in percent on ImageNet.
PUBLISHED = {
    "clip": {
        "RN50/openai": 59.8, "RN101/openai": 62.3, "RN50x4/openai": 66.3, "RN50x16/openai": 70.7,
        "RN50x64/openai": 73.9, "ViT-B-32/openai": 63.3, "ViT-B-16/openai": 68.3, "ViT-L-14/openai": 75.5,
        "ViT-L-14-336/openai": 76.6,
    },
    "dino": {
        "vit_small_patch16_224.dino": 74.5, "vit_small_patch8_224.dino": 78.3, "vit_base_patch16_224.dino": 76.1,
        "vit_base_patch8_224.dino": 77.4,
    },
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Encode, classify, and print what was reached beside what was published."""
    options = argparse.ArgumentParser(prog="published_accuracy", description="Published accuracies, again.")
    options.add_argument("family", choices=PUBLISHED)
    options.add_argument("model", help="as behind the colon of an encoder's name")
    options.add_argument("--images", type=Path, required=True, help="one subfolder a class")
    options.add_argument("--train", type=Path, help="dino: images that vote; default: the others of --images")
    options.add_argument("--names", type=Path, help="clip: JSON of folder -> name of the class; default: the folders'")
    options.add_argument("--weights", type=Path, help="a checkpoint to load instead of downloading")
    options.add_argument("--cache", type=Path, default=Path(".nearfield/encoded"), help="default %(default)s")
    options.add_argument("--dtype", default="float32", help="float32, float16, bfloat16 or auto; default %(default)s")
    options.add_argument("-k", type=int, default=20, help="dino: neighbours, default %(default)s")
    given = options.parse_args(argv)
    settings: dict[str, Any] = {} if given.weights is None else {"weights": given.weights}
    if given.family == "dino":
        settings["crop_pct"] = 224 / 256  # as the repository's eval_knn.py
    name = f"{given.family}:{given.model}"
    encoder = encoders.get(name, dtype=given.dtype, cache=given.cache, **settings)
    shown = engine.Collection.from_images(given.images, encoder)
    if shown.labels is None:
        options.error(f"{given.images} has no subfolders, expected one for each class")
    right = zero_shot(encoder, shown, given.names) if given.family == "clip" else neighbours(encoder, shown, given)
    share, n = right / len(shown), len(shown)
    margin = 1.96 * math.sqrt(share * (1 - share) / n)
    print(f"{name}: {100 * share:.2f} % ± {100 * margin:.2f} of {n} images, {len(shown.skipped)} files skipped")
    published = PUBLISHED[given.family].get(given.model)
    print(
        "nothing published for this model is known here" if published is None else f"ImageNet, published: {published} %"
    )
    return 0


def zero_shot(encoder: Any, shown: engine.Collection, names: Path | None) -> int:
    """Images that are nearest to the sentences of their class."""
    folders = sorted(set(shown.labels.tolist()))  # type: ignore[union-attr]
    name_of = dict(zip(folders, folders, strict=True)) if names is None else json.loads(names.read_text("utf-8"))
    zero_shot = ZeroShotClassifier(encoder, templates=IMAGENET_80).fit([name_of[folder] for folder in folders])
    predicted = zero_shot.predict(shown.get(shown.index.ids))
    expected = [name_of[folder] for folder in shown.labels.tolist()]  # type: ignore[union-attr]
    return sum(guess == name for guess, name in zip(predicted.tolist(), expected, strict=True))


def neighbours(encoder: Any, shown: engine.Collection, given: argparse.Namespace) -> int:
    """Images whose nearest neighbours vote for their class."""
    if given.train is None:
        knn, queries = KNNClassifier(given.k, allow_fewer=True).fit(shown, shown.labels), None
    else:
        voters = engine.Collection.from_images(given.train, encoder)
        knn, queries = KNNClassifier(given.k).fit(voters, voters.labels), shown.get(shown.index.ids)
    return int((knn.predict(queries) == shown.labels).sum())


if __name__ == "__main__":
    sys.exit(main())
