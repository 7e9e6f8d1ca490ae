"""``torch.Size``: the shape of a tensor, a tuple of ints that knows its product."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any, Self, SupportsIndex

__all__ = ["Size"]


class Size(tuple):
    """A tuple of ints; slices, sums and repeats are Sizes again.

    Raises TypeError if an item is not an int (bools and integers of NumPy are converted).
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[SupportsIndex] = (), /) -> Self:
        self = tuple.__new__(cls, sizes)
        for item in self:
            if type(item) is not int:
                return tuple.__new__(cls, map(_as_int, self, range(len(self))))
        return self

    def numel(self) -> int:
        """Number of elements of a tensor of this size: the product, 1 for no dimensions."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __reduce__(self) -> tuple[type, tuple[tuple[int, ...]]]:
        return type(self), (tuple(self),)

    def __getitem__(self, index: Any, /) -> Any:
        item = tuple.__getitem__(self, index)
        return Size(item) if type(index) is slice else item

    def __add__(self, other: Any, /) -> Size:
        if not isinstance(other, tuple):
            # Raised here: returning NotImplemented would let tuple's own concatenation answer in other words.
            raise TypeError(f"can only concatenate tuple (not {type(other).__name__}) to torch.Size")
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any, /) -> Size:
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(tuple.__add__(other, self))

    def __mul__(self, times: SupportsIndex, /) -> Size:
        if not hasattr(times, "__index__"):
            raise TypeError(f"can't multiply sequence by non-int of type '{type(times).__name__}'")
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__


def _as_int(item: Any, position: int) -> int:
    """One entry as an int. One-element tensors have ``__index__`` too; float ones raise from there."""
    try:
        return operator.index(item)
    except TypeError:
        kind = type(item).__name__
        raise TypeError(f"torch.Size() takes an iterable of 'int' (item {position} is '{kind}')") from None
