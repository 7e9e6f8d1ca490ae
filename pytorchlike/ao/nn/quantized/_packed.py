"""Weights as int8, with what is needed to make them numbers again."""

from __future__ import annotations

from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

__all__ = ["Packed", "weight_of"]

_SETTINGS = ("in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride", "padding",
             "dilation", "groups", "padding_mode", "num_embeddings", "embedding_dim")  # fmt: skip


def weight_of(mod: nn.Module) -> Tensor:
    """The weight of a layer as a quantised tensor: by what it was trained with, or by its qconfig's observer."""
    fake = getattr(mod, "weight_fake_quant", None)
    observer = fake if fake is not None else mod.qconfig.weight()
    weight = mod.weight.detach().to(torch.float32)
    if fake is None:
        observer(weight)
    return as_int8(weight, observer)


def as_int8(weight: Tensor, observer: Any) -> Tensor:
    """Rounded as an observer says. NotImplementedError for other dtypes than qint8 and quint8."""
    if observer.dtype not in (torch.qint8, torch.quint8):
        raise NotImplementedError(f"weights are quantised to torch.qint8, not to {observer.dtype}")
    scale, zero = observer.calculate_qparams()
    if observer.qscheme in (torch.per_channel_affine, torch.per_channel_symmetric):
        return torch.quantize_per_channel(weight, scale, zero, 0, observer.dtype)
    return torch.quantize_per_tensor(weight, scale, zero, observer.dtype)


class Packed(nn.Module):
    """Holds a weight as integers (buffers ``int_weight``, ``weight_scale``, ``weight_zero_point``) and a bias."""

    _told: dict[str, Any]

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Any:
        """Of an ordinary layer with a qconfig."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._prepare(mod)
        return made

    def _prepare(self, mod: nn.Module) -> None:
        """Take over what the layer has."""
        self._pack(mod)

    def _pack(self, mod: nn.Module) -> None:
        self._told = {k: getattr(mod, k) for k in _SETTINGS if hasattr(mod, k)}
        for name, value in self._told.items():
            setattr(self, name, value)
        self.training = False
        self._keep("", weight_of(mod))
        bias = getattr(mod, "bias", None)
        self.register_buffer("bias_", None if bias is None else bias.detach().clone())

    def _keep(self, suffix: str, weight: Tensor) -> None:
        self.register_buffer(f"int_weight{suffix}", weight.int_repr())
        self.register_buffer(f"weight_scale{suffix}", torch.as_tensor(weight._scale, dtype=torch.float32))
        self.register_buffer(f"weight_zero_point{suffix}", torch.as_tensor(weight._zero, dtype=torch.int64))
        self._axis, self._type = weight._axis, weight.dtype

    def weight(self, suffix: str = "") -> Tensor:
        """The weight, a quantised tensor."""
        from pytorchlike.tensor.quantized import QuantizedTensor

        its = (getattr(self, name + suffix) for name in ("int_weight", "weight_scale", "weight_zero_point"))
        return QuantizedTensor._make(*its, self._axis, self._type)

    def bias(self) -> Tensor | None:
        """The bias, float32, or None."""
        return self.bias_

    def _get_name(self) -> str:
        return "Dynamic" * type(self).__module__.endswith("dynamic") + f"Quantized{type(self).__name__}"

    def extra_repr(self) -> str:
        sizes = [f"{k}={v}" for k, v in self._told.items() if k != "padding_mode"]
        return ", ".join([*sizes, *self._result(), f"qscheme={self.weight().qscheme()}"])

    def _result(self) -> list[str]:
        """What is told of a layer's results, or of its weight where these are not quantised."""
        return [f"dtype={self._type}"]
