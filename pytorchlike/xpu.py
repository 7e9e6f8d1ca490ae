"""``torch.xpu``: Intel's GPUs, for which JAX has no platform here: nothing is available."""

from __future__ import annotations

from typing import Any

from . import _streams
from ._devices import DeviceContext, DeviceModule
from ._streams import Event as Event
from ._streams import StreamContext as StreamContext
from .cuda import make_graphed_callables as make_graphed_callables

_module = DeviceModule("xpu")
_SAME = (
    "is_available", "device_count", "init", "is_initialized", "current_device", "set_device", "synchronize",
    "get_device_name", "get_device_capability", "manual_seed", "manual_seed_all", "seed", "seed_all", "initial_seed",
    "get_rng_state", "set_rng_state", "get_rng_state_all", "set_rng_state_all", "empty_cache", "memory_allocated",
    "max_memory_allocated", "memory_reserved", "max_memory_reserved", "mem_get_info", "memory_stats",
    "memory_stats_as_nested_dict", "reset_peak_memory_stats", "reset_accumulated_memory_stats",
    "set_per_process_memory_fraction", "get_per_process_memory_fraction",
)  # fmt: skip
globals().update({name: getattr(_module, name) for name in _SAME})


class Stream(_streams.Stream):
    """A stream of an XPU; RuntimeError without one."""

    _kind = "xpu"


class device(DeviceContext):
    """``with torch.xpu.device(i)``."""

    kind = "xpu"


def stream(stream: _streams.Stream | None) -> StreamContext:
    """A context in which a stream is the current one; None changes nothing."""
    return StreamContext(stream)


def current_stream(device: Any = None) -> _streams.Stream:
    """The current stream of an XPU."""
    return _streams.current_stream(_module._device(device))


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False without an XPU."""
    return _module.is_available()


#: Generators of the devices: none.
default_generators: tuple = ()


def is_tf32_supported() -> bool:
    """False without an XPU."""
    return _module.is_available()


def get_arch_list() -> list[str]:
    """The architectures that the library was compiled for: none."""
    return []


def get_gencode_flags() -> str:
    """The flags that the library was compiled with: none."""
    return ""


def memory_snapshot(mempool_id: tuple[int, int] | None = None) -> list[dict[str, Any]]:
    """The state of the allocator: it has no memory."""
    return []


def is_current_stream_capturing() -> bool:
    """False: there are no graphs to capture; XLA makes its own."""
    return False


class device_of(device):
    """``with torch.xpu.device_of(x)``: the device of a tensor; nothing for one that is on no XPU."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if obj.device.type == "xpu" else -1)


def set_stream(stream: _streams.Stream | None) -> None:
    """Make a stream the current one; None changes nothing."""
    if stream is not None:
        _streams._current[stream.device] = [stream]


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"module 'torch.xpu' has no attribute '{name}': pytorchlike lacks it (see docs/differences.md)"
    )
