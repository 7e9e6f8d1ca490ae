"""``jacrev``, ``jacfwd`` and ``hessian``: derivatives of vector-valued functions, all directions at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as T
from ..utils._pytree import tree_flatten, tree_unflatten
from ._transform import Argnums, chosen, jvp, only_tensors, vjp
from ._vmap import vmap


def _basis(tensors: Sequence[Tensor], rows: slice | None = None) -> list[Tensor]:
    """Unit vectors of the space of all tensors together: (n, *shape) for each; ``rows``: only these of the n."""
    total = sum(t.numel() for t in tensors)
    first, last = (0, total) if rows is None else (rows.start, min(rows.stop, total))
    out, start = [], 0
    for t in tensors:
        n = t.numel()
        at = T.arange(first, last, device=t.device).unsqueeze(1)
        columns = T.arange(start, start + n, device=t.device).unsqueeze(0)
        out.append((at == columns).to(t.dtype).reshape(last - first, *t.shape))
        start += n
    return out


def jacrev(func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None,
           _preallocate_and_copy: bool = False) -> Callable[..., Any]:  # fmt: skip
    """A function that returns the Jacobian of ``func`` by its arguments ``argnums``, in reverse mode.

    For each output of shape ``o`` and each argument of shape ``i`` there is a tensor (*o, *i), in the structure of the
    output, and within that of the argument (a tuple if argnums is one).  With ``has_aux`` ``func`` returns
    (output, aux), and the result is (Jacobian, aux).
    chunk_size:  take this many rows at a time, which needs less memory.

    ``_preallocate_and_copy`` has no effect: XLA plans the memory.
    Raises:  ValueError for a chunk_size below 1; RuntimeError if an output is no tensor or argnums do not fit.
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        parts, put = chosen(args, argnums)

        def of_parts(chosen_parts: Any) -> Any:
            return func(*put(chosen_parts), **kwargs)

        got = vjp(of_parts, parts, has_aux=has_aux)
        out, pullback = got[0], got[1]
        outs, out_spec = only_tensors(out, "jacrev")
        flat, spec = tree_flatten(parts)
        total = sum(o.numel() for o in outs)

        def rows_of(basis: list[Tensor]) -> list[Tensor]:
            def row(*cotangents: Tensor) -> list[Tensor]:
                return tree_flatten(pullback(tree_unflatten(cotangents, out_spec))[0])[0]

            return vmap(row)(*basis)

        step = total if chunk_size is None else chunk_size
        if total == 0:
            columns = [T.zeros((0, *x.shape), dtype=x.dtype, device=x.device) for x in flat]
        else:
            chunks = [rows_of(_basis(outs, slice(k, k + step))) for k in range(0, total, step)]
            columns = [c[0] if len(c) == 1 else T.cat(list(c)) for c in zip(*chunks, strict=True)]
        result, start = [], 0
        for o in outs:
            rows = slice(start, start + o.numel())
            block = [c[rows].reshape(*o.shape, *x.shape) for c, x in zip(columns, flat, strict=True)]
            result.append(tree_unflatten(block, spec))
            start += o.numel()
        jacobian = tree_unflatten(result, out_spec)
        return (jacobian, got[2]) if has_aux else jacobian

    return wrapper


def jacfwd(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *,
           randomness: str = "error") -> Callable[..., Any]:  # fmt: skip
    """As :func:`jacrev`, in forward mode: one column for each element of the arguments, all at once.

    randomness:  what random operations in ``func`` do, see :func:`vmap`.
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        parts, put = chosen(args, argnums)
        flat, spec = tree_flatten(parts)
        for x in flat:
            if not isinstance(x, Tensor):
                raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        spec_out: list = []

        def column(*tangents: Tensor) -> Any:
            def of_flat(*moved: Tensor) -> Any:
                return func(*put(tree_unflatten(moved, spec)), **kwargs)

            got = jvp(of_flat, tuple(flat), tangents, has_aux=has_aux)
            spec_out[:] = [tree_flatten(got[0])[1]]
            return (got[0], tree_flatten(got[1])[0], *got[2:])

        told = (None, 0, None) if has_aux else (None, 0)
        got = vmap(column, out_dims=told, randomness=randomness)(*_basis(flat))
        out, tangents = got[0], got[1]
        outs = tree_flatten(out)[0]
        result = []
        for o, t in zip(outs, tangents, strict=True):
            block, start = [], 0
            for x in flat:
                n = x.numel()
                block.append(t[start : start + n].movedim(0, -1).reshape(*o.shape, *x.shape))
                start += n
            result.append(tree_unflatten(block, spec))
        jacobian = tree_unflatten(result, spec_out[0])
        return (jacobian, got[2]) if has_aux else jacobian

    return wrapper


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns the matrix of second derivatives: ``jacfwd(jacrev(func))``."""
    return jacfwd(jacrev(func, argnums), argnums)


__all__ = ["hessian", "jacfwd", "jacrev"]
