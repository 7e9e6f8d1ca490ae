"""``map``: a function applied to the entries of tensors one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from ..utils._pytree import tree_flatten, tree_unflatten
from ._recorded import record_part, record_parts


def map(f: Callable[..., Any], xs: Any, *args: Any) -> Any:
    """``stack([f(x, *args) for x in xs])`` along dimension 0, as a loop in the program; see ``vmap`` for all at once.

    xs:    a tensor or containers of them, of the same size along dimension 0; ``x`` is one entry.
    args:  passed to each call.

    ``f`` is called once, to be recorded.  Gradients reach xs, args and tensors that f refers to.
    Raises:  RuntimeError if xs holds something else than tensors, or sizes differ.
    """
    entries, spec = tree_flatten(xs)
    if not entries or not all(isinstance(x, Tensor) for x in entries):
        raise RuntimeError(f"Mapped xs can only consist of tensors. Got xs {entries}.")
    if any(not x.dim() for x in entries) or len({x.shape[0] for x in entries}) > 1:
        raise RuntimeError(
            f"Leading dimensions of mapped xs must be consistent. Got shapes {[x.shape for x in entries]}."
        )
    if not entries[0].shape[0]:
        raise RuntimeError("Leading dimensions of mapped xs cannot be 0.")
    values = [x._get() for x in entries]
    shapes = [(v.meta.shape[1:], v.meta) for v in values]
    part = record_part("map", lambda x: f(x, *args), shapes, [None] * len(values), tree_flatten((xs,))[1])
    grads = [bool(m.grad) for m in part.metas()]
    varies = bool(part.body.seeds)

    def make() -> Callable[..., Any]:
        def run(arguments: tuple, evaluate: list) -> tuple:
            import jax.numpy as jnp
            from jax import lax

            def one(x: tuple) -> tuple:
                outs, flags = evaluate[0](x[1:], x[0] if varies else None)
                return outs, [jnp.all(g) for g in flags]

            index = jnp.arange(arguments[0].shape[0], dtype=jnp.int64) if varies else None
            outs, flags = lax.map(one, (index, *arguments))
            part.body.report(flags)
            return outs

        return run

    got = record_parts("map", [part], values, (), make, grads)
    return tree_unflatten([Tensor._of(v) for v in got], part.spec)
