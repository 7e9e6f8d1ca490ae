"""From indices to a batch."""

from collections.abc import Callable
from typing import Any

from .collate import default_collate
from .filling import Filling


class MapFetcher:
    """Fetches from a map-style dataset."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> None:
        self.dataset = dataset
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        # Datasets of whole tensors can give a batch without making its samples.
        self.whole = getattr(dataset, "_collated", None) if collate_fn is default_collate else None
        self.many = getattr(dataset, "__getitems__", None) or None

    def fetch(self, index: Any) -> Any:
        """The batch (or, without batching, the sample) at an index."""
        if not self.auto_collation:
            return self.collate_fn(self.dataset[index])
        if self.whole is not None:
            batch = self.whole(index)
            if batch is not None:
                return batch
            self.whole = None
        if self.many is not None:
            return self.collate_fn(self.many(index))
        if self.collate_fn is not default_collate or type(index) is not list:
            return self.collate_fn([self.dataset[i] for i in index])
        batch = Filling(len(index))
        for i in index:
            batch.put(self.dataset[i])
        return batch.done()


class IterableFetcher:
    """Fetches from an iterable dataset; StopIteration at its end."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> None:
        self.iterator = iter(dataset)
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.ended = False

    def fetch(self, index: Any) -> Any:
        """The next ``len(index)`` samples as a batch, or the next sample without batching."""
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self.iterator))
        samples: list[Any] = []
        for _ in index:
            try:
                samples.append(next(self.iterator))
            except StopIteration:
                self.ended = True
                break
        if not samples or (self.drop_last and len(samples) < len(index)):
            raise StopIteration
        return self.collate_fn(samples)
