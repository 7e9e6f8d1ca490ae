"""Features between the layers of a model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from pytorchlike import nn

__all__ = ["create_feature_extractor", "get_graph_node_names"]


class _Extractor(nn.Module):
    def __init__(self, model: nn.Module, nodes: dict[str, str]) -> None:
        super().__init__()
        self.model, self.nodes = model, nodes

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                seen[name] = output

            return hook

        handles = [self.model.get_submodule(n).register_forward_hook(keep(n)) for n in self.nodes]
        try:
            self.model(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        return OrderedDict((new, seen[name]) for name, new in self.nodes.items())


def create_feature_extractor(
    model: nn.Module, return_nodes: Sequence[str] | Mapping[str, str] | None = None, *args: Any, **kwargs: Any
) -> nn.Module:
    """A module that returns what some layers of ``model`` return: {new name: result}.

    return_nodes: names of layers, or {name of a layer: new name}. The whole model runs.
    Raises ValueError for names that are no layers, NotImplementedError for nodes of a traced graph of each mode.
    """
    if args or kwargs:
        raise NotImplementedError(
            "create_feature_extractor finds layers by name, by forward hooks, and traces no graphs: "
            f"{sorted(kwargs) or 'train_return_nodes'} cannot be used"
        )
    if return_nodes is None:
        raise ValueError("return_nodes must be given")
    nodes = dict(return_nodes) if isinstance(return_nodes, Mapping) else {n: n for n in return_nodes}
    known = {name for name, _ in model.named_modules() if name}
    missing = [n for n in nodes if n not in known]
    if missing:
        raise ValueError(f"node {missing[0]!r} is not present in model. Its layers are: {sorted(known)}")
    return _Extractor(model, nodes)


def get_graph_node_names(model: nn.Module, *args: Any, **kwargs: Any) -> tuple[list[str], list[str]]:
    """Names that ``create_feature_extractor`` takes, for training and for evaluation: those of the layers."""
    names = [name for name, _ in model.named_modules() if name]
    return names, [*names]
