"""Dropout, padding, resampling, grids, pixel shuffling, pairwise distances."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._dtypes import type_name
from ._random import kept
from ._reads import Reads, weighted_reads
from ._shapes import like_input
from ._table import Array, Key, op

# ---- dropout ---------------------------------------------------------------------------------------------------------


def _check_probability(p: float, name: str) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p} ({name})")


def _require_inexact(x, name: str) -> None:
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise RuntimeError(f"result type Float can't be cast to the desired output type {x.dtype} ({name})")


def _drop(name: str, input, p: float, training: bool, key, shape):
    """input with random parts of the given shape (broadcast) zero, the rest divided by 1 - p."""
    _check_probability(p, name)
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0
    _require_inexact(input, name)
    keep = kept(key, shape, p)
    return jnp.where(keep, input * (1 / (1 - p)), 0)


#: In PyTorch the result is the input itself then, not a copy of it.
_IDLE = "0 <= p <= 1 and (p == 0 or not training)"


@op(namespace="nn.functional", inplace=True, out=False, idle=_IDLE, shapes=like_input)
def dropout(input: Array, p: float = 0.5, training: bool = True, *, key: Key):
    """Each element zero with probability p, the others divided by 1 - p; the input itself unless training.

    Raises: ValueError for p outside [0, 1], RuntimeError for integers.  Source: Hinton et al. 2012, arXiv:1207.0580.
    """
    return _drop("dropout", input, p, training, key, input.shape)


def _channels(name: str, input, ranks: tuple[int, ...], batched: int) -> tuple[int, ...]:
    """Shape of a mask over whole channels; an input one rank short of batched has no batch."""
    if input.ndim not in ranks:
        wanted = " or ".join(f"{r}D" for r in ranks)
        raise RuntimeError(f"{name}: Expected {wanted} input, but received a {input.ndim}D input: {list(input.shape)}")
    lead = 1 if input.ndim < batched else 2
    return (*input.shape[:lead], *(1,) * (input.ndim - lead))


@op(namespace="nn.functional", inplace=True, out=False)
def dropout1d(input: Array, p: float = 0.5, training: bool = True, *, key: Key):
    """Whole channels of (N, C, L) or (C, L) zero with probability p, the others divided by 1 - p."""
    shape = _channels("dropout1d", input, (2, 3), 3)
    return _drop("dropout1d", input, p, training, key, shape)


def _feature_shape(name: str, input) -> tuple[int, ...]:
    if input.ndim < 2:
        raise RuntimeError(f"Feature dropout requires at least 2 dimensions in the input ({name}: {list(input.shape)})")
    return (*input.shape[:2], *(1,) * (input.ndim - 2))


def _channels_of(name: str, batched: int) -> tuple[str, str]:
    usual = (batched,) if name == "dropout2d" else (batched - 1, batched)  # of images alone, dropout2d takes rows
    return f"input.ndim not in {usual}", (
        f"{name}: Received a {{input.ndim}}-D input, whose channels are not where {name} has them: what is dropped "
        "is told by dims 0 and 1. This is deprecated; see dropout1d, dropout2d and dropout3d."
    )


@op(namespace="nn.functional", inplace=True, out=False, deprecated=_channels_of("dropout2d", 4))
def dropout2d(input: Array, p: float = 0.5, training: bool = True, *, key: Key):
    """Whole channels of (N, C, H, W) zero with probability p, the others divided by 1 - p.

    As in PyTorch, 3-D input is (N, C, L), and 2-D input loses single elements.
    """
    _check_probability(p, "dropout2d")
    return _drop("dropout2d", input, p, training, key, _feature_shape("dropout2d", input))


@op(namespace="nn.functional", inplace=True, out=False, deprecated=_channels_of("dropout3d", 5))
def dropout3d(input: Array, p: float = 0.5, training: bool = True, *, key: Key):
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) zero with probability p, the others divided by 1 - p."""
    _check_probability(p, "dropout3d")
    if input.ndim == 4:
        shape = (input.shape[0], 1, 1, 1)
    else:
        shape = _feature_shape("dropout3d", input)
    return _drop("dropout3d", input, p, training, key, shape)


