"""ONNX operators as operations on tensors: convolutions, pooling, norms, resampling, recurrent networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..nn import functional as F
from ..ops._table import lookup
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor._wrap import form
from ._read_ops import Node, ints, reads, tensors

__all__ = ["LAYERS"]

LAYERS: dict[str, Callable[..., Any]] = {}


def _windows(node: Node, x: Tensor, kernel: list[int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """(strides, dilations, pads below, pads above) of a convolution or pooling."""
    n = len(kernel)
    strides, dilations = node.get("strides") or [1] * n, node.get("dilations") or [1] * n
    pads = node.get("pads") or [0] * 2 * n
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [max(0, (-(-m // s) - 1) * s + d * (k - 1) + 1 - m)
                 for m, s, d, k in zip(x.shape[2:], strides, dilations, kernel, strict=True)]  # fmt: skip
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = small + large if auto == "SAME_UPPER" else large + small
    return strides, dilations, pads[:n], pads[n:]


def _padded(x: Tensor, low: list[int], high: list[int], value: float = 0.0) -> Tensor:
    """``x`` with its last dimensions padded."""
    told = [p for pair in reversed(list(zip(low, high, strict=True))) for p in pair]
    return F.pad(x, told, value=value) if any(told) else x


@reads("Conv", table=LAYERS)
def _conv(node: Node, x: Tensor, w: Tensor, bias: Any = None) -> Tensor:
    strides, dilations, low, high = _windows(node, x, list(w.shape[2:]))
    if low != high:
        x, low = _padded(x, low, high), [0] * len(low)
    fn = (F.conv1d, F.conv2d, F.conv3d)[len(low) - 1]
    return fn(x, w, bias, strides, low, dilations, node.get("group", 1))


@reads("ConvTranspose", table=LAYERS)
def _conv_transpose(node: Node, x: Tensor, w: Tensor, bias: Any = None) -> Tensor:
    if node.get("output_shape") is not None or node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.refuse("output_shape and auto_pad are not read")
    strides, dilations, low, high = _windows(node, x, list(w.shape[2:]))
    if low != high:
        raise node.refuse("unequal pads are not read")
    n = len(low)
    fn = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
    return fn(x, w, bias, strides, low, node.get("output_padding") or [0] * n, node.get("group", 1), dilations)


@reads("MaxPool", table=LAYERS)
def _max_pool(node: Node, x: Tensor) -> Any:
    kernel = node.get("kernel_shape")
    strides, dilations, low, high = _windows(node, x, kernel)
    indices = len(node.outputs) > 1
    if low != high or any(2 * p > k for p, k in zip(low, kernel, strict=True)):
        if indices:
            raise node.refuse("positions with unequal pads are not read")
        x, low = _padded(x, low, high, float("-inf")), [0] * len(low)
    fn = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    found = fn(x, kernel, strides, low, dilations, bool(node.get("ceil_mode", 0)), indices)
    if not indices:
        return found
    space = int(np.prod(x.shape[2:], dtype=np.int64))
    rows = T.arange(x.shape[0] * x.shape[1]).reshape(x.shape[0], x.shape[1], *(1,) * len(kernel))
    return found[0], found[1] + rows * space


@reads("AveragePool", table=LAYERS)
def _avg_pool(node: Node, x: Tensor) -> Tensor:
    kernel = node.get("kernel_shape")
    strides, dilations, low, high = _windows(node, x, kernel)
    if any(d != 1 for d in dilations):
        raise node.refuse("dilated means are not read")
    count = bool(node.get("count_include_pad", 0))
    if low != high:
        if not count:
            raise node.refuse("unequal pads that do not count are not read")
        x, low = _padded(x, low, high), [0] * len(low)
    fn = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    return fn(x, kernel, strides, low, bool(node.get("ceil_mode", 0)), count)


@reads("GlobalAveragePool", table=LAYERS)
def _global_average(node: Node, x: Tensor) -> Tensor:
    return T.mean(x, list(range(2, x.dim())), keepdim=True)


@reads("GlobalMaxPool", table=LAYERS)
def _global_max(node: Node, x: Tensor) -> Tensor:
    return T.amax(x, list(range(2, x.dim())), keepdim=True)


# ---- norms -----------------------------------------------------------------------------------------------------------


@reads("BatchNormalization", table=LAYERS)
def _batch_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    if node.get("training_mode", 0):
        raise node.refuse("training mode is not read")
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, node.get("epsilon", 1e-5))


@reads("InstanceNormalization", table=LAYERS)
def _instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    axes = list(range(2, x.dim()))
    apart = x - T.mean(x, axes, keepdim=True)
    var = T.mean(apart * apart, axes, keepdim=True)
    shape = (-1, *(1,) * len(axes))
    return apart / T.sqrt(var + node.get("epsilon", 1e-5)) * scale.reshape(shape) + bias.reshape(shape)


@reads("LayerNormalization", table=LAYERS)
def _layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Any = None) -> Any:
    if len(node.outputs) > 1:
        raise node.refuse("its mean and deviation are not read")
    shape = list(x.shape[node.get("axis", -1) % x.dim() :])
    given = [None if v is None else v.expand(shape) for v in (scale, bias)]
    return F.layer_norm(x, shape, *given, node.get("epsilon", 1e-5))


@reads("GroupNormalization", table=LAYERS)
def _group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node.get("num_groups")
    if node.opset < 21:  # one number for each group, before
        scale, bias = (v.repeat_interleave(x.shape[1] // groups) for v in (scale, bias))
    return F.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


@reads("LRN", table=LAYERS)
def _lrn(node: Node, x: Tensor) -> Tensor:
    if node.get("size") % 2 == 0:
        raise node.refuse("windows of an even size lie otherwise")
    return F.local_response_norm(x, node.get("size"), node.get("alpha", 1e-4), node.get("beta", 0.75),
                                 node.get("bias", 1.0))  # fmt: skip


@reads("LpNormalization", table=LAYERS)
def _lp_normalization(node: Node, x: Tensor) -> Tensor:
    return F.normalize(x, node.get("p", 2), node.get("axis", -1), 0.0)


# ---- padding, resampling ---------------------------------------------------------------------------------------------

_PADS = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@reads("Pad", table=LAYERS)
def _pad(node: Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Tensor:
    (x,) = tensors(x)
    told = node.get("pads") if pads is None else ints(pads)
    rank = x.dim()
    each = range(rank) if axes is None else [a % rank for a in ints(axes)]
    low, high = [0] * rank, [0] * rank
    for k, a in enumerate(each):
        low[a], high[a] = told[k], told[len(told) // 2 + k]
    mode = node.get("mode", "constant")
    number = node.get("value", 0.0) if value is None else value.item()
    if mode == "constant":
        flat = [p for pair in reversed(list(zip(low, high, strict=True))) for p in pair]
        return F.pad(x, flat, value=number)
    first = next((k for k in range(rank) if low[k] or high[k]), rank)
    n = max(rank - first, 1)
    if n > 3 or rank - n > 2 and any((*low[: rank - n], *high[: rank - n])):
        raise node.refuse(f"mode {mode!r} for these dimensions is not read")
    lead = x.shape[: rank - n]
    y = x.reshape(1, -1, *x.shape[rank - n :]) if len(lead) != 2 else x
    flat = [p for k in range(rank - 1, rank - n - 1, -1) for p in (low[k], high[k])]
    y = F.pad(y, flat, mode=_PADS[mode])
    return y.reshape(*lead, *y.shape[2:])


@reads("Resize", "Upsample", table=LAYERS)
def _resize(node: Node, x: Tensor, *rest: Any) -> Tensor:
    roi, scales, sizes = (*rest, None, None, None)[:3] if node.kind == "Resize" and node.opset > 10 else (
        None, rest[0] if rest else node.get("scales"), None)  # fmt: skip
    if node.get("axes") is not None:
        raise node.refuse("axes are not read")
    mode, how = node.get("mode", "nearest"), node.get("coordinate_transformation_mode", "half_pixel")
    if node.kind == "Upsample" or node.opset <= 10:
        how = "asymmetric"
    told: dict[str, Any] = {}
    if sizes is not None and np.asarray(ints(sizes)).size:
        told["size"] = tuple(ints(sizes)[2:])
    else:
        factors = scales.tolist() if not isinstance(scales, list) else scales
        if any(f != 1 for f in factors[:2]):
            raise node.refuse("batch and channels are not resampled")
        told["scale_factor"] = tuple(float(f) for f in factors[2:])
    if mode == "nearest":
        rounding = node.get("nearest_mode", "round_prefer_floor")
        if (how, rounding) == ("half_pixel", "round_prefer_ceil"):
            return F.interpolate(x, mode="nearest-exact", **told)
        whole = "scale_factor" in told and all(f == int(f) for f in told["scale_factor"])
        if how == "asymmetric" and (rounding == "floor" or whole) or how == "half_pixel" and whole:
            return F.interpolate(x, mode="nearest", **told)
        raise node.refuse(f"nearest elements by {how!r} and {rounding!r} are not read")
    if how not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise node.refuse(f"coordinates by {how!r} are not read")
    names = {"linear": ("linear", "bilinear", "trilinear")[x.dim() - 3], "cubic": "bicubic"}
    antialias = bool(node.get("antialias", 0))
    if mode == "cubic" and abs(node.get("cubic_coeff_a", -0.75) - (-0.5 if antialias else -0.75)) > 1e-6:
        raise node.refuse("cubic coefficients other than -0.75 are not read")
    return F.interpolate(x, mode=names[mode], align_corners=how == "align_corners", antialias=antialias, **told)


@reads("GridSample", table=LAYERS)
def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(node.get("mode", "linear"), node.get("mode", "bilinear"))
    return F.grid_sample(x, grid, mode, node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0)))


# ---- recurrent networks ----------------------------------------------------------------------------------------------

#: For each of PyTorch's gates which of ONNX's.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_PLAIN = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def _reordered(v: Tensor, kind: str) -> Tensor:
    order = _GATES[kind]
    parts = v.chunk(len(order), 0)
    return T.cat([parts[k] for k in order], 0)


@reads("LSTM", "GRU", "RNN", table=LAYERS)
def _recurrent(node: Node, x: Tensor, w: Tensor, r: Tensor, bias: Any = None, lengths: Any = None, h: Any = None,
               c: Any = None, peephole: Any = None) -> Any:  # fmt: skip
    kind, direction = node.kind, node.get("direction", "forward")
    directions = w.shape[0]
    activations = node.get("activations") or _PLAIN[kind] * directions
    relu = kind == "RNN" and activations == ["Relu"] * directions
    plain = activations == _PLAIN[kind] * directions or relu
    if not plain or peephole is not None or node.get("clip") or node.get("layout", 0) or node.get("input_forget", 0):
        raise node.refuse("other activations, peepholes, clipping and layout are not read")
    if kind == "GRU" and not node.get("linear_before_reset", 0):
        raise node.refuse("a reset gate before the product is not read")
    if direction == "reverse":
        if lengths is not None:
            raise node.refuse("lengths in reverse are not read")
        x = x.flip(0)
    hidden = node.get("hidden_size") or r.shape[-1]
    weights = []
    for d in range(directions):
        weights += [_reordered(w[d], kind), _reordered(r[d], kind)]
        if bias is not None:
            weights += [_reordered(v, kind) for v in bias[d].chunk(2, 0)]
    states = [h, c] if kind == "LSTM" else [h]
    shape = (directions, x.shape[1], hidden)
    states = [T.zeros(shape, dtype=x.dtype) if s is None else s for s in states]
    given = (T.tensor(lengths) if isinstance(lengths, np.ndarray) else lengths,)
    named = {"has_biases": bias is not None, "bidirectional": directions == 2}
    if kind == "RNN":
        named["nonlinearity"] = "relu" if relu else "tanh"
    out, *ends = form(lookup(f"_{kind.lower()}"))(x, *states, weights, *given, **named)
    out = out.flip(0) if direction == "reverse" else out
    steps, batch = out.shape[:2]
    return out.reshape(steps, batch, directions, hidden).permute(0, 2, 1, 3), *ends
