"""Helpers of distributions: broadcasting of parameters, probabilities and logits, properties computed on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, update_wrapper
from typing import Any

import numpy as np

from ..autograd.mode import enable_grad
from ..nn import functional as F
from ..tensor import Tensor, tensor
from ..tensor import functions as T
from ..tensor.dtype import finfo, get_default_dtype

__all__ = [
    "broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]  # fmt: skip

euler_constant = 0.57721566490153286060

_NUMBERS = (int, float, bool)


def broadcast_all(*values: Tensor | float) -> tuple[Tensor, ...]:
    """The values as tensors of one shape; numbers take dtype and device of the first tensor (or the default dtype).

    Raises ValueError for anything that is neither a tensor nor a number.
    """
    if not all(isinstance(v, (Tensor, *_NUMBERS)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing "
            f"__torch_function__; got {', '.join(type(v).__name__ for v in values)}"
        )
    lead = next((v for v in values if isinstance(v, Tensor)), None)
    dtype, device = (get_default_dtype(), None) if lead is None else (lead.dtype, lead.device)
    tensors = [v if isinstance(v, Tensor) else tensor(v, dtype=dtype, device=device) for v in values]
    if all(t.shape == tensors[0].shape for t in tensors):
        return tuple(tensors)
    return tuple(T.broadcast_tensors(*tensors))


def _standard_normal(shape: Sequence[int], dtype: Any, device: Any) -> Tensor:
    """Standard normal numbers."""
    return T.randn(tuple(shape), dtype=dtype, device=device)


def _sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last ``dim`` dimensions, or as many as there are."""
    dim = min(dim, value.dim())
    return value if dim == 0 else value.sum(tuple(range(-dim, 0)))


def enumerate_numbers(count: int, batch_shape: Sequence[int], like: Tensor, expand: bool, dtype: Any = None) -> Tensor:
    """The numbers from 0 to ``count - 1`` along a new first dimension before those of the batch."""
    values = T.arange(count, dtype=dtype or like.dtype, device=like.device)
    values = values.view((-1,) + (1,) * len(batch_shape))
    return values.expand((-1, *batch_shape)) if expand else values


def uniform_like(shape: Sequence[int], like: Tensor, open_ends: bool = False) -> Tensor:
    """Uniform numbers on [0, 1) in the dtype and on the device of ``like``; on (0, 1) with ``open_ends``."""
    u = T.rand(tuple(shape), dtype=like.dtype, device=like.device)
    return clamp_probs(u) if open_ends else u


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities out of logits: of one event each if ``is_binary``, else of the categories along the last axis."""
    return T.sigmoid(logits) if is_binary else F.softmax(logits, dim=-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept away from 0 and 1 by the spacing of their dtype."""
    eps = _spacing(probs.dtype)
    return probs.clamp(min=eps, max=1 - eps)


@cache
def _spacing(kind: Any) -> float:
    return finfo(kind).eps


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Logits out of probabilities: log-odds if ``is_binary``, else log-probabilities."""
    probs = clamp_probs(probs)
    return T.log(probs) - T.log1p(-probs) if is_binary else T.log(probs)


class lazy_property:
    """A property computed at its first use, with gradients on, and kept as an attribute of the object."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return _lazy_property_and_property(self.wrapped)
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


class _lazy_property_and_property(lazy_property, property):
    """What a class shows of a lazy property: a property, for tools that document classes."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        property.__init__(self, wrapped)


def _triangle(n: int, diag: int) -> tuple[Tensor, Tensor]:
    rows, columns = np.tril_indices(n, diag)
    return tensor(rows), tensor(columns)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The entries on and below diagonal ``diag`` of square matrices, row by row: ``(*, n, n) -> (*, k)``.

    Raises ValueError if there is no such diagonal.
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[(..., *_triangle(n, diag))]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Square matrices whose entries on and below diagonal ``diag`` are given row by row: ``(*, k) -> (*, n, n)``.

    Raises ValueError if no matrix has that many such entries.
    """
    k = vec.shape[-1]
    # n (n + 1) / 2 entries for diag 0; a diagonal further up or down adds or takes parts of triangles
    root = (1 + 2 * diag) ** 2 + 8 * k + 4 * abs(diag) * (diag + 1)
    n = (-(1 + 2 * diag) + math.sqrt(root)) / 2 if root >= 0 else math.nan
    if not abs(n - round(n) if n == n else 1) < finfo(vec.dtype).eps:
        raise ValueError(
            f"The size of last dimension is {k} which cannot be expressed as the lower triangular part of a square "
            "D x D matrix."
        )
    n = round(n)
    mat = T.zeros((*vec.shape[:-1], n, n), dtype=vec.dtype, device=vec.device)
    mat[(..., *_triangle(n, diag))] = vec
    return mat
