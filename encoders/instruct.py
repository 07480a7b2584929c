"""Text encoders that are told what to look for: decoders, and others, behind an instruction.

References
----------
Zhao et al., *KaLM-Embedding-V2*, arXiv:2506.20923: mean of the tokens, without the causal mask. Choi et al.,
*LG-ANNA-Embedding*, arXiv:2506.07438: last token, instruction and examples before the query.
"""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine._validate import as_choice, as_count, show
from engine.exceptions import InvalidArgumentError, UnsupportedError
from engine.texts import as_texts

from .base import BaseEncoder, EncoderSpec, Vectors, as_flag, require
from .devices import as_batch_size, as_device, as_dtype
from .folders import model_folder, quiet, weights_hash
from .instructions import prefixes
from .pooling import POOLINGS, Pooling, pool, truncate
from .registry import register

if TYPE_CHECKING:
    import torch

__all__ = ["InstructEncoder"]


@register("instruct", {}, any_model=True)
class InstructEncoder(BaseEncoder):
    r"""A transformers model whose queries begin with an instruction, as E5, GTE, KaLM and Mistral embedders want it.

    Parameters
    ----------
    model : str
        A folder, or a name of the hub, which is downloaded unless its cache has it.
    instruction : str, optional
        What queries ask for, such as "Given a question, find passages that answer it": they begin with
        ``"Instruct: {instruction}\nQuery: "``.
    query_prefix, document_prefix : str, default ""
        Put before each text of that side; instead of `instruction`, for models with their own words.
    examples : sequence of (query, answer), optional
        Put before the instruction of each query, for models that learn in context.
    pooling : {"last", "mean", "cls"}, default "last"
        See `encoders.pooling.pool`.
    padding : {"right", "left"}, default "right"
        Side on which shorter texts of a batch are filled up. The vectors are the same; a model for which they are not
        is refused.
    attention : {"own", "bidirectional"}, default "own"
        The model's own; or let every token see all others, for decoders that were trained so.
    add_eos : bool, optional
        End each text with the end-of-text token. Default: for "last", if the tokenizer has one.
    normalize : bool, default True
        Give unit vectors.
    truncate_dim : int, optional
        Keep the first numbers only, before the normalization: for Matryoshka models.
    max_length : int, default 512
        Tokens of a text, the prefix among them; at most as many as the model takes.
    truncate : bool, default True
        Cut longer texts; False refuses them.
    device, dtype, batch_size
        As for `encoders.get`; texts of about the same length go together.

    Raises
    ------
    InvalidArgumentError
        Options that do not go together, a folder without a model; in calls, texts that are none.
    UnsupportedError
        The model is not here and cannot be fetched; its vectors depend on the padding or do not see all tokens.

    Notes
    -----
    A text without a token is the end-of-text token alone, and refused where the tokenizer has none.
    """

    def __init__(
        self,
        model: str,
        *,
        instruction: str | None = None,
        query_prefix: str = "",
        document_prefix: str = "",
        examples: Sequence[tuple[str, str]] = (),
        pooling: Pooling = "last",
        padding: Literal["right", "left"] = "right",
        attention: Literal["own", "bidirectional"] = "own",
        add_eos: bool | None = None,
        normalize: bool = True,
        truncate_dim: int | None = None,
        max_length: int = 512,
        truncate: bool = True,
        device: str | torch.device = "auto",
        dtype: str = "float32",
        batch_size: int | str = "auto",
    ) -> None:
        self.pooling = as_choice(pooling, "pooling", POOLINGS)
        self.padding = as_choice(padding, "padding", ("right", "left"))
        self.attention = as_choice(attention, "attention", ("own", "bidirectional"))
        self.normalize, self.truncate = as_flag(normalize, "normalize"), as_flag(truncate, "truncate")
        self.truncate_dim = None if truncate_dim is None else as_count(truncate_dim, "truncate_dim")
        self.prefixes = prefixes(instruction, query_prefix, document_prefix, examples)
        self._torch = require("torch", f"the encoder 'instruct:{model}'")
        self.device = as_device(device)
        self.dtype, self.batch_size = as_dtype(dtype, self.device), as_batch_size(batch_size, self.device)
        package = require("transformers", f"the encoder 'instruct:{model}'")
        folder = model_folder("instruct", model)
        place, options = os.fspath(folder), {"local_files_only": True}
        try:
            with quiet():
                self.tokenizer: Any = package.AutoTokenizer.from_pretrained(place, **options)
                loaded: Any = package.AutoModel.from_pretrained(place, **options)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise InvalidArgumentError(
                f"model is {show(model)}, expected a folder with config.json, the tokenizer's files and "
                f"model.safetensors: {error}"
            ) from error
        most = getattr(loaded.config, "max_position_embeddings", None) or 2**31 - 1
        self.max_length = as_count(max_length, "max_length", most=most)
        if getattr(loaded.config, "is_encoder_decoder", False):
            loaded = loaded.get_encoder()
        self.model: Any = loaded.to(self.device, getattr(self._torch, self.dtype)).eval()
        self.eos = self._end(add_eos)
        self._places = "position_ids" in inspect.signature(self.model.forward).parameters
        self.dim = self._probe()
        if self.truncate_dim is not None:
            self.dim = as_count(self.truncate_dim, "truncate_dim", most=self.dim)
        self._weights = weights_hash(folder)
        super().__init__(self._spec())

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to search with, shape (len(texts), dim)."""
        return self._encode(texts, "query")

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to be found, shape (len(texts), dim)."""
        return self._encode(texts, "document")

    def with_instruction(self, instruction: str, examples: Sequence[tuple[str, str]] = ()) -> InstructEncoder:
        """The same model, not loaded again, with another instruction for its queries.

        Its fingerprint is another one: to search the same documents, make their collection without an encoder.
        """
        other = copy.copy(self)
        other.prefixes = prefixes(instruction, "", self.prefixes["document"], examples)
        BaseEncoder.__init__(other, other._spec())
        if self.name:
            kept = {name: value for name, value in self.options.items() if name != "query_prefix"}
            given = {"instruction": instruction, "examples": [list(pair) for pair in examples]}
            other.name, other.options = self.name, kept | given
        return other

    def _spec(self) -> EncoderSpec:
        settings = {
            **self.prefixes, "pooling": self.pooling, "attention": self.attention, "eos": self.eos,
            "normalize": self.normalize, "max_length": self.max_length, "dtype": self.dtype,
            "transformers": require("transformers", "instruct").__version__.partition(".")[0],
        }  # fmt: skip
        return EncoderSpec("instruct", self.dim, self._weights, settings)

    def _end(self, add_eos: bool | None) -> int | None:
        """The end-of-text token that each text gets."""
        eos: int | None = self.tokenizer.eos_token_id
        if add_eos is None:
            return eos if self.pooling == "last" else None
        if as_flag(add_eos, "add_eos") and eos is None:
            raise InvalidArgumentError("add_eos is True, expected False: the tokenizer has no end-of-text token")
        return eos if add_eos else None

    def _encode(self, texts: Sequence[str], side: Literal["query", "document"]) -> Vectors:
        checked = as_texts(texts, "texts")
        tokens = self._tokens([self.prefixes[side] + text for text in checked]) if checked else []
        vectors = np.empty((len(tokens), self.dim), np.float32)
        order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))  # the longest batch fails first
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            pooled = self._forward([tokens[row] for row in rows])
            vectors[rows] = truncate(pooled, self.truncate_dim, renormalize=self.normalize)
        return vectors

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        most = self.max_length - (self.eos is not None)
        options = {"truncation": True, "max_length": most} if self.truncate else {"truncation": False}
        found: list[list[int]] = self.tokenizer(texts, return_attention_mask=False, verbose=False, **options)[
            "input_ids"
        ]
        for row, ids in enumerate(found):
            if len(ids) > most:
                raise InvalidArgumentError(
                    f"texts[{row}] has {len(ids)} tokens, expected at most {most}, or truncate=True to cut it"
                )
            if self.eos is not None and ids[-1:] != [self.eos]:
                ids.append(self.eos)
            elif not ids and self.tokenizer.eos_token_id is not None:
                ids.append(self.tokenizer.eos_token_id)
            if not ids:
                raise InvalidArgumentError(f"texts[{row}] is {show(texts[row])}, which gives no token")
        return found

    def _forward(self, tokens: list[list[int]], n_tokens: int = 0) -> Vectors:
        """Pooled states of texts, each filled up to the longest, and to `n_tokens` at least."""
        torch = self._torch
        width = max(n_tokens, *map(len, tokens))
        fill = self.tokenizer.pad_token_id or 0
        ids = torch.full((len(tokens), width), fill)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(tokens):
            part = slice(0, len(text)) if self.padding == "right" else slice(width - len(text), None)
            ids[row, part], mask[row, part] = torch.tensor(text), 1
        if int(ids.max()) >= (n_known := self.model.get_input_embeddings().num_embeddings):
            raise InvalidArgumentError(
                f"the tokenizer gives token {int(ids.max())}, expected less than the model's {n_known}: is it its own?"
            )
        ids, mask = ids.to(self.device), mask.to(self.device)
        options = {"input_ids": ids, "attention_mask": mask}
        if self._places and self.padding == "left":
            options["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
        if self.attention == "bidirectional":
            dtype = self.model.dtype
            hidden = (1 - mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min
            options["attention_mask"] = hidden.expand(-1, 1, width, -1)
        with torch.inference_mode():
            states = self.model(**options).last_hidden_state.float()
            return np.asarray(pool(states, mask, self.pooling).cpu().numpy(), np.float32)  # type: ignore[arg-type]

    def _probe(self) -> int:
        """The dim of the model, once it is clear that neither padding nor order play tricks."""
        text = self._tokens(["a b c"])[0]
        alone, filled = self._forward([text]), self._forward([text], n_tokens=min(len(text) + 5, self.max_length))
        tolerance = (1e-3 if self.dtype == "float32" else 0.05) * float(abs(alone).max())
        if float(abs(alone - filled).max()) > tolerance:
            other = "left" if self.padding == "right" else "right"
            raise UnsupportedError(f"padding is {self.padding!r}, which changes this model's vectors: try {other!r}")
        return int(alone.shape[1])
