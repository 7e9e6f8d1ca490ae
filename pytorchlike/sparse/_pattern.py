"""Where the elements of sparse tensors are: index tensors, what is derived from them on the host, and plans.

Indices are known on the host nearly always (they are built from data, not computed in a training step), so what an
operation needs to know about them – an order, segments, a union of two patterns – is worked out once by NumPy, kept
with the pattern, and given to recorded operations as tensors.  Training over a fixed pattern so records the same
operations in each step and compiles nothing anew.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.meta import SHAPE_ONLY, TRACED
from ..tensor import Tensor, host_tensor
from ..tensor._wrap import form
from . import _kernels as K


def known(t: Tensor) -> bool:
    """Whether reading a tensor neither executes anything nor meets a tracer."""
    value = t._get()
    return value.data is not None and value.meta.place not in (SHAPE_ONLY, TRACED)


def on_device(array: np.ndarray, like: Tensor) -> Tensor:
    """An index array as a tensor where ``like`` is."""
    return host_tensor(np.ascontiguousarray(array), like.device)


def small(array: np.ndarray, bound: int) -> np.ndarray:
    """Indices below ``bound`` as int32 where they fit: half the memory traffic, and what CSR kernels take."""
    return array.astype(np.int32 if bound < 2**31 else np.int64)


class _Pattern:
    """Caches of a pattern; plans for operations with another pattern live as long as that one."""

    def __init__(self) -> None:
        self._plans: dict[str, weakref.WeakKeyDictionary] = {}

    def plan(self, name: str, other: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` found out about this pattern and another, remembered."""
        plans = self._plans.setdefault(name, weakref.WeakKeyDictionary())
        found = plans.get(other)
        if found is None:
            found = plans[other] = make()
        return found


class Coo(_Pattern):
    """Coordinates ``indices`` (m, nnz), int64, in a box of ``size`` (m of them); coalesced: ascending, each once."""

    def __init__(self, indices: Tensor, size: tuple[int, ...], coalesced: bool = False) -> None:
        super().__init__()
        self.indices, self.size, self.coalesced = indices, tuple(size), coalesced
        self.nnz: int = indices.shape[1]

    @property
    def known(self) -> bool:
        return known(self.indices)

    @cached_property
    def host(self) -> np.ndarray:
        """The indices on the host; reads them."""
        return self.indices.detach()._host()

    @cached_property
    def flat(self) -> np.ndarray:
        """One number for each element: its place in the box, row-major."""
        out = np.zeros(self.nnz, np.int64)
        for n, row in zip(self.size, self.host, strict=True):
            out = out * n + row
        return out

    @classmethod
    def of_flat(cls, flat: np.ndarray, size: tuple[int, ...], like: Tensor, coalesced: bool = True) -> Coo:
        """The pattern whose ``flat`` that is."""
        if not size:
            rows = np.zeros((0, len(flat)), np.int64)
        else:
            rows = np.empty((len(size), len(flat)), np.int64)
            for d in range(len(size) - 1, -1, -1):
                flat, rows[d] = np.divmod(flat, max(size[d], 1))
        return cls(on_device(rows, like), size, coalesced)

    @cached_property
    def merged(self) -> tuple[Coo, Tensor, bool]:
        """The coalesced pattern, the element of it for each of ours, and whether that is a mere reordering."""
        flat, ids = np.unique(self.flat, return_inverse=True)
        pattern = Coo.of_flat(flat, self.size, self.indices)
        return pattern, on_device(small(ids, len(flat)), self.indices), len(flat) == self.nnz

    def with_size(self, size: tuple[int, ...]) -> Coo:
        """The same indices in another box."""
        return Coo(self.indices, size, self.coalesced)

    def moved(self, where: Any) -> Coo:
        """The pattern on another device."""
        found = Coo(self.indices.to(where), self.size, self.coalesced)
        if "host" in self.__dict__:
            found.host = self.host
        return found

    def same(self, other: Coo) -> bool:
        """Whether both hold the same indices in the same order; False also if that is not known."""
        if self is other or self.indices is other.indices:
            return True
        if self.size != other.size or self.nnz != other.nnz or not (self.known and other.known):
            return False
        return self.plan("same", other, lambda: (bool((self.host == other.host).all()),))[0]

    @cached_property
    def matrix(self) -> Matrix:
        """The pattern of a matrix, ready for products."""
        return Matrix(self.host[0], self.host[1], self.size[0], self.size[1], self.indices)


