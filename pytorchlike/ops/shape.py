"""Operators that join, repeat and reorder elements into new arrays; those that only look at them are in ``views``."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._shapes import joined, like_input, stacked
from ._sizes import wrap_dim, wrap_dims
from ._table import Array, Arrays, Scalar, Sizes, op, result_type
from .views import diagonal_of, moved_back, put_diagonal, put_strided

# ------------------------------------------------------------------------------------------------- joining tensors


def _cat(tensors, dim: int, name: str):
    if not tensors:
        raise ValueError(f"torch.{name}(): expected a non-empty list of Tensors")
    dtype = result_type(*tensors)
    # An empty 1-D tensor joins with anything: PyTorch keeps this from its early days.
    kept = [(i, x) for i, x in enumerate(tensors) if x.shape != (0,)]
    for i, x in enumerate(tensors):
        if x.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    if not kept:
        wrap_dim(dim, 1)
        return tensors[0].astype(dtype)
    first = kept[0][1]
    dim = wrap_dim(dim, first.ndim)
    for i, x in kept[1:]:
        if x.ndim != first.ndim:
            raise RuntimeError(f"Tensors must have same number of dimensions: got {first.ndim} and {x.ndim}")
        for d in range(x.ndim):
            if d != dim and x.shape[d] != first.shape[d]:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {first.shape[d]} but got "
                    f"size {x.shape[d]} for tensor number {i} in the list."
                )
    parts = [x.astype(dtype) for _, x in kept]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, dim)


def _host_cat(arrays, n, dim):
    """`cat` of NumPy arrays of one dtype; None for what needs a closer look, or will be refused."""
    shape = arrays[0].shape
    if type(dim) is not int or not shape or not -len(shape) <= dim < len(shape):
        return None
    rest = (shape[:dim], shape[dim:][1:])
    for x in arrays:
        if x.ndim != len(shape) or (x.shape[:dim], x.shape[dim:][1:]) != rest:
            return None
    return np.concatenate(arrays, dim)


def _host_stack(arrays, n, dim):
    """`stack` of NumPy arrays of one dtype; None for what will be refused."""
    shape = arrays[0].shape
    if type(dim) is not int or not -len(shape) - 1 <= dim <= len(shape):
        return None
    for x in arrays:
        if x.shape != shape:
            return None
    if dim == 0:  # the same as np.stack, without its views of each
        out = np.empty((n, *shape), arrays[0].dtype)
        for i, x in enumerate(arrays):
            out[i] = x
        return out
    return np.stack(arrays, dim)


@op(aliases=("concat", "concatenate"), saves=False, method=False, host=_host_cat, shapes=joined)
def cat(tensors: Arrays, dim: int = 0):
    """Joins tensors along an existing dim; all other sizes must agree.  Dtype: the promotion of all dtypes.

    >>> torch.cat([torch.zeros(1, 2), torch.ones(2, 2)]).shape
    torch.Size([3, 2])
    """
    return _cat(tensors, dim, "cat")


@op(saves=False, method=False, host=_host_stack, shapes=stacked)
def stack(tensors: Arrays, dim: int = 0):
    """Joins tensors of one shape along a new dim at ``dim``.  Dtype: the promotion of all dtypes."""
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0].shape
    dim = wrap_dim(dim, len(first) + 1)
    for i, x in enumerate(tensors):
        if x.shape != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(x.shape)} at "
                f"entry {i}"
            )
    dtype = result_type(*tensors)
    return jnp.concatenate([jnp.expand_dims(x.astype(dtype), dim) for x in tensors], dim)


def _not_empty(tensors, name: str):
    if not tensors:
        raise RuntimeError(f"{name} expects a non-empty TensorList")


def _at_least(x, n: int):
    if x.ndim >= n:
        return x
    if n == 3:
        return x.reshape({0: (1, 1, 1), 1: (1, x.size, 1), 2: (*x.shape, 1)}[x.ndim])
    return x.reshape((1,) * (n - x.ndim) + x.shape)


@op(saves=False, method=False)
def hstack(tensors: Arrays):
    """Joins along dim 1, or along dim 0 if the tensors have one; 0-dim ones become 1-dim first."""
    _not_empty(tensors, "hstack")
    tensors = [_at_least(x, 1) for x in tensors]
    return _cat(tensors, 0 if tensors[0].ndim == 1 else 1, "hstack")


@op(saves=False, method=False, aliases=("row_stack",))
def vstack(tensors: Arrays):
    """Joins rows: along dim 0, after tensors of fewer than two dims became rows."""
    _not_empty(tensors, "vstack")
    return _cat([_at_least(x, 2) for x in tensors], 0, "vstack")


@op(saves=False, method=False)
def dstack(tensors: Arrays):
    """Joins along dim 2, after tensors of fewer than three dims got further ones."""
    _not_empty(tensors, "dstack")
    return _cat([_at_least(x, 3) for x in tensors], 2, "dstack")


@op(saves=False, method=False)
def column_stack(tensors: Arrays):
    """Joins columns: along dim 1, after tensors of fewer than two dims became columns."""
    _not_empty(tensors, "column_stack")
    return _cat([x.reshape((x.size, 1)) if x.ndim < 2 else x for x in tensors], 1, "column_stack")


@op(saves=False, method=False)
def _block_diag(tensors: Arrays):
    """Matrices along the diagonal of a matrix of zeros; numbers and vectors count as one row."""
    dtype = result_type(*tensors)
    for i, x in enumerate(tensors):
        if x.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {x.ndim} dimensions"
            )
    blocks = [_at_least(x, 2).astype(dtype) for x in tensors]
    width, left, rows = sum(b.shape[1] for b in blocks), 0, []
    for b in blocks:
        rows.append(jnp.pad(b, ((0, 0), (left, width - left - b.shape[1]))))
        left += b.shape[1]
    return jnp.concatenate(rows, 0)


# ------------------------------------------------------------------------------------------- repeating and reordering


def _tile(input, repeats):
    shape = (1,) * (len(repeats) - input.ndim) + input.shape
    for i, r in enumerate(repeats):
        if r < 0:
            total = [a * b for a, b in zip(repeats, shape, strict=True)]
            raise RuntimeError(f"Trying to create tensor with negative dimension {total[i]}: {total}")
    wide = [n for r, s in zip(repeats, shape, strict=True) for n in (r, s)]
    split = [n for s in shape for n in (1, s)]
    x = jnp.broadcast_to(input.reshape(split), wide)
    return x.reshape(tuple(r * s for r, s in zip(repeats, shape, strict=True)))


@op(function=False, out=False, saves=False)
def repeat(input: Array, repeats: Sizes):
    """The tensor copied ``repeats[i]`` times along dim i; further repeats in front add dims.

    Raises RuntimeError for fewer repeats than dims.
    """
    if len(repeats) < input.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    return _tile(input, repeats)


def _joined_with_itself(static: tuple, meta):
    """``cat([x] * n, dim)`` of many is ``x`` repeated: XLA would add n gradients up wherever their sum is used."""
    (n, dim), rank = static, len(meta.shape)
    if n < 8 or type(dim) is not int or not -rank <= dim < rank or meta.shape == (0,):
        return None
    return repeat.op, (tuple([n if d == dim % rank else 1 for d in range(rank)]),)


cat.op.alike = _joined_with_itself


@op(out=False, saves=False)
def tile(input: Array, dims: Sizes):
    """As ``repeat``, but missing repeats in front count as 1."""
    return _tile(input, (1,) * (input.ndim - len(dims)) + tuple(dims))


@op(namespace=None, method=True, out=False, saves=False)
def _repeat_interleave_int(input: Array, repeats: int, dim: int | None = None):
    """Each slice along ``dim`` (each element, if None) ``repeats`` times in a row."""
    if repeats < 0:
        raise RuntimeError("Repeats must be non-negative")
    x = input.reshape((-1,)) if dim is None or not input.ndim else input
    d = wrap_dim(0 if dim is None else dim, x.ndim)
    wide = jnp.broadcast_to(jnp.expand_dims(x, d + 1), (*x.shape[: d + 1], repeats, *x.shape[d + 1 :]))
    return wide.reshape((*x.shape[:d], x.shape[d] * repeats, *x.shape[d + 1 :]))


@op(namespace=None, method=True, out=False)
def _repeat_interleave_index(repeats: Array, output_size: int):
    """Index i ``repeats[i]`` times in a row: int of shape (output_size,), which must be the sum of ``repeats``."""
    total = jnp.cumsum(repeats)
    check((repeats >= 0).all(), RuntimeError, "repeats can not be negative")
    if repeats.shape[0]:
        check(total[-1] == output_size, RuntimeError, "allocated size does not match required size")
    elif output_size:
        raise RuntimeError("allocated size does not match required size")
    # A mark where each run ends; counting the marks before a place gives the run that it belongs to.
    marks = jnp.zeros((output_size + 1,), repeats.dtype).at[total].add(jnp.ones((), repeats.dtype), mode="drop")
    return jnp.cumsum(marks)[:output_size]


@op(out=False, saves=False)
def flip(input: Array, dims: Sizes):
    """The order of the elements reversed along ``dims``."""
    dims = wrap_dims(dims, input.ndim)
    return lax.rev(input, dims) if input.ndim else input


@op(out=False, saves=False)
def fliplr(input: Array):
    """The columns in reversed order; needs two dims."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return lax.rev(input, (1,))


