"""Quantised tensors: integers with a scale and a zero point, ``value = (integer - zero_point) * scale``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtype as d
from . import functions as T
from ._names import find, find_method
from ._register import function
from ._tensor import Tensor
from .composed import Composed

__all__ = ["QuantizedTensor"]

#: What the integers of a quantised dtype are stored as, and their range.
STORED = {d.qint8: (d.int8, -128, 127), d.quint8: (d.uint8, 0, 255), d.qint32: (d.int32, -(2**31), 2**31 - 1)}


class QuantizedTensor(Composed):
    """Made by ``quantize_per_tensor`` and ``quantize_per_channel``; has no gradients.

    Operations that only move or choose elements (views, relu, max pooling, indexing, cat …), and means, keep scale and
    zero point; others are refused: :meth:`dequantize` first, or use the layers of ``torch.ao.nn.quantized``.
    """

    _scale: Any
    _zero: Any
    _axis: int | None
    _type: Any
    is_quantized = True

    def __new__(cls, *args: Any, **kwargs: Any) -> QuantizedTensor:
        raise TypeError("make quantised tensors with torch.quantize_per_tensor or torch.quantize_per_channel")

    @staticmethod
    def _make(integers: Tensor, scale: Any, zero: Any, axis: int | None, kind: Any) -> QuantizedTensor:
        t = object.__new__(QuantizedTensor)
        t._carrier, t._scale, t._zero, t._axis, t._type, t._size = integers, scale, zero, axis, kind, integers.shape
        return t

    def _with(self, carrier: Tensor) -> QuantizedTensor:
        return QuantizedTensor._make(carrier, self._scale, self._zero, self._axis, self._type)

    def _moved(self, where: Any) -> QuantizedTensor:
        scale, zero = (x.to(where) if isinstance(x, Tensor) else x for x in (self._scale, self._zero))
        return QuantizedTensor._make(self._carrier, scale, zero, self._axis, self._type)

    def _same_structure(self, other: Any) -> bool:
        return self._axis is None and other._axis is None and self._scale is other._scale and self._zero is other._zero

    def _take_structure(self, other: Any) -> None:
        self._scale, self._zero, self._axis, self._size = other._scale, other._zero, other._axis, other._size

    def _flatten(self) -> tuple[tuple, Any]:
        return (self._carrier, self._scale, self._zero), (self._axis, self._type)

    @classmethod
    def _unflatten(cls, told: Any, children: Any) -> QuantizedTensor:
        carrier, scale, zero = children
        t = object.__new__(QuantizedTensor)
        t._carrier, t._scale, t._zero = carrier, scale, zero
        t._axis, t._type = told
        t._size = getattr(carrier, "shape", ())
        return t

    dtype = property(lambda self: self._type)
    layout = property(lambda self: d.strided)
    _kind = property(lambda self: f"quantised {self._type}")

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return QuantizedTensor._make, (self._carrier, self._scale, self._zero, self._axis, self._type)

    def __deepcopy__(self, memo: dict) -> QuantizedTensor:
        return self._with(self._carrier.clone())

    def _params(self) -> tuple[Any, Any]:
        """Scale and zero point in shapes that broadcast."""
        if self._axis is None:
            return self._scale, self._zero
        shape = [-1 if k == self._axis else 1 for k in range(self.dim())]
        return self._scale.reshape(shape), self._zero.reshape(shape)

    def dequantize(self) -> Tensor:
        """The values as float32."""
        scale, zero = self._params()
        whole = self._carrier.to(d.float32 if self._type is not d.qint32 else d.float64)
        return ((whole - zero) * scale).to(d.float32)

    def int_repr(self) -> Tensor:
        """The integers: int8, uint8 or int32."""
        return self._carrier.clone()

    def _only(self, name: str, per_channel: bool) -> None:
        if (self._axis is not None) != per_channel:
            wanted = "per_channel" if per_channel else "per_tensor"
            raise RuntimeError(f"{name}: expected a {wanted} quantised tensor, got one with {self.qscheme()}")

    def q_scale(self) -> float:
        """The scale."""
        self._only("q_scale", False)
        return float(self._scale)

    def q_zero_point(self) -> int:
        """The zero point."""
        self._only("q_zero_point", False)
        return int(self._zero)

    def q_per_channel_scales(self) -> Tensor:
        """A scale for each index of :meth:`q_per_channel_axis`."""
        self._only("q_per_channel_scales", True)
        return self._scale.to(d.float64)

    def q_per_channel_zero_points(self) -> Tensor:
        """A zero point for each index of :meth:`q_per_channel_axis`."""
        self._only("q_per_channel_zero_points", True)
        return self._zero.to(d.int64)

    def q_per_channel_axis(self) -> int:
        """The dimension whose indices have scales of their own."""
        self._only("q_per_channel_axis", True)
        return self._axis  # type: ignore[return-value]

    def qscheme(self) -> Any:
        """``torch.per_tensor_affine`` or ``torch.per_channel_affine``."""
        return d.per_tensor_affine if self._axis is None else d.per_channel_affine

    def to_dense(self, *args: Any, **kwargs: Any) -> Tensor:
        """The values as float32."""
        return self.dequantize()

    def contiguous(self, memory_format: Any = None) -> QuantizedTensor:
        """The tensor itself."""
        return self

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """True: XLA chooses layouts."""
        return True

    def __repr__(self, **kwargs: Any) -> str:
        inside = repr(self.dequantize())[: -1]
        told = (f"scale={float(self._scale)}, zero_point={int(self._zero)}" if self._axis is None else
                f"scale={self._scale}, zero_point={self._zero}, axis={self._axis}")  # fmt: skip
        return (f"{inside}, size={tuple(self.shape)}, dtype={self._type},\n       "
                f"quantization_scheme={self.qscheme()}, {told})")  # fmt: skip

    def __getitem__(self, index: Any) -> Any:
        self._only("indexing", False)
        return self._with(self._carrier[index])


def _requantize(values: Tensor, like: QuantizedTensor) -> QuantizedTensor:
    scale, zero = like._params()
    return QuantizedTensor._make(_integers(values, scale, zero, like._type), like._scale, like._zero, like._axis,
                                 like._type)  # fmt: skip


def _integers(values: Tensor, scale: Any, zero: Any, kind: Any) -> Tensor:
    stored, low, high = STORED[kind]
    inverse = 1.0 / scale
    if kind is d.qint32:
        return ((values.to(d.float64) * inverse).round() + zero).clamp(low, high).to(stored)
    return ((values * inverse).round() + zero).clamp(low, high).to(stored)


#: Operators after which the integers mean the same: computed on the values, and rounded again.
_KEEP = """relu relu6 hardtanh clamp max_pool1d max_pool2d max_pool3d avg_pool2d avg_pool3d adaptive_avg_pool2d
    adaptive_avg_pool3d mean interpolate upsample leaky_relu flatten view reshape permute transpose t squeeze unsqueeze
    select narrow slice expand flip repeat cat stack chunk split unbind pad channel_shuffle pixel_shuffle
    threshold dropout amax amin max min sort topk clone"""


def _found(value: Any) -> QuantizedTensor | None:
    parts = value if isinstance(value, (list, tuple)) else (value,)
    return next((p for p in parts if isinstance(p, QuantizedTensor)), None)


def _values(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return type(x)(_values(i) for i in x)
    return x.dequantize() if isinstance(x, QuantizedTensor) else x


def _again(result: Any, like: QuantizedTensor) -> Any:
    if isinstance(result, (list, tuple)):
        parts = [_again(r, like) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return _requantize(result, like) if isinstance(result, Tensor) and result.dtype is d.float32 else result


def _keeping(name: str) -> Callable[..., Any]:
    def handler(*args: Any, **kwargs: Any) -> Any:
        like = next(f for f in map(_found, (*args, *kwargs.values())) if f is not None)
        if like._axis is not None:
            raise NotImplementedError(f"{name}: not implemented for tensors that are quantised per channel")
        fn = find("torch", name) or find("nn.functional", name) or find_method(name)
        return _again(fn(*map(_values, args), **{k: _values(v) for k, v in kwargs.items()}), like)

    handler.__name__ = name
    return handler


for _name in _KEEP.split():
    QuantizedTensor._handlers[_name] = _keeping(_name)
    if find_method(_name) is not None and _name not in ("clone", "max", "min", "clamp"):
        setattr(QuantizedTensor, _name, _keeping(_name))


def _equal(input: Any, other: Any) -> bool:
    same = isinstance(input, QuantizedTensor) and isinstance(other, QuantizedTensor) and input._type is other._type
    return same and bool(T.equal(input._carrier, other._carrier)) and np.allclose(
        np.asarray(input._scale), np.asarray(other._scale))  # fmt: skip


QuantizedTensor._handlers["equal"] = _equal


def _check(kind: Any, name: str) -> None:
    if kind not in STORED:
        raise RuntimeError(f"{name}: expected a quantised dtype (torch.qint8, torch.quint8, torch.qint32), got {kind}")


@function
def quantize_per_tensor(input: Any, scale: float | Tensor, zero_point: int | Tensor, dtype: Any) -> Any:
    """``clamp(round(input / scale) + zero_point)`` as integers of a quantised dtype that remember both.

    input: float32, or a list of tensors with ``scale`` and ``zero_point`` of as many elements.
    """
    _check(dtype, "quantize_per_tensor")
    if isinstance(input, (list, tuple)):
        return type(input)(quantize_per_tensor(x, scale[i], zero_point[i], dtype) for i, x in enumerate(input))  # type: ignore[index]
    if input.dtype is not d.float32:
        raise RuntimeError(f"Quantize only works on Float Tensor, got {input.dtype._c10}")
    scale, zero_point = (x.reshape(()) if isinstance(x, Tensor) else x for x in (scale, zero_point))
    return QuantizedTensor._make(_integers(input.detach(), scale, zero_point, dtype), scale, zero_point, None, dtype)


@function
def quantize_per_channel(input: Tensor, scales: Tensor, zero_points: Tensor, axis: int, dtype: Any) -> QuantizedTensor:
    """As :func:`quantize_per_tensor`, with a scale and a zero point for each index of dimension ``axis``."""
    _check(dtype, "quantize_per_channel")
    if not 0 <= axis < input.dim() or scales.numel() != input.size(axis):
        raise RuntimeError(f"quantize_per_channel: {scales.numel()} scales for dimension {axis} of a tensor of shape "
                           f"{tuple(input.shape)}")  # fmt: skip
    shape = [-1 if k == axis else 1 for k in range(input.dim())]
    scales = scales.to(d.float32)
    whole = _integers(input.detach(), scales.reshape(shape), zero_points.reshape(shape), dtype)
    return QuantizedTensor._make(whole, scales, zero_points, axis, dtype)


def choose_params(low: Tensor, high: Tensor, least: int, most: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point so that [low, high] and 0 are among the integers of [least, most]; 0-dim tensors."""
    low, high = low.clamp(max=0).to(d.float64), high.clamp(min=0).to(d.float64)
    scale = (high - low) / (most - least)
    scale = T.where(scale == 0, 0.1, scale).to(d.float32)
    from_low, from_high = least - low / scale, most - high / scale
    near = abs(least) + (low / scale).abs() < abs(most) + (high / scale).abs()
    zero = T.where(near, from_low, from_high).round().clamp(least, most)
    return scale, zero.to(d.int64)


@function
def quantize_per_tensor_dynamic(input: Tensor, dtype: Any, reduce_range: bool) -> QuantizedTensor:
    """Quantised so that all values of the tensor are in range; ``reduce_range``: with one bit less."""
    _check(dtype, "quantize_per_tensor_dynamic")
    _, least, most = STORED[dtype]
    if reduce_range:
        least, most = least // 2, most // 2
    scale, zero = choose_params(input.detach().min(), input.detach().max(), least, most)
    return quantize_per_tensor(input, scale, zero, dtype)


@function(method=True)
def dequantize(input: Any) -> Any:
    """The values of quantised tensors (one, or several in a sequence) as float32."""
    if isinstance(input, (list, tuple)):
        return type(input)(dequantize(x) for x in input)
    return input.dequantize() if isinstance(input, QuantizedTensor) else input.to(d.float32)

@function
def int_repr(input: QuantizedTensor) -> Tensor:
    """The integers of a quantised tensor."""
    return input.int_repr()
