"""``torch.library``: operators of one's own."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .autograd import Function
from .autograd.mode import no_grad
from .ops._custom import CUSTOM
from .tensor import Tensor

__all__ = [
    "CustomOpDef",
    "Library",
    "custom_op",
    "infer_schema",
    "register_autograd",
    "register_fake",
    "register_kernel",
]


class CustomOpDef:
    """A function with a qualified name, ``namespace::name``, whose gradient :meth:`register_autograd` gives.

    Calling it runs the Python function for the devices of its arguments (or the default one) without recording its
    insides for gradients; if a backward was registered, the gradient is that one. Whatever operations of ours the
    function calls are recorded and compiled with the program around them.
    """

    def __init__(self, name: str, fn: Callable[..., Any], mutates_args: Any, device_types: Any) -> None:
        if "::" not in name:
            raise ValueError(f"Expected the name of an operator as 'namespace::name', got {name!r}")
        self._namespace, _, self._name = name.partition("::")
        self._qualname = name
        self._mutates = mutates_args
        self._kernels: dict[str | None, Callable[..., Any]] = {}
        self._fake: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None
        self._context: Callable[..., Any] | None = None
        self._signature = inspect.signature(fn)
        self._default = fn
        for device in _devices(device_types):
            self._kernels[device] = fn
        self.__name__, self.__doc__, self.__module__ = self._name, fn.__doc__, fn.__module__

    def register_kernel(self, device_types: Any, func: Callable[..., Any] | None = None, /) -> Callable[..., Any]:
        """Use another function for tensors on these device types; a decorator without ``func``."""

        def enter(func: Callable[..., Any]) -> Callable[..., Any]:
            for device in _devices(device_types):
                self._kernels[device] = func
            return func

        return enter if func is None else enter(func)

    def register_fake(self, fn: Callable[..., Any], /) -> Callable[..., Any]:
        """How the shapes of the results follow; used for tensors on 'meta', elsewhere the function itself tells."""
        self._fake = fn
        return fn

    def register_autograd(
        self, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """``backward(ctx, *grads)`` returns a gradient for each argument; ``setup_context(ctx, inputs, output)``
        saves.
        """
        self._backward, self._context = backward, setup_context
        self._function = _differentiable(self)

    def _kernel(self, args: tuple) -> Callable[..., Any]:
        kinds = {x.device.type for x in args if isinstance(x, Tensor)}
        if "meta" in kinds and self._fake is not None:
            return self._fake
        for kind in sorted(kinds):
            if kind in self._kernels:
                return self._kernels[kind]
        if None in self._kernels:
            return self._kernels[None]
        raise NotImplementedError(
            f"{self._qualname}: no function is registered for tensors on {', '.join(sorted(kinds)) or 'no device'}; "
            f"there are "
            f"some for {', '.join(str(k) for k in self._kernels)}"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if self._backward is not None:
            return self._function.apply(*bound.args, *bound.kwargs.values())
        needs = any(isinstance(x, Tensor) and x.requires_grad for x in (*bound.args, *bound.kwargs.values()))
        with no_grad():
            out = self._kernel(bound.args)(*bound.args, **bound.kwargs)
        if needs:
            _no_gradient(self._qualname, out)
        return out

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"


def _no_gradient(name: str, out: Any) -> None:
    for x in out if isinstance(out, (tuple, list)) else (out,):
        if isinstance(x, Tensor) and x.requires_grad:
            raise RuntimeError(f"{name}: the function returned a tensor with a history; return new tensors")


def _differentiable(op: CustomOpDef) -> type[Function]:
    names = list(op._signature.parameters.values())
    positional = sum(p.kind is not inspect.Parameter.KEYWORD_ONLY for p in names)

    class Differentiable(Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            named = {p.name: x for p, x in zip(names[positional:], args[positional:], strict=True)}
            out = op._kernel(args)(*args[:positional], **named)
            if op._context is not None:
                told = {"keyword_only_inputs": named} if named else {}
                op._context(ctx, inputs=args[:positional], output=out, **told)
            return out

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            found = op._backward(ctx, *grads)  # type: ignore[misc]
            found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
            return (*found, *[None] * (len(names) - len(found)))

    Differentiable.__name__ = Differentiable.__qualname__ = op._name
    return Differentiable


def _devices(given: Any) -> list[str | None]:
    return [given] if given is None or isinstance(given, str) else list(given)


def custom_op(
    name: str, fn: Callable[..., Any] | None = None, /, *, mutates_args: str | Iterable[str] = (),
    device_types: str | Sequence[str] | None = None, schema: str | None = None, tags: Any = None,
) -> Any:  # fmt: skip
    """Make a function an operator ``namespace::name``; a decorator without ``fn``.

    mutates_args: names of the arguments that it changes in place (told for PyTorch's compiler; nothing rests on it).
    device_types: those that the function is for; all if None.   schema, tags: what PyTorch would take from them is
    taken from the function itself.
    """

    def enter(fn: Callable[..., Any]) -> CustomOpDef:
        found = CUSTOM[name] = CustomOpDef(name, fn, mutates_args, device_types)
        return found

    return enter if fn is None else enter(fn)


def _found(op: Any) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    if op not in CUSTOM:
        raise RuntimeError(
            f"Could not find schema for {op}: no operator of that name was made by torch.library.custom_op"
        )
    return CUSTOM[op]


def register_kernel(op: Any, device_types: Any, func: Callable[..., Any] | None = None, /, *, lib: Any = None) -> Any:
    """:meth:`CustomOpDef.register_kernel` of an operator or its name."""
    return _found(op).register_kernel(device_types, func)


def register_fake(op: Any, func: Callable[..., Any] | None = None, /, *, lib: Any = None, _stacklevel: int = 1) -> Any:
    """:meth:`CustomOpDef.register_fake` of an operator or its name; a decorator without ``func``."""
    return _found(op).register_fake if func is None else _found(op).register_fake(func)


impl_abstract = register_fake


def register_autograd(
    op: Any, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None, lib: Any = None
) -> None:
    """:meth:`CustomOpDef.register_autograd` of an operator or its name."""
    _found(op).register_autograd(backward, setup_context=setup_context)


def infer_schema(prototype_function: Callable[..., Any], /, *, mutates_args: Any, op_name: str | None = None) -> str:
    """The signature of a function in PyTorch's schema language. Raises ValueError for parameters without
    annotations.
    """
    names = {Tensor: "Tensor", int: "SymInt", float: "float", bool: "bool", str: "str"}

    def told(kind: Any) -> str:
        if kind in names:
            return names[kind]
        origin, inside = typing.get_origin(kind), typing.get_args(kind)
        if origin in (list, Sequence, typing.Sequence):
            return f"{told(inside[0])}[]"
        if type(None) in inside:
            return f"{told(next(t for t in inside if t is not type(None)))}?"
        raise ValueError(f"infer_schema(func): unsupported type {kind}")

    hints = typing.get_type_hints(prototype_function)
    parts, starred = [], False
    for i, (name, parameter) in enumerate(inspect.signature(prototype_function).parameters.items()):
        if name not in hints:
            raise ValueError(f"infer_schema(func): Parameter {name} must have a type annotation.")
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        text = told(hints[name])
        if mutates_args == "unknown" or name in mutates_args:
            text = f"{text[:6]}(a{i}!){text[6:]}"
        parts.append(
            f"{text} {name}" + ("" if parameter.default is inspect.Parameter.empty else f"={parameter.default}")
        )
    out = hints.get("return", type(None))
    inside = typing.get_args(out) if typing.get_origin(out) is tuple else None
    result = "()" if out is type(None) else f"({', '.join(map(told, inside))})" if inside else told(out)
    return f"{op_name or ''}({', '.join(parts)}) -> {result}"


class Library:
    """Refused: PyTorch's own operators cannot be defined or replaced; :func:`custom_op` makes new ones."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        raise NotImplementedError(
            f"torch.library.Library({ns!r}, {kind!r}): there is no dispatcher to register with; use "
            f"torch.library.custom_op"
        )
