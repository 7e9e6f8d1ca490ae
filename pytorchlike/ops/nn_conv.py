"""Convolutions, transposed convolutions, unfold and fold.

Arrays are channels first, as callers see them.  XLA:CPU runs some convolutions, and the gradients of more, by a naive
loop, so on CPU the formulation is chosen by shape; elsewhere it is always the plain convolution.
"""

from __future__ import annotations

import math
from functools import partial

import jax.numpy as jnp
from jax import lax

from ._convolution import (
    AXES,
    Geometry,
    channels_first,
    channels_to_end,
    convolution,
    filled,
    first_of_space,
    output_by_matrix,
    output_by_product,
    pad_space,
    tap_slices,
    transposed,
)
from ._depthwise import depthwise
from ._dtypes import c_name, type_name
from ._product import by_rows
from ._table import ONCE, Array, formulated, op, platform


def ntuple(value, n: int, name: str, what: str) -> tuple[int, ...]:
    """An int, or a sequence of one or n ints, as n ints; else RuntimeError."""
    if isinstance(value, int):
        return (value,) * n
    value = tuple(int(v) for v in value)
    if len(value) == 1:
        return value * n
    if len(value) != n:
        raise RuntimeError(
            f"expected {what} to be a single integer value or a list of {n} values to match the "
            f"convolution dimensions, but got {what}={list(value)} ({name})"
        )
    return value


def _by(shape) -> str:
    return "(" + " x ".join(str(s) for s in shape) + ")"


# ---- formulations: x (N, C, *space) already padded, w (O, C / groups, *kernel) -> (N, O, *out) ----------------------


def _plain(x, w, stride, dilation, groups, padding=None, lhs_dilation=None):
    axes = AXES[x.ndim - 2]
    x, axis, back = formulated(x)
    data = "NC" + axes if axis == 1 else "N" + axes + "C"
    return back(lax.conv_general_dilated(
        x,
        w,
        stride,
        padding or [(0, 0)] * len(axes),
        lhs_dilation=lhs_dilation,
        rhs_dilation=dilation,
        dimension_numbers=(data, "OI" + axes, data),
        feature_group_count=groups,
    ))  # fmt: skip


def _padded(x, padding):
    """:func:`pad_space`, where moving channels cancels."""
    x, axis, back = formulated(x)
    return back(pad_space(x, padding, first=first_of_space(axis)))


def _dot(x, w):
    """(*, C) by (O, C) -> (*, O)."""
    return lax.dot_general(x, w, (((x.ndim - 1,), (1,)), ((), ())))


def _pointwise(x, w, stride, padding):
    x = pad_space(channels_to_end(x), padding, first=1)
    x = x[(slice(None), *(slice(None, None, s) for s in stride))]
    return channels_first(_dot(x, w.reshape(w.shape[:2])))


def _patches(x, w, stride, out):
    """Kernels side by side, each seeing a part of its own: one product."""
    n = len(stride)
    x = x[(slice(None), slice(None), *(slice(m * s) for m, s in zip(out, stride, strict=True)))]
    x = x.reshape(*x.shape[:2], *(v for m, s in zip(out, stride, strict=True) for v in (m, s)))
    x = x.transpose(0, *range(2, 2 + 2 * n, 2), 1, *range(3, 3 + 2 * n, 2))
    y = by_rows(x.reshape(x.shape[0] * math.prod(out), -1), w.reshape(w.shape[0], -1))
    return channels_first(y.reshape(x.shape[0], *out, -1))


#: Numbers that a place sees up to which one product is always quicker than a convolution.
_FEW = 64


#: Part of its matrix that a convolution must fill to be one product with it: half the time, a third to compile.
_FILLED = 0.5


def _starts(input, weight, *rest) -> bool:
    """Whether an image is worth moving its channels to the end for a convolution: not for one product of patches.

    The product of a convolution of single places leaves them there anyway.
    """
    return weight.size > _FEW * weight.shape[0] or all(k == 1 for k in weight.shape[2:])


