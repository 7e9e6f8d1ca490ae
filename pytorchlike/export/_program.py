"""Programs by ``jax.export``, with the tensors that they need."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any, NoReturn

from ..autograd.mode import no_grad
from ..engine import flush, record
from ..engine.op import Op
from ..nn.modules.module import Module
from ..nn.parameter import Parameter
from ..nn.utils.stateless import _reparametrize_module
from ..tensor import Tensor, from_jax
from ..utils import _pytree as pytree

__all__ = ["Dim", "ExportedProgram", "dims", "draft_export", "export", "load", "register_dataclass", "save",
           "unflatten"]

_PLATFORMS = ("cpu", "cuda", "tpu")
_FORMAT = 1
#: Stands for a tensor in the structures of arguments and results.
_TENSOR = "<a tensor>"


class Dim:
    """The name of a size that may vary. Programs are for fixed sizes here: :func:`export` refuses it."""

    AUTO, STATIC, DYNAMIC = "AUTO", "STATIC", "DYNAMIC"

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None) -> None:
        self.__name__, self.min, self.max = name, 0 if min is None else min, max

    def __repr__(self) -> str:
        return f"Dim('{self.__name__}', min={self.min}, max={self.max})"


class ExportedProgram:
    """What :func:`export` makes: ``module()`` runs it, ``save`` writes it.

    state_dict: the parameters and buffers by name.   example_inputs: (args, kwargs) of the export.
    """

    def __init__(self, exported: Any, state: dict[str, Tensor], parameters: list[str], changed: list[str],
                 inputs: Any, output: Any, example_inputs: Any = None) -> None:  # fmt: skip
        self._exported, self.state_dict, self._parameters, self._changed = exported, state, parameters, changed
        self._inputs, self._output, self.example_inputs = inputs, output, example_inputs

    def module(self, check_guards: bool = True) -> Module:
        """A module with the program as its forward, and with the parameters and buffers under their names."""
        return _Exported(self)

    def stablehlo(self) -> str:
        """The program as text."""
        return str(self._exported.mlir_module())

    def parameters(self) -> Any:
        """The parameters."""
        return (self.state_dict[n] for n in self._parameters)

    def named_parameters(self) -> Any:
        """Names and parameters."""
        return ((n, self.state_dict[n]) for n in self._parameters)

    def buffers(self) -> Any:
        """The buffers."""
        return (x for n, x in self.state_dict.items() if n not in self._parameters)

    def named_buffers(self) -> Any:
        """Names and buffers."""
        return ((n, x) for n, x in self.state_dict.items() if n not in self._parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError("Unable to call ExportedProgram directly. You should use `exported_program.module()` "
                           "instead.")  # fmt: skip

    def _no_graph(self, name: str) -> NoReturn:
        raise NotImplementedError(f"ExportedProgram.{name}: the program is StableHLO, no graph of ATen operators; see "
                                  "stablehlo(), or torch.fx.symbolic_trace for a graph of Python calls")  # fmt: skip

    graph = property(lambda self: self._no_graph("graph"))
    graph_module = property(lambda self: self._no_graph("graph_module"))
    graph_signature = property(lambda self: self._no_graph("graph_signature"))

    def run_decompositions(self, decomp_table: Any = None) -> ExportedProgram:
        """The program itself: StableHLO has been decomposed already."""
        return self

    def __repr__(self) -> str:
        ins = ", ".join(map(str, self._exported.in_avals[len(self.state_dict):]))
        return f"ExportedProgram({len(self.state_dict)} tensors, inputs: {ins}, outputs: {self._exported.out_avals})"


class _Exported(Module):
    """A program as a module."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        for name, value in program.state_dict.items():
            *owners, last = name.split(".")
            place: Module = self
            for part in owners:
                if part not in place._modules:
                    place.add_module(part, Module())
                place = place._modules[part]  # type: ignore[assignment]
            if name in program._parameters:
                place.register_parameter(last, value if isinstance(value, Parameter) else Parameter(value))
            else:
                place.register_buffer(last, value)
        self._names, self._told = list(program.state_dict), program
        self._op = Op("exported program", _caller(program._exported))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The program's result. ValueError for arguments of another structure, RuntimeError for other shapes."""
        leaves, spec = pytree.tree_flatten((args, kwargs))
        its_leaves, its_spec = pytree.tree_flatten(self._told._inputs)
        if spec != its_spec:
            raise ValueError(f"the program takes arguments of structure {its_spec}, got {spec}")
        program, given = self._told._exported, []
        avals = iter(program.in_avals[len(self._names):])
        for k, (leaf, its) in enumerate(zip(leaves, its_leaves, strict=True)):
            if its != _TENSOR:
                if leaf is not its and leaf != its:
                    raise RuntimeError(f"the program was made for {its!r} as argument {k}, got {leaf!r}")
                continue
            aval = next(avals)
            if not isinstance(leaf, Tensor) or tuple(leaf.shape) != aval.shape or leaf.dtype.numpy != aval.dtype:
                told = f"{tuple(leaf.shape)}, {leaf.dtype}" if isinstance(leaf, Tensor) else repr(leaf)
                raise RuntimeError(f"the program was made for a tensor of shape {aval.shape} and dtype {aval.dtype} as "
                                   f"argument {k}, got {told}; export it anew for other shapes")  # fmt: skip
            given.append(leaf)
        state = [self.get_parameter(n) if n in self._told._parameters else self.get_buffer(n) for n in self._names]
        got = record(self._op, (), tuple(t._get() for t in (*state, *given)))
        results = [Tensor._of(v) for v in (got if isinstance(got, tuple) else (got,))]
        changed = self._told._changed
        with no_grad():
            for name, new in zip(changed, results[len(results) - len(changed) :], strict=True):
                self.get_buffer(name).copy_(new)
        outs = iter(results[: len(results) - len(changed)])
        return pytree.tree_map(lambda x: next(outs) if isinstance(x, str) and x == _TENSOR else x, self._told._output)

    def train(self, mode: bool = True) -> Any:
        """NotImplementedError for another mode than the exported one, which is part of the program."""
        raise NotImplementedError("train() and eval() are part of an exported program: export the module in that mode")

    eval = train


