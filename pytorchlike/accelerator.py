"""``torch.accelerator``: the accelerator of this process, whatever its type ('cuda' or 'tpu')."""

from __future__ import annotations

from typing import Any

from . import _streams
from ._devices import DeviceModule
from .engine import flush
from .tensor.device import current_index, device, set_current_index
from .tensor.device import device_count as _count

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "current_stream", "device_count",
    "device_index", "empty_cache", "empty_host_cache", "get_device_capability", "get_memory_info", "is_available",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats",
    "reset_accumulated_memory_stats", "reset_peak_memory_stats", "set_device_idx", "set_device_index", "set_stream",
    "synchronize",
]  # fmt: skip


def current_accelerator(check_available: bool = False) -> device | None:
    """The accelerator's device, without an index; None if there is none."""
    kind = next((k for k in ("cuda", "tpu") if _count(k)), None)
    return None if kind is None else device(kind)


def is_available() -> bool:
    """Whether there is an accelerator."""
    return current_accelerator() is not None


def device_count() -> int:
    """How many devices the accelerator has; 0 without one."""
    found = current_accelerator()
    return 0 if found is None else _count(found.type)


def _kind() -> str:
    found = current_accelerator()
    if found is None:
        raise RuntimeError("Cannot access accelerator device when none is available.")
    return found.type


def _module() -> DeviceModule:
    return DeviceModule(_kind())


def current_device_index() -> int:
    """Index of the current device; RuntimeError without an accelerator."""
    return current_index(_kind())


def set_device_index(device: Any) -> None:
    """Make a device the current one."""
    _module().set_device(device)


current_device_idx, set_device_idx = current_device_index, set_device_index


class device_index:
    """``with device_index(i)``: the current device inside; None changes nothing."""

    def __init__(self, device: int | None) -> None:
        self.idx = device

    def __enter__(self) -> None:
        if self.idx is not None:
            self._before = current_device_index()
            set_device_index(self.idx)

    def __exit__(self, *error: Any) -> None:
        if self.idx is not None:
            set_current_index(_kind(), self._before)


def current_stream(device: Any = None) -> _streams.Stream:
    """The current stream of a device."""
    return _streams.current_stream(_module()._device(device))


def set_stream(stream: _streams.Stream) -> None:
    """Make a stream the current one of its device, for good."""
    _streams._current[stream.device] = [stream]


def synchronize(device: Any = None) -> None:
    """Execute what is pending in this thread, and wait for the device."""
    _module().synchronize(device)


def get_device_capability(device: Any = None) -> dict[str, Any]:
    """What the device can do: the dtypes it computes in."""
    from .tensor.dtype import _CANONICAL, _QUANTISED

    _module()._device(device)
    return {"supported_dtypes": {*_CANONICAL.values(), *_QUANTISED.values()}}


def empty_cache() -> None:
    """Execute what is pending; XLA's allocator keeps its pool."""
    _module().empty_cache()


def empty_host_cache() -> None:
    """Execute what is pending, which holds arrays on the host; of pinned memory there is no cache to empty."""
    flush("accelerator.empty_host_cache() was called")


def get_memory_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes that this process may use on the device."""
    return _module().mem_get_info(device)


def memory_allocated(device: Any = None) -> int:
    """Bytes in use by arrays."""
    return _module().memory_allocated(device)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes in use at a time, since the start of the process."""
    return _module().max_memory_allocated(device)


def memory_reserved(device: Any = None) -> int:
    """Bytes that XLA's allocator holds."""
    return _module().memory_reserved(device)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that XLA's allocator held, since the start of the process."""
    return _module().max_memory_reserved(device)


def memory_stats(device: Any = None) -> Any:
    """Statistics under PyTorch's names, as far as XLA's allocator keeps them."""
    return _module().memory_stats(device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Warns: XLA's allocator keeps its peaks."""
    _module().reset_peak_memory_stats(device)


reset_accumulated_memory_stats = reset_peak_memory_stats
