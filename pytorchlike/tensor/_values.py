"""Values of tensors: on the tape and off it, at a device, on the host; what notes that one is replaced."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Leaf, Op, Value, concrete, local, make_value, own, peek, read, record, set_mode, tell_once
from ..engine.grad import DETACH
from ..engine.meta import LEAF, NO_GRAD, SHAPE_ONLY, meta_of
from ..engine.nested import Unknown
from ..engine.trace import platform_of
from ..ops._table import cast_result
from .device import device, from_jax_device, place_for

# Aliases known to the engine: the result is the argument itself.
AS_LEAF = Op("leaf", lambda static, args: args[0], alias=True, leaf=True, saves=False)
SAME = Op("alias", lambda static, args: args[0], alias=True, saves=False)


def _straight(static: Any, args: tuple) -> Any:
    import jax

    @jax.custom_jvp
    def replaced(new: Any, old: Any) -> Any:
        return new

    replaced.defjvp(lambda primals, tangents: (primals[0], tangents[1]))
    return replaced(args[0], args[1])


#: The new data of a tensor, written where gradients are off, with the history of the old.
STRAIGHT = Op("written without gradient", _straight, saves=False)

_CAST = Op("cast", lambda static, args: cast_result("out", args[0], static), saves=False)

_devices: dict[Any, device] = {}


def _device_of(place: Any) -> device:
    if place == SHAPE_ONLY:
        return device("meta")
    if isinstance(place, str):
        return device("cpu")
    if hasattr(place, "device_set"):
        place = min(place.device_set, key=lambda d: d.id)
    return from_jax_device(place)


def _note_write(owner: Any, old: Value) -> None:
    """Have the pending trace remember what ``owner`` held before it is replaced, if need be, to undo a failure."""
    trace = local.trace
    if old.trace is not trace:
        slot = _slot_before(trace, old)
        if slot is not None:
            trace.journal.append((owner, slot))


def _slot_before(trace: Any, old: Value) -> int | None:
    """Slot of a value that is about to be replaced, if the trace must remember it to undo the write."""
    slot = trace.slots.get(old)
    if trace.nested:
        return None if old in trace.own else trace.add_input(old) if slot is None else slot
    return slot


def _made_now(meta: Any) -> Any:
    """The meta of a plain value that is made in the present mode of the same data."""
    inference = local.trace.mode.inference
    if meta.inference == inference:
        return meta
    return meta_of(meta.shape, meta.dtype, meta.place, meta.grad, inference)


def host_value(array: np.ndarray) -> Value:
    """A NumPy array that nobody else writes to, as a value made in the present mode."""
    value = own(concrete(array, place_for("cpu")))
    value.meta = _made_now(value.meta)
    return value


def told_by_handle() -> bool:
    """Whether somebody looks at what is recorded, or it is used again, so that a value must keep its handle."""
    trace = local.trace
    return bool(local.scopes) or trace.nested or trace.replayed


def _plain(value: Value) -> Value:
    """The value without its history."""
    if not value.meta.grad and not local.scopes:  # a scope may tell it from the other by its identity
        return value
    if value.data is not None and value.trace is None:
        return make_value(value.meta.with_grad(NO_GRAD), value.data)
    return record(DETACH, (), (value,))


def _kept_apart(value: Value) -> Value:
    """The value without its history, by a handle of its own where a program has computed it.

    Who keeps that one (a state dict, a copy) does not keep the tensor's: what the next step replaces can be given to
    its program as before, which copies an array that somebody still holds, and need not be compiled anew.
    """
    plain = _plain(value)
    if plain is not value or value.data is None or type(value.data) is np.ndarray:
        return plain  # what lies on the host is copied to its device once for each handle
    if told_by_handle() or hasattr(value, "found"):
        return plain
    return make_value(value.meta, value.data)


def _leaf_of(owner: Any) -> Leaf:
    """Where the gradients of this tensor end: the graph leads back to it."""
    leaf = Leaf()
    leaf.owner = weakref.ref(owner)
    return leaf


def _as_leaf(value: Value, leaf: Leaf) -> Value:
    """The value as that of a leaf."""
    if value.data is not None and value.trace is None:
        return make_value(value.meta.with_grad(LEAF), value.data, leaf)
    new = record(AS_LEAF, (), (value,))
    new.node = leaf
    return new


def _straightened(new: Value, old: Value) -> Value:
    """``new`` where ``old`` was on the tape: gradients flow on as if nothing had been written."""
    return _on_tape(record, STRAIGHT, (), (new, old))


def _on_tape(call: Callable[..., Value], *args: Any) -> Value:
    """``call(*args)`` recorded with gradients, whichever mode the caller is in."""
    mode = local.trace.mode
    if mode.grad:
        return call(*args)
    set_mode(mode.replace(grad=True))
    try:
        return call(*args)
    finally:
        set_mode(mode)


#: Bytes on an accelerator above which only what is shown of them is fetched.
_FETCHED = 1 << 24


def _peek_host(value: Value, edges: tuple | None = None) -> np.ndarray | None:
    """The array on the host, or only what ``edges`` says of a large one on an accelerator; None if there is no data."""
    if value.meta.place == SHAPE_ONLY:
        return None
    try:
        if local.trace.replayed:
            local.trace.read(value)
        data = peek(value) if value.data is None else value.data
    except Unknown:
        return f"not known here, size={value.meta.shape}"  # type: ignore[return-value]
    except Exception as error:
        wrong = error
    else:
        wrong = None
    if wrong is not None:  # told outside of that clause, as one error
        try:
            tell_once(value)
            raise wrong
        finally:
            del wrong
    import jax

    if isinstance(data, jax.core.Tracer):
        return data
    with jax.enable_x64(True):
        far = type(data) is not np.ndarray and data.nbytes > _FETCHED and platform_of(value.meta.place) != "cpu"
        for axis, index in enumerate(edges or ()) if far else ():
            data = data if index is None else jax.numpy.take(data, index, axis)
        return np.asarray(data)


#: Copies on their way to a device, and to which; by the values that they are copies of.
_under_way: weakref.WeakKeyDictionary[Value, tuple[Any, Any]] = weakref.WeakKeyDictionary()


def start_transfer(value: Value, place: Any) -> None:
    """Begin to copy a host value to a device, for the first :func:`transfer` of it there."""
    import jax

    if type(value.data) is np.ndarray and not value.meta.grad and value not in _under_way:
        with jax.enable_x64(True):
            _under_way[value] = place, jax.device_put(value.data, place)


def transfer(value: Value, place: Any) -> Value:
    """The data at another place, without history."""
    import jax

    if _under_way:
        found, copy = _under_way.pop(value, (None, None))
        if found is place:
            return concrete(copy, place)
    data = read(value)
    with jax.enable_x64(True):
        return concrete(jax.device_put(data, place), place)
