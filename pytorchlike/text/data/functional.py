"""Iterators over text (``torchtext.data.functional``)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ...utils.data import Dataset
from .._extras import wanted

__all__ = [
    "custom_replace", "filter_wikipedia_xml", "generate_sp_model", "load_sp_model",
    "numericalize_tokens_from_iterator", "sentencepiece_numericalizer", "sentencepiece_tokenizer",
    "simple_space_split", "to_map_style_dataset",
]  # fmt: skip


def generate_sp_model(
    filename: str, vocab_size: int = 20000, model_type: str = "unigram", model_prefix: str = "m_user"
) -> None:
    """Train SentencePiece on the lines of a file; writes ``<model_prefix>.model`` and ``.vocab``."""
    spm = wanted("sentencepiece", "generate_sp_model")
    spm.SentencePieceTrainer.train(
        input=filename, vocab_size=vocab_size, model_prefix=model_prefix, model_type=model_type
    )


def load_sp_model(spm: str | io.BufferedReader) -> Any:
    """SentencePiece's model of a path or an open file; TypeError for others."""
    module = wanted("sentencepiece", "load_sp_model")
    if isinstance(spm, str):
        return module.SentencePieceProcessor(model_file=spm)
    if isinstance(spm, (io.BufferedReader, io.BytesIO)):
        return module.SentencePieceProcessor(model_proto=spm.read())
    raise TypeError(
        f"Unsupported type for spm argument: {type(spm).__name__}. Supported types are: str, io.BufferedReader"
    )


def sentencepiece_numericalizer(sp_model: Any) -> Callable[[Iterable[str]], Iterator[list[int]]]:
    """A generator of the ids of each line."""
    return lambda lines: (sp_model.encode(line, out_type=int) for line in lines)


def sentencepiece_tokenizer(sp_model: Any) -> Callable[[Iterable[str]], Iterator[list[str]]]:
    """A generator of the pieces of each line."""
    return lambda lines: (sp_model.encode(line, out_type=str) for line in lines)


def custom_replace(replace_pattern: Iterable[tuple[str, str]]) -> Callable[[Iterable[str]], Iterator[str]]:
    """A generator of each line after (pattern, replacement) in turn."""
    patterns = [(re.compile(a), b) for a, b in replace_pattern]

    def replaced(lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            for pattern, instead in patterns:
                line = pattern.sub(instead, line)
            yield line

    return replaced


def simple_space_split(iterator: Iterable[str]) -> Iterator[list[str]]:
    """Each line, split at spaces."""
    for line in iterator:
        yield line.split()


def numericalize_tokens_from_iterator(
    vocab: Any, iterator: Iterable[list[str]], removed_tokens: Iterable[str] | None = None
) -> Iterator[Iterator[int]]:
    """An iterator of indices for each list of tokens, without the removed ones."""
    removed = set(removed_tokens or ())
    for tokens in iterator:
        yield (vocab[t] for t in tokens if t not in removed)


_DIGITS = dict(zip("0123456789", "zero one two three four five six seven eight nine".split(), strict=True))
#: The script that ships with the data sets enwik8 and enwik9 cleans pages so.
_WIKI = [(re.compile(a), b) for a, b in [
    (r"<.*>", ""), (r"&amp;", "&"), (r"&lt;", "<"), (r"&gt;", ">"), (r"<ref[^<]*<\/ref>", ""), (r"<[^>]*>", ""),
    (r"\[http:[^] ]*", "["), (r"\|thumb", ""), (r"\|left", ""), (r"\|right", ""), (r"\|\d+px", ""),
    (r"\[\[image:[^\[\]]*\|", ""), (r"\[\[category:([^|\]]*)[^]]*\]\]", r"[[\1]]"), (r"\[\[[a-z\-]*:[^\]]*\]\]", ""),
    (r"\[\[[^\|\]]*\|", "[["), (r"\{\{[^\}]*\}\}", ""), (r"\{[^\}]*\}", ""), (r"\[", ""), (r"\]", ""),
    (r"&[^;]*;", " "),
]]  # fmt: skip


def filter_wikipedia_xml(text_iterator: Iterable[str]) -> Iterator[str]:
    """The lines of a dump of Wikipedia as lower-case words, digits spelled out, by Mahoney's rules."""
    for line in text_iterator:
        if "#redirect" in line.lower():
            continue
        for pattern, instead in _WIKI:
            line = pattern.sub(instead, line)
        line = line.lower()
        line = "".join(f" {_DIGITS[c]} " if c in _DIGITS else c if "a" <= c <= "z" else " " for c in line)
        line = " ".join(line.split())
        if line:
            yield line


class _MapStyle(Dataset):
    def __init__(self, items: Iterable) -> None:
        self._data = list(items)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Any:
        return self._data[index]


def to_map_style_dataset(iter_data: Iterable) -> Dataset:
    """The items of an iterable, read at once, as a data set with a length."""
    return _MapStyle(iter_data)
