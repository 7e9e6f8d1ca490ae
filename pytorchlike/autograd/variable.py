"""The old name of tensors."""

from __future__ import annotations

from typing import Any

from ..engine.errors import warn
from ..tensor import Tensor
from .passes import queue_callback

__all__ = ["Variable", "VariableMeta"]


class _Engine:
    """What programs reach for to be called at the end of a reverse pass."""

    queue_callback = staticmethod(queue_callback)


class VariableMeta(type):
    """Tensors are instances of :class:`Variable`."""

    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, Tensor)


class Variable(metaclass=VariableMeta):
    """``Variable(tensor, requires_grad=False)`` is a tensor with that data; tensors and variables are one."""

    _execution_engine = _Engine()

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool | None = None) -> Any:
        if volatile is not None:
            warn("volatile was removed and now has no effect. Use `with torch.no_grad():` instead.")
        made = Tensor._make_subclass(Tensor, data, requires_grad) if data is not None else Tensor()
        return made
