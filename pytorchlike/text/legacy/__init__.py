"""torchtext as it was up to 0.8: fields, examples, iterators (``torchtext.legacy`` of 0.9 to 0.11)."""

from . import data, datasets, vocab

__all__ = ["data", "datasets", "vocab"]
