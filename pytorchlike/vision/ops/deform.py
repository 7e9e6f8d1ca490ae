"""Deformable convolution: Dai et al. 2017, arXiv:1703.06211; with masks: Zhu et al. 2018, arXiv:1811.11168."""

from __future__ import annotations

import math
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

from .roi import _pair

__all__ = ["DeformConv2d", "deform_conv2d"]


def deform_conv2d(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """A convolution whose samples are moved by ``offset``, read bilinearly (0 outside), and weighted by ``mask``.

    Shapes:  input (N, C, H, W); weight (O, C / groups, kh, kw); offset (N, 2 * D * kh * kw, h, w), for each of D groups
    of channels and each element of the kernel a shift along y and one along x; mask (N, D * kh * kw, h, w)
    ->  (N, O, h, w).
    Raises RuntimeError for sizes that do not fit.
    """
    (n, c, height, width), (out, per_group, kh, kw) = input.shape, weight.shape
    (sy, sx), (py, px), (dy, dx) = _pair(stride), _pair(padding), _pair(dilation)
    taps = kh * kw
    groups, parts = c // per_group, offset.shape[1] // (2 * taps)
    h, w = ((size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, p, d, k, s in ((height, py, dy, kh, sy), (width, px, dx, kw, sx)))  # fmt: skip
    if parts == 0 or offset.shape[1] != 2 * parts * taps or c % parts:
        raise RuntimeError(
            "the shape of the offset tensor at dimension 1 is not valid: expected 2 * groups * kernel height * kernel "
            f"width with groups that divide {c} channels, got {offset.shape[1]} for a kernel of {kh} by {kw}"
        )
    if tuple(offset.shape) != (n, 2 * parts * taps, h, w):
        raise RuntimeError(f"offset should be {(n, 2 * parts * taps, h, w)}, got {tuple(offset.shape)}")
    if mask is not None and tuple(mask.shape) != (n, parts * taps, h, w):
        raise RuntimeError(f"mask should be {(n, parts * taps, h, w)}, got {tuple(mask.shape)}")
    if groups * per_group != c or out % groups:
        raise RuntimeError(f"weight {tuple(weight.shape)} does not fit {c} input channels")
    like = {"device": input.device, "dtype": input.dtype}
    moved = offset.reshape(n, parts, kh, kw, 2, h, w)
    rows = (torch.arange(h, **like) * sy - py)[:, None] + (torch.arange(kh, **like) * dy)[:, None, None, None]
    cols = (torch.arange(w, **like) * sx - px) + (torch.arange(kw, **like) * dx)[:, None, None]
    y, x = moved[:, :, :, :, 0] + rows, moved[:, :, :, :, 1] + cols
    table = input.reshape(n, parts, c // parts, height * width)
    samples: Any = 0
    top, left = y.floor(), x.floor()
    for i in (0, 1):
        for j in (0, 1):
            r, q = top + i, left + j
            share = (1 - (y - r).abs()) * (1 - (x - q).abs())
            share = share * ((r >= 0) & (r < height) & (q >= 0) & (q < width))
            index = (r.clamp(0, height - 1) * width + q.clamp(0, width - 1)).long().reshape(n, parts, 1, -1)
            found = torch.gather(table, 3, index.expand(n, parts, c // parts, taps * h * w))
            samples = samples + found * share.reshape(n, parts, 1, -1)
    if mask is not None:
        samples = samples * mask.reshape(n, parts, 1, -1)
    samples = samples.reshape(n, groups, per_group * taps, h * w)
    result = torch.einsum("gok,ngkp->ngop", weight.reshape(groups, out // groups, per_group * taps), samples)
    result = result.reshape(n, out, h, w)
    return result if bias is None else result + bias[:, None, None]


class DeformConv2d(nn.Module):
    """``deform_conv2d`` with its weights; forward(input, offset, mask=None)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.padding, self.dilation = _pair(padding), _pair(dilation)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As of an ordinary convolution."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        return deform_conv2d(input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask)

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        shown += f", padding={self.padding}" if self.padding != (0, 0) else ""
        shown += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        shown += f", groups={self.groups}" if self.groups != 1 else ""
        return shown + (", bias=False" if self.bias is None else "")
