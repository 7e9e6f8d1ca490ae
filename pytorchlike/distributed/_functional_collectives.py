"""``torch.distributed._functional_collectives``: collectives that give new tensors, which gradients pass through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as T
from ._collectives import _split
from ._world import _group
from .nn.functional import all_to_all

__all__ = ["all_to_all_single", "all_to_all_single_autograd", "wait_tensor"]


def wait_tensor(tensor: Tensor) -> Tensor:
    """The tensor: what reads its values waits for them."""
    return tensor


def all_to_all_single_autograd(self: Tensor, output_split_sizes: Sequence[int] | None,
                               input_split_sizes: Sequence[int] | None, group: Any, tag: str = "") -> Tensor:
    """What each member has for this one, end to end; ``self`` is cut by ``input_split_sizes``, evenly if None.

    Raises RuntimeError for sizes that do not fit.
    """
    pg = _group(group)
    parts = _split("all_to_all_single", self, input_split_sizes, pg.size())
    if output_split_sizes:
        like = [T.empty((n, *self.shape[1:]), dtype=self.dtype, device=self.device) for n in output_split_sizes]
    else:
        like = parts
    result = T.cat(list(all_to_all(like, parts, group)))
    _split("all_to_all_single", result, output_split_sizes, pg.size())
    return result


all_to_all_single = all_to_all_single_autograd
