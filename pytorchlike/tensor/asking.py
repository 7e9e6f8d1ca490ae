"""``__torch_function__``: offering calls to modes and to the classes of their arguments before they are computed.

Nobody pays for this who does not use it: the public functions are as they are until the first class or mode that wants
to be asked exists. :func:`install` then puts an :class:`Asked` in front of each function of the public namespaces and
each method of Tensor, for good. Functions that were bound to other names before go on to answer as before, except that
the operators of the table still notice arguments that are no tensors and have a ``__torch_function__``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import threading
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any

from . import _operators
from ._names import find
from ._tensor import Tensor

__all__ = ["Asked", "Disabled", "DisabledAll", "disabled", "handle", "install", "installed", "offered", "state"]

_PACKAGE = __package__.partition(".")[0]
#: Namespaces whose functions are offered, beside Tensor's methods.
SPACES = ("", "nn.functional", "linalg", "fft", "special")
#: Python's protocols that are offered like methods; operators come from `_operators`.
_DUNDERS = ("__getitem__", "__setitem__", "__len__", "__contains__", "__reversed__", "__bool__", "__float__", "__int__")
#: Operators that are offered as the method that computes them: ``x + y`` as ``Tensor.add``.
_AS_METHODS = frozenset(f"__{name}__" for name in (
    "add", "radd", "sub", "mul", "rmul", "truediv", "mod", "matmul", "rand", "ror", "rxor", "ne", "lt", "le", "gt",
    "ge", "neg", "abs", "iadd", "isub", "imul", "itruediv", "ifloordiv", "imod"))  # fmt: skip
#: Names under which PyTorch offers other operators.
_CALLED = {"__pow__": "pow", "__rtruediv__": "__rdiv__"}
#: Functions that make tensors of data, also where that is a tensor of one's own class: the result is an ordinary one.
_MODES_ONLY = frozenset((("", "tensor"),))
#: Methods that look after the object itself.
_NEVER = frozenset(("as_subclass", "jax", "to_jax"))
#: Functions of the torch namespace that take no tensors and make none.
_NO_TENSORS = frozenset(("is_tensor", "is_storage", "typename", "compiled_with_cxx11_abi", "is_warn_always_enabled"))
#: Functions that take tensors one by one or as one sequence after the first argument: the former is offered.
_ONE_BY_ONE = frozenset((("", "einsum"),))
#: Functions are offered with all their arguments, those that have a default by name, where PyTorch's are written in
#: Python: those of nn.functional but for these, and a few of the torch namespace.
_AS_GIVEN = frozenset(
    """adaptive_avg_pool1d avg_pool1d avg_pool2d avg_pool3d bilinear channel_shuffle conv1d conv2d conv3d conv_tbc
    conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity gelu hardshrink linear logsigmoid
    native_channel_shuffle one_hot pairwise_distance pdist pixel_shuffle pixel_unshuffle prelu
    scaled_dot_product_attention sigmoid softplus softshrink softsign tanh tanhshrink""".split()
)
_IN_FULL = frozenset("cdist meshgrid norm split stft tensordot unique unique_consecutive".split())
#: Parameters of ours that PyTorch's functions of nn.functional do not have, but for ``out`` of a few.
_OURS = frozenset("out generator axis keepdims".split())
_WITH_OUT = frozenset("norm normalize tensordot".split())
_PROPERTIES = ("T", "mT", "H", "mH", "real", "imag", "data")


class _State(threading.local):
    """What a thread has switched off (``disabled``), and the modes that it is within, the innermost last."""

    disabled = 0
    modes: tuple = ()


state = _State()
installed = False
_silent: set[type] = {Tensor, int, float, bool, str, complex, type(None)}


class Disabled:
    """Within it no class is asked."""

    def __enter__(self) -> None:
        state.disabled += 1

    def __exit__(self, *error: Any) -> None:
        state.disabled -= 1


class DisabledAll(Disabled):
    """Within it neither modes nor classes are asked."""

    def __enter__(self) -> None:
        super().__enter__()
        self._modes, state.modes = state.modes, ()

    def __exit__(self, *error: Any) -> None:
        state.modes = self._modes
        super().__exit__(*error)


def disabled(func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
    """As a class's ``__torch_function__``: call the function; results keep the types that it gives them."""
    with Disabled():
        return func(*args, **(kwargs or {}))


def wants(kind: type) -> bool:
    """Whether objects of a class are asked about the functions that they are given to."""
    if kind in _silent:
        return False
    method = getattr(kind, "__torch_function__", None)
    if method is None or getattr(method, "__func__", method) is disabled:
        if kind is not list and kind is not tuple:  # what is in them may want to be asked
            if len(_silent) > 1000:
                _silent.clear()
            _silent.add(kind)
        return False
    return True


def relevant(args: Iterable[Any]) -> list[Any]:
    """The arguments of classes that want to be asked, sequences among them searched."""
    out = []
    for a in args:
        kind = a.__class__
        if kind in _silent:
            continue
        if kind is list or kind is tuple:
            out += [b for b in a if wants(b.__class__)]
        elif wants(kind):
            out.append(a)
    return out


