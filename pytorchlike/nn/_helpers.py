"""Functions of PyTorch's ``nn.functional`` whose names begin with ``_``, which published programs use all the same."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from . import _reduction as _Reduction
from . import functional as F
from ._functional import _project, _renormalise, _verify_batch_size, _verify_spatial_size
from .modules.utils import _list_with_default, _pair, _single, _triple

__all__ = ["_Reduction", "_get_softmax_dim", "_in_projection", "_in_projection_packed", "_list_with_default",
           "_no_grad_embedding_renorm_", "_pair", "_single", "_triple", "_unpool_output_size", "_verify_batch_size",
           "_verify_spatial_size"]


def _get_softmax_dim(name: str, ndim: int, stacklevel: int) -> int:
    """The axis that softmax chose before it had to be named, with a warning: 0 for 0, 1 and 3 axes, else 1."""
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
                  "argument.", stacklevel=stacklevel)
    return 0 if ndim in (0, 1, 3) else 1


def _in_projection_packed(q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor | None = None) -> list[Tensor]:
    """Query, key and value of attention, projected by a stacked weight (3 * E, E) and bias (3 * E,)."""
    return list(_project(q, k, v, w, b))


def _in_projection(q: Tensor, k: Tensor, v: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, b_q: Tensor | None = None,
                   b_k: Tensor | None = None, b_v: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of attention, each projected by a weight and bias of its own."""
    return F.linear(q, w_q, b_q), F.linear(k, w_k, b_k), F.linear(v, w_v, b_v)


def _no_grad_embedding_renorm_(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows of an embedding that `input` names down to a norm of `max_norm`, in place."""
    _renormalise(weight, input, max_norm, norm_type)


def _unpool_output_size(input: Tensor, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int],
                        output_size: Any) -> list[int]:
    """The spatial size of an inverse of pooling: the smallest that fits, or the one asked for.

    Raises ValueError if that is more than a stride away from it, or of another length.
    """
    n, shape = len(kernel_size), tuple(input.shape)[-len(kernel_size):]
    least = [(shape[d] - 1) * stride[d] + kernel_size[d] - 2 * padding[d] for d in range(n)]
    if output_size is None:
        return least
    asked = list(output_size)[-n:] if len(output_size) == n + 2 else list(output_size)
    if len(asked) != n:
        raise ValueError(f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
                         f"'{len(output_size)}'")
    for d in range(n):
        if not least[d] - stride[d] < asked[d] < least[d] + stride[d]:
            raise ValueError(f'invalid output_size "{output_size}" (dim {d} must be between {least[d] - stride[d]} and '
                             f"{least[d] + stride[d]})")
    return asked
