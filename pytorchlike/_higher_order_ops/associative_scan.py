"""``associative_scan``: all partial results of an associative operation, in parallel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.meta import meta_of
from ..tensor import Tensor
from ..utils._pytree import tree_flatten, tree_unflatten
from ._recorded import record_part, record_parts, same_metas, tensors_of
from .scan import along


def associative_scan(combine_fn: Callable[[Any, Any], Any], xs: Any, dim: int, reverse: bool = False,
                     combine_mode: str = "pointwise") -> Any:  # fmt: skip
    """``x0, combine_fn(x0, x1), combine_fn(combine_fn(x0, x1), x2), …`` over the entries of ``xs`` along ``dim``.

    combine_fn:    must be associative; takes two entries, without the dimension, and returns one of the same structure,
                   shapes and dtypes.  It is called once, to be recorded.
    xs:            a tensor or containers of them, of the same size along ``dim``; the result is like them.
    reverse:       from the last entry to the first.
    combine_mode:  'pointwise' or 'generic'; there is no difference here.

    Differs:  PyTorch's 'pointwise' is for CUDA only.
    Raises:   ValueError for another combine_mode or a function that is none; RuntimeError for arguments and results
              that do not fit; IndexError for a dimension out of range.
    """
    if not callable(combine_fn):
        raise ValueError(f"Combine_fn must be a callable, but got {combine_fn}")
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(f"Combine_mode must either 'pointwise' or 'generic', but got {combine_mode}")
    entries, spec = tensors_of("associative_scan", "xs", xs)
    at, size = along("associative_scan", entries, dim)
    values = [t._get() for t in entries]
    shapes = [(v.meta.shape[:d] + v.meta.shape[d + 1 :], v.meta) for v, d in zip(values, at, strict=True)]
    both = tree_flatten((xs, xs))[1]
    part = record_part("associative_scan", combine_fn, shapes * 2, [None] * (2 * len(values)), both)
    like = [meta_of(s, m.dtype, m.place) for s, m in shapes]
    same_metas("associative_scan", "the output of combine_fn and its inputs", part, spec, like)
    grads = [bool(m.grad) for m in part.metas()]
    n = len(values)
    if part.body.seeds:
        raise RuntimeError("associative_scan: combine_fn must not be random")

    def make() -> Callable[..., Any]:
        def run(arguments: tuple, evaluate: list) -> tuple:
            import jax
            import jax.numpy as jnp
            from jax import lax

            found: list = []

            def combine(a: tuple, b: tuple) -> tuple:
                outs, flags = jax.vmap(lambda *params: evaluate[0](params))(*a, *b)
                found.append([jnp.all(f) for f in flags])
                return outs

            moved = tuple(jnp.moveaxis(x, d, 0) for x, d in zip(arguments, at, strict=True))
            outs = lax.associative_scan(combine, moved, reverse=reverse)
            for flags in found:
                part.body.report(flags)
            return tuple(jnp.moveaxis(o, 0, d) for o, d in zip(outs, at, strict=True))

        return run

    got = record_parts("associative_scan", [part], values, (at, size, reverse, n), make, grads)
    return tree_unflatten([Tensor._of(v) for v in got], spec)
