"""Programs: StableHLO for fixed sizes, recorded calls where sizes are open; with the tensors that they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ..autograd.mode import no_grad
from ..engine import flush, record
from ..engine.errors import describe, raised_at
from ..engine.op import Op
from ..nn.modules.module import Module
from ..nn.parameter import Parameter
from ..nn.utils.stateless import _reparametrize_module
from ..tensor import Tensor, from_jax
from ..utils import _pytree as pytree
from ._dims import Open, user_error
from ._graph import graph_of, recorded, signature_of, text_of
from ._recording import TENSOR, Recording, exporting
from ._sizes import Range, Size
from ._trace import trace

__all__ = ["ExportedProgram", "draft_export", "export", "register_dataclass", "unflatten"]

_PLATFORMS = ("cpu", "cuda", "tpu")


class ExportedProgram:
    """What :func:`export` makes: ``module()`` runs it, ``save`` writes it, ``graph`` shows it.

    state_dict: the parameters and buffers by name.   constants: other tensors that it uses, by name.
    example_inputs: (args, kwargs) of the export.   range_constraints: what the open sizes may be.
    """

    def __init__(self, exported: Any, program: Recording | None, opened: Open, state: dict[str, Tensor],
                 parameters: list[str], changed: list[str], inputs: Any, output: Any, example_inputs: Any = None,
                 reason: str = "") -> None:  # fmt: skip
        self._exported, self._program, self._open = exported, program, opened
        self.state_dict, self._parameters, self._changed = state, parameters, changed
        self._inputs, self._output, self.example_inputs, self._reason = inputs, output, example_inputs, reason
        self._graph: Any = None

    @property
    def constants(self) -> dict[str, Tensor]:
        """Tensors that the program uses and that are neither parameters nor buffers."""
        if self._program is None:
            return {}
        return {s.name: s.value if isinstance(s.value, Tensor) else Tensor._of(s.value)
                for s in self._program.sources if s.kind == "constant"}  # fmt: skip

    @property
    def range_constraints(self) -> dict[Size, Range]:
        """The open sizes, and what they may be."""
        return {Size.named(name): s.range for name, s in self._open.symbols.items()}

    def module(self, check_guards: bool = True) -> Module:
        """A module with the program as its forward, and with the parameters and buffers under their names.

        check_guards: whether the sizes of arguments are looked at.
        """
        return _Exported(self, check_guards)

    def stablehlo(self) -> str:
        """The program as text. NotImplementedError for one whose sizes are open."""
        if self._exported is None:
            raise NotImplementedError("ExportedProgram.stablehlo: there is StableHLO for fixed sizes only; export "
                                      "without dynamic_shapes for it")  # fmt: skip
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

    @property
    def graph(self) -> Any:
        """The program as a ``torch.fx.Graph`` whose placeholders are the state, then the arguments.

        NotImplementedError if there is none: the program came from a file without it, or could not be recorded.
        """
        if self._program is None:
            raise NotImplementedError(f"ExportedProgram.graph: {self._reason}; see stablehlo(), or export anew")
        if self._graph is None:
            self._graph = graph_of(self._program)
        return self._graph

    @property
    def graph_module(self) -> Any:
        """A ``torch.fx.GraphModule`` of :attr:`graph`, which takes the state as arguments."""
        from ..fx.graph_module import GraphModule

        return GraphModule(Module(), self.graph)

    @property
    def graph_signature(self) -> Any:
        """What the arguments and results of :attr:`graph` are."""
        return signature_of(self._program, self.graph)  # type: ignore[arg-type]

    def run_decompositions(self, decomp_table: Any = None) -> ExportedProgram:
        """The program itself: its calls are this package's operators, which are decomposed when it is compiled.

        NotImplementedError for decompositions of one's own.
        """
        if decomp_table:
            raise NotImplementedError("run_decompositions: a decomp_table has no operators of PyTorch's to take apart; "
                                      "leave it out, and rewrite the module's own calls instead")
        return self

    def __str__(self) -> str:
        if self._program is None:
            return repr(self)
        signature = str(self.graph_signature).replace("\n", "\n    ")
        return ("ExportedProgram:\n    class GraphModule(torch.nn.Module):\n    "
                + text_of(self.graph).replace("\n", "\n    ")
                + f"\nGraph signature:\n    {signature}\nRange constraints: {self.range_constraints}\n")  # fmt: skip

    def __repr__(self) -> str:
        if self._exported is None:
            return f"ExportedProgram({len(self.state_dict)} tensors, inputs: {self._open.shapes})"
        ins = ", ".join(map(str, self._exported.in_avals[len(self.state_dict):]))
        return f"ExportedProgram({len(self.state_dict)} tensors, inputs: {ins}, outputs: {self._exported.out_avals})"


class _Exported(Module):
    """A program as a module."""

    def __init__(self, program: ExportedProgram, check_guards: bool = True) -> None:
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
        self._names, self._told, self._checks = list(program.state_dict), program, check_guards
        self._op = None if program._exported is None else Op("exported program", _caller(program._exported))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The program's result.

        ValueError for arguments of another structure, AssertionError for sizes that it was not made for, RuntimeError
        for other dtypes and other values of what is no tensor.
        """
        leaves, spec = pytree.tree_flatten((args, kwargs))
        its_leaves, its_spec = pytree.tree_flatten(self._told._inputs)
        if spec != its_spec:
            raise ValueError(f"the program takes arguments of structure {its_spec}, got {spec}")
        given: list[Tensor] = []
        for k, (leaf, its) in enumerate(zip(leaves, its_leaves, strict=True)):
            if its != TENSOR:
                if leaf is not its and leaf != its:
                    raise RuntimeError(f"the program was made for {its!r} as argument {k}, got {leaf!r}")
                continue
            if not isinstance(leaf, Tensor):
                raise RuntimeError(f"the program was made for a tensor as argument {k}, got {leaf!r}")
            given.append(leaf)
        state = [self.get_parameter(n) if n in self._told._parameters else self.get_buffer(n) for n in self._names]
        results = self._fixed(state, given) if self._op is not None else self._recorded(state, given)
        changed = self._told._changed
        with no_grad():
            for name, new in zip(changed, results[len(results) - len(changed) :], strict=True):
                if name.startswith("input "):
                    given[self._argument(name)].copy_(new)
                else:
                    self.get_buffer(name).copy_(new)
        outs = iter(results[: len(results) - len(changed)])
        return pytree.tree_map(lambda x: next(outs) if isinstance(x, str) and x == TENSOR else x, self._told._output)

    def _fixed(self, state: list[Tensor], given: list[Tensor]) -> list[Tensor]:
        avals = self._told._exported.in_avals[len(self._names) :]
        for k, (x, aval) in enumerate(zip(given, avals, strict=True)):
            if tuple(x.shape) != aval.shape:
                raise AssertionError(f"Guard failed: the program was made for a tensor of shape {aval.shape} as "
                                     f"argument {k}, got {tuple(x.shape)}; dynamic_shapes of the export leave sizes "
                                     "open")  # fmt: skip
            if x.dtype.numpy != aval.dtype:
                raise RuntimeError(f"the program was made for a tensor of dtype {aval.dtype} as argument {k}, got "
                                   f"{x.dtype}")  # fmt: skip
        got = record(self._op, (), tuple(t._get() for t in (*state, *given)))  # type: ignore[arg-type]
        return [Tensor._of(v) for v in (got if isinstance(got, tuple) else (got,))]

    def _recorded(self, state: list[Tensor], given: list[Tensor]) -> list[Tensor]:
        program = self._told._program
        inputs = [s for s in program.sources if s.kind == "input"]  # type: ignore[union-attr]
        sizes = _sizes_of(inputs, given, self._told._open, self._checks)
        by_name = dict(zip(self._names, state, strict=True))
        arguments = {s.name: x for s, x in zip(inputs, given, strict=True)}
        values: dict[int, Any] = {}
        for s in program.sources:  # type: ignore[union-attr]
            x = arguments[s.name] if s.kind == "input" else s.value if s.kind == "constant" else by_name[s.name]
            values[s.slot] = x._get() if isinstance(x, Tensor) else x
        place = (given or state or [None])[0]
        place = None if place is None else place._get().meta.place
        for step in program.steps:  # type: ignore[union-attr]
            got = recorded(step, values, sizes, place)
            for k, v in enumerate(got if type(got) is tuple else (got,)):
                values[step.first + k] = v
        return [Tensor._of(values[s]) for s in program.outs]  # type: ignore[union-attr]

    def _argument(self, name: str) -> int:
        inputs = [s.name for s in self._told._program.sources if s.kind == "input"]  # type: ignore[union-attr]
        return inputs.index(name.removeprefix("input "))

    def train(self, mode: bool = True) -> Any:
        """NotImplementedError for another mode than the exported one, which is part of the program."""
        raise NotImplementedError("train() and eval() are part of an exported program: export the module in that mode")

    eval = train


