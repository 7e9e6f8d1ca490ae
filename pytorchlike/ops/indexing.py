"""Operators that read or write elements by index.

Basic indexing (``x[2, 1:7:3, None]``) is one view op, ``_getitem``.  Its *spec* holds only what decides shapes; where a
slice starts is a number of its own, so that a moving window or counter does not make another program.  Advanced
indexing (integer tensors) is ``_index`` and ``_index_put``.  ``tensor/indexing.py`` turns Python's index expressions
into these.

Indices out of range never pass silently: a ``check`` travels with the program, and ``precheck`` speaks at once when the
index is known on the host.  Bodies clamp on reading and drop on writing, so a bad index touches no foreign memory.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._dtypes import type_name
from ._shapes import elementwise, parted, picked, put_along, scattered, selected, unbound
from ._sizes import broadcast_sizes, wrap_dim
from ._table import Array, Arrays, Operand, Scalar, Scalars, op, view_rule
from .create import number_as

_GET = {"mode": "clip", "wrap_negative_indices": False}
_SET = {"mode": "drop", "wrap_negative_indices": False}


# ----------------------------------------------------------------------------------------------------- basic indexing

# One entry of a `_getitem` spec, in the order of the dims of `input`:
#   "i"             one index; takes a start, and the dim goes
#   (length, step)  a slice; takes a start
#   ":"             the whole dim
#   None            a new dim of size 1
# Dims that are not mentioned are kept whole.  Starts are not negative and in range: the caller has seen to it.


def _offset(start, shape):
    """A start as an index for lax: int32 wherever the dims allow, which is cheaper on every backend."""
    return jnp.asarray(start, np.int32 if all(n < 2**31 for n in shape) else np.int64)


def _windows(shape, starts, spec):
    """Per dim of ``input`` the start, the length, the step; and the shape of the result."""
    windows, out, k = [], [], 0
    for entry in spec:
        if entry is None:
            out.append(1)
        elif entry == ":":
            windows.append((0, shape[len(windows)], 1))
            out.append(windows[-1][1])
        elif entry == "i":
            windows.append((starts[k], 1, 1))
            k += 1
        else:
            windows.append((starts[k], *entry))
            out.append(entry[0])
            k += 1
    rest = shape[len(windows) :]
    windows += [(0, n, 1) for n in rest]
    return windows, (*out, *rest)


def _span(length: int, step: int) -> int:
    return (length - 1) * step + 1 if length else 0


def _read(input, starts, spec):
    if isinstance(input, np.ndarray):
        index, k = [], 0
        for entry in spec:
            if entry is None:
                index.append(None)
            elif entry == ":":
                index.append(slice(None))
            else:
                start = int(starts[k])
                k += 1
                index.append(start if entry == "i" else slice(start, start + _span(*entry), entry[1]))
        return input[(*index, Ellipsis)]
    windows, shape = _windows(input.shape, starts, spec)
    if all(isinstance(start, int) for start, _, _ in windows):
        limits = [start + _span(length, step) for start, length, step in windows]
        x = lax.slice(input, [w[0] for w in windows], limits, [w[2] for w in windows])
    else:
        sizes = [_span(length, step) for _, length, step in windows]
        x = lax.dynamic_slice(input, [_offset(w[0], input.shape) for w in windows], sizes, allow_negative_indices=False)
        if any(step != 1 for _, _, step in windows):
            x = lax.slice(x, [0] * x.ndim, sizes, [w[2] for w in windows])
    return x.reshape(shape)


def _write(base, new, *, starts, spec):
    windows, _ = _windows(base.shape, starts, spec)
    new = new.reshape([length for _, length, _ in windows])
    if not new.size:
        return base
    at = [_offset(w[0], base.shape) for w in windows]
    if any(step != 1 for _, _, step in windows):
        # The new elements with gaps between them, laid over what stands there.
        sizes = [_span(length, step) for _, length, step in windows]
        old = lax.dynamic_slice(base, at, sizes, allow_negative_indices=False)
        spread = lax.pad(new, jnp.zeros((), new.dtype), [(0, 0, step - 1) for _, _, step in windows])
        here = jnp.ones(sizes, bool)
        for d, (_, _, step) in enumerate(windows):
            if step != 1:
                here &= lax.broadcasted_iota(np.int32, sizes, d) % step == 0
        new = jnp.where(here, spread, old)
    return lax.dynamic_update_slice(base, new, at, allow_negative_indices=False) if new.ndim else new


def _is_batch(static: tuple) -> bool:
    """Whether an index is a slice of the first dim alone, as those are that go through a data set."""
    _, spec = static
    return len(spec) == 1 and type(spec[0]) is tuple


@op(view=view_rule(_write, once=True), namespace=None, method=True, out=False, saves=False, varies=_is_batch)
def _getitem(input: Array, starts: Scalars, spec: tuple):
    """Basic indexing: ``starts`` says where each index and slice begins, ``spec`` what it takes (see above)."""
    return _read(input, starts, spec)


@op(namespace=None, method=True, out=False, saves=False, shapes=parted)
def _split(input: Array, sizes: tuple, dim: int):
    """Parts of the given sizes, one after the other, along ``dim``.

    The gradient is one concatenation, where that of several slices is a sum of as many padded arrays.  ``dim`` may be
    negative: the backward graph shows it as it was given.
    """
    return tuple(lax.split(input, sizes, dim % input.ndim))


@op(namespace=None, method=True, out=False, saves=False, shapes=unbound)
def _unbind(input: Array, dim: int):
    """All slices along ``dim``, without it; the gradient is one stack."""
    at = dim % input.ndim
    return tuple([lax.squeeze(x, (at,)) for x in lax.split(input, (1,) * input.shape[at], at)])


@op(namespace=None, method=True, inplace=True, out=False, saves=False)
def _setitem(input: Array, src: Operand, starts: Scalars, spec: tuple):
    """``input`` with the elements that ``_getitem`` would take replaced by ``src``, broadcast."""
    _, shape = _windows(input.shape, starts, spec)
    return _write(input, _fitted(src, shape, input.dtype), starts=starts, spec=spec)


# -------------------------------------------------------------------------------------------------- checks on indices


def _is_index(x) -> bool:
    return np.dtype(x.dtype).kind in "iu" and np.dtype(x.dtype) != np.uint8


def _small(index, n: int):
    """An index in the integer type that costs least for a dim of ``n``."""
    return index.astype(np.int32 if n < 2**31 else np.int64)


def _in_range(index, n: int, exc, message: str, low: int | None = None, checked: bool = True):
    """Demands low <= index < n (low: -n); returns the index counted from the front."""
    low = -n if low is None else low
    if index.size and checked:
        check(((index >= low) & (index < n)).all(), exc, message)
    index = _small(index, n)
    if low >= 0:
        return index
    size = np.asarray(n, index.dtype) if isinstance(n, int) else jnp.asarray(n, index.dtype)  # or a symbol
    return jnp.where(index < 0, index + size, index)


def _first_bad(index, n: int, low: int | None = None):
    """On the host: the first element outside [low, n), or None."""
    index = np.asarray(index)
    bad = (index < (-n if low is None else low)) | (index >= n)
    return int(index[bad].flat[0]) if index.size and bad.any() else None


def _bound_dim(bound, name: str = "input") -> tuple[int, int]:
    shape = bound[f"{name}.shape"]
    dim = wrap_dim(bound.get("dim", 0), len(shape))
    return dim, shape[dim] if shape else 1


def _precheck(text: str, exc=IndexError, low: int | None = None, flat: bool = False):
    """A ``precheck`` for an ``index`` along ``dim``; text may use {index}, {dim} and {size}."""

    def precheck(bound: dict) -> None:
        index = bound.get("index")
        if index is None:
            return
        dim, size = (0, math.prod(bound["input.shape"])) if flat else _bound_dim(bound)
        bad = _first_bad(index, size, low)
        if bad is not None:
            raise exc(text.format(index=bad, dim=dim, size=size))

    return precheck


def _need_index(name: str, index, exc=RuntimeError):
    if np.dtype(index.dtype) not in (np.dtype(np.int32), np.dtype(np.int64)):
        raise exc(f"{name}(): Expected dtype int32/int64 for index, got {type_name(index.dtype)}")


def _fitted(src, shape, dtype):
    """``src``, a number or an array, as an array of ``dtype`` broadcast to ``shape``; leading dims of size 1 may go."""
    src = number_as("index", src, dtype)
    while src.ndim > len(shape) and src.shape[0] == 1:
        src = src.reshape(src.shape[1:])
    if src.ndim > len(shape) or any(
        a != b and a != 1 for a, b in zip(src.shape, shape[len(shape) - src.ndim :], strict=True)
    ):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(src.shape)} cannot be broadcast to indexing result of shape "
            f"{list(shape)}"
        )
    return jnp.broadcast_to(src, shape)


# -------------------------------------------------------------------------------------------------- advanced indexing

# One entry of an `_index` spec per dim of `input` (trailing dims may be missing):
#   0  the whole dim        1  takes the next index tensor        2  takes the next, which has no dims: as a Python int
# PyTorch removes the dims of kind 2 before it looks where the result of the index tensors belongs; NumPy does not.


def _plan(shape, indices, spec):
    """(index for jnp, shape of the result in PyTorch's order, dims that jnp puts elsewhere: (from, to, count))."""
    sizes = [tuple(i.shape) for i in indices]
    try:
        joint = broadcast_sizes(*sizes)
    except RuntimeError:
        raise IndexError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            + ", ".join(str(list(s)) for s in sizes)
        ) from None
    taken = [d for d, kind in enumerate(spec) if kind]
    kept = [n for d, n in enumerate(shape) if d >= len(spec) or not spec[d]]
    ours = [d - sum(1 for e in taken[:k] if spec[e] == 2) for k, d in enumerate(taken) if spec[d] == 1]
    theirs_at = taken[0] if taken and taken[-1] - taken[0] + 1 == len(taken) else 0
    ours_at = ours[0] if ours and ours[-1] - ours[0] + 1 == len(ours) else 0
    move = (theirs_at, ours_at, len(joint)) if joint and theirs_at != ours_at else None
    return (*kept[:ours_at], *joint, *kept[ours_at:]), move


