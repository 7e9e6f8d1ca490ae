"""Marks in a model of where quantisation begins and ends."""

from __future__ import annotations

from typing import Any

from pytorchlike import Tensor, nn

__all__ = ["DeQuantStub", "QuantStub", "QuantWrapper"]


class _Stub(nn.Module):
    """Passes its input, until it is converted."""

    def __init__(self, qconfig: Any = None) -> None:
        super().__init__()
        if qconfig:
            self.qconfig = qconfig

    def forward(self, x: Tensor) -> Tensor:
        return x


class QuantStub(_Stub):
    """Observes before conversion; rounds to integers afterwards."""


class DeQuantStub(_Stub):
    """Passes its input before conversion; makes it float32 afterwards."""


class QuantWrapper(nn.Module):
    """A module between the two."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        qconfig = getattr(module, "qconfig", None)
        self.quant, self.dequant, self.module = QuantStub(qconfig), DeQuantStub(qconfig), module
        self.train(module.training)

    def forward(self, X: Tensor) -> Tensor:
        return self.dequant(self.module(self.quant(X)))
