"""Fields, examples, data sets and iterators of torchtext 0.8."""

from ..data.utils import RandomShuffler, get_tokenizer, interleave_keys
from ._dataset import Dataset, Example, TabularDataset
from ._field import Field, LabelField, NestedField, Pipeline, RawField, ReversibleField
from ._iterator import Batch, BPTTIterator, BucketIterator, Iterator, batch, pool

__all__ = [
    "BPTTIterator", "Batch", "BucketIterator", "Dataset", "Example", "Field", "Iterator", "LabelField", "NestedField",
    "Pipeline", "RandomShuffler", "RawField", "ReversibleField", "TabularDataset", "batch", "get_tokenizer",
    "interleave_keys", "pool",
]  # fmt: skip