def _tap_reads_data(tap, size, padding, stride, dilation, out) -> bool:
    return all(
        any(0 <= o * s + t * d - lo < n for o in range(m))
        for t, n, (lo, _), s, d, m in zip(tap, size, padding, stride, dilation, out, strict=True)
    )


def _shifted_dots(x, w, stride, padding, dilation, out):
    """One product for each tap of the kernel; taps that see nothing but padding are left out."""
    kernel, size = w.shape[2:], x.shape[2:]
    x = pad_space(channels_to_end(x), padding, first=1)
    total = None
    for tap, window in tap_slices(kernel, stride, dilation, out):
        if _tap_reads_data(tap, size, padding, stride, dilation, out):
            term = _dot(x[(slice(None), *window)], w[(slice(None), slice(None), *tap)])
            total = term if total is None else total + term
    if total is None:
        total = jnp.zeros((x.shape[0], *out, w.shape[0]), x.dtype)
    return channels_first(total)


def _depthwise(x, w, stride, padding, dilation, out):
    """groups = C: shifted multiply-adds (the grouped convolution takes ten times as long)."""
    geometry = Geometry(stride, tuple(padding), dilation, x.shape[2:], w.shape[2:], out)
    channels, outs = x.shape[1], w.shape[0]
    x, axis, back = formulated(x)
    if outs != channels:
        x = jnp.repeat(x, outs // channels, axis)
    return back(depthwise(x, w, geometry, axis))


def _by_group(x, w, stride, padding, dilation, groups, out):
    xs, ws = jnp.split(x, groups, 1), jnp.split(w, groups, 0)
    return jnp.concatenate(
        [_convolve(a, b, stride, padding, dilation, 1, out) for a, b in zip(xs, ws, strict=True)], 1
    )


def _formulated(x) -> bool:
    """Whether formulations matter: elsewhere a convolution is left to XLA."""
    return platform() == "cpu" and jnp.issubdtype(x.dtype, jnp.floating) and 0 not in x.shape


#: Groups up to which each is a convolution of its own: XLA:CPU's took 60 (8 groups) to 144 times (32) as long.
_GROUPS = 64


def _convolve(x, w, stride, padding, dilation, groups, out):
    """Cross-correlation by the formulation that measured quickest, forward and backward together, for these shapes."""
    kernel, channels = w.shape[2:], x.shape[1]
    taps, places = math.prod(kernel), math.prod(out)
    if _formulated(x):
        if groups == channels and groups > 1 and taps <= 64:
            return _depthwise(x, w, stride, padding, dilation, out)
        if 1 < groups <= _GROUPS:
            return _by_group(x, w, stride, padding, dilation, groups, out)
        if groups == 1:
            if taps == 1:
                return _pointwise(x, w, stride, padding)
            if kernel == x.shape[2:] and places == 1 and not any(p for pair in padding for p in pair):
                a, b = formulated(x)[0], formulated(w)[0]  # the kernel sees all there is
                y = by_rows(a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1))
                return y.reshape(*y.shape, *out)
            if kernel == stride and math.prod(dilation) == 1 and all(p == (0, 0) for p in padding):
                return _patches(x, w, stride, out)
            geometry = Geometry(stride, tuple(padding), dilation, x.shape[2:], kernel, out)
            columns = channels * taps
            if len(out) < 3:
                # Few places: most of the kernel lies in the padding.
                if taps <= 64 and (places <= 9 or (places <= 16 and channels >= 256)):
                    if filled(geometry) > _FILLED:
                        a, axis, back = formulated(x)
                        return back(output_by_matrix(geometry, a, w, axis))
                    if channels >= 16:
                        return _shifted_dots(x, w, stride, padding, dilation, out)
                    return output_by_product(geometry, x, w)
                large = taps >= 16 and math.prod(stride) == 1  # whose gradients cost the plain convolution most
                if large and (places <= 64 and columns <= 512 or places <= 1024 and columns <= 160):
                    return output_by_product(geometry, x, w)
            if columns <= _FEW:
                return output_by_product(geometry, x, w)
            return convolution(x, w, geometry)
    if any(p < 0 for pair in padding for p in pair):
        x, padding = _padded(x, padding), [(0, 0)] * len(out)
    return _plain(x, w, stride, dilation, groups, padding)