def _sizes_of(inputs: list[Any], given: list[Tensor], opened: Open, check: bool) -> dict[str, int]:
    """The open sizes, read off the arguments. AssertionError for others than the program was made for."""
    found: dict[str, int] = {}
    for s, x in zip(inputs, given, strict=True):
        if x.dtype.numpy != s.dtype:
            raise RuntimeError(f"the program was made for a tensor of dtype {s.dtype} as {s.name}, got {x.dtype}")
        if len(x.shape) != len(s.shape):
            raise AssertionError(f"Guard failed: {s.name}.dim() == {len(s.shape)}, got shape {list(x.shape)}")
        for k, (n, want) in enumerate(zip(x.shape, s.shape, strict=True)):
            if isinstance(want, Size):
                (name,) = want.names()
                value, rest = divmod(n - want.terms.get((), 0), want.terms[(name,)])
                if rest or value < 0:
                    raise AssertionError(f"Guard failed: {s.name}.size()[{k}] == {want}, got {n}")
                first = found.setdefault(name, value)
                if first != value:
                    raise AssertionError(f"Guard failed: {s.name}.size()[{k}] == {want} with {name} = {first} as in "
                                         f"other arguments, got {n}")  # fmt: skip
            elif check and n != want:
                raise AssertionError(f"Guard failed: {s.name}.size()[{k}] == {want}, got {n}: this size was fixed by "
                                     "the export")  # fmt: skip
    for name, symbol in opened.symbols.items():
        bounds = symbol.range
        if check and name in found and found[name] not in Range(0 if symbol.lenient else bounds.lower, bounds.upper):
            below = found[name] < bounds.lower
            raise AssertionError(f"Guard failed: {symbol.told} {'>=' if below else '<='} "
                                 f"{bounds.lower if below else bounds.upper}, got {found[name]}")  # fmt: skip
    return found


