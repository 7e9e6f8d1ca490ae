"""Limits on gradients. Nothing is read back, except where an error is asked for."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import Any

from ...autograd.mode import no_grad
from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor._names import find
from ...tensor.recorded import by_place, scale_all, with_grads

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


_norms = find("", "_vector_norms")


def _as_list(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _combined(tensors: list[Tensor], norm_type: float) -> Tensor:
    """The norm of all elements of tensors of this process."""
    norms: list[Tensor] = []
    for group in by_place(tensors):
        norms += _norms(group, norm_type) if len(group) > 1 else [T.norm(group[0], norm_type)]
    if any(n._value.meta.place != norms[0]._value.meta.place for n in norms):
        norms = [n.to(tensors[0].device) for n in norms]
    return T.norm(T.stack(norms), norm_type)


@no_grad()
def get_total_norm(tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False,
                   foreach: bool | None = None) -> Tensor:
    """The ``norm_type`` norm of all elements of all tensors together, a tensor ().

    error_if_nonfinite reads the result. ``foreach`` chooses a kernel in PyTorch; here the operations on all tensors
    are one program either way.

    Raises:  RuntimeError if error_if_nonfinite and the norm is not finite.
    """
    tensors = _as_list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return T.tensor(0.0)
    whole = [t for t in tensors if t._spread is None]
    norms = [_combined(whole, norm_type)] if whole else []
    for spread in {t._spread.group: t._spread for t in tensors if t._spread is not None}.values():
        parts = [t.to_local() for t in tensors if t._spread is not None and t._spread.group is spread.group]
        mine = _combined([t for t in parts if t.numel()], norm_type) if any(t.numel() for t in parts) else T.zeros(())
        norms.append(spread.total_norm(mine, norm_type))
    total = norms[0] if len(norms) == 1 else T.norm(T.stack([n.to(norms[0].device) for n in norms]), norm_type)
    if error_if_nonfinite and bool(T.logical_or(total.isnan(), total.isinf())):
        raise RuntimeError(f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it "
                           "cannot be clipped. To disable this error and scale the gradients by the non-finite norm "
                           "anyway, set `error_if_nonfinite=False`")
    return total


@no_grad()
def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor,
                          foreach: bool | None = None) -> None:
    """Multiply all gradients in place by ``min(1, max_norm / (total_norm + 1e-6))``."""
    _, grads = with_grads(_as_list(parameters))
    if not grads:
        return
    factor = T.clamp(float(max_norm) / (total_norm + 1e-6), max=1.0)
    for group in by_place(grads):
        # Multiplied always: a decision would have to read the norm.
        scale_all(group, factor.to(group[0].device))


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """Scale all gradients in place so that their total norm is at most ``max_norm``; returns the norm before, ().

    Raises:  RuntimeError if error_if_nonfinite and the norm is not finite.
    """
    generator = isinstance(parameters, types.GeneratorType)
    params = _as_list(parameters)
    if generator and not params:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    having, grads = with_grads(params)
    grads = [g if p._spread is None else p.grad for p, g in zip(having, grads, strict=True)]
    total = get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(params, max_norm, total, foreach)
    return total


def clip_grad_norm(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
                   error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """Deprecated: clip_grad_norm_."""
    warnings.warn("`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
                  FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit all gradients' elements in place to [-clip_value, clip_value]."""
    limit = float(clip_value)
    for param in _as_list(parameters):
        if param.grad is not None:
            param.grad.clamp_(min=-limit, max=limit)


_get_total_norm, _clip_grads_with_norm_ = get_total_norm, clip_grads_with_norm_
