"""Where the components of a nested tensor lie along one dimension of its values, and tables made of that."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

import numpy as np

from ..tensor import Tensor, host_tensor

_symbols = itertools.count(1)


class NestedInt:
    """The size of a ragged dimension, which has no one value: equal to itself only."""

    __slots__ = ("_number",)

    def __init__(self) -> None:
        self._number = next(_symbols)

    def __repr__(self) -> str:
        return f"j{self._number}"


def roomy(n: int) -> int:
    """``n`` rounded up to 2**k or 3 * 2**k: few different sizes, so few programs, for at most half more rows."""
    if n <= 8:
        return max(n, 1)
    power = 1 << (n - 1).bit_length()
    return power * 3 // 4 if n <= power * 3 // 4 else power


class Ragged:
    """Component b is rows ``starts[b] : starts[b] + lengths[b]`` of ``capacity`` rows; others belong to none.

    starts, lengths:  int64 on the host.
    offsets:          (batch + 1,) int64 tensor, as PyTorch has it.
    given_lengths:    whether lengths were told apart from offsets, so that there may be holes.
    """

    def __init__(self, starts: np.ndarray, lengths: np.ndarray, capacity: int, offsets: Tensor,
                 given_lengths: Tensor | None = None) -> None:  # fmt: skip
        self.starts, self.lengths, self.capacity = starts, lengths, capacity
        self.offsets, self.given_lengths = offsets, given_lengths
        self.symbol = NestedInt()
        self._tables: dict[Any, Any] = {}

    @classmethod
    def of_lengths(cls, lengths: Any, device: Any, capacity: int | None = None) -> Ragged:
        """Components one after the other."""
        lengths = np.asarray(lengths, np.int64).reshape(-1)
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(ends[:-1], lengths, int(ends[-1]) if capacity is None else capacity, host_tensor(ends, device))

    @property
    def batch(self) -> int:
        """Number of components."""
        return len(self.lengths)

    @property
    def longest(self) -> int:
        """Rows of the longest component."""
        return int(self.lengths.max()) if self.batch else 0

    @cached_property
    def dense(self) -> bool:
        """Whether every row belongs to a component, in order."""
        in_order = bool((self.starts == np.cumsum(self.lengths) - self.lengths).all())
        return in_order and int(self.lengths.sum()) == self.capacity

    def same(self, other: Ragged) -> bool:
        """Whether both have components of the same lengths."""
        return self is other or (self.batch == other.batch and bool((self.lengths == other.lengths).all()))

    def aligned(self, other: Ragged) -> bool:
        """Whether row k means the same in both."""
        return self is other or (
            self.capacity == other.capacity and self.same(other) and bool((self.starts == other.starts).all())
        )

    def _table(self, name: Any, make: Any) -> Tensor:
        found = self._tables.get(name)
        if found is None:
            found = self._tables[name] = host_tensor(np.ascontiguousarray(make()), self.offsets.device)
        return found

    def _ids(self) -> np.ndarray:
        ids = np.full(self.capacity, self.batch, np.int64)
        places, owner = self._places()
        ids[places] = owner
        return ids

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        owner = np.repeat(np.arange(self.batch), self.lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)
        return self.starts[owner] + within, owner

    @property
    def ids(self) -> Tensor:
        """The component of each row; ``batch`` for rows of none (capacity,)."""
        return self._table("ids", self._ids)

    @property
    def owners(self) -> Tensor:
        """As ``ids``, with some component for rows of none."""
        return self._table("owners", lambda: np.minimum(self._ids(), max(self.batch - 1, 0)))

    @property
    def rows(self) -> Tensor:
        """The rows that belong to components, in order."""
        return self._table("rows", lambda: self._places()[0])

    @property
    def counts(self) -> Tensor:
        """The lengths, as a tensor (batch,)."""
        return self._table("counts", lambda: self.lengths)

    def padded(self, length: int) -> Tensor:
        """The row for each place of a padded batch; some row of a component where there is none (batch * length,)."""

        def make() -> np.ndarray:
            place = np.minimum(np.arange(length)[None], np.maximum(self.lengths - 1, 0)[:, None])
            return np.clip(self.starts[:, None] + place, 0, max(self.capacity - 1, 0)).reshape(-1)

        return self._table(("padded", length), make)

    def mask(self, length: int) -> Tensor:
        """Which places of a padded batch are filled (batch, length)."""
        return self._table(("mask", length), lambda: np.arange(length)[None] < self.lengths[:, None])

    def unpadded(self, length: int) -> Tensor:
        """The place in a padded, flattened batch for each row; of rows of none, some place (capacity,)."""

        def make() -> np.ndarray:
            out = np.zeros(self.capacity, np.int64)
            places, owner = self._places()
            filled = owner * length + (places - self.starts[owner])
            out[:] = filled[0] if len(filled) else 0
            out[places] = filled
            return out

        return self._table(("unpadded", length), make)

    def moved(self, where: Any) -> Ragged:
        """The same on another device."""
        given = None if self.given_lengths is None else self.given_lengths.to(where)
        made = Ragged(self.starts, self.lengths, self.capacity, self.offsets.to(where), given)
        made.symbol = self.symbol
        return made

    def with_capacity(self, capacity: int) -> Ragged:
        """The same components one after the other, in a buffer of another size."""
        made = Ragged.of_lengths(self.lengths, self.offsets.device, capacity)
        made.symbol = self.symbol
        return made
