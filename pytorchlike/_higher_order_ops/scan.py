"""``scan``: a loop over the entries of tensors that carries a state along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.meta import INTERIOR
from ..ops._sizes import wrap_dim
from ..tensor import Tensor
from ..utils._pytree import tree_flatten, tree_unflatten
from ._recorded import record_part, record_parts, same_metas, tensors_of


def scan(combine_fn: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any, *, dim: int = 0,
         reverse: bool = False) -> tuple[Any, Any]:  # fmt: skip
    """(last state, results) of ``state, y = combine_fn(state, x)`` over the entries of ``xs`` along ``dim``.

    init:     the first state, a tensor or containers of them; each state has its structure, shapes and dtypes.
    xs:       a tensor or containers of them, of the same size along ``dim``; ``x`` lacks that dimension.
    reverse:  from the last entry to the first.  Results are stacked along ``dim`` in the order of xs either way.

    ``combine_fn`` is called once, to be recorded; the program does not grow with the number of entries.  Gradients
    reach init, xs and tensors that combine_fn refers to.

    Raises:  RuntimeError for arguments and results that do not fit, IndexError for a dimension out of range.
    """
    if not callable(combine_fn):
        raise RuntimeError(f"Combine_fn must be a callable, but got {combine_fn}")
    if not isinstance(dim, int):
        raise RuntimeError(f"Dim must be an int, but got {type(dim)}")
    if not isinstance(reverse, bool):
        raise RuntimeError(f"Reverse must be a bool, but got {type(reverse)}")
    states, state_spec = tensors_of("scan", "init", init)
    entries, entry_spec = tensors_of("scan", "xs", xs)
    if not states:
        raise RuntimeError("scan() operator requires init leaves.")
    at, size = along("scan", entries, dim)
    values = [t._get() for t in (*states, *entries)]
    n = len(states)
    both = tree_flatten((init, xs))[1]
    shapes = [(v.meta.shape, v.meta) for v in values[:n]]
    shapes += [(v.meta.shape[:d] + v.meta.shape[d + 1 :], v.meta) for v, d in zip(values[n:], at, strict=True)]

    def checked(*args: Any) -> tuple[Any, Any]:
        out = combine_fn(*args)
        if not isinstance(out, tuple) or len(out) != 2:
            raise RuntimeError(f"scan: combine_fn must return a tuple (next state, y), but got {type(out)}")
        return out

    while True:
        part = record_part("scan", checked, shapes, [None] * len(values), both)
        next_spec, y_spec = part.spec.children_specs
        state = part._replace(spec=next_spec)
        same_metas("scan", "init and carry", _Head(state, n if next_spec == state_spec else 0), state_spec,
                   [m for _, m in shapes[:n]])  # fmt: skip
        grads = [bool(m.grad) for m in part.metas()]
        # a state that comes to require gradients requires them from the beginning
        if not any(g and not m.grad for g, (_, m) in zip(grads, shapes[:n], strict=False)):
            break
        shapes = [(s, m.with_grad(INTERIOR) if k < n and grads[k] else m) for k, (s, m) in enumerate(shapes)]
    for m in part.metas()[n:]:
        if m.ndim < at[0]:
            raise IndexError(f"scan: results of {m.ndim} dimensions cannot be stacked along dim {at[0]}")
    grads = [bool(m.grad) for _, m in shapes[:n]] + grads[n:]
    varies = bool(part.body.seeds)

    def make() -> Callable[..., Any]:
        def run(arguments: tuple, evaluate: list) -> tuple:
            import jax.numpy as jnp
            from jax import lax

            def step(carried: tuple, x: tuple) -> tuple:
                outs, flags = evaluate[0]((*carried, *x[1:]), x[0] if varies else None)
                return outs[:n], (outs[n:], [jnp.all(f) for f in flags])

            moved = tuple(jnp.moveaxis(x, d, 0) for x, d in zip(arguments[n:], at, strict=True))
            index = jnp.arange(size, dtype=jnp.int64) if varies else None
            last, (ys, flags) = lax.scan(step, tuple(arguments[:n]), (index, *moved), length=size, reverse=reverse)
            part.body.report(flags)
            return (*last, *(jnp.moveaxis(y, 0, at[0]) for y in ys))

        return run

    got = [Tensor._of(v) for v in record_parts("scan", [part], values, (at, size, reverse, n), make, grads)]
    return tree_unflatten(got[:n], state_spec), tree_unflatten(got[n:], y_spec)


class _Head:
    """The first ``n`` results of a part."""

    def __init__(self, part: Any, n: int) -> None:
        self.spec, self._metas = part.spec, part.metas()[:n]

    def metas(self) -> tuple:
        return self._metas


def along(name: str, entries: list[Tensor], dim: int) -> tuple[tuple[int, ...], int]:
    """The dimension ``dim`` of each tensor counted from the front, and its size, which must be the same and not 0."""
    if not entries:
        raise RuntimeError(f"{name}: Expected at least 1 xs leaf")
    at = []
    for x in entries:
        place = wrap_dim(dim, x.dim())
        if not x.dim() or not x.shape[dim]:
            raise RuntimeError(
                f"{name}: All xs leaves must at least have 'dim' number of dimensions and scan dimension > 0, got a "
                f"shape of {list(x.shape)} for dim {dim}"
            )
        at.append(place)
    sizes = {x.shape[d] for x, d in zip(entries, at, strict=True)}
    if len(sizes) > 1:
        raise RuntimeError(f"{name}: All xs leaves must have the same size along dim {dim}, got {sorted(sizes)}")
    return tuple(at), sizes.pop()
