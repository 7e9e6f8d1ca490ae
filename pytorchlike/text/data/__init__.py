"""Tokens, scores and, of torchtext 0.8, fields and iterators (``torchtext.data``)."""

from . import functional, metrics, utils
from .functional import (
    custom_replace,
    filter_wikipedia_xml,
    generate_sp_model,
    load_sp_model,
    numericalize_tokens_from_iterator,
    sentencepiece_numericalizer,
    sentencepiece_tokenizer,
    simple_space_split,
    to_map_style_dataset,
)
from .metrics import bleu_score
from .utils import get_tokenizer, interleave_keys

__all__ = [
    "bleu_score", "custom_replace", "filter_wikipedia_xml", "functional", "generate_sp_model", "get_tokenizer",
    "interleave_keys", "load_sp_model", "metrics", "numericalize_tokens_from_iterator",
    "sentencepiece_numericalizer", "sentencepiece_tokenizer", "simple_space_split", "to_map_style_dataset", "utils",
]  # fmt: skip


def __getattr__(name: str) -> object:
    # the names of torchtext 0.8, which 0.9 moved to torchtext.legacy.data
    if not name.startswith("__"):
        from ..legacy import data

        if name in data.__all__:
            return getattr(data, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
