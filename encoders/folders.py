"""Folders of models: those on this disk, and those of the Hugging Face hub, from its cache or downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.exceptions import InvalidArgumentError, UnsupportedError

from .base import require
from .fingerprint import files_hash
from .hub import cache_alone_if_offline
from .registry import unknown_name

__all__ = ["model_folder", "quiet", "weights_hash"]

# What to fetch of the hub's folders, which often hold the same weights in other formats too; and what makes the model.
FETCHED = ("*.json", "*.model", "*.safetensors", "*.txt")
HASHED = (*FETCHED, "*.bin")


def model_folder(family: str, model: str, owner: str = "") -> Path:
    """Where the files of `model` lie, after a download if need be; `owner` is that of names without one."""
    if os.path.isdir(model):
        return Path(model)
    name = f"{family}:{model}"
    hub = require("huggingface_hub", f"the encoder '{name}'")
    repository = model if "/" in model or not owner else f"{owner}/{model}"
    try:
        with cache_alone_if_offline():
            return Path(hub.snapshot_download(repository, allow_patterns=list(FETCHED)))
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise InvalidArgumentError(f"{unknown_name(name)}; no such folder, and the hub: {error}") from error
    except (OSError, hub.errors.HfHubHTTPError) as error:
        raise UnsupportedError(
            f"{unknown_name(name)}; no such folder, and the hub cannot be reached: {error}. Without a network: put the "
            f"model's files (config.json, the tokenizer's, model.safetensors) into a folder and name it, "
            f"'{family}:path/to/folder'; or run 'hf download {repository}' elsewhere and copy the cache that it fills, "
            f"~/.cache/huggingface, to {hub.constants.HF_HOME}"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bars that transformers draws while it loads weights."""
    logging = require("transformers.utils.logging", "an encoder of texts")
    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def weights_hash(folder: Path) -> str:
    """Hash over names and content of the files that make the model."""
    return files_hash(folder, {file for pattern in HASHED for file in folder.rglob(pattern)})
