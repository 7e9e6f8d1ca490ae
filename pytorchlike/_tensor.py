"""``torch._tensor``: where annotations of some programs take the class from."""

from .tensor import Tensor as Tensor

__all__ = ["Tensor"]
