"""What the control-flow operators share: recording the functions they are given, and making one operation of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..engine import Op, Value, record
from ..engine.meta import Meta
from ..engine.nested import Body, Nested, Seeds
from ..tensor import Tensor
from ..tensor._values import _plain
from ..tensor.staged import stand_in, writes
from ..utils._pytree import TreeSpec, tree_flatten, tree_unflatten


class Part(NamedTuple):
    """A recorded function: its body and what it takes besides its parameters, and the structure of what it returns."""

    body: Body
    captured: list[Value]
    numbers: list[Any]
    spec: TreeSpec

    def metas(self) -> tuple[Meta, ...]:
        return self.body.metas()


def record_part(name: str, fn: Callable[..., Any], shapes: Sequence[tuple[tuple[int, ...], Meta]],
                sources: Sequence[Value | None], spec: TreeSpec) -> Part:  # fmt: skip
    """Record ``fn(*args)``, where args, of structure ``spec``, are stand-ins of the given shapes.

    Raises RuntimeError if it returns something else than tensors, reads a value that is not known, or writes to its
    arguments or to tensors of outside.
    """
    nested = Nested(
        f"{name}: the function wants to know the value of a tensor that is not known while it is recorded (.item(), "
        "bool(), if, .tolist() …); use torch.where, or torch.cond, inside"
    )
    nested.varies = True  # random operations differ from iteration to iteration
    with nested:
        stand_ins = [
            stand_in(nested, shape, meta, source) for (shape, meta), source in zip(shapes, sources, strict=True)
        ]
        stood = [t._get() for t in stand_ins]
        out = fn(*tree_unflatten(stand_ins, spec))
        outs, out_spec = tree_flatten(out)
        for o in outs:
            if not isinstance(o, Tensor):
                raise RuntimeError(f"{name}: the function must return tensors only, but got {type(o)}")
        if writes(nested) or any(t._get() is not v for t, v in zip(stand_ins, stood, strict=True)):
            raise RuntimeError(
                f"{name}: the function modifies one of its inputs, or a tensor of outside, in place. Higher order ops "
                "do not support input mutation: clone it first, and return the result"
            )
        body, captured, numbers = nested.finish([o._get() for o in outs])
    nested.release()
    return Part(body, captured, numbers, out_spec)


def count_checks(body: Body) -> int:
    """How many data checks its evaluation brings."""
    return sum(len(e.checks) for e in body.schedule.steps if hasattr(e, "checks"))


def record_parts(name: str, parts: Sequence[Part], arguments: Sequence[Value], key: Any,
                 make: Callable[[], Callable[..., Any]], grads: Sequence[bool]) -> tuple[Value, ...]:  # fmt: skip
    """Record the operation of several bodies.

    ``make()`` gives a function (arguments, evaluate) -> arrays, where ``evaluate[k](params, index)`` evaluates body k.
    grads: which results the tape leads to.
    """
    bodies = [p.body for p in parts]
    first = bodies[0]
    op_key = (name, key, tuple(bodies[1:]), tuple(grads))
    op = first.ops.get(op_key)
    if op is None:
        op = first.ops[op_key] = _op(name, bodies, len(arguments), make(), any(grads))
    captured = [v for p in parts for v in p.captured]
    numbers = [n for p in parts for n in p.numbers]
    got = record(op, (), (*arguments, *captured), tuple(numbers))
    got = got if type(got) is tuple else (got,)
    return tuple([v if g else _plain(v) for v, g in zip(got, grads, strict=True)])


def _op(name: str, bodies: list[Body], n: int, fn: Callable[..., Any], tracked: bool) -> Op:
    def run(static: Any, args: tuple) -> Any:
        at = n
        taken: list[list[Any]] = [[], []]
        for group, counts in enumerate(([len(b.captured) for b in bodies], [sum(b.counts) for b in bodies])):
            for c in counts:
                taken[group].append(args[at : at + c])
                at += c
        evaluate = [
            lambda params, index=None, b=b, c=c, m=m: b(params, c, m, index)
            for b, c, m in zip(bodies, taken[0], taken[1], strict=True)
        ]
        return fn(args[:n], evaluate)

    seeds, start = [], 0
    for b in bodies:
        seeds += [start + s for s in b.seeds]
        start += sum(b.counts)
    return Op(name, run, info=Seeds(tuple(seeds), start), differentiable=tracked, heavy=True)


def tensors_of(name: str, what: str, tree: Any) -> tuple[list[Tensor], TreeSpec]:
    """The leaves of a tree that must all be tensors."""
    leaves, spec = tree_flatten(tree)
    for x in leaves:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{name}: all leaves of {what} must be Tensors but got {x!r}")
    return leaves, spec


def same_metas(name: str, what: str, got: Part, spec: TreeSpec, metas: Sequence[Meta]) -> None:
    """Demand that a function returns tensors like given ones: structure, shapes and dtypes."""
    if got.spec != spec:
        raise RuntimeError(
            f"{name}: Expected {what} to have the same structure, i.e. the same number of outputs, but got {got.spec} "
            f"and {spec}"
        )
    differ = [
        f"pair[{k}]: {list(a.shape)} of {a.dtype} vs {list(b.shape)} of {b.dtype}"
        for k, (a, b) in enumerate(zip(got.metas(), metas, strict=True)) if a.shape != b.shape or a.dtype != b.dtype
    ]  # fmt: skip
    if differ:
        raise RuntimeError(f"{name}: Expected {what} to have same metadata but found: {'; '.join(differ)}")


def report_all(bodies: Sequence[Body], flags: Sequence[Sequence[Any]]) -> None:
    """Pass on the data checks of several bodies."""
    for body, found in zip(bodies, flags, strict=True):
        body.report(found)
