"""``torch.cpu``: the CPU, with the interface of accelerators."""

from __future__ import annotations

from typing import Any

from .. import _streams
from .._streams import StreamContext as StreamContext
from ..tensor import device as _devices
from ..tensor.device import device

__all__ = [
    "Event", "Stream", "StreamContext", "current_device", "current_stream", "device_count", "get_capabilities",
    "is_available", "is_initialized", "set_device", "stream", "synchronize",
]  # fmt: skip


class Stream(_streams.Stream):
    """A stream of the CPU."""

    _kind = "cpu"

    def __init__(self, priority: int = -1, **kwargs: Any) -> None:
        super().__init__("cpu", priority, **kwargs)


class Event(_streams.Event):
    """An event on the CPU."""

    def __init__(self, enable_timing: bool = False) -> None:
        super().__init__("cpu", enable_timing)


def is_available() -> bool:
    """True."""
    return True


def device_count() -> int:
    """How many CPU devices XLA makes of the machine: 1, unless it was told otherwise."""
    return _devices.device_count("cpu")


def is_initialized() -> bool:
    """True."""
    return True


def current_device() -> str:
    """'cpu'."""
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing is to be chosen."""


def synchronize(device: Any = None) -> None:
    """Execute what is pending in this thread, and wait for every array."""
    _streams.synchronize()


def current_stream(device: Any = None) -> _streams.Stream:
    """The current stream of the CPU."""
    entered = _streams._current.get(_CPU)
    return entered[-1] if entered else Stream(stream_id=0)


def stream(stream: _streams.Stream) -> StreamContext:
    """A context in which a stream is the current one."""
    return StreamContext(stream)


def get_capabilities() -> dict[str, Any]:
    """Architecture and instruction sets of the CPU, as far as the system tells."""
    import platform

    found: dict[str, Any] = {"architecture": platform.machine()}
    try:
        with open("/proc/cpuinfo") as file:
            lines = (line for line in file if line.startswith(("flags", "Features")))
            flags = next((line.partition(":")[2].split() for line in lines), [])
    except OSError:
        flags = []
    found.update({name: name in flags for name in ("avx", "avx2", "fma", "avx512f", "avx512bw", "amx_tile", "asimd")})
    return found


_CPU = device("cpu")


def __getattr__(name: str) -> Any:
    if name == "amp":
        import importlib

        return importlib.import_module(f"{__name__}.amp")
    raise AttributeError(f"module 'torch.cpu' has no attribute '{name}' (see docs/differences.md)")
