"""Many parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...tensor import Tensor
from ...tensor import functions as T

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _same_device(param: Tensor, device: Any) -> Any:
    if device is not None and param.device != device:
        raise TypeError("Found two parameters on different devices, this is currently not supported: "
                        f"{device} and {param.device}")
    return param.device


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters in one axis.

    Raises:  TypeError if they are on different devices.
    """
    device, parts = None, []
    for param in parameters:
        device = _same_device(param, device)
        parts.append(param.reshape(-1))
    return T.cat(parts)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Undo parameters_to_vector: the parameters get new data out of ``vec``.

    Raises:  TypeError if vec is no tensor or the parameters are on different devices.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    device, start = None, 0
    for param in parameters:
        device = _same_device(param, device)
        size = param.numel()
        param.data = vec[start:start + size].view_as(param).data
        start += size
