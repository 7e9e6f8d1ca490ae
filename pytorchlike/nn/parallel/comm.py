"""``torch.nn.parallel.comm`` (and ``torch.cuda.comm``): tensors from one device to several and back."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

from ...tensor import Tensor
from ...tensor import functions as T

__all__ = ["broadcast", "broadcast_coalesced", "gather", "reduce_add", "reduce_add_coalesced", "scatter"]


def broadcast(tensor: Tensor, devices: Sequence[Any] | None = None, *, out: Sequence[Tensor] | None = None,
              ) -> tuple[Tensor, ...]:  # fmt: skip
    """The tensor on each device, or written to each of `out`. RuntimeError unless one of the two is given."""
    if (devices is None) == (out is None):
        raise RuntimeError(f"Exactly one of 'devices' and 'out' must be specified, but got devices={devices} and "
                           f"out={out}")
    if out is not None:
        for each in out:
            each.copy_(tensor)
        return tuple(out)
    return tuple(tensor.to(device) for device in devices or ())


def broadcast_coalesced(tensors: Sequence[Tensor], devices: Sequence[Any], buffer_size: int = 10485760,
                        ) -> list[list[Tensor]]:  # fmt: skip
    """For each device the tensors there. buffer_size: XLA decides."""
    return [[t.to(device) for t in tensors] for device in devices]


def reduce_add(inputs: Sequence[Tensor], destination: Any = None) -> Tensor:
    """The sum of the tensors, on `destination` (None: where the first one is). ValueError for different shapes."""
    where = inputs[0].device if destination is None else destination
    if len({t.shape for t in inputs}) > 1:
        raise ValueError(f"reduce_add: the tensors have different shapes: {[tuple(t.shape) for t in inputs]}")
    return functools.reduce(operator.add, (t.to(where) for t in inputs))


def reduce_add_coalesced(inputs: Sequence[Sequence[Tensor]], destination: Any = None, buffer_size: int = 10485760,
                         ) -> tuple[Tensor, ...]:  # fmt: skip
    """``reduce_add`` of the first tensors of all lists, of the second ones ... buffer_size: XLA decides."""
    return tuple(reduce_add(column, destination) for column in zip(*inputs, strict=True))


def scatter(tensor: Tensor, devices: Sequence[Any] | None = None, chunk_sizes: Sequence[int] | None = None,
            dim: int = 0, streams: Any = None, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
    """Parts of the tensor along `dim`, one for each device; streams: moves need none."""
    if out is not None:
        parts = tensor.split([t.shape[dim] for t in out], dim)
        for each, part in zip(out, parts, strict=True):
            each.copy_(part)
        return tuple(out)
    devices = devices or ()
    parts = tensor.chunk(len(devices), dim) if chunk_sizes is None else tensor.split(list(chunk_sizes), dim)
    return tuple(part.to(device) for part, device in zip(parts, devices, strict=False))


def gather(tensors: Sequence[Tensor], dim: int = 0, destination: Any = None, *, out: Tensor | None = None) -> Tensor:
    """The tensors joined along `dim`, on `destination` (-1: the CPU; None: where the first one is), or in `out`."""
    where = tensors[0].device if destination is None else "cpu" if destination == -1 else destination
    if out is not None:
        return out.copy_(T.cat([t.to(out.device) for t in tensors], dim))
    return T.cat([t.to(where) for t in tensors], dim)
