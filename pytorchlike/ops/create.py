"""Operators that make tensors out of nothing but numbers.

The wrapper adds ``device`` and ``requires_grad``.  Shapes and lengths are part of a program; the numbers in it are not.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from ._shapes import lined, sized
from ._table import Array, Operand, Scalar, Sizes, default_float, op


def sizes_checked(name: str, size: Sequence[int]) -> tuple[int, ...]:
    """``size`` if no entry is negative; else RuntimeError."""
    if any(n < 0 for n in size):
        raise RuntimeError(f"{name}: Dimension size must be non-negative, got {list(size)}.")
    return tuple(size)


def number_kind(*numbers) -> str:
    """The NumPy kind ('b', 'i', 'f', 'c') that numbers, or 0-d arrays that stand for numbers, have together."""
    kinds = {"u" if k == "u" else k for k in (np.dtype(getattr(n, "dtype", type(n))).kind for n in numbers)}
    return next((k for k in "cf" if k in kinds), "i" if kinds & {"i", "u"} else "b")


def dtype_of_kind(kind: str) -> np.dtype:
    """The dtype that PyTorch gives to a Python number of that kind."""
    if kind == "f":
        return default_float()
    if kind == "c":
        return np.dtype(np.complex128 if default_float() == np.float64 else np.complex64)
    return np.dtype(np.bool_ if kind == "b" else np.int64)


def number_as(name: str, value, dtype):
    """A Python number, or an array, as an array of ``dtype``.  RuntimeError if the dtype cannot hold the number."""
    dtype = np.dtype(dtype)
    if isinstance(value, complex) and dtype.kind != "c":
        raise RuntimeError(f"{name}: value cannot be converted to type {dtype.name} without overflow")
    if isinstance(value, (int, float)) and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low = limits.min or -limits.max  # negative numbers wrap, so that a + number is a - 1 for -1
        if not math.isfinite(value) or not low <= int(value) <= limits.max:
            raise RuntimeError(f"{name}: value cannot be converted to type {dtype.name} without overflow: {value}")
        value = int(value) % (limits.max + 1) if not limits.min else int(value)
    with np.errstate(over="ignore"):  # 1e6 is inf in float16
        value = jnp.asarray(value)
        return (value.real if value.dtype.kind == "c" and dtype.kind not in "cb" else value).astype(dtype)


@op(method=False, saves=False, shapes=sized)
def zeros(size: Sizes, *, dtype: np.dtype | None = None):
    """A tensor of that size filled with 0; of the default float dtype unless told otherwise.

    >>> torch.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    return jnp.zeros(sizes_checked("zeros", size), default_float() if dtype is None else dtype)


@op(method=False, saves=False, shapes=sized)
def ones(size: Sizes, *, dtype: np.dtype | None = None):
    """A tensor of that size filled with 1; of the default float dtype unless told otherwise."""
    return jnp.ones(sizes_checked("ones", size), default_float() if dtype is None else dtype)


@op(method=False, saves=False, shapes=sized)
def empty(size: Sizes, *, dtype: np.dtype | None = None, memory_format: object = None):
    """A tensor of that size whose elements mean nothing (they are 0, since XLA has no uninitialised memory).

    ``memory_format`` is accepted: XLA chooses the layout.
    """
    return jnp.zeros(sizes_checked("empty", size), default_float() if dtype is None else dtype)


@op(method=False, saves=False, shapes=sized)
def full(size: tuple[int, ...], fill_value: Scalar, *, dtype: np.dtype | None = None):
    """A tensor of that size filled with one number, whose kind decides the dtype: int64, bool, the default float, ….

    Raises RuntimeError if the dtype cannot hold the number.
    """
    if isinstance(size, int):
        raise TypeError("full(): argument 'size' (position 1) must be tuple of ints, not int")
    size = sizes_checked("full", size)
    kind = number_kind(fill_value)
    dtype = dtype_of_kind(kind) if dtype is None else np.dtype(dtype)
    if kind == "c" and dtype.kind != "c":
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
    return jnp.full(size, number_as("full", fill_value, dtype))


