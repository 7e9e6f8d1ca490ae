"""Forward-mode differentiation: dual tensors, whose tangents operations carry along.

Within a dual level the recorded calls are gone through once more, portion by portion, and the Jacobian-vector product
of each call that takes a dual value is recorded behind them.  So tangents follow whatever is recorded: in-place
operations, views, code under ``no_grad``, reverse passes.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..engine import Value, get_mode, local, record, set_mode
from ..engine.forward import _jvp_op
from ..engine.grad import DETACH, _plain, step_info
from ..engine.op import Wide
from ..engine.scope import Scope, settle
from ..engine.trace import _VECTORS
from ..engine.trie import Call
from ..tensor import Tensor
from ..tensor._values import SAME
from .nodes import CUSTOM

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """What :func:`unpack_dual` gives: a tensor, and its tangent or None."""

    primal: Tensor
    tangent: Tensor | None


class _Level(Scope):
    """An open dual level: the tangents of values, by value as long as these are in use."""

    steps = True

    def __init__(self) -> None:
        super().__init__()
        self.tangents: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
        #: the tensors that were given as tangents, by the values that carry them
        self.given: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
        #: (some result, tangents by slot) of executed traces, for reverse passes over what is left of them
        self.kept: list[tuple[Any, dict[int, Value]]] = []
        self.enabled = True

    def tangent(self, value: Value) -> Value | None:
        found = self.tangents.get(value)
        if found is None and self.kept and type(value.node) is tuple:
            segment, slot = value.node
            for ref, table in self.kept:
                result = ref()
                if result is not None and type(result.node) is tuple and result.node[0] is segment:
                    return table.get(slot)
        return found

    def portion(self, trace: Any, calls: list[Call], executing: bool) -> None:
        if self.enabled:
            values = trace.values
            mode = get_mode()
            try:
                for call in calls:
                    if call.op is not DETACH and call.op.info is not CUSTOM:
                        self.carry(trace, values, call)
            finally:
                set_mode(mode)
            self.skip()
            if executing:
                self.prune(trace)

    def carry(self, trace: Any, values: list, call: Call) -> None:
        """Tangents of the results of a call."""
        given = [self.tangent(values[s]) for s in call.slots]
        if not any(t is not None for t in given):
            return
        if call.op.alias:
            self.tangents[values[call.first]] = given[0]
            return
        present = tuple([m.dtype.kind in "fcV" for m in call.outs])
        if not any(present):
            return
        arrays: list[Any] = []
        numbers, wrt, tangents = [], [], []
        position = k = 0
        for i in call.ins:
            if type(i) is int:
                arrays.append(values[i])
                if given[k] is not None:
                    wrt.append(position)
                    tangents.append(given[k])
                k += 1
                position += 1
            elif type(i) is Wide:
                numbers.append(_plain(i.type, getattr(trace, _VECTORS[i.type])[i.index]))
                position += 1
        set_mode(call.mode.replace(autocast=None, scoped=False))
        op = _jvp_op(call.kernel, tuple(wrt), present, step_info(call, True))
        got = record(op, (), (*arrays, *tangents), tuple(numbers))
        got = iter(got if type(got) is tuple else (got,))
        for s, has in zip(call.out_slots, present, strict=True):
            if has:
                self.tangents[values[s]] = next(got)

    def prune(self, trace: Any) -> None:
        """Forget tangents of what nobody can ask for: what is held would be results of the program."""
        graph = trace.state.graph()
        table: dict[int, Value] = {}
        kept = None
        for e in graph.entries:
            if type(e) is Call and e.tracked:
                for s in (*e.slots, *e.out_slots):
                    t = self.tangents.get(trace.values[s])
                    if t is not None:
                        table[s] = t
        values = trace.values
        for s in range(1, len(values)):
            alone = sys.getrefcount(values[s]) <= 2
            if not alone and s in table and graph.metas[s].grad == 2 and kept is None:
                kept = weakref.ref(values[s])
            if alone and s not in table:
                self.tangents.pop(values[s], None)
        if kept is not None:
            self.kept.append((kept, table))


def _level() -> _Level | None:
    for scope in local.scopes:
        if type(scope) is _Level:
            return scope
    return None


def __getattr__(name: str) -> int:
    if name == "_current_level":  # of the running thread; libraries look whether it is negative
        return -1 if _level() is None else 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def enter_dual_level() -> int:
    """Open a dual level; returns its number, 0.  RuntimeError if one is open: they cannot be nested."""
    if _level() is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _Level().open()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the dual level and forget all tangents.  RuntimeError if none is open."""
    found = _level()
    if found is None:
        raise RuntimeError("Dual level must be a positive number.")
    if level not in (None, 0):
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was created.")
    found.skip()
    local.scopes.remove(found)
    found.tangents.clear()
    found.given.clear()