#: What SELU tends to for very negative arguments: -alpha * scale.
_SELU_FLOOR = -1.7580993408473766


def _alpha(name: str, input, p: float, training: bool, key, shape):
    _check_probability(p, name)
    if not training or p == 0:
        return input
    _require_inexact(input, name)
    if p == 1:
        return input * 0
    keep = kept(key, shape, p)
    # Mean 0 and variance 1 are kept.
    a = 1 / math.sqrt((_SELU_FLOOR**2 * p + 1) * (1 - p))
    b = -a * _SELU_FLOOR * p
    return jnp.where(keep, input * a + b, a * _SELU_FLOOR + b).astype(input.dtype)


@op(namespace="nn.functional", inplace=True, out=False, idle=_IDLE)
def alpha_dropout(input: Array, p: float = 0.5, training: bool = False, *, key: Key):
    """Elements set to SELU's negative limit with probability p, the whole rescaled to keep mean 0 and variance 1.

    Source: Klambauer et al. 2017, arXiv:1706.02515.  Raises: ValueError for p outside [0, 1].
    """
    return _alpha("alpha_dropout", input, p, training, key, input.shape)


@op(namespace="nn.functional", inplace=True, out=False)
def feature_alpha_dropout(input: Array, p: float = 0.5, training: bool = False, *, key: Key):
    """alpha_dropout of whole channels of (N, C, *)."""
    _check_probability(p, "feature_alpha_dropout")
    if not training or p == 0:
        return input
    return _alpha("feature_alpha_dropout", input, p, training, key, _feature_shape("feature_alpha_dropout", input))


# ---- padding ---------------------------------------------------------------------------------------------------------


@op(namespace="nn.functional", out=False, saves=False)
def pad(input: Array, pad: tuple[int, ...], mode: str = "constant", value: float | None = None):
    """Elements added around the last axes: pad = (low, high) of the last axis, then of the one before it, and so on.

    mode: "constant" (value, 0 where None; any number of axes; negative pads cut), "reflect" (without the edge),
    "replicate" (the edge), "circular"; these three for the last 1, 2 or 3 axes beside (N, C) or (C,).
    Raises: RuntimeError or NotImplementedError for pads that do not fit.
    """
    if isinstance(pad, int):
        raise TypeError("pad(): argument 'pad' (position 2) must be tuple of ints, not int")
    pads = tuple(int(p) for p in pad)
    if len(pads) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2 (pad got {pads})")
    n = len(pads) // 2
    if n > input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pads)} and input of dimension {input.ndim}"
        )
    if mode == "constant":
        return _pad_constant(input, pads, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value not in (None, 0):
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if not 1 <= n <= 3 or input.ndim not in (n + 1, n + 2):
        raise NotImplementedError(
            f"Padding size {len(pads)} is not supported for {input.ndim}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )
    out = input
    for i in range(n):
        axis = input.ndim - 1 - i
        out = _pad_axis(out, axis, pads[2 * i], pads[2 * i + 1], mode, list(input.shape))
    return out


def _pad_constant(x, pads: tuple[int, ...], value):
    config = [(0, 0, 0)] * x.ndim
    for i in range(len(pads) // 2):
        axis = x.ndim - 1 - i
        low, high = pads[2 * i], pads[2 * i + 1]
        if x.shape[axis] + low + high < 0:
            raise RuntimeError(
                f"narrow(): length must be non-negative. pad: axis {axis} of size {x.shape[axis]} "
                f"with pads {low}, {high}"
            )
        config[axis] = (low, high, 0)
    return lax.pad(x, jnp.asarray(value).astype(x.dtype), config)


def _pad_axis(x, axis: int, low: int, high: int, mode: str, shape: list[int]):
    m = x.shape[axis]
    if m + low + high < 0 or (m + low + high == 0 and mode != "circular") or (not m and (low > 0 or high > 0)):
        raise RuntimeError(
            f"pad: axis {axis} of size {m} with pads {low}, {high} would get size {m + low + high} "
            f"({mode}, input {shape})"
        )
    if mode == "reflect" and (low >= m or high >= m):
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({low}, {high}) at dimension {axis} of input {shape}"
        )
    if mode == "circular" and (low > m or high > m):
        raise RuntimeError(
            f"Padding value causes wrapping around more than once. pad: axis {axis} of size {m} with pads {low}, {high}"
        )
    parts = []
    if low > 0:
        if mode == "reflect":
            parts.append(jnp.flip(lax.slice_in_dim(x, 1, low + 1, 1, axis), axis))
        elif mode == "replicate":
            parts.append(_repeat_edge(x, axis, 0, low))
        else:
            parts.append(_wrapped(x, axis, low, high, True))
    parts.append(lax.slice_in_dim(x, max(-low, 0), m - max(-high, 0), 1, axis))
    if high > 0:
        if mode == "reflect":
            parts.append(jnp.flip(lax.slice_in_dim(x, m - 1 - high, m - 1, 1, axis), axis))
        elif mode == "replicate":
            parts.append(_repeat_edge(x, axis, m - 1, high))
        else:
            parts.append(_wrapped(x, axis, low, high, False))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis)


def _repeat_edge(x, axis: int, at: int, count: int):
    edge = lax.slice_in_dim(x, at, at + 1, 1, axis)
    return jnp.broadcast_to(edge, (*x.shape[:axis], count, *x.shape[axis + 1 :]))


def _wrapped(x, axis: int, low: int, high: int, before: bool):
    """What goes round: the other end of what is left of x after a negative pad on that end."""
    m = x.shape[axis]
    if before:
        end = m + min(high, 0)
        return lax.slice_in_dim(x, end - low, end, 1, axis)
    start = -min(low, 0)
    return lax.slice_in_dim(x, start, start + high, 1, axis)


# ---- resampling ------------------------------------------------------------------------------------------------------

_MODES = "nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact"
_RANKS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}