def _range_message(dim: int, n: int) -> str:
    return f"index is out of bounds for dimension {dim} with size {n}"


def _advanced(input, indices, spec, bounds: bool):
    """The index expression for jnp, counted from the front and in range."""
    index, k = [], 0
    for d, kind in enumerate(spec):
        if not kind:
            index.append(slice(None))
            continue
        i, n = indices[k], input.shape[d]
        k += 1
        if not _is_index(i):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        if n == 0 and i.size:
            raise IndexError(f"index is out of bounds for dimension {d} with size 0")
        index.append(_in_range(i, n, IndexError, _range_message(d, n), checked=bounds))
    return tuple(index)


def _shifted(x, move, back: bool = False):
    if move is None:
        return x
    source, target, count = (move[1], move[0], move[2]) if back else move
    return jnp.moveaxis(x, tuple(range(source, source + count)), tuple(range(target, target + count)))


def _indexed(input: Any, indices: Any, spec: tuple, **_: Any) -> tuple:
    """The shape of what is read, see ``_shapes``."""
    return (_plan(input.shape, indices, spec)[0],)


@op(namespace=None, method=True, out=False, saves=False, shapes=_indexed, rounds=False)
def _index(input: Array, indices: Arrays, spec: tuple, bounds: bool = True):
    """``input`` at integer tensors, with PyTorch's placement of their dims (spec: see above).

    bounds=False promises that the caller has looked at the indices, so that the program carries no check.
    """
    shape, move = _plan(input.shape, indices, spec)
    index = _advanced(input, indices, spec, bounds)
    if math.prod(shape) == 0:
        return jnp.zeros(shape, input.dtype)
    if all(i.ndim == 0 for i in indices):
        # A dynamic slice; its gradient is an update in place rather than a scatter.
        starts = [0 if isinstance(i, slice) else i for i in index] + [0] * (input.ndim - len(index))
        sizes = [n if d >= len(spec) or not spec[d] else 1 for d, n in enumerate(input.shape)]
        return lax.dynamic_slice(input, [_offset(s, input.shape) for s in starts], sizes).reshape(shape)
    return _shifted(_read_at(input, index), move)


