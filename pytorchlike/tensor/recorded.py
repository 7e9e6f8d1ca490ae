"""Recording one pure update of many tensors, as optimizers do."""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import Leaf, Op, Value, concrete, flush, local, policy
from ..engine.meta import LEAF
from ..engine.op import Lifted, Wide
from ..engine.shortcut import Shortcut
from ..engine.stats import stats
from ..engine.trace import Trace, spread
from ._cell import settled
from ._register import KINDS
from ._tensor import Tensor
from .composed import Composed
from .dtype import dtype as torch_dtype
from .wrapped import value_of

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


_plans: dict[tuple, Plan] = {}


class Plan:
    """One kind of update: its operation, the operation's static argument, and the order in which it takes the lists."""

    __slots__ = ("name", "fn", "op", "told", "order", "rebound")

    @staticmethod
    def of(
        name: str, fn: Callable[..., Any], static: Any, tensors: Sequence[Sequence[Tensor]],
        rebind: Sequence[Sequence[Tensor]],
    ) -> Plan:  # fmt: skip
        """The plan of :func:`record_update` with these arguments, lists of the same lengths, the same ones rebound."""
        ids = [id(c) for c in tensors]
        first = tuple([ids.index(id(c)) for c in rebind])
        lengths = tuple([len(c) for c in tensors])
        key = (name, fn, static, lengths, first)
        plan = _plans.get(key)
        if plan is None:
            if len(_plans) > 10_000:
                _plans.clear()
            plan = _plans[key] = Plan()
            plan.name, plan.fn = name, fn
            plan.order = (*first, *[k for k in range(len(lengths)) if k not in first])
            plan.rebound = sum(lengths[k] for k in first)
            plan.op = _op(name, fn, plan.rebound)
            plan.told = _Told((static, lengths, plan.order))
        return plan


def record_update(
    name: str, fn: Callable[..., Any], static: Any, tensors: Sequence[Sequence[Tensor]], hyper: Sequence[Any],
    rebind: Sequence[Sequence[Tensor]], source: Any = None,
) -> None:  # fmt: skip
    """Record ``fn(static, lists of arrays, 0-d arrays) -> lists of arrays`` and put the results into ``rebind``.

    ``rebind`` are some of the lists of ``tensors``, in their order; results replace their tensors' values in place,
    outside autograd, and leaves stay leaves.  ``hyper`` are run-time inputs (numbers, or 0-dim tensors); ``source``:
    the optimizer and its group that give them anew at each step, for recordings that are replayed.
    """
    record_planned(Plan.of(name, fn, static, tensors, rebind), tensors, hyper, rebind, source)


def record_planned(
    plan: Plan, tensors: Sequence[Sequence[Tensor]], hyper: Sequence[Any], rebind: Sequence[Sequence[Tensor]],
    source: Any = None, followers: Sequence[Tensor] = (),
) -> None:  # fmt: skip
    """:func:`record_update` for a plan that is known.

    ``followers`` have the same value as the last tensor of ``rebind``, and get its new one.
    """
    try:
        recorded = _planned(plan, tensors, hyper, source, len(followers))
    except KeyboardInterrupt:
        local.trace.mend()
        raise
    if recorded is None:
        return
    trace, args, ins, made = recorded
    journal = trace.journal
    rebound = [t for column in rebind for t in column]
    for t, old, at, value in zip(rebound, args, ins, made, strict=False):  # what is rebound comes first in args
        if t._alias is None:
            if old.trace is not trace and value.trace is trace:  # else it was executed at once
                journal.append((t, at))
            t._value = value
        else:
            t._set(value)
    if followers:
        value = rebound[-1]._get()
        for t in followers:  # values are immutable, so this shares no storage
            t._value = value
            t._alias = None


def _planned(
    plan: Plan, tensors: Sequence[Sequence[Tensor]], hyper: Sequence[Any], source: Any, followers: int
) -> tuple[Any, list[Value], list[int], list[Value]] | None:  # fmt: skip
    """Record the operation: the trace, what it takes, the slots of that, and its results; None if it was called."""
    # once per step of every training loop: the recording is written out here
    numbers: list[float] = []
    held: list[Tensor] = []
    for h in hyper:
        if h.__class__ is float:
            numbers.append(h)
        elif isinstance(h, Tensor):
            held.append(h)
        else:
            numbers.append(float(h))
    op, told = plan.op, plan.told
    args = _values([t for k in plan.order for t in tensors[k]])
    if not held and _alone(args) and _called(plan, args, numbers, followers):
        return None
    if held:
        op = _op_mixed(plan.name, plan.fn, plan.rebound, tuple([isinstance(h, Tensor) for h in hyper]))
        args += [h._get() for h in held]
    trace = local.trace
    slots = trace.slots
    ins = None
    if not trace.nested:
        fresh = [v for v in args if v.trace is None and v not in slots]
        if len(fresh) > 8:
            n = len(trace.values)
            trace.enter_all(fresh)
            if len(fresh) == len(args) == len(trace.values) - n:
                ins = list(range(n, n + len(args)))
    if ins is None:
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
    metas = state.meta
    if metas.__class__ is not tuple:
        metas = (metas,)
    values = trace.values
    made = []
    slot = len(values)
    for old, meta in zip(args, metas, strict=False):  # what is rebound comes first in args
        value = Value()
        value.trace = trace
        value.slot = slot
        value.meta = meta
        value.data = None
        value.node = old.node if meta.grad == LEAF else None
        slot += 1
        made.append(value)
    trace.state = state
    values += made[:-1]
    values.append(made[-1])  # by itself: the list may be one that looks whether all results are there
    return trace, args, ins, made


