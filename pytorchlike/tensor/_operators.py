"""Python's operators on Tensors, and the methods and properties that come from the table."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from ..ops._sizes import broadcast_sizes
from ..ops._table import Array, Operand, op
from ._names import find, find_method, method_names

_BINARY = {
    "__add__": "add", "__sub__": "sub", "__mul__": "mul", "__truediv__": "div", "__floordiv__": "floor_divide",
    "__mod__": "remainder", "__pow__": "pow", "__matmul__": "matmul", "__and__": "bitwise_and", "__or__": "bitwise_or",
    "__xor__": "bitwise_xor", "__lshift__": "bitwise_left_shift", "__rshift__": "bitwise_right_shift", "__eq__": "eq",
    "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge", "__radd__": "add",
    "__rmul__": "mul",
    "__rand__": "bitwise_and", "__ror__": "bitwise_or", "__rxor__": "bitwise_xor", "__rsub__": "rsub",
    "__rtruediv__": "_rdiv", "__rmatmul__": "_rmatmul", "__rdiv__": "_rdiv", "__div__": "div", "__idiv__": "div_",
    "__rfloordiv__": "_rfloor_divide", "__rmod__": "_rremainder", "__rpow__": "_rpow",
    "__rlshift__": "_rlshift", "__rrshift__": "_rrshift",
    "__iadd__": "add_", "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_",
    "__ifloordiv__": "floor_divide_",
    "__imod__": "remainder_", "__ipow__": "pow_", "__iand__": "bitwise_and_", "__ior__": "bitwise_or_",
    "__ixor__": "bitwise_xor_", "__ilshift__": "bitwise_left_shift_", "__irshift__": "bitwise_right_shift_",
}  # fmt: skip
_UNARY = {"__neg__": "neg", "__pos__": "positive", "__abs__": "abs", "__invert__": "bitwise_not"}
_PROPERTIES = ("T", "mT", "H", "mH", "real", "imag")


def _swapped(name: str) -> Any:
    """Body of ``other (op) input`` from the body of an operator of the table."""
    from ..ops._table import lookup

    return lookup(name).fn


@op(name="_rdiv", namespace=None, promote="float")
def rdiv(input: Array, other: Operand):
    """``other / input``."""
    return other / input


@op(name="_rmatmul", namespace=None, heavy=True)
def rmatmul(input: Array, other: Array):
    """``other @ input``."""
    return _swapped("matmul")(other, input)


@op(name="_rfloor_divide", namespace=None, promote="common")
def rfloor_divide(input: Array, other: Operand):
    """``other // input``."""
    return _swapped("floor_divide")(other, input)


@op(name="_rremainder", namespace=None, promote="common")
def rremainder(input: Array, other: Operand):
    """``other % input``."""
    return _swapped("remainder")(other, input)


@op(name="_rpow", namespace=None, promote="common")
def rpow(input: Array, other: Operand):
    """``other ** input``."""
    return _swapped("pow")(other, input)


@op(name="_rlshift", namespace=None, promote="common")
def rlshift(input: Array, other: Operand):
    """``other << input``."""
    return lax.shift_left(*jnp.broadcast_arrays(other, input))


@op(name="_rrshift", namespace=None, promote="common")
def rrshift(input: Array, other: Operand):
    """``other >> input``."""
    return lax.shift_right_arithmetic(*jnp.broadcast_arrays(other, input))


@op(name="_copy_from", namespace=None, inplace=True, out=False)
def copy_from(input: Array, src: Array):
    """``src`` broadcast and converted to what ``input`` is."""
    own, shape = list(input.shape), list(broadcast_sizes(input.shape, src.shape))
    if shape != own:
        raise RuntimeError(f"output with shape {own} doesn't match the broadcast shape {shape} (copy_)")
    if jnp.issubdtype(src.dtype, jnp.complexfloating) and not jnp.issubdtype(input.dtype, jnp.complexfloating):
        src = src.real
    return jnp.broadcast_to(src.astype(input.dtype), input.shape)


def _made(name: str, target: str) -> Any:
    """The method behind one of Python's operators."""
    made = find_method(target) or find("torch", target)
    if name == "__invert__":
        return _of_integers(made)
    if name in _BINARY and hasattr(made, "entry"):
        from ._wrap import form

        made = form(made.entry, target == made.entry.name + "_", False, True)
    return made