# ---- checks ----------------------------------------------------------------------------------------------------------


def _check_dtypes(name, input, weight, bias):
    if input.dtype != weight.dtype:
        if bias is None or bias.dtype == input.dtype or "transpose" in name:
            raise RuntimeError(f"expected scalar type {type_name(input.dtype)} but found {type_name(weight.dtype)} "
                               f"({name}: input and weight)")  # fmt: skip
    if bias is not None and bias.dtype != input.dtype:
        raise RuntimeError(
            f"Input type ({c_name(input.dtype)}) and bias type ({c_name(bias.dtype)}) should be the same ({name})"
        )


def _check_common(name, n, input, weight, stride, dilation, groups):
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: "
            f"{list(input.shape)}"
        )
    if weight.ndim != n + 2:
        raise RuntimeError(
            f"expected a {n + 2}-dimensional weight for {name}, but got weight of size {list(weight.shape)}"
        )
    if any(s <= 0 for s in stride):
        raise RuntimeError(f"non-positive stride is not supported ({name}: stride={list(stride)})")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(f"dilation should be greater than zero, but got {list(dilation)} ({name})")
    if groups <= 0:
        raise RuntimeError(f"non-positive groups is not supported ({name}: groups={groups})")
    if any(k <= 0 for k in weight.shape[2:]):
        raise RuntimeError(f"kernel size should be greater than zero, but got {list(weight.shape[2:])} ({name})")
    if weight.shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{list(weight.shape)} instead"
        )
    if weight.shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but "
            f"got weight of size [{list(weight.shape)}] instead"
        )


def _settings(name, n, input, weight, bias, stride, padding, dilation, groups):
    """Stride, padding (before, after) and dilation of each axis; RuntimeError if they or the shapes do not fit."""
    stride = ntuple(stride, n, name, "stride")
    dilation = ntuple(dilation, n, name, "dilation")
    _check_common(name, n, input, weight, stride, dilation, groups)
    kernel = weight.shape[2:]
    if isinstance(padding, str):
        if padding == "valid":
            pads = [(0, 0)] * n
        elif padding == "same":
            if any(s != 1 for s in stride):
                raise RuntimeError(f"padding='same' is not supported for strided convolutions ({name}: {stride})")
            totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            pads = [(t // 2, t - t // 2) for t in totals]
        else:
            raise RuntimeError(f"Invalid padding string: '{padding}' ({name} takes 'valid' and 'same')")
    else:
        padding = ntuple(padding, n, name, "padding")
        if any(p < 0 for p in padding):
            raise RuntimeError(f"negative padding is not supported ({name}: padding={list(padding)})")
        pads = [(p, p) for p in padding]
    channels = input.shape[-n - 1]
    if weight.shape[1] * groups != channels:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{weight.shape[1] * groups} channels, but got {channels} channels instead"
        )
    if bias is not None and bias.shape != (weight.shape[0],):
        raise RuntimeError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with "
            f"{weight.shape[0]} elements, but got bias of size {list(bias.shape)} instead"
        )
    return stride, pads, dilation


