"""Moves between devices, with PyTorch's names for their autograd functions. Gradients pass through moves anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...tensor import Tensor
from . import comm

__all__ = ["Broadcast", "Gather", "ReduceAddCoalesced", "Scatter"]


class Broadcast:
    """``Broadcast.apply(devices, *tensors)``: the tensors on the first device, then those on the second ..."""

    @staticmethod
    def apply(target_gpus: Sequence[Any], *inputs: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        return tuple(t.to(device) for device in target_gpus for t in inputs)


class ReduceAddCoalesced:
    """``ReduceAddCoalesced.apply(device, count, *grads)``: sums over the devices, `count` tensors on each."""

    @staticmethod
    def apply(destination: Any, num_inputs: int, *grads: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        return tuple(comm.reduce_add(grads[i::num_inputs], destination) for i in range(num_inputs))


class Gather:
    """``Gather.apply(device, dim, *tensors)``."""

    @staticmethod
    def apply(target_device: Any, dim: int, *inputs: Tensor) -> Tensor:
        """See the class."""
        return comm.gather(inputs, dim, target_device)


class Scatter:
    """``Scatter.apply(devices, sizes, dim, tensor)``."""

    @staticmethod
    def apply(target_gpus: Sequence[Any], chunk_sizes: Sequence[int] | None, dim: int, input: Tensor,
              ) -> tuple[Tensor, ...]:  # fmt: skip
        """See the class."""
        return comm.scatter(input, target_gpus, chunk_sizes, dim)
