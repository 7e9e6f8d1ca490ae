"""Shapes and dtypes of what nodes compute (``torch.fx.passes.shape_prop``)."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...tensor import Tensor
from ..interpreter import Interpreter
from ..node import Node, mapped

__all__ = ["ShapeProp", "TensorMetadata"]


class TensorMetadata(NamedTuple):
    """What is known of a tensor without its values."""

    shape: Any
    dtype: Any
    requires_grad: bool
    stride: tuple[int, ...]
    memory_format: Any = None
    is_quantized: bool = False
    qparams: dict[str, Any] = {}


class ShapeProp(Interpreter):
    """Runs a graph once and notes ``meta["tensor_meta"]`` and ``meta["type"]`` of each node."""

    def run_node(self, n: Node) -> Any:
        """As of an Interpreter."""
        result = super().run_node(n)
        found = mapped(result, lambda x: TensorMetadata(x.shape, x.dtype, x.requires_grad, tuple(x.stride()))
                              if isinstance(x, Tensor) else None)  # fmt: skip
        several = isinstance(found, (tuple, list)) and any(f is not None for f in found)
        if isinstance(found, TensorMetadata) or several:
            n.meta["tensor_meta"] = found
        n.meta["type"] = type(result)
        return result

    def propagate(self, *args: Any) -> Any:
        """Run with these arguments."""
        return self.run(*args)