def _of_integers(invert: Any) -> Any:
    def __invert__(self: Any) -> Any:
        if self.dtype.is_floating_point or self.dtype.is_complex:
            raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
        return invert(self)

    return __invert__


def operator_names() -> tuple[str, ...]:
    """Python's names of the operators that tensors have."""
    return (*_BINARY, *_UNARY)


def method_of(operator: str) -> str:
    """The name of the method that computes one of Python's operators."""
    return _BINARY.get(operator) or _UNARY[operator]


def make_all(cls: type) -> None:
    """Build the methods behind all operators now."""
    for name, target in {**_BINARY, **_UNARY}.items():
        if getattr(vars(cls).get(name), "_late", False):
            setattr(cls, name, _made(name, target))


def _keep(name: str, found: Any) -> Any:
    return found


def on_method_found(change: Any) -> None:
    """Have ``change(name, method)`` tell what is kept of each method that is found from now on."""
    global _keep
    _keep = change


def _lazy(cls: type, name: str, target: str) -> Any:
    """A method that builds its form at the first call and puts it in its own place."""

    def first(self: Any, *args: Any) -> Any:
        __tracebackhide__ = True  # by pytest and IPython
        made = _made(name, target)
        setattr(cls, name, made)
        return made(self, *args)

    first.__name__ = name
    first._late = True  # type: ignore[attr-defined]
    return first


class _LazyMethods(type):
    """Finds methods of the table when they are first asked of the class."""

    def __getattr__(cls, name: str) -> Any:
        found = None if name.startswith("__") else find_method(name)
        if found is None:
            raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")
        from ._tensor import Tensor

        setattr(Tensor, name, _keep(name, found))
        return getattr(cls, name)

    def __dir__(cls) -> list[str]:
        return sorted({*type.__dir__(cls), *method_names()})


def missing(self: Any, name: str) -> Any:
    """``Tensor.__getattr__``: methods of the table, at their first use."""
    found = None if name.startswith("__") else find_method(name)
    if found is None:
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
    from ._tensor import Tensor

    setattr(Tensor, name, _keep(name, found))
    return getattr(self, name)


def attach(cls: type) -> None:
    """Give the class its operators and properties."""
    for name, target in {**_BINARY, **_UNARY}.items():
        setattr(cls, name, _lazy(cls, name, target))
    for name in _PROPERTIES:
        setattr(cls, name, property(_property(name), _part_setter(name) if name in ("real", "imag") else None))
    cls.__getattr__ = missing  # type: ignore[attr-defined]
    for kind in ("float", "double", "half", "bfloat16", "int", "long", "short", "bool", "char", "byte", "cfloat",
                 "cdouble", "chalf"):  # fmt: skip
        setattr(cls, kind, _conversion(kind))
    cls.__long__, cls.__nonzero__ = cls.__int__, cls.__bool__  # type: ignore[attr-defined]
    for kind in ("xla", "ipu", "mtia", "maia"):
        setattr(cls, f"is_{kind}", False)
    for kind in ("xpu", "ipu", "mtia", "hpu"):
        setattr(cls, kind, _elsewhere(kind))


def _elsewhere(kind: str) -> Any:
    def move(self: Any, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Any:
        return self._to(kind if device is None else f"{kind}:{device}" if isinstance(device, int) else device)

    move.__name__ = kind
    move.__doc__ = f"The tensor on a device of type '{kind}'; RuntimeError if there is none."
    return move


def _conversion(kind: str) -> Any:
    names = {"float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64",
             "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool_", "cfloat": "complex64",
             "cdouble": "complex128"}  # fmt: skip

    def convert(self: Any, memory_format: Any = None) -> Any:
        from . import dtype

        return self._to(getattr(dtype, names.get(kind, kind)))

    convert.__name__ = kind
    convert.__doc__ = f"The tensor as {names.get(kind, kind)}."
    return convert


def _part_setter(name: str) -> Any:
    def put(self: Any, value: Any) -> None:
        getattr(self, name).copy_(value)

    return put


def _property(name: str) -> Any:
    def get(self: Any) -> Any:
        if name == "real" and self._value.meta.dtype.kind != "c":
            return self
        return find_method(name)(self)

    get.__name__ = name
    return get
