"""Recording one pure update of many tensors, as optimizers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine import Op, concrete, flush, local, record
from ..engine.meta import LEAF
from ..engine.op import Lifted
from ._tensor import Tensor
from .dtype import dtype as torch_dtype

_ops: dict[tuple[str, Callable, int], Op] = {}


def _op(name: str, fn: Callable[..., Any], rebound: int) -> Op:
    key = (name, fn, rebound)
    found = _ops.get(key)
    if found is None:

        def run(static: Any, args: tuple) -> tuple:
            told, lengths, order, n_hyper = static
            flat = args[: sum(lengths)]
            hyper = [a.array if type(a) is Lifted else a for a in args[sum(lengths) :]]
            lists: list[Any] = [None] * len(lengths)
            at = 0
            for where in order:  # what is rebound comes first
                lists[where] = list(flat[at : at + lengths[where]])
                at += lengths[where]
            out = fn(told, lists, hyper)
            return tuple(x for column in out for x in column)

        found = _ops[key] = Op(name, run, differentiable=False, inplace=rebound, leaf=True)
    return found


def record_update(
    name: str, fn: Callable[..., Any], static: Any, tensors: Sequence[Sequence[Tensor]], hyper: Sequence[Any],
    rebind: Sequence[Sequence[Tensor]],
) -> None:  # fmt: skip
    """Record ``fn(static, lists of arrays, 0-d arrays) -> lists of arrays`` and put the results into ``rebind``.

    ``rebind`` are some of the lists of ``tensors``, in their order; results replace their tensors' values in place,
    outside autograd, and leaves stay leaves.  ``hyper`` are run-time inputs (numbers, or 0-dim tensors).
    """
    ids = [id(c) for c in rebind]
    first = [k for i in ids for k, c in enumerate(tensors) if id(c) == i]
    order = (*first, *[k for k in range(len(tensors)) if k not in first])
    args = [t._value if t._alias is None else t._fresh() for k in order for t in tensors[k]]
    numbers = []
    held = []
    for h in hyper:
        if isinstance(h, Tensor):
            held.append(h)
            numbers.append(None)
        else:
            numbers.append(float(h))
    lengths = tuple(len(c) for c in tensors)
    n = sum(len(c) for c in rebind)
    if held:
        pattern = tuple(h is None for h in numbers)
        op = _op_mixed(name, fn, n, pattern)
        got = record(op, (static, lengths, order, len(hyper)), (*args, *[h._get() for h in held]),
                     tuple(x for x in numbers if x is not None))  # fmt: skip
    else:
        got = record(_op(name, fn, n), (static, lengths, order, len(hyper)), tuple(args), tuple(numbers))
    if type(got) is not tuple:
        got = (got,)
    k = 0
    journal = local.trace.journal
    slots = local.trace.slots
    for column in rebind:
        for t in column:
            new = got[k]
            old = t._value
            if new.meta.grad == LEAF:
                new.node = old.node
            if t._alias is None:
                if old.trace is None:
                    slot = slots.get(old)
                    if slot is not None:
                        journal.append((t, slot))
                t._value = new
            else:
                t._set(new)
            k += 1


_mixed: dict[tuple, Op] = {}


def _op_mixed(name: str, fn: Callable[..., Any], rebound: int, pattern: tuple[bool, ...]) -> Op:
    """As :func:`_op`, with some of the hyper-parameters given as tensors: merged back in order."""
    key = (name, fn, rebound, pattern)
    found = _mixed.get(key)
    if found is None:

        def merged(told: Any, lists: list, hyper: list) -> Any:
            n = sum(pattern)
            given, lifted = iter(hyper[:n]), iter(hyper[n:])
            return fn(told, lists, [next(given) if is_tensor else next(lifted) for is_tensor in pattern])

        found = _mixed[key] = _op(name, merged, rebound)
    return found


def step_boundary() -> None:
    """Execute what is pending, without waiting for it: an optimizer step has ended."""
    flush("an optimizer step ended")


def concrete_zeros(like: Tensor, dtype: Any = None, shape: tuple[int, ...] | None = None, fill: float = 0.0) -> Tensor:
    """A tensor of zeros (or ``fill``) that is an input of later programs, not part of them."""
    meta = like._value.meta
    kind = meta.dtype if dtype is None else dtype.numpy if isinstance(dtype, torch_dtype) else np.dtype(dtype)
    array = np.full(meta.shape if shape is None else tuple(shape), fill, kind)
    place = meta.place
    from .device import place_for

    if place != place_for("cpu") and not isinstance(place, str):
        import jax

        with jax.enable_x64(True):
            return Tensor._of(concrete(jax.device_put(array, place), place))
    return Tensor._of(concrete(array, place))