def _positions(m: int, out: int, align_corners: bool, scale: float | None) -> np.ndarray:
    """Where the centres of the out places lie in an axis of m places."""
    i = np.arange(out, dtype=np.float64)
    if align_corners:
        return i * ((m - 1) / (out - 1) if out > 1 else 0.0)
    step = 1 / scale if scale else m / out
    return (i + 0.5) * step - 0.5


def _cubic(t: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel, 1981, doi:10.1109/TASSP.1981.1163711."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * t * a - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _taps(m: int, out: int, mode: str, align: bool, scale, antialias: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which places (out, taps) an output place reads, and with which weights."""
    cubic = mode == "bicubic"
    if antialias:
        step = (m - 1) / (out - 1) if align and out > 1 else 0.0 if align else (1 / scale if scale else m / out)
        radius = 2.0 if cubic else 1.0
        support = radius * step if step >= 1 else radius
        inverse = 1 / step if step >= 1 else 1.0
        most = math.ceil(support) * 2 + 1
        reads, weights = np.zeros((out, most), int), np.zeros((out, most))
        for i in range(out):
            centre = step * (i + 0.5)
            first = max(int(centre - support + 0.5), 0)
            count = min(int(centre + support + 0.5), m) - first
            places = first + np.arange(count)
            t = (places - centre + 0.5) * inverse
            w = _cubic(t, -0.5) if cubic else np.maximum(1 - np.abs(t), 0)
            reads[i, :count], weights[i, :count] = places, w / (w.sum() or 1)
        return reads, weights
    at = _positions(m, out, align, scale)
    if not cubic:
        at = np.maximum(at, 0)
    low = np.floor(at).astype(int)
    t = (at - low)[:, None]
    if cubic:
        reads = low[:, None] + np.arange(-1, 3)
        weights = _cubic(t - np.arange(-1, 3), -0.75)
    else:
        low = np.minimum(low, m - 1)
        reads = low[:, None] + np.arange(2)
        weights = np.concatenate([1 - t, t], 1)
    return np.clip(reads, 0, m - 1), weights


def _nearest_axis(x, axis: int, out: int, scale: float | None, exact: bool):
    m = x.shape[axis]
    if out == m and not scale:
        return x
    step = np.float32(1 / scale) if scale else np.float32(m) / np.float32(out)
    i = np.arange(out, dtype=np.float32)
    at = np.floor((i + np.float32(0.5)) * step if exact else i * step).astype(int)
    at = np.minimum(at, m - 1)
    if out % m == 0 and (at == np.arange(out) // (out // m)).all():
        # Its gradient is a sum over the copies, not a scatter.
        return jnp.repeat(x, out // m, axis)
    return weighted_reads(x, axis, Reads(m, at[:, None]))


@op(namespace="nn.functional", out=False, saves=False)
def interpolate(
    input: Array,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
):
    """The spatial axes of (N, C, *) resampled to size, or by scale_factor.

    mode: "nearest", "nearest-exact", "area" (adaptive mean), "linear" (3-D input), "bilinear", "bicubic" (4-D),
    "trilinear" (5-D).  align_corners: the centres of the corner places coincide, not the edges of the axes.
    recompute_scale_factor: the scale follows from the rounded size.  antialias: the kernel widens when sizes shrink.
    Raises: ValueError, NotImplementedError or RuntimeError for arguments that do not fit.
    """
    n = input.ndim - 2
    linear = mode in _RANKS
    if mode not in ("nearest", "nearest-exact", "area") and not linear or not 1 <= n <= 3:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: {_MODES} "
            f"(got {mode})"
        )
    if not linear and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    if linear and input.ndim != _RANKS[mode]:
        raise NotImplementedError(f"Got {input.ndim}D input, but {mode} mode needs {_RANKS[mode]}D input")
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined (interpolate)")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined (interpolate)")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input"
        )
    if size is not None and recompute_scale_factor:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    space = input.shape[2:]
    scales: tuple[float | None, ...] = (None,) * n
    if size is not None:
        out = (size,) * n if isinstance(size, int) else tuple(size)
        if len(out) != n:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got input "
                f"with spatial dimensions of {list(space)} and output size of {out}."
            )
    else:
        factors = (scale_factor,) * n if isinstance(scale_factor, (int, float)) else tuple(scale_factor)
        if len(factors) != n:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(space)} and scale_factor of shape {factors}."
            )
        out = tuple(math.floor(m * f) for m, f in zip(space, factors, strict=True))
        if not recompute_scale_factor:
            scales = tuple(float(f) for f in factors)
    if min(*space, *out) <= 0:
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {list(space)} and output {list(out)} "
            "(interpolate)"
        )
    if mode == "area":
        from .nn_pool import _adaptive_avg

        return _adaptive_avg(f"adaptive_avg_pool{n}d", n, input, out)
    if not (jnp.issubdtype(input.dtype, jnp.floating) or input.dtype == jnp.uint8):
        raise NotImplementedError(f'"upsample_{mode}" not implemented for {type_name(input.dtype)!r}')
    x = input
    if not linear:
        for i in range(n):
            x = _nearest_axis(x, i + 2, out[i], scales[i], mode == "nearest-exact")
        return x
    half = input.dtype in (jnp.float16, jnp.bfloat16)
    if half or input.dtype == jnp.uint8:
        x = x.astype(jnp.float32)
    for i in range(n):
        if out[i] == space[i] and scales[i] in (None, 1.0):
            continue
        taps = _taps(space[i], out[i], mode, bool(align_corners), scales[i], antialias)
        x = weighted_reads(x, i + 2, Reads(space[i], *taps))
    if input.dtype == jnp.uint8:
        x = jnp.clip(jnp.round(x), 0, 255)
    return x.astype(input.dtype)


