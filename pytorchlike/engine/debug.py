"""Debugging: every operation is executed as soon as it is recorded, and its results are looked at.

A trace whose list of values is an :class:`_AtOnce` is executed whenever the results of an operation have been added to
it.  Nobody else pays for that: while nothing is being debugged, the list is a plain one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import errors
from . import trace as _trace
from .errors import describe, name_of, user_location
from .meta import SHAPE_ONLY, TRACED, Value
from .op import Wide
from .scope import settling
from .trace import Trace, flush, local
from .trie import Call, Reverse

#: The reason of executions that debugging asks for.
AT_ONCE = "each operation is executed at once"
_held = threading.local()


class Debug:
    """What is being looked for.  eager: each operation is executed at once;  nan, inf: and its results are examined."""

    def __init__(self) -> None:
        self.eager = self.nan = self.inf = False

    def set(self, eager: bool, nan: bool, inf: bool) -> None:
        """Switch on or off, for all threads from their next execution on, for this one now."""
        from .execute import raise_failed_checks

        flush("debugging is switched on or off")
        raise_failed_checks()
        self.eager, self.nan, self.inf = eager or nan or inf, nan, inf
        errors.at_once = self.eager
        _trace.watched_values = _AtOnce if self.eager else None
        if not local.trace.nested:
            local.trace = Trace(local.trace.mode)


debug = Debug()


class _AtOnce(list):
    """The values of a trace that is executed after each operation."""

    __slots__ = ("trace",)

    def __init__(self, trace: Trace) -> None:
        super().__init__([None])
        self.trace = trace

    def append(self, value: Value) -> None:
        super().append(value)
        trace = self.trace
        state = trace.state
        if (
            len(self) == state.n
            and type(state.entry) in (Call, Reverse)
            and trace is local.trace
            and not getattr(_held, "depth", 0)
            and not settling()
        ):
            _execute(trace, state.entry)


def _execute(trace: Trace, entry: Any) -> None:
    from .execute import raise_failed_checks

    values = trace.values
    outs = [values[s] for s in entry.out_slots]
    ins = [values[s] for s in entry.slots]
    given = _numbers(entry, trace) if type(entry) is Call else []
    flush(AT_ONCE)
    raise_failed_checks()
    if type(entry) is Call and (debug.nan or debug.inf):
        _look(entry, ins, given, outs)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Inside, what is recorded stays pending even while debugging: something is still to be attached to it."""
    if not debug.eager:
        yield
        return
    _held.depth = getattr(_held, "depth", 0) + 1
    try:
        yield
    finally:
        _held.depth -= 1
    if not _held.depth:
        flush(AT_ONCE)


# ---- NaN and infinities ----------------------------------------------------------------------------------------


def _numbers(call: Call, trace: Trace) -> list[Any]:
    """The Python numbers that a call takes."""
    out = [i[1] for i in call.ins if type(i) is tuple]
    wide = {float: trace.floats, complex: trace.complexes}
    return out + [wide[i.type][i.index] for i in call.ins if type(i) is Wide and i.type in wide]


def _count(value: Value, what: str) -> tuple[int, list[int] | None]:
    """(how many nan or inf a value has, where the first is)."""
    import jax

    meta, data = value.meta, value.data
    if data is None or meta.place in (SHAPE_ONLY, TRACED) or isinstance(data, jax.core.Tracer):
        return 0, None
    if not jax.dtypes.issubdtype(meta.dtype, np.inexact):
        return 0, None
    on_host = type(data) is np.ndarray or (_trace.platform_of(meta.place) == "cpu" and data.is_fully_addressable)
    with jax.enable_x64(True):
        if not on_host:
            n = int(getattr(jax.numpy, f"is{what}")(data).sum())
            if not n or not data.is_fully_addressable:
                return n, None
        array = np.asarray(data)
    if meta.dtype.kind == "V":  # bfloat16 and float8
        array = array.astype(np.float32)
    found = np.isnan(array) if what == "nan" else np.isinf(array)
    n = int(np.count_nonzero(found))
    return (n, [int(i) for i in np.argwhere(found)[0]]) if n else (0, None)


def _look(call: Call, ins: list[Value], given: list[Any], outs: list[Value]) -> None:
    """Raise for a nan that comes out of a call, or an inf that did not go into it."""
    from .grad import inspector

    what = ["nan"] * (debug.nan and not (inspector is not None and call.op.name.endswith(" backward")))
    for kind in what + ["inf"] * debug.inf:
        test = np.isnan if kind == "nan" else np.isinf
        if any(test(x) for x in given if isinstance(x, (float, complex))):
            continue  # asked for, as in masked_fill(mask, -inf)
        for k, value in enumerate(outs):
            n, first = _count(value, kind)
            if not n:
                continue
            before = [j for j, v in enumerate(ins) if _count(v, kind)[0]]
            if before and (kind == "inf" or call.op.alias or getattr(call.op.info, "view", None) is not None):
                continue
            raise RuntimeError(_message(call, ins, k, value, kind, n, first, before))


def _message(call: Call, ins: list[Value], k: int, value: Value, kind: str, n: int, first: Any, before: list) -> str:
    which = f" in its result {k}" if len(call.outs) > 1 else ""
    where = f", the first at {first}" if first else ""
    came = (
        f"Input {before[0]} has {kind} already: it was in the data, or made before it was looked for."
        if before else f"None of its inputs has {kind}."
    )  # fmt: skip
    told = ", ".join(_range(v) for v in ins) or "none"
    return (
        f"{name_of(call.op.name)} returned {n} {kind} among {value.meta.size} values of {_kind(value)}{which}{where}. "
        f"{came} Inputs: {told}. At {describe(user_location())}"
    )


def _kind(value: Value) -> str:
    return f"{value.meta.dtype}{list(value.meta.shape)}"


def _range(value: Value) -> str:
    """Type, shape and range of an input."""
    import jax

    data = value.data
    known = type(data) is np.ndarray or getattr(data, "is_fully_addressable", False)
    if not known or not value.meta.size or value.meta.dtype.kind not in "fiub":
        return _kind(value)
    with jax.enable_x64(True):
        array = np.asarray(data)
    finite = array[np.isfinite(array)]
    return f"{_kind(value)} from {finite.min():.4g} to {finite.max():.4g}" if finite.size else _kind(value)


__all__ = ["AT_ONCE", "Debug", "debug", "held_back"]