def _caller(exported: Any) -> Callable[..., Any]:
    def call(static: Any, args: tuple) -> Any:
        out = tuple(exported.call(*args))
        return out if len(out) != 1 else out[0]

    return call


def export(
    mod: Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, *, dynamic_shapes: Any = None,
    strict: bool = False,
) -> ExportedProgram:  # fmt: skip
    """The program that ``mod(*args, **kwargs)`` runs, for tensors of these shapes and dtypes.

    Other arguments than tensors become part of it, as does what it draws at random. It may not read values of tensors
    (an error says where it does). Buffers that it writes to are written by the program, too.
    Raises ValueError if ``mod`` is no module or ``args`` no tuple; NotImplementedError for dynamic_shapes that leave
    sizes open.
    """
    import jax
    from jax import export as jax_export

    if not isinstance(mod, Module):
        raise ValueError(f"Expected `mod` to be an instance of `torch.nn.Module`, got {type(mod)}.")
    if not isinstance(args, tuple):
        raise ValueError(f"Expecting `args` to be a tuple of example positional inputs, got {type(args)}")
    open_sizes = [x for x in pytree.tree_leaves(dynamic_shapes) if x is not None and x != Dim.STATIC
                  and not isinstance(x, int)]  # fmt: skip
    if open_sizes:
        raise NotImplementedError("torch.export.export: programs are for fixed sizes, dynamic_shapes cannot leave "
                                  f"{open_sizes} open; export one program for each size")  # fmt: skip
    kwargs = dict(kwargs or {})
    params = dict(mod.named_parameters())
    state = {**params, **dict(mod.named_buffers())}
    leaves, _ = pytree.tree_flatten((args, kwargs))
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    told: dict[str, Any] = {}

    def run(*arrays: Any) -> tuple:
        given = {n: from_jax(a) for n, a in zip(state, arrays, strict=False)}
        before = {n: x._get() for n, x in given.items()}
        rest = iter([from_jax(a) for a in arrays[len(state) :]])
        its_args, its_kwargs = pytree.tree_map(lambda x: next(rest) if isinstance(x, Tensor) else x, (args, kwargs))
        with no_grad(), _reparametrize_module(mod, given):
            result = mod(*its_args, **its_kwargs)
        told["output"] = pytree.tree_map(lambda x: _TENSOR if isinstance(x, Tensor) else x, result)
        told["changed"] = [n for n, x in given.items() if n not in params and x._get() is not before[n]]
        found = [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]
        return tuple(x.jax() for x in (*found, *(given[n] for n in told["changed"])))

    shapes = [jax.ShapeDtypeStruct(tuple(x.shape), x.dtype.numpy) for x in (*state.values(), *tensors)]
    flush("torch.export traces")  # what is pending must not become a part of the program
    with jax.enable_x64(True):
        try:
            exported = jax_export.export(jax.jit(run), platforms=_PLATFORMS)(*shapes)
        except (NotImplementedError, ValueError) as error:
            if isinstance(error, jax.errors.JAXTypeError):
                raise
            exported = jax_export.export(jax.jit(run))(*shapes)  # some operation is for this platform only
    inputs = pytree.tree_map(lambda x: _TENSOR if isinstance(x, Tensor) else x, (args, kwargs))
    return ExportedProgram(exported, {n: x.detach() if n not in params else x for n, x in state.items()}, list(params),
                           told["changed"], inputs, told["output"], (args, kwargs))  # fmt: skip


