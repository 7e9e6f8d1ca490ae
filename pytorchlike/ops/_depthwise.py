"""Convolutions of each channel with a kernel of its own, on the CPU: XLA's grouped convolution is a naive loop.

As in ``_convolution``, the three bilinear maps are each other's derivatives.  Images stay as they are, channels first
or last: ``axis`` is that of the channels.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import mlir

from ..engine._primitives import SUMS
from ._convolution import Geometry, bind, define, first_of_space, pad_space, tap_slices

#: Sums in one loop, at most: with 49, a kernel of 7 by 7, it takes a quarter longer.
_AT_ONCE = 25


class Channelwise(NamedTuple):
    """A convolution of images (N, C, *size) or (N, *size, C) with (C, 1, *kernel)."""

    geometry: Geometry
    axis: int

    @property
    def first(self) -> int:
        """The first axis of space."""
        return first_of_space(self.axis)

    def space(self, *slices: slice) -> tuple:
        return (*[slice(None)] * self.first, *slices)


def depthwise(x: jax.Array, w: jax.Array, geometry: Geometry, axis: int) -> jax.Array:
    """Each channel of x, along ``axis``, with its kernel in w (C, 1, *kernel)."""
    return bind("channelwise output", Channelwise(geometry, axis), x, w)


def _column(w, tap: tuple[int, ...], axis: int):
    """The weights of one tap, to multiply images by."""
    w = w[(slice(None), 0, *tap)]
    return w if axis != 1 else w.reshape(-1, *[1] * len(tap))


def _windows(c: Channelwise):
    """Each tap of the kernel, and what it reads of the padded image."""
    g = c.geometry
    for tap, window in tap_slices(g.kernel, g.stride, g.dilation, g.out):
        yield tap, c.space(*window)


def _output(c: Channelwise, x, w):
    x = pad_space(x, c.geometry.padding, first=c.first)
    return functools.reduce(operator.add, (x[window] * _column(w, tap, c.axis) for tap, window in _windows(c)))


def _input(c: Channelwise, y, w):
    """Position q * stride + r of the image is read by the taps of phase r, of which each sees y shifted by as much."""
    g = c.geometry
    # by axis and phase: the taps, each with the first position that it reads
    phases = [
        [[(t, (r + low - t * d) // s) for t in range(k) if not (r + low - t * d) % s] for r in range(s)]
        for s, (low, _), d, n, k, m in g.axes()
    ]
    length = [-(-n // s) for s, n in zip(g.stride, g.size, strict=True)]
    starts = [[at for phase in axis for _, at in phase] for axis in phases]
    before = [max(0, -min(at)) for at in starts]
    after = [max(0, n + max(at) - m) for n, at, m in zip(length, starts, g.out, strict=True)]
    padded = pad_space(y, list(zip(before, after, strict=True)), first=c.first)
    found = {}
    for r in itertools.product(*map(range, g.stride)):
        total = None
        for taps in itertools.product(*(axis[k] for axis, k in zip(phases, r, strict=True))):
            window = [slice(at + b, at + b + n) for (_, at), b, n in zip(taps, before, length, strict=True)]
            term = padded[c.space(*window)] * _column(w, tuple([t for t, _ in taps]), c.axis)
            total = term if total is None else total + term
        shape = (*y.shape[: c.first], *length, *y.shape[c.first + len(length) :])
        found[r] = jnp.zeros(shape, y.dtype) if total is None else total
    for k in reversed(range(len(length))):  # phases take turns
        at, s = c.first + k, g.stride[k]
        if s > 1:
            heads = dict.fromkeys((*r[:k], 0, *r[k + 1 :]) for r in found)
            found = {h: _interleaved([found[(*h[:k], r, *h[k + 1 :])] for r in range(s)], at) for h in heads}
    (whole,) = found.values()
    return pad_space(whole, [(0, n - s * q) for n, s, q in zip(g.size, g.stride, length, strict=True)], first=c.first)


def _interleaved(parts: list, axis: int):
    x = jnp.stack(parts, axis + 1)
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])


def _weight(c: Channelwise, x, y):
    """All taps' sums in one loop over the image: one after the other, each has its part of the image copied first.

    With channels last, that loop goes through all images for each channel, so they take turns, one in the cache at a
    time (a half of the time).
    """
    dtype = x.dtype
    if dtype.itemsize < 4:
        x, y = x.astype(jnp.float32), y.astype(jnp.float32)
    x = pad_space(x, c.geometry.padding, first=c.first)
    if c.axis == 1 or len(x) == 1:
        found = jnp.stack(_taps(c, x, y), -1)
    else:

        def one(total, pair):
            return total + jnp.stack(_taps(c, *[part[None] for part in pair])), None

        found = lax.scan(one, jnp.zeros((math.prod(c.geometry.kernel), y.shape[-1]), x.dtype), (x, y))[0].T
    return found.astype(dtype).reshape(-1, 1, *c.geometry.kernel)


def _taps(c: Channelwise, x, y) -> list:
    """For each tap, the sums of what it reads of a padded image times ``y``."""
    rest = tuple(d for d in range(y.ndim) if d != c.axis % y.ndim)
    windows = [window for _, window in _windows(c)]
    found = []
    for k in range(0, len(windows), _AT_ONCE):
        found += sums([x[window] * y for window in windows[k : k + _AT_ONCE]], rest)
    return found


def _batched(to: str, c: Channelwise, args: tuple, dims: tuple) -> tuple[Any, int]:
    """More images are more images; where kernels differ, too, the channels of all are channels of one convolution."""
    if to != "channelwise weight" and dims[1] is None:
        x = jnp.moveaxis(args[0], dims[0], 0)
        y = bind(to, c, x.reshape(-1, *x.shape[2:]), args[1])
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    joined = []
    for k, (a, d) in enumerate(zip(args, dims, strict=True)):
        a = jnp.broadcast_to(a, (size, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
        at = 0 if k and to != "channelwise weight" else c.axis % (a.ndim - 1)
        a = jnp.moveaxis(a, 0, at)
        joined.append(a.reshape(*a.shape[:at], -1, *a.shape[at + 2 :]))
    y = bind(to, c, *joined)
    at = 0 if to == "channelwise weight" else c.axis % y.ndim
    return y.reshape(*y.shape[:at], size, -1, *y.shape[at + 1 :]), at


define(
    {
        "channelwise output": (("channelwise input", "channelwise weight"), _output),
        "channelwise input": (("channelwise output", "channelwise weight"), _input),
        "channelwise weight": (("channelwise input", "channelwise output"), _weight),
    },
    _batched,
    keep=("channelwise output", "channelwise input"),
)


# ---- several sums ----------------------------------------------------------------------------------------------------

_sums = Primitive(SUMS)
_sums.multiple_results = True


def sums(arrays: list, axes: tuple[int, ...]) -> list:
    """The sum of each of several arrays of one shape, in one loop."""
    return _sums.bind(*arrays, axes=tuple(axes))


def _evaluate(*arrays, axes):
    zeros = tuple([jnp.zeros((), a.dtype) for a in arrays])
    return lax.reduce(arrays, zeros, lambda a, b: tuple([p + q for p, q in zip(a, b, strict=True)]), axes)


def _shape(*arrays, axes):
    a = arrays[0]
    shape = tuple([n for d, n in enumerate(a.shape) if d not in axes])
    return [a.update(shape=shape) for a in arrays]


_sums.def_impl(_evaluate)
_sums.def_abstract_eval(_shape)
mlir.register_lowering(_sums, mlir.lower_fun(_evaluate, multiple_results=True))
