"""Proxies: stand-ins for values, which turn what is done to them into nodes (``torch.fx.proxy``)."""

from __future__ import annotations

import dis
import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

from ..overrides import is_tensor_method_or_property
from ..tensor import Tensor, asking
from .graph import Graph
from .node import Node, map_aggregate

__all__ = ["Attribute", "GraphAppendingTracer", "ParameterProxy", "Proxy", "TraceError", "TracerBase"]


class TraceError(ValueError):
    """The program does something with a proxy that needs a value."""


class TracerBase:
    """What a Proxy asks to make nodes; see :class:`torch.fx.Tracer`."""

    graph: Graph
    record_stack_traces = False
    trace_asserts = False

    def create_node(self, kind: str, target: Any, args: tuple, kwargs: dict[str, Any], name: str | None = None,
                    type_expr: Any = None) -> Node:  # fmt: skip
        """A node of the graph being traced."""
        node = self.graph.create_node(kind, target, args, kwargs, name, type_expr)
        if self.record_stack_traces:
            import traceback

            node.stack_trace = "".join(traceback.format_stack()[:-3])
        return node

    def proxy(self, node: Node) -> Proxy:
        """The stand-in for a node's value."""
        return Proxy(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: tuple, kwargs: dict[str, Any], name: str | None = None,
        type_expr: Any = None, proxy_factory_fn: Callable[[Node], Proxy] | None = None,
    ) -> Proxy:  # fmt: skip
        """A node and its stand-in; ``args`` and ``kwargs`` may hold proxies."""
        args, kwargs = self.create_arg(args), self.create_arg(kwargs)
        node = self.create_node(kind, target, args, kwargs, name, type_expr)
        return (proxy_factory_fn or self.proxy)(node)

    def create_arg(self, a: Any) -> Any:
        """A value as an argument of a node. NotImplementedError for what no node can hold."""
        if isinstance(a, (tuple, list, dict, slice)) and (not isinstance(a, tuple) or type(a) is tuple
                                                          or hasattr(a, "_fields")):  # fmt: skip
            if isinstance(a, dict) and any(isinstance(key, (Proxy, Node)) for key in a):
                raise RuntimeError("Keys for dictionaries used as an argument cannot contain a Node. Got keys: "
                                   f"{list(a)}")
            return map_aggregate(a, self.create_arg)
        if isinstance(a, tuple):  # torch.Size
            return tuple(map(self.create_arg, a))
        if isinstance(a, Proxy):
            return a.node
        if isinstance(a, range):
            return range(*map(self.create_arg, (a.start, a.stop, a.step)))
        if isinstance(getattr(a, "__self__", None), Proxy):  # a method that was not called
            raise NotImplementedError(f"argument of type: {type(a)}")
        if a is None or a is ... or isinstance(a, (str, int, float, bool, complex, bytes, type, Tensor)) or callable(a):
            return a
        if type(a).__name__ in ("dtype", "device", "layout", "memory_format", "Generator"):
            return a
        raise NotImplementedError(f"argument of type: {type(a)}")

    def to_bool(self, obj: Proxy) -> bool:
        """TraceError; a tracer of one's own may decide."""
        raise TraceError("symbolically traced variables cannot be used as inputs to control flow")

    def iter(self, obj: Proxy) -> Iterator[Any]:
        """The parts where they are unpacked into names; else TraceError, since the number is not known."""
        frame = inspect.currentframe()
        caller = frame.f_back.f_back  # type: ignore[union-attr]
        code = caller.f_code  # type: ignore[union-attr]
        at = caller.f_lasti  # type: ignore[union-attr]
        step = next((i for i in dis.get_instructions(code) if i.offset == at), None)
        if step is not None and step.opname == "UNPACK_SEQUENCE":
            return (obj[i] for i in range(step.argval))
        raise TraceError("Proxy object cannot be iterated. This can be attempted when the Proxy is used in a loop or "
                         "as a *args or **kwargs function argument.")  # fmt: skip

    def keys(self, obj: Proxy) -> Any:
        """``obj.keys()`` as a node, when ``**obj`` asks for it."""
        return Attribute(obj, "keys")()


