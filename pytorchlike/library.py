"""``torch.library``: operators of one's own."""

from __future__ import annotations

import contextlib
import functools
import inspect
import numbers
import operator
import re
import threading
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ._dispatch.schema import parsed
from .autograd import Function
from .autograd.mode import no_grad
from .engine import get_mode
from .ops._custom import CUSTOM, opaque
from .tensor import Tensor
from .tensor.device import device
from .tensor.dtype import dtype
from .utils._pytree import tree_flatten, tree_unflatten

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


class _Below(threading.local):
    depth = 0


_below = _Below()


class _AutoDispatchBelowAutograd:
    """Inside, operators skip what was registered for dispatch keys such as "Autograd"."""

    def __enter__(self) -> None:
        _below.depth += 1

    def __exit__(self, *exc: object) -> None:
        _below.depth -= 1


class CustomOpDef:
    """A function with a qualified name, ``namespace::name``, whose gradient :meth:`register_autograd` gives.

    Calling it runs the Python function for the devices of its arguments (or the default one) without recording its
    insides for gradients; if a backward was registered, the gradient is that one. Whatever operations of ours the
    function calls are recorded and compiled with the program around them.
    """

    def __init__(self, name: str, fn: Callable[..., Any], schema: str, device_types: Any) -> None:
        self._namespace, _, self._name = _qualified(name).partition("::")
        self._qualname = name
        self._schema = parsed(f"{name.partition('::')[2]}{schema}", self._namespace)
        self._mutates = {a.name for a in self._schema.arguments if a.is_write}
        self._kernels: dict[str | None, Callable[..., Any]] = {}
        self._fake: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None
        self._context: Callable[..., Any] | None = None
        self._casts: dict[str, Any] = {}  # to which dtype autocast takes the arguments, by its device type
        self._rules: dict[type, Callable[..., Any]] = {}  # by class, instead of its __torch_dispatch__
        self._through = False  # whether gradients go through the function's own operations
        self._taped: dict[str | None, Callable[..., Any]] = {}  # what is called first, on the tape, by device type
        self._own = True  # whether results may share no memory with arguments; those of ``define`` tell it themselves
        self._signature = inspect.signature(fn)
        self._types = {a.name: a.type for a in self._schema.arguments}
        self._default = fn
        for kind in _devices(device_types):
            self._kernels[kind] = fn
        self._function = _differentiable(self)
        self.__name__, self.__doc__, self.__module__ = self._name, fn.__doc__, fn.__module__

    @property
    def _opoverload(self) -> Any:
        from ._dispatch.operators import of_custom

        return of_custom(self)

    def register_kernel(self, device_types: Any, func: Callable[..., Any] | None = None, /) -> Callable[..., Any]:
        """Use another function for tensors on these device types; a decorator without ``func``."""

        def enter(func: Callable[..., Any]) -> Callable[..., Any]:
            for kind in _devices(device_types):
                self._kernels[kind] = func
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
        saves.  A list of tensors has a list of gradients.

        Raises RuntimeError for an operator that writes to its arguments.
        """
        if self._mutates:
            raise RuntimeError(
                f"Cannot register autograd formula for non-functional operator {self!r} with schema {self._schema}. "
                "Please create a functional operator and register an autograd formula for that."
            )
        self._backward, self._context = backward, setup_context

    def register_vmap(self, func: Callable[..., Any] | None = None, /) -> Any:
        """Accepted: ``torch.vmap`` maps the function as it is, whatever rule is given; a decorator without ``func``."""
        return (lambda fn: fn) if func is None else func

    def register_autocast(self, device_type: str, cast_inputs: Any) -> None:
        """Under ``torch.autocast`` of that device type, cast the floating-point arguments, and switch it off inside."""
        if device_type not in ("cpu", "cuda"):
            raise ValueError(f"register_autocast: device_type must be cpu or cuda, but got {device_type!r}")
        self._casts[device_type] = cast_inputs

    def _kernel(self, args: Iterable[Any]) -> Callable[..., Any]:
        kinds = _kinds_in(args)
        if "meta" in kinds and self._fake is not None:
            return self._fake
        found = _first_of(self._kernels, kinds)
        if found is not None:
            return found
        if "meta" in kinds and self._kernels and self._own:
            raise NotImplementedError(
                f"There was no fake impl registered for {self!r}: how the shapes of its results follow is told by "
                f"`{self._name}.register_fake`"
            )
        some = ", ".join(map(str, self._kernels)) or "none"
        raise NotImplementedError(
            f"{self._qualname}: no function is registered for tensors on {', '.join(kinds) or 'no device'}; "
            f"there are some for: {some}"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """The result, asking no mode."""
        bound = self._bound(args, kwargs)
        for kind, to in self._casts.items():
            from .amp.autocast_mode import _cast, autocast
            from .tensor.functions_amp import is_autocast_enabled

            if is_autocast_enabled(kind):
                with autocast(kind, enabled=False):
                    return self._computed(*_cast((bound.args, bound.kwargs), kind, to))
        return self._computed(bound.args, bound.kwargs)

    def _computed(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        taped = self._taped and not _below.depth and _first_of(self._taped, _kinds_in((*args, *kwargs.values())))
        if taped:
            return taped(*args, **kwargs)
        if self._through:
            return self._kernel((*args, *kwargs.values()))(*args, **kwargs)
        tracked = not self._mutates and any(x.requires_grad for x in _tensors_in((*args, *kwargs.values())))
        if self._backward is None and not (tracked and get_mode().grad):
            return self._once(args, kwargs)
        flat, spec = tree_flatten((*args, *kwargs.values()))
        call = _Call(spec, len(args), tuple(kwargs))
        got = self._function.apply(call, *flat)
        return tree_unflatten(list(got if isinstance(got, tuple) else (got,)), call.results)

    def _once(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The result without gradients."""
        given = (*args, *kwargs.values())
        with no_grad(), opaque():
            out = self._kernel(given)(*args, **kwargs)
        if self._own:
            _check_own(self._name, given, out)
        return out

    def _bound(self, args: tuple, kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """The arguments by their names; RuntimeError for what the schema has not."""
        names = self._signature.parameters
        for name in kwargs:
            if name not in names:
                raise RuntimeError(
                    f"Unknown keyword argument '{name}' for operator '{self._qualname}'. Schema: {self._schema}"
                )
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            most = sum(p.kind is not inspect.Parameter.KEYWORD_ONLY for p in names.values())
            if len(args) > most:
                raise RuntimeError(f"{self._qualname}() expected at most {most} argument(s) but received "
                                   f"{len(args)} argument(s). Declaration: {self._schema}") from None  # fmt: skip
            missing = str(error).rpartition(":")[2].strip()
            raise RuntimeError(f"{self._qualname}() is missing value for argument {missing}. Declaration: "
                               f"{self._schema}") from None  # fmt: skip
        for name, value in bound.arguments.items():
            kind = self._types.get(name, "")
            if not _fits(value, kind):
                raise RuntimeError(
                    f"{self._qualname}() Expected a value of type '{kind.replace('SymInt', 'int')}' for argument "
                    f"'{name}' but instead found type '{type(value).__name__}'."
                )
        bound.apply_defaults()
        return bound

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"


class _Call:
    """How a call's arguments, and then its results, are put together from their parts."""

    def __init__(self, spec: Any, positional: int, names: tuple[str, ...]) -> None:
        self.spec, self.positional, self.names = spec, positional, names
        self.results: Any = None

    def arguments(self, flat: Sequence[Any]) -> tuple[tuple, dict[str, Any]]:
        args = tree_unflatten(list(flat), self.spec)
        return tuple(args[: self.positional]), dict(zip(self.names, args[self.positional :], strict=True))


def _qualified(name: str) -> str:
    if name.count("::") != 1 or name.startswith("::") or name.endswith("::"):
        raise ValueError(f"Expected `qualname` to be of the form namespace::name, e.g. mine::sin, but got {name!r}")
    return name


def _fits(value: Any, kind: str) -> bool:
    """Whether a value may be an argument of that type: what is certainly wrong is refused."""
    if kind.endswith("?") and value is None:
        return True
    kind = kind.rstrip("?")
    if kind == "Tensor":
        return isinstance(value, Tensor)
    if kind.startswith("Tensor"):
        return isinstance(value, (list, tuple)) and all(isinstance(v, Tensor) or v is None for v in value)
    if kind in ("SymInt", "int", "float", "bool"):
        return not isinstance(value, (str, list, tuple, dict)) and value is not None
    return kind != "str" or isinstance(value, str)


def _kinds_in(args: Iterable[Any]) -> list[str]:
    """The types of the devices of the tensors in arguments, in order."""
    return sorted({x.device.type for x in _tensors_in(args)})


def _first_of(functions: dict[str | None, Callable[..., Any]], kinds: list[str]) -> Callable[..., Any] | None:
    """The function for the first of these types of devices that has one, else the one for all."""
    return next((functions[k] for k in (*kinds, None) if k in functions), None)


def _tensors_in(args: Iterable[Any]) -> Iterable[Tensor]:
    for x in args:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from _tensors_in(x)


def _check_own(name: str, args: Iterable[Any], out: Any) -> None:
    """Results are tensors of their own: PyTorch's compiler takes that for granted, and its operators refuse others."""
    seen = list(_tensors_in(args))
    for t in _tensors_in(out if isinstance(out, (list, tuple)) else (out,)):
        for other in seen:
            if t is other or (t._is_view() or other._is_view()) and t._shared().storage is other._shared().storage:
                raise RuntimeError(
                    f"{name}: The output of this custom operator (1) must not also be an input to this custom operator "
                    "and (2) may not alias any inputs to this custom operator or other returns. The most common way to "
                    "trigger this error is if we have y = custom_op(x) and y and x are the same Tensor. Please instead "
                    "return a clone of the offending output tensor(s) (e.g. return x.clone()) or refactor the custom "
                    "operator to not return y."
                )
        seen.append(t)


def _differentiable(op: CustomOpDef) -> type[Function]:
    class Differentiable(Function):
        @staticmethod
        def forward(ctx: Any, call: _Call, *flat: Any) -> Any:
            args, named = call.arguments(flat)
            out = op._once(args, named)
            if op._context is not None:
                told = {"keyword_only_inputs": named} if named else {}
                op._context(ctx, inputs=args, output=out, **told)
            leaves, call.results = tree_flatten(out)
            ctx._call = call
            return tuple(leaves)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            if op._backward is None:
                raise RuntimeError(
                    f"Trying to backward through {op._namespace}.{op._name}.default but no autograd formula was "
                    "registered. Please use register_autograd to add one."
                )
            call, needs = ctx._call, ctx.needs_input_grad
            given = tree_unflatten(list(grads), call.results)
            ctx.needs_input_grad = tuple(tree_unflatten(list(needs[1:]), call.spec))
            try:
                found = op._backward(ctx, *given if isinstance(given, tuple) else (given,))
            finally:
                ctx.needs_input_grad = needs
            return (None, *_parts(found if isinstance(found, tuple) else (found,), call.spec, needs[1:], op._name))

    Differentiable.__name__ = Differentiable.__qualname__ = f"GeneratedBackwardFor_{op._namespace}_{op._name}_default"
    return Differentiable


def _parts(found: tuple, spec: Any, needs: Sequence[bool], name: str) -> list[Any]:
    """Gradients in the order of the arguments' parts; those of arguments that need none may be left out at the end."""
    children = list(spec.children_specs)
    out: list[Any] = []
    for k, child in enumerate(children):
        n, g = child.num_leaves, found[k] if k < len(found) else None
        missing = k >= len(found) and any(needs[len(out) : len(out) + n])
        if missing or any(x is not None for x in found[len(children) :]):
            raise RuntimeError(f"function {name} returned an incorrect number of gradients (expected {len(children)}, "
                               f"got {len(found)})")  # fmt: skip
        if n == 1 and not child.children_specs:
            out.append(g)
        elif g is None:
            out += [None] * n
        elif len(g) != n:
            raise RuntimeError(f"{name}: Expected the return from backward to be of the same structure as the inputs, "
                               f"got {len(g)} gradients for a list of {n}")  # fmt: skip
        else:
            out += g
    return out


def _devices(given: Any) -> list[str | None]:
    return [given] if given is None or isinstance(given, str) else list(given)


def custom_op(
    name: str, fn: Callable[..., Any] | None = None, /, *, mutates_args: str | Iterable[str] = (),
    device_types: str | Sequence[str] | None = None, schema: str | None = None, tags: Any = None,
) -> Any:  # fmt: skip
    """Make a function an operator ``namespace::name``; a decorator without ``fn``.

    mutates_args: names of the arguments that it changes in place.   device_types: those that the function is for; all
    if None.   schema: ``"(Tensor x, int n=0) -> Tensor"``; told by the annotations if None, for which see
    :func:`infer_schema`.   tags are not looked at.
    """
    _qualified(name)

    def enter(fn: Callable[..., Any]) -> CustomOpDef:
        told = infer_schema(fn, mutates_args=mutates_args) if schema is None else schema
        found = CUSTOM[name] = CustomOpDef(name, fn, told, device_types)
        return found

    return enter if fn is None else enter(fn)


def _found(op: Any) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    if not isinstance(op, str):  # torch.ops.namespace.name, or an overload of it
        op = getattr(getattr(op, "overloadpacket", op), "custom", None) or op
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


#: Types in PyTorch's schema language.
_SPOKEN = {
    Tensor: "Tensor", int: "SymInt", float: "float", bool: "bool", str: "str", dtype: "ScalarType",
    device: "Device", int | float | bool: "Scalar", numbers.Number: "Scalar",
}  # fmt: skip


def _spoken(kind: Any) -> str | None:
    """A type in PyTorch's schema language; None if it has none."""
    if kind in _SPOKEN:
        return _SPOKEN[kind]
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, Sequence, typing.Sequence):
        told = _spoken(inside[0])
        return None if told is None else f"{told}[]"
    if type(None) in inside:
        told = _spoken(functools.reduce(operator.or_, [t for t in inside if t is not type(None)]))
        return None if told is None else f"{told}?"
    return None


