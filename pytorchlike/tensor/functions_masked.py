"""``torch.masked``: what is masked out is replaced by the identity of the operation, which then runs as usual.

Results where everything is masked out are what the operation gives for identities alone, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

from ..ops._sizes import wrap_dim
from . import dtype as d
from ._register import function
from ._tensor import Tensor


def _dims(dim: Any, ndim: int) -> tuple[int, ...]:
    """The dims to reduce, sorted; None and () are all of them.  Raises RuntimeError for a dim given twice."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    out: list[int] = []
    for i in (dim,) if isinstance(dim, int) else dim:
        k = wrap_dim(i, ndim)
        if k in out:
            raise RuntimeError(f"dim={k} appears multiple times in the list of dims")
        out.append(k)
    return tuple(sorted(out))


def _mask(input: Tensor, mask: Tensor | None) -> Tensor | None:
    if mask is None:
        return None
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask must be Tensor, not {type(mask).__name__}")
    if mask.ndim > input.ndim:
        raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)")
    return mask.bool().expand(input.shape)


def _filled(input: Tensor, mask: Tensor | None, identity: Any) -> Tensor:
    """``input`` with ``identity`` wherever the mask is false."""
    mask = _mask(input, mask)
    return input if mask is None else input.masked_fill(~mask, identity)


def _lowest(input: Tensor) -> Any:
    kind = input.dtype
    if kind.is_floating_point or kind.is_complex:
        return -math.inf
    return False if kind is d.bool_ else d.iinfo(kind).min


def _highest(input: Tensor) -> Any:
    kind = input.dtype
    if kind.is_floating_point:
        return math.inf
    return True if kind is d.bool_ else d.iinfo(kind).max


def _reduced_kind(input: Tensor, dtype: Any) -> Any:
    if dtype is not None:
        return d.as_dtype(dtype)
    kind = input.dtype
    return kind if kind.is_floating_point or kind.is_complex else d.int64