def _serialized(exported: Any) -> bytes:
    try:
        return bytes(exported.serialize(vjp_order=1))
    except ImportError:
        raise ImportError('writing and reading exported programs needs flatbuffers: pip install "pytorchlike[export]"'
                          ) from None  # fmt: skip


def save(ep: ExportedProgram, f: Any, *, extra_files: dict[str, Any] | None = None, opset_version: Any = None,
         pickle_protocol: int = 2) -> None:  # fmt: skip
    """Write a program and its tensors to a path or file: a zip archive of StableHLO and a ``torch.save`` file.

    ImportError without flatbuffers (the extra ``export``). TypeError for anything else than an ExportedProgram.
    """
    from ..serialization import save as save_tensors

    if not isinstance(ep, ExportedProgram):
        raise TypeError(f"The 'ep' parameter must be an instance of 'ExportedProgram', got '{type(ep).__name__}'")
    program, tensors = _serialized(ep._exported), io.BytesIO()
    save_tensors({"state": {n: x.detach() for n, x in ep.state_dict.items()}, "parameters": ep._parameters,
                  "changed": ep._changed, "inputs": ep._inputs, "output": ep._output}, tensors)  # fmt: skip
    with zipfile.ZipFile(f, "w") as archive:
        archive.writestr("format.json", json.dumps({"format": _FORMAT, "producer": "pytorchlike"}))
        archive.writestr("program.stablehlo", program)
        archive.writestr("state.pt", tensors.getvalue())
        for name, content in (extra_files or {}).items():
            archive.writestr(f"extra/{name}", content)


def load(f: Any, *, extra_files: dict[str, Any] | None = None, expected_opset_version: Any = None) -> ExportedProgram:
    """What :func:`save` wrote. RuntimeError for other files. ``extra_files``: filled for the names that it has.

    A program is code: load files from sources that you trust. Its tensors are read with ``weights_only=True``.
    """
    from ..serialization import load as load_tensors

    with zipfile.ZipFile(f) as archive:
        names = archive.namelist()
        if "program.stablehlo" not in names:
            raise RuntimeError("not a program that torch.export.save of this package wrote; PyTorch's own .pt2 and "
                               "TorchScript files hold graphs of its operators, which cannot be run here")  # fmt: skip
        if json.loads(archive.read("format.json"))["format"] != _FORMAT:
            raise RuntimeError("the file was written by a newer version of pytorchlike")
        told = load_tensors(io.BytesIO(archive.read("state.pt")), weights_only=True)
        program = bytearray(archive.read("program.stablehlo"))
        for name in extra_files or {}:
            extra_files[name] = archive.read(f"extra/{name}").decode()  # type: ignore[index]
    try:
        from jax import export as jax_export

        exported = jax_export.deserialize(program)
    except ImportError:
        raise ImportError('writing and reading exported programs needs flatbuffers: pip install "pytorchlike[export]"'
                          ) from None  # fmt: skip
    parameters = told["parameters"]
    state = {n: Parameter(x, x.dtype.is_floating_point) if n in parameters else x for n, x in told["state"].items()}
    return ExportedProgram(exported, state, parameters, told["changed"], told["inputs"], told["output"])


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """A :class:`Dim` for each name."""
    return tuple(Dim(name, min=min, max=max) for name in names)


def draft_export(
    mod: Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, *, dynamic_shapes: Any = None,
    preserve_module_call_signature: tuple[str, ...] = (), strict: bool = False,
    prefer_deferred_runtime_asserts_over_guards: bool = False,
) -> ExportedProgram:  # fmt: skip
    """:func:`export`: what cannot be exported cannot be drafted, either."""
    return export(mod, args, kwargs, dynamic_shapes=dynamic_shapes, strict=strict)


def register_dataclass(cls: type, *, serialized_type_name: str | None = None) -> None:
    """Let instances of a dataclass be arguments and results of exported programs, by their fields.

    AssertionError if it is none. serialized_type_name: no effect; structures are saved with the class's own name.
    """
    import dataclasses

    if not dataclasses.is_dataclass(cls):
        raise AssertionError(f"Only dataclasses can be registered with this function: {cls}")
    names = [f.name for f in dataclasses.fields(cls)]
    pytree.register_pytree_node(cls, lambda x: ([getattr(x, n) for n in names], None),
                                lambda values, _: cls(**dict(zip(names, values, strict=True))))  # fmt: skip


def unflatten(module: ExportedProgram, flat_args_adapter: Any = None) -> NoReturn:
    """NotImplementedError: a program is StableHLO, which has no modules inside."""
    raise NotImplementedError("torch.export.unflatten: the program is StableHLO, without the modules it was made of; "
                              "ExportedProgram.module() runs it")  # fmt: skip
