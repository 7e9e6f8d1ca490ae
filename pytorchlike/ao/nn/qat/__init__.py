"""Layers that round their weights while they are trained (``torch.ao.nn.qat``)."""

from __future__ import annotations

from typing import Any

from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvBn2d", "ConvBnReLU2d", "ConvReLU2d", "Embedding", "Linear", "LinearReLU"]


def _become(cls: type, mod: nn.Module, **extra: Any) -> Any:
    """``mod``'s parameters and settings as an instance of another class, with a fake quantiser of the weight."""
    if getattr(mod, "qconfig", None) is None:
        raise AssertionError("Input float module must have a valid qconfig")
    made = cls.__new__(cls)
    nn.Module.__init__(made)
    for name, value in vars(mod).items():
        if name not in vars(made) and name not in mod._parameters:  # a missing bias is an attribute, too
            setattr(made, name, value)
    for name, parameter in mod._parameters.items():
        made.register_parameter(name, parameter)
    made.training, made.qconfig = mod.training, mod.qconfig
    for name, value in extra.items():
        setattr(made, name, value)
    made.weight_fake_quant = mod.qconfig.weight()
    return made


class Linear(nn.Linear):
    """A linear layer."""

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Any:
        """Of an ordinary layer (or one with its ReLU), which shares its parameters."""
        if isinstance(mod, nn.Sequential):
            mod[0].qconfig = mod.qconfig
            mod = mod[0]
        return _become(cls, mod)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight_fake_quant(self.weight), self.bias)


class LinearReLU(Linear):
    """A linear layer and ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class Embedding(nn.Embedding):
    """An embedding."""

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Any:
        """Of an ordinary layer."""
        return _become(cls, mod)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight_fake_quant(self.weight), self.padding_idx, self.max_norm, self.norm_type,
                           self.scale_grad_by_freq, self.sparse)  # fmt: skip


class _Conv:
    """A convolution."""

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """Of an ordinary layer, or of a fused one, whose parts are shared."""
        if not isinstance(mod, nn.Sequential):
            return _become(cls, mod)
        mod[0].qconfig = mod.qconfig
        bn = next((m for m in mod if isinstance(m, nn.modules.batchnorm._BatchNorm)), None)
        return _become(cls, mod[0], **({"bn": bn} if bn is not None else {}))

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight_fake_quant(self.weight), self.bias)  # type: ignore[attr-defined]


class Conv1d(_Conv, nn.Conv1d):
    """A convolution."""


class Conv2d(_Conv, nn.Conv2d):
    """A convolution."""


class Conv3d(_Conv, nn.Conv3d):
    """A convolution."""


class ConvReLU2d(Conv2d):
    """A convolution and ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class ConvBn2d(Conv2d):
    """A convolution and batch norm, whose running scale is in the weights when these are rounded.

    Source: Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2.
    """

    freeze_bn = False

    def freeze_bn_stats(self) -> ConvBn2d:
        """Go on with the running statistics as they are, while the rest is trained."""
        self.freeze_bn, self.bn.training = True, False
        return self

    def update_bn_stats(self) -> ConvBn2d:
        """Follow the batches' statistics again."""
        self.freeze_bn, self.bn.training = False, True
        return self

    def train(self, mode: bool = True) -> ConvBn2d:
        """As of any module, but that frozen statistics stay so."""
        super().train(mode)
        self.bn.training = mode and not self.freeze_bn
        return self

    def forward(self, input: Tensor) -> Tensor:
        scale = self.bn.weight / (self.bn.running_var + self.bn.eps).sqrt()
        lift = (-1,) + (1,) * (self.weight.dim() - 1)
        weight = self.weight_fake_quant(self.weight * scale.reshape(lift))
        found = self._conv_forward(input, weight, None) / scale.reshape(1, *lift[:-1])
        if self.bias is not None:
            found = found + self.bias.reshape(1, *lift[:-1])
        return self.bn(found)


class ConvBnReLU2d(ConvBn2d):
    """A convolution, batch norm and ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))
