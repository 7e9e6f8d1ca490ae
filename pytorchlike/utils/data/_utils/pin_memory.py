"""``torch.utils.data._utils.pin_memory``: what loaders of one's own call for their batches."""

from typing import Any

from . import ahead

__all__ = ["pin_memory"]


def pin_memory(data: Any, device: Any = None) -> Any:
    """Begin to copy the tensors of a batch to the accelerator, if there is one: ``.to`` will find them there."""
    place = ahead.destination(device or "")
    return data if place is None else ahead.start(data, place)
