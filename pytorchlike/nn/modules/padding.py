"""Padding of one, two or three axes: by a constant, reflection, repetition of the edge, or around the ring."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from .. import functional as F
from .module import Module
from .utils import _ntuple

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]


class _PadNd(Module):
    """``padding`` is one number for all sides, or (left, right, top, bottom, front, back), last axis first."""

    __constants__ = ["padding"]
    _axes: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self._axes)(padding)

    def forward(self, input: Tensor) -> Tensor:
        """The padded input, (N, C, *space) or (C, *space)."""
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def _check_input_dim(self, input: Tensor) -> None:
        n = self._axes
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")

    def forward(self, input: Tensor) -> Tensor:
        """The padded input, (N, C, *space) or (C, *space)."""
        self._check_input_dim(input)
        return F.pad(input, self.padding, "circular")


class CircularPad1d(_CircularPadNd):
    """Pads the last axis with values from its other end; at most once around."""

    _axes = 1


class CircularPad2d(_CircularPadNd):
    """Pads the last two axes with values from their other ends; at most once around."""

    _axes = 2


class CircularPad3d(_CircularPadNd):
    """Pads the last three axes with values from their other ends; at most once around."""

    _axes = 3


class _ConstantPadNd(_PadNd):
    __constants__ = ["padding", "value"]

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """The padded input, (N, C, *space) or (C, *space)."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Pads the last axis with ``value``; negative numbers cut off."""

    _axes = 1


class ConstantPad2d(_ConstantPadNd):
    """Pads the last two axes with ``value``; negative numbers cut off."""

    _axes = 2


class ConstantPad3d(_ConstantPadNd):
    """Pads the last three axes with ``value``; negative numbers cut off."""

    _axes = 3


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Pads the last axis with its mirror image, without repeating the edge."""

    _axes = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Pads the last two axes with their mirror image, without repeating the edge."""

    _axes = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Pads the last three axes with their mirror image, without repeating the edge."""

    _axes = 3


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Pads the last axis with its edge values."""

    _axes = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Pads the last two axes with their edge values."""

    _axes = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Pads the last three axes with their edge values."""

    _axes = 3


class ZeroPad1d(ConstantPad1d):
    """Pads the last axis with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Pads the last two axes with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Pads the last three axes with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"
