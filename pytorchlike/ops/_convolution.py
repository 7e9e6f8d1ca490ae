"""Convolution on the CPU as a bilinear map that is closed under differentiation.

A convolution, its gradient by the image and its gradient by the weights are bilinear, and the derivatives of each are
the other two.  So gradients of any order are these three, each in the formulation that measured quickest for its
shapes.  (JAX transposes what is written down: the gradient of a gradient of a strided convolution then is a loop that
takes ten to a hundred times as long.)
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

from ..engine._primitives import BILINEAR
from ..engine.config import processors
from ..engine.forms import holds
from ..engine.stored import once
from ._product import by_columns, by_rows

AXES = {1: "W", 2: "HW", 3: "DHW"}


class Geometry(NamedTuple):
    """Of a convolution of images (N, C, *size) with weights (O, C, *kernel) to (N, O, *out).

    padding: (low, high), for each axis of space.
    """

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    out: tuple[int, ...]

    def tail(self) -> Geometry:
        """The same without the first axis of space."""
        return Geometry(*[part[1:] for part in self])

    def axes(self):
        return zip(*self, strict=True)


#: The arguments of each map, as the names of those that give them.
_ROLES = {"output": ("input", "weight"), "input": ("output", "weight"), "weight": ("input", "output")}


def define(maps: Mapping[str, tuple[tuple[str, str], Callable]], batched: Callable, keep: Iterable[str] = ()) -> None:
    """Add three maps: by name, those that give its arguments, and ``function(geometry, a, b)``.

    batched(name, geometry, arguments, their batch axes or None) -> (result, its batch axis).
    keep: those whose results XLA would compute again for each use: sums of shifted images, see ``engine.stored``.
    """
    for name, (roles, function) in maps.items():
        _ROLES[name], _MAPS[name], _BATCHED[name] = roles, function, batched
    _KEPT.update(keep)


def convolution(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """(N, C, *size) with (O, C, *kernel) -> (N, O, *out)."""
    return bind("output", geometry, x, w)


def transposed(y: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """(N, O, *out) with (O, C, *kernel) -> (N, C, *size): the convolution's gradient by the image."""
    return bind("input", geometry, y, w)


# ---- space -----------------------------------------------------------------------------------------------------------


def pad_space(x, padding, fill=0, first=2):
    """x padded, or cropped where negative, by (low, high) for each axis of space, of which ``first`` is the first."""
    if all(p == (0, 0) for p in padding):
        return x
    around = [(0, 0, 0)] * (x.ndim - len(padding) - first)
    config = [*[(0, 0, 0)] * first, *((lo, hi, 0) for lo, hi in padding), *around]
    return lax.pad(x, jnp.asarray(fill, x.dtype), config)


def first_of_space(channels: int) -> int:
    """The first axis of space, from that of the channels."""
    return 2 if channels == 1 else 1


def tap_slices(kernel, stride, dilation, out) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each position of the kernel, and the strided slices of the padded space that it reads, in row-major order."""
    for tap in itertools.product(*map(range, kernel)):
        yield (
            tap,
            tuple(
                slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in zip(tap, dilation, stride, out, strict=True)
            ),
        )


def channels_to_end(x):
    return jnp.moveaxis(x, 1, -1)


def channels_first(x):
    return jnp.moveaxis(x, -1, 1)


# ---- the primitive ---------------------------------------------------------------------------------------------------

_bilinear = Primitive(BILINEAR)


def bind(to: str, geometry: Any, a: Any, b: Any) -> Any:
    """The map ``to``: of the convolution's "output", "input" or "weight", or one that was defined."""
    jaxpr = _traced(to, geometry, (a.shape, a.dtype), (b.shape, b.dtype))
    return _bilinear.bind(a, b, to=to, geometry=geometry, jaxpr=jaxpr)


