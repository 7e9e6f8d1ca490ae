"""Layers with int8 weights whose inputs are rounded by the range that they have (``torch.ao.nn.quantized.dynamic``)."""

from __future__ import annotations

from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from .._packed import Packed, as_int8

__all__ = ["GRU", "LSTM", "GRUCell", "LSTMCell", "Linear", "RNNCell"]


class Linear(Packed):
    """A linear layer. Inputs are rounded to 7 bits over their range, as PyTorch's x86 kernels do; float32 results."""

    def forward(self, x: Tensor) -> Tensor:
        rounded = torch.quantize_per_tensor_dynamic(x.to(torch.float32), torch.quint8, True).dequantize()
        return F.linear(rounded, self.weight().dequantize(), self.bias()).to(x.dtype)


class _Recurrent(Packed):
    """Weights as int8; inputs and states stay float32, so that results are closer to the float layer's."""

    _float: type[nn.Module]

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Any:
        """Of an ordinary layer with a qconfig."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._told, made.training = {}, False
        shell = mod.__class__.__new__(mod.__class__)  # the settings and methods of the layer, without its weights
        nn.Module.__init__(shell)
        shell.__dict__.update({k: v for k, v in vars(mod).items() if k not in ("_parameters", "_modules", "qconfig")
                               and not isinstance(v, (Tensor, nn.Module))})  # fmt: skip
        object.__setattr__(made, "_shell", shell)
        made._names = []
        for name, value in mod.named_parameters():
            made._names.append(name)
            if name.startswith("weight"):
                observer = mod.qconfig.weight()
                observer(value.detach())
                made._keep(f"_{name}", as_int8(value.detach(), observer))
            else:
                made.register_buffer(name, value.detach().clone())
        return made

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        found = {n: self.weight(f"_{n}").dequantize() if n.startswith("weight") else getattr(self, n)
                 for n in self._names}  # fmt: skip
        self._shell.__dict__.update(found)
        try:
            return self._shell.forward(*args, **kwargs)
        finally:
            for name in self._names:
                self._shell.__dict__.pop(name, None)

    def extra_repr(self) -> str:
        return self._shell.extra_repr()


class LSTM(_Recurrent):
    """An LSTM."""

    _float = nn.LSTM


class GRU(_Recurrent):
    """A GRU."""

    _float = nn.GRU


class LSTMCell(_Recurrent):
    """One step of an LSTM."""

    _float = nn.LSTMCell


class GRUCell(_Recurrent):
    """One step of a GRU."""

    _float = nn.GRUCell


class RNNCell(_Recurrent):
    """One step of a recurrent network."""

    _float = nn.RNNCell


DYNAMIC = {nn.Linear: Linear, nn.LSTM: LSTM, nn.GRU: GRU, nn.LSTMCell: LSTMCell, nn.GRUCell: GRUCell,
           nn.RNNCell: RNNCell}  # fmt: skip
