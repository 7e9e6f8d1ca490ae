"""Graphs: lists of nodes that can be changed and written out as Python (``torch.fx.graph``)."""

from __future__ import annotations

import builtins
import importlib
import keyword
import operator
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from .immutable_collections import immutable_dict, immutable_list
from .node import Node, map_arg, target_name

__all__ = ["Graph", "PythonCode"]

#: How calls of Python's operators are written.
_INFIX = {
    operator.add: "{} + {}", operator.sub: "{} - {}", operator.mul: "{} * {}", operator.truediv: "{} / {}",
    operator.floordiv: "{} // {}", operator.mod: "{} % {}", operator.pow: "{} ** {}", operator.matmul: "{} @ {}",
    operator.lshift: "{} << {}", operator.rshift: "{} >> {}", operator.and_: "{} & {}", operator.or_: "{} | {}",
    operator.xor: "{} ^ {}", operator.eq: "{} == {}", operator.ne: "{} != {}", operator.lt: "{} < {}",
    operator.gt: "{} > {}", operator.le: "{} <= {}", operator.ge: "{} >= {}", operator.neg: "-{}",
    operator.pos: "+{}", operator.invert: "~{}", operator.getitem: "{}[{}]", operator.is_: "{} is {}",
    operator.is_not: "{} is not {}",
}  # fmt: skip
_IN_PLACE = {
    operator.iadd: "+=", operator.isub: "-=", operator.imul: "*=", operator.itruediv: "/=", operator.iand: "&=",
    operator.ior: "|=", operator.ixor: "^=", operator.imatmul: "@=", operator.ipow: "**=", operator.imod: "%=",
    operator.ifloordiv: "//=", operator.ilshift: "<<=", operator.irshift: ">>=",
}  # fmt: skip


class PythonCode(NamedTuple):
    """The source of ``forward``, and the global names that it needs."""

    src: str
    globals: dict[str, Any]


