"""Layers on quantised tensors (``torch.ao.nn.quantized``): int8 weights, results rounded to a scale that is known.

They keep their weights as integers and compute with the values that these stand for, in float32; results are rounded
as PyTorch rounds them. Settings and scales are in the state_dict, in this package's layout.
"""

from __future__ import annotations

from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from .. import intrinsic, qat
from . import dynamic as dynamic
from ._packed import Packed

__all__ = ["BatchNorm2d", "BatchNorm3d", "Conv1d", "Conv2d", "Conv3d", "ConvReLU2d", "DeQuantize", "Embedding",
           "FXFloatFunctional", "FloatFunctional", "Linear", "LinearReLU", "QFunctional", "Quantize"]  # fmt: skip


class Quantize(nn.Module):
    """Rounds a float tensor to a scale and zero point."""

    def __init__(self, scale: Any, zero_point: Any, dtype: Any) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32).reshape(-1))
        self.register_buffer("zero_point", torch.as_tensor(zero_point, dtype=torch.int64).reshape(-1))
        self.dtype = dtype

    def forward(self, X: Tensor) -> Tensor:
        return torch.quantize_per_tensor(X, self.scale, self.zero_point, self.dtype)

    @staticmethod
    def from_float(mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Quantize:
        """Of a QuantStub that has observed."""
        scale, zero = mod.activation_post_process.calculate_qparams()
        return Quantize(scale, zero, mod.activation_post_process.dtype)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, zero_point={self.zero_point}, dtype={self.dtype}"


class DeQuantize(nn.Module):
    """The values of a quantised tensor as float32."""

    def forward(self, Xq: Tensor) -> Tensor:
        return Xq.dequantize()

    @staticmethod
    def from_float(mod: nn.Module, use_precomputed_fake_quant: bool = False) -> DeQuantize:
        """Of a DeQuantStub."""
        return DeQuantize()


class _Static(Packed):
    """A layer whose result has a scale and a zero point."""

    _relu = False

    def _prepare(self, mod: nn.Module) -> None:
        self._pack(mod)
        its = getattr(mod, "activation_post_process", None)
        scale, zero = (torch.ones(1), torch.zeros(1, dtype=torch.int64)) if its is None else its.calculate_qparams()
        self.register_buffer("scale", scale.reshape(-1)[:1].to(torch.float32))
        self.register_buffer("zero_point", zero.reshape(-1)[:1].to(torch.int64))

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Any:
        """Of a layer that has observed its results (and its weight, if it was trained with rounding)."""
        after = getattr(mod, "activation_post_process", None)
        if isinstance(mod, nn.Sequential):
            mod[0].qconfig = mod.qconfig
            mod = mod[0]
            mod.activation_post_process = after
        if isinstance(mod, qat.ConvBn2d):
            folded = nn.utils.fusion.fuse_conv_bn_weights(mod.weight, mod.bias, mod.bn.running_mean, mod.bn.running_var,
                                                          mod.bn.eps, mod.bn.weight, mod.bn.bias)  # fmt: skip
            mod.weight, mod.bias = folded
        return super().from_float(mod)

    def forward(self, input: Tensor) -> Tensor:
        if not getattr(input, "is_quantized", False):
            raise RuntimeError(f"{type(self).__name__}: expected a quantised tensor; put a QuantStub in front of the "
                               "model before it is prepared")  # fmt: skip
        found = self._compute(input.dequantize())
        return torch.quantize_per_tensor(F.relu(found) if self._relu else found, self.scale, self.zero_point,
                                         torch.quint8)  # fmt: skip

    def _result(self) -> list[str]:
        return [f"scale={self.scale.item()}", f"zero_point={self.zero_point.item()}"]


class Linear(_Static):
    """A linear layer: (N, *, in) -> (N, *, out)."""

    _float = nn.Linear

    def _compute(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight().dequantize(), self.bias())


class LinearReLU(Linear):
    """A linear layer and ReLU."""

    _relu = True


class Embedding(Packed):
    """An embedding of int8 rows; results are float32."""

    def forward(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.weight().dequantize())


class _Conv(_Static):
    def _compute(self, x: Tensor) -> Tensor:
        told = self._told
        conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(told["kernel_size"])]
        padding = told["padding"]
        if told.get("padding_mode", "zeros") != "zeros":
            x = F.pad(x, [p for q in reversed(padding) for p in (q, q)], mode=told["padding_mode"])
            padding = 0
        return conv(x, self.weight().dequantize(), self.bias(), told["stride"], padding, told["dilation"],
                    told["groups"])  # fmt: skip

    def extra_repr(self) -> str:
        told, dims = self._told, len(self._told["kernel_size"])
        usual = {"padding": (0,) * dims, "dilation": (1,) * dims, "groups": 1}
        return ", ".join([
            str(told["in_channels"]), str(told["out_channels"]), f"kernel_size={told['kernel_size']}",
            f"stride={told['stride']}", *self._result(),
            *(f"{name}={told[name]}" for name, value in usual.items() if told[name] != value),
            *(["bias=False"] if self.bias() is None else []),
        ])  # fmt: skip


class Conv1d(_Conv):
    """A convolution."""


class Conv2d(_Conv):
    """A convolution."""


class Conv3d(_Conv):
    """A convolution."""


class ConvReLU2d(Conv2d):
    """A convolution and ReLU."""

    _relu = True


class _ConvReLU1d(Conv1d):
    _relu = True


class _ConvReLU3d(Conv3d):
    _relu = True


