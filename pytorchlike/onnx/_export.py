"""From a model, or an exported program, to an ONNX model."""

from __future__ import annotations

import contextlib
import enum
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..export import Dim, ExportedProgram, ShapesCollection
from ..export._dims import leaf_names
from ..export._program import exported_program
from ..export._recording import Recording
from ..export._sizes import Size
from ..nn.modules.module import Module
from ..tensor import Tensor
from ..utils import _pytree as pytree
from . import _elementwise, _layers, _recurrent, _reductions, _shapes, _state, is_in_onnx_export  # noqa: F401
from ._builder import Builder, V, needs_onnx
from ._program import ONNXProgram
from ._table import LOWERED, lower
from .errors import OnnxExporterError, OnnxExporterWarning

__all__ = ["OperatorExportTypes", "TrainingMode", "export"]

#: The operator set written by default, and the first that is written without conversion.
OPSET, FIRST = 20, 18


class TrainingMode(enum.IntEnum):
    """The mode that PyTorch's older exporter sets the model to; EVAL with ``dynamo=False``, else it stays as it is."""

    EVAL, PRESERVE, TRAINING = 0, 1, 2


class OperatorExportTypes(enum.IntEnum):
    """What PyTorch's older exporter writes; only ONNX's own operators are written here."""

    ONNX, ONNX_ATEN, ONNX_ATEN_FALLBACK, ONNX_FALLTHROUGH = 0, 1, 2, 3


@contextlib.contextmanager
def _running(model: Any, evaluate: bool) -> Iterator[None]:
    before = is_in_onnx_export()
    modes = [(m, m.training) for m in model.modules()] if evaluate and isinstance(model, Module) else []
    _state.running = True
    try:
        if modes:
            model.eval()
        yield
    finally:
        _state.running = before
        for m, training in modes:
            m.training = training


def export(
    model: Module | ExportedProgram, args: Any = (), f: str | os.PathLike | io.IOBase | None = None, *,
    kwargs: dict[str, Any] | None = None, verbose: bool | None = None, input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None, opset_version: int | None = None, dynamo: bool = True,
    external_data: bool = True, dynamic_shapes: Any = None,
    custom_translation_table: Mapping[Any, Callable] | None = None,
    report: bool = False, optimize: bool = True, verify: bool = False, profile: bool = False,
    dump_exported_program: bool = False, artifacts_dir: str | os.PathLike = ".", fallback: bool = False,
    export_params: bool = True, keep_initializers_as_inputs: bool = False, dynamic_axes: Any = None,
    training: TrainingMode = TrainingMode.EVAL, operator_export_type: OperatorExportTypes = OperatorExportTypes.ONNX,
    do_constant_folding: bool = True, custom_opsets: Mapping[str, int] | None = None,
    export_modules_as_functions: bool = False, autograd_inlining: bool = True,
) -> ONNXProgram | None:  # fmt: skip
    """Write what ``model(*args, **kwargs)`` runs as an ONNX model, and give it back (None with ``dynamo=False``).

    f: a path or binary file, or None.   input_names, output_names: of the tensors, in order; names of the arguments by
    default.   opset_version: 20 by default; versions below 18 are made by ONNX's converter, where it can.
    dynamic_shapes: as of ``torch.export.export``.   dynamic_axes: the older form, ``{"x": {0: "batch"}}`` or
    ``{"x": [0]}``; entries of outputs have no effect, since their sizes follow.
    external_data: weights in a second file ``<f>.data``.   export_params: False makes parameters inputs without values.
    keep_initializers_as_inputs: parameters are inputs with values as defaults.   verbose: print the graph.
    custom_translation_table: for operators' names (or functions of ``torch``) a function ``(builder, arguments)`` that
    returns ``builder.op("Name", arguments.input, …)``.   custom_opsets: versions of other domains by name, for nodes
    with ``domain=``.
    verify: compare with the model's results, by onnxruntime where it is installed.
    dynamo: with False the model is put into eval mode for the export (``training``), as PyTorch's older exporter does.
    optimize, do_constant_folding, fallback, autograd_inlining, artifacts_dir: no effect; runtimes fold constants.
    The other arguments raise NotImplementedError when they are given.

    ImportError without the package onnx (the extra ``onnx``).   ``errors.UnsupportedOperatorError`` names an operator
    that ONNX cannot express, and the line that called it.   What ``torch.export.export`` raises.
    """
    needs_onnx()
    for name, given in (("report", report), ("profile", profile), ("dump_exported_program", dump_exported_program),
                        ("export_modules_as_functions", export_modules_as_functions),
                        ("operator_export_type", operator_export_type)):  # fmt: skip
        if given:
            raise NotImplementedError(f"torch.onnx.export: {name} is not supported; leave it out. The exported program "
                                      "can be looked at by the result's exported_program")  # fmt: skip
    opset = OPSET if opset_version is None else opset_version
    highest = needs_onnx("onnx.defs").onnx_opset_version()
    if not 7 <= opset <= highest:
        raise ValueError(f"torch.onnx.export: opset_version must be from 7 to {highest}, what the installed onnx "
                         f"package knows, got {opset}")  # fmt: skip
    if isinstance(model, ExportedProgram):
        if dynamic_shapes is not None or dynamic_axes is not None:
            raise ValueError("torch.onnx.export: the sizes of an ExportedProgram are what its own export left open; "
                             "give dynamic_shapes to torch.export.export")  # fmt: skip
        program = model
    else:
        if not isinstance(model, Module):
            raise TypeError(f"torch.onnx.export: model must be an nn.Module or ExportedProgram, got {type(model)}; put "
                            "a function into the forward of a module")  # fmt: skip
        args, kwargs = _arguments(args, kwargs)
        if dynamic_axes is not None and dynamic_shapes is None:
            dynamic_shapes = shapes_of_axes(model, args, kwargs, dynamic_axes, input_names)
        with _running(model, not dynamo and training == TrainingMode.EVAL):
            program = exported_program(model, args, kwargs, dynamic_shapes, lower=False)
    if program._program is None:
        raise OnnxExporterError(f"torch.onnx.export: {program._reason}")
    table = {getattr(k, "__name__", k): v for k, v in (custom_translation_table or {}).items()}
    proto = _model(program, max(opset, FIRST), input_names, output_names, table, export_params,
                   keep_initializers_as_inputs, custom_opsets or {})  # fmt: skip
    if opset < FIRST:
        proto = _converted(proto, opset)
    if verbose:
        print(needs_onnx("onnx.printer").to_text(proto.graph))
    made = ONNXProgram(proto, program)
    if verify:
        made.verify()
    if f is not None:
        made.save(f, external_data=external_data)
    return made if dynamo else None


