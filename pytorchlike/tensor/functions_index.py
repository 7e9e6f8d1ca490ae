"""Composite functions on indices whose result's shape depends on the data, or that accept masks beside indices.

Where a shape depends on data, only the mask or the counts are read; values are then taken by an operator, so gradients
flow as in PyTorch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine import in_sight
from ..ops._sizes import broadcast_sizes, wrap_dim
from ._register import function
from ._tensor import Tensor, found_tensor, host_tensor
from .indexing import _host_of, _parse, _tensors, nonzero_places, refuse_bytes


@function(method=True)
def nonzero(input: Tensor, *, as_tuple: bool = False, out: Tensor | None = None) -> Any:
    """Indices of the elements that are not 0: int64 of shape (n, ndim), or with as_tuple one vector per dim.

    Reads ``input``.
    """
    data = _host_of(input)
    if as_tuple:
        found = nonzero_places(data if data.ndim else data.reshape(1))
        return tuple([found_tensor(i, input.device) for i in found])
    places = np.stack(nonzero_places(data), 1) if data.ndim else np.zeros((int(data != 0), 0), np.int64)
    return _given(out, found_tensor(places, input.device), "nonzero")


def _given(out: Tensor | None, result: Tensor, name: str) -> Tensor:
    if out is None:
        return result
    from ._cell import write_out

    return write_out(out, result, name)


@function(method=True)
def argwhere(input: Tensor) -> Tensor:
    """Indices of the elements that are not 0, a row each: ``nonzero(input)``."""
    return nonzero(input)


@function(method=True)
def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements of ``input`` where ``mask`` is true, as a vector; the two broadcast.  Reads ``mask`` only."""
    if mask._value.meta.dtype != np.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    size = broadcast_sizes(mask._value.meta.shape, input._value.meta.shape)
    places = np.flatnonzero(np.broadcast_to(_host_of(mask), size))
    flat = input.expand(size).reshape(-1)
    return _given(out, Tensor._index(flat, (found_tensor(places, input.device),), (1,), False), "masked_select")


@function(method=True)
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each slice along ``dim`` (each element of the flattened tensor, if None) repeated in a row.

    repeats: one number, or a tensor with one for each slice, which is read unless ``output_size`` tells their sum.
    ``repeat_interleave(repeats)`` gives the indices: i, ``repeats[i]`` times.
    """
    if repeats is None:
        return _interleaved(input, output_size, "repeat_interleave")
    if hasattr(repeats, "__index__") and not isinstance(repeats, Tensor):
        return input._repeat_interleave_int(repeats.__index__(), dim)
    if not isinstance(repeats, Tensor):
        repeats = host_tensor(np.asarray(repeats, np.int64), input.device)
    if repeats.ndim > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    x = input.reshape(-1) if dim is None or not input.ndim else input
    d = wrap_dim(0 if dim is None else dim, x.ndim)
    n = x.shape[d]
    if repeats.numel() == 1 and n != 1:
        repeats = repeats.reshape(1).expand(n)
    elif repeats.ndim == 0:
        repeats = repeats.reshape(1)
    if repeats.shape[0] != n:
        raise RuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {repeats.shape[0]} and "
            f"input.size({d}) = {n}"
        )
    index = _interleaved(repeats, output_size, "repeat_interleave")
    return Tensor._index(x, (index,), (0,) * d + (1,), False)


def _interleaved(repeats: Tensor, output_size: int | None, name: str) -> Tensor:
    if repeats._value.meta.dtype not in (np.int64, np.int32):
        raise NotImplementedError(f'"repeat_interleave" not implemented for {repeats.dtype}; repeats must be integers')
    if repeats.ndim != 1:
        raise RuntimeError(f"{name}() only accepts 1D vector as repeat")
    if output_size is None:
        counts = _host_of(repeats)
        if counts.size and counts.min() < 0:
            raise RuntimeError("repeats can not be negative")
        return host_tensor(np.repeat(np.arange(counts.size, dtype=counts.dtype), counts), repeats.device)
    return repeats._repeat_interleave_index(output_size)


@function
def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
    """``input`` where condition is true, else ``other``; with the condition alone, ``nonzero(as_tuple=True)``."""
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    return _where()(condition, input, other, out=out)


@function(namespace=None, method=True, name="where")
def where_method(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """``input`` where condition is true, else ``other``."""
    return _where()(condition, input, other)


def _where() -> Any:
    from ..ops import lookup
    from ._wrap import form

    return form(lookup("where"))


# -------------------------------------------------------------------------------------------------------------- unique


class _Unique(NamedTuple):
    output: Tensor
    inverse: Tensor | None
    counts: Tensor | None

    def chosen(self) -> Any:
        some = tuple(x for x in self if x is not None)
        return some[0] if len(some) == 1 else some


def _first_seen(data: np.ndarray, dim: int | None, name: str) -> tuple[np.ndarray, int]:
    """The slices to compare as rows of a matrix, and how many there are."""
    if dim is None:
        return data.reshape(-1, 1), data.size
    moved = np.moveaxis(data, dim, 0)
    n = moved.shape[0]
    if moved.size == 0 and n and 0 in moved.shape[1:]:
        raise RuntimeError(
            f"{name}: There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
        )
    return np.ascontiguousarray(moved).reshape(n, moved[:1].size if n else 0), n


def _grouped(input: Tensor, dim: int | None, consecutive: bool, wants: tuple[bool, bool], name: str) -> _Unique:
    """Shared by unique and unique_consecutive: reads the input, and takes the chosen elements by an operator."""
    d = None if dim is None else wrap_dim(dim, input.ndim)
    data = _host_of(input)
    rows, n = _first_seen(data, d, name)
    kind = rows.dtype
    if kind.kind == "V" or kind.name == "bfloat16":
        rows = rows.astype(np.float32)
    # lexsort takes its last key first; NaNs differ from each other, as in PyTorch
    order = np.arange(n) if consecutive else np.lexsort(rows.T[::-1]) if rows.shape[1] else np.arange(n)
    ranked = rows[order]
    new = np.ones(n, bool)
    if n:
        new[1:] = (ranked[1:] != ranked[:-1]).any(1)
    group = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    first = found_tensor(order[starts].astype(np.int64), input.device)
    flat = input.detach().reshape(-1) if d is None else input.detach()
    output = Tensor._index(flat, (first,), (0,) * (d or 0) + (1,), False)
    inverse = counts = None
    if wants[0]:
        back = np.empty(n, np.int64)
        back[order] = group
        inverse = host_tensor(back.reshape(data.shape if d is None else (n,)), input.device)
    if wants[1]:
        counts = host_tensor(np.diff(np.append(starts, n)).astype(np.int64), input.device)
    return _Unique(output, inverse, counts)


@function(method=True)
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements, or slices along ``dim``, in ascending order (whatever ``sorted`` says).

    Returns output, then, if asked for, where in output each element went (int64, in the shape of ``input``), and how
    often each occurs.  Reads ``input``; has no gradient.
    """
    return _grouped(input, dim, False, (return_inverse, return_counts), "unique").chosen()


