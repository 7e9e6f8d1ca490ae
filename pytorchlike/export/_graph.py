"""A program as a graph of ``torch.fx``, and what its arguments and results are."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..engine import Op, get_mode, record, set_mode
from ..engine.errors import describe
from ..engine.trace import default_place
from ..fx.graph import Graph
from ..fx.node import Node
from ..ops._table import Arrays, Key, OpDef, Scalars, Sizes
from ..tensor import Tensor
from ..tensor.dtype import from_numpy_dtype
from ..tensor.random import next_key
from ._recording import PLACE, SEED, Number, Recording, Ref, Source, Step
from ._sizes import Quotient, Root, Size, evaluate

__all__ = ["ExportGraphSignature", "InputKind", "InputSpec", "OutputKind", "OutputSpec", "TensorArgument",
           "TensorSpec", "graph_of", "recorded", "signature_of", "text_of"]

_SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "int64": "i64", "int32": "i32",
          "int16": "i16", "int8": "i8", "uint8": "u8", "bool": "b8", "complex64": "c64",
          "complex128": "c128"}  # fmt: skip


# ---- running a step --------------------------------------------------------------------------------------------------


def recorded(step: Step, values: Mapping[int, Any], sizes: Mapping[str, int], place: Any) -> Any:
    """Record a step for some sizes: a Value or a tuple of them."""
    static = _placed(evaluate(step.static, sizes), place)
    args = [
        values[a.slot] if type(a) is Ref else None if a is None else next_key(None)[0] if a is SEED
        else evaluate(a.value, sizes) for a in step.args
    ]  # fmt: skip
    return apply(step.op, static, args, step.args.count(SEED) if _random(step.op) else 0, step.mode)


def apply(op: Op, static: Any, args: list, seeds: int, mode: tuple) -> Any:
    """Record a call with its results as ever; of the last ``seeds`` arguments a key is made."""
    now = get_mode()
    autocast, default_float = mode
    changed = now.autocast != autocast or now.default_float != default_float
    if changed:
        set_mode(now.replace(autocast=autocast, default_float=default_float))
    try:
        if seeds:
            return record(op, static, tuple(args[:-seeds]), next_key(None))
        return record(op, static, tuple(args))
    finally:
        if changed:
            set_mode(now)


def _random(op: Op) -> bool:
    return isinstance(op.info, OpDef) and op.info.random


def _placed(static: Any, place: Any) -> Any:
    if type(static) is tuple and static and static[-1] is PLACE:
        return (*static[:-1], default_place() if place is None else place)
    return static


# ---- arguments by name -----------------------------------------------------------------------------------------------


def arguments(step: Step) -> list[tuple[str, Any]]:
    """The arguments of a call by the operator's parameters; of an operator without declaration, all that it has."""
    entry = step.entry
    if entry is None or step.op is entry.op_put:
        told = [] if step.static == () else [("static", step.static)]
        return [*told, *((f"arg{k}", a) for k, a in enumerate(step.args))]
    found: list[tuple[str, Any]] = []
    fixed, rest = iter(step.static), iter(step.args)
    for p in entry.params:
        if p.kind is None or p.kind is Sizes:
            found.append((p.name, next(fixed)))
        elif p.kind is Arrays or p.kind is Scalars:
            n = next(fixed)
            found.append((p.name, None if n is None else tuple(next(rest) for _ in range(n))))
        elif p.kind is not Key:
            found.append((p.name, next(rest)))
    return found


