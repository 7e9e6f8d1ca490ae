"""Trained word vectors, from local files or downloads."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor

__all__ = ["CharNGram", "FastText", "GloVe", "Vectors", "pretrained_aliases"]


def _lines(path: str) -> Iterator[bytes]:
    opener: Callable[..., IO[bytes]] = gzip.open if path.endswith(".gz") else open  # type: ignore[assignment]
    with opener(path, "rb") as file:
        yield from file


class Vectors:
    """Vectors by token, of a text file with a token and its numbers in each line.

    name: the file, here or below ``cache`` (".vector_cache"); if it is missing, ``url`` is fetched and unpacked.
    unk_init: makes the vector of an unknown token out of zeros (default: leaves them).   max_vectors: read so many.
    itos, stoi: the tokens, and their rows; vectors: (tokens, dim) float32.
    What was read is kept beside the file as ``<name>.pt``.
    Raises RuntimeError if the file is not there and no URL is known, or its lines differ in length.
    """

    def __init__(
        self, name: str, cache: str | None = None, url: str | None = None,
        unk_init: Callable[[Tensor], Tensor] | None = None, max_vectors: int | None = None,
    ) -> None:  # fmt: skip
        self.itos: list[str] = []
        self.stoi: dict[str, int] = {}
        self.vectors: Tensor = torch.empty(0)
        self.dim = 0
        self.unk_init = torch.Tensor.zero_ if unk_init is None else unk_init
        self.cache(name, ".vector_cache" if cache is None else cache, url=url, max_vectors=max_vectors)

    def __getitem__(self, token: str) -> Tensor:
        if token in self.stoi:
            return self.vectors[self.stoi[token]]
        return self.unk_init(torch.zeros(self.dim))

    def __contains__(self, token: object) -> bool:
        return token in self.stoi

    def __len__(self) -> int:
        return len(self.vectors)

    def cache(self, name: str, cache: str, url: str | None = None, max_vectors: int | None = None) -> None:
        """Read the vectors, from the kept file if there is one."""
        path, base = (name, os.path.dirname(name)) if os.path.isfile(name) else (os.path.join(cache, name), cache)
        kept = os.path.join(base or ".", os.path.basename(name) + (f"_{max_vectors}" if max_vectors else "") + ".pt")
        if os.path.isfile(kept):
            self.itos, self.stoi, self.vectors, self.dim = torch.load(kept)
            return
        if not os.path.isfile(path):
            if not url:
                raise RuntimeError(f"no vectors found at {path}")
            self._fetch(url, cache, path)
        self._read(path, max_vectors)
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        torch.save((self.itos, self.stoi, self.vectors, self.dim), kept)

    @staticmethod
    def _fetch(url: str, cache: str, path: str) -> None:
        from ...vision.datasets.utils import download_url, extract_archive

        archive = os.path.join(cache, os.path.basename(url))
        download_url(url, cache)
        if archive != path:
            extract_archive(archive, cache)

    def _read(self, path: str, max_vectors: int | None) -> None:
        rows: list[np.ndarray] = []
        for line in _lines(path):
            token, *entries = line.rstrip().split(b" ")
            if len(entries) <= 1 and not rows:  # the header of a word2vec file: how many, of which dimension
                continue
            if rows and len(entries) != self.dim:
                raise RuntimeError(
                    f"Vector for token {token!r} has {len(entries)} dimensions, but previously read vectors have "
                    f"{self.dim} dimensions. All vectors must have the same number of dimensions."
                )
            try:
                word = token.decode("utf-8")
            except UnicodeDecodeError:
                continue
            self.dim = len(entries)
            self.itos.append(word)
            rows.append(np.array(entries, np.float32))
            if max_vectors is not None and len(rows) == max_vectors:
                break
        if not rows:
            raise RuntimeError(f"{path} has no vectors")
        self.stoi = {word: i for i, word in enumerate(self.itos)}
        self.vectors = torch.from_numpy(np.stack(rows))

    def get_vecs_by_tokens(self, tokens: str | list[str], lower_case_backup: bool = False) -> Tensor:
        """(dim,) for a token, (tokens, dim) for a list; ``lower_case_backup``: in lower case if not known otherwise."""
        single = isinstance(tokens, str)
        words: Any = [tokens] if single else tokens
        if lower_case_backup:
            words = [t if t in self.stoi else t.lower() for t in words]
        found = torch.stack([self[t] for t in words])
        return found[0] if single else found


class GloVe(Vectors):
    """Global vectors (Pennington, Socher & Manning 2014). name: "840B", "42B", "6B" or "twitter.27B"."""

    url = {
        "42B": "https://nlp.stanford.edu/data/glove.42B.300d.zip",
        "840B": "https://nlp.stanford.edu/data/glove.840B.300d.zip",
        "twitter.27B": "https://nlp.stanford.edu/data/glove.twitter.27B.zip",
        "6B": "https://nlp.stanford.edu/data/glove.6B.zip",
    }

    def __init__(self, name: str = "840B", dim: int = 300, **kwargs: Any) -> None:
        super().__init__(f"glove.{name}.{dim}d.txt", url=self.url[name], **kwargs)


class FastText(Vectors):
    """Vectors of Wikipedia in a language (Bojanowski et al. 2016, arXiv:1607.04606)."""

    url_base = "https://dl.fbaipublicfiles.com/fasttext/vectors-wiki/wiki.{}.vec"

    def __init__(self, language: str = "en", **kwargs: Any) -> None:
        url = self.url_base.format(language)
        super().__init__(os.path.basename(url), url=url, **kwargs)


class CharNGram(Vectors):
    """Vectors of a token's letter groups, averaged (Hashimoto et al. 2016, arXiv:1611.01587)."""

    name = "charNgram.txt"
    url = "http://www.logos.t.u-tokyo.ac.jp/~hassy/publications/arxiv2016jmt/jmt_pre-trained_embeddings.tar.gz"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(self.name, url=self.url, **kwargs)

    def __getitem__(self, token: str) -> Tensor:
        letters = ["#BEGIN#", *token, "#END#"]
        groups = [
            f"{n}gram-{''.join(letters[i : i + n])}" for n in (2, 3, 4) for i in range(len(letters) - n + 1)
        ]  # fmt: skip
        known = [self.vectors[self.stoi[g]] for g in groups if g in self.stoi]
        if not known:
            return self.unk_init(torch.zeros(1, self.dim))
        return torch.stack(known).mean(0, keepdim=True)


pretrained_aliases: dict[str, Callable[..., Vectors]] = {
    "charngram.100d": partial(CharNGram),
    "fasttext.en.300d": partial(FastText, language="en"),
    "fasttext.simple.300d": partial(FastText, language="simple"),
    "glove.42B.300d": partial(GloVe, name="42B", dim="300"),
    "glove.840B.300d": partial(GloVe, name="840B", dim="300"),
    **{f"glove.twitter.27B.{d}d": partial(GloVe, name="twitter.27B", dim=str(d)) for d in (25, 50, 100, 200)},
    **{f"glove.6B.{d}d": partial(GloVe, name="6B", dim=str(d)) for d in (50, 100, 200, 300)},
}
