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


def layout(shape: tuple[int, ...], chain: tuple[Step, ...]) -> np.ndarray:
    """A NumPy dummy (one byte an element, never written) whose strides and offset are those of the view."""
    dummy = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), (0,)) if 0 in shape else np.empty(shape, np.int8)
    if 0 in shape:
        dummy = np.empty(shape, np.int8)
    for step in chain:
        bound = step.entry.bind(step.static, (dummy, *step.numbers))
        dummy = step.entry.fn(**bound)
    return dummy


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous tensor."""
    out, n = [], 1
    for size in reversed(shape):
        out.append(n)
        n *= max(size, 1)
    return tuple(reversed(out))
