"""Initial values of parameters. Every function fills its tensor in place, without gradient, and returns it."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor.dtype import float32, float64
from ..tensor.random import is_followed
from . import _linalg as linalg

__all__ = [
    "calculate_gain", "constant", "constant_", "dirac", "dirac_", "eye", "eye_", "kaiming_normal", "kaiming_normal_",
    "kaiming_uniform", "kaiming_uniform_", "normal", "normal_", "ones_", "orthogonal", "orthogonal_", "sparse",
    "sparse_", "trunc_normal_", "uniform", "uniform_", "xavier_normal", "xavier_normal_", "xavier_uniform",
    "xavier_uniform_", "zeros_",
]

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Factor by which weights are scaled so that a signal keeps its variance through ``nonlinearity``.

    1 for linear, conv* and sigmoid; 5/3 for tanh; sqrt(2) for relu; sqrt(2 / (1 + param**2)) for leaky_relu with
    negative slope ``param`` (default 0.01); 3/4 for selu.

    Raises:  ValueError for another name, or a slope that is no number.
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}; known are {', '.join(_LINEAR)}, sigmoid, tanh, relu, "
                     "leaky_relu and selu")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b)."""
    if tensor.is_meta:
        return tensor
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    if tensor.is_meta:
        return tensor
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  generator: Any = None) -> Tensor:
    """Normal with the given mean and standard deviation, conditioned on [a, b].

    Source:  the inverse of the distribution function applied to uniform numbers.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
                      "incorrect.", stacklevel=2)
    if tensor.is_meta:
        return tensor

    def erf_at(x: float) -> float:
        return math.erf((x - mean) / (std * math.sqrt(2.0)))

    with no_grad():
        if is_followed() and a <= mean <= b and erf_at(b) - erf_at(a) >= 0.8:  # as PyTorch: again until all are inside
            tensor.normal_(mean, std, generator=generator)
            while bool((outside := (tensor < a) | (tensor > b)).any()):
                tensor.copy_(T.where(outside, T.empty_like(tensor).normal_(mean, std, generator=generator), tensor))
            return tensor
        # In single precision the inverse has no resolution left some 3 deviations out.
        wide = a <= mean + 3 * std and b >= mean - 3 * std
        work = T.empty_like(tensor, dtype=float32 if wide and tensor.dtype != float64 else float64)
        work.uniform_(erf_at(a), erf_at(b), generator=generator)
        work.erfinv_().mul_(std * math.sqrt(2.0)).add_(mean).clamp_(a, b)
        return tensor.copy_(work)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The value ``val`` everywhere."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    with no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix: a linear layer then passes on as many inputs as it can.

    Raises:  ValueError unless the tensor has 2 dimensions.
    """
    if tensor.ndimension() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    with no_grad():
        return tensor.copy_(T.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight that passes on as many input channels as it can, in each of ``groups`` groups.

    Raises:  ValueError unless the tensor has 3 to 5 dimensions and groups divides the first.
    """
    if tensor.ndimension() not in (3, 4, 5):
        raise ValueError(f"Only tensors with 3, 4, or 5 dimensions are supported, got shape {tuple(tensor.shape)}")
    sizes = tuple(tensor.shape)
    if sizes[0] % groups != 0:
        raise ValueError(f"dim 0 must be divisible by groups, got {sizes[0]} and {groups}")
    if tensor.is_meta:
        return tensor
    per_group = sizes[0] // groups
    pattern = np.zeros(sizes, np.float32)
    centre = tuple(n // 2 for n in sizes[2:])
    for group in range(groups):
        for channel in range(min(per_group, sizes[1])):
            pattern[(group * per_group + channel, channel, *centre)] = 1
    with no_grad():
        return tensor.copy_(T.tensor(pattern, dtype=tensor.dtype, device=tensor.device))


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Connections into one output and out of one input of a layer whose weight is ``tensor``.

    Raises:  ValueError for fewer than 2 dimensions.
    """
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape "
                         f"{tuple(tensor.shape)}")
    shape = tensor.shape
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with standard deviation gain * sqrt(2 / (fan_in + fan_out)).

    Source:  Glorot & Bengio 2010.
    """
    bound = gain * math.sqrt(6.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)).

    Source:  Glorot & Bengio 2010.
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    """gain / sqrt(fan); None, with a warning, if the tensor is empty."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    return calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                     generator: Any = None) -> Tensor:
    """Uniform with standard deviation gain / sqrt(fan); ``a`` is leaky_relu's slope, ``mode`` fan_in or fan_out.

    Source:  He et al. 2015, arXiv:1502.01852.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                    generator: Any = None) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan); ``a`` is leaky_relu's slope, ``mode`` fan_in or fan_out.

    Source:  He et al. 2015, arXiv:1502.01852.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """``gain`` times a matrix with orthonormal rows or columns (whichever are fewer), uniform among these.

    Dimensions after the first are taken as one.

    Raises:  ValueError for fewer than 2 dimensions.
    Source:  Saxe et al. 2013; the signs as in Mezzadri 2007, arXiv:math-ph/0609050.
    """
    if tensor.ndimension() < 2:
        raise ValueError(f"Only tensors with 2 or more dimensions are supported, got shape {tuple(tensor.shape)}")
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    rows = tensor.shape[0]
    cols = tensor.numel() // rows
    with no_grad():
        drawn = T.empty((rows, cols), dtype=tensor.dtype, device=tensor.device).normal_(0, 1, generator=generator)
        q, r = linalg.qr(drawn.t() if rows < cols else drawn)
        # Without the signs of r's diagonal the distribution would not be uniform.
        q = q * T.diagonal(r).sign()
        if rows < cols:
            q = q.t()
        return tensor.copy_((q * gain).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal with standard deviation ``std``, with the fraction ``sparsity`` of each column set to zero.

    Raises:  ValueError unless the tensor has 2 dimensions.
    Source:  Martens 2010.
    """
    if tensor.ndimension() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    if tensor.is_meta:
        return tensor
    rows, cols = tensor.shape
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        if is_followed():  # column by column, as PyTorch
            for column in range(cols):
                tensor[T.randperm(rows)[: math.ceil(sparsity * rows)], column] = 0
            return tensor
        draw = T.empty((rows, cols), device=tensor.device).uniform_(0, 1, generator=generator)
        # The rank of each draw within its column: the lowest ones mark the zeros.
        rank = draw.argsort(dim=0).argsort(dim=0)
        return tensor.masked_fill_(rank < math.ceil(sparsity * rows), 0)


def _no_grad_uniform_(tensor: Tensor, a: float, b: float, generator: Any = None) -> Tensor:
    return uniform_(tensor, a, b, generator)


def _no_grad_normal_(tensor: Tensor, mean: float, std: float, generator: Any = None) -> Tensor:
    return normal_(tensor, mean, std, generator)


def _no_grad_trunc_normal_(tensor: Tensor, mean: float, std: float, a: float, b: float,
                           generator: Any = None) -> Tensor:
    return trunc_normal_(tensor, mean, std, a, b, generator)


def _no_grad_fill_(tensor: Tensor, val: float) -> Tensor:
    return constant_(tensor, val)


def _no_grad_zero_(tensor: Tensor) -> Tensor:
    return zeros_(tensor)


def _deprecated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    new = function.__name__
    old = new[:-1]

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    wrapper.__name__ = wrapper.__qualname__ = old
    wrapper.__doc__ = f"Deprecated: use {new}."
    return wrapper


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
