"""Composite functions that belong to no family of operators."""

from __future__ import annotations

from typing import Any

from ._register import function
from ._tensor import Tensor


@function(method=False)
def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, Tensor)


@function
def numel(input: Tensor) -> int:
    """Number of elements."""
    return input.numel()


@function
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating one."""
    return input.is_floating_point()


@function
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex one."""
    return input.is_complex()


@function(method=True)
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and the same elements (False for NaNs)."""
    if input.shape != other.shape:
        return False
    return bool((input == other).all())


@function(method=True)
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close: |input - other| <= atol + rtol * |other|."""
    if input.dtype != other.dtype:
        raise RuntimeError(f"allclose: dtypes must match, but got {input.dtype} and {other.dtype}")
    return bool(input.isclose(other, rtol=rtol, atol=atol, equal_nan=equal_nan).all())


@function(method=True)
def detach(input: Tensor) -> Tensor:
    """The same data cut off from the graph."""
    return input.detach()


@function
def is_nonzero(input: Tensor) -> bool:
    """Whether the one element of the tensor is not zero."""
    if input.numel() != 1:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous" if input.numel() else
                           "Boolean value of Tensor with no values is ambiguous")  # fmt: skip
    return bool(input)


@function
def result_type(tensor1: Any, tensor2: Any) -> Any:
    """The dtype that an arithmetic operation on both would give."""
    from .dtype import from_numpy_dtype, python_number_dtype, result_type_of

    items = [
        (x._get().meta.dtype, x.dim(), False) if isinstance(x, Tensor) else (python_number_dtype(x), 0, True)
        for x in (tensor1, tensor2)
    ]
    return from_numpy_dtype(result_type_of(items))


@function
def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-dim tensor of the default float dtype (or ``dtype``)."""
    from ._tensor import tensor
    from .dtype import get_default_dtype

    return tensor(s, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad)