def infer_schema(prototype_function: Callable[..., Any], /, *, mutates_args: Any, op_name: str | None = None) -> str:
    """The signature of a function in PyTorch's schema language.

    Raises ValueError for parameters without annotations, or with other types than tensors, numbers, texts, dtypes,
    devices, lists of these and None, and for ``mutates_args`` that are no tensors of it.
    """
    signature = inspect.signature(prototype_function)

    def wrong(what: str) -> ValueError:
        return ValueError(f"infer_schema(func): {what} Got func with signature {signature})")

    hints = typing.get_type_hints(prototype_function)
    parts, starred = [], False
    for i, (name, parameter) in enumerate(signature.parameters.items()):
        if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            raise wrong("We do not support positional-only args, varargs, or varkwargs.")
        if name not in hints:
            raise wrong(f"Parameter {name} must have a type annotation.")
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        text = _spoken(hints[name])
        if text is None:
            raise wrong(f"Parameter {name} has unsupported type {hints[name]}.")
        if (mutates_args == "unknown" and text.startswith("Tensor")) or name in mutates_args:
            if not text.startswith("Tensor"):
                raise wrong(f"Parameter {name} is in mutable_args but only Tensors or collections of Tensors can be "
                            "mutated")  # fmt: skip
            text = f"Tensor(a{i}!){text[6:]}"
        default = "" if parameter.default is inspect.Parameter.empty else f"={_written(parameter.default)}"
        parts.append(f"{text} {name}{default}")
    if mutates_args != "unknown" and (unknown := set(mutates_args) - set(signature.parameters)):
        raise wrong(
            f"{unknown} in mutates_args were not found in the custom op's signature. mutates_args should contain the "
            "names of all args that the custom op mutates, or just the string 'unknown'."
        )
    if signature.return_annotation is inspect.Signature.empty:
        raise wrong("No return type annotation was provided. Please add one.")
    out = hints["return"]
    inside = typing.get_args(out) if typing.get_origin(out) is tuple else (out,)
    told = [_spoken(t) for t in inside if t is not type(None)]
    if None in told or Ellipsis in inside:
        raise wrong(f"Return has unsupported type {out}.")
    result = ", ".join(map(str, told))
    return f"{op_name or ''}({', '.join(parts)}) -> {result if len(told) == 1 else f'({result})'}"


