"""Recording one pure update of many tensors, as optimizers do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import Leaf, Op, Value, concrete, flush, local
from ..engine.meta import LEAF
from ..engine.op import Lifted, Wide
from ._tensor import Tensor
from .dtype import dtype as torch_dtype

_ops: dict[tuple[str, Callable, int], Op] = {}


def _op(name: str, fn: Callable[..., Any], rebound: int) -> Op:
    key = (name, fn, rebound)
    found = _ops.get(key)
    if found is None:

        def run(static: Any, args: tuple) -> tuple:
            told, lengths, order = static
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


class _Told(tuple):
    """The static argument of a recorded update, interned in ``_plans``: its identity stands for its contents."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


_plans: dict[tuple, tuple[Op, _Told, tuple[int, ...]]] = {}


def _plan(key: tuple) -> tuple[Op, _Told, tuple[int, ...]]:
    """The operation, its static argument and the order of the lists for one kind of update."""
    name, fn, static, lengths, first, pattern = key
    order = (*first, *[k for k in range(len(lengths)) if k not in first])
    n = sum(lengths[k] for k in first)
    op = _op(name, fn, n) if pattern is None else _op_mixed(name, fn, n, pattern)
    if len(_plans) > 10_000:
        _plans.clear()
    found = _plans[key] = (op, _Told((static, lengths, order)), order)
    return found


def record_update(
    name: str, fn: Callable[..., Any], static: Any, tensors: Sequence[Sequence[Tensor]], hyper: Sequence[Any],
    rebind: Sequence[Sequence[Tensor]], source: Any = None,
) -> None:  # fmt: skip
    """Record ``fn(static, lists of arrays, 0-d arrays) -> lists of arrays`` and put the results into ``rebind``.

    ``rebind`` are some of the lists of ``tensors``, in their order; results replace their tensors' values in place,
    outside autograd, and leaves stay leaves.  ``hyper`` are run-time inputs (numbers, or 0-dim tensors); ``source``:
    the optimizer and its group that give them anew at each step, for recordings that are replayed.
    """
    # once per step of every training loop: the recording is written out here
    ids = [id(c) for c in tensors]
    first = tuple([ids.index(id(c)) for c in rebind])
    numbers: list[float] = []
    held: list[Tensor] = []
    pattern = None
    for h in hyper:
        if h.__class__ is float:
            numbers.append(h)
        elif isinstance(h, Tensor):
            held.append(h)
        else:
            numbers.append(float(h))
    if held:
        pattern = tuple([isinstance(h, Tensor) for h in hyper])
    key = (name, fn, static, tuple([len(c) for c in tensors]), first, pattern)
    op, told, order = _plans.get(key) or _plan(key)
    args = [t._value if t._alias is None else t._fresh() for k in order for t in tensors[k]]
    if held:
        args += [h._get() for h in held]
    trace = local.trace
    slots = trace.slots
    if not trace.nested:
        fresh = [v for v in args if v.trace is None and v not in slots]
        if len(fresh) > 8:
            trace.enter_all(list(dict.fromkeys(fresh)))
    ins = [v.slot if v.trace is trace else slots.get(v) or trace.add_input(v) for v in args]
    spot = (op, told, *ins)
    floats = trace.floats
    at = len(floats)
    floats += numbers
    if trace.nested and numbers:
        trace.numbered(at, source)
    state = trace.state.next.get(spot)
    if state is None:
        wide = [Wide(float, i) for i in range(at, len(floats))]
        trace, state = trace.miss(spot, op, told, (*ins, *wide))
        ins = [trace.slot_of(v) for v in args]  # the pending work may have been executed first
    trace.state = state
    values, journal = trace.values, trace.journal
    metas = state.meta
    if metas.__class__ is not tuple:
        metas = (metas,)
    shared = []
    slot = len(values)
    k = 0
    for column in rebind:
        for t in column:
            value = Value()
            value.trace = trace
            value.slot = slot + k
            value.data = None
            meta = value.meta = metas[k]
            values.append(value)
            old = t._value
            value.node = old.node if meta.grad == LEAF else None
            if t._alias is None:
                if old.trace is not trace:
                    journal.append((t, ins[k]))
                t._value = value
            else:
                shared.append((t, value))
            k += 1
    for t, value in shared:
        t._set(value)


def with_grads(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that have a gradient, and the gradients."""
    having, grads = [], []
    for t in tensors:
        node = (t._value if t._alias is None else t._fresh()).node
        grad = node.grad if node.__class__ is Leaf else t.grad
        if grad is not None:
            having.append(t)
            grads.append(grad)
    return having, grads


def drop_grads(tensors: Sequence[Tensor]) -> None:
    """Set every ``.grad`` to None."""
    trace = local.trace
    for t in tensors:
        node = (t._value if t._alias is None else t._fresh()).node
        if node.__class__ is Leaf:
            node.grad = None
            if trace.nested:
                trace.clear(node)
        else:
            t.grad = None


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


class _Held(threading.local):
    depth = 0


_held = _Held()


def step_boundary() -> None:
    """Execute what is pending, without waiting for it: an optimizer step has ended."""
    if not _held.depth:
        flush("an optimizer step ended")


@contextmanager
def held_boundary() -> Iterator[None]:
    """Inside, :func:`step_boundary` does nothing: something that belongs to the same program follows."""
    _held.depth += 1
    try:
        yield
    finally:
        _held.depth -= 1


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
