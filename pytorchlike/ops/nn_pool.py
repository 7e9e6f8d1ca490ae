"""Pooling: max, average, adaptive, power, fractional; and the inverse of max pooling.

Arrays are channels first outside.  Inside, windows are reduced one axis at a time over strided slices, channels last:
the transposes cancel against those of neighbouring convolutions, and the gradient of a slice is a cheap pad, where that
of ``reduce_window`` (select-and-scatter) is a slow loop on CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine import check
from ._dtypes import refuse, type_name
from ._random import uniform
from ._reads import Reads, weighted_reads
from ._table import Array, Key, op

#: Windows longer than this along an axis are gathered instead of sliced, to bound the size of the program.
_MOST_SLICES = 16
#: Windows side by side of so many are summed up as blocks (of three as slices: forward a third of the time).
_BLOCK = 4


def _sizes(value, n: int, name: str, what: str) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * n
    value = tuple(int(v) for v in value)
    if len(value) == 1:
        return value * n
    if len(value) != n:
        words = {1: "one int", 2: "a tuple of two ints", 3: "a tuple of three ints"}
        raise RuntimeError(f"{name}: {what} must either be a single int, or {words[n]}, but got {value}")
    return value


def _batched(name: str, x, n: int):
    """x as (N, *space, C), and the way back; RuntimeError for another rank or an empty axis beside the batch."""
    if x.ndim not in (n + 1, n + 2) or 0 in x.shape[-(n + 1) :]:
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, but "
            f"got: {list(x.shape)}"
        )
    if x.ndim == n + 1:
        return jnp.moveaxis(x[None], 1, -1), lambda y: jnp.moveaxis(y, -1, 1)[0]
    return jnp.moveaxis(x, 1, -1), lambda y: jnp.moveaxis(y, -1, 1)


def _window(name: str, shape: Sequence[int], n: int, kernel, stride, padding, dilation, ceil_mode: bool):
    """Checked kernel, stride, padding, dilation and output size for the last n axes of shape."""
    kernel = _sizes(kernel, n, name, "kernel_size")
    stride = kernel if stride is None or stride == () else _sizes(stride, n, name, "stride")
    padding = _sizes(padding, n, name, "padding")
    dilation = _sizes(dilation, n, name, "dilation")
    if min(kernel) <= 0:
        raise RuntimeError(f"kernel size should be greater than zero, but got {kernel} ({name})")
    if min(stride) <= 0:
        raise RuntimeError(f"stride should not be zero ({name}: stride={stride})")
    if min(dilation) <= 0:
        raise RuntimeError(f"dilation should be greater than zero, but got {dilation} ({name})")
    for k, p, d in zip(kernel, padding, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p} ({name})")
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d} ({name})"
            )
    space = shape[-n:]
    out = []
    for m, k, s, p, d in zip(space, kernel, stride, padding, dilation, strict=True):
        free = m + 2 * p - d * (k - 1) - 1
        o = (free + (s - 1 if ceil_mode else 0)) // s + 1
        # A last window that would start in the right padding is dropped.
        out.append(o - 1 if ceil_mode and (o - 1) * s >= m + p else o)
    if min(out) < 1:
        channels = shape[-n - 1]
        raise RuntimeError(
            f"Given input size: ({'x'.join(map(str, (channels, *space)))}). Calculated output size: "
            f"({'x'.join(map(str, (channels, *(max(o, 0) for o in out))))}). Output size is too small ({name})"
        )
    return kernel, stride, padding, dilation, tuple(out)


def _pooled(n: int, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
            ceil_mode: bool = False, return_indices: bool = False, **_: Any) -> tuple | None:  # fmt: skip
    """The shapes of what windows give, see ``_shapes``."""
    if input.ndim not in (n + 1, n + 2):
        return None
    *_, out = _window("", input.shape, n, kernel_size, stride, padding, dilation, ceil_mode)
    return ((*input.shape[:-n], *out),) * (2 if return_indices else 1)


# ---- maximum ---------------------------------------------------------------------------------------------------------


def _lowest(dtype):
    if jnp.issubdtype(dtype, jnp.floating):
        return np.asarray(-np.inf, dtype)
    return np.asarray(jnp.iinfo(dtype).min, dtype)


def _pad_axis(x, axis: int, low: int, high: int, fill):
    if low == high == 0:
        return x
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (low, high, 0)
    return lax.pad(x, jnp.asarray(fill, x.dtype), config)


def _better(new, old):
    """Where new replaces old: it is larger, or NaN (the first of equal values stays, the last NaN wins)."""
    return (new > old) | (new != new)


def _max_axis(x, index, axis: int, k: int, s: int, p: int, d: int, out: int):
    """Maxima of the windows along one axis; index (or None) holds positions, -1 in the padding, and goes along."""
    span = (out - 1) * s + d * (k - 1) + 1
    high = span - p - x.shape[axis]
    x = _pad_axis(x, axis, p, high, _lowest(x.dtype))
    if index is not None:
        index = _pad_axis(index, axis, p, high, -1)
    if k > _MOST_SLICES:
        return _max_windows(x, index, axis, np.arange(out)[:, None] * s + np.arange(k)[None] * d)
    best = place = None
    for i in range(k):
        value = lax.slice_in_dim(x, i * d, i * d + (out - 1) * s + 1, s, axis)
        where = None if index is None else lax.slice_in_dim(index, i * d, i * d + (out - 1) * s + 1, s, axis)
        if best is None:
            best, place = value, where
            continue
        take = _better(value, best)
        if where is not None:
            take = (take & (where >= 0)) | ((place < 0) & (where >= 0))
            place = jnp.where(take, where, place)
        best = jnp.where(take, value, best)
    return best, place


def _max_windows(x, index, axis: int, reads: np.ndarray):
    """Maxima along axis over the places in reads (out, k); -1 there is no place."""
    out, k = reads.shape
    shape = (*x.shape[:axis], out, k, *x.shape[axis + 1 :])
    flat = np.maximum(reads, 0).reshape(-1)
    values = jnp.take(x, flat, axis).reshape(shape)
    seen = lax.stop_gradient(values)
    valid = (reads >= 0).reshape(out, k, *(1,) * (x.ndim - axis - 1))
    seen = jnp.where(valid, seen, _lowest(x.dtype))
    where = None
    if index is not None:
        positions = (*index.shape[:axis], out, k, *index.shape[axis + 1 :])
        where = jnp.where(valid, jnp.take(index, flat, axis).reshape(positions), -1)
        valid = where >= 0
    # A compiled maximum over an axis loses NaNs on CPU (jaxlib 0.10.2), so they are looked for apart.
    missing = (seen != seen) & valid
    nan = missing.any(axis + 1, keepdims=True)
    top = jnp.where(missing, _lowest(x.dtype), seen).max(axis + 1, keepdims=True)
    hit = jnp.where(nan, missing, (seen == top) & valid)
    # The first hit, but the last NaN; without any (all is padding), the first place.
    order = jnp.arange(k, dtype=jnp.int32).reshape(k, *(1,) * (x.ndim - axis - 1))
    early = jnp.where(hit, order, k).min(axis + 1, keepdims=True)
    late = jnp.where(hit, order, -1).max(axis + 1, keepdims=True)
    pick = jnp.clip(jnp.where(nan, late, early), 0, k - 1)
    best = jnp.take_along_axis(values, pick, axis + 1).squeeze(axis + 1)
    if where is not None:
        where = jnp.broadcast_to(where, shape)
        where = jnp.take_along_axis(where, pick, axis + 1).squeeze(axis + 1)
    return best, where


def _flat_positions(x, n: int):
    """(1, *space, 1): position of each element in the flattened space."""
    space = x.shape[1 : n + 1]
    return jnp.arange(math.prod(space), dtype=jnp.int32).reshape(1, *space, 1)


def _max_pool(name, n, input, kernel, stride, padding, dilation, ceil_mode, return_indices):
    refuse(name, input, kinds="bc")
    x, back = _batched(name, input, n)
    space = (x.shape[-1], *x.shape[1 : n + 1])
    kernel, stride, padding, dilation, out = _window(name, space, n, kernel, stride, padding, dilation, ceil_mode)
    index = _flat_positions(x, n) if return_indices else None
    for axis in range(n, 0, -1):
        i = axis - 1
        x, index = _max_axis(x, index, axis, kernel[i], stride[i], padding[i], dilation[i], out[i])
    if index is None:
        return back(x)
    return back(x), back(jnp.broadcast_to(index, x.shape)).astype(jnp.int64)


@op(namespace=("torch", "nn.functional"), method=False, out=False, shapes=partial(_pooled, 1))
def max_pool1d(
    input: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: object = False,  # whatever is true
):
    """Maxima of sliding windows: (N, C, L) or (C, L) -> (N, C, L') or (C, L'); see max_pool2d."""
    return _max_pool(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


@op(namespace=("torch", "nn.functional"), method=False, out=False, images=True, shapes=partial(_pooled, 2))
def max_pool2d(
    input: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: object = False,  # whatever is true
):
    """Maxima of sliding windows: (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').

    stride: kernel_size where None.  Each axis: ``n' = (n + 2 * padding - dilation * (k - 1) - 1) / stride + 1``,
    rounded down, or up with ceil_mode.  return_indices: also the int64 positions in the flattened (H, W).
    The first of equal values is taken and gets the gradient; NaN wins over numbers.
    Raises: RuntimeError for sizes that do not fit.
    """
    return _max_pool(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


@op(namespace=("torch", "nn.functional"), method=False, out=False, shapes=partial(_pooled, 3))
def max_pool3d(
    input: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: object = False,  # whatever is true
):
    """Maxima of sliding windows: (N, C, D, H, W) or (C, D, H, W) -> the same with D', H', W'; see max_pool2d."""
    return _max_pool(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


# ---- average ---------------------------------------------------------------------------------------------------------


def _sum_axis(x, axis: int, k: int, s: int, p: int, out: int):
    high = (out - 1) * s + k - p - x.shape[axis]
    x = _pad_axis(x, axis, p, high, 0)
    if out == 1:
        return x.sum(axis, keepdims=True)
    if k == s and k >= _BLOCK:  # the gradient is spread over each block at once, not slice by slice
        shape = (*x.shape[:axis], out, k, *x.shape[axis + 1 :])
        return x[(slice(None),) * axis + (slice(0, out * k),)].reshape(shape).sum(axis + 1)
    if k > _MOST_SLICES:
        window, step = [1] * x.ndim, [1] * x.ndim
        window[axis], step[axis] = k, s
        zero = np.zeros((), x.dtype)
        return lax.reduce_window(x, zero, lax.add, tuple(window), tuple(step), "VALID")
    total = None
    for i in range(k):
        value = lax.slice_in_dim(x, i, i + (out - 1) * s + 1, s, axis)
        total = value if total is None else total + value
    return total


def _divisors(m: int, k: int, s: int, p: int, out: int, include: bool) -> np.ndarray:
    start = np.arange(out) * s - p
    end = np.minimum(start + k, m + p)
    if not include:
        start, end = np.maximum(start, 0), np.minimum(end, m)
    return end - start


def _divide(x, by):
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return x / jnp.asarray(by, x.dtype)
    return lax.div(x, jnp.broadcast_to(jnp.asarray(by, x.dtype), x.shape))


def _avg_pool(name, n, input, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
    if divisor_override is not None and divisor_override == 0:
        raise RuntimeError(f"divisor must be not zero ({name})")
    x, back = _batched(name, input, n)
    space = x.shape[1 : n + 1]
    kernel, stride, padding, _, out = _window(name, (x.shape[-1], *space), n, kernel, stride, padding, 1, ceil_mode)
    for axis in range(n, 0, -1):
        i = axis - 1
        x = _sum_axis(x, axis, kernel[i], stride[i], padding[i], out[i])
    if divisor_override is not None:
        return back(_divide(x, divisor_override))
    counts = np.ones(())
    for i in range(n):
        each = _divisors(space[i], kernel[i], stride[i], padding[i], out[i], count_include_pad)
        counts = counts[..., None] * each
    if counts.size and (counts == counts.flat[0]).all():
        return back(_divide(x, int(counts.flat[0])))
    return back(_divide(x, counts[None, ..., None]))


@op(namespace=("torch", "nn.functional"), method=False, out=False, shapes=partial(_pooled, 1))
def avg_pool1d(
    input: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
):
    """Means of sliding windows: (N, C, L) or (C, L) -> (N, C, L') or (C, L'); see avg_pool2d."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@op(namespace="nn.functional", out=False, images=True, shapes=partial(_pooled, 2))
def avg_pool2d(
    input: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
):
    """Means of sliding windows: (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W'); sizes as in max_pool2d.

    count_include_pad: padding zeros count as elements.  divisor_override: divides the sums instead of the count.
    Raises: RuntimeError for sizes that do not fit.
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@op(namespace="nn.functional", out=False, shapes=partial(_pooled, 3))
def avg_pool3d(
    input: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
):
    """Means of sliding windows: (N, C, D, H, W) or (C, D, H, W) -> the same with D', H', W'; see avg_pool2d."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


# ---- adaptive --------------------------------------------------------------------------------------------------------


def _adaptive_size(name, output_size, space) -> tuple[int, ...]:
    n = len(space)
    if isinstance(output_size, int) or output_size is None:
        output_size = (output_size,) * n
    if len(output_size) == 1 and n > 1:
        output_size = tuple(output_size) * n
    if len(output_size) != n:
        raise RuntimeError(f"{name}: output_size must be {n} ints, but got {tuple(output_size)}")
    out = tuple(m if o is None else o for o, m in zip(output_size, space, strict=True))
    if min(out) < 0:
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 but received {out}")
    return out


def _bins(m: int, out: int) -> list[tuple[int, int]]:
    return [(i * m // out, -(-(i + 1) * m // out)) for i in range(out)]


def _adaptive_mean(x, axis: int, out: int):
    m = x.shape[axis]
    if out == m:
        return x
    if out and m % out == 0:
        k = m // out
        return _sum_axis(x, axis, k, k, 0, out) / k
    first, end = np.array(_bins(m, out), int).reshape(out, 2).T[:, :, None]
    at = first + np.arange((end - first).max(initial=0))
    within = at < end
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    total = weighted_reads(wide, axis, Reads(m, np.minimum(at, m - 1), within.astype(np.float64)))
    counts = jnp.asarray(within.sum(1).reshape(out, *(1,) * (x.ndim - axis - 1)), wide.dtype)
    return (total / counts).astype(x.dtype)


def _check_adaptive_rank(name: str, n: int, input, output_size) -> None:
    """ValueError where an output size with several entries meets an input that has no more axes than that."""
    if n > 1 and isinstance(output_size, (tuple, list)) and input.ndim <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}, got {input.ndim} ({name}: input "
                         f"of size {list(input.shape)}, output_size {tuple(output_size)})")


def _adaptive_avg(name, n, input, output_size):
    _check_adaptive_rank(name, n, input, output_size)
    x, back = _batched(name, input, n)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise NotImplementedError(f'"{name}" not implemented for {type_name(x.dtype)!r}')
    for axis, out in enumerate(_adaptive_size(name, output_size, x.shape[1 : n + 1]), 1):
        x = _adaptive_mean(x, axis, out)
    return back(x)


@op(namespace=("torch", "nn.functional"), method=False, out=False)
def adaptive_avg_pool1d(input: Array, output_size: int | tuple[int, ...]):
    """Means of output_size bins that cover the axis: (N, C, L) or (C, L) -> (N, C, output_size) or (C, output_size).

    Bin i reads from ``floor(i * L / out)`` up to ``ceil((i + 1) * L / out)``.  Raises: RuntimeError for wrong shapes;
    in two and three dimensions ValueError if the input has no more axes than a tuple of sizes has entries.
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


@op(namespace="nn.functional", out=False, images=True)
def adaptive_avg_pool2d(input: Array, output_size: int | tuple[int | None, ...] | None):
    """Means of bins: (N, C, H, W) or (C, H, W) -> (N, C, *output_size); None keeps an axis.

    See adaptive_avg_pool1d.
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


@op(namespace="nn.functional", out=False)
def adaptive_avg_pool3d(input: Array, output_size: int | tuple[int | None, ...] | None):
    """Means of bins: (N, C, D, H, W) or (C, D, H, W) -> (N, C, *output_size). See adaptive_avg_pool1d."""
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max(name, n, input, output_size, return_indices):
    _check_adaptive_rank(name, n, input, output_size)
    x, back = _batched(name, input, n)
    size = _adaptive_size(name, output_size, x.shape[1 : n + 1])
    index = _flat_positions(x, n) if return_indices else None
    for axis in range(n, 0, -1):
        m, out = x.shape[axis], size[axis - 1]
        if out and m % out == 0:
            x, index = _max_axis(x, index, axis, m // out, m // out, 0, 1, out)
            continue
        bins = _bins(m, out)
        most = max((b - a for a, b in bins), default=1)
        reads = np.array([[a + j if a + j < b else -1 for j in range(most)] for a, b in bins], int).reshape(out, most)
        x, index = _max_windows(x, index, axis, reads)
    if index is None:
        return back(x)
    return back(x), back(jnp.broadcast_to(index, x.shape)).astype(jnp.int64)


@op(namespace="nn.functional", out=False, exact=True)
def adaptive_max_pool1d(input: Array, output_size: int | tuple[int, ...], return_indices: bool = False):
    """Maxima of bins: (N, C, L) or (C, L) -> (N, C, output_size); bins as in adaptive_avg_pool1d.

    Ties as in max_pool2d.
    """
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


@op(namespace="nn.functional", out=False, images=True, exact=True)
def adaptive_max_pool2d(
    input: Array, output_size: int | tuple[int | None, ...] | None, return_indices: bool = False
):
    """Maxima of bins: (N, C, H, W) or (C, H, W) -> (N, C, *output_size); see adaptive_max_pool1d."""
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


@op(namespace="nn.functional", out=False, exact=True)
def adaptive_max_pool3d(
    input: Array, output_size: int | tuple[int | None, ...] | None, return_indices: bool = False
):
    """Maxima of bins: (N, C, D, H, W) or (C, D, H, W) -> (N, C, *output_size); see adaptive_max_pool1d."""
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)


# ---- power -----------------------------------------------------------------------------------------------------------


def _lp_pool(name, n, input, norm_type, kernel, stride, ceil_mode):
    kernel = _sizes(kernel, n, name, "kernel_size")
    if norm_type == math.inf:
        return _max_pool(name, n, jnp.abs(input), kernel, stride, 0, 1, ceil_mode, False)
    mean = _avg_pool(name, n, input**norm_type, kernel, stride, 0, ceil_mode, True)
    count = math.prod(kernel)
    # A negative sum (odd powers) has no real root: it counts as its size with the sign lost, as in PyTorch.
    size = jnp.sign(mean) * jnp.maximum(jnp.abs(mean), 0) * count
    return size ** (1.0 / norm_type)


@op(namespace="nn.functional", out=False)
def lp_pool1d(
    input: Array,
    norm_type: float,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    ceil_mode: bool = False,
):
    """``(sum of x ** p) ** (1 / p)`` over sliding windows: (N, C, L) or (C, L) -> the same with L'."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


@op(namespace="nn.functional", out=False)
def lp_pool2d(
    input: Array,
    norm_type: float,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    ceil_mode: bool = False,
):
    """``(sum of x ** p) ** (1 / p)`` over sliding windows: (N, C, H, W) or (C, H, W) -> the same with H', W'."""
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


@op(namespace="nn.functional", out=False)
def lp_pool3d(
    input: Array,
    norm_type: float,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    ceil_mode: bool = False,
):
    """``(sum of x ** p) ** (1 / p)`` over sliding windows: (N, C, D, H, W) or (C, D, H, W) -> with D', H', W'."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


# ---- inverse of max pooling ------------------------------------------------------------------------------------------


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _placed(values, rows, place, volume: int):
    """Values at their places in rows of zeros; where places repeat, each still gets the gradient of its place."""
    return jnp.zeros((values.shape[0], volume), values.dtype).at[rows, place].set(values, mode="drop")


@_placed.defjvp
def _placed_jvp(volume, primals, tangents):
    values, rows, place = primals
    tangent = jnp.zeros((values.shape[0], volume), values.dtype).at[rows, place].add(tangents[0], mode="drop")
    return _placed(values, rows, place, volume), tangent


def _unpool(name, n, input, indices, kernel, stride, padding, output_size):
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"Input to max_unpooling{n}d should be a {n + 1}d or {n + 2}d Tensor, but got a tensor with {input.ndim} "
            f"dimensions."
        )
    if indices.dtype != jnp.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype} ({name})")
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got "
            f"indices tensor with shape: {list(indices.shape)} ({name})"
        )
    kernel = _sizes(kernel, n, name, "kernel_size")
    stride = kernel if stride is None or stride == () else _sizes(stride, n, name, "stride")
    padding = _sizes(padding, n, name, "padding")
    space = input.shape[-n:]
    size = [(m - 1) * s + k - 2 * p for m, s, k, p in zip(space, stride, kernel, padding, strict=True)]
    if output_size is not None:
        wanted = tuple(output_size)
        if len(wanted) == n + 2 or len(wanted) == n + 1:
            wanted = wanted[-n:]
        if len(wanted) != n:
            raise ValueError(
                f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
                f"'{len(wanted)}'"
            )
        for i, (w, base, s) in enumerate(zip(wanted, size, stride, strict=True)):
            if not base - s < w < base + s:
                raise ValueError(
                    f'invalid output_size "{wanted}" (dim {i} must be between {base - s} and {base + s}) ({name})'
                )
        size = list(wanted)
    volume = math.prod(size)
    lead = input.shape[:-n]
    if not input.size:
        return jnp.zeros((*lead, *size), input.dtype)
    flat, place = input.reshape(math.prod(lead), -1), indices.reshape(math.prod(lead), -1)
    shown = "x".join(map(str, size))
    check(
        jnp.all((place >= 0) & (place < volume)),
        RuntimeError,
        f"Found an invalid max index (output volumes are of size {shown}) ({name})",
    )
    rows = jnp.arange(flat.shape[0], dtype=jnp.int32)[:, None]
    place = jnp.clip(place, 0, max(volume - 1, 0)).astype(jnp.int32)
    out = _placed(flat, rows, place, volume)
    return out.reshape(*lead, *size)


@op(namespace="nn.functional", out=False)
def max_unpool1d(
    input: Array,
    indices: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    output_size: tuple[int, ...] | None = None,
):
    """Values put back where max_pool1d(..., return_indices=True) found them, zeros elsewhere; see max_unpool2d."""
    return _unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@op(namespace="nn.functional", out=False)
def max_unpool2d(
    input: Array,
    indices: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    output_size: tuple[int, ...] | None = None,
):
    """Values put back where max_pool2d(..., return_indices=True) found them, zeros elsewhere.

    Shapes: input and indices (N, C, H, W) or (C, H, W) -> (N, C, H', W'), ``n' = (n - 1) * stride - 2 * padding + k``
    or output_size.  Raises: RuntimeError for an index outside the result, ValueError for an impossible output_size.
    """
    return _unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@op(namespace="nn.functional", out=False)
def max_unpool3d(
    input: Array,
    indices: Array,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    output_size: tuple[int, ...] | None = None,
):
    """Values put back where max_pool3d(..., return_indices=True) found them, zeros elsewhere; see max_unpool2d."""
    return _unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


# ---- fractional ------------------------------------------------------------------------------------------------------


def _rounded(x, dtype):
    """``x`` rounded to ``dtype`` but kept wider: results in 16 bits XLA may keep in more, which would move windows."""
    info = jnp.finfo(dtype)
    return lax.reduce_precision(x, info.nexp, info.nmant) if x.dtype != dtype else x


def _fractional(name, n, input, kernel, output_size, output_ratio, return_indices, samples, key):
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}")
    kernel = _sizes(kernel, n, name, "kernel_size")
    space = input.shape[-n:]
    if output_size is None:
        ratios = (output_ratio,) * n if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
        if len(ratios) != n:
            raise ValueError(f"{name}: output_ratio must be a number or {n} numbers, but got {ratios}")
        size = tuple(int(m * r) for m, r in zip(space, ratios, strict=True))
    else:
        size = _sizes(output_size, n, name, "output_size")
    for m, k, o in zip(space, kernel, size, strict=True):
        if o < 0 or o + k - 1 > m:
            raise RuntimeError(f"{name}(): pool size {k} too large relative to input size {m} for output size {o}")
    x, back = _batched(name, input, n)
    batch, channels = x.shape[0], x.shape[-1]
    if samples is None:
        samples = uniform(key, (batch, channels, n), x.dtype)
    if samples.ndim != 3 or samples.shape[0] < batch or samples.shape[1:] != (channels, n):
        raise RuntimeError(
            f"{name}: _random_samples must have shape {[batch, channels, n]}, but it has shape {list(samples.shape)}"
        )
    if 0 in size:
        none = jnp.zeros((*input.shape[:-n], *size), input.dtype)
        return (none, none.astype(jnp.int64)) if return_indices else none
    samples = samples[:batch]
    index = jnp.broadcast_to(_flat_positions(x, n), x.shape) if return_indices else None
    for axis in range(n, 0, -1):
        # PyTorch's samples are ordered (W, H) in 2-D and (D, H, W) in 3-D.
        sample = samples[..., n - axis if n == 2 else axis - 1]
        m, k, o = space[axis - 1], kernel[axis - 1], size[axis - 1]
        alpha = (m - k) / (o - 1) if o > 1 else 0.0
        wide = jnp.promote_types(x.dtype, jnp.float32)
        steps, sample = jnp.arange(o, dtype=wide)[:, None], sample[:, None, :].astype(wide)
        alpha = jnp.asarray(np.asarray(alpha, x.dtype), wide)
        start = jnp.trunc(_rounded(_rounded(steps + sample, x.dtype) * alpha, x.dtype))
        start = start - jnp.trunc(_rounded(sample * alpha, x.dtype))
        start = jnp.where(jnp.arange(o)[:, None] == o - 1, m - k, start.astype(jnp.int32))
        reads = start[:, :, None, :] + jnp.arange(k, dtype=start.dtype)[:, None]
        reads = jnp.clip(reads, 0, m - 1).astype(jnp.int32)
        x, index = _max_gathered(x, index, axis, reads)
    if index is None:
        return back(x)
    return back(x), back(index).astype(jnp.int64)


def _max_gathered(x, index, axis: int, reads):
    """As _max_windows, with reads (N, out, k, C) that differ by sample and channel."""
    batch, out, k, channels = reads.shape
    middle = [1] * (x.ndim - 3)
    shape = [batch, *middle, out * k, channels]
    # Bring the axis last but one: (N, *others, m, C).
    moved = jnp.moveaxis(x, axis, -2)
    flat = reads.reshape(shape)
    flat = jnp.broadcast_to(flat, (*moved.shape[:-2], out * k, channels))
    values = jnp.take_along_axis(moved, flat, -2)
    values = values.reshape(*moved.shape[:-2], out, k, channels)
    seen = lax.stop_gradient(values)
    pick = jnp.argmax(seen, -2, keepdims=True)
    # argmax takes the first NaN; PyTorch takes the last.
    last = k - 1 - jnp.argmax(jnp.flip(seen != seen, -2), -2, keepdims=True)
    pick = jnp.where((seen != seen).any(-2, keepdims=True), last, pick)
    best = jnp.moveaxis(jnp.take_along_axis(values, pick, -2).squeeze(-2), -2, axis)
    if index is None:
        return best, None
    place = jnp.take_along_axis(jnp.moveaxis(index, axis, -2), flat, -2).reshape(values.shape)
    return best, jnp.moveaxis(jnp.take_along_axis(place, pick, -2).squeeze(-2), -2, axis)


@op(namespace="nn.functional", out=False)
def fractional_max_pool2d(
    input: Array,
    kernel_size: int | tuple[int, ...],
    output_size: int | tuple[int, ...] | None = None,
    output_ratio: float | tuple[float, ...] | None = None,
    return_indices: bool = False,
    _random_samples: Array | None = None,
    *,
    key: Key,
):
    """Maxima of windows at pseudo-random places: (N, C, H, W) or (C, H, W) -> (N, C, *output_size).

    output_ratio: size of the result as a fraction of the input.  _random_samples: (N, C, 2) numbers in [0, 1).
    Source: Graham 2014, arXiv:1412.6071.  Raises: ValueError without a size, RuntimeError for sizes that do not fit.
    """
    return _fractional(
        "fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples, key
    )


@op(namespace="nn.functional", out=False)
def fractional_max_pool3d(
    input: Array,
    kernel_size: int | tuple[int, ...],
    output_size: int | tuple[int, ...] | None = None,
    output_ratio: float | tuple[float, ...] | None = None,
    return_indices: bool = False,
    _random_samples: Array | None = None,
    *,
    key: Key,
):
    """Maxima of windows at pseudo-random places: (N, C, D, H, W) -> (N, C, *output_size); see fractional_max_pool2d."""
    return _fractional(
        "fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples, key
    )
