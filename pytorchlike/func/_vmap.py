"""``vmap``: a function of single examples applied to a batch of them at once.

The function runs once for each call, on stand-ins that have the shape of one example; what it records becomes one
operation whose body is ``jax.vmap`` of the recording.  That operation, and the program around it, are found again by
the structure of the recording, so a loop of calls traces and compiles nothing after the first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..engine import Value
from ..engine.nested import Body, Nested
from ..engine.trace import derives
from ..ops._sizes import wrap_dim
from ..tensor import Size, Tensor
from ..tensor import functions as T
from ..tensor.staged import body_op, record_body, stand_in, write_back, writes
from ..utils._pytree import TreeSpec, _broadcast_to_and_flatten, tree_flatten, tree_unflatten
from ._transform import transforming

InDims = Any
OutDims = Any

_READ = (
    "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, "
    "please try to rewrite what you're doing with other operations. The same holds if you're attempting to use a "
    "Tensor in some data-dependent control flow (use torch.where or torch.cond), for .tolist() and .numpy(), and for "
    "operators that output a dynamic shape (nonzero, unique, masked_select, indexing with a boolean mask)."
)
_RANDOM = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
    "randomness flags on vmap or perform the randomness operation out of vmap"
)
_IN_PLACE = (
    "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args "
    "that has more elements than `self`. This happened due to `other` being vmapped over but `self` not being vmapped "
    "over in a vmap. `self` is a tensor of shape {} from outside of the function: use an out-of-place operator, or "
    "pass it to the function with a batch dimension of its own (for BatchNorm: torch.func.functional_call with stacked "
    "buffers, or torch.func.replace_all_batch_norm_modules_)."
)


def _refuse_random() -> None:
    raise RuntimeError(_RANDOM)


def vmap(func: Callable[..., Any], in_dims: InDims = 0, out_dims: OutDims = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Callable[..., Any]:  # fmt: skip
    """A function that applies ``func`` to each entry along a dimension of its arguments, at once.

    in_dims:     which dimension of each positional argument to go along: an int for all, or a (nested) tuple of the
                 structure of the arguments, with None for what is the same for all, as keyword arguments are.
    out_dims:    where that dimension comes in the results, an int, or ints in their structure; None for a result that
                 is the same for all.
    randomness:  'error': random operations raise; 'same': one draw for all; 'different': a draw for each entry.
    chunk_size:  go through the batch in parts of this many entries, which takes less memory.

    Inside, tensors have the shape of one entry; they cannot be read (``item``, ``bool``), unless they depend on no
    argument.  In-place operations reach an argument; a tensor of outside can be written only what is the same for all.

    Raises:  ValueError for in_dims, out_dims or sizes that do not fit, and results that are no tensors; RuntimeError
             for another randomness, reading a value, or a random operation with 'error'.
    """
    if randomness not in ("error", "same", "different"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        name = _name(func)
        flat, dims, spec, size = _prepared(name, in_dims, args, kwargs)
        one = _of_one_entry(func, in_dims, args)
        if chunk_size is None or chunk_size >= size:
            return _run(one, flat, dims, spec, size, out_dims, randomness)
        return _chunked(one, flat, dims, spec, size, out_dims, randomness, chunk_size)

    if hasattr(func, "__name__"):
        return functools.wraps(func)(wrapped)
    return wrapped


def _name(func: Any) -> str:
    return getattr(func, "__name__", None) or repr(func)


def _of_one_entry(func: Callable[..., Any], in_dims: Any, args: tuple) -> Callable[..., Any]:
    """``func``; containers that tell the batch size of their tensors (TensorDicts) are told that of one entry first."""
    sizes = {}
    for k, x in enumerate(args):
        size = None if isinstance(x, Tensor) else getattr(x, "batch_size", None)
        d = in_dims[k] if isinstance(in_dims, tuple) else in_dims
        if isinstance(size, Size) and isinstance(d, int) and 0 <= d < len(size):
            sizes[k] = size[:d] + size[d + 1 :]
    if not sizes:
        return func

    def call(*args: Any, **kwargs: Any) -> Any:
        for k, size in sizes.items():
            args[k].batch_size = size
        return func(*args, **kwargs)

    call.__name__ = getattr(func, "__name__", type(func).__name__)
    return call


def _prepared(name: str, in_dims: Any, args: tuple, kwargs: dict) -> tuple[list, list, TreeSpec, int]:
    """(leaves of (args, kwargs), the dimension of each, structure, batch size)."""
    if not isinstance(in_dims, (int, tuple, list)) or isinstance(in_dims, (bool, list)):
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) "
            f"tuple matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            "function with no inputs. The latter is unsupported."
        )
    flat, spec = tree_flatten(args)
    dims = _broadcast_to_and_flatten(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of "
            f"`inputs`. in_dims has structure {tree_flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    more, kw_spec = tree_flatten(kwargs)
    where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
    dims = [_dim(where, x, d) for x, d in zip(flat, dims, strict=True)]
    dims += [None] * len(more)
    flat += more
    sizes = [x.shape[d] for x, d in zip(flat, dims, strict=True) if d is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return flat, dims, TreeSpec(tuple, None, [spec, kw_spec]), sizes[0]


def _dim(where: str, x: Any, d: Any) -> int | None:
    """A dimension to go along, checked and counted from the front."""
    if d is None:
        return None
    if isinstance(d, bool) or not isinstance(d, int):
        raise ValueError(
            f"{where}: Got in_dim={d} for an input but in_dim must be either an integer dimension or None."
        )
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{where}: Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap over non-Tensor "
            "arguments, please use None as the respective in_dim"
        )
    if not -x.dim() <= d < x.dim():
        raise ValueError(
            f"{where}: Got in_dim={d} for some input, but that input is a Tensor of dimensionality {x.dim()} so "
            f"expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
        )
    return d % x.dim()


def _out_dims(name: str, out_dims: Any, spec: TreeSpec) -> list[int | None]:
    for d in tree_flatten(out_dims)[0]:
        if d is not None and (isinstance(d, bool) or not isinstance(d, int)):
            raise ValueError(
                f"vmap({name}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of "
                "ints representing where in the outputs the vmapped dimension should appear."
            )
    if isinstance(out_dims, (int, type(None))):
        return [out_dims] * spec.num_leaves
    if spec.type is None and isinstance(out_dims, tuple) and len(out_dims) == 1:
        return [out_dims[0]]
    found = _broadcast_to_and_flatten(out_dims, spec)
    if found is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of "
            f"`outputs`. out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {spec}."
        )
    return found


def _place(d: int | None, ndim: int) -> int | None:
    """Where the batch comes in a result of ``ndim`` dimensions for each entry."""
    if d is None:
        return None
    return wrap_dim(d, ndim + 1)


def _run(func: Callable[..., Any], flat: list, dims: list, spec: TreeSpec, size: int, out_dims: Any,
         randomness: str) -> Any:  # fmt: skip
    name = _name(func)
    sources: list[Value] = []
    axes = []
    for x, d in zip(flat, dims, strict=True):
        if d is not None:
            sources.append(x._get())
            axes.append(d)
    nested = Nested(_READ)
    nested.random = _refuse_random if randomness == "error" else None
    nested.varies = randomness == "different"
    stand_ins: list[tuple[Tensor, Tensor, int]] = []
    with nested, transforming("vmap"):
        inner = list(flat)
        given = iter(sources)
        for k, (x, d) in enumerate(zip(flat, dims, strict=True)):
            if d is not None:
                source = next(given)
                shape = source.meta.shape
                inner[k] = stand_in(nested, shape[:d] + shape[d + 1 :], source.meta, source, batched=True)
                stand_ins.append((inner[k], x, d))
        stood = [t._get() for t, _, _ in stand_ins]
        args, kwargs = tree_unflatten(inner, spec)
        out = func(*args, **kwargs)
        outs, out_spec = tree_flatten(out)
        told = _out_dims(name, out_dims, out_spec)
        for o, d in zip(outs, told, strict=True):
            if not isinstance(o, Tensor) and d is not None:
                raise ValueError(
                    f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(o)}. Did you mean to set "
                    "out_dims= to None for output?"
                )
        given_out = [(o._get(), d) for o, d in zip(outs, told, strict=True) if isinstance(o, Tensor)]
        values = [v for v, _ in given_out]
        places: list[int | None] = []
        for (v, d), b in zip(given_out, nested.batched_outs(values), strict=True):
            if d is None and b:
                raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
            places.append(_place(d, v.meta.ndim))
        changed = [(x, d, v) for (t, x, d), old in zip(stand_ins, stood, strict=True) if (v := t._get()) is not old]
        written = writes(nested)
        for (_, v), b in zip(written, nested.batched_outs([v for _, v in written]), strict=True):
            if b:
                raise RuntimeError(_IN_PLACE.format(list(v.meta.shape)))
        body, captured, numbers = nested.finish([*values, *(v for _, _, v in changed), *(v for _, v in written)])
    nested.undo()
    nested.release()
    all_places = (*places, *(d for _, d, _ in changed), *(None for _ in written))
    if body.derives:
        derives((*sources, *captured))
    op = _op(body, tuple(axes), size, all_places, nested.varies)
    got = record_body(op, body, sources, captured, numbers)
    n = len(values)
    for (x, _, _), v in zip(changed, got[n:], strict=False):
        x.copy_(Tensor._of(v)) if x._is_view() or x.requires_grad else write_back(x, v)
    for (owner, _), v in zip(written, got[n + len(changed) :], strict=True):
        write_back(owner, v)
    results = iter(got)
    return tree_unflatten([Tensor._of(next(results)) if isinstance(o, Tensor) else o for o in outs], out_spec)


def _op(body: Body, axes: tuple[int, ...], size: int, places: tuple[int | None, ...], varies: bool) -> Any:
    n = len(axes)

    def make() -> Any:
        def batched(args: tuple) -> tuple:
            import jax
            import jax.numpy as jnp

            captured = args[n : n + len(body.captured)]
            numbers = args[n + len(body.captured) :]

            def one(index: Any, *params: Any) -> tuple:
                return body(params, captured, numbers, index if varies else None)

            index = jnp.arange(size, dtype=jnp.int64) if varies else None
            outs, flags = jax.vmap(one, (0 if varies else None, *axes), (places, 0), axis_size=size)(index, *args[:n])
            body.report(flags)
            return outs

        return batched

    return body_op("vmap", body, (axes, size, places, varies), make, heavy=True)


def _chunked(func: Callable[..., Any], flat: list, dims: list, spec: TreeSpec, size: int, out_dims: Any,
             randomness: str, chunk: int) -> Any:  # fmt: skip
    """Part after part of the batch; results are put together along out_dims."""
    parts: list[list] = []
    out_spec: TreeSpec | None = None
    for start in range(0, size, chunk):
        n = min(chunk, size - start)
        piece = [x if d is None else x.narrow(d, start, n) for x, d in zip(flat, dims, strict=True)]
        leaves, out_spec = tree_flatten(_run(func, piece, dims, spec, n, out_dims, randomness))
        parts.append(leaves)
    assert out_spec is not None
    told = _out_dims(_name(func), out_dims, out_spec)
    joined = [
        column[0] if d is None else T.cat(list(column), d % column[0].dim())
        for column, d in zip(zip(*parts, strict=True), told, strict=True)
    ]
    return tree_unflatten(joined, out_spec)


__all__ = ["vmap"]