def _interpolates(name: str) -> tuple[str, str]:
    return "True", f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead."


@op(namespace="nn.functional", out=False, deprecated=_interpolates("upsample"), saves=False)
def upsample(
    input: Array,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
):
    """interpolate by its old name."""
    return interpolate.fn(input, size, scale_factor, mode, align_corners)


@op(namespace="nn.functional", out=False, deprecated=_interpolates("upsample_nearest"), saves=False)
def upsample_nearest(
    input: Array,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
):
    """interpolate with mode "nearest"."""
    return interpolate.fn(input, size, scale_factor, "nearest")


@op(namespace="nn.functional", out=False, deprecated=_interpolates("upsample_bilinear"), saves=False)
def upsample_bilinear(
    input: Array,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
):
    """interpolate with mode "bilinear" and align_corners."""
    return interpolate.fn(input, size, scale_factor, "bilinear", True)


# ---- grids -----------------------------------------------------------------------------------------------------------


def _affine_line(m: int, align: bool, dtype) -> np.ndarray:
    """m positions from -1 to 1, rounded as PyTorch rounds them: see _unnormalized."""
    work = dtype if dtype == np.float64 else np.dtype(np.float32)
    if m == 1:
        return np.zeros(1, work)
    step, i = np.float64(work.type(2) / work.type(m - 1)), np.arange(m)
    # From both ends towards the middle, each a product and a sum with one rounding.
    line = np.where(i < m // 2, -1 + step * i, 1 - step * (m - 1 - i)).astype(work)
    return line if align else line * work.type(m - 1) / work.type(m)


_NO_ALIGNMENT = (
    "align_corners is None",
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
    "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details.",
)


@op(namespace="nn.functional", out=False, deprecated=_NO_ALIGNMENT)
def affine_grid(theta: Array, size: tuple[int, ...], align_corners: bool | None = None):
    """Sampling positions of affine maps for grid_sample.

    Shapes: theta (N, 2, 3) and size (N, C, H, W) -> (N, H, W, 2), or (N, 3, 4) and (N, C, D, H, W) -> (N, D, H, W, 3).
    align_corners: -1 and 1 are the centres of the corner places; else (None too) the edges.
    Raises: ValueError or NotImplementedError for shapes that do not fit.
    """
    if not jnp.issubdtype(theta.dtype, jnp.floating):
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype} (affine_grid)")
    size = tuple(size)
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{size}."
        )
    if theta.ndim != 3 or theta.shape[1:] != (n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. Got {list(theta.shape)}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size} (affine_grid)")
    if theta.shape[0] != size[0]:
        raise RuntimeError(f"affine_grid: theta has a batch of {theta.shape[0]}, but size {size} one of {size[0]}")
    axes = [_affine_line(m, bool(align_corners), theta.dtype) for m in size[2:]]
    mesh = np.meshgrid(*axes, indexing="ij")
    base = np.stack([*mesh[::-1], np.ones(size[2:])], -1).reshape(-1, n + 1)
    base = jnp.broadcast_to(jnp.asarray(base, theta.dtype), (size[0], *base.shape))
    return (base @ theta.transpose(0, 2, 1)).reshape(size[0], *size[2:], n)


