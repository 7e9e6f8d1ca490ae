"""Files of programs: a zip archive of StableHLO or recorded calls, and a ``torch.save`` file of the tensors."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

from ..engine import Op
from ..engine.grad import DETACH
from ..nn.parameter import Parameter
from ..ops._table import TABLE, OpDef
from ..tensor import Tensor
from ..tensor._values import _CAST, AS_LEAF, SAME, STRAIGHT
from ._dims import Open, Symbol
from ._program import ExportedProgram
from ._recording import PLACE, SEED, Number, Recording, Ref, Source, Step
from ._sizes import Range, Root, Size

__all__ = ["load", "save"]

#: 2: the program's calls are there as well
_FORMAT = 2
_FORMS = ("op", "op_safe", "op_inplace", "op_inplace_safe", "op_put")
_ENGINE = {"detach": DETACH, "alias": SAME, "leaf": AS_LEAF, "written without gradient": STRAIGHT, "cast": _CAST}
_KINDS = {k.__name__: k for k in (bool, int, float, complex)}


class Unwritable(NotImplementedError):
    """A program holds something that files cannot."""


# ---- calls as JSON ---------------------------------------------------------------------------------------------------


def _op_told(step: Step) -> list:
    op = step.op
    if isinstance(op.info, OpDef):
        form = next((f for f in _FORMS if getattr(op.info, f) is op), None)
        place = next((k for k, e in TABLE.items() if e is op.info), None)
        if form is not None and place is not None:
            return [*place, form]
    elif _ENGINE.get(op.name) is op:
        return [op.name]
    raise Unwritable(f"torch.export.save: {step.where} is made of a recorded Python function and has no name in a "
                     "file; export for fixed sizes (without dynamic_shapes), which is saved as StableHLO")  # fmt: skip


def _op_of(told: list) -> Op:
    if len(told) == 1:
        return _ENGINE[told[0]]
    found = getattr(TABLE[told[0], told[1]], told[2]) if told[2] in _FORMS else None
    if found is None:
        raise RuntimeError(f"the file calls operator {told}, which this version of pytorchlike does not have")
    return found


def _plain(x: Any, where: str) -> Any:
    if x is None or type(x) in (bool, int, str):
        return x
    if type(x) is float:
        return {"float": x.hex()}
    if type(x) is complex:
        return {"complex": [x.real.hex(), x.imag.hex()]}
    if type(x) is tuple:
        return [_plain(i, where) for i in x]
    if isinstance(x, np.dtype):
        return {"dtype": x.name}
    if isinstance(x, Size):
        return {"size": x.plain()}
    if isinstance(x, Root):
        return {"root": [x.size.plain(), x.power, x.factor]}
    if x is PLACE:
        return {"place": 0}
    if x is SEED:
        return {"seed": 0}
    if x is ...:
        return {"ellipsis": 0}
    if type(x) is Ref:
        return {"ref": x.slot}
    if type(x) is Number:
        return {"number": [x.type.__name__, _plain(x.value, where)]}
    raise Unwritable(f"torch.export.save: {where} has an argument that cannot be written to a file: {x!r}; export for "
                     "fixed sizes (without dynamic_shapes), which is saved as StableHLO")  # fmt: skip


def _dtype(name: str) -> np.dtype:
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)


def _of_plain(x: Any) -> Any:
    if type(x) is list:
        return tuple([_of_plain(i) for i in x])
    if type(x) is not dict:
        return x
    ((kind, v),) = x.items()
    if kind == "number":
        return Number(_KINDS[v[0]], _of_plain(v[1]))
    if kind == "complex":
        return complex(float.fromhex(v[0]), float.fromhex(v[1]))
    if kind == "root":
        return Root(Size.of_plain(v[0]), float(v[1]), float(v[2]))
    read = {"float": float.fromhex, "dtype": _dtype, "size": Size.of_plain, "ref": Ref}.get(kind)
    return read(v) if read is not None else {"place": PLACE, "seed": SEED, "ellipsis": ...}[kind]


def _program_told(program: Recording, opened: Open) -> dict[str, Any]:
    def mode(told: tuple) -> Any:
        autocast, default_float = told
        autocast = None if autocast is None else [[k, None if v is None else np.dtype(v).name] for k, v in autocast]
        return [autocast, np.dtype(default_float).name]

    return {
        "sources": [[s.kind, s.name, s.slot, _plain(s.shape, s.name), s.dtype.name] for s in program.sources],
        "steps": [
            {"op": _op_told(s), "static": _plain(s.static, s.where), "args": _plain(s.args, s.where), "first": s.first,
             "outs": [[_plain(shape, s.where), dtype.name] for shape, dtype in s.outs], "location": list(s.location),
             "mode": mode(s.mode)} for s in program.steps
        ],
        "outs": program.outs,
        "shapes": [_plain(s, "an argument") for s in opened.shapes],
        "symbols": [[s.name, s.told, s.range.lower, s.range.upper, s.example, s.hint, s.lenient, s.narrow]
                    for s in opened.symbols.values()],
    }  # fmt: skip


def _program_of(told: dict[str, Any], constants: dict[str, Tensor], changed: list[str],
                output: Any) -> tuple[Recording, Open]:  # fmt: skip
    def mode(m: Any) -> tuple:
        autocast, default_float = m
        if autocast is not None:
            autocast = tuple((k, None if v is None else _dtype(v)) for k, v in autocast)
        return autocast, _dtype(default_float)

    sources = tuple([
        Source(kind, name, slot, _of_plain(shape), _dtype(dtype), constants.get(name) if kind == "constant" else None)
        for kind, name, slot, shape, dtype in told["sources"]
    ])  # fmt: skip
    steps = tuple([
        Step(_op_of(s["op"]), _of_plain(s["static"]), _of_plain(s["args"]), s["first"],
             tuple([(_of_plain(shape), _dtype(dtype)) for shape, dtype in s["outs"]]), tuple(s["location"]),
             mode(s["mode"])) for s in told["steps"]
    ])  # fmt: skip
    symbols = {n: Symbol(n, name, Range(low, high), *rest)
               for n, name, low, high, *rest in told["symbols"]}  # fmt: skip
    opened = Open([_of_plain(s) for s in told["shapes"]], symbols)
    return Recording(sources, steps, tuple(told["outs"]), tuple(changed), output), opened


# ---- files -----------------------------------------------------------------------------------------------------------


def _needs_flatbuffers() -> ImportError:
    return ImportError('writing and reading exported programs needs flatbuffers: pip install "pytorchlike[export]"')


def _refuse_opset(name: str, given: Any) -> None:
    if given is not None:
        raise NotImplementedError(f"torch.export: {name} is not supported, since files have one version of their own; "
                                  "leave it out")


def save(ep: ExportedProgram, f: Any, *, extra_files: dict[str, Any] | None = None, opset_version: Any = None,
         pickle_protocol: int = 2) -> None:  # fmt: skip
    """Write a program and its tensors to a path or file: a zip archive of the program and a ``torch.save`` file.

    Programs for fixed sizes are StableHLO; those with open sizes are lists of calls of this package's operators.
    ImportError without flatbuffers (the extra ``export``) for StableHLO.   TypeError for anything else than an
    ExportedProgram.   NotImplementedError for open sizes and operators made of functions (``vmap``, ``cond``), and for
    an opset_version, since there are no sets of operators.   pickle_protocol: no effect, nothing is pickled.
    """
    _refuse_opset("opset_version", opset_version)
    from ..serialization import save as save_tensors

    if not isinstance(ep, ExportedProgram):
        raise TypeError(f"The 'ep' parameter must be an instance of 'ExportedProgram', got '{type(ep).__name__}'")
    lowered = None
    if ep._exported is not None:
        try:
            lowered = bytes(ep._exported.serialize(vjp_order=1))
        except ImportError:
            raise _needs_flatbuffers() from None
    told = None
    if ep._program is not None:
        try:
            told = json.dumps(_program_told(ep._program, ep._open))
        except Unwritable:
            if lowered is None:
                raise
    tensors = io.BytesIO()
    save_tensors({"state": {n: x.detach() for n, x in ep.state_dict.items()}, "parameters": ep._parameters,
                  "changed": ep._changed, "inputs": ep._inputs, "output": ep._output,
                  "constants": {n: x.detach() for n, x in ep.constants.items()} if told else {}}, tensors)  # fmt: skip
    with zipfile.ZipFile(f, "w") as archive:
        archive.writestr("format.json", json.dumps({"format": _FORMAT, "producer": "pytorchlike"}))
        if lowered is not None:
            archive.writestr("program.stablehlo", lowered)
        if told is not None:
            archive.writestr("program.json", told)
        archive.writestr("state.pt", tensors.getvalue())
        for name, content in (extra_files or {}).items():
            archive.writestr(f"extra/{name}", content)


def load(f: Any, *, extra_files: dict[str, Any] | None = None, expected_opset_version: Any = None) -> ExportedProgram:
    """What :func:`save` wrote. RuntimeError for other files. ``extra_files``: filled for the names that it has.

    A program is code: load files from sources that you trust. Its tensors are read with ``weights_only=True``.
    NotImplementedError for an expected_opset_version.
    """
    _refuse_opset("expected_opset_version", expected_opset_version)
    from ..serialization import load as load_tensors

    with zipfile.ZipFile(f) as archive:
        names = archive.namelist()
        if "format.json" not in names or not {"program.stablehlo", "program.json"} & set(names):
            raise RuntimeError("not a program that torch.export.save of this package wrote; PyTorch's own .pt2 and "
                               "TorchScript files hold graphs of its operators, which cannot be run here")  # fmt: skip
        if json.loads(archive.read("format.json"))["format"] > _FORMAT:
            raise RuntimeError("the file was written by a newer version of pytorchlike")
        told = load_tensors(io.BytesIO(archive.read("state.pt")), weights_only=True)
        lowered = bytearray(archive.read("program.stablehlo")) if "program.stablehlo" in names else None
        calls = json.loads(archive.read("program.json")) if "program.json" in names else None
        for name in extra_files or {}:
            extra_files[name] = archive.read(f"extra/{name}").decode()  # type: ignore[index]
    exported, program, opened = None, None, Open([], {})
    if lowered is not None:
        try:
            from jax import export as jax_export

            exported = jax_export.deserialize(lowered)
        except ImportError:
            raise _needs_flatbuffers() from None
    if calls is not None:
        program, opened = _program_of(calls, told["constants"], told["changed"], told["output"])
    parameters = told["parameters"]
    state = {n: Parameter(x, x.dtype.is_floating_point) if n in parameters else x for n, x in told["state"].items()}
    return ExportedProgram(exported, program, opened, state, parameters, told["changed"], told["inputs"],
                           told["output"], None, "the file has only StableHLO")  # fmt: skip