@op(out=False, saves=False)
def flipud(input: Array):
    """The rows in reversed order; needs one dim."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return lax.rev(input, (0,))


@op(out=False, saves=False)
def roll(input: Array, shifts: int | tuple[int, ...], dims: int | tuple[int, ...] = ()):
    """Elements moved by ``shifts`` along ``dims``, those pushed out coming in again at the other end.

    Without ``dims`` the flattened tensor is rolled and its shape restored.
    """
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if not shifts:
        raise RuntimeError("`shifts` required")
    if len(shifts) != len(dims) and (dims or len(shifts) != 1):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    if not input.size or not input.ndim:
        if dims and not input.ndim:
            raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
        [wrap_dim(d, input.ndim) for d in dims]
        return input
    x = input if dims else input.reshape((-1,))
    for s, d in zip(shifts, dims or (0,), strict=True):
        d = wrap_dim(d, x.ndim)
        n = x.shape[d]
        k = (n - s) % n
        if k:
            x = jnp.concatenate([lax.slice_in_dim(x, k, n, axis=d), lax.slice_in_dim(x, 0, k, axis=d)], d)
    return x.reshape(input.shape)


@op(out=False, saves=False)
def rot90(input: Array, k: int = 1, dims: tuple[int, ...] = (0, 1)):
    """Rotated ``k`` times by 90 degrees in the plane of two dims, from the first towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (wrap_dim(d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    k %= 4
    if k == 0:
        return input
    if k == 2:
        return lax.rev(input, (a, b))
    return lax.rev(input.swapaxes(a, b), (a if k == 1 else b,))


# --------------------------------------------------------------------------------------- triangles and diagonals, new


def _band(input, diagonal: int, name: str):
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    shape = input.shape[-2:]
    return lax.broadcasted_iota(np.int32, shape, 0) + np.int32(
        max(min(diagonal, 2**30), -(2**30))
    ), lax.broadcasted_iota(np.int32, shape, 1)


@op(inplace=True, saves=False, shapes=like_input)
def tril(input: Array, diagonal: int = 0):
    """Each matrix with what lies above diagonal number ``diagonal`` set to 0."""
    rows, cols = _band(input, diagonal, "tril")
    return jnp.where(rows >= cols, input, jnp.zeros((), input.dtype))


@op(inplace=True, saves=False, shapes=like_input)
def triu(input: Array, diagonal: int = 0):
    """Each matrix with what lies below diagonal number ``diagonal`` set to 0."""
    rows, cols = _band(input, diagonal, "triu")
    return jnp.where(rows <= cols, input, jnp.zeros((), input.dtype))


def _diag_embed(input, offset: int, dim1: int, dim2: int):
    ndim = input.ndim + 1
    a, b = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = input.shape[-1]
    m = n + abs(offset)
    start = max(-offset, 0) * m + max(offset, 0)
    if n:
        used = start + (n - 1) * (m + 1) + 1
        width = [(0, 0, 0)] * (input.ndim - 1)
        x = lax.pad(input, jnp.zeros((), input.dtype), [*width, (start, m * m - used, m)])
    else:
        x = jnp.zeros((*input.shape[:-1], m * m), input.dtype)
    return moved_back(x.reshape((*input.shape[:-1], m, m)), a, b)


@op(out=False, saves=False)
def diag_embed(input: Array, offset: int = 0, dim1: int = -2, dim2: int = -1):
    """Matrices that hold the last dim of ``input`` on diagonal ``offset`` and 0 elsewhere; they fill dims dim1, dim2.

    Shape (*, n) -> (*, n + |offset|, n + |offset|) for the default dims.
    """
    if not input.ndim:
        raise IndexError("Dimension out of range (diag_embed: expected at least 1 dimension, but got none)")
    return _diag_embed(input, offset, dim1, dim2)


@op(saves=False)
def diag(input: Array, diagonal: int = 0):
    """Of a vector the matrix with it on a diagonal; of a matrix a copy of that diagonal."""
    if input.ndim == 1:
        return _diag_embed(input, diagonal, 0, 1)
    if input.ndim == 2:
        return diagonal_of(input, diagonal)
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")


@op(out=False, saves=False)
def diagflat(input: Array, offset: int = 0):
    """The matrix that holds all elements of ``input``, in order, on a diagonal."""
    return _diag_embed(input.reshape((-1,)), offset, 0, 1)


@op(method=False, out=False, saves=False)
def constant_pad_nd(input: Array, pad: tuple[int, ...], value: Scalar = 0):
    """``input`` with ``value`` around it: pad has (before, after) of the last dim, then of the one before it, ...

    Negative numbers cut off.
    """
    if len(pad) % 2:
        raise RuntimeError("Length of pad must be even but instead it equals " + str(len(pad)))
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. Pad length is "
            f"{len(pad)} while the input has {input.ndim} dimensions."
        )
    width = [(0, 0, 0)] * input.ndim
    for k in range(len(pad) // 2):
        d = input.ndim - 1 - k
        low, high = pad[2 * k], pad[2 * k + 1]
        if input.shape[d] + low + high < 0:
            raise RuntimeError(
                f"The input size {input.shape[d]}, plus negative padding {low} and {high} resulted in a negative "
                f"output size, which is invalid. Check dimension {d} of your input."
            )
        width[d] = (low, high, 0)
    return lax.pad(input, jnp.asarray(value).astype(input.dtype), width)


# -------------------------------------------------------------------------------------- writing through a view, as copy


def _same_slice(src, slice_shape):
    if tuple(src.shape) != tuple(slice_shape):
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. "
            f"src size = {list(src.shape)}, slice size = {list(slice_shape)}"
        )


@op(saves=False)
def diagonal_scatter(input: Array, src: Array, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """A copy of ``input`` whose diagonal (see ``diagonal``) is ``src``."""
    _same_slice(src, jax.eval_shape(lambda x: diagonal_of(x, offset, dim1, dim2), input).shape)
    return put_diagonal(input, src.astype(input.dtype), offset=offset, dim1=dim1, dim2=dim2)


@op(saves=False)
def as_strided_scatter(
    input: Array, src: Array, size: tuple[int, ...], stride: tuple[int, ...], storage_offset: int | None = None
):
    """A copy of ``input`` in which the elements that ``as_strided`` shows are those of ``src``."""
    _same_slice(src, size)
    return put_strided(input, src.astype(input.dtype), size=size, stride=stride, storage_offset=storage_offset)