def _caller(exported: Any) -> Callable[..., Any]:
    def call(static: Any, args: tuple) -> Any:
        out = tuple(exported.call(*args))
        return out if len(out) != 1 else out[0]

    return call


def export(
    mod: Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, *, dynamic_shapes: Any = None,
    strict: bool = False, preserve_module_call_signature: tuple[str, ...] = (),
    prefer_deferred_runtime_asserts_over_guards: bool = False,
) -> ExportedProgram:  # fmt: skip
    """The program that ``mod(*args, **kwargs)`` runs, for tensors of these shapes and dtypes.

    dynamic_shapes: which sizes may be others: for each argument, by name or in their order, None or a dict from
    dimensions, or a tuple with an entry for each of them: a :class:`Dim`, ``Dim.DYNAMIC``, ``Dim.AUTO`` (may vary if
    the module lets it), ``Dim.STATIC`` or None; containers of tensors get containers of these. The module is run on
    shapes at about ten sizes, and what it derives from sizes must be polynomials and floor divisions of them.
    strict: no effect: the module is run, its bytecode is not followed.   The last two: no effect.

    Other arguments than tensors become part of it. Without open sizes so does what it draws at random. It may not read
    values of tensors (an error says where it does). Buffers and arguments that it writes to are written by the program,
    too.   Raises ValueError if ``mod`` is no module or ``args`` no tuple; ``torch._dynamo.exc.UserError`` for
    dynamic_shapes that do not fit the arguments or the module.
    """
    return exported_program(mod, args, kwargs, dynamic_shapes, lower=True)


