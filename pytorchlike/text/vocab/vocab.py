"""Tokens and their numbers."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from ...nn import Module

__all__ = ["Vocab", "build_vocab_from_iterator", "vocab"]


class Vocab(Module):
    """Tokens and their indices; :func:`vocab` and :func:`build_vocab_from_iterator` make it.

    ``Vocab(tokens)`` of a list of tokens, or of another Vocab. ``Vocab(counter, ...)`` of a Counter is the class of
    torchtext 0.8 (``torchtext.legacy.vocab.Vocab``).
    Raises RuntimeError for a token that occurs twice.
    """

    def __new__(cls, vocab: Any = (), *args: Any, **kwargs: Any) -> Any:
        if cls is Vocab and isinstance(vocab, Counter):
            from ..legacy.vocab import Vocab as Counted

            return Counted(vocab, *args, **kwargs)
        return super().__new__(cls)

    def __init__(self, vocab: Iterable[str] | Vocab = ()) -> None:
        super().__init__()
        tokens = vocab.get_itos() if isinstance(vocab, Vocab) else list(vocab)
        self._itos: list[str] = tokens
        self._stoi: dict[str, int] = {token: i for i, token in enumerate(tokens)}
        self._default: int | None = vocab.get_default_index() if isinstance(vocab, Vocab) else None
        if len(self._stoi) != len(tokens):
            twice = next(t for t, n in Counter(tokens).items() if n > 1)
            raise RuntimeError(f"Duplicate token found in tokens list: {twice}")

    @property
    def is_jitable(self) -> bool:
        """True: there is no second, compiled class."""
        return True

    def forward(self, tokens: list[str]) -> list[int]:
        """The indices of tokens."""
        return self.lookup_indices(tokens)

    def __len__(self) -> int:
        return len(self._itos)

    def __contains__(self, token: object) -> bool:
        return token in self._stoi

    def __getitem__(self, token: str) -> int:
        found = self._stoi.get(token, self._default)
        if found is None:
            raise RuntimeError(f"Token {token} not found and default index is not set")
        return found

    def set_default_index(self, index: int | None) -> None:
        """The index of tokens that are not in the vocabulary; without one (None) they raise RuntimeError."""
        self._default = index

    def get_default_index(self) -> int | None:
        """What :meth:`set_default_index` set."""
        return self._default

    def insert_token(self, token: str, index: int) -> None:
        """Put a token at an index, and those behind it one further.

        Raises RuntimeError if it exists or there is no such place.
        """
        if not 0 <= index <= len(self._itos):
            raise RuntimeError(f"Specified index {index} is out of bounds for vocab of size {len(self._itos)}")
        if token in self._stoi:
            raise RuntimeError(f"Token {token} already exists in the Vocab with index: {self._stoi[token]}")
        self._itos.insert(index, token)
        self._stoi = {t: i for i, t in enumerate(self._itos)}

    def append_token(self, token: str) -> None:
        """Put a token at the end; RuntimeError if it exists."""
        if token in self._stoi:
            raise RuntimeError(f"Token {token} already exists in the Vocab with index: {self._stoi[token]}")
        self._stoi[token] = len(self._itos)
        self._itos.append(token)

    def lookup_token(self, index: int) -> str:
        """The token of an index; RuntimeError outside the vocabulary."""
        if not 0 <= index < len(self._itos):
            raise RuntimeError(f"Specified index {index} is out of bounds for vocab of size {len(self._itos)}")
        return self._itos[index]

    def lookup_tokens(self, indices: Iterable[int]) -> list[str]:
        """The tokens of indices."""
        return [self.lookup_token(i) for i in indices]

    def lookup_indices(self, tokens: Iterable[str]) -> list[int]:
        """The indices of tokens."""
        return [self[t] for t in tokens]

    def get_stoi(self) -> dict[str, int]:
        """A copy of the indices by token."""
        return dict(self._stoi)

    def get_itos(self) -> list[str]:
        """A copy of the tokens by index."""
        return list(self._itos)

    def __repr__(self) -> str:
        return "Vocab()"


def vocab(
    ordered_dict: Mapping[str, int], min_freq: int = 1, specials: list[str] | None = None, special_first: bool = True
) -> Vocab:
    """The tokens of a mapping to frequencies, in its order, that occur at least ``min_freq`` times.

    specials: put before the others, or behind them, whatever their frequency.
    """
    special = list(specials or ())
    tokens = [t for t, n in ordered_dict.items() if n >= min_freq and t not in set(special)]
    return Vocab(special + tokens if special_first else tokens + special)


def build_vocab_from_iterator(
    iterator: Iterable, min_freq: int = 1, specials: list[str] | None = None, special_first: bool = True,
    max_tokens: int | None = None,
) -> Vocab:  # fmt: skip
    """The tokens of lists of tokens, the most frequent first, those equally frequent in alphabetical order.

    max_tokens: how many at most, the special ones included; AssertionError if these are more.
    """
    counter: Counter = Counter()
    for tokens in iterator:
        counter.update(tokens)
    special = list(specials or ())
    for token in special:
        counter.pop(token, None)
    ranked = sorted(counter.items(), key=lambda x: (-x[1], x[0]))
    if max_tokens is not None:
        if len(special) >= max_tokens:
            raise AssertionError("len(specials) >= max_tokens, so the vocab will be entirely special tokens.")
        ranked = ranked[: max_tokens - len(special)]
    return vocab(OrderedDict(ranked), min_freq, special, special_first)
