"""The backward graph as one can look at it: nodes with names and next functions."""

from __future__ import annotations

from typing import Any

from ..engine import Leaf, Value
from ..engine.trie import Call, Graph, Input

__all__ = ["Node", "node_of"]


#: Mark of the operations that stand for a custom function.
CUSTOM = "custom function"


class Node:
    """A step of the backward graph: the gradient of one recorded operation.

    ``name()`` is such as 'AddBackward0'; ``next_functions`` lead to the steps that come after it on the way back, a
    ``variable`` is the leaf of an 'AccumulateGrad' step.
    """

    __slots__ = ("_name", "_next", "variable", "metadata", "_key")

    def __new__(cls, name: str, *args: Any, **kwargs: Any) -> Any:
        # a class for each name: programs that draw graphs print the name of the type
        short = name.rsplit(":", 1)[-1]
        kind = _kinds.get(short)
        if kind is None:
            kind = _kinds[short] = type(short, (Node,), {"__slots__": ()})
        return object.__new__(kind)

    def __init__(self, name: str, following: Any, key: Any, variable: Any = None) -> None:
        self._name, self._next, self._key = name, following, key
        self.metadata: dict = {}
        if variable is not None:
            self.variable = variable

    def name(self) -> str:
        return self._name

    @property
    def next_functions(self) -> tuple:
        """((node or None, 0), …) in the order of the operation's differentiable inputs."""
        return tuple((n, 0) for n in self._next())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {hash(self._key) & 0xFFFFFFFFFFFF:#014x}>"


_kinds: dict[str, type] = {}


def backward_name(op: str) -> str:
    """PyTorch's name of an operation's node: 'log_softmax' -> 'LogSoftmaxBackward0'."""
    if op.endswith("_put"):
        return "torch::autograd::CopySlices"
    renamed = {"matmul": "mm", "linear": "addmm", "alias": "clone", "_getitem": "select", "reshape": "view",
               "flatten": "view"}  # fmt: skip
    name = renamed.get(op, op).strip("_")
    return "".join(part[:1].upper() + part[1:] for part in name.replace(" ", "_").split("_")) + "Backward0"


def node_of(tensor: Any) -> Node:
    """The node of a tensor that is not a leaf."""
    value: Value = tensor._get()
    if value.trace is not None:
        trace = value.trace
        return _node(trace.state.graph(), value.slot, lambda s: trace.values[s], id(trace))
    if type(value.node) is tuple:
        segment, slot = value.node
        return _node(segment.graph, slot, segment.inputs.get, id(segment))
    return Node("FreedBackward0", lambda: (), id(value))


def _node(graph: Graph, slot: int, input_of: Any, where: int) -> Node:
    source = graph.producer[slot]
    if type(source) is Input or graph.metas[slot].grad == 1:
        value = input_of(slot)
        if value is not None and type(value.node) is Leaf:
            owner = value.node.owner() if value.node.owner is not None else None
            variable = owner if owner is not None else _variable(value)
            return Node("torch::autograd::AccumulateGrad", lambda: (), id(value.node), variable)
        if value is not None and type(value.node) is tuple:
            segment, s = value.node
            return _node(segment.graph, s, segment.inputs.get, id(segment))
        return Node("FreedBackward0", lambda: (), (where, slot))
    if type(source) is not Call:
        return Node("Backward", lambda: (), (where, slot))

    def following() -> tuple:
        return tuple(_node(graph, s, input_of, where) for s in source.wrt_slots)

    custom = getattr(source.op, "info", None) is CUSTOM
    name = source.op.name + "Backward" if custom else backward_name(source.op.name)
    return Node(name, following, (where, source.first))


def _variable(value: Value) -> Any:
    from ..tensor import Tensor

    return Tensor._of(value)
