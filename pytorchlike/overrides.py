"""``torch.overrides``: the ``__torch_function__`` protocol for functions that are written in Python.

A function calls :func:`has_torch_function` with the arguments that may be tensors, and :func:`handle_torch_function` if
one of their classes wants to be asked.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from .tensor import Tensor

__all__ = [
    "DisableTorchFunction", "DisableTorchFunctionSubclass", "TorchFunctionMode", "get_ignored_functions",
    "get_overridable_functions", "handle_torch_function", "has_torch_function", "has_torch_function_unary",
    "has_torch_function_variadic", "is_tensor_like", "is_tensor_method_or_property", "resolve_name",
    "wrap_torch_function",
]  # fmt: skip


class _State(threading.local):
    disabled = 0


_state = _State()


class DisableTorchFunctionSubclass:
    """Within it no class is asked."""

    def __enter__(self) -> None:
        _state.disabled += 1

    def __exit__(self, *error: Any) -> None:
        _state.disabled -= 1


class DisableTorchFunction(DisableTorchFunctionSubclass):
    """The same: there are no modes that would be switched off, too."""


def _disabled_torch_function_impl(func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
    """As ``__torch_function__``: call the function, and ask nobody."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


def _wants(x: Any) -> bool:
    kind = type(x)
    if kind is Tensor:
        return False
    method = getattr(kind, "__torch_function__", None)
    own = getattr(method, "__func__", method)
    return (
        own is not None and own is not Tensor.__torch_function__.__func__ and own is not _disabled_torch_function_impl
    )


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether the class of an argument defines ``__torch_function__`` (other than Tensor's own)."""
    return not _state.disabled and any(_wants(x) for x in relevant_args)


def has_torch_function_unary(arg: Any) -> bool:
    """:func:`has_torch_function` of one argument."""
    return not _state.disabled and _wants(arg)


def has_torch_function_variadic(*args: Any) -> bool:
    """:func:`has_torch_function` of these arguments."""
    return has_torch_function(args)


def _overloaded(relevant_args: Iterable[Any]) -> list[Any]:
    """One argument of each class that wants to be asked; subclasses before their bases, else from the left."""
    out: list[Any] = []
    for x in relevant_args:
        if _wants(x) and type(x) not in map(type, out):
            at = next((i for i, y in enumerate(out) if issubclass(type(x), type(y))), len(out))
            out.insert(at, x)
    return out


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
    """Ask the classes of the arguments, in turn, to compute ``public_api(*args, **kwargs)``.

    Raises TypeError if all of them answer NotImplemented.
    """
    asked = _overloaded(relevant_args)
    types = tuple(type(x) for x in asked)
    for x in asked:
        result = x.__torch_function__(public_api, types, args, kwargs)
        if result is not NotImplemented:
            return result
    name = f"{public_api.__module__}.{public_api.__name__}"
    raise TypeError(
        f"no implementation found for '{name}' on types that implement __torch_function__: "
        f"{[t.__name__ for t in types]}"
    )


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


def is_tensor_like(inp: Any) -> bool:
    """Whether it is a tensor, or its class defines ``__torch_function__``."""
    return isinstance(inp, Tensor) or hasattr(type(inp), "__torch_function__")


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether it is a method of Tensor, or the getter of one of its properties."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return True
    found = inspect.getattr_static(Tensor, name, None) or getattr(Tensor, name, None)
    return found is func or (isinstance(found, property) and found.fget is func)


def resolve_name(f: Callable) -> str | None:
    """The name under which a function of torch's is called; None if it is not one."""
    for space, functions in get_overridable_functions().items():
        for each in functions:
            if each is f:
                return f"{_names[space]}.{each.__name__}"
    return None


_names: dict[Any, str] = {}


@functools.lru_cache(None)
def get_overridable_functions() -> dict[Any, list[Callable]]:
    """Functions by the module or class that holds them."""
    import importlib

    package = importlib.import_module(__package__)
    out: dict[Any, list[Callable]] = {}
    for name in ("", "nn.functional", "linalg", "fft", "special"):
        module = package if not name else importlib.import_module(f"{__package__}.{name}")
        _names[module] = f"torch.{name}".rstrip(".")
        found = (getattr(module, each, None) for each in dir(module) if not each.startswith("_"))
        out[module] = [each for each in found if inspect.isfunction(each)]
    _names[Tensor] = "torch.Tensor"
    found = (getattr(Tensor, each, None) for each in dir(Tensor))
    out[Tensor] = [each for each in found if inspect.isfunction(each)]
    return out


def get_ignored_functions() -> set[Callable]:
    """Functions that take no tensors, so that nobody is asked about them."""
    from .tensor import functions as T

    names = ("empty", "zeros", "ones", "full", "rand", "randn", "randint", "randperm", "arange", "linspace",
             "logspace", "eye", "tensor", "from_numpy", "is_tensor", "is_storage", "set_num_threads",
             "get_num_threads")  # fmt: skip
    return {getattr(T, name) for name in names if hasattr(T, name)}


class TorchFunctionMode:
    """Refused: asking a mode about every operation would cost those who use none; use a subclass of Tensor."""

    def __init__(self) -> NoReturn:
        raise NotImplementedError(
            "TorchFunctionMode: operations are not offered to modes, since that would slow every program down; define "
            "__torch_function__ on a class of the arguments instead"
        )
