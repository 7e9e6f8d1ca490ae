"""``torch.overrides``: the ``__torch_function__`` protocol.

A class among the arguments of a public function, or a mode, is asked to compute it. Subclasses of Tensor are asked by
default, too: their answer is the function's result, of their own type. Calls are offered from the moment when the first
class or mode exists that wants to know of them (`tensor/asking.py`); until then nobody pays for it. Attributes such as
``shape`` and ``dtype`` are not offered.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .tensor import Tensor
from .tensor import asking as _asking
from .tensor.asking import Asked as _Asked
from .tensor.asking import Disabled as DisableTorchFunctionSubclass
from .tensor.asking import DisabledAll as DisableTorchFunction

__all__ = [
    "BaseTorchFunctionMode", "DisableTorchFunction", "DisableTorchFunctionSubclass", "TorchFunctionMode",
    "enable_reentrant_dispatch", "get_testing_overrides",
    "get_default_nowrap_functions", "get_ignored_functions", "get_overridable_functions",
    "handle_torch_function", "has_torch_function", "has_torch_function_unary",
    "has_torch_function_variadic", "is_tensor_like", "is_tensor_method_or_property",
    "redispatch_function", "resolve_name", "wrap_torch_function",
]  # fmt: skip

#: ``__torch_function__`` of a class that does not want to be asked.
_disabled_torch_function_impl = _asking.disabled


#: skip: the next :func:`has_torch_function` is that of a function which is called without asking
_once = threading.local()


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether a mode is active, or the class of an argument wants to be asked (see the module's text)."""
    if getattr(_once, "skip", False):
        _once.skip = False
        return False
    if _asking.state.modes:
        return True
    return not _asking.state.disabled and any(_asking.wants(x.__class__) for x in relevant_args)


def has_torch_function_unary(arg: Any) -> bool:
    """:func:`has_torch_function` of one argument."""
    return has_torch_function((arg,))


def has_torch_function_variadic(*args: Any) -> bool:
    """:func:`has_torch_function` of these arguments."""
    return has_torch_function(args)


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
    """Ask the innermost mode, then the classes of the arguments in turn, to compute ``public_api(*args, **kwargs)``.

    Raises TypeError if all of them answer NotImplemented.
    """
    asked = [] if _asking.state.disabled else _asking.relevant(tuple(relevant_args))
    return _asking.handle(public_api, asked, args, kwargs)


def wrap_torch_function(dispatcher: Callable[..., Iterable[Any]]) -> Callable[[Callable], Callable]:
    """A decorator that asks the classes of what ``dispatcher(*args, **kwargs)`` returns before it calls the
    function.
    """

    def decorate(func: Callable) -> Callable:
        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = tuple(dispatcher(*args, **kwargs))
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return wrapped

    return decorate


class TorchFunctionMode:
    """Within ``with mode:``, its ``__torch_function__(func, types, args, kwargs)`` is asked about every call.

    While it answers, the modes around it are the ones that are asked, so that ``func(*args, **kwargs)`` in it goes on
    outwards. Factories are offered as well. Functions that were bound to names of the program's own before the first
    mode or class existed are not.
    """

    inner: TorchFunctionMode

    def __init__(self) -> None:
        pass

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise NotImplementedError

    def __enter__(self) -> Any:
        _asking.install()
        _asking.state.modes += (self,)
        return self

    def __exit__(self, *error: Any) -> None:
        _asking.state.modes = _asking.state.modes[:-1]

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Any:
        """``cls(*args, **kwargs)``."""
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that lets every call pass."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*args, **(kwargs or {}))


def is_tensor_like(inp: Any) -> bool:
    """Whether it is a tensor, or its class defines ``__torch_function__``."""
    return isinstance(inp, Tensor) or hasattr(inp, "__torch_function__")


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether it is a method of Tensor, or the getter of one of its properties."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return True
    if isinstance(func, _Asked):
        return func._at[0] == "Tensor"
    found = inspect.getattr_static(Tensor, name, None) or getattr(Tensor, name, None)
    return found is func or (isinstance(found, property) and found.fget is func)


def resolve_name(f: Callable) -> str | None:
    """The name under which a function of torch's is called; None if it is not one."""
    if isinstance(f, _Asked):
        return ".".join(part for part in ("torch", *f._at) if part)
    if hasattr(f, "_overloadname"):  # an inner operator
        return str(f)
    for space, functions in get_overridable_functions().items():
        for each in functions:
            if each is f:
                name = each.__name__ if hasattr(space, each.__name__) else f"__{each.__name__}__"
                return f"{_names[space]}.{name}"
    return None


_names: dict[Any, str] = {}


@functools.lru_cache(None)
def get_overridable_functions() -> dict[Any, list[Callable]]:
    """Functions by the module or class that holds them."""
    package = importlib.import_module(__package__)
    out: dict[Any, list[Callable]] = {}
    for name in _asking.SPACES:
        module = package if not name else importlib.import_module(f"{__package__}.{name}")
        _names[module] = f"torch.{name}".rstrip(".")
        out[module] = _functions_of(module)
    _names[Tensor] = "torch.Tensor"
    out[Tensor] = _functions_of(Tensor)
    return out


#: Methods of every class, and those by which a tensor is asked and told.
_NOT_OFFERED = frozenset(
    """__new__ __init__ __init_subclass__ __subclasshook__ __class_getitem__ __getattribute__ __getattr__ __setattr__
    __delattr__ __dir__ __hash__ __torch_function__ __torch_dispatch__ __copy__ __getstate__ __del__
    __delitem__ __jax_array__""".split()
)


def _functions_of(place: Any) -> list[Callable]:
    names = [each for each in dir(place) if not each.startswith("_") or each.startswith("__") and place is Tensor]
    found = [getattr(place, each, None) for each in names if each not in _NOT_OFFERED]
    return [each for each in found if inspect.isfunction(each) or isinstance(each, _Asked)]


def redispatch_function(func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
    """Call the function without asking about this call; what it calls itself is asked about."""
    if isinstance(func, _Asked):
        return func._fn(*args, **(kwargs or {}))
    outer, _once.skip = getattr(_once, "skip", False), True
    try:
        return func(*args, **(kwargs or {}))
    finally:
        _once.skip = outer


def get_default_nowrap_functions() -> set[Callable]:
    """Functions whose results keep their type by default: none, since attributes are not offered."""
    return set()


def get_ignored_functions() -> set[Callable]:
    """Functions that take no tensors, so that nobody is asked about them."""
    from .tensor import functions as T

    names = ("empty", "zeros", "ones", "full", "rand", "randn", "randint", "randperm", "arange", "linspace",
             "logspace", "eye", "tensor", "from_numpy", "is_tensor", "is_storage", "set_num_threads",
             "get_num_threads")  # fmt: skip
    return {getattr(T, name) for name in names if hasattr(T, name)}


@contextlib.contextmanager
def enable_reentrant_dispatch() -> Iterator[None]:
    """Within this, calls are offered as ever: there is no dispatcher that an answer would run inside of."""
    yield


@functools.lru_cache(None)
def get_testing_overrides() -> dict[Callable, Callable]:
    """For each function that is offered, one of the same signature that returns -1."""
    ignored = get_ignored_functions()
    found = {}
    for functions in get_overridable_functions().values():
        for each in functions:
            if each not in ignored:
                found[each] = _returning(each)
    return found


def _returning(function: Callable) -> Callable:
    def override(*args: Any, **kwargs: Any) -> int:
        return -1

    try:
        override.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return override
    return override
