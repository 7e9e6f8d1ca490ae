"""Several modules, each with its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..modules.module import Module

__all__ = ["get_a_var", "parallel_apply"]


def get_a_var(obj: Any) -> Any:
    """The first tensor in nested containers; None if there is none."""
    from ...tensor import Tensor

    if isinstance(obj, Tensor):
        return obj
    if isinstance(obj, dict):
        obj = obj.items()
    if isinstance(obj, (list, tuple)) or hasattr(obj, "__iter__") and not isinstance(obj, str):
        for item in obj:
            found = get_a_var(item)
            if found is not None:
                return found
    return None


def parallel_apply(modules: Sequence[Module], inputs: Sequence[Any],
                   kwargs_tup: Sequence[dict[str, Any]] | None = None,
                   devices: Sequence[Any] | None = None) -> list[Any]:
    """``[module(*input, **kwargs) for ...]``: recorded one after the other, and executed at the same time.

    An input that is no tuple or list is the only argument. devices: as many as modules; the arguments must be there.
    Raises AssertionError for different numbers of modules and inputs; what a module raises says which one it was.
    """
    count = len(modules)
    if len(inputs) != count:
        raise AssertionError(f"The number of modules {count} is not equal to the number of inputs {len(inputs)}")
    named = kwargs_tup if kwargs_tup is not None else [{}] * count
    if len(named) != count:
        raise AssertionError(f"The number of modules {count} is not equal to that of keyword arguments {len(named)}")
    if devices is not None and len(devices) != count:
        raise AssertionError(f"The number of modules {count} is not equal to the number of devices {len(devices)}")
    results = []
    for i, (module, given, more) in enumerate(zip(modules, inputs, named, strict=True)):
        args = given if isinstance(given, (list, tuple)) else (given,)
        try:
            results.append(module(*args, **more))
        except Exception as error:
            error.add_note(f"Caught in replica {i}" + (f" on device {devices[i]}." if devices is not None else "."))
            raise
    return results