class _Names:
    """Names of nodes that are different, and no keywords or builtins."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.counts: dict[str, int] = {}

    def new(self, wanted: str) -> str:
        base = re.sub(r"[^0-9a-zA-Z_]", "_", wanted) or "_unnamed"
        if base[0].isdigit():
            base = f"_{base}"
        found = re.fullmatch(r"(.*)_(\d+)", base)
        count = None
        if found and found[1]:
            base, count = found[1], int(found[2])
        name = base if count is None else f"{base}_{count}"
        count = self.counts.get(base, 0) if count is None else count
        while name in self.used or keyword.iskeyword(name) or hasattr(builtins, name) or name in ("torch", "self"):
            count += 1
            name = f"{base}_{count}"
        self.used.add(name)
        self.counts[base] = max(count, self.counts.get(base, 0))
        return name


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


class _Nodes:
    """The nodes of a graph, in order; may be walked while the graph changes behind the present node."""

    def __init__(self, graph: Graph, backwards: bool = False) -> None:
        self.graph, self.backwards = graph, backwards

    def __len__(self) -> int:
        return self.graph._len

    def __iter__(self) -> Iterator[Node]:
        root = self.graph._root
        node = root._prev if self.backwards else root._next
        while node is not root:
            if not node._erased:
                yield node
            node = node._prev if self.backwards else node._next

    def __reversed__(self) -> _Nodes:
        return _Nodes(self.graph, not self.backwards)


class _Inserting:
    """Where a graph puts new nodes, until a ``with`` block over it ends."""

    def __init__(self, graph: Graph, at: Node, given: Node | None) -> None:
        if given is not None and given.graph is not graph:
            raise AssertionError("Node to insert before is not in graph.")
        self._graph, self._before = graph, graph._at
        graph._at = at

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        self._graph._at = self._before


class Graph:
    """A program as a list of nodes: placeholders first, calls, one output.

    owning_module: the GraphModule it is the code of.   tracer_cls: what made it.
    """

    def __init__(self, owning_module: Any = None, tracer_cls: Any = None, tracer_extras: Any = None) -> None:
        self._root = Node(self, "", "root", "", (), {})
        self._len = 0
        self._names = _Names()
        self._at = self._root
        self.owning_module, self._tracer_cls, self._tracer_extras = owning_module, tracer_cls, tracer_extras
        self._after_output: list[Any] = []

    # ---- what is there -----------------------------------------------------------------------------------------

    @property
    def nodes(self) -> _Nodes:
        """All nodes, in order."""
        return _Nodes(self)

    def output_node(self) -> Node:
        """The output. AssertionError if there is none."""
        found = next(iter(reversed(self.nodes)), None)
        if found is None or found.op != "output":
            raise AssertionError("the graph has no output")
        return found

    def find_nodes(self, *, op: str, target: Any = None, sort: bool = True) -> list[Node]:
        """The nodes of a kind, with a target unless it is None, in order."""
        return [n for n in self.nodes if n.op == op and (target is None or n.target == target)]

    # ---- building ----------------------------------------------------------------------------------------------

    def create_node(
        self, op: str, target: Any, args: tuple | None = None, kwargs: dict[str, Any] | None = None,
        name: str | None = None, type_expr: Any = None,
    ) -> Node:  # fmt: skip
        """A new node at the place of insertion (see :meth:`inserting_before`), the end by default."""
        wanted = name if name is not None else _snake(self._wanted(op, target))
        node = Node(self, self._names.new(wanted), op, target, args or (), kwargs or {}, type_expr)
        self._at.prepend(node)
        self._len += 1
        return node

    @staticmethod
    def _wanted(op: str, target: Any) -> str:
        if op == "placeholder":
            return target.replace("*", "")
        if op == "output":
            return "output"
        if isinstance(target, str):
            return target
        name = getattr(target, "__name__", type(target).__name__)
        return name[2:-2] if len(name) > 4 and name.startswith("__") and name.endswith("__") else name

    def placeholder(self, name: str, type_expr: Any = None, default_value: Any = ...) -> Node:
        """An argument of the program; with ``*`` or ``**`` in front of the name it takes the rest."""
        args = () if default_value is ... else (default_value,)
        return self.create_node("placeholder", name, args, type_expr=type_expr)

    def get_attr(self, qualified_name: str, type_expr: Any = None) -> Node:
        """A parameter, buffer or other attribute of the owning module."""
        return self.create_node("get_attr", qualified_name, type_expr=type_expr)

    def call_module(self, module_name: str, args: tuple | None = None, kwargs: dict | None = None,
                    type_expr: Any = None) -> Node:  # fmt: skip
        """A call of a submodule, by its qualified name."""
        return self.create_node("call_module", module_name, args, kwargs, type_expr=type_expr)

    def call_method(self, method_name: str, args: tuple | None = None, kwargs: dict | None = None,
                    type_expr: Any = None) -> Node:  # fmt: skip
        """A call of a method of ``args[0]``."""
        return self.create_node("call_method", method_name, args, kwargs, type_expr=type_expr)

    def call_function(self, the_function: Callable[..., Any], args: tuple | None = None, kwargs: dict | None = None,
                      type_expr: Any = None, name: str | None = None) -> Node:  # fmt: skip
        """A call of a Python function."""
        return self.create_node("call_function", the_function, args, kwargs, name=name, type_expr=type_expr)

    def output(self, result: Any, type_expr: Any = None) -> Node:
        """What the program returns; nodes are made last."""
        return self.create_node("output", "output", (result,), type_expr=type_expr)

    def inserting_before(self, n: Node | None = None) -> _Inserting:
        """New nodes come in front of ``n``, of all if it is None: from now on, or within a ``with`` block."""
        return _Inserting(self, self._root._next if n is None else n, n)

    def inserting_after(self, n: Node | None = None) -> _Inserting:
        """New nodes come behind ``n``, of all if it is None: from now on, or within a ``with`` block."""
        return _Inserting(self, self._root if n is None else n._next, n)

    def node_copy(self, node: Node, arg_transform: Callable[[Node], Any] = lambda x: x) -> Node:
        """A copy of a node of any graph; ``arg_transform`` gives this graph's nodes for those among its arguments."""
        args, kwargs = map_arg((node.args, node.kwargs), arg_transform)
        new = self.create_node(node.op, node.target, args, kwargs, node.name, node.type)
        new.meta = dict(node.meta)
        return new

    def graph_copy(self, g: Graph, val_map: dict[Node, Node], return_output_node: bool = False) -> Any:
        """Copy the nodes of ``g`` here and return what its output is here; ``val_map`` is filled on the way."""
        for node in g.nodes:
            if node in val_map:
                continue
            if node.op == "output":
                found = map_arg(node.args[0], lambda n: val_map[n])
                return (found, node) if return_output_node else found
            val_map[node] = self.node_copy(node, lambda n: val_map[n])
        return None

    def __deepcopy__(self, memo: dict | None = None) -> Graph:
        made = Graph(tracer_cls=self._tracer_cls)
        val_map: dict[Node, Node] = {}
        found = made.graph_copy(self, val_map, return_output_node=True)
        if isinstance(found, tuple) and found and isinstance(found[-1], Node):
            result, old = found
            made.output(result, old.type).meta = dict(old.meta)
        return made

    def __reduce__(self) -> tuple:
        at = {node: i for i, node in enumerate(self.nodes)}
        rows = [
            (n.op, n.target, *map_arg((n.args, n.kwargs), lambda m: _Ref(at[m])), n.name, n.type) for n in self.nodes
        ]
        return _rebuilt, (rows,)

    # ---- changing ----------------------------------------------------------------------------------------------

    def erase_node(self, to_erase: Node) -> None:
        """Take a node out. RuntimeError if another uses it."""
        if to_erase.users:
            raise RuntimeError(f"Tried to erase Node {to_erase} but it still had {len(to_erase.users)} users in the "
                               f"graph: {to_erase.users}!")  # fmt: skip
        if to_erase.graph is not self:
            raise RuntimeError(f"Attempting to remove {to_erase} from wrong graph!")
        if to_erase._erased:
            return
        if self._at is to_erase:
            self._at = to_erase._next
        to_erase._unlink()
        to_erase._erased = True
        self._len -= 1
        to_erase._set((), {})

    def eliminate_dead_code(self, is_impure_node: Callable[[Node], bool] | None = None) -> bool:
        """Erase the nodes that nobody uses and that have no effect; whether there were any."""
        self.lint()
        impure = is_impure_node or Node.is_impure
        changed = False
        for node in reversed(self.nodes):
            if not node.users and not impure(node):
                self.erase_node(node)
                changed = True
        return changed

    def lint(self) -> None:
        """RuntimeError if the graph is not in order: arguments after calls, uses before definitions, missing names."""
        seen: set[Node] = set()
        names: set[str] = set()
        for node in self.nodes:
            if node.graph is not self:
                raise RuntimeError(f"Node '{node}' does not belong to this Graph!")
            for used in node.all_input_nodes:
                if used.graph is not self:
                    raise RuntimeError(f"Argument '{used}' of Node '{node}' does not belong to this Graph, but was "
                                       "used as an argument!")  # fmt: skip
                if used not in seen:
                    raise RuntimeError(f"Argument '{used}' of Node '{node}' was used before it has been defined! "
                                       "Please check that Nodes in the graph are topologically "
                                       f"ordered\n{self}")  # fmt: skip
            if node.name in names:
                raise RuntimeError(f"Node redefined name {node.name}!")
            names.add(node.name)
            seen.add(node)
            if node.op in ("get_attr", "call_module") and self.owning_module is not None:
                self._find(node)

    def _find(self, node: Node) -> Any:
        found = self.owning_module
        for part in node.target.split("."):
            if not hasattr(found, part):
                raise RuntimeError(f"Node {node} target {node.target} references nonexistent attribute {part}")
            found = getattr(found, part)
        return found

    # ---- writing -----------------------------------------------------------------------------------------------

    def on_generate_code(self, make_transformer: Any) -> None:
        """NotImplementedError: the way code is written cannot be changed."""
        raise NotImplementedError("Graph.on_generate_code: change the graph, or the source that python_code() returns")

    def python_code(
        self, root_module: str = "self", *, verbose: bool = False, include_stride: bool = False,
        include_device: bool = False, colored: bool = False, expanded_def: bool = False, record_func: bool = False,
    ) -> PythonCode:  # fmt: skip
        """The source of a function ``forward(self, ...)`` that does what the graph says.

        NotImplementedError for what would be written beside the calls.
        """
        refuse_remarks(verbose=verbose, include_stride=include_stride, include_device=include_device, colored=colored,
                       expanded_def=expanded_def, record_func=record_func)
        return _Writer(self, root_module).write()

    def print_tabular(self) -> None:
        """Print a table of the nodes."""
        rows = [[n.op, n.name, target_name(n.target), str(n.args), str(n.kwargs)] for n in self.nodes]
        head = ["opcode", "name", "target", "args", "kwargs"]
        wide = [max(len(r[k]) for r in [head, *rows]) for k in range(5)]
        for row in [head, ["-" * w for w in wide], *rows]:
            print("  ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)).rstrip())

    def __str__(self) -> str:
        return "\n    ".join(["graph():", *(node.format_node() or "" for node in self.nodes)])


def refuse_remarks(**asked: bool) -> None:
    """NotImplementedError if the source of a graph is to have more than calls in it."""
    for name, value in asked.items():
        if value:
            raise NotImplementedError(f"torch.fx: {name}=True is not supported, the source of a graph has no remarks; "
                                      "look at the nodes' meta, or at Graph.print_tabular()")


class _Ref(NamedTuple):
    """A node in a pickled graph, by its place."""

    index: int


def _rebuilt(rows: list[tuple]) -> Graph:
    from .node import map_aggregate

    graph = Graph()
    nodes: list[Node] = []

    def put(a: Any) -> Any:
        # a _Ref is a tuple: it has to be caught before containers are looked into
        if isinstance(a, _Ref):
            return nodes[a.index]
        if isinstance(a, (tuple, list)):
            return type(a)(put(x) for x in a) if not hasattr(a, "_fields") else type(a)(*[put(x) for x in a])
        if isinstance(a, dict):
            return {k: put(v) for k, v in a.items()}
        return map_aggregate(a, put) if isinstance(a, slice) else a

    for op, target, args, kwargs, name, kind in rows:
        nodes.append(graph.create_node(op, target, put(args), put(kwargs), name, kind))
    return graph


class _Writer:
    """Writes a graph as Python."""

    def __init__(self, graph: Graph, root: str) -> None:
        self.graph, self.root = graph, root
        self.globals: dict[str, Any] = {"torch": importlib.import_module(__package__.partition(".")[0])}
        self.marked: list[str] = []  # functions that were given to fx.wrap, by their names in the code

    def write(self) -> PythonCode:
        signature, body = ["self"], []
        last: dict[Node, Node] = {}
        for node in self.graph.nodes:
            for used in node.all_input_nodes:
                last[used] = node
        for node in self.graph.nodes:
            line = self._node(node, signature)
            if line is None:
                continue
            done = [] if node.op == "output" else [used.name for used in node.all_input_nodes if last[used] is node]
            if not node.users and node.op not in ("output", "placeholder"):
                done = [*done, node.name]
            body.append(line + (f";  {' = '.join(done)} = None" if done else ""))
        lines = body or ["pass"]
        marked = "\n".join(f'torch.fx._symbolic_trace.wrap("{name}")' for name in self.marked)
        head = f"\n{marked}\n\ndef forward({', '.join(signature)}):\n"
        return PythonCode(head + "".join(f"    {line}\n" for line in [*lines, ""])[:-1], self.globals)

    def _node(self, node: Node, signature: list[str]) -> str | None:
        if node.op == "placeholder":
            told = node.target
            signature.append(told + (f" = {self._value(node.args[0])}" if node.args else ""))
            plain = told.lstrip("*")
            return None if plain == node.name else f"{node.name} = {plain}"
        if node.op == "output":
            return f"return {self._value(node.args[0])}"
        if node.op == "get_attr":
            return f"{node.name} = {self._attribute(self.root, node.target)}"
        if node.op == "call_module":
            return f"{node.name} = {self._attribute(self.root, node.target)}({self._arguments(node.args, node.kwargs)})"
        if node.op == "call_method":
            first, *rest = node.args
            return f"{node.name} = {self._operand(first)}.{node.target}({self._arguments(rest, node.kwargs)})"
        return self._call(node)

    def _call(self, node: Node) -> str:
        target, args = node.target, node.args
        plain = not node.kwargs and not any(isinstance(a, str) for a in args[:1])
        if plain and (form := _lookup(_INFIX, target)) is not None and form.count("{}") == len(args):
            written = [self._operand(a) for a in args]
            if target is operator.getitem:
                written[1] = self._index(args[1])
            return f"{node.name} = {form.format(*written)}"
        if plain and (sign := _lookup(_IN_PLACE, target)) is not None:
            return f"{node.name} = {self._value(args[0])};  {node.name} {sign} {self._value(args[1])}"
        if target is operator.setitem and plain:
            return f"{self._value(args[0])}[{self._index(args[1])}] = {self._value(args[2])};  {node.name} = None"
        if target is getattr and isinstance(args[1], str) and args[1].isidentifier() and len(args) == 2:
            return f"{node.name} = {self._operand(args[0])}.{args[1]}"
        return f"{node.name} = {self._global(target)}({self._arguments(args, node.kwargs)})"

    def _index(self, index: Any) -> str:
        if isinstance(index, tuple) and index:
            return ", ".join(self._index(i) if not isinstance(i, tuple) else self._value(i) for i in index) + (
                "," if len(index) == 1 else "")  # fmt: skip
        if isinstance(index, slice):
            start, stop, step = ("" if p is None else self._value(p) for p in (index.start, index.stop, index.step))
            return f"{start}:{stop}" + (f":{step}" if step else "")
        return self._value(index)

    def _operand(self, a: Any) -> str:
        text = self._value(a)
        return f"({text})" if isinstance(a, (int, float)) and not isinstance(a, bool) and text.startswith("-") else text

    @staticmethod
    def _attribute(root: str, path: str) -> str:
        out = root
        for part in path.split("."):
            out = f"{out}.{part}" if part.isidentifier() else f'getattr({out}, "{part}")'
        return out

    def _arguments(self, args: Iterable[Any], kwargs: dict[str, Any]) -> str:
        return ", ".join([*map(self._value, args), *(f"{k} = {self._value(v)}" for k, v in kwargs.items())])

    def _value(self, a: Any) -> str:
        if isinstance(a, Node):
            return a.name
        if type(a) is tuple:
            inside = ", ".join(map(self._value, a))
            return f"({inside},)" if len(a) == 1 else f"({inside})"
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            return f"{self._global(type(a))}({', '.join(map(self._value, a))})"
        if type(a) in (list, immutable_list):
            return f"[{', '.join(map(self._value, a))}]"
        if type(a) in (dict, immutable_dict):
            return "{" + ", ".join(f"{k!r}: {self._value(v)}" for k, v in a.items()) + "}"
        if isinstance(a, slice):
            return f"slice({', '.join(map(self._value, (a.start, a.stop, a.step)))})"
        if a is None or a is ... or type(a) in (bool, int, str, bytes):
            return "..." if a is ... else repr(a)
        if type(a) in (float, complex):
            text = repr(a)
            return text if re.fullmatch(r"[-+0-9.ej()]+", text) else f"float('{text}')"
        if repr(a).startswith("torch.") and repr(a).split(".")[1].isidentifier():
            return repr(a)  # a dtype, memory format or layout
        return self._global(a)

    def _global(self, target: Any) -> str:
        """The name under which the code finds an object."""
        at = getattr(target, "_at", None)
        if at is not None:
            return ".".join(p for p in ("torch", *at) if p)
        if getattr(builtins, getattr(target, "__name__", "?"), None) is target:
            return target.__name__
        module = getattr(target, "__module__", None)
        name = getattr(target, "__qualname__", None) or getattr(target, "__name__", None) or type(target).__name__
        if type(module) is str and module.partition(".")[0] == "pytorchlike":
            path = (*module.split(".")[1:], *name.split("."))
            found: Any = sys.modules["pytorchlike"]
            for part in path:
                found = getattr(found, part, None)
            if found is target or found == target:  # a function that was taken before anybody was asked first
                return ".".join(("torch", *path))
        base = re.sub(r"\W", "_", f"{module}.{name}" if module and hasattr(target, "__name__") else f"_{name}")
        name, k = base, 0
        while name in self.globals and self.globals[name] is not target:
            k += 1
            name = f"{base}_{k}"
        if name not in self.globals and is_marked(target):
            self.marked.append(name)
        self.globals[name] = target
        return name


#: (globals of a module, name) of functions that are not looked into.
marked: dict[tuple[int, str], dict[str, Any]] = {}


def is_marked(function: Any) -> bool:
    """Whether a function was given to :func:`torch.fx.wrap`."""
    known = getattr(function, "__globals__", None)
    return known is not None and (id(known), getattr(function, "__name__", None)) in marked


def _lookup(table: dict[Any, str], target: Any) -> str | None:
    try:
        return table.get(target)
    except TypeError:  # not hashable
        return None
