"""Writes to small tensors in host memory, made by NumPy at once.

Programs fill tensors element by element, ``x[i][0][letter] = 1`` or ``batch[i, :n] = row``.  Recorded, each write would
be a step of the program, and another number of writes another program to compile.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Value, concrete, local, unwatched
from ..engine.host import hold
from ..engine.trie import Call
from ..ops._table import METHODS
from ._cell import SEEN
from ._tensor import Tensor
from .device import place_for
from .storage import SMALL, through_array

#: Steps back to the factory that made a tensor nobody has computed yet.
NEAR = 64
_FILLS = {"zeros": 0, "empty": 0, "ones": 1}
_GETITEM = METHODS["_getitem"]


def write(t: Tensor, starts: tuple, spec: tuple, value: Any) -> bool:
    """``t[…] = value``, with the index taken to pieces as for ``_getitem``; False if that has to be recorded.

    value: a number or a tensor.  Bad ones are left to the operation, which tells what is wrong with them.
    """
    alias = t._alias
    if alias is None:
        base, chain = t._value, ()
    elif alias.storage.host is not None:
        return _write_shared(t, starts, spec, value)
    elif alias.leaf is None and not alias.detached and alias.storage.late is None:
        base, chain = alias.storage.value, alias.chain
    else:
        return False
    meta = base.meta
    if meta.guarded or meta.nbytes > SMALL or meta.place is not place_for("cpu"):
        return False
    if not unwatched():
        return False
    if isinstance(value, Tensor):
        value = _host_value(value)
        if value is None:
            return False
    elif value.__class__ is float and meta.dtype.kind in "iu" and not abs(value) < 2**31:
        return False
    if base.data.__class__ is np.ndarray:
        data = base.data.copy()
    else:
        fill = _filled(base)
        if fill is None:
            return False
        data = np.full(meta.shape, fill, meta.dtype)
    if any(step.entry.op_put is None for step in chain):
        return False
    view = through_array(data, chain)
    view = _GETITEM.fn(**_GETITEM.bind((len(starts), spec), (view, *starts)))
    if not _assign(view, data, value):
        return False
    t._set_base(concrete(data, meta.place))
    return True


def holds(t: Tensor) -> bool:
    """Whether NumPy holds a tensor, or is about to: :func:`hold_counters`."""
    value, alias = t._value, t._alias
    if t._borrowed:
        return alias.leaf is None and alias.of is None
    return not value.meta.grad and (value.data.__class__ is np.ndarray or alias is None and _fill_of(value) is not None)


def hold_counters(t: Tensor) -> None:
    """Have NumPy hold a small tensor that has been computed, or that a factory is still to make, since a single element
    of it is asked for.

    So it is with the counts of a confusion matrix, and whatever else is written to element by element.
    """
    if t._alias is not None:
        return
    value = t._value
    meta = value.meta
    if value.data is None:
        fill = _fill_of(value)
        if fill is not None:
            t._value = concrete(np.full(meta.shape, fill, meta.dtype), meta.place)
    elif value.data.__class__ is not np.ndarray and meta.nbytes <= SEEN and not meta.guarded:
        if meta.place is place_for("cpu") and not local.trace.nested:
            hold(value)


def _fill_of(value: Value) -> int | None:
    """What a small value that is still to be made is filled with, if a factory of this thread makes it on the CPU."""
    meta = value.meta
    if meta.guarded or meta.nbytes > SMALL or meta.place is not place_for("cpu"):
        return None
    return _filled(value) if unwatched() else None


def _assign(view: np.ndarray, array: np.ndarray, value: Any) -> bool:
    """Write to a view of an array; False, and nothing written, where it is none or the value does not fit."""
    if view.size and not np.may_share_memory(view, array):
        return False
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            view[...] = value
    except (OverflowError, TypeError, ValueError):
        return False
    return True


def _write_shared(t: Tensor, starts: tuple, spec: tuple, value: Any) -> bool:
    """As :func:`write`, to memory that the user has, too, of which nothing but the part named is written to."""
    alias = t._alias
    trace = local.trace
    if alias.storage.lent or not unwatched():
        return False
    if t._value.meta.grad and trace.mode.grad:
        return False
    if isinstance(value, Tensor):
        if value._value.meta.grad and trace.mode.grad or value._value.meta.dtype != t._value.meta.dtype:
            return False
        value = value._host()
    elif value.__class__ is float and t._value.meta.dtype.kind in "iu":
        return False
    host = t._host_view()
    view = _GETITEM.fn(**_GETITEM.bind((len(starts), spec), (host, *starts)))
    if not isinstance(view, np.ndarray):  # a single element
        view = host[tuple(slice(i, i + 1 or None) for i in starts)].reshape(())
    if not _assign(view, host, value):
        return False
    t._count_write(alias)
    return True


def _host_value(given: Tensor) -> np.ndarray | None:
    """The array of a tensor that has been on the host all the time and is not on the tape."""
    value = given._get()
    data = value.data
    if data.__class__ is not np.ndarray or value.meta.guarded or data.dtype.kind == "c":
        return None
    return data


def _filled(base: Value) -> int | None:
    """What a tensor that is still to be made is filled with, if a factory makes it."""
    trace = local.trace
    if base.trace is not trace:
        return None
    state = trace.state
    for _ in range(NEAR):
        parent = state.parent
        if parent is None:
            return None
        if parent.n <= base.slot:
            entry = state.entry
            if entry.__class__ is Call and entry.first == base.slot and entry.op.info is not None:
                return _FILLS.get(getattr(entry.op.info, "name", None))  # type: ignore[arg-type]
            return None
        state = parent
    return None
