"""A graph divided into modules (``torch.fx.passes.split_module``)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ...nn.modules.module import Module
from ..graph import Graph
from ..graph_module import GraphModule
from ..node import Node

__all__ = ["Partition", "split_module"]


class Partition:
    """One part: its nodes, what it takes and gives, and the parts that it needs, each in order of appearance."""

    def __init__(self, name: str, submod_name: str) -> None:
        self.name, self.submod_name = name, submod_name
        self.nodes: list[Node] = []
        self.inputs: dict[Node, None] = {}
        self.outputs: dict[Node, None] = {}
        self.dependencies: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"name: {self.name}, nodes: {self.nodes}, inputs: {[*self.inputs]}, outputs: {[*self.outputs]}"

    def module(self, root: Module, qualname_map: dict[str, str] | None) -> GraphModule:
        """The part as a module, whose submodules have the names of ``root`` with dots replaced."""
        graph, held, made = Graph(), {}, {}
        for n in self.inputs:
            made[n] = graph.placeholder(n.name, n.type)
            made[n].meta = dict(n.meta)
        for n in self.nodes:
            made[n] = copy = graph.node_copy(n, lambda a: made[a])
            if n.op == "call_module":
                copy.target = n.target.replace(".", "_")
                held[copy.target] = root.get_submodule(n.target)
                if qualname_map is not None:
                    qualname_map[f"{self.submod_name}.{copy.target}"] = n.target
        results = tuple([made[n] for n in self.outputs])
        graph.output(results[0] if len(results) == 1 else results)
        return GraphModule(held, graph)


def split_module(
    m: GraphModule, root_m: Module, split_callback: Callable[[Node], Any], qualname_map: dict[str, str] | None = None,
    keep_original_order: bool | None = False, keep_original_node_name: bool | None = False,
    keep_original_input_name: bool = True, *, partition_affix: str | None = None,
) -> GraphModule:  # fmt: skip
    """A module that calls ``submod_<name>`` for each name that ``split_callback`` gives to nodes of ``m``.

    root_m: where submodules and attributes are found.   qualname_map: gets the names that submodules had.
    keep_original_order: parts are called in order of appearance, not each as soon as what it needs is there.
    Arguments of the graph and attributes stay outside of the parts, which take them.
    Raises RuntimeError where parts need each other.
    """
    del keep_original_node_name, keep_original_input_name  # copies keep their names
    prefix = f"submod_{partition_affix}_" if partition_affix else "submod_"
    parts: dict[str, Partition] = {}
    home: dict[Node, Partition | None] = {}
    for n in m.graph.nodes:
        home[n] = None
        if n.op not in ("placeholder", "get_attr", "output"):
            name = str(split_callback(n))
            if name not in parts:
                parts[name] = Partition(name, prefix + name)
            home[n] = parts[name]
            parts[name].nodes.append(n)
        for needed in n.all_input_nodes:
            source, here = home[needed], home[n]
            if source is here:
                continue
            if here is not None:
                here.inputs.setdefault(needed)
            if source is not None:
                source.outputs.setdefault(needed)
                if here is not None:
                    here.dependencies.setdefault(source.name)

    graph, held, made = Graph(), {}, {}
    for n in m.graph.nodes:
        if n.op in ("placeholder", "get_attr"):
            made[n] = graph.node_copy(n)
            if n.op == "get_attr":
                held[n.target] = operator.attrgetter(n.target)(root_m)
    order = [*parts.values()] if keep_original_order else _in_order(parts)
    for part in order:
        held[part.submod_name] = part.module(root_m, qualname_map)
        if any(n not in made for n in part.inputs):
            raise RuntimeError(f"part {part.name!r} needs what a later one gives")
        call = graph.call_module(part.submod_name, tuple([made[n] for n in part.inputs]))
        if len(part.outputs) == 1:
            made[next(iter(part.outputs))] = call
        else:
            for i, n in enumerate(part.outputs):
                made[n] = graph.call_function(operator.getitem, (call, i))
    for n in m.graph.nodes:
        if n.op == "output":
            graph.node_copy(n, lambda a: made[a])
    return GraphModule(held, graph)


def _in_order(parts: dict[str, Partition]) -> list[Partition]:
    """Each after those that it needs; of several, the one that was found last, as in PyTorch."""
    waiting = {name: len(part.dependencies) for name, part in parts.items()}
    ready = [name for name, n in waiting.items() if not n]
    out = []
    while ready:
        name = ready.pop()
        out.append(parts[name])
        for other, part in parts.items():
            if name in part.dependencies:
                waiting[other] -= 1
                if not waiting[other]:
                    ready.append(other)
    if len(out) != len(parts):
        raise RuntimeError("cycle exists between partitions!")
    return out