def _out_space(name, space, kernel, stride, pads, dilation) -> tuple[int, ...]:
    """How often a kernel fits along each axis; RuntimeError if it does not."""
    padded = [m + lo + hi for m, (lo, hi) in zip(space, pads, strict=True)]
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if any(m < s or m == 0 for m, s in zip(padded, spans, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: {_by(padded)}. Kernel size: {_by(spans)}. Kernel size can't be "
            f"greater than actual input size ({name})"
        )
    return tuple((m - k) // s + 1 for m, k, s in zip(padded, spans, stride, strict=True))


def _conv(name, n, input, weight, bias, stride, padding, dilation, groups):
    stride, pads, dilation = _settings(name, n, input, weight, bias, stride, padding, dilation, groups)
    _check_dtypes(name, input, weight, bias)
    batched = input.ndim == n + 2
    x = input if batched else input[None]
    out = _out_space(name, x.shape[2:], weight.shape[2:], stride, pads, dilation)
    y = _biased(_convolve(x, weight, stride, pads, dilation, groups, out), bias)
    return y if batched else y[0]


def _convolved(n, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> tuple:
    """The shape of the result, see ``_shapes``."""
    stride, pads, dilation = _settings("", n, input, weight, bias, stride, padding, dilation, groups)
    out = _out_space("", input.shape[-n:], weight.shape[2:], stride, pads, dilation)
    return ((*input.shape[: -n - 1], weight.shape[0], *out),)


def _biased(y, bias):
    if bias is None:
        return y
    y, axis, back = formulated(y)
    return back(y + bias.reshape(-1, *(1,) * (y.ndim - 1 - axis)))


# ---- transposed ------------------------------------------------------------------------------------------------------


def _overlap_add(columns, kernel, stride, dilation, full):
    """Sum of windows: columns (N, O, *kernel, *in) put at their places in a space of size full."""
    n = len(kernel)
    out = [s * (m - 1) + 1 for s, m in zip(stride, columns.shape[2 + n :], strict=True)]
    total = None
    zero = jnp.zeros((), columns.dtype)
    for tap, _ in tap_slices(kernel, stride, dilation, columns.shape[2 + n :]):
        config = [(0, 0, 0), (0, 0, 0)]
        for t, d, s, o, f in zip(tap, dilation, stride, out, full, strict=True):
            config.append((t * d, f - t * d - o, s - 1))
        term = lax.pad(columns[(slice(None), slice(None), *tap)], zero, config)
        total = term if total is None else total + term
    return total


def _transposed_by_phases(x, w, stride, pads, size, groups):
    """One convolution computes the outputs of every phase of the stride as channels, which are then interleaved.

    With output index s * q + r and tap s * u + r: ``y[s * q + r] = sum over u of x[q - u] * w[s * u + r]``.
    For kernels as large as the stride, where it is a product, large ones, and channels of their own.
    """
    n, channels, per = len(stride), x.shape[1], w.shape[1]
    reach = [-(-k // s) for k, s in zip(w.shape[2:], stride, strict=True)]
    grown = [(0, 0, 0), (0, 0, 0)]
    grown += [(0, u * s - k, 0) for u, s, k in zip(reach, stride, w.shape[2:], strict=True)]
    split = [v for u, s in zip(reach, stride, strict=True) for v in (u, s)]
    w = lax.pad(w, jnp.zeros((), w.dtype), grown).reshape(groups, channels // groups, per, *split)
    w = jnp.flip(w, tuple(range(3, 3 + 2 * n, 2)))
    phases, taps = range(4, 4 + 2 * n, 2), range(3, 3 + 2 * n, 2)
    w = w.transpose(0, 2, *phases, 1, *taps).reshape(-1, channels // groups, *reach)
    out = tuple(m + u - 1 for m, u in zip(x.shape[2:], reach, strict=True))
    y = _convolve(x, w, (1,) * n, [(u - 1, u - 1) for u in reach], (1,) * n, groups, out)
    y = y.reshape(x.shape[0], groups * per, *stride, *out)
    y = y.transpose(0, 1, *(a for i in range(n) for a in (2 + n + i, 2 + i)))
    y = y.reshape(x.shape[0], groups * per, *(m * s for m, s in zip(out, stride, strict=True)))
    crop = [(-p, p + o - m) for p, o, m in zip(pads, size, y.shape[2:], strict=True)]
    return pad_space(y, crop)


#: Places of the input up to which also an adjoint without a stride is not another convolution.
_FEW_PLACES = 16


def _transposed(x, w, stride, pads, output_padding, dilation, groups):
    """Adjoint of the convolution: x (N, C, *in), w (C, O / groups, *kernel)."""
    n, kernel, channels = len(stride), w.shape[2:], x.shape[1]
    per = w.shape[1]
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [
        (m - 1) * s - 2 * p + k + e
        for m, s, p, k, e in zip(x.shape[2:], stride, pads, spans, output_padding, strict=True)
    ]
    if _formulated(x):
        if 1 < groups <= _GROUPS and groups != channels:
            parts = zip(jnp.split(x, groups, 1), jnp.split(w, groups, 0), strict=True)
            return jnp.concatenate([_transposed(*p, stride, pads, output_padding, dilation, 1) for p in parts], 1)
        phases = groups > 1 or kernel == stride or math.prod(kernel) > 64
        if phases and math.prod(stride) > 1 and math.prod(dilation) == 1:
            return _transposed_by_phases(x, w, stride, pads, size, groups)
        if groups == 1 and (math.prod(stride) > 1 or math.prod(x.shape[2:]) <= _FEW_PLACES):
            padding = tuple([(p, p - e) for p, e in zip(pads, output_padding, strict=True)])
            return transposed(x, w, Geometry(stride, padding, dilation, tuple(size), kernel, x.shape[2:]))
    flipped = w[(slice(None), slice(None), *(slice(None, None, -1) for _ in kernel))]
    flipped = flipped.reshape(groups, channels // groups, per, *kernel)
    flipped = jnp.moveaxis(flipped, 2, 1).reshape(groups * per, channels // groups, *kernel)
    around = [(k - 1 - p, k - 1 - p + e) for k, p, e in zip(spans, pads, output_padding, strict=True)]
    if math.prod(stride) == 1:
        return _convolve(x, flipped, stride, around, dilation, groups, tuple(size))
    return _plain(x, flipped, (1,) * n, dilation, groups, around, lhs_dilation=stride)


def _conv_transpose(name, n, input, weight, bias, stride, padding, output_padding, groups, dilation):
    stride = ntuple(stride, n, name, "stride")
    padding = ntuple(padding, n, name, "padding")
    output_padding = ntuple(output_padding, n, name, "output_padding")
    dilation = ntuple(dilation, n, name, "dilation")
    _check_common(name, n, input, weight, stride, dilation, groups)
    if any(p < 0 for p in padding):
        raise RuntimeError(f"negative padding is not supported ({name}: padding={list(padding)})")
    if any(p < 0 for p in output_padding):
        raise RuntimeError(f"negative output_padding is not supported ({name}: {list(output_padding)})")
    batched = input.ndim == n + 2
    channels = input.shape[1 if batched else 0]
    if weight.shape[0] != channels:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{weight.shape[0]} channels, but got {channels} channels instead"
        )
    outs = weight.shape[1] * groups
    if bias is not None and bias.shape != (outs,):
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {outs} "
            f"elements, but got bias of size {list(bias.shape)} instead"
        )
    _check_dtypes(name, input, weight, bias)
    if any(e >= s and e >= d for e, s, d in zip(output_padding, stride, dilation, strict=True)):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got "
            f"output_padding={list(output_padding)} "
            f"stride={list(stride)} dilation={list(dilation)} ({name})"
        )
    x = input if batched else input[None]
    axes = zip(x.shape[2:], stride, padding, dilation, weight.shape[2:], output_padding, strict=True)
    size = [(m - 1) * s - 2 * p + d * (k - 1) + 1 + e for m, s, p, d, k, e in axes]
    if any(m <= 0 for m in size):
        raise RuntimeError(
            f"Given input size per channel: {_by(x.shape[2:])}. Calculated output size per channel: "
            f"{_by(size)}. Output size is too small ({name})"
        )
    y = _biased(_transposed(x, weight, stride, padding, output_padding, dilation, groups), bias)
    return y if batched else y[0]


# ---- operators -------------------------------------------------------------------------------------------------------

def _unequal_ends(weight, padding, dilation):
    """Whether "same" needs more zeros at the end than at the beginning."""
    if padding != "same":
        return False
    sizes = weight.shape[2:]
    steps = (dilation,) * len(sizes) if isinstance(dilation, int) else dilation
    return any(d * (k - 1) % 2 for d, k in zip(steps, sizes, strict=False))


_UNEQUAL = (
    _unequal_ends,
    "Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy of the input be "
    "created",
    ONCE,
)


@op(
    namespace=("torch", "nn.functional"), method=False, out=False, heavy=True, shapes=partial(_convolved, 1),
    deprecated=_UNEQUAL,
)  # fmt: skip
def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
):
    """Cross-correlation over the last axis.

    Shapes: input (N, C, L) or (C, L), weight (O, C / groups, k), bias (O,) -> (N, O, L') or (O, L') with
    ``L' = (L + 2 * padding - dilation * (k - 1) - 1) // stride + 1``; padding may be "valid" or "same" (stride 1).
    Raises: RuntimeError for sizes that do not fit.
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@op(
    namespace=("torch", "nn.functional"), method=False, out=False, heavy=True, images=_starts,
    shapes=partial(_convolved, 2), deprecated=_UNEQUAL,
)  # fmt: skip
def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
):
    """Cross-correlation over the last two axes.

    Shapes: input (N, C, H, W) or (C, H, W), weight (O, C / groups, kh, kw), bias (O,) -> (N, O, H', W'); for each axis
    ``n' = (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1``; padding may be "valid" or "same" (stride 1).
    Raises: RuntimeError for sizes that do not fit.
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@op(
    namespace=("torch", "nn.functional"), method=False, out=False, heavy=True, shapes=partial(_convolved, 3),
    deprecated=_UNEQUAL,
)  # fmt: skip
def conv3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
):
    """Cross-correlation over the last three axes.

    Shapes: input (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, kd, kh, kw), bias (O,) -> (N, O, D', H', W'),
    as in conv2d.  Raises: RuntimeError for sizes that do not fit.
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@op(namespace=("torch", "nn.functional"), method=False, out=False, heavy=True)
def conv_transpose1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
):
    """Adjoint of conv1d: input (N, C, L) or (C, L), weight (C, O / groups, k) -> (N, O, L'), with
    ``L' = (L - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1``.

    Raises: RuntimeError for sizes that do not fit.
    """
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@op(namespace=("torch", "nn.functional"), method=False, out=False, heavy=True, images=_starts)
def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
):
    """Adjoint of conv2d: input (N, C, H, W) or (C, H, W), weight (C, O / groups, kh, kw) -> (N, O, H', W'), each axis
    as in conv_transpose1d.

    Raises: RuntimeError for sizes that do not fit.
    """
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@op(namespace=("torch", "nn.functional"), method=False, out=False, heavy=True)
def conv_transpose3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
):
    """Adjoint of conv3d: input (N, C, D, H, W) or (C, D, H, W), weight (C, O / groups, kd, kh, kw)
    -> (N, O, D', H', W'), each axis as in conv_transpose1d.

    Raises: RuntimeError for sizes that do not fit.
    """
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def _pair(value, what: str) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    value = tuple(value)
    if len(value) == 1:
        return value[0], value[0]
    if len(value) != 2:
        raise RuntimeError(f"It is expected {what} equals to 2, but got size {len(value)}")
    return value  # type: ignore[return-value]


def _check_window(kernel, dilation, padding, stride):
    for what, pair, low in (
        ("kernel size", kernel, 1),
        ("dilation", dilation, 1),
        ("padding", padding, 0),
        ("stride", stride, 1),
    ):
        if min(pair) < low:
            limit = "greater than zero" if low else "non-negative"
            names = what.split()[0]
            raise RuntimeError(
                f"{what} should be {limit}, but got {names}_height: {pair[0]} {names}_width: "
                f"{pair[1]} (unfold and fold)"
            )


def _blocks(size, kernel, dilation, padding, stride) -> tuple[int, ...]:
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    )


@op(namespace="nn.functional", out=False, saves=False)
def unfold(
    input: Array,
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
):
    """Sliding windows as columns: (N, C, H, W) -> (N, C * kh * kw, L), or without N; L windows in row-major order.

    Raises: RuntimeError if no window fits.
    """
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(input.shape)} (unfold)"
        )
    kernel, dilation = _pair(kernel_size, "kernel_size"), _pair(dilation, "dilation")
    padding, stride = _pair(padding, "padding"), _pair(stride, "stride")
    _check_window(kernel, dilation, padding, stride)
    x = input if input.ndim == 4 else input[None]
    out = _blocks(x.shape[2:], kernel, dilation, padding, stride)
    if min(out) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(x.shape[2:])}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, calculated shape of the array of sliding blocks as {out}, but its "
            "components must be at least one. (unfold)"
        )
    x = pad_space(x, [(p, p) for p in padding])
    y = jnp.stack([x[(slice(None), slice(None), *s)] for _, s in tap_slices(kernel, stride, dilation, out)], 2)
    y = y.reshape(x.shape[0], x.shape[1] * math.prod(kernel), math.prod(out))
    return y if input.ndim == 4 else y[0]


@op(namespace="nn.functional", out=False, saves=False)
def fold(
    input: Array,
    output_size: int | tuple[int, ...],
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
):
    """Adjoint of unfold: overlapping windows summed, (N, C * kh * kw, L) -> (N, C, *output_size), or without N.

    Raises: RuntimeError if the sizes do not fit together.
    """
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
            f"dimensions for input, but got: {list(input.shape)} (fold)"
        )
    size, kernel = _pair(output_size, "output_size"), _pair(kernel_size, "kernel_size")
    dilation, padding, stride = _pair(dilation, "dilation"), _pair(padding, "padding"), _pair(stride, "stride")
    _check_window(kernel, dilation, padding, stride)
    x = input if input.ndim == 3 else input[None]
    taps = math.prod(kernel)
    if x.shape[1] % taps:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={x.shape[1]} and kernel_size={kernel}. (fold)"
        )
    blocks = _blocks(size, kernel, dilation, padding, stride)
    if min(blocks) < 1 or x.shape[2] != math.prod(blocks):
        count = math.prod(max(b, 0) for b in blocks)
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding blocks {blocks[0]} * "
            f"{blocks[1]} = {count}, but got input.size(2)={x.shape[2]}. (fold)"
        )
    columns = x.reshape(x.shape[0], x.shape[1] // taps, *kernel, *blocks)
    full = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    y = _overlap_add(columns, kernel, stride, dilation, full)
    y = y[(slice(None), slice(None), *(slice(p, p + n) for p, n in zip(padding, size, strict=True)))]
    return y if input.ndim == 3 else y[0]


@op(namespace=("torch", "nn.functional"), out=False, heavy=True)
def conv_tbc(input: Array, weight: Array, bias: Array, pad: int = 0):
    """conv1d with time first: input (T, B, C), weight (k, C, O), bias (O,) -> (T + 2 * pad - k + 1, B, O).

    Raises: RuntimeError for sizes that do not fit.
    """
    sizes = f"input {list(input.shape)}, weight {list(weight.shape)}, bias {list(bias.shape)} (conv_tbc)"
    if input.ndim != 3:
        raise RuntimeError(f"Input must have 3 dims: time, batch, in_channel, but got {sizes}")
    if weight.ndim != 3:
        raise RuntimeError(f"Weight tensor must have 3 dims: kernel_width, in_channels, out_channels, but got {sizes}")
    if input.shape[2] != weight.shape[1]:
        raise RuntimeError(f"Input dim 2 (input channels) is not == dim 1 in the weight tensor: {sizes}")
    if bias.shape != weight.shape[2:]:
        raise RuntimeError(f"Bias size must equal dim 2 in the weight tensor (output channels): {sizes}")
    out = _conv("conv_tbc", 1, input.transpose(1, 2, 0), weight.transpose(2, 1, 0), bias, 1, pad, 1, 1)
    return out.transpose(2, 0, 1)