def overloaded(found: Iterable[Any]) -> list[Any]:
    """One argument of each class; subclasses before their bases, else from the left."""
    out: list[Any] = []
    for x in found:
        if type(x) not in map(type, out):
            at = next((i for i, y in enumerate(out) if issubclass(type(x), type(y))), len(out))
            out.insert(at, x)
    return out


class _Outer:
    """The modes but the innermost one, while that one answers."""

    def __enter__(self) -> Any:
        self._modes = state.modes
        state.modes = self._modes[:-1]
        return self._modes[-1]

    def __exit__(self, *error: Any) -> None:
        state.modes = self._modes


def handle(func: Callable[..., Any], asked: list[Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """The answer of the innermost mode, or of the first class that has one. TypeError if nobody answers."""
    asked = overloaded(asked)
    types = tuple(type(x) for x in asked)
    if state.modes:
        with _Outer() as mode:
            result = mode.__torch_function__(func, types, args, kwargs)
        if result is not NotImplemented:
            return result
    for x in asked:
        result = x.__torch_function__(func, types, args, kwargs)
        if result is not NotImplemented:
            return result
    where = (getattr(func, "__module__", None) or "torch").replace(__name__.partition(".")[0], "torch", 1)
    told = f"'{where}.{getattr(func, '__name__', func)}'"
    if isinstance(func, Asked) and func.in_full:
        found = [type(x) for x in asked]
        raise TypeError(f"no implementation found for {told} on types that implement __torch_function__: {found}")
    raise TypeError(f"Multiple dispatch failed for {told}; all __torch_function__ handlers returned NotImplemented:\n\n"
                    + "\n".join(f"  - tensor subclass {t}" for t in types))


class Asked:
    """A function of the public interface that offers its calls; equal to the function behind it.

    Programs that keep tables of functions tell ``torch.add`` from ``Tensor.add``.
    """

    def __init__(self, fn: Callable[..., Any], space: str, name: str) -> None:
        functools.update_wrapper(self, fn)
        if name.startswith("__") or (fn.__name__.startswith("_") and not name.startswith("_")):
            self.__name__ = _CALLED.get(name, name)  # __rsub__ and __eq__ are no other names of rsub and eq
        self._fn, self._at = fn, (space, name)
        #: whether all arguments are offered, also those that were not given
        self.in_full = name in _IN_FULL if space == "" else (
            space == "nn.functional" and name not in _AS_GIVEN and name[-1] != "_")  # fmt: skip

    def _handle(self, asked: list[Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        if self._at[0] != "Tensor" or self._at[1] not in _AS_METHODS:
            return handle(self, asked, *self._offered(args, kwargs))
        try:
            return handle(getattr(Tensor, _operators.method_of(self._at[1])), asked, args, kwargs)
        except TypeError:
            return NotImplemented  # the other operand may know

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        here = state.__dict__
        if not here.get("disabled"):
            asked = None
            for a in args:
                if a.__class__ not in _silent:
                    asked = relevant((*args, *kwargs.values()))
                    break
            else:
                if kwargs:
                    asked = relevant(kwargs.values())
            if asked and self._at in _MODES_ONLY:
                with Disabled():
                    return self(*args, **kwargs)
            if asked or here.get("modes"):
                return self._handle(asked or [], args, kwargs)
        elif here.get("modes"):
            return self._handle([], args, kwargs)
        return self._fn(*args, **kwargs)

    def _offered(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        if self._at in _ONE_BY_ONE and len(args) == 2 and isinstance(args[1], (list, tuple)):
            return (args[0], *args[1]), kwargs
        return in_full(self._fn, args, kwargs) if self.in_full else (args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None or self._at[0] != "Tensor" else MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name in ("__code__", "__defaults__", "__kwdefaults__"):  # what functions have, and libraries look at
            return getattr(self._fn, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Asked):
            return other is self._fn
        return other is self or (other._fn is self._fn and (other._at[0] == "Tensor") == (self._at[0] == "Tensor"))

    def __hash__(self) -> int:
        return hash(self._fn)

    def __repr__(self) -> str:
        return repr(self._fn)

    def __reduce__(self) -> tuple | str:
        name = self.__qualname__
        if getattr(sys.modules.get(self.__module__), name, None) is self:
            return name  # as functions are pickled
        return offered, self._at

    def __copy__(self) -> Asked:
        return self

    def __deepcopy__(self, memo: dict) -> Asked:
        return self


@functools.lru_cache(1000)
def _parameters(fn: Callable[..., Any]) -> tuple[inspect.Signature, list[tuple[str, Any]]]:
    """The signature of a function; its parameters that have a default, with it."""
    # while modes ask about operators, functions have another code, which holds what was there (_dispatch/offers.py)
    code = getattr(inspect.unwrap(fn), "__code__", None)
    held = [c.fast for c in getattr(code, "co_consts", ()) if hasattr(c, "fast")]
    told = inspect.signature(held[0] if held else fn)
    with_default = [(p.name, p.default) for p in told.parameters.values() if p.default is not p.empty]
    return told, [(n, d) for n, d in with_default if n not in _OURS or (n == "out" and fn.__name__ in _WITH_OUT)]


def in_full(fn: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """All arguments of a call: those without a default by place, the others by name; as they are if they do not fit."""
    told, with_default = _parameters(fn)
    try:
        bound = told.bind(*args, **kwargs)
    except TypeError:
        return args, kwargs
    first: list[Any] = []
    for name, value in bound.arguments.items():
        p = told.parameters[name]
        if p.kind is p.VAR_POSITIONAL:
            first += value
        elif p.default is p.empty:
            first.append(value)
    rest = {n: bound.arguments.get(n, default) for n, default in with_default}
    rest |= {n: v for n, v in bound.arguments.items() if n in _OURS and v is not None}
    if "_stacklevel" in rest:  # in PyTorch's place, with its value
        dtype = rest.pop("dtype")
        rest["_stacklevel"] = rest["_stacklevel"] or 3
        rest["dtype"] = dtype
    return tuple(first), rest


def as_given(fn: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments of a call without the defaults that a generated function has filled in."""
    defaults = {p.name: p.default for p in _parameters(fn)[0].parameters.values() if p.kind is not p.VAR_POSITIONAL}
    by_place = list(defaults.values())
    n = len(args)
    while 0 < n <= len(by_place) and args[n - 1] is by_place[n - 1]:
        n -= 1
    return args[:n], {k: v for k, v in kwargs.items() if v is not None and v is not defaults.get(k, inspect._empty)}


def offered(space: str, name: str) -> Callable[..., Any]:
    """The public function of a namespace ("", "nn.functional", …, or "Tensor" for methods)."""
    if space == "Tensor":
        return getattr(Tensor, name)
    return getattr(importlib.import_module(f"{_PACKAGE}.{space}".rstrip(".")), name)


def _offer(space: str, name: str, value: Any) -> Any:
    """What is found under a name of a namespace, asking if it is a function on tensors."""
    if name.startswith("_") or not inspect.isfunction(value) or value.__module__ == find.__module__:
        return value
    if space == "" and name not in ("tensor", "as_tensor", "asarray", "from_numpy"):
        if name in _NO_TENSORS or value.__module__.endswith("functions_settings") or find("torch", name) is not value:
            return value
    return Asked(value, space, name)


def _offer_space(space: str) -> None:
    module = importlib.import_module(f"{_PACKAGE}.{space}".rstrip("."))
    here = module.__dict__
    late = here["__getattr__"]
    for name, value in list(here.items()):
        here[name] = _offer(space, name, value)

    def __getattr__(name: str) -> Any:
        found = _offer(space, name, late(name))
        if name in here:
            here[name] = found
        return found

    here["__getattr__"] = __getattr__


def install() -> None:
    """Put the asking functions in front of the public ones; once, when the first that wants to be asked appears."""
    global installed
    if installed:
        return
    installed = True
    _operators.make_all(Tensor)
    names = {*_operators.operator_names(), *_DUNDERS}
    methods = {name: value for part in reversed(Tensor.__mro__) for name, value in vars(part).items()}
    for name, value in methods.items():
        if inspect.isfunction(value) and (name in names or not name.startswith("_")) and name not in _NEVER:
            setattr(Tensor, name, Asked(value, "Tensor", name))
    _operators.on_method_found(lambda name, fn: fn if name.startswith("_") or name in _NEVER
                               else Asked(fn, "Tensor", name))  # fmt: skip
    if _PACKAGE in sys.modules and "__getattr__" in vars(sys.modules[_PACKAGE]):
        for space in SPACES:
            _offer_space(space)


def new_class(kind: type) -> None:
    """Look at a new subclass of Tensor: if it does not refuse to be asked, calls are offered from now on."""
    if not wants(kind):
        return
    install()
    for name in _PROPERTIES:
        if getattr(kind, name) is getattr(Tensor, name):
            setattr(kind, name, _asking_property(getattr(Tensor, name)))


def _asking_property(plain: property) -> property:
    def get(self: Any) -> Any:
        if state.disabled and not state.modes:
            return plain.fget(self)  # type: ignore[misc]
        return handle(plain.__get__, relevant((self,)), (self,), {})

    return property(get, plain.fset, plain.fdel, plain.__doc__)


def convert(result: Any, kind: type) -> Any:
    """A result, or results in tuples and lists, as tensors of a subclass."""
    if isinstance(result, Tensor):
        return result if isinstance(result, kind) else result.as_subclass(kind)
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*[convert(r, kind) for r in result])
    if type(result) in (tuple, list):
        return type(result)(convert(r, kind) for r in result)
    return result


def by_default(kind: type, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
    """``Tensor.__torch_function__``: call the function; tensors among the results become of this class.

    NotImplemented if another class among the arguments is no base of this one.
    """
    if not all(issubclass(kind, t) for t in types):
        return NotImplemented
    with Disabled():
        result = func(*args, **(kwargs or {}))
    return result if kind is Tensor else convert(result, kind)