def _unnormalized(g, m: int, align: bool):
    """Positions in pixels of positions in [-1, 1].

    The gradient of a position on the centre of a pixel is that of one of the two sides, and the last bit says which. An
    affine grid is there at the identity, where spatial transformers start. So product and sum are rounded once, as in
    PyTorch's kernels; float64 makes that certain where XLA may fuse them or not, and where NumPy does not.
    """
    g = g + 1
    if align:
        return g / 2 * (m - 1)
    wide = g.astype(np.float64) if g.dtype == np.float32 else g
    return (wide * (m / 2) - 0.5).astype(g.dtype)


def _clipped_position(x, m: int):
    """x within [0, m - 1]; no gradient from outside or from the bounds, as in PyTorch. NaN is the lower one."""
    inside = (x > 0) & (x < m - 1)
    return jnp.where(inside, x, lax.stop_gradient(jnp.clip(jnp.where(jnp.isnan(x), 0, x), 0, m - 1)))


def _reflected(x, low2: int, high2: int):
    """x reflected at low2 / 2 and high2 / 2."""
    if low2 == high2:
        return x * 0
    low, span = low2 / 2, (high2 - low2) / 2
    x = jnp.abs(x - low)
    flips = lax.stop_gradient(jnp.floor(x / span))
    extra = x - flips * span
    return jnp.where(flips % 2 == 0, extra + low, span - extra + low)


