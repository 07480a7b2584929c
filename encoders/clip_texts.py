"""The text tower of CLIP without the padding: most texts have 10 tokens, and the model would read 77."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .base import require

if TYPE_CHECKING:
    import torch

__all__ = ["TextTower"]


class TextTower:
    """`encode_text` of a model of open_clip, which takes tokens that are cut behind the longest text.

    That changes nothing but the time it takes where a token sees only those before it and the vector is that of the
    end-of-text token; other models get all their tokens. Threads take turns.
    """

    def __init__(self, model: Any) -> None:
        torch = require("torch", "clip")

        class Texts(torch.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, tokens: Any) -> Any:
                return self.model.encode_text(tokens)

        self._texts = Texts()
        text = getattr(model, "text", None)
        self._part, self._prefix = (model, "model.") if text is None else (text, "model.text.")
        self._pool = getattr(model, "text_pool_type", None) or getattr(text, "pool_type", None)
        mask, embedding = (getattr(self._part, name, None) for name in ("attn_mask", "positional_embedding"))
        plain = getattr(text, "cls_emb", None) is None and not getattr(text, "use_pad_mask", False)
        self._cuts = plain and mask is not None and embedding is not None and self._pool in ("argmax", "eos")
        self._lock = threading.Lock()

    def cut(self, tokens: torch.Tensor) -> torch.Tensor:
        """`tokens` up to the last end of a text, if the rest does not matter."""
        if not self._cuts or not len(tokens):
            return tokens
        if self._pool == "argmax":
            ends = tokens.argmax(-1)
        else:
            eos = getattr(self._part, "text_eos_id", None)
            ends = (tokens == (getattr(self._part, "eos_id", None) if eos is None else eos)).int().argmax(-1)
        return tokens[:, : int(ends.max()) + 1]

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Vectors of texts, as the model gives them."""
        n = tokens.shape[1]
        first = {}
        with self._lock:  # while one thread encodes, the model holds the first positions only
            if self._cuts and n < len(self._part.positional_embedding):
                first = {
                    f"{self._prefix}positional_embedding": self._part.positional_embedding[:n],
                    f"{self._prefix}attn_mask": self._part.attn_mask[:n, :n],
                }
            vectors: torch.Tensor = require("torch.func", "clip").functional_call(self._texts, first, (tokens,))
        return vectors
