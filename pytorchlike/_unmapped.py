"""Classes that programs test values against or annotate with, though no value here is ever one."""

from __future__ import annotations

import enum
from typing import Any, NoReturn

__all__ = [
    "DeviceObjType", "Graph", "Node", "ScriptObject", "SymBool", "SymFloat", "SymInt", "Tag", "TensorType", "Value",
]  # fmt: skip


class _Never:
    """A class without instances."""

    _why = "sizes and numbers are Python's own here"

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"cannot create 'torch.{cls.__name__}' instances: {cls._why}")


class SymInt(_Never):
    """A symbolic int; nothing is one."""


class SymFloat(_Never):
    """A symbolic float; nothing is one."""


class SymBool(_Never):
    """A symbolic bool; nothing is one."""


class TensorType(_Never):
    """TorchScript's type of tensors, for annotations; tensors are of the class ``Tensor``."""

    _why = "TorchScript's types do not exist here, use torch.Tensor"


class Graph(_Never):
    """TorchScript's graphs, for annotations."""

    _why = "there is no TorchScript here"


class Node(_Never):
    """An operation of a graph of TorchScript's, for annotations."""

    _why = "there is no TorchScript here"


class ScriptObject(_Never):
    """An object of one of TorchScript's classes; nothing is one."""

    _why = "there is no TorchScript here"


class Value(_Never):
    """A value within a graph of TorchScript's, for annotations."""

    _why = "there is no TorchScript here"


class DeviceObjType(_Never):
    """TorchScript's type of devices, for annotations; devices are of the class ``device``."""

    _why = "TorchScript's types do not exist here, use torch.device"


class Tag(enum.Enum):
    """Properties of operators, as ``torch.library`` functions take them."""

    core = 0
    data_dependent_output = 1
    dynamic_output_shape = 2
    generated = 3
    inplace_view = 4
    needs_contiguous_strides = 5
    needs_exact_strides = 6
    needs_fixed_stride_order = 7
    nondeterministic_bitwise = 8
    nondeterministic_seeded = 9
    pointwise = 10
    pt2_compliant_tag = 11
    view_copy = 12
    maybe_aliasing_or_mutating = 13
    flexible_layout = 14
    cudagraph_unsafe = 15
    reduction = 16
