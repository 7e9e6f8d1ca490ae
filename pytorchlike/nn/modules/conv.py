"""Convolutions and transposed convolutions over 1, 2 and 3 spatial axes, and their lazy forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...tensor import Tensor
from ...tensor import functions as T
from .. import functional as F
from .. import init
from ..parameter import Parameter, UninitializedParameter
from .lazy import LazyModuleMixin
from .module import Module
from .utils import _pair, _reverse_repeat_tuple, _single, _triple

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "LazyConv1d", "LazyConv2d",
    "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: arguments, parameters, initial values, repr."""

    __constants__ = ["stride", "padding", "dilation", "groups", "padding_mode", "output_padding", "in_channels",
                     "out_channels", "kernel_size"]

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, ...], stride: tuple[int, ...],
                 padding: str | tuple[int, ...], dilation: tuple[int, ...], transposed: bool,
                 output_padding: tuple[int, ...], groups: int, bias: bool, padding_mode: str, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError(f"groups must be a positive integer, got {groups}")
        if in_channels % groups != 0:
            raise ValueError(f"in_channels must be divisible by groups, got {in_channels} and {groups}")
        if out_channels % groups != 0:
            raise ValueError(f"out_channels must be divisible by groups, got {out_channels} and {groups}")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of 'same' and 'valid'")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError(f"padding='same' is not supported for strided convolutions, got stride={stride}")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {_PADDING_MODES}, but got padding_mode='{padding_mode}'")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        if padding == "same":
            # An odd total leaves the extra element at the end.
            totals = [d * (k - 1) for d, k in zip(dilation, kernel_size, strict=False)]
            self._reversed_padding_repeated_twice = [p for t in reversed(totals) for p in (t // 2, t - t // 2)]
        elif isinstance(padding, str):
            self._reversed_padding_repeated_twice = [0, 0] * len(kernel_size)
        else:
            self._reversed_padding_repeated_twice = _reverse_repeat_tuple(padding, 2)
        self.weight = Parameter(T.empty(self._weight_shape(), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(T.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        rows, columns = ((self.in_channels, self.out_channels) if self.transposed
                         else (self.out_channels, self.in_channels))
        return (rows, columns // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw weight and bias again."""
        # With this slope the bound of the weight is fan_in ** -0.5.
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in > 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)
            else:
                init.zeros_(self.bias)

    def extra_repr(self) -> str:
        s = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.padding):
            s += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            s += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            s += f", output_padding={self.output_padding}"
        if self.groups != 1:
            s += f", groups={self.groups}"
        if self.bias is None:
            s += ", bias=False"
        if self.padding_mode != "zeros":
            s += f", padding_mode={self.padding_mode}"
        return s

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")


class _Conv(_ConvNd):
    """A convolution; ``_tuple`` brings an argument to one entry per spatial axis, ``_function`` names it in F."""

    _tuple: Callable[[Any], tuple]
    _function: str

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
                 device: Any = None, dtype: Any = None) -> None:
        to = type(self)._tuple
        super().__init__(in_channels, out_channels, to(kernel_size), to(stride),
                         padding if isinstance(padding, str) else to(padding), to(dilation), False, to(0), groups,
                         bias, padding_mode, device, dtype)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve = getattr(F, self._function)
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            return convolve(input, weight, bias, self.stride, self.output_padding, self.dilation, self.groups)
        return convolve(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        """(N, in_channels, *space) or (in_channels, *space) -> the same with out_channels and the output's size."""
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """Cross-correlation along one axis.

    Shapes:      (N, in_channels, L) or (in_channels, L) -> (N, out_channels, M) or (out_channels, M) with
                 M = (L + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1.
    Parameters:  weight (out_channels, in_channels / groups, kernel_size), bias (out_channels,) or None; uniform in
                 +-fan_in ** -0.5.
    padding may also be "same" (stride 1 only) or "valid"; padding_mode: zeros, reflect, replicate, circular.
    Raises:      ValueError if groups does not divide the channels, or for an unknown padding or padding_mode.
    """

    _tuple = staticmethod(_single)
    _function = "conv1d"


class Conv2d(_Conv):
    """Cross-correlation along two axes.

    Shapes:      (N, in_channels, H, W) or (in_channels, H, W) -> (N, out_channels, H', W') or (out_channels, H', W')
                 with H' = (H + 2 padding[0] - dilation[0] (kernel_size[0] - 1) - 1) // stride[0] + 1, W' likewise.
    Parameters:  weight (out_channels, in_channels / groups, *kernel_size), bias (out_channels,) or None; uniform in
                 +-fan_in ** -0.5.
    padding may also be "same" (stride 1 only) or "valid"; padding_mode: zeros, reflect, replicate, circular.
    Raises:      ValueError if groups does not divide the channels, or for an unknown padding or padding_mode.
    """

    _tuple = staticmethod(_pair)
    _function = "conv2d"


class Conv3d(_Conv):
    """Cross-correlation along three axes.

    Shapes:      (N, in_channels, D, H, W) or (in_channels, D, H, W) -> the same with out_channels and, per axis,
                 D' = (D + 2 padding[0] - dilation[0] (kernel_size[0] - 1) - 1) // stride[0] + 1.
    Parameters:  weight (out_channels, in_channels / groups, *kernel_size), bias (out_channels,) or None; uniform in
                 +-fan_in ** -0.5.
    padding may also be "same" (stride 1 only) or "valid"; padding_mode: zeros, reflect, replicate, circular.
    Raises:      ValueError if groups does not divide the channels, or for an unknown padding or padding_mode.
    """

    _tuple = staticmethod(_triple)
    _function = "conv3d"


class _ConvTransposeNd(_ConvNd):
    """A transposed convolution; ``_tuple`` and ``_function`` as in _Conv."""

    _tuple: Callable[[Any], tuple]
    _function: str

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
                 padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {self.__class__.__name__}, '
                             f"got '{padding_mode}'")
        to = type(self)._tuple
        super().__init__(in_channels, out_channels, to(kernel_size), to(stride), to(padding), to(dilation), True,
                         to(output_padding), groups, bias, padding_mode, device, dtype)

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None, stride: Sequence[int],
                        padding: Sequence[int], kernel_size: Sequence[int], num_spatial_dims: int,
                        dilation: Sequence[int] | None = None) -> tuple[int, ...]:
        """What must be added on one side so that the output has the size asked for."""
        if output_size is None:
            return _single(self.output_padding)
        n = num_spatial_dims
        leading = 2 if input.dim() == n + 2 else 1
        wanted = list(output_size)
        if len(wanted) == leading + n:
            wanted = wanted[leading:]
        if len(wanted) != n:
            raise ValueError(f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or "
                             f"{leading + n} elements (got {len(wanted)})")
        spread = dilation if dilation is not None else (1,) * n
        low = [(input.shape[leading + d] - 1) * stride[d] - 2 * padding[d] + spread[d] * (kernel_size[d] - 1) + 1
               for d in range(n)]
        high = [low[d] + stride[d] - 1 for d in range(n)]
        if any(not low[d] <= wanted[d] <= high[d] for d in range(n)):
            raise ValueError(f"requested an output size of {wanted}, but valid sizes range from {low} to {high} (for "
                             f"an input of {input.shape[leading:]})")
        return tuple(wanted[d] - low[d] for d in range(n))

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """(N, in_channels, *space) or (in_channels, *space) -> the same with out_channels and the output's size.

        ``output_size`` picks one of the ``stride`` possible sizes per axis.
        """
        if self.padding_mode != "zeros":
            raise ValueError(f"Only `zeros` padding mode is supported for {self.__class__.__name__}")
        output_padding = self._output_padding(input, output_size, self.stride, self.padding, self.kernel_size,
                                              len(self.kernel_size), self.dilation)
        return getattr(F, self._function)(input, self.weight, self.bias, self.stride, self.padding, output_padding,
                                          self.groups, self.dilation)


class _ConvTransposeMixin(_ConvTransposeNd):
    """The name that PyTorch's base class had before; MMEngine asks whether a layer is one."""


class ConvTranspose1d(_ConvTransposeNd):
    """Gradient of Conv1d with respect to its input, as a layer.

    Shapes:      (N, in_channels, L) or (in_channels, L) -> (N, out_channels, M) or (out_channels, M) with
                 M = (L - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1.
    Parameters:  weight (in_channels, out_channels / groups, kernel_size), bias (out_channels,) or None; uniform in
                 +-(out_channels / groups * kernel_size) ** -0.5.
    Raises:      ValueError if groups does not divide the channels, for a padding_mode but zeros, or for an output_size
                 that no output_padding below stride gives.
    """

    _tuple = staticmethod(_single)
    _function = "conv_transpose1d"


class ConvTranspose2d(_ConvTransposeNd):
    """Gradient of Conv2d with respect to its input, as a layer.

    Shapes:      (N, in_channels, H, W) or (in_channels, H, W) -> the same with out_channels and, per axis,
                 H' = (H - 1) stride[0] - 2 padding[0] + dilation[0] (kernel_size[0] - 1) + output_padding[0] + 1.
    Parameters:  weight (in_channels, out_channels / groups, *kernel_size), bias (out_channels,) or None; uniform in
                 +-(out_channels / groups * prod(kernel_size)) ** -0.5.
    Raises:      as ConvTranspose1d.
    """

    _tuple = staticmethod(_pair)
    _function = "conv_transpose2d"


class ConvTranspose3d(_ConvTransposeNd):
    """Gradient of Conv3d with respect to its input, as a layer.

    Shapes:      (N, in_channels, D, H, W) or (in_channels, D, H, W) -> the same with out_channels and, per axis,
                 D' = (D - 1) stride[0] - 2 padding[0] + dilation[0] (kernel_size[0] - 1) + output_padding[0] + 1.
    Parameters:  weight (in_channels, out_channels / groups, *kernel_size), bias (out_channels,) or None; uniform in
                 +-(out_channels / groups * prod(kernel_size)) ** -0.5.
    Raises:      as ConvTranspose1d.
    """

    _tuple = staticmethod(_triple)
    _function = "conv_transpose3d"


class _LazyConvXdMixin(LazyModuleMixin):
    """in_channels is that of the first input."""

    def reset_parameters(self) -> None:
        """Draw weight and bias again, once they have shapes."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take in_channels from ``input``."""
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._get_in_channels(input)
        if self.in_channels % self.groups != 0:
            raise ValueError(f"in_channels must be divisible by groups, got {self.in_channels} and {self.groups}")
        self.weight.materialize(self._weight_shape())
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def _get_in_channels(self, input: Tensor) -> int:
        n = len(self.kernel_size)
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to "
                               f"{self.__class__.__name__}, but got input of size: {input.shape}")
        return input.shape[1] if input.dim() == n + 2 else input.shape[0]

    def _uninitialize(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)


class _LazyConv(_LazyConvXdMixin):
    def __init__(self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                 groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype)
        self._uninitialize(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvXdMixin):
    def __init__(self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
                 padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode,
                         device, dtype)
        self._uninitialize(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """A Conv1d whose in_channels is that of its first input; it then becomes a Conv1d."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A Conv2d whose in_channels is that of its first input; it then becomes a Conv2d."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A Conv3d whose in_channels is that of its first input; it then becomes a Conv3d."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A ConvTranspose1d whose in_channels is that of its first input; it then becomes a ConvTranspose1d."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A ConvTranspose2d whose in_channels is that of its first input; it then becomes a ConvTranspose2d."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A ConvTranspose3d whose in_channels is that of its first input; it then becomes a ConvTranspose3d."""

    cls_to_become = ConvTranspose3d
