"""Rounding to what integers of a scale can say, for training with quantisation in mind."""

from __future__ import annotations

from typing import Any

from ._register import function
from ._tensor import Tensor


def _fake_quantized(input: Tensor, scale: Any, zero_point: Any, low: int, high: int, name: str) -> Tensor:
    if low > high:
        raise RuntimeError(f"{name}: `quant_min` should be less than or equal to `quant_max`, got {low} and {high}")
    level = (input.detach() * (1 / scale)).round() + zero_point
    inside = (level >= low) & (level <= high)
    value = ((level.clamp(low, high) - zero_point) * scale).to(input.dtype)
    # the gradient is that of the identity where nothing was cut
    return value + (input - input.detach()).where(inside, 0) if input.requires_grad else value


@function
def fake_quantize_per_tensor_affine(
    input: Tensor, scale: float | Tensor, zero_point: int | Tensor, quant_min: int, quant_max: int
) -> Tensor:
    """``(clamp(round(input / scale) + zero_point, quant_min, quant_max) - zero_point) * scale``.

    The gradient passes where nothing was cut off.  scale and zero_point: numbers or tensors of one element.
    Raises RuntimeError unless quant_min <= quant_max.
    """
    return _fake_quantized(input, scale, zero_point, quant_min, quant_max, "fake_quantize_per_tensor_affine")


@function
def fake_quantize_per_channel_affine(
    input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> Tensor:
    """As :func:`fake_quantize_per_tensor_affine`, with a scale and zero point for each index of dimension ``axis``.

    scale, zero_point: (input.size(axis),).   Raises RuntimeError for other sizes and unless quant_min <= quant_max.
    """
    name = "fake_quantize_per_channel_affine"
    if not 0 <= axis < max(input.dim(), 1):
        raise RuntimeError(f"{name}: `axis` must be between 0 and number of dimensions of input, got {axis}")
    for told, given in (("scale", scale), ("zero_point", zero_point)):
        if tuple(given.shape) != (input.size(axis),):
            raise RuntimeError(f"{name}: {told} must have {input.size(axis)} elements, got shape {list(given.shape)}")
    shape = [-1 if d == axis else 1 for d in range(input.dim())]
    return _fake_quantized(input, scale.reshape(shape), zero_point.reshape(shape), quant_min, quant_max, name)
