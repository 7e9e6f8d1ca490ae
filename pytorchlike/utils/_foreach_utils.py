"""``torch.utils._foreach_utils``: tensors sorted by what one operation can take together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from ..tensor.device import device
from ..tensor.dtype import dtype

__all__: list[str] = []

Indices = list[int]
TensorListList = list[list[Tensor | None]]


def _get_foreach_kernels_supported_devices() -> list[str]:
    """The devices that ``torch._foreach_*`` works on: all of them."""
    return ["cuda", "cpu"]


def _get_fused_kernels_supported_devices() -> list[str]:
    """The devices on which optimizers are fused: all of them."""
    return ["cuda", "cpu"]


def _group_tensors_by_device_and_dtype(
    tensorlistlist: Sequence[Sequence[Tensor | None]], with_indices: bool = False,
) -> dict[tuple[device, dtype], tuple[TensorListList, Indices]]:  # fmt: skip
    """Lists of as many tensors, cut by the device and dtype of those in the first: {(device, dtype): (lists, indices)}.

    with_indices: the places that they had; else an empty list.
    """
    found: dict[Any, tuple[Any, list[int]]] = {}
    for i, t in enumerate(tensorlistlist[0]):
        assert t is not None
        lists, indices = found.setdefault((t.device, t.dtype), ([[] for _ in tensorlistlist], []))
        for out, given in zip(lists, tensorlistlist, strict=True):
            if given:
                out.append(given[i])
        if with_indices:
            indices.append(i)
    return found


def _device_has_foreach_support(device: device) -> bool:
    """True."""
    return True


def _has_foreach_support(tensors: list[Tensor], device: device) -> bool:
    """True."""
    return True
