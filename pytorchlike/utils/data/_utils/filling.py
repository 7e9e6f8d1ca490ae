"""A batch that is filled while its samples are being made, as ``default_collate`` would put them together.

Large arrays are copied to their row at once, while they are in the processor's cache, and their memory serves the next
sample: a batch of pictures would otherwise be in memory twice.
"""

import math
import mmap
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....tensor import Tensor
from ....tensor._tensor import host_tensor
from ....tensor.interop import aligned_empty
from .collate import default_collate
from .shared import array_of

_LARGE = 16 << 10  # bytes of a sample's array from which on this pays
_HUGE = 1 << 20  # bytes of a batch's array from which on its memory serves a later one
_KEPT = 3  # blocks of memory of a size, and sizes, that wait for one

_free: dict[int, list[mmap.mmap]] = {}


def _room(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array. New memory is expensive: a large one has that of a batch that nobody needs any more."""
    size = math.prod(shape) * dtype.itemsize
    if size < _HUGE:
        return aligned_empty(shape, dtype)
    try:
        block = _free[size].pop()
    except (KeyError, IndexError):
        block = mmap.mmap(-1, size)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(block, np.uint8)
    # Every array made of it refers to this one, so its end is the end of the last of them.
    weakref.finalize(memory, _keep, block).atexit = False
    return memory.view(dtype).reshape(shape)


def _keep(block: mmap.mmap) -> None:
    if len(block) not in _free and len(_free) >= _KEPT:
        _free.clear()
    blocks = _free.setdefault(len(block), [])
    blocks.append(block)
    del blocks[:-_KEPT]


class Filling:
    """A batch of ``count`` samples: each is given to ``put``, then ``done`` answers the batch."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.made = 0
        self.column: Any = None
        self.samples: list[Any] | None = None  # all of them, once they turn out not to be alike

    def put(self, sample: Any) -> None:
        """Add the next sample."""
        if self.samples is not None:
            self.samples.append(sample)
            return
        if self.column is None:
            self.column = _column(sample, self.count)
        if self.made < self.count and self.column.put(self.made, sample):
            self.made += 1
            return
        self.samples = [self.column.sample(i) for i in range(self.made)]
        self.samples.append(sample)

    def done(self) -> Any:
        """The batch. Raises what ``default_collate`` raises for samples that do not go together."""
        if self.samples is not None or self.made < self.count:
            samples = self.samples if self.samples is not None else [self.column.sample(i) for i in range(self.made)]
            return default_collate(samples)
        return self.column.done()


def _array(x: Any) -> np.ndarray | None:
    """The elements of what can be a row: a plain tensor in host memory, or an array of numbers."""
    if type(x) is np.ndarray:
        return x if x.dtype.kind in "biufc" and x.dtype.isnative else None
    if type(x) is not Tensor:
        return None
    value, alias = x._value, x._alias
    if value.meta.grad or (alias is not None and (alias.leaf is not None or alias.of is not None)):
        return None
    if not x._borrowed:
        value = x._get()
        if type(value.data) is not np.ndarray or value.meta.grad:
            return None
    return array_of(x)


def _column(first: Any, count: int, gathered: type = list) -> Any:
    """What gathers samples like ``first``; ``gathered``: in what `collate` is given them, which it returns for text."""
    kind = type(first)
    if kind is tuple or kind is list:
        return _Columns(kind, dict(enumerate(_column(x, count, tuple) for x in first)))
    if kind is dict:
        return _Columns(kind, {key: _column(x, count) for key, x in first.items()})
    array = _array(first)
    if array is not None and array.nbytes >= _LARGE:
        return _Rows(kind, array, count)
    return _Others(gathered)


class _Rows:
    """Arrays of one shape and type, or tensors of such, in a larger array."""

    def __init__(self, kind: type, first: np.ndarray, count: int) -> None:
        self.kind, self.shape, self.dtype = kind, first.shape, first.dtype
        self.rows = _room((count, *first.shape), first.dtype)

    def put(self, i: int, x: Any) -> bool:
        array = _array(x) if type(x) is self.kind else None
        if array is None or array.shape != self.shape or array.dtype != self.dtype:
            return False
        self.rows[i] = array
        return True

    def sample(self, i: int) -> Any:
        row = self.rows[i].copy()
        return row if self.kind is np.ndarray else host_tensor(row, "cpu")

    def done(self) -> Tensor:
        return host_tensor(self.rows, "cpu")


class _Columns:
    """Containers of one kind, with the same keys."""

    def __init__(self, kind: type, columns: dict[Any, Any]) -> None:
        self.kind, self.columns = kind, columns

    def put(self, i: int, x: Any) -> bool:
        if type(x) is not self.kind or len(x) != len(self.columns):
            return False
        if self.kind is dict and any(key not in x for key in self.columns):
            return False
        return all(column.put(i, x[key]) for key, column in self.columns.items())

    def sample(self, i: int) -> Any:
        parts = {key: column.sample(i) for key, column in self.columns.items()}
        return parts if self.kind is dict else self.kind(parts.values())

    def done(self) -> Any:
        parts = {key: column.done() for key, column in self.columns.items()}
        return parts if self.kind is dict else list(parts.values())


class _Others:
    """Whatever else there is, as it came."""

    def __init__(self, gathered: type) -> None:
        self.gathered = gathered
        self.items: list[Any] = []

    def put(self, i: int, x: Any) -> bool:
        del self.items[i:]
        self.items.append(x)
        return True

    def sample(self, i: int) -> Any:
        return self.items[i]

    def done(self) -> Any:
        return default_collate(self.gathered(self.items))
