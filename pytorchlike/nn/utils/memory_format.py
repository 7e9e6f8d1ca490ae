"""Memory formats of convolution weights."""

from __future__ import annotations

from typing import Any

from ..modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from ..modules.module import Module

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def _convert(module: Module, kinds: tuple[type, ...], memory_format: Any) -> Module:
    for layer in module.modules():
        if isinstance(layer, kinds):
            layer.weight.data = layer.weight.detach().clone(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: Module, memory_format: Any) -> Module:
    """The weights of all 2-d convolutions in ``module`` in ``memory_format``; returns module.

    The compiler chooses the layout in memory; the format is what the tensor reports.
    """
    return _convert(module, (Conv2d, ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module: Module, memory_format: Any) -> Module:
    """The weights of all 3-d convolutions in ``module`` in ``memory_format``; returns module.

    The compiler chooses the layout in memory; the format is what the tensor reports.
    """
    return _convert(module, (Conv3d, ConvTranspose3d), memory_format)
