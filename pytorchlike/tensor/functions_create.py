"""Factories over the operators of ``ops/create.py``: ranges, index triangles, ``*_like`` and ``new_*`` forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.errors import warn
from ._register import function
from ._tensor import Tensor, host_tensor
from ._views import lie_in, lying
from .dtype import as_dtype, bool_, get_default_dtype, int64, preserve_format, strided

_EMPTY = object()


def _plain(x: Any) -> Any:
    """A Python number of a number or a 0-dim tensor."""
    if x.__class__ in (int, float, bool, complex):
        return x
    if isinstance(x, (Tensor, np.generic)):
        return x.item()
    return x


@function
def arange(
    start: Any = 0, end: Any = _EMPTY, step: Any = 1, *, dtype: Any = None, out: Any = None, **place: Any
) -> Tensor:
    """Numbers from ``start`` (0) up to ``end``, without it, ``step`` apart.

    Called as ``arange(end)`` or ``arange(start, end[, step])``.
    Shape ``(ceil((end - start) / step),)``.  dtype: int64 if all are ints, else the default float dtype.
    A changing start, or step, of the same length runs the same program.
    Raises RuntimeError for a step of 0, the wrong sign of step, or ends that are not finite.

    >>> torch.arange(1, 7, 2)
    tensor([1, 3, 5])
    """
    from .functions import _arange

    if end is _EMPTY:
        start, end = 0, start
    start, end, step = _plain(start), _plain(end), _plain(step)
    if dtype is None:
        floats = start.__class__ is float or end.__class__ is float or step.__class__ is float
        kind = out.dtype if out is not None else get_default_dtype() if floats else int64
    else:
        kind = as_dtype(dtype)
        if kind is bool_:
            raise NotImplementedError("\"arange_cpu\" not implemented for 'Bool'")
    if isinstance(start, complex) or isinstance(end, complex) or isinstance(step, complex):
        raise TypeError("arange(): arguments must be real numbers")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if (kind if out is None else out.dtype) is int64:  # the only dtype whose length is computed in its own numbers
        if int(step) == 0:
            raise ValueError("step must be nonzero")
        start, end, step = int(start), int(end), int(step)
    if all(isinstance(n, int) for n in (start, end, step)):
        length = -((start - end) // step)
    else:
        length = math.ceil((end - start) / step)
    return _arange(start, step, length, kind, out=out, **place)


def _triangle(row: int, col: int, offset: int, dtype: Any, device: Any, layout: Any, lower: bool) -> Tensor:
    full = "tril_indices" if lower else "triu_indices"
    if layout is not None and layout is not strided:
        raise NotImplementedError(f"{full} is implemented for strided tensors only, got: {layout}")
    for name, n in (("row", row), ("col", col)):
        if n < 0:
            raise RuntimeError(f"{name} must be non-negative, got {n}")
    rows, cols = np.tril_indices(row, offset, col) if lower else np.triu_indices(row, offset, col)
    kind = int64 if dtype is None else as_dtype(dtype)
    if kind.numpy.kind not in "iu":
        raise NotImplementedError(f'"{full}" not implemented for {kind!r}: indices are integers')
    return host_tensor(np.stack([rows, cols]).astype(kind.numpy), device, constant=True)


@function
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False
) -> Tensor:  # fmt: skip
    """Row and column indices, as int64 of shape (2, n), of the elements on and below diagonal ``offset``."""
    return _triangle(row, col, offset, dtype, device, layout, True)


@function
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False
) -> Tensor:  # fmt: skip
    """Row and column indices, as int64 of shape (2, n), of the elements on and above diagonal ``offset``."""
    return _triangle(row, col, offset, dtype, device, layout, False)


def _like(input: Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keywords of a factory whose result is to be as ``input`` where they do not say otherwise."""
    kwargs.pop("memory_format", None)
    if kwargs.get("dtype") is None:
        kwargs["dtype"] = input.dtype
    if kwargs.get("device") is None:
        kwargs["device"] = input.device
    return kwargs


def _order_like(
    input: Tensor, kwargs: dict[str, Any], told: Callable[[Tensor], list[int] | None] = lying
) -> list[int] | None:
    """The order of dims in memory of what is made like ``input`` with these keywords, unless it is the usual one."""
    return told(input) if kwargs.get("memory_format") in (None, preserve_format) else None


def _made_like(input: Tensor, make: Callable[..., Tensor], kwargs: dict[str, Any]) -> Tensor:
    """What ``make`` gives of that shape, told to lie in memory as ``input`` does; nothing is moved for it."""
    order = _order_like(input, kwargs)
    made = make(input.shape, **_like(input, kwargs))
    if order is not None:
        lie_in(order, made)
    return made


@function
def zeros_like(input: Tensor, **kwargs: Any) -> Tensor:
    """Zeros in the shape, dtype and device of ``input`` (keywords: dtype, device, requires_grad)."""
    from .functions import zeros

    return _made_like(input, zeros, kwargs)


