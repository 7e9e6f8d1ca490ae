"""Transforms of text and token lists as modules (``torchtext.transforms``)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import Module

from . import functional as F
from ._extras import wanted
from .utils import get_asset_local_path
from .vocab import Vocab

__all__ = [
    "AddToken", "BERTTokenizer", "CLIPTokenizer", "GPT2BPETokenizer", "LabelToIndex", "MaskTransform", "PadTransform",
    "RegexTokenizer", "SentencePieceTokenizer", "Sequential", "StrToIntTransform", "ToTensor", "Truncate",
    "VocabTransform",
]  # fmt: skip


def _each(input: Any, one: Any) -> Any:
    """``one`` of a string, or of each of a list of strings; TypeError for others."""
    if isinstance(input, str):
        return one(input)
    if isinstance(input, list) and all(isinstance(x, str) for x in input):
        return [one(x) for x in input]
    raise TypeError("Input type not supported")


class VocabTransform(Module):
    """Tokens, in a list or a list of lists, to their indices."""

    def __init__(self, vocab: Vocab) -> None:
        super().__init__()
        if not isinstance(vocab, Vocab):
            raise AssertionError(f"vocab must be a torchtext.vocab.Vocab, not {type(vocab).__name__}")
        self.vocab = vocab

    def forward(self, input: Any) -> Any:
        if isinstance(input, list) and input and isinstance(input[0], list):
            return [self.vocab.lookup_indices(row) for row in input]
        if isinstance(input, (list, tuple)):
            return self.vocab.lookup_indices(input)
        raise TypeError("Input type not supported")


class ToTensor(Module):
    """See :func:`functional.to_tensor`."""

    def __init__(self, padding_value: int | None = None, dtype: torch.dtype = torch.long) -> None:
        super().__init__()
        self.padding_value, self.dtype = padding_value, dtype

    def forward(self, input: Any) -> Tensor:
        return F.to_tensor(input, padding_value=self.padding_value, dtype=self.dtype)


class LabelToIndex(Module):
    """Labels to their numbers, of a list of names or the lines of a file, in alphabetical order if ``sort_names``."""

    def __init__(
        self, label_names: Sequence[str] | None = None, label_path: str | None = None, sort_names: bool = False
    ) -> None:
        super().__init__()
        if (label_names is None) == (label_path is None):
            raise AssertionError("label_names or label_path is required, and not both")
        if label_path is not None:
            with open(label_path, encoding="utf-8") as file:
                label_names = [line.strip() for line in file if line.strip()]
        names = sorted(label_names) if sort_names else list(label_names)  # type: ignore[arg-type]
        self._vocab = Vocab(names)

    def forward(self, input: Any) -> Any:
        return _each(input, self._vocab.__getitem__)

    @property
    def label_names(self) -> list[str]:
        """The labels by number."""
        return self._vocab.get_itos()


class Truncate(Module):
    """See :func:`functional.truncate`."""

    def __init__(self, max_seq_len: int) -> None:
        super().__init__()
        self.max_seq_len = max_seq_len

    def forward(self, input: Any) -> Any:
        return F.truncate(input, self.max_seq_len)


class AddToken(Module):
    """See :func:`functional.add_token`."""

    def __init__(self, token: int | str, begin: bool = True) -> None:
        super().__init__()
        self.token, self.begin = token, begin

    def forward(self, input: Any) -> Any:
        return F.add_token(input, self.token, self.begin)


class PadTransform(Module):
    """Fill the last axis up to ``max_length``; what is longer stays."""

    def __init__(self, max_length: int, pad_value: int) -> None:
        super().__init__()
        self.max_length, self.pad_value = max_length, float(pad_value)

    def forward(self, x: Tensor) -> Tensor:
        missing = self.max_length - x.size(-1)
        return nn.functional.pad(x, (0, missing), value=self.pad_value) if missing > 0 else x


class StrToIntTransform(Module):
    """See :func:`functional.str_to_int`."""

    def forward(self, input: Any) -> Any:
        return F.str_to_int(input)


class SentencePieceTokenizer(Module):
    """Pieces of a SentencePiece model (a path or URL)."""

    def __init__(self, sp_model_path: str) -> None:
        super().__init__()
        from .data.functional import load_sp_model

        self.sp_model = load_sp_model(get_asset_local_path(sp_model_path))

    def forward(self, input: Any) -> Any:
        return _each(input, lambda line: self.sp_model.encode(line, out_type=str))


class _ByLibrary(Module):
    """A tokenizer of the library ``tokenizers``: ids as strings, or tokens if ``return_tokens``."""

    def __init__(self, tokenizer: Any, return_tokens: bool) -> None:
        super().__init__()
        self._tokenizer, self._return_tokens = tokenizer, return_tokens

    @property
    def is_jitable(self) -> bool:
        """True: there is no second, compiled class."""
        return True

    def _one(self, text: str) -> list[str]:
        made = self._tokenizer.encode(text, add_special_tokens=False)
        return list(made.tokens) if self._return_tokens else [str(i) for i in made.ids]

    def forward(self, input: Any) -> Any:
        return _each(input, self._one)


def _merges(path: str) -> list[tuple[str, str]]:
    with open(get_asset_local_path(path), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    return [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#version")]  # type: ignore


class GPT2BPETokenizer(_ByLibrary):
    """GPT-2's byte pairs, of its ``encoder.json`` and ``vocab.bpe`` (paths or URLs)."""

    def __init__(self, encoder_json_path: str, vocab_bpe_path: str, return_tokens: bool = False) -> None:
        library = wanted("tokenizers", "GPT2BPETokenizer")
        with open(get_asset_local_path(encoder_json_path), encoding="utf-8") as file:
            ids = json.load(file)
        made = library.Tokenizer(library.models.BPE(vocab=ids, merges=_merges(vocab_bpe_path)))
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = library.decoders.ByteLevel()
        super().__init__(made, return_tokens)

    def add_special_tokens(self, special_tokens_dict: Mapping[str, str | Sequence[str]]) -> int:
        """Have tokens kept whole; returns how many are new."""
        tokens: list[str] = []
        for value in special_tokens_dict.values():
            tokens += [value] if isinstance(value, str) else list(value)
        return self._tokenizer.add_special_tokens(tokens)

    def decode(self, tokens: list[str]) -> str:
        """The text of ids given as strings."""
        return self._tokenizer.decode([int(t) for t in tokens], skip_special_tokens=False)


