"""The modules of a model as TensorBoard's graph."""

from __future__ import annotations

from typing import Any

from tensorboardX.proto.attr_value_pb2 import AttrValue
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboardX.proto.versions_pb2 import VersionDef

from ...nn import Module
from ...tensor import Tensor
from .._shapes import Used, forward


def graph_of(model: Module, inputs: Any) -> GraphDef:
    """Modules that hold no others, and what flows between them, grouped by the modules around them."""
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else () if inputs is None else (inputs,)
    root = forward(model, args)
    top = type(model).__name__
    nodes: list[NodeDef] = []
    made: dict[int, str] = {}  # which node a value comes from
    uses: dict[str, int] = {}

    def add(name: str, kind: str, sources: list[str], outputs: list[Tensor], note: str = "") -> None:
        shapes = [TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in t.shape]) for t in outputs]
        attributes = {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=shapes))}
        if note:
            attributes["attr"] = AttrValue(s=note.encode())
        nodes.append(NodeDef(name=name, op=kind, input=list(dict.fromkeys(sources)), attr=attributes))
        made.update((id(t), name) for t in outputs)

    def name_of(used: Used) -> str:
        path = "/".join([top, *(used.name.split(".") if used.name else [])])
        uses[path] = uses.get(path, 0) + 1
        return path if uses[path] == 1 else f"{path}_{uses[path] - 1}"

    for k, t in enumerate(root.inputs):
        add(f"input/{k}" if len(root.inputs) > 1 else "input", "IO Node", [], [t])
    before: list[str] = [made[id(t)] for t in root.inputs]
    for used in root.walk():
        if used.children:
            continue
        name = name_of(used)
        known = [made[id(t)] for t in used.inputs if id(t) in made]
        # What functions between modules have made is not followed: it came from the module before.
        add(name, type(used.module).__name__, known or before, used.outputs, used.module.extra_repr())
        before = [name]
    add("output", "IO Node", [made[id(t)] for t in root.outputs if id(t) in made] or before, root.outputs)
    return GraphDef(node=nodes, versions=VersionDef(producer=22))
