"""Gradients of convolutions as functions of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import grad
from ..autograd.mode import enable_grad, is_grad_enabled
from ..tensor import Tensor
from ..tensor import functions as T
from . import functional as F

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _gradient(name: str, input: Tensor, weight: Tensor, wanted: int, grad_output: Tensor, stride: Any, padding: Any,
              dilation: Any, groups: int) -> Tensor:
    """A convolution is linear in each of its arguments: the one asked for is made up, its values do not matter."""
    tracked = is_grad_enabled()
    with enable_grad():
        arguments = [input, weight]
        arguments[wanted] = arguments[wanted].requires_grad_()
        output = getattr(F, name)(*arguments, None, stride, padding, dilation, groups)
        if output.shape != grad_output.shape:
            raise RuntimeError(f"{name}: grad_output is {tuple(grad_output.shape)}, but the convolution of "
                               f"{tuple(input.shape)} and {tuple(weight.shape)} gives {tuple(output.shape)}")
        return grad(output, arguments[wanted], grad_output, create_graph=tracked)[0]


def _by_input(name: str, size: Sequence[int], weight: Tensor, grad_output: Tensor, *settings: Any) -> Tensor:
    made_up = T.zeros(tuple(size), dtype=grad_output.dtype, device=grad_output.device)
    return _gradient(name, made_up, weight, 0, grad_output, *settings)


def _by_weight(name: str, input: Tensor, size: Sequence[int], grad_output: Tensor, *settings: Any) -> Tensor:
    made_up = T.zeros(tuple(size), dtype=grad_output.dtype, device=grad_output.device)
    return _gradient(name, input, made_up, 1, grad_output, *settings)


def conv1d_input(input_size: Sequence[int], weight: Tensor, grad_output: Tensor, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Tensor:
    """The gradient of conv1d's input, whose shape is ``input_size``, for the gradient of its output.

    Raises:  RuntimeError for shapes that do not fit.
    """
    return _by_input("conv1d", input_size, weight, grad_output, stride, padding, dilation, groups)


def conv1d_weight(input: Tensor, weight_size: Sequence[int], grad_output: Tensor, stride: Any = 1, padding: Any = 0,
                  dilation: Any = 1, groups: int = 1) -> Tensor:
    """The gradient of conv1d's weight, whose shape is ``weight_size``, for the gradient of its output.

    Raises:  RuntimeError for shapes that do not fit.
    """
    return _by_weight("conv1d", input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(input_size: Sequence[int], weight: Tensor, grad_output: Tensor, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Tensor:
    """As conv1d_input, of conv2d."""
    return _by_input("conv2d", input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_weight(input: Tensor, weight_size: Sequence[int], grad_output: Tensor, stride: Any = 1, padding: Any = 0,
                  dilation: Any = 1, groups: int = 1) -> Tensor:
    """As conv1d_weight, of conv2d."""
    return _by_weight("conv2d", input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(input_size: Sequence[int], weight: Tensor, grad_output: Tensor, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Tensor:
    """As conv1d_input, of conv3d."""
    return _by_input("conv3d", input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_weight(input: Tensor, weight_size: Sequence[int], grad_output: Tensor, stride: Any = 1, padding: Any = 0,
                  dilation: Any = 1, groups: int = 1) -> Tensor:
    """As conv1d_weight, of conv3d."""
    return _by_weight("conv3d", input, weight_size, grad_output, stride, padding, dilation, groups)
