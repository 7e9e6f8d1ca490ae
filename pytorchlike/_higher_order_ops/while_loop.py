"""``torch.while_loop``: a loop as long as a condition on tensors holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.debug import held_back
from ..engine.grad import watch
from ..engine.meta import INTERIOR
from ..tensor import Tensor, tensor
from ..utils._pytree import tree_flatten, tree_map, tree_unflatten
from ._recorded import count_checks, record_part, record_parts, same_metas


def while_loop(cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: tuple | list) -> tuple:
    """Carry tensors through ``body_fn(*carried)`` for as long as ``cond_fn(*carried)`` is true; what comes out.

    carried_inputs:  a tuple of tensors and numbers (which become tensors), or nested containers of them; body_fn
                     returns the same structure, shapes and dtypes.  Tensors that the functions refer to work too.
    cond_fn:         returns a bool tensor of one element.

    Both functions are called once, to be recorded.  The number of iterations is known to the program only, so there is
    no reverse mode (use :func:`scan` for a number of steps that is known); forward mode works.

    Raises:  RuntimeError for functions, inputs and results that do not fit; NotImplementedError when a backward pass
             comes to it.
    """
    if not callable(cond_fn) or not callable(body_fn):
        raise RuntimeError("Expect cond_fn and body_fn to be callable.")
    if not isinstance(carried_inputs, (tuple, list)):
        raise RuntimeError(f"Expect carried_inputs to be a tuple or list, but got {type(carried_inputs)}")
    carried = tree_map(_as_tensor, tuple(carried_inputs))
    leaves, spec = tree_flatten(carried)
    values = [x._get() for x in leaves]
    shapes = [(v.meta.shape, v.meta) for v in values]
    # what the body makes of tensors that require gradients, or of others by such ones, requires them as well
    while True:
        unknown = [None] * len(values)
        test = record_part("while_loop", cond_fn, shapes, unknown, spec)
        body = record_part("while_loop", body_fn, shapes, unknown, spec)
        metas = test.metas()
        if len(metas) != 1 or metas[0].size != 1:
            raise RuntimeError(
                "while_loop: Expected cond_fn to return a scalar tensor or a bool but got "
                f"{[list(m.shape) for m in metas]}"
            )
        spec_out = body.spec
        if spec_out.type is list and spec.type is tuple:
            body = body._replace(spec=type(spec_out)(tuple, None, spec_out.children_specs))
        same_metas("while_loop", "body_fn_output and carried_inputs", body, spec, [m for _, m in shapes])
        grads = [bool(m.grad) for m in body.metas()]
        wider = [(s, m.with_grad(INTERIOR) if g else m) for (s, m), g in zip(shapes, grads, strict=True)]
        if wider == shapes or [bool(m.grad) for _, m in wider] == [bool(m.grad) for _, m in shapes]:
            break
        shapes = wider
    varies = bool(body.body.seeds or test.body.seeds)
    bodies = [test.body, body.body]

    def make() -> Callable[..., Any]:
        def run(arguments: tuple, evaluate: list) -> tuple:
            import jax.numpy as jnp
            from jax import lax

            def index(at: Any) -> Any:
                return at if varies else None

            def again(state: tuple) -> Any:
                at, _, params = state
                return jnp.reshape(evaluate[0](params, index(at))[0][0], ()) != 0

            def step(state: tuple) -> tuple:
                at, fine, params = state
                outs, flags = evaluate[1](params, index(at))
                return at + 1, [f & jnp.all(g) for f, g in zip(fine, flags, strict=True)] if flags else fine, outs

            first = [jnp.asarray(True) for _ in range(count_checks(bodies[1]))]
            _, flags, outs = lax.while_loop(again, step, (jnp.zeros((), jnp.int64), first, tuple(arguments)))
            bodies[1].report(flags)
            return outs

        return run

    tracked = [bool(m.grad) for _, m in shapes]
    with held_back():
        got = record_parts("while_loop", [test, body], values, varies, make, tracked)
        for v in got:
            if v.meta.grad == INTERIOR and v.trace is not None:
                watch(v.trace.watched, v.slot, _refuse)
    return tree_unflatten([Tensor._of(v) for v in got], spec)


def _as_tensor(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (bool, int, float)):
        return tensor(x)
    raise RuntimeError(f"while_loop: carried_inputs must be tensors or numbers, but got {x!r}")


def _refuse(cotangents: dict) -> dict:
    raise NotImplementedError(
        "while_loop has no reverse-mode derivative, since the number of iterations is known to the running program "
        "only: use scan with a fixed number of steps (and torch.where for those that should not count), or func.jvp"
    )
