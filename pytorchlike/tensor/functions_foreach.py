"""``torch._foreach_*``: one function on each tensor of a list, as optimizers and averages of models use them.

The calls are recorded one by one and compiled together, so that they cost no more than a fused form would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..engine import local
from ._cell import before_write
from ._names import find, find_method
from ._register import function
from ._tensor import Tensor

__all__: list[str] = []

_UNARY = """abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg reciprocal
    round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc"""
#: Second arguments: a list of tensors or numbers, one number, or one tensor.
_BINARY = "add sub mul div pow clamp_max clamp_min"
#: They take tensors only; what they are for numbers.
_EXTREMES = {"maximum": "clamp_min", "minimum": "clamp_max"}
_TERNARY = "addcmul addcdiv lerp"


def _method(name: str) -> Callable[..., Any]:
    return find_method(name) or find("torch", name)


def _of(values: Any, k: int, count: int, name: str) -> Any:
    """The value that belongs to tensor ``k``: of a list, or the same for all."""
    if not isinstance(values, (list, tuple)):
        return values
    if len(values) != count:
        raise RuntimeError(f"{name}: Tensor lists must have the same number of tensors, got {count} and {len(values)}")
    return values[k]


def _checked(tensors: Any, name: str) -> Sequence[Tensor]:
    if not isinstance(tensors, (list, tuple)) or not all(isinstance(t, Tensor) for t in tensors):
        kind = type(tensors).__name__
        raise TypeError(f"{name}(): argument 'self' (position 1) must be tuple of Tensors, not {kind}")
    if not tensors:
        raise RuntimeError(f"{name}: Tensor list must have at least one tensor.")
    return tensors


def _register(name: str, call: Callable[..., Any]) -> None:
    """Both forms: a tuple of new tensors, and in place (a list of those given)."""
    full = f"_foreach_{name}"

    def new(self: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        if name == "pow" and isinstance(self, (int, float, complex)):  # one number to the power of each
            return tuple([find("torch", name)(self, t) for t in _checked(*args, full)])
        tensors = _checked(self, full)
        return tuple([call(_method(name), t, k, len(tensors), full, *args, **kwargs) for k, t in enumerate(tensors)])

    def in_place(self: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
        tensors, op = _checked(self, full + "_"), _method(name + "_")
        for t in tensors if local.trace.mode.grad else ():
            before_write(t, t._get(), local.trace)  # what is refused is so before anything has changed
        for k, t in enumerate(tensors):
            result = call(op or _method(name), t, k, len(tensors), full + "_", *args, **kwargs)
            if op is None:
                t.copy_(result)
        return list(tensors)

    for fn, suffix in ((new, ""), (in_place, "_")):
        fn.__name__ = fn.__qualname__ = full + suffix
        fn.__doc__ = f"``{name}{suffix}`` of each tensor{'' if suffix else '; a tuple of tensors'}."
        function(fn, namespace="", name=full + suffix)


def _one(op: Callable, t: Tensor, k: int, count: int, name: str) -> Tensor:
    return op(t)


def _two(op: Callable, t: Tensor, k: int, count: int, name: str, other: Any, **kwargs: Any) -> Tensor:
    return op(t, _of(other, k, count, name), **kwargs)


def _extreme(numbers: str) -> Callable[..., Tensor]:
    def call(op: Callable, t: Tensor, k: int, count: int, name: str, other: Any) -> Tensor:
        value = _of(other, k, count, name)
        return op(t, value) if isinstance(value, Tensor) else _method(numbers)(t, value)

    return call


def _lerp(op: Callable, t: Tensor, k: int, count: int, name: str, tensors1: Any, weight: Any) -> Tensor:
    return op(t, _of(tensors1, k, count, name), _of(weight, k, count, name))


def _addc(op: Callable, t: Tensor, k: int, count: int, name: str, tensor1: Any, tensor2: Any, value: Any = 1,
          *, scalars: Any = None) -> Tensor:  # fmt: skip
    value = value if scalars is None else scalars
    value = value.tolist() if isinstance(value, Tensor) and value.dim() else value
    return op(t, _of(tensor1, k, count, name), _of(tensor2, k, count, name), value=_of(value, k, count, name))


for _name in _UNARY.split():
    _register(_name, _one)
for _name in _BINARY.split():
    _register(_name, _two)
for _name, _numbers in _EXTREMES.items():
    _register(_name, _extreme(_numbers))
for _name in _TERNARY.split():
    _register(_name, _lerp if _name == "lerp" else _addc)


@function(namespace="")
def _foreach_zero_(self: Any) -> list[Tensor]:
    """Zeros into each tensor."""
    return [t.zero_() for t in _checked(self, "_foreach_zero_")]


@function(namespace="")
def _foreach_copy_(self: Any, src: Any, non_blocking: bool = False) -> list[Tensor]:
    """The elements of each tensor of ``src`` into that of ``self``."""
    tensors = _checked(self, "_foreach_copy_")
    return [t.copy_(_of(src, k, len(tensors), "_foreach_copy_")) for k, t in enumerate(tensors)]


@function(namespace="")
def _foreach_norm(self: Any, ord: Any = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The vector norm of each tensor."""
    tensors = _checked(self, "_foreach_norm")
    if len(tensors) == 1:
        return (find("linalg", "vector_norm")(tensors[0], ord, dtype=dtype),)
    return find("", "_vector_norms")(tensors, ord, dtype)


@function(namespace="")
def _foreach_max(self: Any) -> tuple[Tensor, ...]:
    """The largest element of each tensor."""
    return tuple([t.max() for t in _checked(self, "_foreach_max")])


@function(namespace="")
def _foreach_clone(self: Any, *, memory_format: Any = None) -> tuple[Tensor, ...]:
    """A copy of each tensor."""
    return tuple([t.clone() for t in _checked(self, "_foreach_clone")])


@function(namespace="")
def _foreach_powsum(self: Any, ord: Any = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The sum of each tensor's magnitudes to the power of ``ord``: norms without their root."""
    return tuple([t.abs().pow(ord).sum(dtype=dtype) for t in _checked(self, "_foreach_powsum")])


@function(namespace="")
def _foreach_mm(self: Any, mat2: Any) -> tuple[Tensor, ...]:
    """The product of each matrix and that of ``mat2`` beside it."""
    tensors = _checked(self, "_foreach_mm")
    return tuple([t.mm(_of(mat2, k, len(tensors), "_foreach_mm")) for k, t in enumerate(tensors)])
