"""Operators that change the shape of a tensor or move its elements: views first, then copies.

A view's body also runs on NumPy arrays (the strides of a view are read off such a run), so views use array methods and
slicing only.  Its ``put(base, new, **arguments)`` is the inverse used for writing: ``base`` with the part that the view
shows replaced by ``new``.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._shapes import joined, like_input, stacked
from ._table import ONCE, Array, Arrays, Scalar, Sizes, op, result_type, view_rule

_OVERLAP = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
    "Please clone() the tensor before performing the operation."
)
_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
    "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble", "uint16": "UInt16", "uint32": "UInt32",
    "uint64": "UInt64", "float8_e4m3fn": "Float8_e4m3fn", "float8_e5m2": "Float8_e5m2",
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ helpers for sizes


def type_name(dtype) -> str:
    """PyTorch's name of a dtype inside error messages: ``Float`` for float32."""
    return _NAMES.get(np.dtype(dtype).name, np.dtype(dtype).name)


def wrap_dim(dim: int, ndim: int) -> int:
    """``dim`` counted from the front; a 0-dim tensor counts as having one dimension.  Raises IndexError."""
    n = ndim or 1
    if -n <= dim < n:
        return dim + n if dim < 0 else dim
    raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")


def wrap_dims(dims: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Several dims counted from the front.  Raises IndexError, or RuntimeError when one appears twice."""
    out = tuple(wrap_dim(d, ndim) for d in dims)
    for i, d in enumerate(out):
        if d in out[:i]:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return out


def infer_size(shape: Sequence[int], numel: int) -> tuple[int, ...]:
    """``shape`` with its -1, if any, replaced so that it holds ``numel`` elements.  Raises RuntimeError."""
    known, hole = 1, None
    for i, n in enumerate(shape):
        if n == -1:
            if hole is not None:
                raise RuntimeError("only one dimension can be inferred")
            hole = i
        elif n < 0:
            raise RuntimeError(f"invalid shape dimension {n} at index {i} of shape {list(shape)}")
        else:
            known *= n
    if hole is None:
        if known == numel:
            return tuple(shape)
    elif known == 0 and numel == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 "
            "can be any value and is ambiguous"
        )
    elif known and numel % known == 0:
        return (*shape[:hole], numel // known, *shape[hole + 1 :])
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")


def expanded_size(size: Sequence[int], shape: Sequence[int], name: str = "expand") -> tuple[int, ...]:
    """The shape that ``expand(size)`` of a tensor of ``shape`` has (-1 keeps a size).  Raises RuntimeError."""
    extra = len(size) - len(shape)
    if extra < 0:
        raise RuntimeError(
            f"{name}(tensor of shape {list(shape)}, size={list(size)}): the number of sizes provided ({len(size)}) "
            f"must be greater or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    out = list(size)
    for i, n in enumerate(size):
        if i < extra:
            if n < 0:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing dimension {i}"
                )
            continue
        have = shape[i - extra]
        if n == -1:
            out[i] = have
        elif n != have and (have != 1 or n < 0):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton "
                f"dimension {i}.  Target sizes: {list(size)}.  Tensor sizes: {list(shape)}"
            )
    return tuple(out)


def broadcast_sizes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape that ``shapes`` broadcast to.  Raises RuntimeError as PyTorch's binary operators do."""
    out: list[int] = []
    for shape in shapes:
        a, b = out, list(shape)
        n = max(len(a), len(b))
        a, b = [1] * (n - len(a)) + a, [1] * (n - len(b)) + b
        for i in range(n - 1, -1, -1):
            if a[i] != b[i] and a[i] != 1 and b[i] != 1:
                raise RuntimeError(
                    f"The size of tensor a ({a[i]}) must match the size of tensor b ({b[i]}) at non-singleton "
                    f"dimension {i}"
                )
        out = [q if p == 1 else p for p, q in zip(a, b, strict=True)]
    return tuple(out)


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


def _front(x, *dims: int):
    """``x`` with ``dims`` moved last, in that order."""
    return x.transpose(_moved(x.ndim, dims, tuple(range(x.ndim - len(dims), x.ndim))))


def _back(x, *dims: int):
    """Inverse of :func:`_front`."""
    return x.transpose(_inverse(_moved(x.ndim, dims, tuple(range(x.ndim - len(dims), x.ndim)))))


# ------------------------------------------------------------------------------------------------------------- views


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


def _diagonal(input, offset: int = 0, dim1: int = 0, dim2: int = 1):
    a, b, row, col, length = _diagonal_place(input.shape, offset, dim1, dim2)
    if isinstance(input, np.ndarray):
        return input.diagonal(offset, a, b)
    # One strided slice of the flattened matrices: its gradient is a padding, where that of a gather is a scatter.
    x = _front(input, a, b)
    rows, cols = x.shape[-2:]
    x = x.reshape((*x.shape[:-2], rows * cols))
    start = row * cols + col
    return x[..., : 0 if not length else None : 1][..., start : start + (length - 1) * (cols + 1) + 1 : cols + 1]


def _put_diagonal(base, new, *, offset=0, dim1=0, dim2=1):
    a, b, row, col, length = _diagonal_place(base.shape, offset, dim1, dim2)
    if not length:
        return base
    x = _front(base, a, b)
    rows, cols = x.shape[-2:]
    step, start = cols + 1, row * cols + col
    used = start + (length - 1) * step + 1
    width = [(0, 0, 0)] * (x.ndim - 2)
    # The elements laid out as in the flattened matrix, and beside them where they belong.
    spread = lax.pad(new, jnp.zeros((), new.dtype), [*width, (start, rows * cols - used, step - 1)])
    here = lax.broadcasted_iota(np.int32, (rows, cols), 0) + offset == lax.broadcasted_iota(np.int32, (rows, cols), 1)
    return _back(jnp.where(here, spread.reshape(x.shape), x), a, b)


@op(view=view_rule(_put_diagonal), out=False, saves=False)
def diagonal(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """The elements whose index along ``dim2`` exceeds that along ``dim1`` by ``offset``, as a new last dim."""
    return _diagonal(input, offset, dim1, dim2)


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
    x = _front(base, dim)
    new = new.transpose(_moved(new.ndim, (dim,), (new.ndim - 2,)))
    if windows > 1 and step < size:
        # Windows share elements: which one wins is left open, as in PyTorch.
        at = lax.iota(np.int32, windows)[:, None] * step + lax.iota(np.int32, size)
        return _back(x.at[..., at].set(new, mode="promise_in_bounds"), dim)
    # Windows apart by `step` fill the first `size` places of each group of `step`.
    end = (windows - 1) * step + size
    if windows > 1 and size < step:
        new = jnp.concatenate([new, jnp.zeros((*new.shape[:-1], step - size), new.dtype)], -1)
    new = new.reshape((*new.shape[:-2], -1))[..., :end]
    new = jnp.concatenate([new, x[..., end:]], -1)
    at = lax.iota(np.int32, x.shape[-1])
    return _back(jnp.where((at % step < size) & (at < end), new, x), dim)


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
    x = _front(input, dim)
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


def _put_strided(base, new, *, size, stride, storage_offset=None):
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


@op(name="_as_strided", view=view_rule(_put_strided), namespace=None, method=True, out=False, saves=False)
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
    return _back(x.reshape((*input.shape[:-1], m, m)), a, b)


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
        return _diagonal(input, diagonal)
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
    _same_slice(src, jax.eval_shape(lambda x: _diagonal(x, offset, dim1, dim2), input).shape)
    return _put_diagonal(input, src.astype(input.dtype), offset=offset, dim1=dim1, dim2=dim2)


@op(saves=False)
def as_strided_scatter(
    input: Array, src: Array, size: tuple[int, ...], stride: tuple[int, ...], storage_offset: int | None = None
):
    """A copy of ``input`` in which the elements that ``as_strided`` shows are those of ``src``."""
    _same_slice(src, size)
    return _put_strided(input, src.astype(input.dtype), size=size, stride=stride, storage_offset=storage_offset)