@lru_cache
def _byte_letters() -> list[str]:
    """The letters that stand for bytes: printable ones for themselves first, then the others."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(b) for b in own] + [chr(256 + i) for i in range(256 - len(own))]


class CLIPTokenizer(_ByLibrary):
    """CLIP's byte pairs, lower case, words' ends marked; of its merges file, and of ``encoder.json`` if given.

    num_merges: use so many of the merges. Without ``encoder.json`` ids are numbered as CLIP does.
    """

    def __init__(
        self, merges_path: str, encoder_json_path: str | None = None, num_merges: int | None = None,
        return_tokens: bool = False,
    ) -> None:  # fmt: skip
        library = wanted("tokenizers", "CLIPTokenizer")
        merges = _merges(merges_path)
        merges = merges if num_merges is None else merges[:num_merges]
        if encoder_json_path is not None:
            with open(get_asset_local_path(encoder_json_path), encoding="utf-8") as file:
                ids = json.load(file)
        else:
            letters = _byte_letters()
            tokens = [*letters, *(c + "</w>" for c in letters), *("".join(m) for m in merges)]
            ids = {t: i for i, t in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
        made = library.Tokenizer(library.models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>"))
        made.normalizer = library.normalizers.Lowercase()
        words = library.Regex(
            r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
        )
        made.pre_tokenizer = library.pre_tokenizers.Sequence([
            library.pre_tokenizers.Split(words, behavior="removed", invert=True),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])  # fmt: skip
        special = [t for t in ("<|startoftext|>", "<|endoftext|>") if t in ids]
        made.add_special_tokens(special)
        super().__init__(made, return_tokens)


class BERTTokenizer(_ByLibrary):
    """BERT's word pieces, of a file with a piece in each line; no special tokens are added.

    strip_accents: None: with lower case only.   never_split: tokens that are kept whole.
    """

    def __init__(
        self, vocab_path: str, do_lower_case: bool = True, strip_accents: bool | None = None,
        return_tokens: bool = False, never_split: list[str] | None = None,
    ) -> None:  # fmt: skip
        library = wanted("tokenizers", "BERTTokenizer")
        with open(get_asset_local_path(vocab_path), encoding="utf-8") as file:
            ids = {line.rstrip("\n"): i for i, line in enumerate(file)}
        made = library.Tokenizer(library.models.WordPiece(vocab=ids, unk_token="[UNK]"))
        made.normalizer = library.normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=do_lower_case
        )
        made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
        if never_split:
            made.add_special_tokens(list(never_split))
        super().__init__(made, return_tokens)


class RegexTokenizer(Module):
    """A line after (pattern, replacement) in turn, split at spaces."""

    def __init__(self, patterns_list: list[tuple[str, str]]) -> None:
        super().__init__()
        self.patterns = [(re.compile(a), b) for a, b in patterns_list]

    def forward(self, line: str) -> list[str]:
        for pattern, instead in self.patterns:
            line = pattern.sub(instead, line)
        return line.split()


class Sequential(nn.Sequential):
    """Transforms in turn, on whatever they take."""

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input


class MaskTransform(Module):
    """Masked language modelling (Devlin et al. 2018): (batch, length) -> masked tokens, their originals, the mask.

    Of the tokens, ``mask_prob`` are chosen: of these ``mask_mask_prob`` become the mask, ``mask_rand_prob`` a random
    token, and the rest stay. The originals and the mask hold the chosen ones: (chosen,), and (batch, length) bool.
    """

    def __init__(
        self, vocab_len: int, mask_idx: int, bos_idx: int, pad_idx: int, mask_bos: bool = False,
        mask_prob: float = 0.15, mask_mask_prob: float = 0.8, mask_rand_prob: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.vocab_len, self.mask_idx, self.bos_idx, self.pad_idx = vocab_len, mask_idx, bos_idx, pad_idx
        self.mask_bos, self.mask_prob = mask_bos, mask_prob
        self.mask_mask_prob, self.mask_rand_prob = mask_mask_prob, mask_rand_prob

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chosen = (torch.rand(tokens.shape, device=tokens.device) < self.mask_prob) & (tokens != self.pad_idx)
        if not self.mask_bos:
            chosen = chosen & (tokens != self.bos_idx)
        way = torch.rand(tokens.shape, device=tokens.device)
        masked = torch.where(chosen & (way < self.mask_mask_prob), self.mask_idx, tokens)
        drawn = torch.randint(0, self.vocab_len, tokens.shape, device=tokens.device, dtype=tokens.dtype)
        random = (way >= self.mask_mask_prob) & (way < self.mask_mask_prob + self.mask_rand_prob)
        return torch.where(chosen & random, drawn, masked), tokens[chosen], chosen
