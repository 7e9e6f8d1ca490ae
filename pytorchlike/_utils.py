"""``torch._utils``: the helpers of PyTorch's inside that published programs import from there."""

from __future__ import annotations

import itertools
import sys
import traceback
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


class KeyErrorMessage(str):
    """The message of a KeyError, whose own representation would quote it."""

    def __repr__(self) -> str:
        return str(self)


class ExceptionWrapper:
    """An exception of another process or thread as its type and the text of its traceback, which can be sent."""

    def __init__(self, exc_info: Any = None, where: str = "in background") -> None:
        kind, value, trace = exc_info if exc_info is not None else sys.exc_info()
        self.exc_type, self.where = kind, where
        self.exc_msg = "".join(traceback.format_exception(kind, value, trace))

    def reraise(self) -> None:
        """Raise an exception of the same type, with the text in its message."""
        message = f"Caught {self.exc_type.__name__} {self.where}.\nOriginal {self.exc_msg}"
        if self.exc_type is KeyError:
            message = KeyErrorMessage(message)
        elif getattr(self.exc_type, "message", None):
            raise self.exc_type(message=message)
        try:
            error = self.exc_type(message)
        except Exception:  # its constructor wants other arguments
            raise RuntimeError(message) from None
        raise error


def _get_available_device_type() -> str | None:
    """The kind of accelerator; None if there is only the CPU."""
    from .accelerator import current_accelerator

    found = current_accelerator()
    return found.type if found is not None else None


def _get_device_module(device_type: str) -> Any:
    """The module of a kind of device, ``torch.cuda`` for 'cuda'."""
    found = getattr(sys.modules[__package__], device_type, None)
    if found is None:
        raise RuntimeError(
            f"Device '{device_type}' does not have a corresponding module registered as 'torch.{device_type}'."
        )
    return found


def _get_all_device_indices() -> list[int]:
    """The indices of all accelerators."""
    from .accelerator import device_count

    return list(range(device_count()))


def _get_device_index(device: Any, optional: bool = False, allow_cpu: bool = False) -> int:
    """The index of an accelerator, given as such, as a device or its name; the present one if it has none.

    None is the present one if `optional`; a CPU is -1 if `allow_cpu`. ValueError otherwise.
    """
    from .accelerator import current_device_index
    from .tensor.device import as_device
    from .tensor.device import device as kind

    if isinstance(device, int):
        return device
    if device is None and optional:
        return current_device_index()
    if isinstance(device, (str, kind)):
        where = as_device(device)
        if where.type == "cpu":
            if allow_cpu:
                return -1
            raise ValueError(f"Expected a non cpu device, but got: {device}")
        return current_device_index() if where.index is None else where.index
    raise ValueError(f"Expected a torch.device with a specified index or an integer, but got: {device}")


def _rebuild_tensor(storage: Any, storage_offset: int, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """A tensor that shows a typed storage, or one within a pickle."""
    from .serialization._rebuild import LoadedStorage
    from .tensor import Tensor
    from .tensor import functions as T

    storage = getattr(storage, "loaded", storage)
    if isinstance(storage, LoadedStorage):
        return storage.tensor(storage.dtype, storage_offset, size, stride)
    flat = storage._flat if hasattr(storage, "_flat") else storage
    shown = flat if isinstance(flat, Tensor) else T.tensor(flat)
    return shown.as_strided(tuple(size), tuple(stride), storage_offset)


def _rebuild_tensor_v2(storage: Any, storage_offset: int, size: Sequence[int], stride: Sequence[int],
                       requires_grad: bool, backward_hooks: Any, metadata: Any = None) -> Tensor:
    """As ``_rebuild_tensor``, of a leaf. Hooks on gradients are not taken over."""
    return _rebuild_tensor(storage, storage_offset, size, stride).detach().requires_grad_(requires_grad)


def _rebuild_sparse_tensor(layout: Any, data: tuple) -> Tensor:
    """A sparse tensor of that layout, from its parts."""
    from .serialization._rebuild import rebuild_sparse_tensor

    return rebuild_sparse_tensor(layout, data)


def _rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Any:
    """A parameter. Hooks on gradients are not taken over."""
    from .nn.parameter import Parameter

    return Parameter(data, requires_grad)


def classproperty(func: Any) -> Any:
    """A property of a class."""
    return _ClassProperty(func)


class _ClassProperty:
    def __init__(self, func: Any) -> None:
        self._func = func

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._func(type(instance) if owner is None else owner)
