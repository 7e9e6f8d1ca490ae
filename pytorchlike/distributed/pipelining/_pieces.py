"""Models cut into pieces: where is told by names of modules, or by ``pipe_split()`` in the forward function."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ...fx.graph import Graph
from ...fx.interpreter import Interpreter
from ...fx.node import Node
from ...fx.tracer import Tracer
from ...nn import Module
from ...tensor import Tensor
from ...utils._pytree import tree_leaves, tree_map
from .._group import ProcessGroup
from .stage import PipelineStage

__all__ = ["Pipe", "SplitPoint", "pipe_split", "pipeline"]


class SplitPoint(enum.Enum):
    """Whether a piece begins before a module, or ends after it."""

    BEGINNING = 1
    END = 2


class _Current(threading.local):
    tracer: Any = None


_current = _Current()


def pipe_split() -> None:
    """Where a piece ends, in the forward function of a model; nothing outside of ``pipeline``."""
    if _current.tracer is not None:
        _current.tracer.create_node("call_function", pipe_split, (), {})


class _Tracer(Tracer):
    """Looks only into modules that have a place to be cut at inside."""

    def __init__(self, cuts: set[str], inside: bool) -> None:
        super().__init__()
        self.cuts, self.inside = cuts, inside

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        name = module_qualified_name
        if self.inside and name not in self.cuts:  # pipe_split may be anywhere
            return super().is_leaf_module(m, name)
        return not any(cut.startswith(f"{name}.") for cut in self.cuts)


class PipeInfo(NamedTuple):
    """What ``build_stage`` needs to know of a Pipe."""

    graph: Graph
    num_stages: int
    has_loss_and_backward: bool


class Piece(Module):
    """Some nodes of the graph of a model, with the modules and parameters that they name, by their names there."""

    def __init__(self, model: Module, graph: Graph, nodes: list[Node], takes: list[Node], gives: list[Node] | None,
                 ) -> None:  # fmt: skip
        super().__init__()
        self._graph, self._nodes, self._takes, self._gives = graph, nodes, takes, gives
        for node in nodes:
            if node.op in ("call_module", "get_attr"):
                _adopt(self, model, node.target)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the next piece takes, or the model's result."""
        runner = Interpreter(self, garbage_collect_values=False, graph=self._graph)
        env: dict[Node, Any] = dict(zip(self._takes, args, strict=False))
        for node in self._takes[len(args) :]:
            name = str(node.target)
            if name in kwargs:
                env[node] = kwargs.pop(name)
            elif node.args:
                env[node] = node.args[0]
            else:
                raise TypeError(f"forward() missing 1 required positional argument: '{name}'")
        if kwargs or len(args) > len(self._takes):
            raise TypeError(f"a piece that takes {[str(n.target) for n in self._takes]} got {len(args)} arguments and "
                            f"{sorted(kwargs)}")
        runner.env = env
        for node in self._nodes:
            if node.op == "output":
                return runner.map_nodes_to_values(node.args[0], node)
            env[node] = runner.run_node(node)
        assert self._gives is not None
        return tuple(env[node] for node in self._gives)


def _adopt(piece: Module, model: Module, target: str) -> None:
    """Give a piece a part of the model under its name there."""
    *path, last = target.split(".")
    into, source = piece, model
    for name in path:
        source = getattr(source, name)
        if name not in into._modules:
            into.add_module(name, Module())
        into = into._modules[name]
    found = getattr(source, last)
    if isinstance(found, Module):
        into.add_module(last, found)
    elif last in source._parameters:
        into._parameters[last] = found
    elif last in source._buffers:
        into.register_buffer(last, found, last not in source._non_persistent_buffers_set)
    else:
        into.register_buffer(last, found, False)  # a constant of the forward function


