"""Which arguments of a call its reverse looks at.

A reverse pass with ``create_graph`` records the reverse of each call as an operation of its own.  What that operation
does not look at, a bias for one, is not behind its results: passes over them must not come there, not even with zeros,
for an optimizer moves what has a gradient of zeros and leaves alone what has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .op import Kernel, Op

#: primitives whose one jaxpr takes what they take and gives what they give, and says what their gradients are
_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2"})


def looked_at(kernel: Kernel, reverse: Op, name: tuple, metas: tuple, n: int, numbers: tuple) -> tuple[bool, ...]:
    """Of the first ``n`` of the arrays, which ``reverse``, an operation made of ``kernel``, looks at.

    name: what tells it from others that are made of this kernel;  metas: of the arrays that it takes;  numbers: the
    rest of its arguments.
    """
    key = (name, metas)
    found = kernel.reads.get(key)
    if found is None:
        import jax

        from .memory import Uncollected

        specs = [jax.ShapeDtypeStruct(m.shape, m.dtype) for m in metas]
        with Uncollected(), jax.enable_x64(True):
            jaxpr = jax.make_jaxpr(lambda *arrays: reverse.fn((), (*arrays, *numbers)))(*specs).jaxpr
        found = kernel.reads[key] = tuple(_reads(jaxpr, [True] * len(jaxpr.outvars))[:n])
        while len(kernel.reads) > 64:
            del kernel.reads[next(iter(kernel.reads))]
    return found


def _reads(jaxpr: Any, wanted: Iterable[bool]) -> list[bool]:
    """Of the arguments of a jaxpr, those behind its results that are wanted."""
    live = {v for v, w in zip(jaxpr.outvars, wanted, strict=True) if w and not hasattr(v, "val")}
    for e in reversed(jaxpr.eqns):
        if live.isdisjoint(e.outvars):
            continue
        inner = next((e.params[k] for k in ("jaxpr", "call_jaxpr") if k in e.params), None)
        inner = getattr(inner, "jaxpr", inner)
        if e.primitive.name in _CALLS and inner is not None and len(inner.invars) == len(e.invars):
            reads = _reads(inner, [v in live for v in e.outvars])
        else:
            reads = [True] * len(e.invars)
        live.update(v for v, r in zip(e.invars, reads, strict=True) if r and not hasattr(v, "val"))
    return [v in live for v in jaxpr.invars]