class Matrix:
    """The pattern of a (n, m) matrix in the order of rows; ``order``: from the elements' own, None if the same."""

    def __init__(self, rows: np.ndarray, cols: np.ndarray, n: int, m: int, like: Tensor) -> None:
        self.n, self.m, self._like = n, m, like
        self.order: Tensor | None = None
        if len(rows) and not (rows[1:] >= rows[:-1]).all():
            order = np.argsort(rows, kind="stable")
            rows, cols = rows[order], cols[order]
            self.order = self._place(order)
        self.host_rows, self.host_cols = rows, cols

    def _place(self, array: np.ndarray) -> Tensor:
        return on_device(small(array, max(self.n, self.m, len(array)) + 1), self._like)

    @staticmethod
    def starts(rows: np.ndarray, n: int) -> np.ndarray:
        """Where each row begins among ascending rows, and the end."""
        return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """Rows, columns, starts; the same of the transposed matrix; the order of columns, and back."""
        rows, cols = self.host_rows, self.host_cols
        order = np.argsort(cols, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        arrays = (rows, cols, self.starts(rows, self.n), cols[order], rows[order], self.starts(cols[order], self.m))
        return tuple(self._place(a) for a in (*arrays, order, back))

    def times(self, values: Tensor, dense: Tensor) -> Tensor:
        """The (n, m) matrix times ``dense`` (m, k)."""
        if self.order is not None:
            values = values.index_select(0, self.order)
        return form(K.csr_mm)(values, dense, *self.tensors, self.n)


class Compressed(_Pattern):
    """Rows (or columns) by where they begin: ``starts`` (*batch, n + 1) and ``plain`` (*batch, nnz).

    rows:   whether rows are compressed (CSR, BSR), else columns (CSC, BSC).
    shape:  of the matrices: numbers of rows and columns, in blocks where the tensor has blocks.
    """

    def __init__(self, starts: Tensor, plain: Tensor, rows: bool, shape: tuple[int, int]) -> None:
        super().__init__()
        self.starts, self.plain, self.rows, self.shape = starts, plain, rows, shape
        self.batch: tuple[int, ...] = tuple(starts.shape[:-1])
        self.nnz: int = plain.shape[-1]

    @property
    def known(self) -> bool:
        return known(self.starts) and known(self.plain)

    @cached_property
    def host(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and plain indices on the host; reads them."""
        return self.starts._host(), self.plain._host()

    @cached_property
    def coo(self) -> Coo:
        """The same elements, in the same order, by coordinates (batch + 2, all elements)."""
        size = (*self.batch, *self.shape)
        if not self.known:
            along = form(K.rows_of)(self.starts, self.nnz)
            parts = [along, self.plain.long()] if self.rows else [self.plain.long(), along]
            if self.batch:
                parts = [*on_device(self._grid(), self.plain).unbind(0), *[p.reshape(-1) for p in parts]]
            from ..tensor import functions as T

            return Coo(T.stack(parts), size)
        starts, plain = self.host
        flat = starts.reshape(-1, starts.shape[-1])
        along = np.concatenate([np.repeat(np.arange(flat.shape[1] - 1), np.diff(c)) for c in flat] or [plain[:0]])
        pair = (along, plain.reshape(-1))
        indices = np.stack([*self._grid(), *(pair if self.rows else pair[::-1])]).astype(np.int64)
        found = Coo(on_device(indices, self.plain), size, self.rows)
        found.host = indices
        return found

    def _grid(self) -> np.ndarray:
        """The batch coordinates of every element: (batch dimensions, all elements)."""
        size = (*self.batch, self.nnz)
        return np.indices(size)[:-1].reshape(len(self.batch), math.prod(size))

    @classmethod
    def of_matrix(cls, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], by_rows: bool, like: Tensor,
                  kind: Any = np.int64) -> tuple[Compressed, Tensor | None]:  # fmt: skip
        """The pattern of a matrix's elements, and the order they are to be taken in (None: as they are)."""
        first, second = (rows, cols) if by_rows else (cols, rows)
        key = first * max(shape[1] if by_rows else shape[0], 1) + second
        order = None
        if len(key) and not (key[1:] >= key[:-1]).all():
            order = np.argsort(key, kind="stable")
            first, second = first[order], second[order]
        starts = Matrix.starts(first, shape[0] if by_rows else shape[1])
        made = cls(on_device(starts.astype(kind), like), on_device(second.astype(kind), like), by_rows, shape)
        return made, None if order is None else on_device(small(order, len(order)), like)

    def moved(self, where: Any) -> Compressed:
        """The pattern on another device."""
        return Compressed(self.starts.to(where), self.plain.to(where), self.rows, self.shape)

    def same(self, other: Compressed) -> bool:
        """Whether both hold the same indices; False also if that is not known."""
        if self is other or (self.starts is other.starts and self.plain is other.plain):
            return True
        if self.rows != other.rows or self.shape != other.shape or self.batch != other.batch or self.nnz != other.nnz:
            return False
        return self.known and other.known and self.plan("same", other, lambda: (
            all(bool((a == b).all()) for a, b in zip(self.host, other.host, strict=True)),))[0]  # fmt: skip

    def turned(self) -> Compressed:
        """The pattern of the transposed matrices."""
        return Compressed(self.starts, self.plain, not self.rows, (self.shape[1], self.shape[0]))
