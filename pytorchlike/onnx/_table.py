"""The table of operators: for each its one place where it is written as ONNX operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..export._graph import arguments
from ..export._recording import SEED, Number, Ref, Step
from ..ops._table import Array, Arrays, OpDef, Operand
from ..tensor.dtype import python_number_dtype, result_type_of
from ._builder import Builder, V
from .errors import UnsupportedOperatorError

__all__ = ["LOWERED", "Args", "UnsupportedOperatorError", "lower", "lowers", "refuse"]

#: By the operator's name, ``function(builder, args) -> V or tuple of V``.
LOWERED: dict[str, Callable[[Builder, Any], Any]] = {}
Lowering = Callable[[Builder, Any], Any]


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Enter a function for operators of these names."""

    def enter(fn: Lowering) -> Lowering:
        for name in names:
            if name in LOWERED:
                raise ValueError(f"{name} is in the table twice")
            LOWERED[name] = fn
        return fn

    return enter


class Out(NamedTuple):
    """A result as recorded."""

    shape: tuple
    dtype: Any


class Args:
    """The arguments of a call as attributes: V, None, numbers, static values; ``outs`` of the results.

    Operands of operators with promotion are V in the common dtype. A parameter ``step`` is ``step_``.
    """

    def __init__(self, step: Step, told: dict[str, Any]) -> None:
        self.__dict__.update({f"{k}_" if k == "step" else k: v for k, v in told.items()})
        self.step = step
        self.outs = [Out(shape, dtype) for shape, dtype in step.outs]

    @property
    def out(self) -> Out:
        """The first result."""
        return self.outs[0]


def refuse(b: Builder, step: Step, why: str) -> UnsupportedOperatorError:
    """The error for a use of an operator that ONNX has no way to write."""
    return UnsupportedOperatorError(f"torch.onnx.export: operator {step.where}, ONNX opset {b.opset}: {why}")


def name_of(entry: OpDef) -> str:
    """The operator's name in the table; with its namespace where another operator may have the same name."""
    space = entry.namespaces[0] if entry.namespaces else ""
    return f"{space}.{entry.name}" if space in ("linalg", "fft", "special", "signal.windows") else entry.name


_ALIASES = ("detach", "alias", "leaf", "checkpoint", "written without gradient")


def lower(b: Builder, step: Step, values: dict[int, V]) -> tuple[V, ...]:
    """Write a call; its results."""
    if step.mode[0] is not None:
        raise refuse(b, step, "it was recorded under autocast; export outside of it, of a model in the dtype you want")
    entry = step.entry
    if entry is None:
        given = [values[a.slot] for a in step.args if type(a) is Ref]
        if step.op.name in _ALIASES and len(given) >= 1:
            return (given[0],) if len(step.outs) == 1 else tuple(given[: len(step.outs)])
        if step.op.name == "cast":
            return (b.cast(given[0], step.outs[0][1]),)
        raise refuse(b, step, "it is a Python function recorded as one operation (vmap, cond, scan, a custom "
                     "gradient), for which there is no ONNX operator; call what it does directly")  # fmt: skip
    fn = LOWERED.get(name_of(entry))
    if fn is None:
        raise refuse(b, step, "there is no rule for it; write it with other operators, or tell one by "
                     "custom_translation_table={name: function}")  # fmt: skip
    put = step.op is entry.op_put
    told = _told(b, step, entry, values, put)
    got = _put(b, fn, step, told) if put else fn(b, Args(step, told))
    outs = got if isinstance(got, tuple) else (got,)
    if len(outs) < len(step.outs):
        raise refuse(b, step, f"only the first {len(outs)} of its {len(step.outs)} results can be written")
    return tuple([
        _as_recorded(b, v, shape, dtype) for v, (shape, dtype) in zip(outs, step.outs, strict=False)
    ])  # fmt: skip


def _as_recorded(b: Builder, v: V, shape: tuple, dtype: Any) -> V:
    v = b.cast(v, dtype)
    return V(v.name, v.dtype, shape)


def _told(b: Builder, step: Step, entry: OpDef, values: dict[int, V], put: bool) -> dict[str, Any]:
    if put:  # (base, new, numbers): the view's arguments are those without ``new``
        new = step.args[1]
        step = step._replace(args=(step.args[0], *step.args[2:]), op=entry.op)
    told: dict[str, Any] = {}

    def value(x: Any) -> Any:
        if type(x) is Ref:
            return values[x.slot]
        if type(x) is Number:
            return x.value
        if x is SEED:
            raise AssertionError("keys are no arguments")
        return tuple([value(i) for i in x]) if type(x) is tuple else x

    for name, x in arguments(step):
        told[name] = value(x)
    if put:
        told["_new"] = values[new.slot] if type(new) is Ref else new.value
    if entry.promote is not None and not put:
        _promote(b, step, entry, told)
    return told


def _promote(b: Builder, step: Step, entry: OpDef, told: dict[str, Any]) -> None:
    """Bring operands to their common dtype, as the operator does before its body."""
    names = [p.name for p in entry.params if p.kind in (Array, Operand) and told[p.name] is not None]
    groups = [p.name for p in entry.params if p.kind is Arrays and told[p.name] is not None]
    items = []
    for x in [*(told[n] for n in names), *(x for g in groups for x in told[g])]:
        if isinstance(x, V):
            items.append((x.dtype, x.rank, False))
        else:
            kind = x if isinstance(x, (bool, int, float, complex)) else 1 if not hasattr(x, "power") else 1.0
            items.append((python_number_dtype(kind), 0, True))
    target = np.dtype(result_type_of(items))
    if entry.promote == "float" and target.kind in "biu":
        target = np.dtype(step.mode[1])
    for n in names:
        told[n] = b.tensor(told[n], target)
    for g in groups:
        told[g] = tuple([b.cast(x, target) for x in told[g]])


def _put(b: Builder, fn: Lowering, step: Step, told: dict[str, Any]) -> V:
    """What a view shows replaced by ``_new``: the view is taken of the elements' positions."""
    entry = step.entry
    first = entry.params[0].name  # type: ignore[union-attr]
    base, new = told[first], told.pop("_new")
    positions = positions_of(b, base)
    # the shape of the view is that of what is written into it
    shown = step._replace(outs=((new.shape, np.dtype(np.int64)),))
    at = fn(b, Args(shown, {**told, first: positions}))
    return scatter_flat(b, base, at, new, None)


def positions_of(b: Builder, v: V) -> V:
    """For each element its position in the flattened ``v``."""
    total: Any = 1
    for n in v.shape or ():
        total = n * total
    return b.reshape(b.range(total), v.shape)  # type: ignore[arg-type]


def scatter_flat(b: Builder, base: V, at: V, new: Any, reduction: str | None) -> V:
    """``base`` with ``new``, spread to the shape of ``at``, at these positions of the flattened array."""
    flat = b.op("Reshape", base, [-1])
    new = b.tensor(new, base.dtype)
    spread = b.op("Expand", new, b.op("Shape", at, dtype=np.int64))
    found = b.op("ScatterElements", flat, b.op("Reshape", at, [-1]), b.op("Reshape", spread, [-1]), axis=0,
                 reduction=reduction)  # fmt: skip
    return b.reshape(found, base.shape)  # type: ignore[arg-type]