@function(method=True)
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """As ``unique``, but only neighbours that are equal are joined, and the order stays."""
    return _grouped(input, dim, True, (return_inverse, return_counts), "unique_consecutive").chosen()


# ----------------------------------------------------------------------------------------------------------- index_put


def _put(input: Tensor, indices: Any, values: Tensor, accumulate: bool, form: str) -> Tensor:
    if not isinstance(values, Tensor):
        raise TypeError(f"{form}(): argument 'values' (position 2) must be Tensor, not {type(values).__name__}")
    for i, t in enumerate(indices):
        if t is not None and not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
    # an index tensor without dims is one like the others here, not an integer
    index = tuple(slice(None) if t is None else t if t.ndim else t.reshape(1) for t in indices)
    _, _, advanced = _parse(input, index)
    if not advanced:
        raise RuntimeError(f"{form}: at least one index tensor is needed")
    if len(advanced) == 1 and not accumulate:
        refuse_bytes(index, values)
    tensors, kinds, safe = _tensors(input, advanced)
    method = input._index_put_ if form.endswith("_") else input._index_put
    return method(tensors, values, kinds, accumulate, not safe)


@function(method=True)
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of ``input`` with ``input[indices] = values``; with accumulate values are added, also to repeated places.

    indices: a tuple of integer tensors, masks, or None for a whole dim.  values broadcasts and has the dtype of input.
    """
    return _put(input, indices, values, accumulate, "index_put")


@function(method=True)
def index_put_(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """In-place form of ``index_put``."""
    return _put(input, indices, values, accumulate, "index_put_")


# ------------------------------------------------------------------------------------------------------------ segments


@function(aliases=("_segment_reduce",))
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Reduce runs of slices along ``axis``, told by their ``lengths`` or by the ``offsets`` where they begin and end.

    reduce: "sum", "mean", "max", "min" or "prod".   initial: takes part in every segment; without it an empty one gives
    what is neutral (nan for "mean").   unsafe: leave out the checks on the lengths.
    Raises RuntimeError for lengths that are negative or do not fill the axis.
    """
    from ..ops.indexing import _SEGMENTS

    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    if (lengths is None) == (offsets is None):
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined, and not both.")
    if reduce not in _SEGMENTS:
        raise RuntimeError(f"segment_reduce(): reduce must be one of {', '.join(_SEGMENTS)}, got {reduce}")
    if not data.dtype.is_floating_point:
        raise NotImplementedError(f'"_segment_reduce_cpu" not implemented for {data.dtype}')
    told = lengths if lengths is not None else offsets
    axis = wrap_dim(axis, data.ndim)
    if told.ndim != axis + 1:
        raise RuntimeError(f"segment_reduce(): Expected axis to be the last dimension of lengths but got {axis}.")
    if not data.numel() and not told.numel():
        raise RuntimeError("segment_reduce(): Expected data.numel() > 0")
    if lengths is not None:
        known = lengths._get().data
        if type(known) is np.ndarray and not unsafe and in_sight(lengths._value):
            if known.size and known.min() < 0:
                raise RuntimeError("lengths contains negative value!")
            if (known.sum(-1) != data.shape[axis]).any():
                raise RuntimeError(
                    "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) "
                    "when !unsafe."
                )
        from .functions import cat

        bounds = cat([lengths.new_zeros((*lengths.shape[:-1], 1)), lengths.cumsum(-1).to(dtype=lengths.dtype)], -1)
    else:
        bounds = offsets
    given = initial is not None
    kind = _SEGMENTS[reduce]
    return _form("_segments")(data, bounds, kind, axis, initial if given else 0.0, given, unsafe, lengths is not None)


def _form(name: str) -> Any:
    from ..ops import lookup
    from ._wrap import form

    return form(lookup(name))