class _Norm(nn.Module):
    """A batch norm by its running statistics, whose result has a scale and a zero point."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, device: Any = None,
                 dtype: Any = None) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, device=device, dtype=dtype)  # type: ignore[call-arg]
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("zero_point", torch.zeros(1, dtype=torch.int64))

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Any:
        """Of a batch norm that has observed its results."""
        scale, zero = mod.activation_post_process.calculate_qparams()
        made = cls(mod.num_features, mod.eps)
        for name in ("weight", "bias", "running_mean", "running_var"):
            setattr(made, name, getattr(mod, name))
        made.scale, made.zero_point = scale.reshape(-1).to(torch.float32), zero.reshape(-1).to(torch.int64)
        return made

    def forward(self, input: Tensor) -> Tensor:
        if not getattr(input, "is_quantized", False):
            raise RuntimeError(f"{type(self).__name__}: expected a quantised tensor; put a QuantStub in front of the "
                               "model before it is prepared")  # fmt: skip
        found = F.batch_norm(input.dequantize(), self.running_mean, self.running_var, self.weight, self.bias, False,
                             0.0, self.eps)  # fmt: skip
        return torch.quantize_per_tensor(found, self.scale, self.zero_point, input.dtype)

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"


class BatchNorm2d(_Norm, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` in evaluation."""


class BatchNorm3d(_Norm, nn.BatchNorm3d):
    """``nn.BatchNorm3d`` in evaluation."""


class FloatFunctional(nn.Module):
    """Sums, products and concatenations whose results are observed. Not called itself."""

    def __init__(self) -> None:
        super().__init__()
        self.activation_post_process = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("FloatFunctional is not intended to use the 'forward'. Please use the underlying operation")

    def _after(self, found: Tensor) -> Tensor:
        return self.activation_post_process(found)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """``x + y``."""
        return self._after(torch.add(x, y))

    def add_scalar(self, x: Tensor, y: float) -> Tensor:
        """``x + y``, not observed."""
        return torch.add(x, y)

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x * y``."""
        return self._after(torch.mul(x, y))

    def mul_scalar(self, x: Tensor, y: float) -> Tensor:
        """``x * y``, not observed."""
        return torch.mul(x, y)

    def cat(self, x: list[Tensor], dim: int = 0) -> Tensor:
        """As ``torch.cat``."""
        return self._after(torch.cat(x, dim))

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        """``relu(x + y)``."""
        return self._after(F.relu(torch.add(x, y)))

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x @ y``."""
        return self._after(torch.matmul(x, y))


class FXFloatFunctional(FloatFunctional):
    """The same without an observer."""

    def _after(self, found: Tensor) -> Tensor:
        return found


class QFunctional(FloatFunctional):
    """The same on quantised tensors; results have the scale and zero point that were observed."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("zero_point", torch.zeros(1, dtype=torch.int64))

    @classmethod
    def from_float(cls, mod: FloatFunctional, use_precomputed_fake_quant: bool = False) -> QFunctional:
        """Of a FloatFunctional that has observed."""
        scale, zero = mod.activation_post_process.calculate_qparams()
        made = cls()
        made.scale, made.zero_point = scale.reshape(-1).to(torch.float32), zero.reshape(-1).to(torch.int64)
        return made

    def extra_repr(self) -> str:
        return f"scale={self.scale.item()}, zero_point={self.zero_point.item()}"

    def _round(self, found: Tensor) -> Tensor:
        return torch.quantize_per_tensor(found, self.scale, self.zero_point, torch.quint8)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """``x + y``."""
        return self._round(x.dequantize() + y.dequantize())

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x * y``."""
        return self._round(x.dequantize() * y.dequantize())

    def cat(self, x: list[Tensor], dim: int = 0) -> Tensor:
        """As ``torch.cat``."""
        return self._round(torch.cat([i.dequantize() for i in x], dim))

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        """``relu(x + y)``."""
        return self._round(F.relu(x.dequantize() + y.dequantize()))

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x @ y``."""
        return self._round(x.dequantize() @ y.dequantize())

    def add_scalar(self, x: Tensor, y: float) -> Tensor:
        """``x + y``: the same integers, and another zero point where y is a multiple of the scale."""
        return torch.quantize_per_tensor(x.dequantize() + y, x._scale, x._zero - round(y / x.q_scale()), x.dtype)

    def mul_scalar(self, x: Tensor, y: float) -> Tensor:
        """``x * y``: the same integers, and another scale. NotImplementedError unless y is positive."""
        if y <= 0:
            raise NotImplementedError("QFunctional.mul_scalar: only positive numbers keep the order of the integers")
        return torch.quantize_per_tensor(x.dequantize() * y, x._scale * y, x._zero, x.dtype)


#: What :func:`torch.ao.quantization.convert` puts in place of each class.
STATIC = {
    nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d,
    nn.Linear: Linear, nn.Conv1d: Conv1d, nn.Conv2d: Conv2d, nn.Conv3d: Conv3d, nn.Embedding: Embedding,
    intrinsic.LinearReLU: LinearReLU, intrinsic.ConvReLU1d: _ConvReLU1d, intrinsic.ConvReLU2d: ConvReLU2d,
    intrinsic.ConvReLU3d: _ConvReLU3d, qat.Linear: Linear, qat.LinearReLU: LinearReLU, qat.Conv1d: Conv1d,
    qat.Conv2d: Conv2d, qat.Conv3d: Conv3d, qat.ConvReLU2d: ConvReLU2d, qat.ConvBn2d: Conv2d,
    qat.ConvBnReLU2d: ConvReLU2d, qat.Embedding: Embedding, FloatFunctional: QFunctional,
}  # fmt: skip
