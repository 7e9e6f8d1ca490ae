"""Views: operators whose result shows the elements of their argument.

A view's body also runs on NumPy arrays (the strides of a view are read off such a run), so views use array methods and
slicing only.  Its ``put(base, new, **arguments)`` is the inverse used for writing: ``base`` with the part that the view
shows replaced by ``new``.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from ._dtypes import type_name
from ._sizes import expanded_size, infer_size, wrap_dim, wrap_dims
from ._table import ONCE, Array, Sizes, op, view_rule

_OVERLAP = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
    "Please clone() the tensor before performing the operation."
)


def _moved(ndim: int, source: Sequence[int], destination: Sequence[int]) -> tuple[int, ...]:
    """The permutation that puts dims ``source`` at ``destination`` and keeps the order of the rest."""
    order = [d for d in range(ndim) if d not in source]
    for to, of in sorted(zip(destination, source, strict=True)):
        order.insert(to, of)
    return tuple(order)


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    out = [0] * len(order)
    for i, d in enumerate(order):
        out[d] = i
    return tuple(out)


def moved_last(x, *dims: int):
    """``x`` with ``dims`` moved last, in that order."""
    return x.transpose(_moved(x.ndim, dims, tuple(range(x.ndim - len(dims), x.ndim))))


def moved_back(x, *dims: int):
    """Inverse of :func:`moved_last`."""
    return x.transpose(_inverse(_moved(x.ndim, dims, tuple(range(x.ndim - len(dims), x.ndim)))))


def _put_reshape(base, new, **_):
    return new.reshape(base.shape)


def _parse_view(*args, **kwargs):
    target = args[1] if len(args) > 1 else kwargs.get("dtype")
    if type(target) is not int and isinstance(getattr(target, "numpy", None), np.dtype):
        return "_view_dtype", args, kwargs
    return None, args, kwargs


@op(view=view_rule(_put_reshape), function=False, out=False, saves=False, parse=_parse_view)
def view(input: Array, size: Sizes):
    """The same elements, in the same order, under another shape; one size may be -1 and is inferred.

    Called with a dtype, the bytes are reinterpreted instead (``_view_dtype``).  Raises RuntimeError when the number of
    elements differs, or when the strides of ``input`` do not allow a view.

    >>> torch.arange(6).view(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    return input.reshape(infer_size(size, input.size))


@op(view=view_rule(_put_reshape), out=False, saves=False)
def reshape(input: Array, shape: Sizes):
    """As ``view``, but of any tensor: a view where the strides allow one, a copy otherwise."""
    return input.reshape(infer_size(shape, input.size))


@op(view=view_rule(_put_reshape), out=False, saves=False)
def flatten(input: Array, start_dim: int = 0, end_dim: int = -1):
    """Joins dims ``start_dim`` to ``end_dim`` (inclusive) into one; a 0-dim tensor becomes one of shape (1,)."""
    if input.ndim == 0:
        wrap_dim(start_dim, 0), wrap_dim(end_dim, 0)
        return input.reshape((1,))
    first, last = wrap_dim(start_dim, input.ndim), wrap_dim(end_dim, input.ndim)
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    shape = input.shape
    return input.reshape((*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


@op(view=view_rule(_put_reshape), out=False, saves=False)
def ravel(input: Array):
    """All elements in one dimension; a view where the strides allow one."""
    return input.reshape((input.size,))


@op(view=view_rule(_put_reshape), out=False, saves=False)
def unflatten(input: Array, dim: int, sizes: tuple[int, ...]):
    """Splits dim ``dim`` into dims of ``sizes``, of which one may be -1."""
    dim = wrap_dim(dim, input.ndim)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    n = input.shape[dim]
    if sizes.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    known = math.prod(s for s in sizes if s != -1)
    if (known == 0 or n % known) if -1 in sizes else known != n:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({n}) in the "
            "input tensor"
        )
    return input.reshape((*input.shape[:dim], *infer_size(sizes, n), *input.shape[dim + 1 :]))


def _swap(input, a: int, b: int):
    a, b = wrap_dim(a, input.ndim), wrap_dim(b, input.ndim)
    return input.swapaxes(a, b) if input.ndim else input[...]


@op(view=view_rule(lambda base, new, *, dim0, dim1: _swap(new, dim0, dim1)), out=False, saves=False)
def transpose(input: Array, dim0: int, dim1: int):
    """Exchanges dims ``dim0`` and ``dim1``."""
    return _swap(input, dim0, dim1)


@op(view=view_rule(lambda base, new, *, axis0, axis1: _swap(new, axis0, axis1)), out=False, saves=False)
def swapaxes(input: Array, axis0: int, axis1: int):
    """Exchanges dims ``axis0`` and ``axis1``: ``transpose`` under NumPy's name."""
    return _swap(input, axis0, axis1)


@op(view=view_rule(lambda base, new, *, dim0, dim1: _swap(new, dim0, dim1)), out=False, saves=False)
def swapdims(input: Array, dim0: int, dim1: int):
    """Exchanges dims ``dim0`` and ``dim1``: another name of ``transpose``."""
    return _swap(input, dim0, dim1)


def _reverse_dims(x):
    return x.transpose(tuple(range(x.ndim))[::-1])


@op(view=view_rule(lambda base, new: _reverse_dims(new)), out=False, saves=False)
def t(input: Array):
    """The transposed matrix; tensors of fewer than two dims stay as they are."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return _reverse_dims(input)


@op(
    view=view_rule(lambda base, new: _reverse_dims(new)), function=False, out=False, saves=False,
    deprecated=(
        "input.ndim != 2",
        "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and it will throw "
        "an error in a future release. Use `x.mT` for batches of matrices, or `x.permute(*range(x.ndim - 1, -1, -1))`.",
        ONCE,
    ),
)  # fmt: skip
def T(input: Array):
    """Property: all dims in reversed order."""
    return _reverse_dims(input)


def _turned(input, name: str = ""):
    """The last two dims exchanged; a tensor without dims as it is."""
    if not input.ndim:
        return input[...]
    if input.ndim == 1:
        raise RuntimeError(f"tensor.{name} is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return input.swapaxes(-1, -2)


def _conj(x):
    return x.conj() if np.issubdtype(x.dtype, np.complexfloating) else x


@op(view=view_rule(lambda base, new: _turned(new)), function=False, out=False, saves=False)
def mT(input: Array):
    """Property: the last two dims exchanged.  Raises RuntimeError for one dim."""
    return _turned(input, "mT")


@op(view=view_rule(lambda base, new: _conj(_turned(new))), function=False, out=False, saves=False)
def mH(input: Array):
    """Property: the last two dims exchanged, and the conjugate taken."""
    return _conj(_turned(input, "mH"))


@op(view=view_rule(lambda base, new: _conj(_turned(new))), out=False, saves=False)
def adjoint(input: Array):
    """The conjugate transpose of a matrix, or of each matrix of a batch."""
    return _conj(_turned(input, "mH"))


@op(view=view_rule(lambda base, new: _conj(_reverse_dims(new))), function=False, out=False, saves=False)
def H(input: Array):
    """Property: the conjugate transpose of one matrix.  Raises RuntimeError unless there are 0 or 2 dims."""
    if input.ndim not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {input.ndim}-D tensor. For batches of "
            "matrices, consider using tensor.mH"
        )
    return _conj(_reverse_dims(input))


def _permutation(dims: Sequence[int], ndim: int) -> tuple[int, ...]:
    if len(dims) != ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {len(dims)}"
        )
    out = tuple(wrap_dim(d, ndim) for d in dims)
    if len(set(out)) != ndim:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return out


@op(
    view=view_rule(lambda base, new, *, dims: new.transpose(_inverse(_permutation(dims, base.ndim)))),
    out=False,
    saves=False,
)
def permute(input: Array, dims: Sizes):
    """Dims in another order: dim i of the result is dim ``dims[i]`` of ``input``."""
    return input.transpose(_permutation(dims, input.ndim))


def _movement(ndim: int, source, destination) -> tuple[int, ...]:
    source = (source,) if isinstance(source, int) else tuple(source)
    destination = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(source)} dims) should contain the same number "
            f"of dims as destination ({list(destination)} dims)"
        )
    lists = []
    for name, dims in (("source", source), ("destination", destination)):
        wrapped = tuple(wrap_dim(d, ndim) for d in dims)
        if len(set(wrapped)) != len(wrapped):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({list(dims)})")
        lists.append(wrapped)
    return _moved(ndim, *lists) if ndim else ()


@op(
    view=view_rule(
        lambda base, new, *, source, destination: new.transpose(_inverse(_movement(base.ndim, source, destination)))
    ),
    out=False,
    saves=False,
    aliases=("moveaxis",),
)
def movedim(input: Array, source: int | tuple[int, ...], destination: int | tuple[int, ...]):
    """Moves the dims ``source`` to the places ``destination``; the others keep their order."""
    return input.transpose(_movement(input.ndim, source, destination))


@op(view=view_rule(_put_reshape), out=False, saves=False)
def unsqueeze(input: Array, dim: int):
    """A new dim of size 1 at ``dim``, in [-(ndim + 1), ndim]."""
    dim = wrap_dim(dim, input.ndim + 1)
    return input.reshape((*input.shape[:dim], 1, *input.shape[dim:]))


@op(view=view_rule(_put_reshape), out=False, saves=False)
def squeeze(input: Array, dim: int | tuple[int, ...] | None = None):
    """Without the dims of size 1: all of them, or those among ``dim`` (others in ``dim`` stay)."""
    if dim is None:
        gone: tuple[int, ...] = tuple(range(input.ndim))
    elif isinstance(dim, int):
        gone = (wrap_dim(dim, input.ndim),)
    else:
        gone = wrap_dims(dim, input.ndim)
    return input.reshape(tuple(n for d, n in enumerate(input.shape) if n != 1 or d not in gone))


def _expand(input, size, name: str = "expand"):
    size = expanded_size(size, input.shape, name)
    if isinstance(input, np.ndarray):  # what NumPy broadcasts cannot be written to, also where nothing is repeated
        return input.reshape(size) if math.prod(size) == input.size else np.broadcast_to(input, size)
    return jnp.broadcast_to(input, size)


def _put_expand(base, new, **_):
    # Written only where nothing is repeated: then the two differ by leading dims of size 1.
    if new.size != base.size:
        raise RuntimeError(_OVERLAP)
    return new.reshape(base.shape)


@op(view=view_rule(_put_expand), function=False, out=False, saves=False)
def expand(input: Array, size: Sizes):
    """Dims of size 1 repeated to ``size`` without a copy; -1 keeps a size, further dims come in front.

    Raises RuntimeError if a size that is not 1 would change.
    """
    return _expand(input, size)


@op(view=view_rule(_put_expand), out=False, saves=False)
def broadcast_to(input: Array, size: Sizes):
    """As ``Tensor.expand``: ``input`` broadcast to the shape ``size``."""
    return _expand(input, size)


def _diagonal_place(shape, offset: int, dim1: int, dim2: int) -> tuple[int, int, int, int, int]:
    """dim1, dim2 from the front, then row and column of the first element, and the length of the diagonal."""
    n = len(shape)
    if n == 0:
        raise IndexError("diagonal: a tensor without dimensions has no diagonal; it needs at least 2 dimensions")
    a, b = wrap_dim(dim1, n), wrap_dim(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    row, col = max(-offset, 0), max(offset, 0)
    return a, b, row, col, max(min(shape[a] - row, shape[b] - col), 0)


def diagonal_of(input, offset: int = 0, dim1: int = 0, dim2: int = 1):
    a, b, row, col, length = _diagonal_place(input.shape, offset, dim1, dim2)
    if isinstance(input, np.ndarray):
        return input.diagonal(offset, a, b)
    # One strided slice of the flattened matrices: its gradient is a padding, where that of a gather is a scatter.
    x = moved_last(input, a, b)
    rows, cols = x.shape[-2:]
    x = x.reshape((*x.shape[:-2], rows * cols))
    start = row * cols + col
    return x[..., : 0 if not length else None : 1][..., start : start + (length - 1) * (cols + 1) + 1 : cols + 1]


def put_diagonal(base, new, *, offset=0, dim1=0, dim2=1):
    a, b, row, col, length = _diagonal_place(base.shape, offset, dim1, dim2)
    if not length:
        return base
    x = moved_last(base, a, b)
    rows, cols = x.shape[-2:]
    step, start = cols + 1, row * cols + col
    used = start + (length - 1) * step + 1
    width = [(0, 0, 0)] * (x.ndim - 2)
    # The elements laid out as in the flattened matrix, and beside them where they belong.
    spread = lax.pad(new, jnp.zeros((), new.dtype), [*width, (start, rows * cols - used, step - 1)])
    here = lax.broadcasted_iota(np.int32, (rows, cols), 0) + offset == lax.broadcasted_iota(np.int32, (rows, cols), 1)
    return moved_back(jnp.where(here, spread.reshape(x.shape), x), a, b)


@op(view=view_rule(put_diagonal), out=False, saves=False)
def diagonal(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """The elements whose index along ``dim2`` exceeds that along ``dim1`` by ``offset``, as a new last dim."""
    return diagonal_of(input, offset, dim1, dim2)


def _unfold_place(shape, dimension: int, size: int, step: int) -> tuple[int, int]:
    dim = wrap_dim(dimension, len(shape))
    n = shape[dim] if shape else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return dim, (n - size) // step + 1


def _put_unfold(base, new, *, dimension, size, step):
    dim, windows = _unfold_place(base.shape, dimension, size, step)
    if not base.ndim:
        return new.reshape(()) if size else base
    if not size:
        return base
    x = moved_last(base, dim)
    new = new.transpose(_moved(new.ndim, (dim,), (new.ndim - 2,)))
    if windows > 1 and step < size:
        # Windows share elements: which one wins is left open, as in PyTorch.
        at = lax.iota(np.int32, windows)[:, None] * step + lax.iota(np.int32, size)
        return moved_back(x.at[..., at].set(new, mode="promise_in_bounds"), dim)
    # Windows apart by `step` fill the first `size` places of each group of `step`.
    end = (windows - 1) * step + size
    if windows > 1 and size < step:
        new = jnp.concatenate([new, jnp.zeros((*new.shape[:-1], step - size), new.dtype)], -1)
    new = new.reshape((*new.shape[:-2], -1))[..., :end]
    new = jnp.concatenate([new, x[..., end:]], -1)
    at = lax.iota(np.int32, x.shape[-1])
    return moved_back(jnp.where((at % step < size) & (at < end), new, x), dim)


@op(view=view_rule(_put_unfold), function=False, out=False, saves=False)
def unfold(input: Array, dimension: int, size: int, step: int):
    """All windows of ``size`` along ``dimension``, ``step`` apart; the window's elements are a new last dim.

    Shape (*, n, *) -> (*, (n - size) // step + 1, *, size).  Raises RuntimeError if size exceeds n.
    """
    dim, windows = _unfold_place(input.shape, dimension, size, step)
    if not input.ndim:
        return input.reshape((1,))[:size]
    if isinstance(input, np.ndarray):
        if size == 0:  # NumPy refuses windows of nothing
            return input[(slice(None),) * dim + (slice(0, windows),)][..., None][..., :0]
        return np.lib.stride_tricks.sliding_window_view(input, size, dim)[
            (slice(None),) * dim + (slice(None, None, step),)
        ]
    if size == 0:
        return jnp.zeros((*input.shape[:dim], windows, *input.shape[dim + 1 :], 0), input.dtype)
    x = moved_last(input, dim)
    if step == size:
        out = x[..., : windows * size].reshape((*x.shape[:-1], windows, size))
    elif size <= windows and size <= 128:
        # Few strided slices: padding is their gradient, cheaper than the scatter of a gather.
        span = (windows - 1) * step + 1
        out = jnp.stack([x[..., k : k + span : step] for k in range(size)], -1)
    elif windows <= 128:
        out = jnp.stack([x[..., w * step : w * step + size] for w in range(windows)], -2)
    else:
        at = lax.iota(np.int32, windows)[:, None] * step + lax.iota(np.int32, size)
        out = jnp.take(x, at, axis=-1, mode="clip")
    return out.transpose(_moved(out.ndim, (out.ndim - 2,), (dim,)))


def _check_strided(numel: int, itemsize: int, size, stride, storage_offset) -> int:
    """The storage offset, after making sure that every element lies inside the storage."""
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    if any(n < 0 for n in size):
        raise RuntimeError(f"as_strided: sizes must be non-negative, got {list(size)}")
    offset = storage_offset or 0
    if offset < 0:
        raise RuntimeError(f"as_strided: storage_offset must be non-negative, got {offset}")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1
    if 0 not in size and last > numel:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize {itemsize} "
            f"requiring a storage size of {last * itemsize} are out of bounds for storage of size {numel * itemsize}"
        )
    return offset


def _strided_index(numel: int, itemsize: int, size, stride, storage_offset) -> tuple:
    """Positions in the flat storage that an ``as_strided`` shows, and whether they may repeat."""
    offset = _check_strided(numel, itemsize, size, stride, storage_offset)
    kind = np.int32 if numel < 2**31 else np.int64
    at = jnp.full(tuple(size), offset, kind)
    for d, s in enumerate(stride):
        if s and size[d] > 1:
            at = at + lax.broadcasted_iota(kind, tuple(size), d) * np.asarray(s, kind)
    reach, overlap = 0, False
    for s, n in sorted((s, n) for s, n in zip(stride, size, strict=True) if n > 1):
        overlap, reach = overlap or s <= reach, reach + (n - 1) * s
    return at, overlap


def put_strided(base, new, *, size, stride, storage_offset=None):
    at, overlap = _strided_index(base.size, base.dtype.itemsize, size, stride, storage_offset)
    if any(s == 0 and n > 1 for s, n in zip(stride, size, strict=True)):
        raise RuntimeError(_OVERLAP)
    flat = base.reshape((-1,)).at[at].set(new, mode="promise_in_bounds", unique_indices=not overlap)
    return flat.reshape(base.shape)


def _as_strided(input, size, stride, storage_offset=None):
    if isinstance(input, np.ndarray):
        offset = _check_strided(input.size, input.itemsize, size, stride, storage_offset)
        flat = input.reshape(-1)[offset:].view(f"V{input.itemsize}")  # float8 has no array interface
        return np.lib.stride_tricks.as_strided(flat, size, tuple(s * input.itemsize for s in stride)).view(input.dtype)
    at, _ = _strided_index(input.size, input.dtype.itemsize, size, stride, storage_offset)
    flat = input.reshape((-1,))
    contiguous, step = True, 1
    for n, s in zip(reversed(size), reversed(stride), strict=True):
        contiguous, step = contiguous and (s == step or n == 1), step * n
    if contiguous:
        start = storage_offset or 0
        return flat[start : start + math.prod(size)].reshape(size)
    return flat.at[at].get(mode="promise_in_bounds")


@op(name="_as_strided", view=view_rule(put_strided), namespace=None, method=True, out=False, saves=False)
def _as_strided_op(input: Array, size: tuple[int, ...], stride: tuple[int, ...], storage_offset: int | None = None):
    """Element (i, j, ...) is element ``storage_offset + i * stride[0] + j * stride[1] + ...`` of the storage.

    ``input`` stands for the whole storage, in order: ``Tensor.as_strided`` applies this to the base of a view.
    Raises RuntimeError if an element lies outside the storage.
    """
    return _as_strided(input, size, stride, storage_offset)


@op(view=view_rule(lambda base, new: new), namespace=None, method=True, out=False, saves=False)
def _alias(input: Array):
    """The same elements under another tensor (``detach``, ``x[:]``, ``view_as`` of an equal shape)."""
    return input[...] if isinstance(input, np.ndarray) else input


def _reinterpret(x, dtype):
    """The bytes of ``x`` as another dtype; the last dim grows or shrinks with the item size."""
    old, new = np.dtype(x.dtype), np.dtype(dtype)
    if old == new:
        return x
    if not x.ndim:
        return _reinterpret(x.reshape((1,)), new).reshape(())
    lead, goal = x.shape[:-1], new
    # XLA reinterprets neither complex numbers nor booleans: go by their parts, and by bytes.
    if old.kind == "c":
        x = jnp.stack([x.real, x.imag], -1).reshape((*lead, 2 * x.shape[-1]))
    elif old.kind == "b":
        x = x.astype(np.uint8)
    if new.kind == "c":
        goal = np.dtype(f"f{new.itemsize // 2}")
    elif new.kind == "b":
        goal = np.dtype(np.uint8)
    ratio = goal.itemsize // x.dtype.itemsize
    if x.dtype != goal:
        x = lax.bitcast_convert_type(x.reshape((*lead, -1, ratio)) if ratio > 1 else x, goal)
        x = x.reshape((*lead, -1)) if ratio == 0 else x
    if new.kind == "c":
        x = x.reshape((*lead, -1, 2))
        return lax.complex(x[..., 0], x[..., 1])
    return x != 0 if new.kind == "b" else x


@op(
    view=view_rule(lambda base, new, *, dtype: _reinterpret(new, base.dtype).reshape(base.shape)),
    namespace=None,
    method=True,
    out=False,
    differentiable=False,
)
def _view_dtype(input: Array, dtype: np.dtype):
    """The bytes of ``input`` read as ``dtype``: ``Tensor.view(dtype)``.

    Of items of another size the last dim is scaled: float32 (3, 4) -> int8 (3, 16), float64 (3, 2).
    Raises RuntimeError if the last dim does not divide.  Not differentiable.
    """
    old, new = np.dtype(input.dtype), np.dtype(dtype)
    if old.itemsize != new.itemsize:
        words = f"to view {type_name(old)} as {type_name(new)} (different element sizes), but got"
        if input.ndim == 0:
            raise RuntimeError(f"self.dim() cannot be 0 {words} a tensor without dimensions")
        ratio = new.itemsize // old.itemsize
        if ratio > 1 and input.shape[-1] % ratio:
            raise RuntimeError(f"self.size(-1) must be divisible by {ratio} {words} {input.shape[-1]}")
    empty = None
    if not input.size and old.itemsize != new.itemsize:  # both libraries divide by the bytes of a row
        empty = np.empty((*input.shape[:-1], input.shape[-1] * old.itemsize // new.itemsize), new)
    if isinstance(input, np.ndarray):
        return empty if empty is not None else input.view(new)
    return _reinterpret(input, new) if empty is None else jnp.asarray(empty)
