"""Sums, products and convolutions of arrays with room, see ``padding``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._primitives import SUMS
from .generic import Equation, Unlike
from .padding import Axis, Evaluation, Spread, beginning, factors, in_line, joined, rule, starting


def _lowest(dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _highest(dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).max if dtype.kind in "iu" else np.inf


#: What does not change a reduction.
_neutral: dict[str, Callable[[Any], Any]] = {
    "sum": lambda dtype: 0, "prod": lambda dtype: 1, "max": _lowest, "min": _highest, "or": lambda dtype: 0,
    "and": lambda dtype: True if np.dtype(dtype).kind == "b" else -1, "xor": lambda dtype: 0,
    "cumsum": lambda dtype: 0, "cumprod": lambda dtype: 1, "cummax": _lowest, "cummin": _highest,
    "cumlogsumexp": _lowest, "argmax": _lowest, "argmin": _highest,
}  # fmt: skip


@rule("reduce_sum reduce_prod reduce_max reduce_min reduce_or reduce_and reduce_xor")
def _reduce(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    gone = e.params["axes"]
    found = ev.room.masked(x, gone, _neutral[e.primitive.name[7:]](x.x.dtype))
    return Spread(ev.bind(e, found), tuple([a for d, a in enumerate(x.axes) if d not in gone]))


@rule(SUMS)
def _sums(ev: Evaluation, e: Equation, *xs: Spread) -> list[Spread]:
    gone = e.params["axes"]
    axes = tuple(joined([v.axes[d] for v in xs]) for d in range(len(xs[0].axes)))
    found = ev.bind(e, *[ev.room.masked(Spread(v.x, axes), gone, 0) for v in xs])
    left = tuple([a for d, a in enumerate(axes) if d not in gone])
    return [Spread(x, left) for x in found]


@rule("argmax argmin")
def _arg(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    (d,) = e.params["axes"]
    found = ev.bind(e, ev.room.masked(x, (d,), _neutral[e.primitive.name](x.x.dtype)))
    if x.axes[d] is not None:
        found = ev.room.numbered(found, x.axes[d])
    return Spread(found, tuple([a for k, a in enumerate(x.axes) if k != d]))


@rule("cumsum cumprod cummax cummin cumlogsumexp")
def _cumulative(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    d = e.params["axis"]
    axes, axis = list(x.axes), x.axes[d]
    joined = axis is not None and len(factors(axis)) > 1
    if e.params["reverse"] or joined:  # what lies between stretches comes before elements, too
        x = Spread(ev.room.masked(x, (d,), _neutral[e.primitive.name](x.x.dtype)), x.axes)
    if axis is not None and not joined:
        axes[d] = beginning(factors(axis)[0])
    return Spread(ev.bind(e, x.x), tuple(axes))


@rule("sort")
def _sort(ev: Evaluation, e: Equation, *xs: Spread) -> list[Spread]:
    d = e.params["dimension"]
    xs = tuple([in_line(ev, v, d) for v in xs])
    axes = tuple(joined([v.axes[k] for v in xs]) for k in range(len(xs[0].axes)))
    arrays = [v.x for v in xs]
    if axes[d] is not None:
        if e.params["num_keys"] != 1:
            raise Unlike("sort by several keys")
        dtype = np.dtype(arrays[0].dtype)
        last = np.nan if dtype.kind not in "biu" else _highest(dtype)  # NaN comes last, and what lay behind, after it
        arrays[0] = ev.room.masked(Spread(arrays[0], axes), (d,), last)
        return [Spread(y, axes) for y in ev.bind(e, *arrays, is_stable=True)]
    return [Spread(y, axes) for y in ev.bind(e, *arrays)]


@rule("top_k")
def _top_k(ev: Evaluation, e: Equation, x: Spread) -> list[Spread]:
    d = e.params.get("axis", len(x.axes) - 1) % len(x.axes)
    if type(e.params["k"]) is not int:
        raise Unlike("a number of largest elements that varies")
    x = in_line(ev, x, d)
    found = ev.bind(e, ev.room.masked(x, (d,), _lowest(x.x.dtype)))
    axes = tuple([None if k == d else a for k, a in enumerate(x.axes)])
    return [Spread(y, axes) for y in found]


# -- products ---------------------------------------------------------------------------------------------------------


@rule("dot_general")
def _dot(ev: Evaluation, e: Equation, x: Spread, y: Spread) -> Spread:
    (xs, ys), (xb, yb) = e.params["dimension_numbers"]
    for i, j in zip((*xs, *xb), (*ys, *yb), strict=True):
        joined([x.axes[i], y.axes[j]])
    for i, j in zip(xs, ys, strict=True):  # in one order on both sides
        axis = joined([x.axes[i], y.axes[j]])
        x = Spread(x.x, tuple([axis if k == i else a for k, a in enumerate(x.axes)]))
        y = Spread(y.x, tuple([axis if k == j else a for k, a in enumerate(y.axes)]))
    batch = [joined([x.axes[i], y.axes[j]]) for i, j in zip(xb, yb, strict=True)]
    axes = (
        *batch,
        *[a for k, a in enumerate(x.axes) if k not in xs and k not in xb],
        *[a for k, a in enumerate(y.axes) if k not in ys and k not in yb],
    )
    return Spread(ev.bind(e, ev.room.masked(x, xs, 0), ev.room.masked(y, ys, 0)), axes)


@rule("bcsr_dot_general")
def _sparse_dot(ev: Evaluation, e: Equation, values: Spread, cols: Spread, starts: Spread, dense: Spread) -> Spread:
    if len(values.axes) != 1 or starts.axes[0] is not None or dense.axes[0] is not None:
        raise Unlike("a product with a sparse matrix whose rows or columns vary")
    axes = (joined([values.axes[0], cols.axes[0]]),)
    if axes[0] is not None:
        starting(axes[0], "product with a sparse matrix")
    # what lies behind the last row's end belongs to no row, and is left out
    given = [ev.room.masked(Spread(x.x, axes), (0,), 0) for x in (values, cols)]
    return Spread(ev.bind(e, *given, starts.x, dense.x), (None, dense.axes[1]))


@rule("conv_general_dilated")
def _conv(ev: Evaluation, e: Equation, x: Spread, w: Spread) -> Spread:
    spec, room, p = e.params["dimension_numbers"], ev.room, e.params
    for v in (x, w):
        for d, a in enumerate(v.axes):
            if (v is w or d != spec.lhs_spec[0]) and a is not None:
                starting(a, "convolution")
    if p["batch_group_count"] != 1 and x.axes[spec.lhs_spec[0]] is not None:
        raise Unlike("a grouped convolution's gradient")
    if p["feature_group_count"] != 1 and (x.axes[spec.lhs_spec[1]] is not None or w.axes[spec.rhs_spec[0]] is not None):
        raise Unlike("a grouped convolution of channels that vary")
    padding = []
    for k, (low, high) in enumerate(p["padding"]):
        if type(low) is not int:
            raise Unlike("a convolution's padding that varies")
        d = spec.lhs_spec[2 + k]
        room_in = (x.x.shape[d] - 1) * p["lhs_dilation"][k] + 1
        window = (w.x.shape[spec.rhs_spec[2 + k]] - 1) * p["rhs_dilation"][k] + 1
        n = e.shapes[0][spec.out_spec[2 + k]]
        if type(high) is int and x.axes[d] is None and w.axes[spec.rhs_spec[2 + k]] is None:
            padding.append((low, high))
        else:  # as much as gives the room for the result
            padding.append((low, (room.at(n) - 1) * p["window_strides"][k] + window - room_in - low))
    x = Spread(room.masked(x, spec.lhs_spec[1:], 0), x.axes)
    w = Spread(room.masked(w, spec.rhs_spec[1:], 0), w.axes)
    axes: list[Axis] = [None] * len(x.axes)
    axes[spec.out_spec[0]], axes[spec.out_spec[1]] = x.axes[spec.lhs_spec[0]], w.axes[spec.rhs_spec[0]]
    for d in spec.out_spec[2:]:
        axes[d] = beginning(e.shapes[0][d])
    return Spread(ev.bind(e, x.x, w.x, padding=tuple(padding)), tuple(axes))


@rule("reduce_window_sum reduce_window_max reduce_window_min")
def _windows(ev: Evaluation, e: Equation, x: Spread) -> Spread:
    p, room = e.params, ev.room
    moving = []
    padding = []
    for d, (low, high) in enumerate(p["padding"]):
        if p["window_dimensions"][d] == 1 and x.axes[d] is not None and p["window_strides"][d] == 1:
            padding.append((low, high))
            continue
        if x.axes[d] is None:
            padding.append((low, high))
            continue
        starting(x.axes[d], "a window")
        if type(low) is not int or type(p["window_dimensions"][d]) is not int:
            raise Unlike("a window that varies")
        moving.append(d)
        have = (x.x.shape[d] - 1) * p["base_dilation"][d] + 1
        window = (p["window_dimensions"][d] - 1) * p["window_dilation"][d] + 1
        padding.append((low, (room.at(e.shapes[0][d]) - 1) * p["window_strides"][d] + window - have - low))
    found = room.masked(x, moving, _neutral[e.primitive.name[14:]](x.x.dtype))
    axes = tuple([beginning(e.shapes[0][d]) if d in moving else a for d, a in enumerate(x.axes)])
    return Spread(ev.bind(e, found, padding=tuple(padding)), axes)


