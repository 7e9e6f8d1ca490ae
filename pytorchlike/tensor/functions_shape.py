"""Composite functions that split, join and reshape; every part that they return is a view where PyTorch's is one."""

from __future__ import annotations

import itertools
import operator
from typing import Any

from ..engine.errors import warn_once
from ..ops._sizes import broadcast_sizes, wrap_dim
from ..ops._table import METHODS
from ._register import function
from ._tensor import Tensor
from ._views import link_step
from .dtype import bool_
from .indexing import _slice, host_row
from .size import Size

_WHOLE = (":",)
_GETITEM = METHODS["_getitem"]
#: Parts up to which a tensor on the tape is split by one operation.
_TOGETHER = 16
#: Slices up to which it is unbound by one: where a loop goes over more, its rounds shall each take their own.
_UNBOUND = 4


def _ints(x: Any) -> tuple[int, ...]:
    """Integers out of one, a sequence of them, or an integer tensor."""
    if isinstance(x, Tensor):
        x = x.tolist()
    try:
        return (x.__index__(),) if hasattr(x, "__index__") else tuple([operator.index(n) for n in x])
    except TypeError as error:
        raise TypeError(f"expected an int or a sequence of ints, got {x!r:.60}") from error


def _part(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``input[start : start + length]`` along ``dim``, as a view."""
    if length.__class__ is not int:
        length = length.__index__()
    if length == input._value.meta.shape[dim]:
        return input._getitem((), _WHOLE * (dim + 1))
    return input._getitem((start.__index__(),), (*_WHOLE * dim, (length, 1)))


def _parts(input: Tensor, dim: int, sizes: list[int]) -> tuple[Tensor, ...]:
    """Views of these sizes, one after the other, along ``dim``."""
    together = 1 < len(sizes) <= _TOGETHER and input._value.meta.grad
    values = input._split(tuple(sizes), dim) if together else None
    out, start, dim = [], 0, dim % input.ndim
    for i, n in enumerate(sizes):
        if values is None:
            out.append(_part(input, dim, start, n))
        else:
            link_step(input, values[i], _GETITEM, (1, (*_WHOLE * dim, (n, 1))), (start,))
            out.append(values[i])
        start += n
    return tuple(out)


# --------------------------------------------------------------------------------------------------- as another tensor


@function(namespace=None, method=True)
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.view(other.size())``."""
    return input.view(other.shape)


@function(namespace=None, method=True)
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.reshape(other.size())``."""
    return input.reshape(other.shape)


@function(namespace=None, method=True)
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.expand(other.size())``."""
    return input.expand(other.shape)


@function(method=True)
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The view whose element (i, j, …) is element ``storage_offset + i * stride[0] + j * stride[1] + …`` in storage.

    storage_offset: that of ``input`` if None.  Raises RuntimeError for a place outside the storage.
    """
    if storage_offset is None:
        storage_offset = input.storage_offset()
    base, start = input._stored()
    return base._as_strided(tuple(size), tuple(stride), storage_offset - start)


# ------------------------------------------------------------------------------------------------------ parts by place


@function(method=True)
def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """The view of ``length`` elements along ``dim`` from ``start`` on, which may count from the end.

    Raises IndexError or RuntimeError when they do not lie inside.
    """
    shape = input._value.meta.shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    dim = wrap_dim(dim, len(shape))
    if isinstance(start, Tensor) and (start.ndim or start.dtype is bool_ or not _whole(start)):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    n, at = shape[dim], start.__index__()
    if not -n <= at <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {at})")
    at = at + n if at < 0 else at
    if at + length > n:
        raise RuntimeError(f"start ({at}) + length ({length}) exceeds dimension size ({n}).")
    return _part(input, dim, at, length)


def _whole(x: Tensor) -> bool:
    return not x.dtype.is_floating_point and not x.dtype.is_complex


def _select(input: Tensor, dim: int, index: int) -> tuple[tuple, tuple]:
    shape = input._value.meta.shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = wrap_dim(dim, len(shape))
    n, at = shape[dim], index.__index__()
    if not -n <= at < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {dim}")
    return (at + n if at < 0 else at,), (*_WHOLE * dim, "i")


@function(method=True)
def select(input: Tensor, dim: int, index: int | Tensor) -> Tensor:
    """The view at one index along ``dim``, without that dim.  A tensor as index is not read, and gives a copy."""
    if isinstance(index, Tensor):
        return input[(slice(None),) * wrap_dim(dim, input.ndim) + (index,)]
    return input._getitem(*_select(input, dim, index))


@function(method=True)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of ``input`` whose slice ``select(dim, index)`` is ``src``."""
    starts, spec = _select(input, dim, index)
    shape = input.shape
    dim = wrap_dim(dim, len(shape))
    _same_slice(src, (*shape[:dim], *shape[dim + 1 :]))
    return input._setitem(src, starts, spec)


@function(method=True)
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of ``input`` whose part ``[start:end:step]`` along ``dim`` is ``src``."""
    shape = input.shape
    dim = wrap_dim(dim, len(shape))
    at, entry = _slice(slice(start, end, step), shape[dim])
    _same_slice(src, shape if at is None else (*shape[:dim], entry[0], *shape[dim + 1 :]))
    return input._setitem(src, () if at is None else (at,), (*_WHOLE * dim, entry))


def _same_slice(src: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(src.shape) != tuple(shape):
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. "
            f"src size = {list(src.shape)}, slice size = {list(shape)}"
        )


# ----------------------------------------------------------------------------------------------------------- splitting


@function(method=True)
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices along ``dim``, as views without that dim."""
    shape = input._value.meta.shape
    if not shape:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    at = wrap_dim(dim, len(shape))
    spec = (*_WHOLE * at, "i")
    if not (1 < shape[at] <= _UNBOUND and input._value.meta.grad):
        first = host_row(input, 0) if not at and shape[0] else None
        if first is not None:
            return (first, *[host_row(input, i) for i in range(1, shape[0])])  # type: ignore[misc]
        return tuple([input._getitem((i,), spec) for i in range(shape[at])])
    parts = input._unbind(dim)
    for i, part in enumerate(parts):
        link_step(input, part, _GETITEM, (1, spec), (i,))
    return tuple(parts)


@function(method=True, aliases=("unsafe_split_with_sizes",))
def split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of the given sizes, one after the other, along ``dim``; the sizes add up to the dim's."""
    shape = input._value.meta.shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    at = wrap_dim(dim, len(shape))
    sizes = _ints(split_sizes)
    for n in sizes:
        if n < 0:
            raise RuntimeError(
                "split_with_sizes expects split_sizes have only non-negative entries, but got "
                f"split_sizes={list(sizes)}"
            )
    if sum(sizes) != shape[at]:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {shape[at]} (input tensor's size at dimension "
            f"{dim}), but got split_sizes={list(sizes)}"
        )
    return _parts(input, dim, list(sizes))


@function
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views along ``dim`` of one size each (the last may be smaller), or of the sizes in a list.

    >>> [len(part) for part in torch.arange(5).split(2)]
    [2, 2, 1]
    """
    if not hasattr(split_size_or_sections, "__index__") or (
        isinstance(split_size_or_sections, Tensor) and split_size_or_sections.ndim
    ):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    size = split_size_or_sections.__index__()
    shape = tensor._value.meta.shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    at = wrap_dim(dim, len(shape))
    n = shape[at]
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and n:
        raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
    if n <= size:
        return (_part(tensor, at, 0, n),)
    return _parts(tensor, dim, [min(size, n - at) for at in range(0, n, size)])


@function(method=True, namespace=None, name="split")
@function(method=True, name="unsafe_split")
def _split_by(input: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """:func:`split`, under the names that the method's parameters have."""
    return split(input, split_size, dim)


_split_by.__name__ = _split_by.__qualname__ = "split"


@function(method=True, aliases=("unsafe_chunk",))
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of one size along ``dim``; the last may be smaller, and there may be fewer."""
    shape = input._value.meta.shape
    if not shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = shape[wrap_dim(dim, len(shape))]
    size = -(-n // chunks)
    if not size:
        return split_with_sizes(input, (0,) * chunks, dim)
    return split(input, size, dim)


@function(method=True)
def tensor_split(
    input: Tensor, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None, sections: Any = None
) -> tuple[Tensor, ...]:
    """Views along ``dim``: so many of nearly one size, or cut before each of the given indices.

    Either way by position, or under its own name.
    """
    given = [v for v in (indices_or_sections, indices, sections) if v is not None]
    if len(given) != 1:
        raise TypeError("tensor_split() takes one of indices_or_sections, indices and sections")
    (indices_or_sections,) = given
    shape = input._value.meta.shape
    if not shape:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    dim = wrap_dim(dim, len(shape))
    n = shape[dim]
    if isinstance(indices_or_sections, Tensor):
        if indices_or_sections.ndim > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, "
                f"but got a tensor with {indices_or_sections.ndim} dims"
            )
        indices_or_sections = indices_or_sections.tolist()
    if hasattr(indices_or_sections, "__index__"):
        sections = indices_or_sections.__index__()
        if sections <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {sections}")
        small, more = divmod(n, sections)
        return split_with_sizes(input, [small + (i < more) for i in range(sections)], dim)
    cuts = [0, *(slice(i).indices(n)[1] for i in _ints(indices_or_sections)), n]
    return tuple([_part(input, dim, a, max(b - a, 0)) for a, b in itertools.pairwise(cuts)])


def _split_along(name: str, input: Tensor, given: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    if input.ndim < least:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {input.ndim} "
            "dimensions!"
        )
    if isinstance(given, (str, float)):
        raise TypeError(f"{name}() received an invalid combination of arguments - got (Tensor, {type(given).__name__})")
    if hasattr(given, "__index__") and not (isinstance(given, Tensor) and given.ndim):
        n, size = given.__index__(), input.shape[dim]
        if n <= 0 or size % n:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension {size} is not "
                f"divisible by the split_size {n}!"
            )
        given = n
    return tensor_split(input, given, dim)


@function(method=True)
def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along columns (dim 1, or 0 of a vector); a number of sections must divide the size."""
    return _split_along("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


@function(method=True)
def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along rows (dim 0); a number of sections must divide the size."""
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


@function(method=True)
def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along dim 2; a number of sections must divide the size."""
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


# -------------------------------------------------------------------------------------------------------- broadcasting


def _listed(tensors: tuple) -> tuple:
    return tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors


@function
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to.  Raises RuntimeError if there is none."""
    try:
        sizes = [_ints(s) for s in shapes]
    except TypeError:
        raise RuntimeError("Input shapes should be of type ints, a tuple of ints, or a list of ints") from None
    if any(n < 0 for s in sizes for n in s):
        raise ValueError("Attempting to broadcast a dimension with negative length!")
    try:
        return Size(broadcast_sizes(*sizes))
    except RuntimeError as error:
        raise RuntimeError(
            f"Shape mismatch: objects cannot be broadcast to a single shape: {[list(s) for s in sizes]}"
        ) from error


@function
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape, as views."""
    tensors = _listed(tensors)
    size = broadcast_sizes(*[t._value.meta.shape for t in tensors])
    return tuple([t.expand(size) for t in tensors])


@function
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Grids of coordinates, as views: grid k varies along dim k by the elements of tensor k.

    indexing: "ij" (the default), or "xy", which exchanges the first two dims.
    """
    tensors = _listed(tensors)
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for t in tensors:
        if t.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {t}")
        if t.dtype != tensors[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
        if t.device != tensors[0].device:
            raise RuntimeError("meshgrid expects all tensors to have the same device")
    if indexing is None:
        warn_once("torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.")
    flip = indexing == "xy" and len(tensors) > 1
    if flip:
        tensors = (tensors[1], tensors[0], *tensors[2:])
    size = tuple(t.numel() for t in tensors)
    out = [t.reshape((1,) * k + (size[k],) + (1,) * (len(size) - k - 1)).expand(size) for k, t in enumerate(tensors)]
    if flip:
        out[0], out[1] = out[1], out[0]
    return tuple(out)


def _at_least(tensors: tuple, change: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return change(tensors[0])
    return tuple([change(t) for t in _listed(tensors)])


@function
def atleast_1d(*tensors: Any) -> Any:
    """The tensors, 0-dim ones as views of shape (1,).  One tensor gives a tensor, several a tuple."""
    return _at_least(tensors, lambda t: t if t.ndim else t.reshape(1))


@function
def atleast_2d(*tensors: Any) -> Any:
    """The tensors with at least two dims: vectors become rows."""
    return _at_least(tensors, lambda t: t if t.ndim > 1 else t.reshape(1, t.numel()))


@function
def atleast_3d(*tensors: Any) -> Any:
    """The tensors with at least three dims: a vector becomes (1, n, 1), a matrix (n, m, 1)."""
    return _at_least(
        tensors, lambda t: t if t.ndim > 2 else t.unsqueeze(-1) if t.ndim == 2 else t.reshape(1, t.numel(), 1)
    )


@function
def block_diag(*tensors: Tensor) -> Tensor:
    """The matrix with the given ones (numbers and vectors count as one row) along its diagonal, and 0 elsewhere."""
    from .functions import _block_diag, zeros

    return _block_diag(tensors) if tensors else zeros(1, 0)


@function
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of each vector, a row each; one vector alone comes back itself."""
    for t in tensors:
        if t.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    from .functions import stack

    return stack([g.reshape(-1) for g in meshgrid(*tensors, indexing="ij")], 1)


@function
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of ``r`` elements of a vector, a row each, in the order of their places."""
    import numpy as np

    from ._tensor import host_tensor

    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    return input[host_tensor(places, input.device, constant=True)]