def _arguments(args: Any, kwargs: dict[str, Any] | None) -> tuple[tuple, dict[str, Any]]:
    args = (args,) if isinstance(args, Tensor) else tuple(args)
    if kwargs is None and args and isinstance(args[-1], dict) and args[-1] and all(
            isinstance(k, str) for k in args[-1]):  # the older way to give arguments by name
        return args[:-1], args[-1]
    return args, dict(kwargs or {})


def shapes_of_axes(model: Module, args: tuple, kwargs: dict[str, Any], dynamic_axes: Mapping[str, Any],
                   input_names: Sequence[str] | None) -> Any:  # fmt: skip
    """``dynamic_shapes`` for the older ``dynamic_axes``, whose names are those of ``input_names``."""
    names = leaf_names(model, args, kwargs)
    shown = [*(input_names or []), *names[len(input_names or []) :]]
    dims: dict[str, Any] = {}
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    told = ShapesCollection()
    for name, own, x in zip(shown, names, tensors, strict=False):
        axes = dynamic_axes.get(name, dynamic_axes.get(own))
        if axes is None:
            continue
        if not isinstance(axes, Mapping):
            axes = {k: f"{own}_dim_{k}" for k in axes}
        spec = {}
        for k, label in axes.items():
            known = label if label not in dims or dims[label][1] == x.shape[k] else f"{label}_{own}_{k}"
            if known not in dims:
                dims[known] = Dim(_identifier(known)), x.shape[k]
                dims[known][0].narrow = True
            spec[k] = dims[known][0]
        told[x] = spec
    return told.dynamic_shapes(model, args, kwargs)


def _identifier(label: str) -> str:
    made = "".join(c if c.isalnum() or c == "_" else "_" for c in str(label))
    return made if made.isidentifier() else f"d_{made}"


def _converted(proto: Any, opset: int) -> Any:
    converter = needs_onnx("onnx.version_converter")
    try:
        return converter.convert_version(proto, opset)
    except Exception as error:  # whatever its adapters raise
        warnings.warn(
            f"torch.onnx.export: ONNX's converter cannot bring the model to opset {opset} "
            f"({str(error).strip()[:200]}); it is written with opset {FIRST}",
            OnnxExporterWarning,
            stacklevel=3,
        )
        return proto


# ---- the model -------------------------------------------------------------------------------------------------------


def array_of(x: Any) -> np.ndarray:
    """The values of a tensor on the host."""
    x = x if isinstance(x, Tensor) else Tensor._of(x)
    x = x.detach().cpu()
    return np.asarray(x.jax()) if str(x.dtype) == "torch.bfloat16" else x.numpy()


