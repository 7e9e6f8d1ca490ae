"""Storages, and how several tensors look at one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine import Value, record
from ..ops._table import OpDef


class Step(NamedTuple):
    """One view operation on the way from a storage to a tensor."""

    entry: OpDef
    static: tuple
    numbers: tuple


class Storage:
    """A mutable cell that holds an immutable value; tensors that alias each other share one.

    value: of the base tensor.   version: raised by every write.
    host:  a NumPy array of the user's that the tensor shares memory with (``from_numpy``), or None.
    """

    __slots__ = ("value", "version", "host", "__weakref__")

    def __init__(self, value: Value, host: np.ndarray | None = None) -> None:
        self.value, self.version, self.host = value, 0, host

    def _restore_value(self, old: Value) -> None:
        self.value = old
        self.version += 1


class Alias:
    """How a tensor sees a storage: through the views of ``chain``, last at version ``seen``.

    leaf: the gradient accumulator of a leaf tensor.   detached: the tensor sees the data without its history.
    """

    __slots__ = ("storage", "seen", "chain", "leaf", "detached")

    def __init__(self, storage: Storage, chain: tuple[Step, ...] = (), leaf: Any = None, detached: bool = False) -> None:
        self.storage, self.seen, self.chain, self.leaf, self.detached = storage, storage.version, chain, leaf, detached


def through(value: Value, chain: tuple[Step, ...]) -> Value:
    """The value that a chain of views shows of ``value``."""
    for step in chain:
        value = apply_view(step, value)
    return value


def apply_view(step: Step, value: Value) -> Value:
    return record(step.entry.op, step.static, (value, *step.numbers))


def write_through(base: Value, chain: tuple[Step, ...], new: Value) -> Value:
    """``base`` with the part that the chain shows replaced by ``new``."""
    if not chain:
        return new
    step, rest = chain[0], chain[1:]
    if step.entry.op_put is None:
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            f"Please clone() the tensor before performing the operation. (written through {step.entry.name})"
        )
    inner = write_through(apply_view(step, base), rest, new) if rest else new
    return record(step.entry.op_put, step.static, (base, inner, *step.numbers))


def layout(shape: tuple[int, ...], chain: tuple[Step, ...], dtype: Any = np.int8) -> tuple[tuple[int, ...], int, bool]:
    """(strides, offset, contiguous) of a view, in elements: its bodies run on a NumPy dummy that is never written."""
    root = view = np.empty(shape, dtype)
    for step in chain:
        view = step.entry.fn(**step.entry.bind(step.static, (view, *step.numbers)))
    size = view.dtype.itemsize
    offset = view.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    contiguous = bool(view.flags.c_contiguous)
    # NumPy does not care about strides of single elements; PyTorch reports those of the view all the same
    return tuple(s // size for s in view.strides), offset // size, contiguous


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous tensor."""
    out, n = [], 1
    for size in reversed(shape):
        out.append(n)
        n *= max(size, 1)
    return tuple(reversed(out))


def check_view(shape: tuple[int, ...], strides: tuple[int, ...], size: tuple[int, ...]) -> None:
    """Raise RuntimeError if memory laid out like this cannot be seen as ``size`` without a copy."""
    if 0 in shape or -1 in size and 0 in size:
        return
    total = 1
    for n in shape:
        total *= n
    known = 1
    for n in size:
        known *= n if n != -1 else 1
    size = tuple(n if n != -1 else total // known for n in size)
    # runs of dimensions that are contiguous among themselves must be cut by the new sizes at their borders
    k = len(size) - 1
    run, base = 1, None
    for d in range(len(shape) - 1, -1, -1):
        if base is None:
            base = strides[d]
        run *= shape[d]
        border = d == 0 or (shape[d - 1] != 1 and strides[d - 1] != run * base)
        if border:
            covered = 1
            while k >= 0 and (covered < run or size[k] == 1):
                covered *= size[k]
                k -= 1
            if covered != run:
                raise RuntimeError(
                    "view size is not compatible with input tensor's size and stride (at least one dimension spans across "
                    f"two contiguous subspaces). Use .reshape(...) instead. (size {list(shape)}, stride {list(strides)}, "
                    f"asked for {list(size)})"
                )
            run, base = 1, None