@op(namespace=None, method=True, inplace=True, out=False, saves=False)
def _index_put(
    input: Array, indices: Arrays, values: Operand, spec: tuple, accumulate: bool = False, bounds: bool = True
):
    """A copy of ``input`` with ``values`` put, or added, at the places that ``_index`` would read.

    Of several values for one place the last wins, or, with accumulate, all are added.
    Raises RuntimeError if the dtypes differ (numbers and 0-dim tensors are cast).
    """
    shape, move = _plan(input.shape, indices, spec)
    if hasattr(values, "ndim") and values.ndim and values.dtype != input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {type_name(input.dtype)} for the "
            f"destination and {type_name(values.dtype)} for the source."
        )
    values = _fitted(values, shape, input.dtype)
    index = _advanced(input, indices, spec, bounds)
    if not values.size:
        return input
    if all(i.ndim == 0 for i in indices) and not accumulate:
        starts = [0 if isinstance(i, slice) else i for i in index] + [0] * (input.ndim - len(index))
        sizes = [n if d >= len(spec) or not spec[d] else 1 for d, n in enumerate(input.shape)]
        return lax.dynamic_update_slice(input, values.reshape(sizes), [_offset(s, input.shape) for s in starts])
    values = _shifted(values, move, back=True)
    if accumulate:
        return _added_at(input, index, values)
    return input.at[index].set(values, **_SET)


def _is_last(x: jax.Array, index: tuple) -> bool:
    """Whether a vector names places of the last of several axes."""
    return x.ndim > 1 and len(index) == x.ndim and index[-1].ndim == 1 and all(isinstance(i, slice) for i in index[:-1])


def _read_at(x: jax.Array, index: tuple) -> jax.Array:
    """``x[index]`` for an index in range."""
    if not _is_last(x, index):
        return x.at[index].get(**_GET)
    # Whole rows of what is transposed: the gradient is added row by row, not element by element.
    return jnp.moveaxis(jnp.moveaxis(x, -1, 0).at[index[-1]].get(**_GET), 0, -1)


def _added_at(x: jax.Array, index: tuple, values: jax.Array) -> jax.Array:
    """x with values added where the index points; the largest of truth values."""
    if x.dtype == bool:
        return x.at[index].max(values, **_SET)
    if not _is_last(x, index):
        return x.at[index].add(values, **_SET)
    rows = jnp.moveaxis(jnp.broadcast_to(values, (*x.shape[:-1], index[-1].size)), -1, 0)
    return jnp.moveaxis(jnp.moveaxis(x, -1, 0).at[index[-1]].add(rows, **_SET), 0, -1)