class dual_level:
    """Context in which dual tensors can be made; when it ends their tangents are forgotten."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()

    def __call__(self, fn: Any) -> Any:
        import functools

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with dual_level():
                return fn(*args, **kwargs)

        return wrapped


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor with the data and history of ``tensor`` that carries ``tangent`` along.

    Raises RuntimeError outside a dual level, for tensors of different sizes and for a dual ``tensor``, ValueError for
    tensors that are not floating point or complex.
    """
    found = _level()
    if found is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for what, t in (("primal", tensor), ("tangent", tangent)):
        if not (t.is_floating_point() or t.is_complex()):
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {t.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )
    settle()
    value = tensor._get()
    if found.tangent(value) is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not "
            "supported."
        )
    if value.data is not None and not value.meta.grad:
        tensor.jax()  # operations on host values would not be recorded
    dual = record(SAME, (), (value,))
    found.skip()
    if tangent.dtype == tensor.dtype and tangent.stride() == tensor.stride():
        found.given[dual] = tangent
    found.tangents[dual] = (tangent if tangent.dtype == tensor.dtype else tangent.to(tensor.dtype))._get()
    return Tensor._of(dual)


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The tensor without its tangent, and the tangent (None if there is none, or no dual level is open)."""
    found = _level()
    if found is None:
        return UnpackedDualTensor(tensor, None)
    settle()
    value = tensor._get()
    tangent = found.tangent(value)
    if tangent is None:
        return UnpackedDualTensor(tensor, None)
    primal = record(SAME, (), (value,))
    found.skip()
    given = found.given.get(value)
    same = given is not None and given._get() is tangent  # else it was written to since
    return UnpackedDualTensor(Tensor._of(primal), given if same else Tensor._of(tangent))


@contextmanager
def _set_fwd_grad_enabled(mode: bool) -> Iterator[None]:
    """Whether operations carry tangents along."""
    found = _level()
    if found is None:
        yield
        return
    settle()
    before, found.enabled = found.enabled, mode
    try:
        yield
    finally:
        settle()
        found.skip()
        found.enabled = before


def _is_fwd_grad_enabled() -> bool:
    found = _level()
    return found is None or found.enabled


# ---- custom functions --------------------------------------------------------------------------------------------


def tangents_of(values: list) -> list | None:
    """Tangents of values (None: no value, or no tangent); None if there are none at all."""
    if not local.scopes:
        return None
    found = _level()
    if found is None or not found.enabled:
        return None
    settle()
    tangents = [None if v is None else found.tangent(v) for v in values]
    return tangents if any(t is not None for t in tangents) else None


def apply_jvp(cls: Any, ctx: Any, tensors: list, tangents: list, result: list) -> None:
    """Give the results of a custom function the tangents that its ``jvp`` tells."""
    found = _level()
    given = [
        Tensor._of(t) if t is not None
        else x.new_zeros(x.shape) if x is not None and ctx._materialize and x.is_floating_point() else None
        for x, t in zip(tensors, tangents, strict=True)
    ]  # fmt: skip
    out = ctx.jvp_of(cls, given)
    out = out if isinstance(out, tuple) else (out,)
    if len(out) != len(result):
        raise RuntimeError(
            f"{cls.__name__}.jvp returned {len(out)} tangents for {len(result)} outputs of its forward function"
        )
    settle()
    for r, t in zip(result, out, strict=True):
        if isinstance(r, Tensor) and t is not None:
            if t.shape != r.shape:
                raise RuntimeError(
                    f"{cls.__name__}.jvp returned a tangent of {list(t.shape)} for an output of {list(r.shape)}"
                )
            found.tangents[r._get()] = t._get()


