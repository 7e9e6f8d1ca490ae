"""Faster models for inference by changing their graphs (``torch.fx.experimental.optimization``)."""

from __future__ import annotations

import copy
from typing import Any

from ...nn import Module, modules
from ...nn.utils.fusion import fuse_conv_bn_eval
from ..graph_module import GraphModule
from ..tracer import symbolic_trace

__all__ = ["fuse", "remove_dropout"]


def fuse(model: Module, inplace: bool = False, no_trace: bool = False) -> Module:
    """Batch norms that follow convolutions, in eval mode, taken into the convolutions' weights."""
    if not inplace:
        model = copy.deepcopy(model)
    traced: GraphModule = model if no_trace else symbolic_trace(model)  # type: ignore[assignment]
    found = dict(traced.named_modules())
    pairs = [(modules.Conv1d, modules.BatchNorm1d), (modules.Conv2d, modules.BatchNorm2d),
             (modules.Conv3d, modules.BatchNorm3d)]  # fmt: skip
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not node.args or getattr(node.args[0], "op", "") != "call_module":
            continue
        before = node.args[0]
        conv, norm = found[before.target], found[node.target]
        if any(type(conv) is c and type(norm) is b for c, b in pairs) and len(before.users) == 1 and not norm.training:
            if not norm.track_running_stats:
                continue
            fused = fuse_conv_bn_eval(conv, norm)
            traced.add_submodule(before.target, fused)
            found[before.target] = fused
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced


def remove_dropout(model: Module) -> Module:
    """The model without its dropout layers."""
    traced = symbolic_trace(model)
    found = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and isinstance(found[node.target], _dropouts()):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced


def _dropouts() -> tuple[Any, ...]:
    return (modules.Dropout, modules.Dropout1d, modules.Dropout2d, modules.Dropout3d, modules.AlphaDropout)