def exported_program(mod: Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None, dynamic_shapes: Any,
                     lower: bool) -> ExportedProgram:  # fmt: skip
    """:func:`export`; with ``lower`` programs for fixed sizes are StableHLO as well."""
    if not isinstance(mod, Module):
        raise ValueError(f"Expected `mod` to be an instance of `torch.nn.Module`, got {type(mod)}.")
    if not isinstance(args, tuple):
        raise ValueError(f"Expecting `args` to be a tuple of example positional inputs, got {type(args)}")
    kwargs = dict(kwargs or {})
    params = dict(mod.named_parameters())
    state = {**params, **dict(mod.named_buffers())}
    opened, program, exported, reason = Open([], {}), None, None, ""
    if dynamic_shapes is not None or not lower:
        opened, program = trace(mod, args, kwargs, dynamic_shapes)
    if lower and not opened.symbols:
        exported, changed, output = _lowered(mod, args, kwargs, params, state)
        if program is None:
            try:
                program = trace(mod, args, kwargs)[1]
            except (NotImplementedError, RuntimeError, ValueError) as error:  # the program is there without its graph
                reason = f"the module could not be recorded ({error})"
    if program is not None and (exported is None or any(c.startswith("input ") for c in program.changed)):
        exported, changed, output = None, list(program.changed), program.output
    inputs = pytree.tree_map(lambda x: TENSOR if isinstance(x, Tensor) else x, (args, kwargs))
    kept = {n: x.detach() if n not in params else x for n, x in state.items()}
    return ExportedProgram(exported, program, opened, kept, list(params), changed, inputs, output, (args, kwargs),
                           reason)  # fmt: skip


def _lowered(mod: Module, args: tuple, kwargs: dict[str, Any], params: dict[str, Tensor],
             state: dict[str, Tensor]) -> tuple[Any, list[str], Any]:  # fmt: skip
    """The module as StableHLO for these arguments; the buffers that it writes to; the structure of its results."""
    import jax
    from jax import export as jax_export

    leaves, _ = pytree.tree_flatten((args, kwargs))
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    told: dict[str, Any] = {}

    def run(*arrays: Any) -> tuple:
        given = {n: from_jax(a) for n, a in zip(state, arrays, strict=False)}
        before = {n: x._get() for n, x in given.items()}
        rest = iter([from_jax(a) for a in arrays[len(state) :]])
        its_args, its_kwargs = pytree.tree_map(lambda x: next(rest) if isinstance(x, Tensor) else x, (args, kwargs))
        with no_grad(), _reparametrize_module(mod, given), exporting():
            result = mod(*its_args, **its_kwargs)
        told["output"] = pytree.tree_map(lambda x: TENSOR if isinstance(x, Tensor) else x, result)
        told["changed"] = [n for n, x in given.items() if n not in params and x._get() is not before[n]]
        found = [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]
        return tuple(x.jax() for x in (*found, *(given[n] for n in told["changed"])))

    shapes = [jax.ShapeDtypeStruct(tuple(x.shape), x.dtype.numpy) for x in (*state.values(), *tensors)]
    flush("torch.export traces")  # what is pending must not become a part of the program
    with jax.enable_x64(True):
        try:
            exported = jax_export.export(jax.jit(run), platforms=_PLATFORMS)(*shapes)
        except jax.errors.JAXTypeError as error:
            raise user_error(
                f"torch.export: the value of a tensor is needed at {describe(raised_at(error))}, but the program is to "
                "hold for all values. Keep it in a tensor (torch.where or torch.cond instead of if; no .item(), print "
                "or numpy() inside)."
            ) from None
        except (NotImplementedError, ValueError):
            exported = jax_export.export(jax.jit(run))(*shapes)  # some operation is for this platform only
    return exported, told["changed"], told["output"]


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
