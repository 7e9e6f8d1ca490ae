"""Tokenizers (``torchtext.data.utils``)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

from .._extras import wanted

__all__ = ["RandomShuffler", "get_tokenizer", "interleave_keys", "ngrams_iterator"]

#: Signs that stand apart, are dropped, or count as a space.
_BASIC = [(re.compile(a), b) for a, b in [
    ("'", " '  "), ('"', ""), (r"\.", " . "), (r"<br \/>", " "), (",", " , "), (r"\(", " ( "), (r"\)", " ) "),
    (r"!", " ! "), (r"\?", " ? "), (";", " "), (":", " "), (r"\s+", " "),
]]  # fmt: skip


def _basic_english(line: str) -> list[str]:
    line = line.lower()
    for pattern, instead in _BASIC:
        line = pattern.sub(instead, line)
    return line.split()


def _split(line: str) -> list[str]:
    return line.split()


def _spacy(line: str, model: Any) -> list[str]:
    return [token.text for token in model.tokenizer(line)]


def get_tokenizer(tokenizer: Callable | str | None, language: str = "en") -> Callable[[str], list[str]]:
    """A function from a line to its tokens.

    None: at spaces.   A function: itself.   "basic_english": lower case, punctuation apart (English only).
    "spacy", "moses", "toktok", "revtok", "subword": by spaCy, sacremoses, NLTK and revtok, if installed.
    Raises ValueError for others, and for "basic_english" in another language; ImportError if the library is missing.
    """
    if tokenizer is None:
        return _split
    if tokenizer == "basic_english":
        if language != "en":
            raise ValueError("Basic normalization is only available for Enlish(en)")
        return _basic_english
    if callable(tokenizer):
        return tokenizer
    if tokenizer == "spacy":
        spacy = wanted("spacy", "get_tokenizer('spacy')")
        try:
            model = spacy.load(language)
        except OSError as error:
            full = {"en": "en_core_web_sm", "de": "de_core_news_sm", "fr": "fr_core_news_sm"}.get(language)
            if full is None:
                raise OSError(
                    f"spaCy has no model {language!r}: python -m spacy download {language}, or give an installed name"
                ) from error
            model = spacy.load(full)
        return partial(_spacy, model=model)
    if tokenizer == "moses":
        return wanted("sacremoses", "get_tokenizer('moses')").MosesTokenizer().tokenize
    if tokenizer == "toktok":
        wanted("nltk", "get_tokenizer('toktok')")
        return wanted("nltk.tokenize.toktok", "get_tokenizer('toktok')").ToktokTokenizer().tokenize
    if tokenizer == "revtok":
        return wanted("revtok", "get_tokenizer('revtok')").tokenize
    if tokenizer == "subword":
        return partial(wanted("revtok", "get_tokenizer('subword')").tokenize, decap=True)
    raise ValueError(
        f"Requested tokenizer {tokenizer}, valid choices are a callable that takes a single string as input, "
        '"revtok" for the revtok reversible tokenizer, "subword" for the revtok caps-aware tokenizer, '
        '"spacy" for the SpaCy English tokenizer, "moses" for sacremoses, or "basic_english"'
    )


def interleave_keys(a: int, b: int) -> int:
    """The bits of two numbers in turn: sorting by it sorts by both."""

    def bits(x: int) -> str:
        return format(x, "016b")

    return int("".join(x + y for x, y in zip(bits(a), bits(b), strict=True)), base=2)


def ngrams_iterator(token_list: Sequence[str], ngrams: int) -> Iterator[str]:
    """The tokens, then all pairs of neighbours, and so on up to ``ngrams``, joined by spaces."""
    yield from token_list
    for n in range(2, ngrams + 1):
        for i in range(len(token_list) - n + 1):
            yield " ".join(token_list[i : i + n])


class RandomShuffler:
    """Shuffles by a state of Python's random numbers of its own."""

    def __init__(self, random_state: Any = None) -> None:
        self._random_state = random.getstate() if random_state is None else random_state

    @contextmanager
    def use_internal_state(self) -> Iterator[None]:
        """Have Python's ``random`` draw from the state of this object for a while."""
        outer = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(outer)

    @property
    def random_state(self) -> Any:
        """A copy of the state."""
        return deepcopy(self._random_state)

    @random_state.setter
    def random_state(self, state: Any) -> None:
        self._random_state = state

    def __call__(self, data: Iterable) -> list:
        items = list(data)
        with self.use_internal_state():
            return random.sample(items, len(items))