@function
def ones_like(input: Tensor, **kwargs: Any) -> Tensor:
    """Ones in the shape, dtype and device of ``input`` (keywords: dtype, device, requires_grad)."""
    from .functions import ones

    return _made_like(input, ones, kwargs)


@function
def empty_like(input: Tensor, **kwargs: Any) -> Tensor:
    """An uninitialised tensor in the shape, dtype and device of ``input``."""
    from .functions import empty

    return _made_like(input, empty, kwargs)


@function
def full_like(input: Tensor, fill_value: Any, **kwargs: Any) -> Tensor:
    """A tensor in the shape, dtype and device of ``input``, filled with a number."""
    from .functions import full

    return _made_like(input, lambda size, **given: full(tuple(size), fill_value, **given), kwargs)


@function
def empty_strided(size: Any, stride: Any, **kwargs: Any) -> Tensor:
    """An uninitialised tensor of that size and those strides."""
    from .functions import empty

    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError(f"empty_strided: size {list(size)} and stride {list(stride)} must have the same length")
    if 0 in size:
        return empty(size, **kwargs)
    numel = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    return empty((numel,), **kwargs).as_strided(size, stride)


def _size(name: str, size: tuple, kwargs: dict[str, Any]) -> tuple:
    """Sizes that were given one by one, as a sequence, or as ``size`` by name, which is taken out."""
    if not size:
        if "size" not in kwargs:
            raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
        size = (kwargs.pop("size"),)
    if len(size) != 1 or isinstance(size[0], (int, Tensor)) or not hasattr(size[0], "__len__"):
        return size
    return tuple(size[0])


@function(namespace=None, method=True)
def new_zeros(input: Tensor, *size: Any, **kwargs: Any) -> Tensor:
    """Zeros of that size, in the dtype and on the device of ``input``."""
    from .functions import zeros

    return zeros(_size("new_zeros", size, kwargs), **_like(input, kwargs))


@function(namespace=None, method=True)
def new_ones(input: Tensor, *size: Any, **kwargs: Any) -> Tensor:
    """Ones of that size, in the dtype and on the device of ``input``."""
    from .functions import ones

    return ones(_size("new_ones", size, kwargs), **_like(input, kwargs))


@function(namespace=None, method=True)
def new_empty(input: Tensor, *size: Any, **kwargs: Any) -> Tensor:
    """An uninitialised tensor of that size, in the dtype and on the device of ``input``."""
    from .functions import empty

    return empty(_size("new_empty", size, kwargs), **_like(input, kwargs))


@function(namespace=None, method=True)
def new_full(input: Tensor, size: Any, fill_value: Any, **kwargs: Any) -> Tensor:
    """A tensor of that size filled with a number, in the dtype and on the device of ``input``."""
    from .functions import full

    return full(tuple(size), fill_value, **_like(input, kwargs))


@function(namespace=None, method=True)
def new_empty_strided(input: Tensor, size: Any, stride: Any, **kwargs: Any) -> Tensor:
    """``empty_strided`` in the dtype and on the device of ``input``."""
    return empty_strided(size, stride, **_like(input, kwargs))


def _line(name: str, start: Any, end: Any, steps: Any) -> tuple[Any, Any]:
    for x in (start, end):
        if isinstance(x, Tensor) and x.ndim:
            raise RuntimeError(f"{name} only supports 0-dimensional start and end tensors, but got start or end with "
                               f"{x.ndim} dimension(s)")  # fmt: skip
    if isinstance(steps, (bool, float)) or not hasattr(steps, "__index__"):
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}")
    return _plain(start), _plain(end)


@function
def linspace(start: Any, end: Any, steps: int, *, out: Any = None, dtype: Any = None, **place: Any) -> Tensor:
    """``steps`` evenly spaced numbers from start to end, both included; by default of the default float dtype.

    start and end may be 0-dim tensors, which are read.
    """
    from ..ops import lookup
    from ._wrap import form

    start, end = _line("linspace", start, end, steps)
    return form(lookup("linspace"))(start, end, steps, dtype=dtype, out=out, **place)


@function
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Any = None, dtype: Any = None, **place: Any
) -> Tensor:
    """``base`` to the power of ``steps`` evenly spaced numbers from start to end; as ``linspace`` otherwise."""
    from ..ops import lookup
    from ._wrap import form

    start, end = _line("logspace", start, end, steps)
    return form(lookup("logspace"))(start, end, steps, base, dtype=dtype, out=out, **place)


@function(name="range")
def range_(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None, **place: Any) -> Tensor:
    """As ``arange`` with the end included and a float dtype; PyTorch deprecated it."""
    warn("torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
         "Python's range builtin. Instead, use torch.arange, which produces values in [start, end)")  # fmt: skip
    if end is None:
        raise TypeError('range() missing 1 required positional arguments: "end"')
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    start, end, step = _plain(start), _plain(end), _plain(step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    count = math.floor((end - start) / step) + 1
    if count <= 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    from .functions import _arange

    return _arange(start, step, count, kind, **place)