def _written(default: Any) -> str:
    if isinstance(default, (str, device)):
        return f'"{default}"'
    if isinstance(default, dtype):
        return str(default).removeprefix("torch.")
    return str(list(default) if isinstance(default, tuple) else default)


def define(qualname: str, schema: str, *, lib: Library | None = None, tags: Any = ()) -> None:
    """Declare an operator ``namespace::name`` by the schema of its arguments, ``"(Tensor x, float k=1) -> Tensor"``.

    :func:`impl` gives it functions. RuntimeError if it is there already, or for a type that PyTorch has not.
    """
    if isinstance(qualname, Library):  # the older form, a decorator: define(library, "name(Tensor x) -> Tensor")
        name = qualname.define(schema)
        of = qualname
        return lambda fn: (of.impl(name, fn, "CompositeExplicitAutograd"), fn)[1]  # type: ignore[return-value]
    _qualified(qualname)
    if not schema.strip().startswith("("):
        raise ValueError('define(qualname, schema, ...): expected schema to look like e.g. "(Tensor x) -> Tensor" but '
                         f'got "{schema}"')  # fmt: skip
    if qualname in CUSTOM:
        raise RuntimeError(f"Tried to register an operator ({qualname}{schema}) with the same name and overload name "
                           "multiple times: it is there already")  # fmt: skip
    found = CustomOpDef(qualname, _undefined(qualname, schema), schema, ())
    for kind in (*found._types.values(), *(r.type for r in found._schema.returns)):
        if (word := re.match(r"\w+", kind)) is not None and word[0] not in _TYPES:
            raise RuntimeError(f"{qualname}{schema}: unknown type specifier: {word[0]}")
    found._own = False
    found._kernels.clear()
    CUSTOM[qualname] = found


