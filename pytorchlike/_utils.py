"""``torch._utils``: the helpers of PyTorch's inside that published programs import from there."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tensor import Tensor

__all__: list[str] = []


def _accumulate(iterable: Iterable[Any], fn: Any = None) -> Iterable[Any]:
    """Running totals: ``[1, 2, 3]`` gives 1, 3, 6."""
    return itertools.accumulate(iterable, fn)


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """One vector of all elements, tensor after tensor."""
    from .tensor.functions import cat

    return cat([t.reshape(-1) for t in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """``flat`` cut into tensors of the shapes of ``tensors``."""
    parts = flat.split([t.numel() for t in tensors])
    return tuple(part.view(t.shape) for part, t in zip(parts, tensors, strict=True))


def _take_tensors(tensors: Iterable[Tensor], size_limit: int) -> Iterable[list[Tensor]]:
    """The tensors in lists of one dtype and about ``size_limit`` bytes, in order; what is left over comes last."""
    lists: dict[Any, tuple[list[Tensor], int]] = {}
    for t in tensors:
        held, size = lists.get(t.dtype, ([], 0))
        size += t.numel() * t.element_size()
        if held and size > size_limit:
            yield held
            held, size = [], t.numel() * t.element_size()
        lists[t.dtype] = ([*held, t], size)
    for held, _ in lists.values():
        yield held
