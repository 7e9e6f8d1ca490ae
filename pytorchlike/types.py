"""``torch.types``: names for annotations."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import IO, Any, TypeAlias

from .storage import TypedStorage, UntypedStorage
from .tensor import Size, Tensor
from .tensor.device import device
from .tensor.dtype import dtype, layout

__all__ = ["Device", "FileLike", "Number", "Storage"]

_bool: TypeAlias = builtins.bool
_dtype: TypeAlias = dtype
_device: TypeAlias = device
_int: TypeAlias = builtins.int
_float: TypeAlias = builtins.float
_complex: TypeAlias = builtins.complex
_layout: TypeAlias = layout
_qscheme: TypeAlias = Any
_size: TypeAlias = Size | list[builtins.int] | tuple[builtins.int, ...]
_symsize: TypeAlias = Size | Sequence[builtins.int]
_dispatchkey: TypeAlias = str

#: Python's numbers.
Number: TypeAlias = builtins.int | builtins.float | builtins.bool
_Number = (builtins.int, builtins.float, builtins.bool)
#: What ``device=`` takes.
Device: TypeAlias = device | str | builtins.int | None
#: What ``torch.load`` takes.
FileLike: TypeAlias = str | os.PathLike[str] | IO[bytes]


class _AnyStorage(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (TypedStorage, UntypedStorage))


class Storage(metaclass=_AnyStorage):
    """For annotations: storages of either kind are instances of it."""


IntLikeType: TypeAlias = builtins.int
FloatLikeType: TypeAlias = builtins.float
BoolLikeType: TypeAlias = builtins.bool
PySymType: TypeAlias = builtins.int | builtins.float | builtins.bool
_TensorOrTensors: TypeAlias = Tensor | Sequence[Tensor]
_TensorOrTensorsOrGradEdge: TypeAlias = Tensor | Sequence[Tensor] | Any
