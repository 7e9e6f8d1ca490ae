"""Normalisations: batch, layer, group, instance, root mean square, local response."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ._dtypes import type_name
from ._numeric import widened
from ._shapes import normalized
from ._table import Array, Scalar, formulated, op, to_float


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _standardize(x, axes: tuple[int, ...], eps: float):
    """(x - mean) / sqrt(var + eps) over axes, dimensions kept, and 1 / sqrt(var + eps); the tangent is written out.

    Its transpose is the analytic gradient, which reads x once: 1.15 times as quick over rows of 768.
    """
    n = math.prod(x.shape[a] for a in axes)
    d = x - x.sum(axes, keepdims=True) / n
    var = (d * d).sum(axes, keepdims=True) / n
    scale = lax.rsqrt(var + eps)
    return d * scale, scale


@_standardize.defjvp
def _standardize_jvp(axes, eps, primals, tangents):
    (x,), (dx,) = primals, tangents
    y, scale = _standardize(x, axes, eps)
    n = math.prod(x.shape[a] for a in axes)
    dmean = dx.sum(axes, keepdims=True) / n
    slope = (dx * y).sum(axes, keepdims=True) / n
    return (y, scale), ((dx - dmean - y * slope) * scale, -scale * scale * slope)


def _affine(y, weight, bias, shape):
    if weight is not None:
        y = y * weight.astype(y.dtype).reshape(shape)
    if bias is not None:
        y = y + bias.astype(y.dtype).reshape(shape)
    return y


def _require_float(x, name: str) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise NotImplementedError(f'"{name}" not implemented for {type_name(x.dtype)!r}: pass a floating point tensor')


def _check_elements(channels: int, **operands) -> None:
    for name, operand in operands.items():
        if operand is not None and operand.shape != (channels,):
            raise RuntimeError(f"{name} should contain {channels} elements not {math.prod(operand.shape)}")


def _check_parameter_dtypes(name, input, *operands) -> None:
    for other in operands:
        if other is not None and other.dtype != input.dtype:
            if input.dtype in (jnp.float16, jnp.bfloat16) and other.dtype == jnp.float32:
                continue
            raise RuntimeError(
                f"mixed dtype ({name}): all inputs must share same datatype, but input is {type_name(input.dtype)} "
                f"and another {type_name(other.dtype)}"
            )


def _running(old, new, momentum):
    """Moving average; momentum 1 forgets the past."""
    return (old * (1 - momentum) + new.astype(old.dtype) * momentum).astype(old.dtype)


#: Elements along each of several axes, and along a single one, whose mean is near that of all.
_SOME, _SOME_OF_ONE = 4, 16


@partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5))
def _line(x, weight, bias, axes: tuple[int, ...], shape: tuple[int, ...], eps: float):
    """Each channel with mean 0 and variance 1, times weight, plus bias: a line through ``d = x - near``.

    Returns: that, near (the mean of a few elements), the mean of d, its variance and 1 / sqrt(variance + eps); those by
    channel.  The variance is the mean of the squares less the square of the mean, which does not cancel for d, even if
    one element is far from all others.  The tangent is written out so that its transpose reads d once, and little is
    computed by channel: each such step is a kernel.  (Twelve layers of a convolution and this: 363 kernels by JAX's
    own gradient, 319 so.)
    """
    few = _SOME_OF_ONE if len(axes) == 1 else _SOME
    some = x[tuple([slice(0, few) if a in axes else slice(None) for a in range(x.ndim)])]
    near = some.mean(axes)
    d = x - near.reshape(shape)
    offset = d.mean(axes)
    var = jnp.maximum((d * d).mean(axes) - offset * offset, 0)
    scale = lax.rsqrt(var + eps)
    slope = scale if weight is None else scale * weight.astype(x.dtype)
    shift = -offset * slope if bias is None else bias.astype(x.dtype) - offset * slope
    return d * slope.reshape(shape) + shift.reshape(shape), near, offset, var, scale


@_line.defjvp
def _line_jvp(axes, shape, eps, primals, tangents):
    (x, weight, bias), (dx, dweight, dbias) = primals, tangents
    out = _line(x, weight, bias, axes, shape, eps)
    _, near, offset, _, scale = out
    d, n = x - near.reshape(shape), math.prod([x.shape[a] for a in axes])
    slope = scale if weight is None else scale * weight.astype(x.dtype)
    mean = dx.sum(axes) / n
    along = (dx * d).sum(axes) / n - offset * mean
    turn = -slope * scale * along
    if weight is not None:
        turn = turn + dweight.astype(x.dtype)
    turn = turn * scale
    lift = -slope * mean - turn * offset
    if bias is not None:
        lift = lift + dbias.astype(x.dtype)
    dy = slope.reshape(shape) * dx + turn.reshape(shape) * d + lift.reshape(shape)
    # what the others change by is for gradients of gradients; near may be anything
    return out, (dy, jnp.zeros_like(near), mean, 2 * along, -(scale**3) * along)


def _new_statistics(running_mean, running_var, told, count: int, momentum) -> tuple:
    """The new running statistics, of what ``_line`` tells of ``count`` elements (the variance unbiased)."""
    near, offset, var = [lax.stop_gradient(v) for v in told]
    unbiased = var * (count / (count - 1))
    return _running(running_mean, near + offset, momentum), _running(running_var, unbiased, momentum)


@op(namespace=None, out=False, images=True)
def _batch_norm(
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: Scalar = 0.1,
    eps: float = 1e-5,
):
    """Each channel (axis 1) with mean 0 and variance 1, times weight, plus bias.

    Shapes: input (N, C, *), the others (C,).  training: statistics of the batch, else the running ones.
    Returns: the output alone; with training and running statistics also their new values (the variance unbiased).
    momentum: the weight of the new statistics (1 / number of batches gives the cumulative average).
    Raises: ValueError for one value per channel while training, RuntimeError for wrong sizes.
    """
    _require_float(input, "batch_norm")
    if input.ndim == 1 and not input.size:  # nothing, in no channels
        return input if running_mean is None or not training else (input, running_mean, running_var)
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: expected at least 2 dimensions (N, C, ...), but got {list(input.shape)}")
    channels = input.shape[1]
    if not training and (running_mean is None or running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"{missing} must be defined in evaluation mode (batch_norm)")
    if (running_mean is None) != (running_var is None):
        raise RuntimeError("batch_norm: running_mean and running_var must both be given, or neither")
    count = math.prod(input.shape) // max(channels, 1)
    if training and count == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size torch.Size({list(input.shape)})"
        )
    _check_elements(channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    _check_parameter_dtypes("batch_norm", input, weight, bias, running_mean, running_var)
    x, axis, back = formulated(widened(input))
    shape, axes = (channels, *(1,) * (input.ndim - 1 - axis)), tuple(a for a in range(input.ndim) if a != axis)
    if not training:
        scale = lax.rsqrt(running_var.astype(x.dtype) + eps)
        y = (x - running_mean.astype(x.dtype).reshape(shape)) * scale.reshape(shape)
        return back(_affine(y, weight, bias, shape)).astype(input.dtype)
    if not input.size:
        y = back(_affine(x, weight, bias, shape)).astype(input.dtype)
        return y if running_mean is None else (y, running_mean, running_var)
    y, *told, _ = _line(x, weight, bias, axes, shape, eps)
    y = back(y).astype(input.dtype)
    if running_mean is None:
        return y
    return (y, *_new_statistics(running_mean, running_var, told, count, momentum))


@op(namespace=None, out=False)
def _instance_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    use_input_stats: bool = True,
    momentum: Scalar = 0.1,
    eps: float = 1e-5,
):
    """Each channel of each sample with mean 0 and variance 1, times weight, plus bias.

    Shapes: input (N, C, *), the others (C,).  use_input_stats False: the running statistics instead.
    Returns: the output alone; with running statistics and use_input_stats also their new values (means over N).
    Raises: ValueError for a single spatial element, RuntimeError for wrong sizes.
    """
    _require_float(input, "instance_norm")
    if use_input_stats and math.prod(input.shape[2:]) <= 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size torch.Size({list(input.shape)})"
        )
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    if (running_mean is None) != (running_var is None):
        raise RuntimeError("instance_norm: running_mean and running_var must both be given, or neither")
    if input.ndim < 3:
        raise RuntimeError(f"instance_norm: expected (N, C, *), but got input of shape {list(input.shape)}")
    channels = input.shape[1]
    _check_elements(channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    shape = (channels, *(1,) * (input.ndim - 2))
    x = widened(input)
    if not use_input_stats:
        scale = lax.rsqrt(running_var.astype(x.dtype) + eps)
        y = (x - running_mean.astype(x.dtype).reshape(shape)) * scale.reshape(shape)
        return _affine(y, weight, bias, shape).astype(input.dtype)
    # Channels of a single sample, as many as there are of all.
    n, each = input.shape[0], input.shape[0] * channels
    weight, bias = [v if v is None else jnp.broadcast_to(v, (n, channels)).reshape(each) for v in (weight, bias)]
    axes = tuple([a for a in range(input.ndim) if a != 1])
    y, *told, _ = _line(x.reshape(1, each, *x.shape[2:]), weight, bias, axes, (each, *shape[1:]), eps)
    y = y.reshape(x.shape).astype(input.dtype)
    if running_mean is None:
        return y
    told = [v.reshape(n, channels).mean(0) for v in told]
    return (y, *_new_statistics(running_mean, running_var, told, math.prod(input.shape[2:]), momentum))


def _check_normalized(name, input, normalized_shape, weight, bias=None) -> tuple[int, ...]:
    if isinstance(normalized_shape, int):
        raise TypeError(f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not int")
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            f"normalized_shape = {list(shape)} ({name})"
        )
    for which, operand in (("weight", weight), ("bias", bias)):
        if operand is not None and operand.shape != shape:
            raise RuntimeError(
                f"Expected {which} to be of same shape as normalized_shape, but got {which} of shape "
                f"{list(operand.shape)} and normalized_shape = {list(shape)} ({name})"
            )
    if input.ndim < len(shape) or input.shape[-len(shape) :] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but "
            f"got input of size{list(input.shape)} ({name})"
        )
    return tuple(range(input.ndim - len(shape), input.ndim))


@op(namespace=("torch", "nn.functional"), method=False, out=False, shapes=normalized)
def layer_norm(
    input: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
):
    """Mean 0 and variance 1 over the last axes, times weight, plus bias.

    Shapes: input (*, *normalized_shape), weight and bias normalized_shape -> that of input.
    Raises: RuntimeError when the shapes disagree.
    """
    axes = _check_normalized("layer_norm", input, normalized_shape, weight, bias)
    _require_float(input, "layer_norm")
    _check_parameter_dtypes("layer_norm", input, weight, bias)
    y, _ = _standardize(widened(input), axes, eps)
    return _affine(y, weight, bias, tuple(normalized_shape)).astype(input.dtype)


@op(namespace=("torch", "nn.functional"), method=False, out=False, shapes=normalized)
def rms_norm(
    input: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None = None,
    eps: float | None = None,
):
    """``input / sqrt(mean(input ** 2) + eps)`` over the last axes, times weight.

    Shapes: input (*, *normalized_shape), weight normalized_shape -> that of input.
    eps: None is the spacing of floats at 1.
    Source: Zhang & Sennrich 2019, arXiv:1910.07467.  Raises: RuntimeError when the shapes disagree.
    """
    axes = _check_normalized("rms_norm", input, normalized_shape, weight)
    x = widened(input)
    if eps is None:
        eps = float(jnp.finfo(x.dtype).eps)
    # The square, as in PyTorch, also of complex numbers.
    y = x * lax.rsqrt((x * x).mean(axes, keepdims=True) + eps)
    return _affine(y, weight, None, tuple(normalized_shape)).astype(input.dtype)


@op(namespace=("torch", "nn.functional"), method=False, out=False)
def group_norm(
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
):
    """Mean 0 and variance 1 over each group of channels of each sample; then times weight, plus bias, by channel.

    Shapes: input (N, C, *), weight and bias (C,) -> that of input.  Source: Wu & He 2018, arXiv:1803.08494.
    Raises: RuntimeError if C is not a multiple of num_groups or shapes disagree, ValueError for one value in a group.
    """
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim} (group_norm)")
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups} (group_norm)")
    batch, channels = input.shape[:2]
    if channels % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    for which, operand in (("weight", weight), ("bias", bias)):
        if operand is not None and operand.shape != (channels,):
            raise RuntimeError(
                f"Expected {which} to be a vector of size equal to the number of channels in input, but got {which} of "
                f"shape {list(operand.shape)} and input of shape {list(input.shape)}"
            )
    if batch * channels // num_groups * math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)}")
    _require_float(input, "group_norm")
    _check_parameter_dtypes("group_norm", input, weight, bias)
    x = widened(input).reshape(batch, num_groups, channels // num_groups, math.prod(input.shape[2:]))
    y, _ = _standardize(x, (2, 3), eps)
    shape = (channels, *(1,) * (input.ndim - 2))
    return _affine(y.reshape(input.shape), weight, bias, shape).astype(input.dtype)


@op(namespace="nn.functional", out=False)
def local_response_norm(input: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
    """``input / (k + alpha * mean(input ** 2 of size neighbouring channels)) ** beta``.

    Shapes: input (N, C, *) with at least 3 dimensions.  Source: Krizhevsky et al. 2012.
    Raises: ValueError for fewer dimensions, RuntimeError for a size below 1.
    """
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if size < 1:
        raise RuntimeError(f"local_response_norm: size should be greater than zero, but got {size}")
    if not input.size:
        return input
    input = to_float(input)
    config = [(0, 0, 0), (size // 2, (size - 1) // 2, 0)] + [(0, 0, 0)] * (input.ndim - 2)
    squares = lax.pad(input * input, jnp.zeros((), input.dtype), config)
    total = None
    for i in range(size):
        term = lax.slice_in_dim(squares, i, i + input.shape[1], 1, 1)
        total = term if total is None else total + term
    return input / (total / size * alpha + k) ** beta
