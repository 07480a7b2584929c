"""A small architecture of open_clip with random weights; without open_clip the tests that use it are skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def write_clip(folder: Path, name: str, **config: Any) -> Path:
    """Make open_clip know the architecture `name` from now on, and write weights for it."""
    (folder / f"{name}.json").write_text(json.dumps({**TINY, **config}))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model(name).state_dict(), folder / f"{name}.pt")
    return folder / f"{name}.pt"
