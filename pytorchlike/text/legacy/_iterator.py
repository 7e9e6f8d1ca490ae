"""Batches of examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Iterator as Yields
from typing import Any

from ..data.utils import RandomShuffler
from ._dataset import Dataset

__all__ = ["BPTTIterator", "Batch", "BucketIterator", "Iterator", "batch", "pool"]


def batch(data: Iterable, batch_size: int, batch_size_fn: Callable | None = None) -> Yields[list]:
    """Lists of examples of size ``batch_size``; batch_size_fn(new, count, size so far) gives the size with it."""
    measure = batch_size_fn or (lambda new, count, size_so_far: count)
    rows: list = []
    size = 0
    for x in data:
        rows.append(x)
        size = measure(x, len(rows), size)
        if size == batch_size:
            yield rows
            rows, size = [], 0
        elif size > batch_size:
            yield rows[:-1]
            rows = rows[-1:]
            size = measure(x, 1, 0)
    if rows:
        yield rows


def pool(
    data: Iterable, batch_size: int, key: Callable, batch_size_fn: Callable | None = None,
    random_shuffler: Callable | None = None, shuffle: bool = False,
) -> Yields[list]:  # fmt: skip
    """Batches of similar length: a hundred batches' worth of examples at a time is sorted and divided."""
    mix = random_shuffler or RandomShuffler()
    for chunk in batch(data, batch_size * 100, batch_size_fn):
        parts = list(batch(sorted(chunk, key=key), batch_size, batch_size_fn))
        yield from mix(parts) if shuffle else parts


class Batch:
    """Columns as tensors: attributes with the fields' names; ``batch_size``, ``input_fields``, ``target_fields``."""

    def __init__(self, data: list | None = None, dataset: Dataset | None = None, device: Any = None) -> None:
        if data is None or dataset is None:
            return
        self.batch_size, self.dataset = len(data), dataset
        self.fields = dataset.fields.keys()
        self.input_fields = [n for n, f in dataset.fields.items() if f is not None and not f.is_target]
        self.target_fields = [n for n, f in dataset.fields.items() if f is not None and f.is_target]
        for name, field in dataset.fields.items():
            if field is not None:
                setattr(self, name, field.process([getattr(x, name) for x in data], device=device))

    @classmethod
    def fromvars(cls, dataset: Dataset, batch_size: int, train: Any = None, **kwargs: Any) -> Batch:
        """A batch of tensors made already."""
        made = cls()
        made.batch_size, made.dataset, made.fields = batch_size, dataset, dataset.fields.keys()
        made.input_fields = [n for n, f in dataset.fields.items() if f is not None and not f.is_target]
        made.target_fields = [n for n, f in dataset.fields.items() if f is not None and f.is_target]
        for name, value in kwargs.items():
            setattr(made, name, value)
        return made

    def _columns(self, names: Sequence[str]) -> Any:
        found = tuple(getattr(self, n) for n in names)
        return None if not found else found[0] if len(found) == 1 else found

    def __iter__(self) -> Yields:
        yield self._columns(self.input_fields)
        yield self._columns(self.target_fields)

    def __len__(self) -> int:
        return self.batch_size

    def __repr__(self) -> str:
        lines = [f"[torchtext.legacy.data.batch.Batch of size {self.batch_size}]"]
        for name in (*self.input_fields, *self.target_fields):
            value = getattr(self, name)
            shapes = [tuple(v.shape) for v in (value if isinstance(value, tuple) else (value,)) if hasattr(v, "shape")]
            lines.append(f"\t[.{name}]:{shapes}")
        return "\n".join(lines)


