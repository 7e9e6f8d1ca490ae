"""``torch.testing.make_tensor``: tensors with random values for tests."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T

__all__ = ["make_tensor"]


def make_tensor(
    *shape: Any, dtype: d.dtype, device: Any, low: float | None = None, high: float | None = None,
    requires_grad: bool = False, noncontiguous: bool = False, exclude_zero: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """A tensor with values drawn uniformly from [low, high).

    shape:          ints, or one sequence of them.
    low, high:      by default -9 and 9 for floating-point and complex dtypes (of which real and imaginary parts are
                    drawn) and [-9, 10) for signed integers, [0, 10) for unsigned ones, {0, 1} for bool. They are cut
                    to what the dtype can hold.
    noncontiguous:  every second element of a larger tensor. Not together with ``memory_format``.
    exclude_zero:   0 is replaced by the smallest positive number of the dtype (1 for integers).

    Raises ValueError for empty ranges, NaNs, and ``requires_grad`` of integers; TypeError for unknown dtypes.
    """
    if not isinstance(dtype, d.dtype):
        raise TypeError(f"make_tensor: dtype must be a torch.dtype, got {type(dtype).__name__}")
    size = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if noncontiguous and memory_format is not None:
        raise ValueError(
            f"The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got {noncontiguous=} and "
            f"{memory_format=}"
        )
    inexact = dtype.is_floating_point or dtype.is_complex
    if requires_grad and not inexact:
        raise ValueError(f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}")
    low, high = _range(dtype, low, high, inexact)
    drawn = (*size[:-1], 2 * size[-1]) if noncontiguous and size else size
    kind = dtype if not inexact else {d.complex64: d.float32, d.complex128: d.float64}.get(dtype, dtype)
    if not inexact:
        made = T.randint(int(low), int(high), drawn, device=device, dtype=dtype)
    else:
        wide = kind if kind in (d.float32, d.float64) else d.float32
        made = T.empty(drawn, dtype=wide, device=device).uniform_(low, high)
        if dtype.is_complex:
            made = T.complex(made, T.empty(drawn, dtype=wide, device=device).uniform_(low, high))
        made = made.to(dtype)
    if exclude_zero:
        tiny = d.finfo(dtype).tiny if inexact else 1
        made = T.where(made == 0, T.full_like(made, tiny), made)
    if noncontiguous and size:
        made = made[..., ::2]
    if memory_format is not None:
        made = made.clone(memory_format=memory_format)
    return made.requires_grad_(True) if requires_grad else made


def _range(dtype: d.dtype, low: float | None, high: float | None, inexact: bool) -> tuple[float, float]:
    if inexact:
        bounds = d.finfo(dtype).min, d.finfo(dtype).max
        defaults = -9.0, 9.0
    elif dtype is d.bool_:
        bounds, defaults = (0, 2), (0, 2)
    else:
        info = d.iinfo(dtype)
        bounds = info.min, min(info.max, 2**63 - 1)
        defaults = (-9, 10) if dtype.is_signed else (0, 10)
    given = low, high
    low, high = (default if value is None else value for value, default in zip(given, defaults, strict=True))
    if any(isinstance(v, float) and math.isnan(v) for v in (low, high)):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and inexact:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated",
            FutureWarning,
            stacklevel=3,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < bounds[0] or low > bounds[1]:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} only "
            f"supports "

                         f"{bounds}")  # fmt: skip
    low, high = (float(np.clip(v, *bounds)) if inexact else v for v in (low, high))
    if not inexact:
        low, high = max(math.ceil(low), bounds[0]), min(math.ceil(high), bounds[1])
        if low == high:
            raise ValueError(f"no {dtype} lies in [{given[0]}, {given[1]})")
    return low, high