class GraphAppendingTracer(TracerBase):
    """Appends what is done to proxies to a graph that is written by hand."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph


class Proxy:
    """A stand-in for the value of a node: operators, methods, attributes and functions of torch become nodes."""

    node: Node

    def __init__(self, node: Node, tracer: TracerBase | None = None) -> None:
        asking.install()
        self.tracer = GraphAppendingTracer(node.graph) if tracer is None else tracer
        self.node = node

    def __repr__(self) -> str:
        return f"Proxy({self.node.name})"

    def __getattr__(self, name: str) -> Any:
        if name in _INNER or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)  # what wrappers of operators ask for to find out whether this is a Tensor
        return Attribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __deepcopy__(self, memo: dict) -> Proxy:
        return Proxy(self.node, self.tracer)

    def __call__(self, *args: Any, **kwargs: Any) -> Proxy:
        return self.tracer.create_proxy("call_method", "__call__", (self, *args), kwargs)

    def __iter__(self) -> Iterator[Any]:
        return self.tracer.iter(self)

    def __abs__(self) -> Proxy:
        return self.tracer.create_proxy("call_function", abs, (self,), {})

    def __bool__(self) -> bool:
        return self.tracer.to_bool(self)

    def keys(self) -> Any:
        """See :meth:`TracerBase.keys`."""
        return self.tracer.keys(self)

    def __len__(self) -> int:
        raise RuntimeError("'len' is not supported in symbolic tracing by default. If you want this call to be "
                           "recorded, please call torch.fx.wrap('len') at module scope")  # fmt: skip

    def __contains__(self, item: Any) -> bool:
        raise TraceError("'in' cannot be traced: its result would be a value")

    __hash__ = object.__hash__

    @classmethod
    def __torch_function__(cls, orig_method: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        found: list[TracerBase] = []
        map_aggregate((args, kwargs), lambda a: found.append(a.tracer) if isinstance(a, Proxy) else None)
        if len({id(t) for t in found}) > 1:
            raise RuntimeError("Found multiple different tracers while trying to trace operations")
        tracer = found[0]
        if is_tensor_method_or_property(orig_method):
            return tracer.create_proxy("call_method", orig_method.__name__, args, kwargs)
        return tracer.create_proxy("call_function", orig_method, args, kwargs)


_INNER = frozenset(("_value", "_alias", "_fresh", "_get", "_is_view", "_meta"))


class Attribute(Proxy):
    """An attribute of a proxy: a method if it is called, else a node as soon as it is used."""

    def __init__(self, root: Proxy, attr: str) -> None:
        self.root, self.attr, self.tracer = root, attr, root.tracer
        self._node: Node | None = None

    @property
    def node(self) -> Node:  # type: ignore[override]
        if self._node is None:
            self._node = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {}).node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Proxy:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(Proxy):
    """A stand-in for a parameter whose shape is known."""

    def __init__(self, tracer: TracerBase, node: Node, name: str, param: Any) -> None:
        super().__init__(node, tracer)
        self.name, self.param = name, param

    def __repr__(self) -> str:
        return f"ParameterProxy({self.name})"

    @property
    def shape(self) -> Any:
        """The parameter's."""
        return self.param.shape

    def size(self, dim: int | None = None) -> Any:
        """The parameter's."""
        return self.param.size() if dim is None else self.param.size(dim)

    def dim(self) -> int:
        """The parameter's."""
        return self.param.dim()

    @property
    def ndim(self) -> int:
        """The parameter's."""
        return self.param.ndim

    def numel(self) -> int:
        """The parameter's."""
        return self.param.numel()


def _forward(name: str) -> Any:
    function = getattr(operator, name if hasattr(operator, name) else f"{name}_")

    def method(self: Proxy, *args: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, *args), {})

    return method


def _backward(name: str) -> Any:
    function = getattr(operator, name if hasattr(operator, name) else f"{name}_")

    def method(self: Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (other, self), {})

    return method


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and", "or", "xor")
for _name in (*_BINARY, "eq", "ne", "lt", "gt", "le", "ge", "pos", "neg", "invert", "getitem"):
    setattr(Proxy, f"__{_name}__", _forward(_name))
for _name in _BINARY:
    setattr(Proxy, f"__r{_name}__", _backward(_name))
