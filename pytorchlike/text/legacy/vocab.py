"""The vocabulary of torchtext 0.8, made of counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor

from ..vocab.vectors import CharNGram, FastText, GloVe, Vectors, pretrained_aliases

__all__ = ["CharNGram", "FastText", "GloVe", "SubwordVocab", "Vectors", "Vocab", "pretrained_aliases"]


def _unknown() -> int:
    return 0


class Vocab:
    """Tokens by frequency: ``itos``, ``stoi``, ``freqs`` (the counter), ``vectors`` (tokens, dim) or None.

    max_size: how many at most, special ones apart.   min_freq: below it tokens are left out.
    specials: special tokens, first (or last); without "<unk>" among them unknown tokens raise KeyError.
    vectors: see :meth:`load_vectors`.   unk_init: makes vectors of tokens that these lack out of zeros.
    """

    UNK = "<unk>"

    def __init__(
        self, counter: Counter, max_size: int | None = None, min_freq: int = 1,
        specials: Iterable[str] = ("<unk>", "<pad>"), vectors: Any = None,
        unk_init: Callable[[Tensor], Tensor] | None = None, vectors_cache: str | None = None,
        specials_first: bool = True,
    ) -> None:  # fmt: skip
        self.freqs = counter
        special = list(specials)
        counts = {t: n for t, n in counter.items() if t not in set(special)}
        ranked = sorted(sorted(counts.items()), key=lambda x: x[1], reverse=True)
        words = [t for t, n in ranked if n >= max(min_freq, 1)][:max_size]
        self.itos: list[str] = special + words if specials_first else words + special
        self.stoi: Any = defaultdict(_unknown) if self.UNK in special else {}
        self.unk_index = self.itos.index(self.UNK) if self.UNK in special else None
        if self.unk_index:
            self.stoi = defaultdict(_Constant(self.unk_index))
        self.stoi.update({t: i for i, t in enumerate(self.itos)})
        self.vectors: Tensor | None = None
        if vectors is not None:
            self.load_vectors(vectors, unk_init=unk_init, cache=vectors_cache)

    def __getitem__(self, token: str) -> int:
        return self.stoi.get(token, self.stoi.get(self.UNK)) if self.unk_index is not None else self.stoi[token]

    def __len__(self) -> int:
        return len(self.itos)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocab) or (self.freqs, self.stoi, self.itos) != (other.freqs, other.stoi, other.itos):
            return False
        if self.vectors is None or other.vectors is None:
            return self.vectors is other.vectors
        return bool(torch.equal(self.vectors, other.vectors))

    __hash__ = None  # type: ignore[assignment]

    def lookup_indices(self, tokens: Iterable[str]) -> list[int]:
        """The indices of tokens."""
        return [self[t] for t in tokens]

    def extend(self, v: Vocab, sort: bool = False) -> None:
        """Add the tokens of another vocabulary."""
        for word in sorted(v.itos) if sort else v.itos:
            if word not in self.stoi:
                self.itos.append(word)
                self.stoi[word] = len(self.itos) - 1

    def load_vectors(self, vectors: Any, **kwargs: Any) -> None:
        """Vectors by name ("glove.6B.100d" …), or ``Vectors``, or a list of both, put side by side."""
        given = vectors if isinstance(vectors, list) else [vectors]
        made = []
        for each in given:
            if isinstance(each, str):
                if each not in pretrained_aliases:
                    raise ValueError(
                        f"Got string input vector {each}, but allowed pretrained vectors are {list(pretrained_aliases)}"
                    )
                each = pretrained_aliases[each](**{k: v for k, v in kwargs.items() if v is not None})
            elif not isinstance(each, Vectors):
                raise ValueError(f"Got input vectors of type {type(each)}, expected str or Vectors object")
            made.append(each)
        rows = [torch.cat([v[token.strip()].reshape(-1) for v in made]) for token in self.itos]
        self.vectors = torch.stack(rows)

    def set_vectors(
        self, stoi: dict[str, int], vectors: Tensor, dim: int, unk_init: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """Rows of ``vectors`` by ``stoi``; zeros, or what ``unk_init`` makes of them, for tokens it lacks."""
        make = torch.Tensor.zero_ if unk_init is None else unk_init
        rows = [vectors[stoi[t]] if t in stoi else make(torch.zeros(dim)) for t in self.itos]
        self.vectors = torch.stack(rows)


class _Constant:
    def __init__(self, value: int) -> None:
        self.value = value

    def __call__(self) -> int:
        return self.value


class SubwordVocab(Vocab):
    """Not provided: revtok's subwords are no longer maintained."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("SubwordVocab needs revtok's segmenter, which is no longer maintained")