class Pipe(Module):
    """A model in pieces, ``split_gm``'s children.  ``build_stage`` gives one to the process that computes it.

    Called, it computes all of them here, one after another; what each hands to the next is detached.
    """

    def __init__(self, pieces: list[Piece], graph: Graph) -> None:
        super().__init__()
        self.split_gm = Module()
        for i, piece in enumerate(pieces):
            self.split_gm.add_module(f"submod_pp_{i}", piece)
        self.graph, self.num_stages = graph, len(pieces)

    def forward(self, *args: Any, **kwargs: Any) -> tuple:
        """The tensors of the model's result, in a tuple."""
        first, *rest = self.split_gm.children()
        out = first(*args, **kwargs)
        for piece in rest:
            out = piece(*tree_map(_detached, out))
        return tuple(tree_leaves(out))

    def get_stage_module(self, stage_idx: int) -> Module:
        """A piece, whose parameters have the names that they have in the model."""
        if not 0 <= stage_idx < self.num_stages:
            raise ValueError(f"Invalid stage index {stage_idx}!")
        return self.split_gm.get_submodule(f"submod_pp_{stage_idx}")

    def info(self) -> PipeInfo:
        """The graph of the model, and the number of pieces."""
        return PipeInfo(self.graph, self.num_stages, False)

    def build_stage(self, stage_index: int, device: Any, group: ProcessGroup | None = None) -> PipelineStage:
        """The stage of a piece, moved to a device."""
        piece = self.get_stage_module(stage_index).to(device)
        return PipelineStage(piece, stage_index, self.num_stages, device, group=group)

    def __repr__(self) -> str:
        return repr(self.split_gm)


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor) and value.requires_grad:
        return value.detach().requires_grad_()
    return value


def pipeline(module: Module, mb_args: tuple, mb_kwargs: dict[str, Any] | None = None,
             split_spec: dict[str, SplitPoint] | None = None, split_policy: Callable[..., Any] | None = None) -> Pipe:
    """Cut a model into pieces, by tracing its forward function with ``torch.fx``.

    mb_args, mb_kwargs: arguments of one portion; those that are None or numbers, strings or bools may be branched on.
    split_spec: names of modules before or after which to cut; None: where ``pipe_split()`` is called.
    Modules that are not cut are not looked into.  A parameter that two pieces use is in both of them, and each
    process has gradients of its own for it.

    Raises ValueError for names that are not there, NotImplementedError for split_policy and for functions with
    ``**kwargs``, TraceError where the forward function asks for values of tensors.
    """
    if split_policy is not None:
        raise NotImplementedError("pipeline: a split_policy works on PyTorch's graphs; use split_spec or pipe_split()")
    cuts = dict(split_spec or {})
    names = {name for name, _ in module.named_modules()}
    unknown = [name for name in cuts if name not in names]
    if unknown:
        raise ValueError(f"pipeline: the module has no part {unknown[0]!r}")
    tracer = _Tracer(set(cuts), inside=not cuts)
    _current.tracer = tracer
    try:
        fixed = {k: v for k, v in (mb_kwargs or {}).items() if v is None or isinstance(v, (bool, int, float, str))}
        graph = tracer.trace(module, fixed)
    finally:
        _current.tracer = None
    nodes = list(graph.nodes)
    groups: list[list[Node]] = [[]]
    for node in nodes:
        if node.op == "placeholder":
            continue
        if node.op == "call_function" and node.target is pipe_split:
            groups.append([])
            continue
        where = cuts.get(node.target) if node.op == "call_module" else None
        if where is SplitPoint.BEGINNING and groups[-1]:
            groups.append([])
        groups[-1].append(node)
        if where is SplitPoint.END:
            groups.append([])
    groups = _attributes_where_used(groups)
    if len(groups) > 1 and [node.op for node in groups[-1]] == ["output"]:  # nothing is computed after the last cut
        groups[-2] += groups.pop()
    return Pipe(_pieces(module, graph, groups, [node for node in nodes if node.op == "placeholder"]), graph)


def _attributes_where_used(groups: list[list[Node]]) -> list[list[Node]]:
    """Parameters are read in each group that uses them, instead of travelling."""
    out = []
    read = [node for group in groups for node in group if node.op == "get_attr"]
    for group in groups:
        rest = [node for node in group if node.op != "get_attr"]
        used = {n for node in rest for n in node.all_input_nodes}
        out.append([*[node for node in read if node in used], *rest])
    return [group for group in out if group]


def _pieces(module: Module, graph: Graph, groups: list[list[Node]], given: list[Node]) -> list[Piece]:
    pieces = []
    takes = given
    for i, group in enumerate(groups):
        later = [node for rest in groups[i + 1 :] for node in rest]
        wanted = {used for node in later for used in node.all_input_nodes}
        here = [*takes, *group]
        gives = [node for node in here if node in wanted and node.op != "get_attr"]
        pieces.append(Piece(module, graph, group, takes, gives if later else None))
        takes = gives
    return pieces
