"""ONNX files as modules."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..nn.modules.module import Module
from ..nn.parameter import Parameter
from ..tensor import Tensor, tensor
from ._builder import needs_onnx
from ._read_layers import LAYERS
from ._read_ops import OPS, Node
from .errors import UnsupportedOperatorError

__all__ = ["ONNXModule", "load"]

READERS: Mapping[str, Callable[..., Any]] = {**OPS, **LAYERS}
#: Integers up to this many stay on the host: sizes, axes, indices, which shapes are made of.
_FEW = 1024


class ONNXModule(Module):
    """The graph of an ONNX model as a module.

    Floating weights are parameters; integers, single numbers and the statistics of batch norms are buffers; under their
    names, with the parts between dots as submodules. forward takes the graph's inputs by position or name, as tensors,
    and returns its output, a tuple if there are several. Sizes may be any that the graph allows; it is differentiable
    where its operators are.
    """

    def __init__(self, model: Any, folder: str = "") -> None:
        super().__init__()
        numpy_helper = needs_onnx("onnx.numpy_helper")
        graph = model.graph
        self._opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        self._host: dict[str, np.ndarray] = {}
        self._paths: dict[str, str] = {}
        statistics = {i for n in graph.node if n.op_type == "BatchNormalization" for i in n.input[3:5]}
        for w in graph.initializer:
            self._add(w.name, numpy_helper.to_array(w, folder), w.name not in statistics)
        weights = {w.name for w in graph.initializer}
        self.input_names = [i.name for i in graph.input if i.name not in weights]
        self.output_names = [o.name for o in graph.output]
        self._nodes = [self._node(n) for n in graph.node]
        last: dict[str, int] = {}
        for k, n in enumerate(self._nodes):
            last.update(dict.fromkeys(n.inputs, k))
        self._last = last

    def _add(self, name: str, array: np.ndarray, weight: bool = True) -> None:
        if array.dtype.kind in "iub" and array.size <= _FEW:
            self._host[name] = array
            return
        parts = [re.sub(r"\W", "_", p) or "_" for p in name.split(".")]
        place: Module = self
        for p in parts[:-1]:
            p = p if not hasattr(place, p) or p in place._modules else f"{p}_"
            if p not in place._modules:
                place.add_module(p, Module())
            place = place._modules[p]  # type: ignore[assignment]
            parts[parts.index(p.rstrip("_"))] = p
        leaf = parts[-1]
        while hasattr(place, leaf):
            leaf += "_"
        value = tensor(np.array(array))
        if value.dtype.is_floating_point and value.dim() and weight:
            place.register_parameter(leaf, Parameter(value))
        else:
            place.register_buffer(leaf, value)
        self._paths[name] = ".".join([*parts[:-1], leaf])

    def _node(self, n: Any) -> Node:
        helper = needs_onnx("onnx.helper")
        if n.op_type == "Constant":
            told = {a.name: helper.get_attribute_value(a) for a in n.attribute}
            name, value = next(iter(told.items()))
            array = needs_onnx("onnx.numpy_helper").to_array(value) if name == "value" else np.asarray(
                value, np.int64 if "int" in name else np.float32)  # fmt: skip
            self._add(n.output[0], array)
            return Node("Constant", (), (), {}, self._opset, n.name, n)
        if n.domain not in ("", "ai.onnx") or n.op_type not in READERS:
            domain = f"{n.domain}." if n.domain not in ("", "ai.onnx") else ""
            raise UnsupportedOperatorError(f"torch.onnx.load: node {n.name!r}: operator {domain}{n.op_type} has no "
                                           "reader; run the file by onnxruntime, or rewrite it without")  # fmt: skip
        told = {a.name: _plain(helper.get_attribute_value(a), n) for a in n.attribute}
        return Node(n.op_type, tuple(n.input), tuple(n.output), told, self._opset, n.name, n)

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        """The outputs for tensors by position or name. TypeError for missing ones or too many."""
        names = self.input_names
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if len(args) > len(names) or set(given) != set(names):
            raise TypeError(f"the model takes {names}, got {len(args)} by position and {list(kwargs)} by name")
        values: dict[str, Any] = {"": None, **self._host, **given}
        for name, path in self._paths.items():
            place: Any = self
            for part in path.split("."):
                place = getattr(place, part)
            values[name] = place
        for k, node in enumerate(self._nodes):
            if node.kind == "Constant":
                continue
            ins = [values[i] for i in node.inputs]
            if ins and all(i is None or isinstance(i, np.ndarray) for i in ins):
                outs = _on_host(node, ins)
            else:
                outs = READERS[node.kind](node, *ins)
            outs = outs if isinstance(outs, (tuple, list)) else (outs,)
            values.update(zip(node.outputs, outs, strict=False))
            for i in node.inputs:  # what nobody needs any more goes
                if self._last[i] == k and i not in self.output_names and i:
                    values.pop(i, None)
        found = [values[n] if isinstance(values[n], Tensor) else tensor(values[n]) for n in self.output_names]
        return found[0] if len(found) == 1 else tuple(found)

    def extra_repr(self) -> str:
        return f"inputs={self.input_names}, outputs={self.output_names}, nodes={len(self._nodes)}"


def _plain(value: Any, node: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (int, float, str)):
        return value
    if hasattr(value, "dims") and hasattr(value, "data_type"):
        return needs_onnx("onnx.numpy_helper").to_array(value)
    if hasattr(value, "node"):
        raise UnsupportedOperatorError(f"torch.onnx.load: node {node.name!r}: {node.op_type} has a graph inside (a "
                                       "condition or loop); run the file by onnxruntime")  # fmt: skip
    return [v.decode() if isinstance(v, bytes) else v for v in value]


def _on_host(node: Node, ins: list[Any]) -> list[np.ndarray]:
    """A node of sizes and other host values, evaluated by the onnx package."""
    evaluator = node.cache.get("evaluator")
    if evaluator is None:
        onnx = needs_onnx()
        reference = needs_onnx("onnx.reference")
        single = onnx.ModelProto(ir_version=10)
        single.opset_import.append(onnx.helper.make_opsetid("", node.opset))
        single.graph.node.append(node.proto)
        for i, x in zip(node.inputs, ins, strict=True):
            if x is not None:
                single.graph.input.append(onnx.helper.make_tensor_value_info(
                    i, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), None))  # fmt: skip
        for o in node.outputs:
            single.graph.output.append(onnx.ValueInfoProto(name=o))
        evaluator = node.cache["evaluator"] = reference.ReferenceEvaluator(single)
    feed = {i: x for i, x in zip(node.inputs, ins, strict=True) if x is not None}
    return [np.asarray(x) for x in evaluator.run(None, feed)]


def load(f: str | os.PathLike | Any, *, requires_grad: bool = False) -> ONNXModule:
    """The model of an ``.onnx`` file (or binary file, bytes, or ``onnx.ModelProto``) as a module, in eval mode.

    An addition: PyTorch reads no ONNX. It computes what the file says; dropout and norms stay as they were exported.
    requires_grad: of its parameters.   ImportError without the package onnx (the extra ``onnx``).
    ``errors.UnsupportedOperatorError`` names an operator that cannot be read, at once, not when it is reached.
    """
    onnx = needs_onnx()
    folder = ""
    if isinstance(f, onnx.ModelProto):
        model = f
    elif isinstance(f, bytes):
        model = onnx.load_model_from_string(f)
    elif hasattr(f, "read"):
        model = onnx.load_model(f, load_external_data=False)
    else:
        model = onnx.load_model(str(f), load_external_data=False)
        folder = str(Path(f).parent)
    made = ONNXModule(model, folder)
    made.requires_grad_(requires_grad)
    return made.eval()
