"""Custom functions inside a nested recording (vmap, cond, scan): their backward is recorded with them.

Elsewhere a reverse pass stops at the results of a custom function and runs its Python (``engine.grad.Watch``).  A
nested recording becomes an operation that JAX differentiates, so backward runs once, when the function is applied, on
stand-ins for the gradients, and what it records becomes the rule of a ``jax.custom_vjp``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine import Op, Value, local, record
from ..engine.debug import held_back
from ..engine.grad import Watch
from ..engine.nested import Body, Nested, Unknown
from ..tensor.staged import stand_in


def tie(name: str, handle: Any, keys: list[int], values: list[Value], moving: list[Value]) -> tuple[Value, ...]:
    """``values`` as results of ``moving``, their derivative being what ``handle`` makes of gradients, by ``keys``."""
    nested = Nested(
        f"{name}: backward wants to know the value of a tensor that is not known inside a function transformation "
        "(.item(), .numpy(), if …); write it with tensor operations"
    )
    refused: Unknown | None = None
    with nested:
        given = [stand_in(nested, v.meta.shape, v.meta, None)._get() for v in values]
        try:
            found: dict[Any, Value] = handle(dict(zip(keys, given, strict=True)))
        except Unknown as error:
            refused, found = error, {}
        places = [k for k, v in enumerate(moving) if v in found and v not in moving[:k]]
        body, captured, numbers = nested.finish([found[moving[k]] for k in places])
    nested.release()
    #: captured values that are results: their derivative is that of the function
    own = tuple((k, values.index(v)) for k, v in enumerate(captured) if v in values)
    key = ("custom", name, len(values), len(moving), tuple(places), own, refused is not None)
    op = body.ops.get(key)
    if op is None:
        op = body.ops[key] = Op(name, _rule(body, len(values), len(moving), places, own, refused), info=body.info)
    with held_back():
        got = record(op, (), (*values, *moving, *captured), tuple(numbers))
        got = got if type(got) is tuple else (got,)
        if getattr(handle, "forward", None) is not None:
            stop = Watch(tuple([v.slot for v in got]), None)
            stop.forward = handle.forward
            for v in got:
                local.trace.watched[v.slot] = stop
    return got


def _rule(body: Body, n: int, m: int, places: list[int], own: tuple, refused: Unknown | None) -> Callable[..., Any]:
    def run(static: Any, args: tuple) -> tuple:
        import jax
        import jax.numpy as jnp

        from ..engine.op import Lifted

        plain = tuple([a.array if type(a) is Lifted else a for a in args])
        k = len(body.captured)

        @jax.custom_vjp
        def tied(outs: tuple, moving: tuple, captured: tuple, numbers: tuple) -> tuple:
            return outs

        def forward(outs: tuple, moving: tuple, captured: tuple, numbers: tuple) -> tuple:
            made = tied(outs, moving, captured, numbers)
            return made, (made, moving, captured, numbers)

        def backward(kept: tuple, cotangents: tuple) -> tuple:
            if refused is not None:
                raise RuntimeError(str(refused))
            made, moving, captured, numbers = kept
            held = list(captured)
            for at, out in own:
                held[at] = made[out]
            grads, flags = body(tuple(map(_conjugate, cotangents)), held, numbers)
            by_place = dict(zip(places, grads, strict=True))
            back = tuple(
                _conjugate(by_place[i]) if i in by_place else jnp.zeros_like(x) for i, x in enumerate(moving)
            )
            return tuple(map(jnp.zeros_like, made)), back, None, None

        tied.defvjp(forward, backward)
        outs, moving, rest = plain[:n], plain[n : n + m], plain[n + m :]
        return tied(outs, moving, rest[:k], rest[k:])

    return run


def _conjugate(x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.conj(x) if jnp.iscomplexobj(x) else x
