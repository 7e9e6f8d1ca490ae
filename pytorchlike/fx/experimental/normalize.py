"""Graphs whose calls name their arguments (``torch.fx.experimental.normalize``)."""

from __future__ import annotations

from typing import Any

from ..graph_module import GraphModule
from ..interpreter import Transformer
from ..operator_schemas import normalize_function, normalize_module

__all__ = ["NormalizeArgs"]


class NormalizeArgs(Transformer):
    """``NormalizeArgs(traced).transform()``: the same graph, its calls of functions and modules by name."""

    def __init__(
        self, module: GraphModule, normalize_to_only_use_kwargs: bool = True, normalize_functionals: bool = True
    ) -> None:
        super().__init__(module)
        self.only_kwargs, self.functions = normalize_to_only_use_kwargs, normalize_functionals

    def call_function(self, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """As of a Transformer."""
        told = normalize_function(target, args, kwargs, None, None, self.only_kwargs, False) if self.functions else None
        return super().call_function(target, *(told or (args, kwargs)))

    def call_module(self, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """As of a Transformer."""
        told = normalize_module(self.module, target, args, kwargs, self.only_kwargs, False)
        return super().call_module(target, *(told or (args, kwargs)))