# ------------------------------------------------------------------------------------------------- gather and scatter


def _mesh(index, dim: int):
    """The full index that varies ``dim`` by ``index`` and counts along every other dim."""
    return tuple(
        index if d == dim else lax.broadcasted_iota(np.int32, index.shape, d).astype(index.dtype)
        for d in range(index.ndim)
    )


def _line(x):
    return x.reshape((1,)) if x.ndim == 0 else x


def _along(name: str, input, dim: int, index):
    """Checks an index tensor that lies beside ``input``; returns (dim, index in range, all of at least one dim)."""
    if index.size:
        _need_index(name, index)
    dim = wrap_dim(dim, input.ndim)
    if max(index.ndim, 1) != max(input.ndim, 1) and index.size:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    n = _line(input).shape[dim]
    message = f"{name}(): index is out of bounds for dimension {dim} with size {n}"
    return dim, _in_range(_line(index), n, RuntimeError, message, low=0)


_PRECHECK_ALONG = _precheck("index {index} is out of bounds for dimension {dim} with size {size}", RuntimeError, low=0)


@op(saves=False, precheck=_PRECHECK_ALONG, shapes=picked, rounds=False)
def gather(input: Array, dim: int, index: Array, *, sparse_grad: bool = False):
    """Elements along ``dim`` that ``index`` names: for dim 1 ``out[i, j] = input[i, index[i, j]]``.

    index has as many dims as input, and no more elements along any other dim than it.  The result has its shape.
    Raises RuntimeError if an index is negative or too large.
    """
    if sparse_grad:
        raise NotImplementedError("gather: sparse_grad=True is not supported; gradients are dense")
    dim, at = _along("gather", input, dim, index)
    x = _line(input)
    if not index.size:
        return jnp.zeros(index.shape, input.dtype)
    for d in range(x.ndim):
        if d != dim and at.shape[d] > x.shape[d]:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(index.shape)} to be no larger than self "
                f"{list(input.shape)} apart from dimension {dim}"
            )
    return x.at[_mesh(at, dim)].get(**_GET).reshape(index.shape)


def _scattered(name: str, input, dim: int, index, src, same_dtype: bool = True):
    """Common checks of the scatter family: (input with dims, full index, the part of src that is used)."""
    dim, at = _along(name, input, dim, index)
    x = _line(input)
    whole = hasattr(src, "ndim") and (src.ndim > 0 or input.ndim == 0)
    if not whole:
        src = jnp.broadcast_to(number_as("index", src, input.dtype), at.shape)
    elif same_dtype and src.dtype != input.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    src = _line(src)
    if not at.size:
        return x, None, src
    if src.ndim != at.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    if any(at.shape[d] > src.shape[d] or (d != dim and at.shape[d] > x.shape[d]) for d in range(at.ndim)):
        raise RuntimeError(
            f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from dimension "
            f"{dim} and to be no larger size than src {list(src.shape)}"
        )
    return x, _mesh(at, dim), src[tuple(slice(0, n) for n in at.shape)]


@op(inplace=True, precheck=_PRECHECK_ALONG)
def scatter(
    input: Array,
    dim: int,
    index: Array,
    src: Operand | None = None,
    *,
    value: Operand | None = None,
    reduce: str | None = None,
):
    """A copy of ``input`` with ``src`` (tensor or number) written where ``index`` says: for dim 1
    ``out[i, index[i, j]] = src[i, j]``.

    reduce "add" or "multiply" combines instead of overwriting.  Of several values for one place the last wins.
    Raises RuntimeError for an index out of range, other dtypes, or an index larger than src or input.
    """
    if (src is None) == (value is None):
        raise TypeError("scatter() needs exactly one of src and value")
    x, at, src = _scattered("scatter", input, dim, index, value if src is None else src)
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if at is None:
        return input
    if reduce is None:
        return x.at[at].set(src, **_SET).reshape(input.shape)
    return _combine(x, at, src, "sum" if reduce == "add" else "prod", True).reshape(input.shape)


@op(inplace=True, saves=False, precheck=_PRECHECK_ALONG, shapes=scattered)
def scatter_add(input: Array, dim: int, index: Array, src: Array):
    """A copy of ``input`` with ``src`` added where ``index`` says: for dim 1 ``out[i, index[i, j]] += src[i, j]``."""
    x, at, src = _scattered("scatter_add", input, dim, index, src)
    return input if at is None else _combine(x, at, src, "sum", True).reshape(input.shape)


