"""A few operations, enough to test the engine without the table of operators."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from pytorchlike.engine import Leaf, Op, Value, check, concrete, flush, get_mode, read, record, set_mode
from pytorchlike.engine.op import Lifted
from pytorchlike.engine.trace import default_place


def number(x, like):
    return x.array.astype(like.dtype) if isinstance(x, Lifted) else x


ADD = Op("add", lambda s, a: a[0] + number(a[1], a[0]), saves=False)
MUL = Op("mul", lambda s, a: a[0] * number(a[1], a[0]))
TANH = Op("tanh", lambda s, a: jnp.tanh(a[0]))
SUM = Op("sum", lambda s, a: jnp.sum(a[0]), saves=False)
MATMUL = Op("matmul", lambda s, a: a[0] @ a[1])
SPLIT = Op("split", lambda s, a: (a[0] + 1, a[0] * 2))
MOVE = Op("move", lambda s, a: a[0] - number(a[2], a[0]) * a[1], inplace=1, leaf=True, differentiable=False)


def _pick(static, args):
    x, i = args
    check((i >= 0) & (i < x.shape[0]), IndexError, f"pick: index is out of range for size {x.shape[0]}")
    return x[jnp.clip(i, 0, x.shape[0] - 1)]


PICK = Op("pick", _pick)


def value(x, leaf: bool = False) -> Value:
    array = np.asarray(x, np.float32) if np.asarray(x).dtype.kind == "f" else np.asarray(x)
    return concrete(array, default_place(), 1 if leaf else 0, Leaf() if leaf else None)


def get(v: Value) -> np.ndarray:
    return np.asarray(read(v))


class Cell:
    """What a Tensor is to the engine: a mutable holder that can be put back."""

    def __init__(self, v: Value) -> None:
        self.v = v

    def _restore_value(self, old: Value) -> None:
        self.v = old


def descend(cell: Cell, grad: Value, rate: float) -> None:
    """cell -= rate * grad, outside the tape; the result is the same leaf."""
    from pytorchlike.engine import local

    mode = set_mode(get_mode().replace(grad=False))
    old = cell.v
    new = record(MOVE, (), (old, grad), (rate,))
    new.node = old.node
    slot = local.trace.slots.get(old)
    if slot is not None:
        local.trace.journal.append((cell, slot))
    cell.v = new
    set_mode(mode)


__all__ = ["ADD", "MATMUL", "MOVE", "MUL", "PICK", "SPLIT", "SUM", "TANH", "Cell", "descend", "flush", "get", "value"]
