"""Language models of a few thousand random weights, in folders as real ones come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[EOS]",
    *"abcdefgh:",
    "cat",
    "dog",
    "query",
    "passage",
    "Instruct",
    "find",
]
SIZES = {"vocab_size": len(WORDS), "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 3, "max_position_embeddings": 64}


def save_model(folder: Path, kind: str, *, eos: bool = True) -> Path:
    """Write a random model of `kind` ("qwen2", "mistral", "gpt2", "bert", "t5") and a tokenizer that splits words."""
    import torch
    import transformers as t

    torch.manual_seed(0)
    configs: dict[str, Any] = {
        "qwen2": lambda: t.Qwen2Config(**SIZES, **HEADS, num_key_value_heads=3),
        "mistral": lambda: t.MistralConfig(**SIZES, **HEADS, num_key_value_heads=1, head_dim=8),
        "gpt2": lambda: t.GPT2Config(vocab_size=len(WORDS), n_embd=24, n_layer=2, n_head=3, n_positions=64),
        "bert": lambda: t.BertConfig(**SIZES, **HEADS),
        "t5": lambda: t.T5Config(
            vocab_size=len(WORDS), d_model=24, d_kv=8, d_ff=48, num_layers=2, num_heads=3, decoder_start_token_id=0
        ),
    }
    model = t.AutoModel.from_config(configs[kind]())
    for weights in model.parameters():  # the usual start has states that hardly differ
        torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder)
    save_tokenizer(folder, eos=eos, marks=kind == "bert")
    return folder


def save_tokenizer(folder: Path, *, eos: bool, marks: bool) -> None:
    """Words between white space; `marks`: [CLS] before and [SEP] after each text."""
    import tokenizers
    import transformers as t

    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    if marks:
        core.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]"} | ({"eos_token": "[EOS]"} if eos else {})
    t.PreTrainedTokenizerFast(tokenizer_object=core, **names).save_pretrained(folder)


def save_sentence_model(folder: Path, *, prompts: dict[str, str] | None = None) -> Path:
    """A sentence-transformers model: a tiny BERT whose tokens are averaged."""
    import sentence_transformers as st

    inner = save_model(folder / "bert", "bert")
    st.SentenceTransformer(str(inner), prompts=prompts, device="cpu").save(str(folder / "model"))
    return folder / "model"
