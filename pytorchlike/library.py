"""``torch.library``: operators of one's own."""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .autograd import Function
from .autograd.mode import no_grad
from .ops._custom import CUSTOM, opaque
from .tensor import Tensor

__all__ = [
    "CustomOpDef",
    "Library",
    "custom_op",
    "define",
    "impl",
    "infer_schema",
    "opcheck",
    "fallthrough_kernel",
    "get_ctx",
    "get_kernel",
    "register_autocast",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_torch_dispatch",
    "register_vmap",
    "triton_op",
    "wrap_triton",
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
        self._rules: dict[type, Callable[..., Any]] = {}  # by class, instead of its __torch_dispatch__
        self._through = False  # whether gradients go through the function's own operations
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
        some = ", ".join(map(str, self._kernels)) or "none"
        raise NotImplementedError(
            f"{self._qualname}: no function is registered for tensors on {', '.join(sorted(kinds)) or 'no device'}; "
            f"there are some for: {some}"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if self._backward is not None:
            return self._function.apply(*bound.args, *bound.kwargs.values())
        if self._through:
            return self._kernel(bound.args)(*bound.args, **bound.kwargs)
        needs = any(isinstance(x, Tensor) and x.requires_grad for x in (*bound.args, *bound.kwargs.values()))
        with no_grad(), opaque():
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
            with opaque():
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
            f"Could not find schema for {op}: no operator of that name was made by torch.library.custom_op or define"
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


def define(qualname: str, schema: str, *, lib: Library | None = None, tags: Any = ()) -> None:
    """Declare an operator ``namespace::name`` by the schema of its arguments, ``"(Tensor x, float k=1) -> Tensor"``.

    :func:`impl` gives it functions. RuntimeError if it is there already.
    """
    if qualname in CUSTOM:
        raise RuntimeError(f"{qualname}: an operator of that name was defined already")
    found = CUSTOM[qualname] = CustomOpDef(qualname, _undefined(qualname, schema), (), ())
    found._kernels.clear()


def _undefined(qualname: str, schema: str) -> Callable[..., Any]:
    """A function of the parameters of a schema, which says that the operator has no function yet."""
    match = re.fullmatch(r"\s*[\w:.]*\s*\((.*)\)\s*->\s*(.+)", schema, re.DOTALL)
    if match is None:
        raise RuntimeError(f"{qualname}: expected a schema such as '(Tensor x, int n=0) -> Tensor', got {schema!r}")
    parameters, kind = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for part in re.split(r",(?![^\[(]*[\])])", match[1]):
        if not part.strip():
            continue
        if part.strip() == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        told, _, default = part.strip().partition("=")
        name = told.split()[-1]
        value = inspect.Parameter.empty if not default else _literal(default.strip())
        parameters.append(inspect.Parameter(name, kind, default=value))

    def missing(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{qualname}: no function was given to this operator; use torch.library.impl")

    missing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return missing


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None if text == "None" else text


#: Names of dispatch keys for the devices that functions are for; None: any.
_KEYS = {
    "CPU": "cpu", "CUDA": "cuda", "XLA": "xla", "MPS": "mps", "XPU": "xpu", "CompositeExplicitAutograd": None,
    "CompositeImplicitAutograd": None, "": None, "default": None,
}  # fmt: skip


def impl(qualname: Any, types: Any, func: Any = None, *, lib: Library | None = None) -> Any:
    """Give an operator its function for some device types ("cpu", "cuda", "default"); a decorator without ``func``.

    With the dispatch key CompositeImplicitAutograd the function's own operations are differentiated; "Meta" is
    :func:`register_fake`; "Autograd" and others raise NotImplementedError (use :func:`register_autograd`).

    The older form is ``impl(library, name, dispatch_key="")``, always a decorator.
    """
    if isinstance(qualname, Library):
        of, name, key = qualname, types, func or ""

        def through(fn: Callable[..., Any]) -> Callable[..., Any]:
            of.impl(name, fn, key)
            return fn

        return through

    def enter(func: Callable[..., Any]) -> Callable[..., Any]:
        op = _found(qualname)
        for key in [types] if isinstance(types, str) else types:
            if key in ("Meta", "meta"):
                op.register_fake(func)
            elif key in _KEYS or key.islower():
                op._through |= key == "CompositeImplicitAutograd"
                op.register_kernel(_KEYS.get(key, key), func)
            else:
                raise NotImplementedError(f"torch.library.impl({qualname!r}, {key!r}): there is no dispatcher; "
                                          "functions are for devices, gradients by register_autograd")  # fmt: skip
        return func

    return enter if func is None else enter(func)


class Library:
    """Operators of one namespace: ``Library("mine", "DEF")``, then :meth:`define` and :meth:`impl`.

    NotImplementedError for PyTorch's own namespaces, whose operators cannot be replaced.
    """

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        if kind not in ("DEF", "IMPL", "FRAGMENT"):
            raise ValueError(f"Unsupported kind: {kind}")
        if ns in ("aten", "prim", "prims"):
            raise NotImplementedError(f"torch.library.Library({ns!r}, {kind!r}): PyTorch's own operators cannot be "
                                      "defined or replaced; use a namespace of your own")  # fmt: skip
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        """Declare ``name(arguments) -> results``; returns the name."""
        name = schema.partition("(")[0].strip()
        define(f"{self.ns}::{name}", schema)
        return name

    def impl(self, op_name: Any, fn: Callable[..., Any], dispatch_key: str = "", *, with_keyset: bool = False,
             allow_override: bool = False) -> None:  # fmt: skip
        """Give an operator its function, for a dispatch key such as "CPU" or "CompositeImplicitAutograd"."""
        name = (op_name if isinstance(op_name, str) else op_name._name).rpartition("::")[2]
        impl(f"{self.ns}::{name}", dispatch_key or self.dispatch_key, fn)

    def fallback(self, fn: Callable[..., Any], dispatch_key: str = "", *, with_keyset: bool = False) -> None:
        """NotImplementedError: there is no dispatcher."""
        raise NotImplementedError("Library.fallback: there is no dispatcher")

    def _destroy(self) -> None:
        """Forget the operators of the namespace."""
        for name in [n for n in CUSTOM if n.startswith(f"{self.ns}::")]:
            del CUSTOM[name]


def opcheck(
    op: Any, args: tuple, kwargs: dict[str, Any] | None = None, *, test_utils: Any = None,
    raise_exception: bool = True, atol: float | None = None, rtol: float | None = None,
) -> dict[str, str]:  # fmt: skip
    """Try an operator on example arguments: its function, its fake function's shapes, its gradient.

    Returns {"test_schema", "test_faketensor", "test_autograd_registration": "SUCCESS" or what is wrong}; raises the
    error unless ``raise_exception`` is False. ``test_utils``: the names of those to run; all if None.
    """
    found, kwargs = _found(op), kwargs or {}
    checks = {"test_schema": _check_schema, "test_faketensor": _check_fake, "test_autograd_registration": _check_grad}
    wanted = checks if test_utils is None else [test_utils] if isinstance(test_utils, str) else test_utils
    results = {}
    for name in wanted:
        try:
            if name in checks:
                checks[name](found, args, kwargs)
            results[name] = "SUCCESS"
        except Exception as error:
            if raise_exception:
                raise RuntimeError(f"opcheck(op, ...): {name} failed with {error}") from error
            results[name] = f"{type(error).__name__}: {error}"
    return results


def _tensors(out: Any) -> list[Tensor]:
    return [x for x in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(x, Tensor)]


def _check_schema(op: CustomOpDef, args: tuple, kwargs: dict[str, Any]) -> None:
    before = [(x, x._version) for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    out = op(*args, **kwargs)
    told = list(op._signature.bind(*args, **kwargs).arguments.items())
    for x, version in before:
        name = next(n for n, a in told if a is x)
        if x._version != version and name not in (op._mutates or ()):
            raise RuntimeError(f"the argument '{name}' was written to, but is not among mutates_args")
        if any(y is x for y in _tensors(out)):
            raise RuntimeError(f"the argument '{name}' is returned as a result; return a new tensor")


def _check_fake(op: CustomOpDef, args: tuple, kwargs: dict[str, Any]) -> None:
    if op._fake is None:
        return
    real = _tensors(op(*args, **kwargs))
    fake = _tensors(op._fake(*args, **kwargs))
    for a, b in zip(real, fake, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise RuntimeError(f"the operator gives {tuple(a.shape)}, {a.dtype}, its fake function {tuple(b.shape)}, "
                               f"{b.dtype}")  # fmt: skip


def _check_grad(op: CustomOpDef, args: tuple, kwargs: dict[str, Any]) -> None:
    leaves = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.requires_grad]
    if op._backward is None or not leaves:
        return
    from .autograd import grad

    total = sum(x.sum() for x in _tensors(op(*args, **kwargs)) if x.requires_grad)
    grad(total, leaves, allow_unused=True)


# ---- what has no counterpart, or a simpler one -----------------------------------------------------------------------


def get_kernel(op: Any, dispatch_key: Any) -> Callable[..., Any]:
    """The function that computes an operator for a device, given as 'CPU', 'CUDA' ... or 'cpu', 'cuda' ...

    RuntimeError if it has none.
    """
    found = _found(op)
    device = str(dispatch_key).rpartition(".")[2].lower()
    kernel = found._kernels.get(device, found._kernels.get(None))
    if kernel is None:
        raise RuntimeError(f"{found._qualname} has no kernel for {dispatch_key}")
    return kernel


def get_ctx() -> Any:
    """NotImplementedError: shapes that depend on data have no symbols here."""
    raise NotImplementedError("torch.library.get_ctx: sizes that depend on data have no symbols here; a fake function "
                              "cannot give them")  # fmt: skip


def fallthrough_kernel(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError when it is called: there are no dispatch keys to fall through."""
    raise NotImplementedError("fallthrough_kernel() should never be called.")


def register_autocast(op: Any, device_type: str, cast_inputs: Any, /, *, lib: Any = None) -> None:
    """Under ``torch.autocast`` of that device type, cast the floating-point arguments of an operator."""
    from .amp import autocast_mode

    found = _found(op)
    if device_type not in ("cpu", "cuda"):
        raise ValueError(f"register_autocast: device_type must be cpu or cuda, but got {device_type!r}")
    for device in list(found._kernels):
        found._kernels[device] = autocast_mode.custom_fwd(found._kernels[device], device_type=device_type,
                                                          cast_inputs=cast_inputs)  # fmt: skip


def register_vmap(op: Any, func: Callable[..., Any] | None = None, /, *, lib: Any = None) -> Any:
    """NotImplementedError: a function of operations is mapped as it is, by ``torch.vmap``, and needs no rule."""
    raise NotImplementedError("torch.library.register_vmap: operators made of operations are mapped by themselves; for "
                              "another rule write an autograd.Function with a vmap method")  # fmt: skip


def register_torch_dispatch(op: Any, torch_dispatch_class: Any, func: Any = None, /, *, lib: Any = None) -> Any:
    """Have ``func`` answer for an operator in the place of a class's ``__torch_dispatch__``; a decorator without it.

    For a ``TorchDispatchMode`` it is called as ``func(mode, op, types, args, kwargs)``, for a tensor class as
    ``func(op, types, args, kwargs)``.
    """
    found = _found(op)

    def enter(func: Any) -> Any:
        found._rules[torch_dispatch_class] = func
        return func

    return enter if func is None else enter(func)


def triton_op(name: str, fn: Any = None, /, *, mutates_args: Any, schema: str | None = None) -> Any:
    """NotImplementedError: see :func:`wrap_triton`."""
    return wrap_triton(fn)


def wrap_triton(triton_kernel: Any, /) -> Any:
    """NotImplementedError: Triton kernels take PyTorch's pointers. Pallas is JAX's way to write kernels."""
    raise NotImplementedError("torch.library: Triton kernels take pointers of PyTorch's; write the kernel in Pallas "
                              "and call it through torch.library.custom_op and torch.from_jax")  # fmt: skip
