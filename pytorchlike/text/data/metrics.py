"""Scores of translations (``torchtext.data.metrics``)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .utils import ngrams_iterator

__all__ = ["bleu_score"]


def bleu_score(
    candidate_corpus: Sequence[Sequence[str]], references_corpus: Sequence[Sequence[Sequence[str]]], max_n: int = 4,
    weights: Sequence[float] = (0.25, 0.25, 0.25, 0.25),
) -> float:  # fmt: skip
    """BLEU of a corpus (Papineni et al. 2002): candidates, tokenized, each with a list of references.

    Raises AssertionError if ``weights`` are not as many as ``max_n``, or the corpora differ in length.
    """
    if max_n != len(weights):
        raise AssertionError('Length of the "weights" list has be equal to max_n')
    if len(candidate_corpus) != len(references_corpus):
        raise AssertionError("The length of candidate and reference corpus should be the same")
    clipped, total = [0] * max_n, [0] * max_n
    length, reference_length = 0.0, 0.0
    for candidate, references in zip(candidate_corpus, references_corpus, strict=True):
        length += len(candidate)
        reference_length += min((len(r) for r in references), key=lambda n: abs(len(candidate) - n))
        seen: Counter = Counter()
        for reference in references:
            seen |= Counter(ngrams_iterator(reference, max_n))
        counted = Counter(ngrams_iterator(candidate, max_n))
        for ngram, count in (counted & seen).items():
            clipped[len(ngram.split(" ")) - 1] += count
        for n in range(max_n):
            total[n] += max(len(candidate) - n, 0)
    if min(clipped) == 0:
        return 0.0
    mean = sum(w * math.log(c / t) for w, c, t in zip(weights, clipped, total, strict=True))
    return math.exp(min(1 - reference_length / length, 0)) * math.exp(mean)