def _source(x, m: int, padding: str, align: bool):
    if padding == "border":
        return _clipped_position(x, m)
    if padding == "reflection":
        x = _reflected(x, 0, 2 * (m - 1)) if align else _reflected(x, -1, 2 * m - 1)
        return _clipped_position(x, m)
    return x


def _read(flat, places, sizes):
    """flat (N, C, volume) at places: per axis indices (N, P); 0 outside. -> (N, C, P)"""
    index, inside = jnp.zeros((), jnp.int32), True
    for p, m in zip(places, sizes, strict=True):
        inside = inside & (p >= 0) & (p <= m - 1)
        # A nan or a huge position must not overflow the conversion.
        safe = jnp.clip(jnp.where(jnp.isnan(p), 0, p), 0, m - 1)
        index = index * m + safe.astype(jnp.int32)
    values = jnp.take_along_axis(flat, index[:, None, :], 2, mode="clip")
    return jnp.where(inside[:, None, :], values, 0)


@op(namespace="nn.functional", out=False, deprecated=_NO_ALIGNMENT)
def grid_sample(
    input: Array,
    grid: Array,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
):
    """input read at the positions of grid, which run from -1 to 1 over each axis, x first.

    Shapes: input (N, C, H, W), grid (N, H', W', 2) -> (N, C, H', W'); or (N, C, D, H, W), (N, D', H', W', 3).
    mode: "bilinear" (trilinear in 3-D), "nearest", "bicubic" (2-D).  padding_mode: "zeros", "border", "reflection".
    align_corners: -1 and 1 are the centres of the corner places; else (None too) the edges.
    Raises: ValueError for an unknown mode, RuntimeError for shapes that do not fit.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    n = input.ndim - 2
    if grid.dtype != input.dtype:
        raise RuntimeError(
            f"expected scalar type {type_name(input.dtype)} but found {type_name(grid.dtype)} (grid_sampler: input and "
            f"grid)"
        )
    if input.ndim != grid.ndim or n not in (1, 2, 3):
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
            f"got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[0] != input.shape[0]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != n or n == 1:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {n} in last dimension, but got grid with "
            f"sizes {list(grid.shape)}"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
            f"{list(input.shape)}"
        )
    if mode == "bicubic" and n != 2:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    align = bool(align_corners)
    sizes = input.shape[2:]
    batch, channels = input.shape[:2]
    if not batch or not channels:
        return jnp.zeros((batch, channels, *grid.shape[1:-1]), input.dtype)
    flat = input.reshape(batch, channels, -1)
    points = grid.reshape(batch, -1, n)
    # Positions by axis of the input: the grid names x first.
    at = [_unnormalized(points[..., n - 1 - i], m, align) for i, m in enumerate(sizes)]
    if mode == "bicubic":
        out = _sample_cubic(flat, at, sizes, padding_mode, align)
    else:
        at = [_source(x, m, padding_mode, align) for x, m in zip(at, sizes, strict=True)]
        if mode == "nearest":
            out = _read(flat, [jnp.round(lax.stop_gradient(x)) for x in at], sizes)
        else:
            out = _sample_linear(flat, at, sizes)
    return out.reshape(batch, channels, *grid.shape[1:-1])


def _sample_linear(flat, at, sizes):
    low = [lax.stop_gradient(jnp.floor(x)) for x in at]
    total = None
    for corner in range(2 ** len(at)):
        weight, places = 1, []
        for i, (x, base) in enumerate(zip(at, low, strict=True)):
            up = corner >> i & 1
            t = x - base
            weight = weight * (t if up else 1 - t)
            places.append(base + up)
        term = _read(flat, places, sizes) * weight[:, None, :]
        total = term if total is None else total + term
    return total


def _cubic_weights(t, a: float = -0.75):
    def near(s):
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s):
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return far(t + 1), near(t), near(1 - t), far(2 - t)


def _sample_cubic(flat, at, sizes, padding_mode: str, align: bool):
    low = [lax.stop_gradient(jnp.floor(x)) for x in at]
    weights = [_cubic_weights(x - base) for x, base in zip(at, low, strict=True)]
    total = None
    for i in range(4):
        for j in range(4):
            places = [
                lax.stop_gradient(_source(base + k - 1, m, padding_mode, align))
                for base, k, m in zip(low, (i, j), sizes, strict=True)
            ]
            term = _read(flat, places, sizes) * (weights[0][i] * weights[1][j])[:, None, :]
            total = term if total is None else total + term
    return total


# ---- shuffling -------------------------------------------------------------------------------------------------------


@op(namespace=("torch", "nn.functional"), method=False, out=False, saves=False)
def pixel_shuffle(input: Array, upscale_factor: int):
    """(*, C * r * r, H, W) -> (*, C, H * r, W * r): channels become places.

    Source: Shi et al. 2016, arXiv:1609.05158.
    """
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    x = input.reshape(math.prod(lead), c // (r * r), r, r, h, w)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(*lead, c // (r * r), h * r, w * r)


@op(namespace=("torch", "nn.functional"), method=False, out=False, saves=False)
def pixel_unshuffle(input: Array, downscale_factor: int):
    """(*, C, H * r, W * r) -> (*, C * r * r, H, W): places become channels."""
    r = downscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    for what, axis, m in (("height", -2, h), ("width", -1, w)):
        if m % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {what} to be divisible by downscale_factor, but "
                f"input.size({axis})={m} is not divisible by {r}"
            )
    x = input.reshape(math.prod(lead), c, h // r, r, w // r, r)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(*lead, c * r * r, h // r, w // r)


@op(namespace=("torch", "nn.functional"), method=False, out=False, saves=False)
def channel_shuffle(input: Array, groups: int):
    """Channels of (N, C, *) dealt out: those of the groups take turns.  Source: Zhang et al. 2017, arXiv:1707.01083."""
    if input.ndim <= 2:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    n, c, *space = input.shape
    if c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return jnp.swapaxes(input.reshape(n, groups, c // groups, *space), 1, 2).reshape(input.shape)


# ---- distances -------------------------------------------------------------------------------------------------------


@jax.custom_jvp
def _root(square):
    """Square root with derivative 0 at 0."""
    return jnp.sqrt(square)


@_root.defjvp
def _root_jvp(primals, tangents):
    (square,), (d,) = primals, tangents
    out = _root(square)
    return out, jnp.where(square == 0, 0, d / (2 * jnp.where(square == 0, 1, out)))


@op(namespace=("torch", "nn.functional"), method=False, out=False)
def pdist(input: Array, p: float = 2):
    """p-norm distances between the rows of (N, M), for each pair i < j in order: (N * (N - 1) / 2,).

    Raises: RuntimeError for another rank or a negative p.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise RuntimeError(f"pdist only supports floating-point dtypes, got {input.dtype}")
    if p < 0:
        raise RuntimeError(f"pdist only supports non-negative p values, got {p}")
    i, j = np.triu_indices(input.shape[0], 1)
    if not i.size or not input.shape[1]:
        return jnp.zeros((i.size,), input.dtype)
    d = input[i] - input[j]
    if p == 2:
        return _root((d * d).sum(1))
    if p == 0:
        return (d != 0).sum(1).astype(d.dtype)
    size = jnp.abs(d)
    if p == 1:
        return size.sum(1)
    if p == math.inf:
        return size.max(1)
    power = jnp.where(size > 0, jnp.where(size > 0, size, 1) ** p, 0).sum(1)
    return jnp.where(power > 0, jnp.where(power > 0, power, 1) ** (1 / p), 0)