_TYPES = frozenset(
    "Tensor SymInt int float bool str Scalar ScalarType Device Layout MemoryFormat Generator Dict Any complex "
    "SymBool SymFloat Dimname Stream Storage QScheme t".split()
)


def _undefined(qualname: str, schema: str) -> Callable[..., Any]:
    """A function of the parameters of a schema, which says that the operator has no function yet."""
    told = parsed(f"{qualname.partition('::')[2]}{schema}", "")
    parameters = [
        inspect.Parameter(
            a.name, inspect.Parameter.KEYWORD_ONLY if a.kwarg_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=a.default if a.has_default_value() else inspect.Parameter.empty,
        )
        for a in told.arguments
    ]  # fmt: skip

    def missing(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{qualname}: no function was given to this operator; use torch.library.impl")

    missing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return missing


#: Names of dispatch keys for the devices that functions are for; None: any.
_KEYS = {
    "CPU": "cpu", "CUDA": "cuda", "XLA": "xla", "MPS": "mps", "XPU": "xpu", "CompositeExplicitAutograd": None,
    "CompositeImplicitAutograd": None, "": None, "default": None,
}  # fmt: skip


_TAPED = {"Autograd": None, "AutogradCPU": "cpu", "AutogradCUDA": "cuda", "AutogradXLA": "xla"}
_DEVICES = ("cpu", "cuda", "xpu", "mkldnn", "xla", "mps", "meta", "hpu", "mtia", "tpu", "privateuseone")


def impl(qualname: Any, types: Any, func: Any = None, *, lib: Library | None = None) -> Any:
    """Give an operator its function for some device types ("cpu", "cuda", "default"); a decorator without ``func``.

    With the dispatch key CompositeImplicitAutograd the function's own operations are differentiated. One for "Autograd"
    ("AutogradCPU", "AutogradCUDA") is called first, on the tape: it applies an autograd.Function, say, and calls the
    operator again within ``torch._C._AutoDispatchBelowAutograd()``. "Meta" is :func:`register_fake`; other keys raise
    NotImplementedError.

    The older form is ``impl(library, name, dispatch_key="")``, always a decorator.
    """
    if isinstance(qualname, Library):
        of, name, key = qualname, types, func or ""

        def through(fn: Callable[..., Any]) -> Callable[..., Any]:
            of.impl(name, fn, key)
            return fn

        return through

    for key in [types] if isinstance(types, str) else types:
        if key.islower() and key not in (*_KEYS, *_DEVICES):
            raise RuntimeError(f"Expected one of {', '.join(_DEVICES)} device type at start of device string: {key}")

    def enter(func: Callable[..., Any]) -> Callable[..., Any]:
        op = _found(qualname)
        for key in [types] if isinstance(types, str) else types:
            if key in ("Meta", "meta"):
                op.register_fake(func)
            elif key in _TAPED:
                op._taped[_TAPED[key]] = func
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
        self._made: list[str] = []

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        """Declare ``name(arguments) -> results``; returns the name."""
        name, _, rest = schema.partition("(")
        name = name.strip().rpartition("::")[2]
        define(f"{self.ns}::{name}", f"({rest}")
        self._made.append(f"{self.ns}::{name}")
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
        """Forget the operators that it has defined."""
        for name in self._made:
            CUSTOM.pop(name, None)


@contextlib.contextmanager
def _scoped_library(*args: Any, **kwargs: Any) -> Iterator[Library]:
    """A :class:`Library` whose operators are there within the context only."""
    made = Library(*args, **kwargs)
    try:
        yield made
    finally:
        made._destroy()


class OpCheckError(RuntimeError):
    """What :func:`opcheck` found."""


def opcheck(
    op: Any, args: tuple, kwargs: dict[str, Any] | None = None, *, test_utils: Any = None,
    raise_exception: bool = True, atol: float | None = None, rtol: float | None = None,
) -> dict[str, str]:  # fmt: skip
    """Try an operator on example arguments: what it writes to, its fake function's shapes, its gradient.

    Returns {"test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic": "SUCCESS" or
    what is wrong}; raises :class:`OpCheckError` unless ``raise_exception`` is False. ``test_utils``: the names of those
    to run; all if None.
    """
    if getattr(op, "namespace", getattr(op, "_namespace", None)) != "aten":
        op = _found(op)
    kwargs = kwargs or {}
    checks = {"test_schema": _check_schema, "test_autograd_registration": _check_grad, "test_faketensor": _check_fake,
              "test_aot_dispatch_dynamic": _check_grad}  # fmt: skip
    wanted = tuple(checks) if test_utils is None else (test_utils,) if isinstance(test_utils, str) else test_utils
    allowed = (*checks, "test_aot_dispatch_static")
    if not set(wanted) <= set(allowed):
        raise ValueError(f"opcheck(op, ..., test_utils={wanted}), expected test_utils to be subset of {allowed} but it "
                         "was not")  # fmt: skip
    results = {}
    for name in wanted:
        try:
            checks.get(name, _check_grad)(op, args, kwargs)
            results[name] = "SUCCESS"
        except Exception as error:
            if raise_exception:
                raise OpCheckError(f"opcheck(op, ...): {name} failed with {error}") from error
            results[name] = f"{type(error).__name__}: {error}"
    return results


def _check_schema(op: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    given = list(_tensors_in((*args, *kwargs.values())))
    before = [x._version for x in given]
    op(*args, **kwargs)
    if not isinstance(op, CustomOpDef):
        return
    told = op._signature.bind(*args, **kwargs).arguments
    for x, version in zip(given, before, strict=True):
        name = next(n for n, a in told.items() if any(t is x for t in _tensors_in((a,))))
        if x._version != version and name not in op._mutates:
            raise RuntimeError(f"Argument {name} is not defined as mutable but was mutated")


def _check_fake(op: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    if not isinstance(op, CustomOpDef) or op._fake is None:
        return
    real = list(_tensors_in((op(*args, **kwargs),)))
    fake = list(_tensors_in((op._fake(*args, **kwargs),)))
    for a, b in zip(real, fake, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise RuntimeError(f"the operator gives {tuple(a.shape)}, {a.dtype}, its fake function {tuple(b.shape)}, "
                               f"{b.dtype}")  # fmt: skip


def _check_grad(op: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    leaves = [x for x in _tensors_in((*args, *kwargs.values())) if x.requires_grad]
    if not leaves or (isinstance(op, CustomOpDef) and op._backward is None):
        return
    from .autograd import grad

    total = sum(x.sum() for x in _tensors_in((op(*args, **kwargs),)) if x.requires_grad)
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
    """:meth:`CustomOpDef.register_autocast` of an operator or its name."""
    _found(op).register_autocast(device_type, cast_inputs)


def register_vmap(op: Any, func: Callable[..., Any] | None = None, /, *, lib: Any = None) -> Any:
    """:meth:`CustomOpDef.register_vmap` of an operator or its name."""
    return _found(op).register_vmap(func)


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


def triton_op(
    name: str, fn: Callable[..., Any] | None = None, /, *, mutates_args: str | Iterable[str], schema: str | None = None
) -> Any:
    """As :func:`custom_op`, for a function that may launch Triton kernels: those it cannot, see :func:`wrap_triton`."""
    return custom_op(name, fn, mutates_args=mutates_args, schema=schema)


def wrap_triton(triton_kernel: Any, /) -> Any:
    """NotImplementedError: Triton kernels take PyTorch's pointers. Pallas is JAX's way to write kernels."""
    raise NotImplementedError("torch.library: Triton kernels take pointers of PyTorch's; write the kernel in Pallas "
                              "and call it through torch.library.custom_op and torch.from_jax")  # fmt: skip
