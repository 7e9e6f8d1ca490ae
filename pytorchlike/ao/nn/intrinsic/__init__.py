"""Layers that are computed together (``torch.ao.nn.intrinsic``)."""

from __future__ import annotations

from pytorchlike import nn

from . import qat as qat

__all__ = ["BNReLU2d", "ConvBn1d", "ConvBn2d", "ConvBn3d", "ConvBnReLU1d", "ConvBnReLU2d", "ConvBnReLU3d", "ConvReLU1d",
           "ConvReLU2d", "ConvReLU3d", "LinearBn1d", "LinearReLU"]  # fmt: skip


class _Fused(nn.Sequential):
    """The layers, one after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)


def _named(name: str) -> type[_Fused]:
    return type(name, (_Fused,), {"__module__": __name__, "__doc__": _Fused.__doc__})


BNReLU2d = _named("BNReLU2d")
ConvBn1d, ConvBn2d, ConvBn3d = (_named(f"ConvBn{n}d") for n in (1, 2, 3))
ConvBnReLU1d, ConvBnReLU2d, ConvBnReLU3d = (_named(f"ConvBnReLU{n}d") for n in (1, 2, 3))
ConvReLU1d, ConvReLU2d, ConvReLU3d = (_named(f"ConvReLU{n}d") for n in (1, 2, 3))
LinearBn1d, LinearReLU = _named("LinearBn1d"), _named("LinearReLU")