#: Values from which on an update of values that are there is a program of its own, whatever is pending.
_MANY = 64


def _alone(args: list[Value]) -> bool:
    """Whether an update is to be the beginning of a trace, and perhaps all of it; what is pending is executed then."""
    trace = local.trace
    if _held.depth or trace.nested:
        return False
    if len(trace.values) == 1:
        return True
    if len(args) < _MANY or args[-1].data is None or stats.observers or type(trace) is not Trace:
        return False
    if any(v.data is None for v in args):
        return False
    flush("an update of values that are there follows")
    return True


def _called(plan: Plan, args: list[Value], numbers: list[float], followers: int) -> bool:
    """Call the program of a trace that is nothing but this update of values that are there, if it is known.

    Nobody but its tensors hold what is replaced, so that the handle itself takes the new array.
    """
    metas = tuple([v.meta for v in args])
    at = local.trace.state.next.get(metas)  # as values enter a trace all at once
    state = None if at is None else at.next.get((plan.op, plan.told, *range(1, len(args) + 1)))
    shortcut = None if state is None else Shortcut.of(state, len(args))
    if shortcut is None or shortcut.given != shortcut.outs or shortcut.metas != metas[: plan.rebound]:
        return False

    def replace(arrays: list[Any]) -> None:
        for k, array in zip(shortcut.outs, arrays, strict=False):
            args[k].data = array

    return shortcut.run(args, ([], numbers, []), replace, {plan.rebound - 1: 1 + followers}) is not None


_alias, _value, _node = map(operator.attrgetter, ("_alias", "_value", "_value.node"))


def _unshared(tensors: Iterable[Tensor]) -> bool:
    """Whether each of them has its value to itself."""
    return not any(map(_alias, tensors))


def _values(tensors: list[Tensor]) -> list[Value]:
    """The present values."""
    return [*map(_value, tensors)] if _unshared(tensors) else [settled(t)._fresh() for t in tensors]


def with_grads(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that have a gradient, and the gradients."""
    nodes = list(map(_node, tensors)) if _unshared(tensors) else [value_of(t).node for t in tensors]
    grads = [n.grad if n.__class__ is Leaf else t.grad for n, t in zip(nodes, tensors, strict=True)]
    if local.trace.nested:
        for n in nodes:
            local.trace.asked(n)
    if all(map(operator.is_not, grads, itertools.repeat(None))):
        return list(tensors), grads
    having = [k for k, g in enumerate(grads) if g is not None]
    return [tensors[k] for k in having], [grads[k] for k in having]


def by_place(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors in groups that one operation can take: of one device each; composed ones (sparse, say) alone."""
    groups: dict[Any, list[Tensor]] = {}
    for t in tensors:
        alone = bool(KINDS) and isinstance(t, Composed)
        groups.setdefault(id(t) if alone else t._value.meta.place, []).append(t)
    return list(groups.values())


def _scaled(static: None, lists: list[list[Any]], hyper: list[Any]) -> list[list[Any]]:
    import jax.numpy as jnp

    tensors, (factor,) = lists
    factor, results = factor.reshape(()), []
    for t in tensors:
        kind = jnp.promote_types(t.dtype, factor.dtype)
        results.append((t.astype(kind) * factor.astype(kind)).astype(t.dtype))
    return [results]


def scale_all(tensors: Sequence[Tensor], factor: Tensor) -> None:
    """Multiply tensors of one device in place by a tensor (), outside autograd.

    Recorded as one operation, but for those to whose history it matters that they are written to.
    """
    plain = []
    for t in tensors:
        if KINDS and isinstance(t, Composed) or t._get().meta.guarded:
            t.mul_(factor)
        else:
            plain.append(t)
    if plain:
        record_update("scale_all", _scaled, None, [plain, [factor]], [], [plain])


def drop_grads(tensors: Sequence[Tensor]) -> None:
    """Set every ``.grad`` to None."""
    trace = local.trace
    for t in tensors:
        node = (t._value if t._alias is None else value_of(t)).node
        if node.__class__ is Leaf:
            if trace.nested:
                trace.clear(node)
            node.grad = None
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


def initial_boundary(tensors: Iterable[Any]) -> None:
    """They are going to be trained; execute what is pending if ``tensors`` are still being initialised by it.

    Else it would be executed where the first of them is used, together with what the first step made of its data until
    then, and the program of that step would be another than that of the following ones.
    """
    policy.trains()
    trace = local.trace
    if any((t._value if t._alias is None else value_of(t)).trace is trace for t in tensors
           if not isinstance(t, Composed)):
        flush("parameters were given to an optimizer")


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
    place = meta.place if shape is None else spread(meta.place)
    from .device import place_for

    if place != place_for("cpu") and not isinstance(place, str):
        import jax

        with jax.enable_x64(True):
            return Tensor._of(concrete(jax.device_put(array, place), place))
    return Tensor._of(concrete(array, place))
