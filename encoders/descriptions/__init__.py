"""Class names -> what language models say of them -> text vectors. No model is called unless `Generation.run` is."""

from .answers import Answer, AnswerFile
from .encoder import DescriptionEncoder
from .endpoint import Endpoint
from .generate import Estimate, Generation, Request, describe, differentiate
from .layouts import dclip_sentence, read_cupl, read_dclip, read_fudd, read_layout
from .prompts import ask_differences, ask_features, ask_looks, parse_differences, parse_features, parse_sentences
from .store import DescriptionStore, SourcedPairs, Unparsed

__all__ = [
    "Answer",
    "AnswerFile",
    "DescriptionEncoder",
    "DescriptionStore",
    "Endpoint",
    "Estimate",
    "Generation",
    "Request",
    "SourcedPairs",
    "Unparsed",
    "ask_differences",
    "ask_features",
    "ask_looks",
    "dclip_sentence",
    "describe",
    "differentiate",
    "parse_differences",
    "parse_features",
    "parse_sentences",
    "read_cupl",
    "read_dclip",
    "read_fudd",
    "read_layout",
]