class Target:
    """What a node of a program calls: an operator, as a function of all its arguments by position."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.__name__ = step.op.name.strip("_") or step.op.name
        self.__qualname__, self.__module__ = self.__name__, "torch.ops.aten"

    def __call__(self, *given: Any) -> Any:
        values = [g._get() if isinstance(g, Tensor) else g for g in given]
        step = self._step
        told = arguments(step)
        flat: list[Any] = []
        static: list[Any] = []
        entry = step.entry
        if entry is None or step.op is entry.op_put:
            its = values[0] if told and told[0][0] == "static" else ()
            return _tensors(apply(step.op, its, values[len(values) - len(step.args) :], 0, step.mode))
        for p, v in zip((p for p in entry.params if p.kind is not Key), values, strict=True):
            if p.kind is None or p.kind is Sizes:
                static.append(v)
            elif p.kind is Arrays or p.kind is Scalars:
                static.append(None if v is None else len(v))
                flat += [x._get() if isinstance(x, Tensor) else x for x in v or ()]
            else:
                flat.append(v)
        if entry.factory:
            static.append(PLACE)
        place = next((v.meta.place for v in flat if hasattr(v, "meta")), None)
        seeds = 2 if entry.random else 0
        return _tensors(apply(step.op, _placed(tuple(static), place), [*flat, *([None] * seeds)], seeds, step.mode))

    def __repr__(self) -> str:
        return f"torch.ops.aten.{self.__name__}.default"


def _tensors(got: Any) -> Any:
    return tuple([Tensor._of(v) for v in got]) if type(got) is tuple else Tensor._of(got)


def sym_size(x: Tensor, dim: int) -> int:
    """A size of a tensor, as a call."""
    return x.shape[dim]


sym_size.__qualname__, sym_size.__module__ = "sym_size.int", "torch.ops.aten"


# ---- the graph -------------------------------------------------------------------------------------------------------


class TensorSpec(NamedTuple):
    """What ``node.meta["val"]`` of a tensor is: its shape, with sizes, and dtype."""

    shape: tuple
    dtype: Any

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size of it."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __str__(self) -> str:
        return f"{_SHORT.get(str(self.dtype).removeprefix('torch.'), self.dtype)}[{', '.join(map(str, self.shape))}]"


def placeholder_name(s: Source) -> str:
    """What the argument for it is called."""
    prefix = {"parameter": "p_", "buffer": "b_", "constant": "c_", "input": ""}[s.kind]
    return prefix + s.name.replace(".", "_")


class _Builder:
    def __init__(self, program: Recording) -> None:
        self.graph, self.program = Graph(), program
        self.nodes: dict[int, Node] = {}
        self.sizes: dict[Any, Node] = {}

    def build(self) -> Graph:
        for s in self.program.sources:
            node = self.graph.placeholder(placeholder_name(s))
            node.meta["val"] = TensorSpec(s.shape, from_numpy_dtype(s.dtype))
            self.nodes[s.slot] = node
        for s in self.program.sources:
            for k, n in enumerate(s.shape):
                if isinstance(n, Size) and n not in self.sizes and s.kind == "input" and self._used(n):
                    node = self.graph.call_function(sym_size, (self.nodes[s.slot], k), name="sym_size_int")
                    node.meta["val"] = n
                    self.sizes[n] = node
        for step in self.program.steps:
            self._step(step)
        outs = tuple([self.nodes[s] for s in self.program.outs])
        self.graph.output(outs).meta["val"] = tuple([n.meta["val"] for n in outs])
        return self.graph

    def _used(self, size: Size) -> bool:
        names = set(size.names())
        return any(_mentions(step.static, names) or any(type(a) is Number and _mentions(a.value, names)
                                                        for a in step.args) for step in self.program.steps)  # fmt: skip

    def _step(self, step: Step) -> None:
        target = Target(step)
        args = tuple([self._arg(v) for _, v in arguments(step) if v is not SEED])
        node = self.graph.call_function(target, args, name=target.__name__)
        node.meta["stack_trace"] = describe(step.location)
        specs = tuple([TensorSpec(shape, from_numpy_dtype(dtype)) for shape, dtype in step.outs])
        node.meta["val"] = specs if len(specs) > 1 else specs[0]
        if len(specs) == 1:
            self.nodes[step.first] = node
            return
        for k, spec in enumerate(specs):
            part = self.graph.call_function(operator.getitem, (node, k))
            part.meta["val"] = spec
            self.nodes[step.first + k] = part

    def _arg(self, v: Any) -> Any:
        if type(v) is Ref:
            return self.nodes[v.slot]
        if type(v) is Number:
            return self._arg(v.value)
        if isinstance(v, (Size, Root)):
            return self._size(v)
        return tuple([self._arg(i) for i in v]) if type(v) is tuple else v

    def _size(self, n: Any) -> Any:
        if isinstance(n, int):
            return n
        found = self.sizes.get(n)
        if found is None:
            found = self.sizes[n] = self._root(n) if isinstance(n, Root) else self._sum(n)
            found.meta["val"] = n
        return found

    def _call(self, op: Callable[..., Any], *args: Any) -> Node:
        return self.graph.call_function(op, args)

    def _root(self, n: Root) -> Node:
        found = self._call(operator.pow, self._size(n.size), n.power)
        return found if n.factor == 1 else self._call(operator.mul, found, n.factor)

    def _sum(self, n: Size) -> Node:
        total: Any = None
        for atoms, factor in n.terms.items():
            part: Any = None
            for a in atoms:
                its = self._quotient(a) if isinstance(a, Quotient) else self._named(a)
                part = its if part is None else self._call(operator.mul, part, its)
            if part is None:
                part = factor
            elif factor != 1:
                part = self._call(operator.mul, part, factor)
            total = part if total is None else self._call(operator.add, total, part)
        return total

    def _quotient(self, a: Quotient) -> Node:
        key = Size({(a,): 1})
        found = self.sizes.get(key)
        if found is None:
            found = self.sizes[key] = self._call(operator.floordiv, self._size(a.of), a.by)
            found.meta["val"] = key
        return found

    def _named(self, name: str) -> Node:
        """The node of a size that no argument has as it is: ``s0`` where there is only ``2*s0 + 1``."""
        key = Size.named(name)
        found = self.sizes.get(key)
        if found is None:
            whole, node = next((s, n) for s, n in self.sizes.items() if isinstance(s, Size) and s.names() == [name])
            plus, factor = whole.terms.get((), 0), whole.terms[(name,)]
            found = node if not plus else self._call(operator.sub, node, plus)
            found = found if factor == 1 else self._call(operator.floordiv, found, factor)
            found.meta["val"] = key
            self.sizes[key] = found
        return found


def _mentions(x: Any, names: set[str]) -> bool:
    if isinstance(x, Root):
        return bool(names & set(x.size.names()))
    if isinstance(x, Size):
        return bool(names & set(x.names()))
    return type(x) is tuple and any(_mentions(i, names) for i in x)


def graph_of(program: Recording) -> Graph:
    """The program as a graph: state and inputs are placeholders, sizes are calls, the output is a flat tuple."""
    return _Builder(program).build()


# ---- what goes in and comes out --------------------------------------------------------------------------------------


class InputKind(enum.Enum):
    """What an argument of a program is."""

    USER_INPUT = enum.auto()
    PARAMETER = enum.auto()
    BUFFER = enum.auto()
    CONSTANT_TENSOR = enum.auto()


class OutputKind(enum.Enum):
    """What a result of a program is."""

    USER_OUTPUT = enum.auto()
    BUFFER_MUTATION = enum.auto()
    USER_INPUT_MUTATION = enum.auto()


class TensorArgument(NamedTuple):
    """The name of a tensor in the graph."""

    name: str


class InputSpec(NamedTuple):
    """An argument; ``target`` is the qualified name of a parameter, buffer or constant."""

    kind: InputKind
    arg: TensorArgument
    target: str | None
    persistent: bool | None = None


class OutputSpec(NamedTuple):
    """A result; ``target`` is the buffer or argument that gets it."""

    kind: OutputKind
    arg: TensorArgument
    target: str | None


class ExportGraphSignature:
    """The arguments and results of a program, in order."""

    def __init__(self, input_specs: list[InputSpec], output_specs: list[OutputSpec]) -> None:
        self.input_specs, self.output_specs = input_specs, output_specs

    def _inputs(self, kind: InputKind) -> list[InputSpec]:
        return [s for s in self.input_specs if s.kind is kind]

    def _outputs(self, kind: OutputKind) -> list[OutputSpec]:
        return [s for s in self.output_specs if s.kind is kind]

    @property
    def parameters(self) -> tuple:
        """Qualified names of the parameters."""
        return tuple([s.target for s in self._inputs(InputKind.PARAMETER)])

    @property
    def buffers(self) -> tuple:
        """Qualified names of the buffers."""
        return tuple([s.target for s in self._inputs(InputKind.BUFFER)])

    @property
    def user_inputs(self) -> tuple:
        """Names of the arguments."""
        return tuple([s.arg.name for s in self._inputs(InputKind.USER_INPUT)])

    @property
    def user_outputs(self) -> tuple:
        """Names of the results."""
        return tuple([s.arg.name for s in self._outputs(OutputKind.USER_OUTPUT)])

    @property
    def inputs_to_parameters(self) -> dict[str, Any]:
        """Names of placeholders to qualified names."""
        return {s.arg.name: s.target for s in self._inputs(InputKind.PARAMETER)}

    @property
    def inputs_to_buffers(self) -> dict[str, Any]:
        """Names of placeholders to qualified names."""
        return {s.arg.name: s.target for s in self._inputs(InputKind.BUFFER)}

    @property
    def buffers_to_mutate(self) -> dict[str, Any]:
        """Names of results to the buffers that get them."""
        return {s.arg.name: s.target for s in self._outputs(OutputKind.BUFFER_MUTATION)}

    @property
    def user_inputs_to_mutate(self) -> dict[str, Any]:
        """Names of results to the arguments that get them."""
        return {s.arg.name: s.target for s in self._outputs(OutputKind.USER_INPUT_MUTATION)}

    def __str__(self) -> str:
        lines = ["# inputs"]
        for s in self.input_specs:
            target = "" if s.target is None else f" target={s.target!r}"
            lines.append(f"{s.arg.name}: {s.kind.name}{target}")
        lines += ["", "# outputs"]
        for o in self.output_specs:
            lines.append(f"{o.arg.name}: {o.kind.name}{'' if o.target is None else f' target={o.target!r}'}")
        return "\n".join(lines) + "\n"


_INPUTS = {"parameter": InputKind.PARAMETER, "buffer": InputKind.BUFFER, "constant": InputKind.CONSTANT_TENSOR,
           "input": InputKind.USER_INPUT}  # fmt: skip


def signature_of(program: Recording, graph: Graph) -> ExportGraphSignature:
    """The signature of a program with this graph."""
    nodes = list(graph.nodes)
    ins = [
        InputSpec(_INPUTS[s.kind], TensorArgument(n.name), None if s.kind == "input" else s.name,
                  True if s.kind == "buffer" else None)
        for s, n in zip(program.sources, nodes, strict=False)
    ]  # fmt: skip
    results = graph.output_node().args[0]
    n = len(results) - len(program.changed)
    outs = [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(r.name), None) for r in results[:n]]
    for r, name in zip(results[n:], program.changed, strict=True):
        mine = name.startswith("input ")
        kind = OutputKind.USER_INPUT_MUTATION if mine else OutputKind.BUFFER_MUTATION
        outs.append(OutputSpec(kind, TensorArgument(r.name), name.removeprefix("input ")))
    return ExportGraphSignature(ins, outs)


def _written(a: Any) -> str:
    if isinstance(a, (tuple, list)):
        inner = ", ".join(map(_written, a))
        return f"[{inner}]" if not isinstance(a, tuple) or len(a) != 1 else f"[{inner}]"
    return a.name if isinstance(a, Node) else repr(a)


def text_of(graph: Graph) -> str:
    """The graph as the source of a ``forward`` with the types of all values."""
    lines, heads, where = [], [], None
    for n in graph.nodes:
        if n.op == "placeholder":
            heads.append(f'{n.name}: "{n.meta["val"]}"')
        elif n.op == "output":
            lines.append(f"return ({', '.join(a.name for a in n.args[0])}{',' if len(n.args[0]) == 1 else ''})")
        else:
            if n.meta.get("stack_trace") not in (None, where):
                where = n.meta["stack_trace"]
                lines.append(f"# {where}")
            val = n.meta.get("val")
            told = f'"Sym({val})"' if isinstance(val, (Size, Root)) else f'"{val}"'
            kind = "" if val is None or type(val) is tuple else f": {told}"
            lines.append(f"{n.name}{kind} = {_call_text(n)}")
    inside = "".join(f"        {line}\n" for line in lines)
    return f"    def forward(self, {', '.join(heads)}):\n{inside}"


_INFIX = {operator.mul: "*", operator.add: "+", operator.sub: "-", operator.floordiv: "//", operator.pow: "**"}


def _call_text(n: Node) -> str:
    args = [_written(a) for a in n.args]
    if n.target in _INFIX:
        return f"{args[0]} {_INFIX[n.target]} {args[1]}"
    if n.target is operator.getitem:
        return f"{args[0]}[{args[1]}]"
    if n.target is sym_size:
        return f"torch.ops.aten.sym_size.int({', '.join(args)})"
    return f"{n.target!r}({', '.join(args)})"
