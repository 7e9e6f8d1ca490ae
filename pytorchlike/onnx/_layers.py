"""Layers: convolutions, pooling, norms, attention, embeddings, resampling, padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..export._sizes import Size
from ._builder import Builder, V
from ._reductions import axes_of
from ._table import Args, lowers, refuse


def _each(x: Any, n: int) -> list[Any]:
    """An argument for each spatial dimension."""
    return [x] * n if not isinstance(x, tuple) else list(x) * (n if len(x) == 1 else 1)


def _batched(b: Builder, x: V, n: int) -> tuple[V, bool]:
    """An input of ``n`` spatial dimensions with a batch, and whether it had none."""
    return (b.unsqueeze(x, 0), True) if x.rank == n + 1 else (x, False)


def _without(b: Builder, x: V, added: bool) -> V:
    return b.op("Squeeze", x, [0]) if added else x


# ---- convolutions ----------------------------------------------------------------------------------------------------


def _conv(n: int) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x, added = _batched(b, a.input, n)
        kernel = list(a.weight.shape[2:])
        dilations = _each(a.dilation, n)
        if a.padding == "same":
            total = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
            pads = [t // 2 for t in total] + [t - t // 2 for t in total]
        else:
            pads = [0] * 2 * n if a.padding == "valid" else _each(a.padding, n) * 2
        found = b.op("Conv", x, a.weight, a.bias, kernel_shape=kernel, strides=_each(a.stride, n), pads=pads,
                     dilations=dilations, group=a.groups)  # fmt: skip
        return _without(b, found, added)

    return rule


def _conv_transpose(n: int) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x, added = _batched(b, a.input, n)
        found = b.op("ConvTranspose", x, a.weight, a.bias, kernel_shape=list(a.weight.shape[2:]),
                     strides=_each(a.stride, n), pads=_each(a.padding, n) * 2, dilations=_each(a.dilation, n),
                     output_padding=_each(a.output_padding, n), group=a.groups)  # fmt: skip
        return _without(b, found, added)

    return rule


# ---- pooling ---------------------------------------------------------------------------------------------------------


def _max_pool(n: int) -> Callable[[Builder, Args], Any]:
    def rule(b: Builder, a: Args) -> Any:
        x, added = _batched(b, a.input, n)
        kernel = _each(a.kernel_size, n)
        stride = kernel if a.stride is None or a.stride == () else _each(a.stride, n)
        got = b.op("MaxPool", x, outputs=2 if a.return_indices else 1, kernel_shape=kernel, strides=stride,
                   pads=_each(a.padding, n) * 2, dilations=_each(a.dilation, n),
                   ceil_mode=int(a.ceil_mode))  # fmt: skip
        if not a.return_indices:
            return _without(b, got, added)
        # ONNX counts positions over the whole tensor, PyTorch within each channel
        space: Any = 1
        for k in x.shape[2:]:  # type: ignore[index]
            space = k * space
        at = b.op("Mod", V(got[1].name, np.int64), b.number(space, np.int64))
        return _without(b, got[0], added), _without(b, at, added)

    return rule


def _avg_pool(n: int) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x, added = _batched(b, a.input, n)
        kernel = _each(a.kernel_size, n)
        stride = kernel if a.stride is None or a.stride == () else _each(a.stride, n)
        divisor = getattr(a, "divisor_override", None)
        found = b.op("AveragePool", x, kernel_shape=kernel, strides=stride, pads=_each(a.padding, n) * 2,
                     ceil_mode=int(a.ceil_mode),
                     count_include_pad=int(a.count_include_pad or divisor is not None))  # fmt: skip
        if divisor is not None:
            if a.ceil_mode:
                raise refuse(b, a.step, "divisor_override together with ceil_mode has no ONNX operator")
            found = b.binary("Mul", found, float(np.prod(kernel)) / divisor)
        return _without(b, found, added)

    return rule


def adaptive_average(b: Builder, a: Args, x: V, out: Sequence[Any], n: int) -> V:
    """Means over ``out`` windows of each of the last ``n`` dimensions."""
    rank = x.rank
    if all(o == 1 for o in out):
        return b.reduce("ReduceMean", x, list(range(rank - n, rank)), True)
    for k, o in enumerate(out):
        axis = rank - n + k
        size = x.shape[axis]  # type: ignore[index]
        if o == size:
            continue
        if isinstance(size, Size) or isinstance(o, Size):
            raise refuse(b, a.step, f"adaptive pooling of a size that is left open ({size}) to {o}; keep it fixed, or "
                         "pool to 1")  # fmt: skip
        weights = np.zeros((size, o), x.dtype)  # a product with it takes the means
        for j in range(o):
            low, high = j * size // o, -(-(j + 1) * size // o)
            weights[low:high, j] = 1 / (high - low)
        last = [*(d for d in range(rank) if d != axis), axis]
        shape = tuple([o if d == axis else m for d, m in enumerate(x.shape)])  # type: ignore[arg-type]
        moved = b.op("MatMul", b.transpose(x, last), weights, shape=tuple([shape[d] for d in last]))
        x = b.transpose(moved, np.argsort(last).tolist())
    return x


def _adaptive_avg_pool(n: int) -> Callable[[Builder, Args], V]:
    return lambda b, a: adaptive_average(b, a, a.input, a.out.shape[-n:], n)


def _adaptive_max_pool(n: int) -> Callable[[Builder, Args], V]:
    def rule(b: Builder, a: Args) -> V:
        x, out = a.input, a.out.shape[-n:]
        if a.return_indices:
            raise refuse(b, a.step, "its indices have no ONNX operator; use max_pool with fixed windows")
        if all(o == 1 for o in out):
            return b.reduce("ReduceMax", x, list(range(x.rank - n, x.rank)), True)
        sizes = x.shape[-n:]  # type: ignore[index]
        if any(isinstance(s, Size) or isinstance(o, Size) or s % o for s, o in zip(sizes, out, strict=True)):
            raise refuse(b, a.step, f"windows of {sizes} to {out} are not all equal; use max_pool with fixed windows")
        kernel = [s // o for s, o in zip(sizes, out, strict=True)]
        x, added = _batched(b, x, n)
        return _without(b, b.op("MaxPool", x, kernel_shape=kernel, strides=kernel), added)

    return rule


for _n in (1, 2, 3):
    lowers(f"conv{_n}d")(_conv(_n))
    lowers(f"conv_transpose{_n}d")(_conv_transpose(_n))
    lowers(f"max_pool{_n}d")(_max_pool(_n))
    lowers(f"avg_pool{_n}d")(_avg_pool(_n))
    lowers(f"adaptive_avg_pool{_n}d")(_adaptive_avg_pool(_n))
    lowers(f"adaptive_max_pool{_n}d")(_adaptive_max_pool(_n))


# ---- norms -----------------------------------------------------------------------------------------------------------


def _vector(b: Builder, v: V | None, value: float, n: Any, dtype: Any) -> V:
    return v if v is not None else b.constant(np.full((n,), value, dtype))


@lowers("_batch_norm")
def _batch_norm(b: Builder, a: Args) -> V:
    if a.training:
        raise refuse(b, a.step, "the model is in training mode; call model.eval() first (batch norm without running "
                     "statistics has no ONNX operator)")  # fmt: skip
    x, channels = a.input, a.input.shape[1]
    scale, bias = _vector(b, a.weight, 1, channels, x.dtype), _vector(b, a.bias, 0, channels, x.dtype)
    return b.op("BatchNormalization", x, scale, bias, a.running_mean, a.running_var, epsilon=float(a.eps))


@lowers("_instance_norm")
def _instance_norm(b: Builder, a: Args) -> V:
    x = a.input
    channels = x.shape[1]
    scale, bias = _vector(b, a.weight, 1, channels, x.dtype), _vector(b, a.bias, 0, channels, x.dtype)
    if a.use_input_stats:
        return b.op("InstanceNormalization", x, scale, bias, epsilon=float(a.eps))
    return b.op("BatchNormalization", x, scale, bias, a.running_mean, a.running_var, epsilon=float(a.eps))


@lowers("layer_norm")
def _layer_norm(b: Builder, a: Args) -> V:
    x, shape = a.input, a.normalized_shape
    shape = shape if isinstance(shape, tuple) else (shape,)
    weight = a.weight if a.weight is not None else b.constant(np.ones(shape, x.dtype))
    return b.op("LayerNormalization", x, weight, a.bias, axis=-len(shape), epsilon=float(a.eps))


@lowers("rms_norm")
def _rms_norm(b: Builder, a: Args) -> V:
    x, shape = a.input, a.normalized_shape
    axes = list(range(x.rank - (len(shape) if isinstance(shape, tuple) else 1), x.rank))
    eps = float(np.finfo(x.dtype).eps) if a.eps is None else float(a.eps)
    mean = b.reduce("ReduceMean", b.op("Mul", x, x, shape=x.shape), axes, True)
    found = b.op("Div", x, b.op("Sqrt", b.binary("Add", mean, eps)))
    return found if a.weight is None else b.op("Mul", found, a.weight)


@lowers("group_norm")
def _group_norm(b: Builder, a: Args) -> V:
    x, groups = a.input, a.num_groups
    ones, zeros = b.constant(np.ones(groups, x.dtype)), b.constant(np.zeros(groups, x.dtype))
    rows = b.op("Reshape", x, [0, groups, -1])
    found = b.op("InstanceNormalization", rows, ones, zeros, epsilon=float(a.eps))
    found = b.op("Reshape", found, b.ints(x.shape), shape=x.shape)
    shape = (x.shape[1], *(1,) * (x.rank - 2))
    if a.weight is not None:
        found = b.op("Mul", found, b.reshape(a.weight, shape))
    return found if a.bias is None else b.op("Add", found, b.reshape(a.bias, shape))


@lowers("local_response_norm")
def _local_response_norm(b: Builder, a: Args) -> V:
    if a.size % 2 == 0:
        raise refuse(b, a.step, f"ONNX's windows of an even size ({a.size}) lie otherwise; use an odd one")
    return b.op("LRN", a.input, alpha=float(a.alpha), beta=float(a.beta), bias=float(a.k), size=a.size)


# ---- attention, embeddings -------------------------------------------------------------------------------------------


@lowers("scaled_dot_product_attention", "_scaled_dot_product_attention_dropout")
def _attention(b: Builder, a: Args) -> V:
    if a.dropout_p:
        raise refuse(b, a.step, "it drops weights at random; call model.eval() first, or pass dropout_p=0")
    q, k, v = a.query, a.key, a.value
    if a.enable_gqa:
        k, v = (_shared(b, x, q.shape[-3]) for x in (k, v))
    rows, columns, dtype = q.shape[-2], k.shape[-2], q.dtype
    scale = float(q.shape[-1]) ** -0.5 if a.scale is None else a.scale
    perm = [*range(k.rank - 2), k.rank - 1, k.rank - 2]
    scores = b.op("MatMul", b.binary("Mul", q, scale), b.transpose(k, perm))
    mask = a.attn_mask
    if a.is_causal:
        seen = b.op("GreaterOrEqual", b.unsqueeze(b.range(rows), 1), b.range(columns), dtype=np.bool_)
        if mask is None:
            mask = seen
        elif mask.dtype == np.bool_:
            mask = b.op("And", mask, seen, dtype=np.bool_)
        else:
            mask = b.op("Where", seen, b.cast(mask, dtype), b.number(-np.inf, dtype), dtype=dtype)
    if mask is None:
        weights = b.op("Softmax", scores, axis=-1)
    elif mask.dtype == np.bool_:
        least = b.number(float(np.finfo(dtype).min), dtype)
        weights = b.op("Softmax", b.op("Where", mask, scores, least, dtype=dtype), axis=-1)
        weights = b.op("Where", mask, weights, b.number(0, dtype), dtype=dtype)  # rows without any True give zeros
    else:
        weights = b.op("Softmax", b.op("Add", scores, b.cast(mask, dtype)), axis=-1)
        weights = b.op("Where", b.op("IsNaN", weights, dtype=np.bool_), b.number(0, dtype), weights, dtype=dtype)
    return b.op("MatMul", weights, v)


def _shared(b: Builder, x: V, heads: Any) -> V:
    """Heads of keys or values for as many heads of queries."""
    its = x.shape[-3]  # type: ignore[index]
    if its == heads:
        return x
    *batch, _, length, width = x.shape  # type: ignore[misc]
    spread = b.expand(b.unsqueeze(x, x.rank - 2), (*batch, its, heads // its, length, width))
    return b.reshape(spread, (*batch, heads, length, width))


@lowers("embedding")
def _embedding(b: Builder, a: Args) -> V:
    if a.max_norm is not None:
        raise refuse(b, a.step, "max_norm changes the table while it is read; normalise it once before the export")
    return b.op("Gather", a.weight, a.input, axis=0)


# ---- padding, resampling ---------------------------------------------------------------------------------------------

_PADS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@lowers("pad", "constant_pad_nd")
def _pad(b: Builder, a: Args) -> V:
    mode = getattr(a, "mode", "constant")
    rank, pads = a.input.rank, list(a.pad)
    if not any(n != 0 for n in pads):
        return a.input
    pairs = [(pads[2 * i], pads[2 * i + 1]) for i in range(len(pads) // 2)][::-1]
    pairs = [(0, 0)] * (rank - len(pairs)) + pairs
    value = None if mode != "constant" else b.number(a.value or 0, a.input.dtype)
    told = b.ints([low for low, _ in pairs] + [high for _, high in pairs])
    if a.input.dtype == np.bool_:
        found = b.op("Pad", b.cast(a.input, np.int32), told, None if value is None else b.cast(value, np.int32),
                     mode=_PADS[mode])  # fmt: skip
        return b.cast(found, np.bool_)
    return b.op("Pad", a.input, told, value, mode=_PADS[mode])


@lowers("interpolate", "upsample", "upsample_nearest", "upsample_bilinear")
def _interpolate(b: Builder, a: Args) -> V:
    name = a.step.entry.name
    mode = {"upsample_nearest": "nearest", "upsample_bilinear": "bilinear"}.get(name) or a.mode
    align = True if name == "upsample_bilinear" else bool(getattr(a, "align_corners", None))
    x, n = a.input, a.input.rank - 2
    if mode == "area":
        return adaptive_average(b, a, x, a.out.shape[2:], n)
    factors = a.scale_factor
    recomputed = getattr(a, "recompute_scale_factor", None)
    scales = sizes = None
    if factors is not None and not recomputed:
        scales = b.constant(np.array([1, 1, *_each(factors, n)], np.float32))
    else:
        sizes = b.ints((x.shape[0], x.shape[1], *a.out.shape[2:]))
    told: dict[str, Any] = {"coordinate_transformation_mode": "align_corners" if align else "half_pixel"}
    if mode == "nearest":
        told = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": "nearest"}
    elif mode == "nearest-exact":
        told |= {"nearest_mode": "round_prefer_ceil", "mode": "nearest"}
    elif mode == "bicubic":
        antialias = bool(getattr(a, "antialias", False))
        told |= {"mode": "cubic", "cubic_coeff_a": -0.5 if antialias else -0.75}
    else:
        told |= {"mode": "linear"}
    if getattr(a, "antialias", False):
        told |= {"antialias": 1, "exclude_outside": 1}
    return b.op("Resize", x, None, scales, sizes, **told)


@lowers("grid_sample")
def _grid_sample(b: Builder, a: Args) -> V:
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(a.mode, a.mode)
    if b.opset < 20:
        mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    return b.op("GridSample", a.input, a.grid, mode=mode, padding_mode=a.padding_mode,
                align_corners=int(bool(a.align_corners)))  # fmt: skip


@lowers("pixel_shuffle")
def _pixel_shuffle(b: Builder, a: Args) -> V:
    x, added = _batched(b, a.input, 2)
    return _without(b, b.op("DepthToSpace", x, blocksize=a.upscale_factor, mode="CRD"), added)


@lowers("pixel_unshuffle")
def _pixel_unshuffle(b: Builder, a: Args) -> V:
    *batch, channels, rows, columns = a.out.shape
    r = a.downscale_factor
    k = len(batch)
    x = b.reshape(a.input, (*batch, a.input.shape[-3], rows, r, columns, r))
    x = b.transpose(x, [*range(k), k, k + 2, k + 4, k + 1, k + 3])
    return b.reshape(x, (*batch, channels, rows, columns))


@lowers("channel_shuffle")
def _channel_shuffle(b: Builder, a: Args) -> V:
    n, channels, *space = a.input.shape
    x = b.reshape(a.input, (n, a.groups, channels // a.groups, *space))
    return b.reshape(b.transpose(x, [0, 2, 1, *range(3, x.rank)]), a.input.shape)


# ---- losses ----------------------------------------------------------------------------------------------------------


def _reduced(b: Builder, v: V, reduction: str) -> V:
    if reduction == "none":
        return v
    return b.reduce("ReduceMean" if reduction == "mean" else "ReduceSum", v, axes_of(0, None), False)


@lowers("mse_loss", "l1_loss")
def _distance_loss(b: Builder, a: Args) -> V:
    if a.weight is not None:
        raise refuse(b, a.step, "weighted losses have no ONNX operator; multiply by the weight yourself")
    apart = b.op("Sub", a.input, a.target)
    each = b.op("Mul", apart, apart) if a.step.entry.name == "mse_loss" else b.op("Abs", apart)
    return _reduced(b, each, a.reduction)
