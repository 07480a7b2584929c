"""examples/published_accuracy.py on made-up images and random weights: that all of it runs, not what it finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from examples import load_example

torch = pytest.importorskip("torch")


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator) -> Path:
    for label, level in (("n01", 40), ("n02", 200)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(level - 40, level + 40, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    return tmp_path / "photos"


def test_zero_shot(photos: Path, tmp_path: Path, capsys: Any) -> None:
    open_clip = pytest.importorskip("open_clip")
    from clips import write_clip

    weights = write_clip(tmp_path, "tiny-clip")
    (tmp_path / "names.json").write_text(json.dumps({"n01": "night", "n02": "day"}))
    argv = ["clip", "tiny-clip", "--images", str(photos), "--weights", str(weights), "--cache", str(tmp_path / "cache")]
    example = load_example("published_accuracy")
    assert example.main([*argv, "--names", str(tmp_path / "names.json")]) == 0
    out = capsys.readouterr().out
    assert "clip:tiny-clip: " in out
    assert "of 6 images, 0 files skipped\nnothing published for this model is known here\n" in out
    assert set(example.PUBLISHED["clip"]) < {"/".join(pair) for pair in open_clip.list_pretrained()}


def test_neighbours(photos: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    name, weights = "vit_tiny_patch16_224", tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model(name, pretrained=False, num_classes=0).state_dict(), weights)
    argv = ["dino", name, "--images", str(photos), "--weights", str(weights), "--cache", str(tmp_path / "cache")]
    example = load_example("published_accuracy")
    monkeypatch.setitem(example.PUBLISHED["dino"], name, 12.3)
    assert example.main([*argv, "-k", "1"]) == 0
    assert capsys.readouterr().out.endswith("ImageNet, published: 12.3 %\n")
    assert example.main([*argv, "-k", "1", "--train", str(photos)]) == 0
    assert "100.00 % ± 0.00 of 6 images" in capsys.readouterr().out  # each image finds itself
    assert set(example.PUBLISHED["dino"]) - {name} < set(timm.list_models(pretrained=True))
