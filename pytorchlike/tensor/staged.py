"""From a function of tensors to one recorded operation: what vmap, control flow and custom functions have in common.

How to use it::

    nested = Nested("what to say if the function reads a value that is not known")
    with nested:                                    # operations are recorded apart from here on
        x = stand_in(nested, meta, source)          # a tensor to pass to the function in place of ``source``
        outs = [t._get() for t in function(x)]
        written = writes(nested)                    # tensors of outside that the function wrote to, and what
        body, captured, numbers = nested.finish([*outs, *(v for _, v in written)])
    nested.undo()                                   # nothing outside has changed yet
    op = body.ops.get(key) or ...                   # an Op whose fn calls body(params, captured, numbers)
    results = record_body(op, sources, captured, numbers)
    for (owner, _), value in zip(written, ...): write_back(owner, value)

``body(...)`` is a pure function on JAX arrays, so the Op's fn may apply any transformation of JAX's to it.  The
function is called each time; what JAX traces is found again by the structure of the recording (see engine/nested.py).
Tensors that the function refers to are captured as inputs, so gradients reach them.  The Op must be kept in
``body.ops``, or it will be compiled each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine import Op, Value, local, record
from ..engine.meta import INTERIOR, NO_GRAD, Meta, meta_of
from ..engine.nested import Body, Nested
from ._tensor import Tensor
from ._values import _as_leaf, _plain
from .storage import Storage


def stand_in(nested: Nested, shape: Sequence[int], like: Meta, source: Value | None, batched: bool = False) -> Tensor:
    """A tensor for the function, of the given shape and the dtype, place and differentiability of ``like``."""
    grad = INTERIOR if like.grad else NO_GRAD
    return Tensor._of(nested.parameter(meta_of(tuple(shape), like.dtype, like.place, grad), source, batched))


def writes(nested: Nested) -> list[tuple[Any, Value]]:
    """What the function has written to outside: (tensor or storage, its value now)."""
    owners = {id(owner): owner for owner, _ in nested.journal}
    return [(o, o.value if isinstance(o, Storage) else o._get()) for o in owners.values()]


def write_back(owner: Any, value: Value) -> None:
    """Give a tensor or storage a new value in the present trace."""
    if isinstance(owner, Storage):
        trace, old = local.trace, owner.value
        slot = trace.slots.get(old) if old.trace is not trace else None
        if slot is not None:
            trace.journal.append((owner, slot))
        owner.value = value
        owner.version += 1
        return
    leaf = owner._get().node
    owner._set(_as_leaf(value, leaf) if owner.is_leaf and owner.requires_grad else value)


def record_body(op: Op, body: Body, sources: Sequence[Value], captured: Sequence[Value],
                numbers: Sequence[Any]) -> tuple:  # fmt: skip
    """Record the operation made of a body; its results, always as a tuple."""
    got = record(op, (), (*sources, *captured), tuple(numbers))
    got = got if type(got) is tuple else (got,)
    # what the tape does not lead to inside, it does not outside
    return tuple([v if m.grad else _plain(v) for v, m in zip(got, body.metas(), strict=True)])


def body_op(name: str, body: Body, key: Any, make: Any, **flags: Any) -> Op:
    """The operation ``name`` made of a body, from ``make()``, a function (arrays and numbers) -> arrays."""
    found = body.ops.get((name, key))
    if found is None:
        fn = make()
        tracked = any(m.grad for m in body.metas())
        found = body.ops[name, key] = Op(
            name, lambda static, args: fn(args), info=body.info, differentiable=tracked, **flags
        )
    return found
