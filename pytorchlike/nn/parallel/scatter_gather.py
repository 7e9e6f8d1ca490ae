"""Splitting arguments among devices and joining results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...tensor import Tensor
from ...tensor import functions as T

__all__ = ["gather", "scatter", "scatter_kwargs"]


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> Any:
    """For each device its part of `inputs`: tensors are split along `dim` and moved, containers split item by item.

    Other objects go to every device. Returns a list (a tuple for a tensor) with an entry for each device that gets a
    part.
    """
    count = len(target_gpus)
    if isinstance(inputs, Tensor):
        return tuple(part.to(device) for part, device in zip(inputs.chunk(count, dim), target_gpus, strict=False))
    if isinstance(inputs, tuple) and inputs:
        rows = zip(*(scatter(item, target_gpus, dim) for item in inputs), strict=False)
        return [type(inputs)(*row) if hasattr(inputs, "_fields") else tuple(row) for row in rows]
    if isinstance(inputs, list) and inputs:
        return [list(row) for row in zip(*(scatter(item, target_gpus, dim) for item in inputs), strict=False)]
    if isinstance(inputs, dict) and inputs:
        rows = zip(*(scatter(item, target_gpus, dim) for item in inputs.values()), strict=False)
        return [type(inputs)(zip(inputs, row, strict=True)) for row in rows]
    return [inputs for _ in target_gpus]


def scatter_kwargs(inputs: Sequence[Any], kwargs: dict[str, Any] | None, target_gpus: Sequence[Any],
                   dim: int = 0) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """``scatter`` of positional and keyword arguments, padded with empty ones to the same number of devices."""
    args = scatter(tuple(inputs), target_gpus, dim) if inputs else []
    named = scatter(kwargs, target_gpus, dim) if kwargs else []
    count = max(len(args), len(named))
    args = [*args, *[()] * (count - len(args))]
    named = [*named, *({} for _ in range(count - len(named)))]
    return tuple(args), tuple(named)


def gather(outputs: Sequence[Any], target_device: Any, dim: int = 0) -> Any:
    """The devices' results on one device: tensors joined along `dim`, containers item by item.

    0-dim tensors become a vector. target_device: -1 is the CPU.
    """
    first = outputs[0]
    device = "cpu" if target_device == -1 else target_device
    if isinstance(first, Tensor):
        parts = [part.to(device) for part in outputs]
        return T.stack(parts) if first.ndim == 0 else T.cat(parts, dim)
    if first is None:
        return None
    if isinstance(first, dict):
        if any(len(out) != len(first) for out in outputs):
            raise ValueError("All dicts must have the same number of keys")
        return type(first)((key, gather([out[key] for out in outputs], target_device, dim)) for key in first)
    items = [gather(row, target_device, dim) for row in zip(*outputs, strict=True)]
    return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