class Iterator:
    """Batches of a data set, endlessly if ``repeat``.

    sort_key: by default the data set's.   train: sets the defaults of ``shuffle`` (so) and ``sort`` (not so).
    sort_within_batch: by default as ``sort``; longest first.   batch_size_fn: see :func:`batch`.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, sort_key: Callable | None = None, device: Any = None,
        batch_size_fn: Callable | None = None, train: bool = True, repeat: bool = False,
        shuffle: bool | None = None, sort: bool | None = None, sort_within_batch: bool | None = None,
    ) -> None:  # fmt: skip
        self.dataset, self.batch_size, self.train, self.repeat = dataset, batch_size, train, repeat
        self.batch_size_fn, self.iterations = batch_size_fn, 0
        self.shuffle = train if shuffle is None else shuffle
        self.sort = not train if sort is None else sort
        self.sort_within_batch = self.sort if sort_within_batch is None else sort_within_batch
        self.sort_key = getattr(dataset, "sort_key", None) if sort_key is None else sort_key
        if isinstance(device, int):
            device = None if device == -1 else f"cuda:{device}"
        self.device = device
        self.random_shuffler = RandomShuffler()

    @classmethod
    def splits(
        cls, datasets: Sequence[Dataset], batch_sizes: Sequence[int] | None = None, **kwargs: Any
    ) -> tuple[Iterator, ...]:
        """Iterators of several data sets; the first is for training."""
        sizes = batch_sizes or [kwargs.pop("batch_size")] * len(datasets)
        kwargs.pop("batch_size", None)
        pairs = enumerate(zip(datasets, sizes, strict=True))
        return tuple(cls(d, batch_size=n, train=i == 0, **kwargs) for i, (d, n) in pairs)

    @property
    def epoch(self) -> int:
        """How many passes were begun and ended."""
        return math.floor(self.iterations / len(self))

    def data(self) -> list:
        """The examples in the order of this pass."""
        if self.sort:
            return sorted(self.dataset, key=self.sort_key)  # type: ignore[arg-type]
        if self.shuffle:
            return [self.dataset[i] for i in self.random_shuffler(range(len(self.dataset)))]
        return list(self.dataset)

    def create_batches(self) -> Iterable[list]:
        """The lists of examples of this pass."""
        return batch(self.data(), self.batch_size, self.batch_size_fn)

    def __len__(self) -> int:
        if self.batch_size_fn is not None:
            raise NotImplementedError("the number of batches is not known with batch_size_fn")
        return math.ceil(len(self.dataset) / self.batch_size)

    def init_epoch(self) -> None:
        """Begin a pass, as iterating does itself: its batches are drawn and, unless it repeats, counted from 0."""
        self.batches = self.create_batches()
        if not self.repeat:
            self.iterations = 0

    def __iter__(self) -> Yields[Batch]:
        while True:
            self.init_epoch()
            for rows in self.batches:
                self.iterations += 1
                if self.sort_within_batch:
                    # decreasing, as packed sequences want
                    rows = rows[::-1] if self.sort else sorted(rows, key=self.sort_key, reverse=True)  # type: ignore
                yield Batch(rows, self.dataset, self.device)
            if not self.repeat:
                return


class BucketIterator(Iterator):
    """Batches of texts of similar length, so that there is little padding."""

    def create_batches(self) -> Iterable[list]:
        """See :func:`pool`."""
        if self.sort:
            return batch(self.data(), self.batch_size, self.batch_size_fn)
        if self.sort_key is None:
            raise ValueError("BucketIterator needs a sort_key, its own or the data set's")
        return pool(
            self.data(), self.batch_size, self.sort_key, self.batch_size_fn, self.random_shuffler, self.shuffle
        )  # fmt: skip


class BPTTIterator(Iterator):
    """Language modelling: one long text as ``batch_size`` columns, cut into pieces of ``bptt_len`` steps.

    Batches have ``text`` and ``target``, the same one step later, both (steps, batch).
    """

    def __init__(self, dataset: Dataset, batch_size: int, bptt_len: int, **kwargs: Any) -> None:
        self.bptt_len = bptt_len
        super().__init__(dataset, batch_size, **kwargs)

    def __len__(self) -> int:
        return math.ceil((len(self.dataset[0].text) / self.batch_size - 1) / self.bptt_len)

    def __iter__(self) -> Yields[Batch]:
        text, field = list(self.dataset[0].text), self.dataset.fields["text"]
        missing = -len(text) % self.batch_size
        rows = field.numericalize([text + [field.pad_token] * missing], device=self.device)
        data = rows.reshape(self.batch_size, -1).t().contiguous()
        named = Dataset(self.dataset.examples, [("text", field), ("target", field)])
        while True:
            for i in range(0, len(self) * self.bptt_len, self.bptt_len):
                self.iterations += 1
                steps = min(self.bptt_len, len(data) - i - 1)
                piece, target = data[i : i + steps], data[i + 1 : i + 1 + steps]
                if field.batch_first:
                    piece, target = piece.t().contiguous(), target.t().contiguous()
                yield Batch.fromvars(named, self.batch_size, text=piece, target=target)
            if not self.repeat:
                return


