"""Layers computed together that round their weights while they are trained (``torch.ao.nn.intrinsic.qat``)."""

from __future__ import annotations

from pytorchlike import nn

from ..qat import ConvBn2d, ConvBnReLU2d, ConvReLU2d, LinearReLU

__all__ = ["ConvBn2d", "ConvBnReLU2d", "ConvReLU2d", "LinearReLU", "freeze_bn_stats", "update_bn_stats"]


def freeze_bn_stats(mod: nn.Module) -> None:
    """Freeze the statistics of a layer with batch norm; other modules stay as they are: for ``Module.apply``."""
    if isinstance(mod, ConvBn2d):
        mod.freeze_bn_stats()


def update_bn_stats(mod: nn.Module) -> None:
    """The reverse of ``freeze_bn_stats``."""
    if isinstance(mod, ConvBn2d):
        mod.update_bn_stats()