def _model(ep: ExportedProgram, opset: int, input_names: Sequence[str] | None, output_names: Sequence[str] | None,
           table: Mapping[str, Callable], with_values: bool, values_as_inputs: bool,
           further: Mapping[str, int]) -> Any:  # fmt: skip
    program: Recording = ep._program  # type: ignore[assignment]
    b = Builder(program, opset)
    helper, numpy_helper = b.helper, needs_onnx("onnx.numpy_helper")
    told = {n: s.told if s.told.isidentifier() else n for n, s in ep._open.symbols.items()}
    inputs = [s for s in program.sources if s.kind == "input"]
    n = len(program.outs) - len(program.changed)
    names = _named("input_names", input_names, [s.name for s in inputs])
    results = _named("output_names", output_names, [f"output_{k}" if n > 1 else "output" for k in range(n)])
    for name in (*names, *results):
        b.fresh(name)
    values: dict[int, V] = {s.slot: V(name, s.dtype, s.shape) for s, name in zip(inputs, names, strict=True)}
    b.bind_inputs(values)
    state = {s.slot: s for s in program.sources if s.kind != "input"}
    for s in state.values():
        values[s.slot] = V(b.fresh(s.name), s.dtype, s.shape)
    before = {name: LOWERED.get(name) for name in table}
    LOWERED.update(table)
    try:
        for step in program.steps:
            b.where = step.where
            for k, v in enumerate(lower(b, step, values)):
                values[step.first + k] = v
    finally:
        for name, fn in before.items():
            LOWERED.pop(name) if fn is None else LOWERED.update({name: fn})
    b.where = ""
    outs = _outputs(b, [values[slot] for slot in program.outs[:n]], results)
    nodes = _needed(b.nodes, results)
    used = {i for node in nodes for i in node.input}

    def info(name: str, v: V) -> Any:
        shape = [_dimension(d, told) for d in v.shape or ()]
        return helper.make_tensor_value_info(name, b.type_of(v.dtype), shape)

    initializers = [numpy_helper.from_array(a, name) for name, a in b.constants.items() if name in used]
    graph_inputs = [info(name, values[s.slot]) for s, name in zip(inputs, names, strict=True)]
    for slot, s in state.items():
        v = values[slot]
        if v.name not in used:
            continue
        x = ep.state_dict[s.name] if s.kind != "constant" else ep.constants[s.name]
        if s.kind == "constant" or with_values:
            initializers.append(numpy_helper.from_array(array_of(x), v.name))
        if s.kind == "parameter" and (values_as_inputs or not with_values) or s.kind == "buffer" and not with_values:
            graph_inputs.append(info(v.name, v))
    graph = helper.make_graph(nodes, "main_graph", graph_inputs, outs(info), initializers)
    from ..version import pytorchlike

    domain = helper.make_opsetid("", opset)
    domains = [domain, *(helper.make_opsetid(name, version) for name, version in further.items())]
    return helper.make_model(graph, opset_imports=domains, producer_name="pytorchlike", producer_version=pytorchlike,
                             ir_version=helper.find_min_ir_version_for([domain]))  # fmt: skip


def _named(what: str, given: Sequence[str] | None, own: list[str]) -> list[str]:
    given = list(given or [])
    if len(given) > len(own):
        raise OnnxExporterError(f"torch.onnx.export: {len(given)} {what} were given, but there are {len(own)}: {own}")
    return given + own[len(given) :]


def _dimension(n: Any, told: Mapping[str, str]) -> Any:
    if not isinstance(n, Size):
        return n
    text = str(n)
    for name, shown in sorted(told.items(), reverse=True):
        text = text.replace(name, shown)
    return text


def _outputs(b: Builder, values: list[V], names: list[str]) -> Callable[[Callable], list[Any]]:
    """Give the results their names; the function makes their infos."""
    for v, name in zip(values, names, strict=True):
        b.nodes.append(b.helper.make_node("Identity", [v.name], [name], name=b.fresh("Identity_node")))
    return lambda info: [info(name, v) for v, name in zip(values, names, strict=True)]


def _needed(nodes: list[Any], results: Sequence[str]) -> list[Any]:
    """The nodes that the results rest on; those whose only use is an Identity get its name."""
    wanted, kept = set(results), []
    for node in reversed(nodes):
        if any(o in wanted for o in node.output):
            kept.append(node)
            wanted.update(i for i in node.input if i)
    kept.reverse()
    uses: dict[str, int] = {}
    for node in kept:
        for i in node.input:
            uses[i] = uses.get(i, 0) + 1
    makers = {o: node for node in kept for o in node.output}
    final = []
    for node in kept:
        if node.op_type == "Identity" and node.output[0] in results:
            source = node.input[0]
            maker = makers.get(source)
            if maker is not None and uses[source] == 1:
                for k, o in enumerate(maker.output):
                    if o == source:
                        maker.output[k] = node.output[0]
                continue
        final.append(node)
    return final