@functools.lru_cache(1024)
def _traced(to: str, geometry: Any, a: tuple, b: tuple) -> Any:
    return jax.make_jaxpr(functools.partial(_MAPS[to], geometry))(jax.ShapeDtypeStruct(*a), jax.ShapeDtypeStruct(*b))


def _evaluate(a, b, *, to, geometry, jaxpr):
    return jaxpr_as_fun(jaxpr)(a, b)[0]


def _derivative(position: int, cotangent, a, b, *, to, geometry, jaxpr):
    """The cotangent of one argument, from that of the result and the other argument."""
    found = dict(zip(_ROLES[to], (a, b), strict=True))
    wanted = _ROLES[to][position]
    found[to] = cotangent
    return bind(wanted, geometry, *[found[role] for role in _ROLES[wanted]])


#: Maps whose results are computed once.
_KEPT: set[str] = set()
#: Rules of maps that have their own.
_BATCHED: dict[str, Callable] = {}
#: By map and argument: which axis of the argument a batch may join, and where it then is in the result.
_JOINED = {
    "output": ((0, 0), (0, 1)),
    "input": ((0, 0), (1, 1)),
    "weight": ((1, 1), (1, 0)),
}
#: Convolutions that differ in both arguments up to which each is one of its own.
_EACH = 8


def _batched(args, dims, *, to, geometry, jaxpr):
    if to in _BATCHED:
        return _BATCHED[to](to, geometry, args, dims)
    if None in dims:
        which = 0 if dims[1] is None else 1
        x = jnp.moveaxis(args[which], dims[which], axis := _JOINED[to][which][0])
        count, rest = x.shape[axis], x.shape[axis + 1]
        x = x.reshape(*x.shape[:axis], count * rest, *x.shape[axis + 2 :])
        y = bind(to, geometry, *((x, args[1]) if which == 0 else (args[0], x)))
        at = _JOINED[to][which][1]
        return y.reshape(*y.shape[:at], count, rest, *y.shape[at + 1 :]), at
    a, b = (jnp.moveaxis(x, d, 0) for x, d in zip(args, dims, strict=True))
    if a.shape[0] <= _EACH:
        return jnp.stack([bind(to, geometry, *pair) for pair in zip(a, b, strict=True)]), 0
    return jax.vmap(functools.partial(_PRODUCTS[to], geometry))(a, b), 0


def _lowered(a, b, *, to, **params):
    function = functools.partial(_evaluate, to=to, **params)
    return once(function, a, b) if to in _KEPT else function(a, b)


_bilinear.def_impl(_evaluate)
_bilinear.def_abstract_eval(lambda a, b, *, to, geometry, jaxpr: jaxpr.out_avals[0])
ad.defbilinear(_bilinear, functools.partial(_derivative, 0), functools.partial(_derivative, 1))
batching.primitive_batchers[_bilinear] = _batched
mlir.register_lowering(_bilinear, mlir.lower_fun(_lowered, multiple_results=False))


# ---- formulations: images with channels last, weights (O, C, *kernel) ------------------------------------------------

#: Places of the result up to which the gradient by the image is one product, whose parts are then added up.
_FEW = 16
#: Bytes of a number from which on XLA has no quick loop for a dilated image.
_DOUBLE = 8
#: Numbers in a matrix of columns up to which the weights' gradient is one product with it, and taps of the kernel.
_COLUMNS, _TAPS = 1 << 19, 16
#: The same from that many channels on, where there are several processors: XLA computes the weights' gradient on one
#: (64 images of 16 x 16, 64 channels: 10.9 ms by one or two, the product 8.8 and 5.8; 16 channels: 1.4, 2.4 and 1.7).
_MORE_COLUMNS, _CHANNELS = 1 << 23, 32
#: Channels up to which a convolution over volumes takes the taps along depth as channels.
_THIN = 16


def _dims(n: int) -> tuple[str, str]:
    """The layout of images, and the axes of space."""
    return f"N{AXES[n]}C", AXES[n]


