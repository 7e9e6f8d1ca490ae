"""Batches on their way to an accelerator before the training step asks for them: what ``pin_memory`` is for here."""

from collections.abc import Mapping, Sequence
from typing import Any

from ....tensor import Tensor
from ....tensor._values import start_transfer
from ....tensor.device import as_device, place_for


def destination(device: Any) -> Any:
    """The accelerator that batches go to, by JAX's name; None if there is none. ``device``: PyTorch's, or ''."""
    import jax

    if device:
        where = place_for(as_device(device))
        return None if getattr(where, "platform", "cpu") == "cpu" else where
    first = jax.devices()[0]
    return None if first.platform == "cpu" else first


def start(batch: Any, place: Any) -> Any:
    """Begin to copy the tensors of a batch to ``place``; ``.to`` of them will find them there. Returns the batch.

    As in PyTorch, objects of other classes that have a method ``pin_memory`` are replaced by what it returns.
    """
    if isinstance(batch, Tensor):
        start_transfer(batch._get(), place)
    elif isinstance(batch, (str, bytes)):
        pass
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            new = start(value, place)
            if new is not value:
                batch[key] = new  # type: ignore[index]
    elif isinstance(batch, Sequence):
        new = [start(value, place) for value in batch]
        if any(a is not b for a, b in zip(new, batch, strict=True)):
            return type(batch)(*new) if hasattr(batch, "_fields") else type(batch)(new)  # type: ignore[call-arg]
    elif hasattr(batch, "pin_memory"):
        return batch.pin_memory()
    return batch
