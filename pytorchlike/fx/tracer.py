"""Tracing of modules and functions into graphs (``torch.fx.symbolic_trace``)."""

from __future__ import annotations

import functools
import inspect
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

from .._VF import _assert
from ..nn.modules.module import Module
from ..nn.parameter import Parameter
from ..tensor import Tensor
from .graph import Graph, marked
from .graph_module import GraphModule
from .node import map_aggregate
from .proxy import Proxy, TracerBase

__all__ = ["PH", "PHBase", "Tracer", "is_fx_tracing", "symbolic_trace", "wrap"]

_PACKAGE = __package__.partition(".")[0]
_tracing = threading.local()


def is_fx_tracing() -> bool:
    """Whether this thread is tracing a program."""
    return getattr(_tracing, "depth", 0) > 0


def wrap(fn_or_name: Any) -> Any:
    """Mark a function of the calling module as one that tracing does not look into; returns what it is given.

    Called at module level with the function or its name, or used as a decorator. RuntimeError for anything else.
    """
    if callable(fn_or_name):
        name = fn_or_name.__name__
    elif isinstance(fn_or_name, str):
        name = fn_or_name
    else:
        raise RuntimeError("Unsupported type for global function! Must be either a callable or string name")
    frame = inspect.currentframe().f_back  # type: ignore[union-attr]
    if frame.f_code.co_name != "<module>":  # type: ignore[union-attr]
        raise NotImplementedError("wrap must be called at the top level of a module")
    marked[id(frame.f_globals), name] = frame.f_globals  # type: ignore[union-attr]
    return fn_or_name