def _conv(x, w, **options):
    image, space = _dims(x.ndim - 2)
    return lax.conv_general_dilated(x, w, dimension_numbers=(image, f"OI{space}", image), **options)


def _outside(x, padding):
    """x padded in memory, and the padding that is left."""
    return pad_space(x, padding, first=1), ((0, 0),) * len(padding)


def _output(g: Geometry, x, w):
    if len(g.size) == 3:
        return _output_by_planes(g, x, w)
    padding = g.padding
    # XLA exchanges the operands where the kernel is larger than the image, and runs the result by a naive loop.
    if math.prod(g.kernel) > math.prod(g.size) or any(p < 0 for pair in padding for p in pair):
        x, padding = _outside(x, padding)
    return _conv(x, w, window_strides=g.stride, padding=padding, rhs_dilation=g.dilation)


def _input(g: Geometry, y, w):
    if len(g.size) == 3:
        return _input_by_planes(g, y, w)
    taps, places, size = math.prod(g.kernel), math.prod(g.out), y.dtype.itemsize
    # In half precision sums are costly.
    few = size >= 4 and places <= _FEW or size >= _DOUBLE and math.prod(g.stride) > 1
    if taps <= 64 and (few or taps > places):
        return _input_by_product(g, y, w)
    around = []
    for s, (low, _), d, n, k, m in g.axes():
        first = d * (k - 1) - low
        around.append((first, n + d * (k - 1) - (s * (m - 1) + 1) - first))
    if taps > places:  # see _output
        outer = [(max(low, 0) // s, max(high, 0) // s) for (low, high), s in zip(around, g.stride, strict=True)]
        around = [(a - b * s, c - d * s) for (a, c), (b, d), s in zip(around, outer, g.stride, strict=True)]
        y = pad_space(y, outer, first=1)
    w = jnp.flip(w, tuple(range(2, w.ndim))).swapaxes(0, 1)
    if any(p < 0 for pair in around for p in pair):
        crop = [(min(low, 0), min(high, 0)) for low, high in around]
        around = [(max(low, 0), max(high, 0)) for low, high in around]
        found = _conv(y, w, window_strides=_ones(g), padding=around, lhs_dilation=g.stride, rhs_dilation=g.dilation)
        return pad_space(found, crop, first=1)
    return _conv(y, w, window_strides=_ones(g), padding=around, lhs_dilation=g.stride, rhs_dilation=g.dilation)


def _weight(g: Geometry, x, y):
    if len(g.size) == 3:
        return _weight_by_planes(g, x, y)
    taps, channels = math.prod(g.kernel), min(x.shape[-1], y.shape[-1])
    most = _MORE_COLUMNS if channels >= _CHANNELS and processors() > 1 else _COLUMNS
    if taps <= _TAPS and holds(lambda: y.size // y.shape[-1] * taps * x.shape[-1] <= most, False):
        return _weight_by_product(g, x, y)
    padding = g.padding
    if math.prod(g.out) > math.prod(g.size):  # see _output
        x, padding = _outside(x, padding)
    around, crop = [], []
    for (s, _, d, _, k, m), (low, _), n in zip(g.axes(), padding, x.shape[1:-1], strict=True):
        high = d * (k - 1) + s * (m - 1) + 1 - n - low
        around.append((low, max(high, 0)))
        crop.append((0, min(high, 0)))
    x = pad_space(x, crop, first=1)
    _, space = _dims(len(g.size))
    return lax.conv_general_dilated(
        x, y, g.dilation, around, rhs_dilation=g.stride, dimension_numbers=(f"C{space}N", f"I{space}O", f"CN{space}")
    )


def _ones(g: Geometry) -> tuple[int, ...]:
    return (1,) * len(g.size)


# ---- as products with columns: all that each place sees --------------------------------------------------------------


def columns(g: Geometry, x):
    """(N, C, *size) -> (taps * C, N, *out): taps of the last axis of space first, channels last.

    Axis by axis, which takes k + k slices instead of k * k, and half of the time to compile.  With places last the rows
    are long even where there are few channels: 1 to 4 times as quick as with channels last.
    """
    x = pad_space(jnp.swapaxes(x, 0, 1), g.padding)
    for axis, (s, _, d, _, k, m) in enumerate(g.axes(), 2):
        taps = [lax.slice_in_dim(x, t * d, t * d + s * (m - 1) + 1, s, axis) for t in range(k)]
        x = taps[0] if k == 1 else jnp.concatenate(taps, 0)
    return x


def matrix(w):
    """The weights (O, C, *kernel) as a matrix whose columns are in the order of :func:`columns`."""
    return w.transpose(0, *range(w.ndim - 1, 1, -1), 1).reshape(w.shape[0], -1)


def output_by_product(g: Geometry, x, w, product=by_columns):
    """One product of the weights with the columns; channels first."""
    x = columns(g, x)
    y = product(matrix(w), x.reshape(x.shape[0], -1))
    return jnp.swapaxes(y.reshape(-1, *x.shape[1:]), 0, 1)


def _weight_by_product(g: Geometry, x, y):
    n, outs = len(g.size), y.shape[-1]
    found = columns(g, jnp.moveaxis(x, -1, 1))
    w = found.reshape(found.shape[0], -1) @ y.reshape(-1, outs)
    return w.reshape(*g.kernel[::-1], -1, outs).transpose(n + 1, n, *range(n - 1, -1, -1))


def _input_by_product(g: Geometry, y, w):
    """One product, whose parts are put at their places and added up."""
    zero, channels = jnp.zeros((), y.dtype), w.shape[1]
    found = y.reshape(-1, y.shape[-1]) @ jnp.moveaxis(w, 1, -1).reshape(w.shape[0], -1)
    if math.prod(g.out) == 1:
        around = [(-low, n + low - d * (k - 1) - 1, d - 1) for _, (low, _), d, n, k, _ in g.axes()]
        return lax.pad(found.reshape(-1, *g.kernel, channels), zero, [(0, 0, 0), *around, (0, 0, 0)])
    total = None
    parts = found.reshape(*y.shape[:-1], -1, channels)
    for i, tap in enumerate(itertools.product(*map(range, g.kernel))):
        around = [
            (t * d - low, n + low - t * d - s * (m - 1) - 1, s - 1)
            for t, (s, (low, _), d, n, _, m) in zip(tap, g.axes(), strict=True)
        ]
        term = lax.pad(parts[..., i, :], zero, [(0, 0, 0), *around, (0, 0, 0)])
        total = term if total is None else total + term
    return total


# ---- as a product with a matrix: the kernel at the places that it sees, for each place of the result -----------------


def filled(g: Geometry) -> float:
    """The part of that matrix which is not zero."""
    seen = 1
    for s, (low, _), d, n, k, m in g.axes():
        seen *= sum(0 <= o * s + t * d - low < n for o in range(m) for t in range(k))
    return seen / (math.prod(g.size) * math.prod(g.out))


def output_by_matrix(g: Geometry, x, w, axis: int):
    """One product of the images with all places at once; channels at ``axis``, as in the result."""
    if axis != 1:
        w = channels_to_end(w)
    first, rows = 2 if axis == 1 else 1, []
    for place in itertools.product(*map(range, g.out)):
        around = [(0, 0, 0)] * w.ndim
        for i, (o, (s, (low, _), d, n, k, _)) in enumerate(zip(place, g.axes(), strict=True), first):
            around[i] = (o * s - low, n - (o * s - low) - d * (k - 1) - 1, d - 1)
        rows.append(lax.pad(w, jnp.zeros((), w.dtype), around))
    table = jnp.stack(rows, 1 if axis == 1 else 0).reshape(len(rows) * w.shape[0], -1)
    y = by_rows(x.reshape(x.shape[0], -1), table)
    return y.reshape(x.shape[0], *((-1, *g.out) if axis == 1 else (*g.out, w.shape[0])))


# ---- volumes: XLA runs convolutions over planes ten times as quickly -------------------------------------------------


def _planes(g: Geometry, x) -> list:
    """For each tap along depth the planes that it reads, (N * out depth, H, W, C)."""
    x = pad_space(x, g.padding[:1], first=1)
    (s, d, k, m) = (g.stride[0], g.dilation[0], g.kernel[0], g.out[0])
    taps = [lax.slice_in_dim(x, t * d, t * d + s * (m - 1) + 1, s, 1) for t in range(k)]
    return [t.reshape(-1, *t.shape[2:]) for t in taps]


def _deep(y, depth: int):
    return y.reshape(-1, depth, *y.shape[1:])


def _depth_as_channels(w):
    """(O, C, k, h, w) -> (O, k * C, h, w)"""
    return w.swapaxes(1, 2).reshape(w.shape[0], -1, *w.shape[3:])


def _output_by_planes(g: Geometry, x, w):
    planes, flat = _planes(g, x), g.tail()
    if x.shape[-1] <= _THIN:
        return _deep(_output(flat, jnp.concatenate(planes, -1), _depth_as_channels(w)), g.out[0])
    return _deep(sum(_output(flat, p, w[:, :, t]) for t, p in enumerate(planes)), g.out[0])


def _input_by_planes(g: Geometry, y, w):
    flat, channels, (low, _), d, k = g.tail(), w.shape[1], g.padding[0], g.dilation[0], g.kernel[0]
    n, m, s = g.size[0], g.out[0], g.stride[0]
    if s == 1 and y.shape[-1] >= 8:
        first = d * (k - 1) - low
        y = pad_space(y, [(first, n + d * (k - 1) - m - first)], first=1)
        y = jnp.concatenate([lax.slice_in_dim(y, t * d, t * d + n, 1, 1) for t in range(k)], -1)
        w = jnp.flip(w, 2).transpose(2, 0, 1, 3, 4).reshape(-1, channels, *w.shape[3:])
        return _deep(_input(flat, y.reshape(-1, *y.shape[2:]), w), n)
    found = _deep(_input(flat, y.reshape(-1, *y.shape[2:]), _depth_as_channels(w)), m)
    total = None
    for t, part in enumerate(jnp.split(found, k, -1)):
        config = [(0, 0, 0)] * found.ndim
        config[1] = (t * d - low, n + low - t * d - s * (m - 1) - 1, s - 1)
        part = lax.pad(part, jnp.zeros((), part.dtype), config)
        total = part if total is None else total + part
    return total


def _weight_by_planes(g: Geometry, x, y):
    planes, flat = _planes(g, x), g.tail()
    y = y.reshape(-1, *y.shape[2:])
    if x.shape[-1] <= _THIN:
        found = _weight(flat, jnp.concatenate(planes, -1), y)
        return found.reshape(found.shape[0], len(planes), -1, *found.shape[2:]).swapaxes(1, 2)
    return jnp.stack([_weight(flat, p, y) for p in planes], 2)


# ---- channels first, as callers have them ----------------------------------------------------------------------------


_MAPS = {
    "output": lambda g, x, w: channels_first(_output(g, channels_to_end(x), w)),
    "input": lambda g, y, w: channels_first(_input(g, channels_to_end(y), w)),
    "weight": lambda g, x, y: _weight(g, channels_to_end(x), channels_to_end(y)),
}
#: The same where both arguments have a batch: products can, convolutions would be grouped ones (a naive loop).
_PRODUCTS = {
    "output": functools.partial(output_by_product, product=jnp.matmul),
    "input": lambda g, y, w: channels_first(_input_by_product(g, channels_to_end(y), w)),
    "weight": lambda g, x, y: _weight_by_product(g, channels_to_end(x), channels_to_end(y)),
}
