"""Modules whose forward is written from a graph (``torch.fx.graph_module``)."""

from __future__ import annotations

import copy
import linecache
from typing import Any

from ..nn.modules.module import Module
from ..tensor import Tensor
from .graph import Graph, refuse_remarks

__all__ = ["GraphModule"]

_counter = [0]


def _copy_attribute(source: Any, target: Module, path: str) -> None:
    """Give ``target`` what ``source`` has under a qualified name, with empty modules in between."""
    *owners, name = path.split(".")
    for part in owners:
        source = getattr(source, part)
        if not isinstance(getattr(target, part, None), Module):
            target.add_module(part, Module())
        target = getattr(target, part)
    found = getattr(source, name)
    if isinstance(found, Tensor) and not isinstance(found, Module) and name not in getattr(source, "_parameters", {}):
        target.register_buffer(name, found)
    else:
        setattr(target, name, found)


class GraphModule(Module):
    """A module made of a graph.

    root: a module, of which the submodules and attributes that the graph names are taken (not copied), or a dict from
    qualified names to them.   graph: copied nowhere; assigning another one, or :meth:`recompile`, writes the code anew.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> GraphModule:
        # Libraries know such classes by this name.
        told = {"__module__": __name__, "__qualname__": "GraphModule.__new__.<locals>.GraphModuleImpl"}
        own = type(cls.__name__, (cls,), told) if cls.__dict__.get("_own") is None else cls
        own._own = True  # each has a forward of its own
        return Module.__new__(own)

    def __init__(self, root: Module | dict[str, Any], graph: Graph, class_name: str = "GraphModule") -> None:
        super().__init__()
        type(self).__name__ = class_name
        if isinstance(root, Module):
            if hasattr(root, "training"):
                self.training = root.training
            for node in graph.nodes:
                if node.op in ("get_attr", "call_module"):
                    _copy_attribute(root, self, node.target)
        elif isinstance(root, dict):
            for node in graph.nodes:
                if node.op in ("get_attr", "call_module") and node.target not in root:
                    raise RuntimeError(f"Node {node} referenced target {node.target} but that target was not provided "
                                       "in ``root``!")  # fmt: skip
            for path in sorted(root, key=lambda p: p.count(".")):
                self._assign(path, root[path])
        else:
            raise RuntimeError(f"Unsupported type {root} passed for root!")
        self.meta: dict[str, Any] = {}
        self.graph = graph

    def _assign(self, path: str, value: Any) -> None:
        *owners, name = path.split(".")
        place: Module = self
        for part in owners:
            if not isinstance(getattr(place, part, None), Module):
                place.add_module(part, Module())
            place = getattr(place, part)
        if isinstance(value, Tensor) and not isinstance(value, _parameter()):
            place.register_buffer(name, value)
        else:
            setattr(place, name, value)

    @property
    def graph(self) -> Graph:
        """The graph; changes of it have an effect after :meth:`recompile`."""
        return self._graph

    @graph.setter
    def graph(self, g: Graph) -> None:
        if not isinstance(g, Graph):
            raise AssertionError(f"Expected a Graph instance, but got {type(g)}")
        self._graph = g
        g.owning_module = self
        self.recompile()

    def recompile(self) -> Any:
        """Write ``forward`` from the graph; returns the code."""
        found = self._graph.python_code("self")
        self._code = found.src
        _counter[0] += 1
        file = f"<eval_with_key>.{_counter[0]}"
        linecache.cache[file] = (len(found.src), None, found.src.splitlines(True), file)
        scope = dict(found.globals)
        exec(compile(found.src, file, "exec"), scope)
        type(self).forward = scope["forward"]
        return found

    @property
    def code(self) -> str:
        """The source of ``forward``."""
        if not hasattr(self, "_code"):
            raise RuntimeError("Code has not been generated! Please report a bug to PyTorch")
        return self._code

    def print_readable(self, print_output: bool = True, include_stride: bool = False, include_device: bool = False,
                       colored: bool = False) -> str:  # fmt: skip
        """The source within a class statement; printed unless told otherwise. NotImplementedError for remarks in it."""
        refuse_remarks(include_stride=include_stride, include_device=include_device, colored=colored)
        inside = "".join(f"    {line}\n" for line in self.code.strip().splitlines())
        text = f"class {type(self).__name__}(torch.nn.Module):\n{inside}"
        if print_output:
            print(text)
        return text

    def add_submodule(self, target: str, m: Module) -> bool:
        """Put a module under a qualified name; False if something else is in the way."""
        *owners, _ = target.split(".")
        place: Module = self
        for part in owners:
            found = getattr(place, part, None)
            if found is not None and not isinstance(found, Module):
                return False
            if found is None:
                place.add_module(part, Module())
            place = getattr(place, part)
        place.add_module(target.rpartition(".")[2], m)
        return True

    def delete_submodule(self, target: str) -> bool:
        """Take a module away; False if there is none of this name."""
        owner, _, name = target.rpartition(".")
        try:
            place = self.get_submodule(owner)
        except AttributeError:
            return False
        if not isinstance(getattr(place, name, None), Module):
            return False
        delattr(place, name)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Take away the modules that no node calls, or finds an attribute in."""
        used: set[str] = set()
        present = dict(self.named_modules())
        for node in self._graph.nodes:
            if node.op in ("call_module", "get_attr"):
                parts = node.target.split(".")
                used |= {".".join(parts[: k + 1]) for k in range(len(parts))}
                if node.op == "call_module" and node.target in present:
                    used |= {f"{node.target}.{n}" for n, _ in present[node.target].named_modules() if n}
        for name in [n for n, _ in self.named_modules() if n and n not in used]:
            self.delete_submodule(name)

    def __deepcopy__(self, memo: dict) -> GraphModule:
        state = {k: v for k, v in self.__dict__.items() if k != "_graph"}
        made = GraphModule.__new__(GraphModule)
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(state, memo))
        type(made).__name__ = type(self).__name__
        made.graph = copy.deepcopy(self._graph, memo)
        return made

    def __copy__(self) -> GraphModule:
        return GraphModule(self, copy.deepcopy(self._graph), type(self).__name__)

    def __reduce__(self) -> tuple:
        state = {k: v for k, v in self.__dict__.items() if k not in ("_graph", "_code")}
        return _rebuilt, (type(self).__name__, state, self._graph)

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.code}\n# print_readable() shows it as a class"

    __repr__ = Module.__repr__


def _parameter() -> type:
    from ..nn.parameter import Parameter

    return Parameter


def _rebuilt(name: str, state: dict[str, Any], graph: Graph) -> GraphModule:
    made = GraphModule.__new__(GraphModule)
    made.__dict__.update(state)
    type(made).__name__ = name
    made.graph = graph
    return made