@op(method=False, saves=False, shapes=lined)
def _arange(start: Scalar, step: Scalar, length: int, dtype: np.dtype):
    """``start + i * step`` for i < length; ``arange`` has computed the length and the dtype."""
    whole = number_kind(start, step) != "f" and dtype.kind in "iu"
    kind = np.dtype(np.int64) if whole else np.dtype(np.float64)
    i = lax.iota(kind, length)
    if dtype.kind in "iu":
        # As PyTorch: both numbers lose their fractions first.
        start, step = (jnp.asarray(n).astype(np.int64) for n in (start, step))
        return (lax.iota(np.int64, length) * step + start).astype(dtype)
    return (i * jnp.asarray(step).astype(kind) + jnp.asarray(start).astype(kind)).astype(dtype)


def _line(start, end, steps: int, kind, rounded=None):
    """``steps`` numbers from start to end, each end counted from its own side so that both are exact.

    ``rounded``: the dtype that both ends and the distance are rounded to first.
    """
    rounded = kind if rounded is None else rounded
    start, end = (jnp.asarray(n).astype(rounded) for n in (start, end))
    if steps == 1:
        return start.astype(kind).reshape((1,))
    i = lax.iota(kind, steps)
    start, end, step = (n.astype(kind) for n in (start, end, (end - start) / (steps - 1)))
    return jnp.where(i < steps // 2, start + step * i, end - step * ((steps - 1) - i))


def _steps(steps: int) -> int:
    if steps < 0:
        raise RuntimeError(f"number of steps must be non-negative, got {steps}")
    return steps


@op(method=False, saves=False)
def linspace(start: Scalar, end: Scalar, steps: int, *, dtype: np.dtype | None = None):
    """``steps`` evenly spaced numbers from start to end, both included."""
    if dtype == np.bool_:
        raise NotImplementedError("\"linspace_cpu\" not implemented for 'Bool'")
    dtype = dtype_of_kind(max(number_kind(start, end), "f", key="bifc".index)) if dtype is None else np.dtype(dtype)
    kind = dtype if dtype in (np.float64, np.complex128) else np.complex128 if dtype.kind == "c" else np.float64
    # In float32 PyTorch's numbers, to the bit: they are the limits of buckets, which others are compared with. A
    # product and a sum in double precision, rounded once, are its fused multiply-add.
    return _line(start, end, _steps(steps), kind, dtype if dtype == np.float32 else None).astype(dtype)


@op(method=False, saves=False)
def logspace(start: Scalar, end: Scalar, steps: int, base: Scalar = 10.0, *, dtype: np.dtype | None = None):
    """``base`` to the power of ``steps`` evenly spaced numbers from start to end."""
    dtype = default_float() if dtype is None else np.dtype(dtype)
    power = _line(start, end, _steps(steps), np.float64)
    return jnp.power(jnp.asarray(base).astype(np.float64), power).astype(dtype)


@op(method=False, saves=False)
def eye(n: int, m: int | None = None, *, dtype: np.dtype | None = None):
    """The n x m matrix (m: n) with 1 on the diagonal and 0 elsewhere."""
    for name, size in (("n", n), ("m", n if m is None else m)):
        if size < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {size}")
    return jnp.eye(n, m, dtype=default_float() if dtype is None else dtype)


@op(inplace=True, out=False)
def fill(input: Array, value: Operand):
    """One number (or 0-dim tensor) in the shape and dtype of ``input``; ``fill_`` puts it in place of all elements."""
    if hasattr(value, "ndim") and value.ndim:
        raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.")
    return jnp.broadcast_to(number_as("fill_", value, input.dtype), input.shape)


@op(namespace=None, method=True, inplace=True, out=False, saves=False)
def zero(input: Array):
    """Zeros in the shape and dtype of ``input``; ``zero_`` puts them in place of all elements."""
    return jnp.zeros(input.shape, input.dtype)