def _not_looked_into(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that becomes a node if it is called with a proxy."""

    def call(*args: Any, **kwargs: Any) -> Any:
        found: list[TracerBase] = []
        map_aggregate((args, kwargs), lambda a: found.append(a.tracer) if isinstance(a, Proxy) else None)
        if not found:
            return original(*args, **kwargs)
        return found[0].create_proxy("call_function", original, args, kwargs)

    call.__name__ = getattr(original, "__name__", "call")
    call._fx_original = original  # type: ignore[attr-defined]
    return call


class Tracer(TracerBase):
    """Makes the graph of a module or function by calling it with proxies.

    autowrap_modules: modules whose functions are not looked into where programs use them by name (``math``).
    autowrap_functions: further functions.   Calls of leaf modules (:meth:`is_leaf_module`) become one node.
    """

    def __init__(self, autowrap_modules: tuple[ModuleType, ...] = (math,), autowrap_functions: tuple = (),
                 param_shapes_constant: bool = False) -> None:  # fmt: skip
        self._auto = {id(v) for m in autowrap_modules for n, v in vars(m).items()
                      if callable(v) and not n.startswith("_")}  # fmt: skip
        self._auto |= {id(f) for f in autowrap_functions}
        # under these names tracers with a ``trace`` of their own look for them
        self._autowrap_function_ids = self._auto
        self._autowrap_search = list(autowrap_modules)
        self._auto_modules = autowrap_modules
        self.param_shapes_constant = param_shapes_constant
        self.root: Module = Module()
        self._constants: dict[int, str] = {}
        self._proxies: dict[str, Proxy] = {}
        self._kept: list[Any] = []

    # ---- what subclasses change --------------------------------------------------------------------------------

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        """Whether calls of a module become one node: the layers of ``torch.nn`` except Sequential."""
        home = type(m).__module__
        nn = home.startswith((f"{_PACKAGE}.nn", f"{_PACKAGE}.ao.nn", "torch.nn", "torch.ao.nn"))
        return nn and type(m).__name__ not in ("Sequential",)

    def path_of_module(self, mod: Module) -> str:
        """The qualified name of a module of the root. NameError if it is not one."""
        found = self._paths.get(id(mod))
        if found is None:
            raise NameError(f"module {type(mod).__name__} is not installed as a submodule")
        return found

    def call_module(self, m: Module, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """What a call of a module gives: a node for a leaf, else what its forward gives."""
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return self.create_proxy("call_module", path, args, kwargs)
        return forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """What reading an attribute of a module gives: a node for a parameter (and a buffer that is none's own)."""
        if isinstance(attr_val, Parameter):
            path = self._parameters.get(id(attr_val))
            if path is not None:
                if path not in parameter_proxy_cache:
                    factory = None
                    if self.param_shapes_constant:
                        from .proxy import ParameterProxy

                        def factory(node: Any) -> Proxy:
                            return ParameterProxy(self, node, path, attr_val)

                    parameter_proxy_cache[path] = self.create_proxy("get_attr", path, (), {}, proxy_factory_fn=factory)
                return parameter_proxy_cache[path]
        return attr_val

    def create_arg(self, a: Any) -> Any:
        """As the base; tensors become attributes of the root, modules are refused."""
        if isinstance(a, Parameter) and id(a) in self._parameters:
            return self.create_node("get_attr", self._parameters[id(a)], (), {})
        if isinstance(a, Tensor):
            path = self._buffers.get(id(a)) or self._constants.get(id(a))
            if path is None:
                k = 0
                while hasattr(self.root, f"_tensor_constant{k}"):
                    k += 1
                path = self._constants[id(a)] = f"_tensor_constant{k}"
                setattr(self.root, path, a)
            return self.create_node("get_attr", path, (), {})
        return super().create_arg(a)

    # ---- tracing -----------------------------------------------------------------------------------------------

    def trace(self, root: Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None) -> Graph:
        """The graph of a module's forward, or of a function.

        concrete_args: values of arguments that the program may branch on; they stay arguments, which the graph
        checks. Raises TraceError where the program needs the value of a proxy.
        """
        if isinstance(root, Module):
            self.root, fn = root, type(root).forward
        else:
            self.root, fn = Module(), root
        self.graph = Graph(tracer_cls=type(self))
        self._proxies = {}
        watched = inspect.unwrap(fn)
        fn, args = self.create_args_for_root(fn, isinstance(root, Module), concrete_args)
        with self._watching(watched):
            result = fn(*args)
            self.create_node("output", "output", (self.create_arg(result),), {})
        return self.graph

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: dict[str, Any] | None = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """What to call, and with which arguments: the root, if it is a module, and placeholders.

        A ``trace`` of one's own calls it once ``root`` and ``graph`` are set.
        """
        concrete_args = concrete_args or {}
        self._look_at_root()
        parameters = list(inspect.signature(root_fn).parameters.values())[1 if is_module else 0 :]
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        rest: list[Any] = []
        for p in parameters:
            name = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + p.name
            default = () if p.default is p.empty else (p.default,)
            value: Any = self.create_proxy("placeholder", name, default, {})
            given = concrete_args.get(p.name, PH)
            if given is not PH:
                self._check_concrete(value, given)
                value = given
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                rest.append(value)
            elif p.kind == p.KEYWORD_ONLY:
                kwargs[p.name] = value
            else:
                args.append(value)
        fn = root_fn
        if rest:
            fn, args = _without_stars(root_fn), [*args, *kwargs.values(), *rest]
        elif kwargs:

            @functools.wraps(root_fn)
            def fn(*args: Any) -> Any:
                return root_fn(*args, **kwargs)

        return fn, [self.root, *args] if is_module else args

    def _look_at_root(self) -> None:
        """Names of everything in the root, by identity."""
        self._constants = {}
        self._paths = {id(m): n for n, m in self.root.named_modules()}
        self._parameters = {id(p): n for n, p in self.root.named_parameters(remove_duplicate=True)}
        self._buffers = {id(b): n for n, b in self.root.named_buffers()}
        for owner, m in self.root.named_modules():
            for name, value in vars(m).items():
                if isinstance(value, Tensor):
                    self._buffers[id(value)] = f"{owner}.{name}".lstrip(".")

    def _check_concrete(self, proxy: Proxy, value: Any) -> None:
        import operator

        if isinstance(value, (bool, int, float, str)) or value is None:
            same = operator.is_ if value is None else operator.eq
            message = f"{proxy.node.target} has been specialized to have value {value} but got another value"
            equal = self.create_node("call_function", same, (proxy.node, value), {})
            self.create_node("call_function", _assert, (equal, message), {})

    @contextmanager
    def _watching(self, fn: Callable[..., Any]) -> Iterator[None]:
        """While it lasts, calls of modules, reads of their attributes and marked functions come here."""
        call = Module.__call__
        here = threading.get_ident()

        def on_call(module: Module, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != here or not self._has_proxy(args, kwargs):
                return call(module, *args, **kwargs)
            self._wrap_globals(type(module).forward, undo)
            return self.call_module(module, lambda *a, **k: call(module, *a, **k), args, kwargs)

        def on_read(module: Module, name: str) -> Any:
            found = object.__getattribute__(module, name)
            if isinstance(found, Parameter) and threading.get_ident() == here:
                return self.getattr(name, found, self._proxies)
            return found

        undo: list[tuple[dict[str, Any], str, Any]] = []
        reads = vars(Module).get("__getattribute__")  # there if this is a trace within another one
        Module.__call__, Module.__getattribute__ = on_call, on_read  # type: ignore[method-assign, assignment]
        _tracing.depth = getattr(_tracing, "depth", 0) + 1
        try:
            self._wrap_globals(fn, undo)
            wrap_marked(undo)
            yield
        finally:
            _tracing.depth -= 1
            Module.__call__ = call  # type: ignore[method-assign]
            if reads is None:
                del Module.__getattribute__
            else:
                Module.__getattribute__ = reads  # type: ignore[method-assign]
            put_back(undo)

    def _has_proxy(self, args: tuple, kwargs: dict[str, Any]) -> bool:
        found: list[Any] = []
        map_aggregate((args, kwargs), lambda a: found.append(a) if isinstance(a, Proxy) else None)
        return bool(found)

    def _wrap_globals(self, fn: Any, undo: list) -> None:
        """The functions of ``autowrap_modules`` that a function of the program knows by name."""
        if isinstance(fn, FunctionType):
            self._wrap_names(fn.__globals__, undo)

    def _wrap_names(self, place: dict[str, Any], undo: list) -> None:
        if any(place is done for done, *_ in undo) or place.get("__name__", "").startswith(f"{_PACKAGE}."):
            return
        for name, value in list(place.items()):
            if id(value) in self._auto:
                undo.append((place, name, value))
                place[name] = _not_looked_into(value)
            elif isinstance(value, ModuleType) and value in self._auto_modules:
                undo.append((place, name, value))
                place[name] = _Marked(value, self._auto)


def wrap_marked(undo: list) -> None:
    """Functions that were given to :func:`wrap` are not looked into until :func:`put_back`."""
    for (_, name), place in marked.items():
        original = place.get(name, getattr(sys.modules["builtins"], name, None))
        if original is None:
            raise RuntimeError(f"torch.fx.wrap: there is no function '{name}' in {place.get('__name__')}")
        undo.append((place, name, place.get(name, _MISSING)))
        place[name] = _not_looked_into(original)


def put_back(undo: list) -> None:
    """Names as they were before."""
    for place, name, original in reversed(undo):
        if original is _MISSING:
            del place[name]
        else:
            place[name] = original


class _Marked:
    """A module whose functions become nodes."""

    def __init__(self, module: ModuleType, which: set[int]) -> None:
        self._module, self._which = module, which

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        return _not_looked_into(found) if id(found) in self._which else found


def _without_stars(fn: Any) -> Any:
    """A function whose ``*args`` and ``**kwargs`` are ordinary arguments, last, which proxies can stand for."""
    if inspect.ismethod(fn):
        return functools.partial(_without_stars(fn.__func__), fn.__self__)
    code = getattr(fn, "__code__", None)
    if code is None or not code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        raise NotImplementedError(f"fx: {fn!r} cannot be traced: the names of its arguments are not known")
    if hasattr(fn, "__wrapped__"):
        raise NotImplementedError(f"fx: {fn.__name__} takes * or ** arguments behind a decorator and cannot be traced")
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    plain = code.replace(co_argcount=count, co_kwonlyargcount=0, co_posonlyargcount=0,
                         co_flags=code.co_flags & ~(inspect.CO_VARARGS | inspect.CO_VARKEYWORDS))  # fmt: skip
    return FunctionType(plain, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)


class PHBase:
    """What :data:`PH` is."""

    def __repr__(self) -> str:
        return "PH"


#: Among ``concrete_args``: an argument that stays one.
PH = PHBase()
_MISSING = object()


def symbolic_trace(root: Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None) -> GraphModule:
    """A GraphModule that does what a module or function does; see :meth:`Tracer.trace`."""
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)
    return GraphModule(tracer.root, graph, type(root).__name__ if isinstance(root, Module) else root.__name__)