@function(namespace="masked")
def sum(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Sum of the selected elements along ``dim`` (all if None)."""
    kind = _reduced_kind(input, dtype)
    return _filled(input, mask, 0).sum(_dims(dim, input.ndim), keepdim, dtype=kind)


@function(namespace="masked")
def prod(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Product of the selected elements along ``dim`` (all if None)."""
    out = _filled(input, mask, 1).to(dtype=_reduced_kind(input, dtype))
    for k in reversed(_dims(dim, input.ndim)):
        out = out.prod(k, keepdim)
    return out


@function(namespace="masked")
def cumsum(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running sum along ``dim``; what is masked out counts as 0."""
    kind = dtype or input.dtype
    return _filled(input, mask, 0).cumsum(dim, dtype=kind).to(dtype=kind)


@function(namespace="masked")
def cumprod(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running product along ``dim``; what is masked out counts as 1."""
    kind = dtype or input.dtype
    return _filled(input, mask, 1).cumprod(dim, dtype=kind).to(dtype=kind)


@function(namespace="masked")
def amax(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Largest selected element along ``dim`` (all if None)."""
    out = _filled(input, mask, _lowest(input)).amax(_dims(dim, input.ndim), keepdim)
    return out.to(dtype=dtype or input.dtype)


@function(namespace="masked")
def amin(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Smallest selected element along ``dim`` (all if None)."""
    out = _filled(input, mask, _highest(input)).amin(_dims(dim, input.ndim), keepdim)
    return out.to(dtype=dtype or input.dtype)


@function(namespace="masked")
def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Place of the largest selected element, in the dtype of ``input`` unless told otherwise."""
    out = _filled(input, mask, _lowest(input)).argmax(dim, keepdim)
    return out.to(dtype=dtype or input.dtype)


@function(namespace="masked")
def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Place of the smallest selected element, in the dtype of ``input`` unless told otherwise."""
    out = _filled(input, mask, _highest(input)).argmin(dim, keepdim)
    return out.to(dtype=dtype or input.dtype)


def _count(input: Tensor, dims: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Tensor:
    from .functions import ones

    chosen = _mask(input, mask)
    if chosen is None:
        chosen = ones((), dtype=d.int64, device=input.device).expand(input.shape)
    return chosen.sum(dims, keepdim)


@function(namespace="masked")
def mean(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Mean of the selected elements along ``dim`` (all if None).  Raises ValueError for an integer dtype."""
    kind = d.as_dtype(dtype) if dtype is not None else input.dtype
    if not (kind.is_floating_point or kind.is_complex):
        raise ValueError(f"mean expects dtype to be float or complex, got {kind}")
    dims = _dims(dim, input.ndim)
    return sum(input, dims, keepdim=keepdim, dtype=kind, mask=mask) / _count(input, dims, keepdim, mask)


@function(namespace="masked")
def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Lower median of the selected elements along ``dim``; nan (ValueError for integers) where none is."""
    if input.dtype.is_floating_point:
        return _filled(input, mask, math.nan).nanmedian(dim, keepdim).values
    out = _filled(input.float(), mask, math.nan).nanmedian(dim, keepdim).values
    if bool(out.isnan().any()):
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    return out.to(dtype=dtype or input.dtype)


@function(namespace="masked")
def logsumexp(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Log of the summed exponentials of the selected elements along ``dim`` (all if None)."""
    x = input.to(dtype=dtype or input.dtype)
    return _filled(x, mask, _lowest(x)).logsumexp(_dims(dim, input.ndim), keepdim).to(dtype=dtype or input.dtype)


@function(namespace="masked")
def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: Any = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """``log(exp(input) + exp(other))``; what is masked out counts as -inf."""
    out = _filled(input, input_mask, -math.inf).logaddexp(_filled(other, other_mask, -math.inf))
    return out.to(dtype=dtype or input.dtype)


@function(namespace="masked")
def norm(
    input: Tensor, ord: float = 2.0, dim: Any = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Vector norm of the selected elements along ``dim`` (all if None)."""
    from ._names import find

    x = _filled(input, mask, math.inf if ord < 0 else 0)
    return find("linalg", "vector_norm")(x, ord, _dims(dim, input.ndim), keepdim, dtype=dtype)


def _spread(
    input: Tensor, dim: Any, unbiased: bool | None, correction: Any, keepdim: bool, dtype: Any, mask: Tensor | None
) -> tuple[Tensor, Any]:
    if unbiased is not None and correction is not None:
        raise RuntimeError("Only one of 'unbiased' and 'correction' may be given")
    less = correction if correction is not None else int(unbiased is not False)
    kind = d.as_dtype(dtype) if dtype is not None else input.dtype
    if not (kind.is_floating_point or kind.is_complex):
        kind = d.float32
    dims = _dims(dim, input.ndim)
    count = _count(input, dims, True, mask)
    x = input.to(dtype=kind)
    away = x - sum(x, dims, keepdim=True, mask=mask) / count
    total = sum(away * away.conj() if kind.is_complex else away * away, dims, keepdim=keepdim, mask=mask)
    count = count.reshape(total.shape)
    if less:
        count = (count.to(dtype=kind.to_real() if kind.is_complex else kind) - less).clamp(min=0)
    return (total / count).to(dtype=kind), kind


@function(namespace="masked")
def var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, *, correction: Any = None, keepdim: bool = False,
    dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Variance of the selected elements along ``dim`` (all if None), divided by their number less correction (1)."""
    return _spread(input, dim, unbiased, correction, keepdim, dtype, mask)[0]


@function(namespace="masked")
def std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, *, correction: Any = None, keepdim: bool = False,
    dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Square root of ``var``."""
    return _spread(input, dim, unbiased, correction, keepdim, dtype, mask)[0].sqrt()


@function(namespace="masked")
def softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Softmax along ``dim`` over the selected elements; 0 elsewhere."""
    x = input.to(dtype=dtype or input.dtype)
    return _filled(x, mask, -math.inf).softmax(dim)


@function(namespace="masked")
def log_softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Logarithm of the softmax along ``dim`` over the selected elements; -inf elsewhere."""
    x = input.to(dtype=dtype or input.dtype)
    return _filled(x, mask, -math.inf).log_softmax(dim)


@function(namespace="masked")
def softmin(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Softmax of the negated elements along ``dim`` over the selected ones; 0 elsewhere."""
    x = input.to(dtype=dtype or input.dtype)
    return (-_filled(x, mask, math.inf)).softmax(dim)


@function(namespace="masked")
def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:  # fmt: skip
    """The elements, 0 where masked out, divided by their norm along ``dim`` (by ``eps`` if that is larger)."""
    x = input.to(dtype=dtype or input.dtype)
    length = norm(x, ord, dim, keepdim=True, mask=mask)
    return _filled(x, mask, 0) / length.clamp(min=eps)