@op(inplace=True, precheck=_PRECHECK_ALONG)
def scatter_reduce(input: Array, dim: int, index: Array, src: Array, reduce: str, *, include_self: bool = True):
    """A copy of ``input`` in which the values that ``index`` sends to one place are combined.

    reduce: "sum", "prod", "mean", "amax" or "amin"; include_self=False leaves the old value out where a new one came.
    Gradients of amax and amin are shared evenly among equal values.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    x, at, src = _scattered("scatter_reduce", input, dim, index, src)
    return input if at is None else _combine(x, at, src, reduce, include_self).reshape(input.shape)


def _zero_and_count(x, at, flags):
    return jnp.zeros(x.shape, x.dtype).at[at].add(flags.astype(x.dtype), **_SET)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _extremum(x, at, src, largest: bool):
    """Scatter by maximum or minimum; JAX has no gradient for it.  Its gradient is shared evenly among ties."""
    return x.at[at].max(src, **_SET) if largest else x.at[at].min(src, **_SET)


@_extremum.defjvp
def _(largest, primals, tangents):
    x, at, src = primals
    out = _extremum(x, at, src, largest)
    mine, theirs = x == out, src == out.at[at].get(**_GET)
    share = 1 / (mine.astype(x.dtype) + _zero_and_count(x, at, theirs))
    moved = jnp.where(theirs, tangents[2] * share.at[at].get(**_GET), 0)
    return out, jnp.where(mine, tangents[0] * share, 0) + jnp.zeros_like(x).at[at].add(moved, **_SET)


@jax.custom_jvp
def _product(x, at, src):
    """Scatter by multiplication, differentiable where indices repeat or factors are 0 (JAX's is neither)."""
    return x.at[at].multiply(src, **_SET)


@_product.defjvp
def _(primals, tangents):
    x, at, src = primals
    empty, hole = x == 0, src == 0
    # The product of the factors that are not 0, and how many are: enough for the product of all others.
    full = _product(jnp.where(empty, 1, x), at, jnp.where(hole, 1, src))
    holes = empty.astype(x.dtype) + _zero_and_count(x, at, hole)

    def others(value, zero, full, holes):
        rest = jnp.where(holes == 0, full / jnp.where(zero, 1, value), 0)
        return jnp.where(zero, jnp.where(holes == 1, full, 0), rest)

    moved = tangents[2] * others(src, hole, full.at[at].get(**_GET), holes.at[at].get(**_GET))
    out = tangents[0] * others(x, empty, full, holes) + jnp.zeros_like(x).at[at].add(moved, **_SET)
    return _product(x, at, src), out


def _limit(dtype, largest: bool):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.asarray(not largest)
    if dtype.kind in "iu":
        return np.asarray(np.iinfo(dtype).min if largest else np.iinfo(dtype).max, dtype)
    return np.asarray(-np.inf if largest else np.inf).astype(dtype)


def _combine(x, at, src, reduce: str, include_self: bool):
    """``x`` with ``src`` combined into the places ``at`` (a full index)."""
    if not include_self:
        hit = jnp.zeros(x.shape, bool).at[at].set(True, **_SET)
        if reduce in ("amax", "amin"):
            start = jnp.asarray(_limit(x.dtype, reduce == "amax"))
        else:
            start = jnp.asarray(1 if reduce == "prod" else 0, x.dtype)
        x = jnp.where(hit, start, x)
    if reduce in ("amax", "amin"):
        return _extremum(x, at, src, reduce == "amax")
    if reduce == "prod":
        return x.at[at].min(src, **_SET) if x.dtype == bool else _product(x, at, src)
    if x.dtype == bool:
        return x.at[at].max(src, **_SET)
    total = x.at[at].add(src, **_SET)
    if reduce == "sum":
        return total
    count = jnp.full(x.shape, int(include_self), x.dtype).at[at].add(jnp.ones(src.shape, x.dtype), **_SET)
    count = jnp.maximum(count, 1)
    return total // count if np.dtype(x.dtype).kind in "iu" else total / count


# ---------------------------------------------------------------------------------- one index vector for whole slices


def _vector(name: str, input, dim: int, index, exc, message: str, low: int | None = 0):
    """Checks a vector of indices along ``dim``; returns (dim, full index)."""
    _need_index(name, index)
    dim = wrap_dim(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector")
    n = _line(input).shape[dim]
    if n == 0 and index.size:
        raise exc(message)
    return dim, (slice(None),) * dim + (_in_range(_line(index), n, exc, message, low),)


def _lined_up(name: str, input, dim: int, index, source, same: str):
    """Checks that ``source`` has the shape of ``input`` but for ``dim``, and one slice per index."""
    x, s, count = _line(input), _line(source), max(1, index.size) if index.ndim == 0 else index.size
    if source.dtype != input.dtype:
        raise RuntimeError(same.format(name=name, self=type_name(input.dtype), source=type_name(source.dtype)))
    if s.ndim != x.ndim or any(d != dim and s.shape[d] != x.shape[d] for d in range(x.ndim)):
        raise RuntimeError(
            f"{name}_(): source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {list(input.shape)} source.shape = {list(source.shape)}"
        )
    return x, s, count


@op(
    saves=False,
    precheck=_precheck("index out of range in self: index {index}, size {size} of dim {dim}", low=0),
    shapes=selected,
    rounds=False,
)
def index_select(input: Array, dim: int, index: Array):
    """The slices of ``input`` along ``dim`` that the vector ``index`` names, copied.

    Raises IndexError for an index that is negative or too large, or a matrix of indices.
    """
    dim, at = _vector("index_select", input, dim, index, IndexError, "index out of range in self")
    x = _line(input)
    if not x.size or not index.size:
        return jnp.zeros((*x.shape[:dim], index.size, *x.shape[dim + 1 :]), x.dtype)
    out = _read_at(x, at)
    return out if input.ndim else out.reshape(())


@op(
    inplace=True,
    saves=True,
    precheck=_precheck("index {index} is out of bounds for dimension {dim} with size {size}", RuntimeError, low=0),
    shapes=put_along,
)
def index_add(input: Array, dim: int, index: Array, source: Array, *, alpha: Scalar = 1):
    """A copy of ``input`` with ``alpha * source`` added to the slices along ``dim`` that ``index`` names."""
    message = f"index_add(): index is out of bounds for dimension {dim}"
    dim, at = _vector("index_add", input, dim, index, RuntimeError, message)
    x, s, count = _lined_up(
        "index_add",
        input,
        dim,
        index,
        source,
        "{name}_(): self ({self}) and source ({source}) must have the same scalar type",
    )
    if s.shape[dim] != count:
        raise RuntimeError(
            f"index_add_(): Number of indices ({count}) should be equal to source.size(dim): ({s.shape[dim]}), "
            f"for dim: {dim}"
        )
    if not isinstance(alpha, int) or alpha != 1:
        s = s * number_as("index", alpha, s.dtype)
    return _added_at(x, at, s).reshape(input.shape)


@op(
    inplace=True,
    saves=False,
    precheck=_precheck("index_copy_(): index {index} is out of bounds for dimension {dim} with size {size}", low=0),
    shapes=put_along,
)
def index_copy(input: Array, dim: int, index: Array, source: Array):
    """A copy of ``input`` with the slices along ``dim`` that ``index`` names replaced by those of ``source``."""
    message = f"index_copy_(): index is out of bounds for dimension {dim}"
    dim, at = _vector("index_copy", input, dim, index, IndexError, message)
    x, s, count = _lined_up(
        "index_copy",
        input,
        dim,
        index,
        source,
        "{name}_(): self and source expected to have the same dtype, but got (self) {self} and (source) {source}",
    )
    if s.shape[dim] != count:
        raise IndexError(
            f"index_copy_(): Number of indices ({count}) should be equal to source.size(dim) ({s.shape[dim]})"
        )
    return x.at[at].set(s, **_SET).reshape(input.shape)


@op(
    inplace=True, saves=False, precheck=_precheck("index {index} is out of bounds for dimension {dim} with size {size}")
)
def index_fill(input: Array, dim: int, index: Array, value: Operand):
    """A copy of ``input`` with the slices along ``dim`` that ``index`` names filled with a number."""
    if hasattr(value, "ndim") and value.ndim:
        raise RuntimeError(
            f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
        )
    if index.ndim > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    message = f"index_fill(): index is out of bounds for dimension {dim}"
    dim, at = _vector("index_fill", input, dim, index, IndexError, message, low=None)
    return _line(input).at[at].set(number_as("index", value, input.dtype), **_SET).reshape(input.shape)


@op(inplace=True, precheck=_precheck("index out of range in self: index {index}, size {size} of dim {dim}", low=0))
def index_reduce(input: Array, dim: int, index: Array, source: Array, reduce: str, *, include_self: bool = True):
    """A copy of ``input`` with the slices of ``source`` combined into those that ``index`` names.

    reduce: "prod", "mean", "amax" or "amin"; include_self=False leaves the old values out.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    dim, at = _vector("index_reduce", input, dim, index, IndexError, "index out of range in self")
    x, s, count = _lined_up(
        "index_reduce",
        input,
        dim,
        index,
        source,
        "{name}_(): self ({self}) and source ({source}) must have the same scalar type",
    )
    if s.shape[dim] != count:
        raise RuntimeError(
            f"index_reduce_(): Number of indices ({count}) should be equal to source.size(dim): ({s.shape[dim]}), for "
            f"dim: {dim}"
        )
    x, s = jnp.moveaxis(x, dim, 0), jnp.moveaxis(s, dim, 0)
    return jnp.moveaxis(_combine(x, at[-1:], s, reduce, include_self), 0, dim).reshape(input.shape)


# ---------------------------------------------------------------------------------------------------- the flat tensor

_FLAT = "out of range: tried to access index {index} on a tensor of {size} elements."


@op(saves=False, precheck=_precheck(_FLAT, flat=True), rounds=False)
def take(input: Array, index: Array):
    """The elements of the flattened ``input`` at ``index``, in its shape; negative indices count from the end."""
    if np.dtype(index.dtype) != np.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {type_name(index.dtype)}")
    n = input.size
    if n == 0 and index.size:
        raise IndexError("take(): tried to take from an empty tensor")
    at = _in_range(index, n, IndexError, f"out of range: tried to access an index on a tensor of {n} elements.")
    return input.reshape((-1,)).at[at].get(**_GET) if index.size else jnp.zeros(index.shape, input.dtype)


@op(differentiable=False)
def nonzero_static(input: Array, *, size: int, fill_value: int = -1):
    """Indices of the first ``size`` elements that are not 0, as int64 of shape (size, ndim); ``fill_value`` beyond."""
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    flat = (input != 0).reshape((-1,))
    rank = jnp.cumsum(flat, dtype=np.int64)
    place = jnp.where(flat, rank - 1, size)
    out = []
    for d in range(input.ndim):
        at = lax.broadcasted_iota(np.int64, input.shape, d).reshape((-1,))
        out.append(jnp.full((size,), fill_value, np.int64).at[place].set(at, **_SET))
    return jnp.stack(out, -1) if out else jnp.zeros((size, 0), np.int64)


@op(inplace=True, saves=False, precheck=_precheck(_FLAT, flat=True))
def put(input: Array, index: Array, source: Array, accumulate: bool = False):
    """A copy of ``input`` with the elements of ``source`` put, or added, at ``index`` of the flattened tensor."""
    if np.dtype(index.dtype) != np.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {type_name(index.dtype)}")
    if source.dtype != input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {type_name(input.dtype)} "
            f"and source.dtype = {type_name(source.dtype)}"
        )
    if source.size != index.size:
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.size}, index.numel() = {index.size}"
        )
    n = input.size
    if n == 0 and index.size:
        raise IndexError("put_(): tried to put elements into an empty tensor")
    at = _in_range(index, n, IndexError, f"out of range: tried to access an index on a tensor of {n} elements.")
    place = input.reshape((-1,)).at[at.reshape((-1,))]
    source = source.reshape((-1,))
    if accumulate and input.dtype == bool:
        return place.max(source, **_SET).reshape(input.shape)
    return (place.add(source, **_SET) if accumulate else place.set(source, **_SET)).reshape(input.shape)


def _precheck_take_along(bound: dict) -> None:
    index, dim = bound.get("indices"), bound.get("dim")
    if index is None:
        return
    shape = bound["input.shape"]
    n = math.prod(shape) if dim is None else shape[wrap_dim(dim, len(shape))]
    bad = _first_bad(index, n)
    if bad is not None:
        raise RuntimeError(f"index {bad} is out of bounds for dimension {dim or 0} with size {n}")


@op(saves=False, precheck=_precheck_take_along)
def take_along_dim(input: Array, indices: Array, dim: int | None = None):
    """As ``gather``, but the other dims broadcast; without ``dim`` the flattened tensor is read.

    Goes with ``argmax(keepdim=True)`` and ``argsort``.  Negative indices count from the end.
    """
    if np.dtype(indices.dtype) != np.int64:
        got = type_name(indices.dtype)
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {got}")
    if dim is None:
        x, i, d = input.reshape((-1,)), indices.reshape((-1,)), 0
    else:
        if input.ndim != indices.ndim:
            raise RuntimeError(
                "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
                f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
            )
        x, i, d = input, indices, wrap_dim(dim, input.ndim)
    n = x.shape[d]
    at = _in_range(i, n, RuntimeError, f"take_along_dim(): index is out of bounds for dimension {d} with size {n}")
    joint = broadcast_sizes((*x.shape[:d], 1, *x.shape[d + 1 :]), (*i.shape[:d], 1, *i.shape[d + 1 :]))
    x = jnp.broadcast_to(x, (*joint[:d], n, *joint[d + 1 :]))
    at = jnp.broadcast_to(at, (*joint[:d], i.shape[d], *joint[d + 1 :]))
    return x.at[_mesh(at, d)].get(**_GET) if at.size else jnp.zeros(at.shape, x.dtype)


# ----------------------------------------------------------------------------------------------------------- segments

_SEGMENTS = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin", "prod": "prod"}


@op(name="_segments", namespace=None)
def _segments(
    data: Array, bounds: Array, reduce: str, axis: int, initial: Scalar, given: bool, unsafe: bool, whole: bool
):
    """``segment_reduce`` between ``bounds`` (*batch, k + 1), positions along ``axis`` that ascend."""
    n, count = data.shape[axis], bounds.shape[-1] - 1
    if not unsafe:
        if whole and bounds.size:
            message = "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1)"
            check((bounds[..., -1] == n).all(), RuntimeError, message)
        check((bounds[..., 1:] >= bounds[..., :-1]).all(), RuntimeError, "lengths contains negative value!")
    lead = data.shape[:axis]
    flat = data.reshape((math.prod(lead), *data.shape[axis:]))
    edges = bounds.reshape((flat.shape[0], count + 1))
    # The segment of each place: how many begin at or before it, less one; places outside all go beyond the last.
    place = lax.iota(edges.dtype, n)
    row = (edges[:, None, :-1] <= place[:, None]).sum(-1) - 1
    row = jnp.where((row < 0) | (place >= edges[:, -1:]), count, row)
    kind = np.float32 if data.dtype.itemsize == 2 else data.dtype
    start = {"sum": 0, "mean": 0, "prod": 1, "amax": -np.inf, "amin": np.inf}[reduce]
    x = jnp.full((flat.shape[0], count, *flat.shape[2:]), initial if given else start, kind)
    # include_self: an initial value takes part, and without one the neutral one changes nothing
    batch = lax.broadcasted_iota(row.dtype, row.shape, 0)
    out = _combine(x, (batch, row), flat.astype(kind), "sum" if reduce == "mean" else reduce, True)
    if reduce == "mean":
        size = jnp.diff(edges, axis=-1).reshape((flat.shape[0], count) + (1,) * (flat.ndim - 2))
        mean = out / jnp.where(size == 0, 1, size).astype(kind)
        out = jnp.where(size == 0, out if given else jnp.nan, mean)
    return out.reshape((*lead, count, *data.shape[axis + 1 :])).astype(data.dtype)


# -------------------------------------------------------------------------------------------------------------- masks


def _need_mask(name: str, mask):
    if mask.dtype != bool:
        raise RuntimeError(f"{name} only supports boolean masks, but got mask with dtype {np.dtype(mask.dtype).name}")


@op(inplace=True, shapes=elementwise)
def masked_fill(input: Array, mask: Array, value: Operand):
    """A copy of ``input`` with a number wherever ``mask`` (bool, broadcast) is true."""
    _need_mask("masked_fill_", mask)
    if hasattr(value, "ndim") and value.ndim:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
        )
    if hasattr(value, "dtype") and np.dtype(value.dtype).kind == "c" and np.dtype(input.dtype).kind != "c":
        raise RuntimeError(f"value cannot be converted to type {type_name(input.dtype)} without overflow")
    shape = broadcast_sizes(mask.shape, input.shape)
    return jnp.broadcast_to(jnp.where(mask, number_as("index", value, input.dtype), input), shape)


@op(inplace=True)
def masked_scatter(input: Array, mask: Array, source: Array):
    """A copy of ``input`` whose elements under ``mask`` (bool, broadcast) are those of ``source``, taken in order.

    Raises RuntimeError if ``source`` has fewer elements than ``mask`` has true ones.
    """
    _need_mask("masked_scatter_", mask)
    if source.dtype != input.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got"
            f"{type_name(input.dtype)} and {type_name(source.dtype)}"
        )
    shape = broadcast_sizes(mask.shape, input.shape)
    mask, x = jnp.broadcast_to(mask, shape), jnp.broadcast_to(input, shape)
    rank = jnp.cumsum(mask.reshape((-1,)), dtype=np.int32 if x.size < 2**31 else np.int64)
    if not x.size:
        return x
    message = "masked_scatter: the number of elements of source must be at least the number of ones in mask"
    check(rank[-1] <= source.size, RuntimeError, message)
    if not source.size:
        return x
    return jnp.where(mask, source.reshape((-1,)).at[rank - 1].get(**_GET).reshape(shape), x)


@op(namespace=None, method=True, inplace=True, out=False)
def _masked_put(input: Array, mask: Array, values: Operand, at: int = 0):
    """``input`` with ``values`` where ``mask`` is true: ``x[mask] = values`` without counting the mask first.

    mask covers the dims of input from ``at`` on.  values broadcast to the shape that ``x[mask]`` has: (*before, number
    of true elements, *after), where that number may be 1 or missing.
    """
    before, after = input.shape[:at], input.shape[at + mask.ndim :]
    if not hasattr(values, "ndim") or values.size == 1:
        values = number_as("index", values, input.dtype)
    elif values.dtype != input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {type_name(input.dtype)} for the "
            f"destination and {type_name(values.dtype)} for the source."
        )
    given = values.shape
    while values.ndim > at + 1 + len(after) and values.shape[0] == 1:
        values = values.reshape(values.shape[1:])
    axis = values.ndim - len(after) - 1
    if axis >= 0:
        count = values.shape[axis]
        if count != 1:
            rank = jnp.cumsum(mask.reshape((-1,)), dtype=np.int32 if mask.size < 2**31 else np.int64)
            total = rank[-1] if mask.size else jnp.asarray(0)
            check(total == count, RuntimeError, _no_room(given, before, after, True))
            if not mask.size or not count:
                return input
            index = (slice(None),) * axis + (rank - 1,)
            values = values.at[index].get(**_GET)
        size = mask.shape if count != 1 else (1,) * mask.ndim
        values = values.reshape((*values.shape[:axis], *size, *values.shape[axis + 1 :]))
    fits = values.ndim <= input.ndim and all(
        n in (1, m) for n, m in zip(values.shape, input.shape[input.ndim - values.ndim :], strict=True)
    )
    if not fits:
        raise RuntimeError(_no_room(given, before, after, False))
    return jnp.where(mask.reshape(mask.shape + (1,) * len(after)), values, input)


def _no_room(given, before, after, counted: bool) -> str:
    shape = ", ".join(map(str, (*before, "true elements of the mask", *after)))
    return (
        f"shape mismatch: value tensor of shape {list(given)} cannot be broadcast to indexing result of shape [{shape}]"
        + (", whose number does not match" if counted else "")
    )
