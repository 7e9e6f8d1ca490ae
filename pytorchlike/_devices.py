"""What ``torch.cuda``, ``torch.xpu`` and ``torch.accelerator`` have in common, over JAX's devices and their
statistics.
"""

from __future__ import annotations

import importlib
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from .engine import flush
from .tensor import Tensor
from .tensor.device import as_device, current_index, device, device_count, set_current_index
from .tensor.random import generator_of

__all__ = ["DeviceContext", "DeviceModule", "get_device_module"]


def get_device_module(device: Any = None) -> Any:
    """The module of a device type (``torch.cuda``, ``torch.cpu``, …); that of the accelerator here, or the CPU, if
    None.
    """
    if device is None:
        kind = next((k for k in ("cuda", "tpu") if device_count(k)), "cpu")
    else:
        kind = as_device(device).type
    name = {"tpu": "accelerator"}.get(kind, kind)
    try:
        return importlib.import_module(f"{__package__}.{name}")
    except ModuleNotFoundError:
        raise RuntimeError(f"Invalid device module for device '{kind}': there is none here") from None


class DeviceContext:
    """``with torch.cuda.device(i)``: that index is meant where none is given. None and -1 change nothing."""

    kind = "cuda"

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None else _index(self.kind, device, optional=True)
        self.prev_idx = -1

    def __enter__(self) -> None:
        self.prev_idx = current_index(self.kind)
        if self.idx >= 0:
            set_current_index(self.kind, self.idx)

    def __exit__(self, *error: Any) -> None:
        set_current_index(self.kind, self.prev_idx)


def _index(kind: str, given: Any, optional: bool = False) -> int:
    """The index that an int, a string or a device means; the current one if it says none."""
    if given is None:
        return current_index(kind)
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    where = as_device(given)
    if where.type != kind and not (optional and where.type == "cpu"):
        raise ValueError(f"Expected a {kind} device, but got: {where}")
    if where.type != kind:
        return -1
    return current_index(kind) if where.index is None else where.index


class DeviceModule:
    """The functions of ``torch.cuda`` and its kin for one type of device.

    ``device`` arguments are an int, a string, a device or None for the current one. Functions that need a device raise
    RuntimeError if this process has none of the type; statistics are 0 then, as before a device is first used.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    # ---- which devices -----------------------------------------------------------------------------------------

    def is_available(self) -> bool:
        """Whether this process has a device of the type."""
        return device_count(self.kind) > 0

    def device_count(self) -> int:
        """How many devices of the type this process has."""
        return device_count(self.kind)

    def init(self) -> None:
        """Start the devices' backend; RuntimeError if there are none."""
        self._need()

    def is_initialized(self) -> bool:
        """Whether the devices are in use."""
        from .tensor.device import _found  # what has been asked of JAX so far

        return bool(_found.get({"cuda": "gpu"}.get(self.kind, self.kind)))

    def _need(self) -> None:
        if not self.is_available():
            what = {"cuda": "No CUDA GPUs are available: JAX finds no GPU in this process"}
            raise RuntimeError(what.get(self.kind, f"no {self.kind.upper()} device is available: JAX finds none"))

    def _device(self, given: Any = None) -> device:
        """The device of a ``device=`` argument, which exists."""
        self._need()
        index = _index(self.kind, given)
        count = device_count(self.kind)
        if not 0 <= index < count:
            raise RuntimeError(f"invalid device ordinal: {index}, of {count} of type '{self.kind}'")
        return device(self.kind, index)

    def current_device(self) -> int:
        """Index of the current device."""
        self._need()
        return current_index(self.kind)

    def set_device(self, device: Any) -> None:
        """Let 'cuda' without an index mean this device in this thread; negative indices change nothing."""
        index = _index(self.kind, device)
        if index >= 0:
            self._device(index)
            set_current_index(self.kind, index)

    def synchronize(self, device: Any = None) -> None:
        """Execute what is pending in this thread, and wait for the device."""
        from . import _streams

        _streams.synchronize(self._device(device))

    # ---- names and capabilities ----------------------------------------------------------------------------------

    def get_device_name(self, device: Any = None) -> str:
        """The device's name, as its vendor says it."""
        return self._device(device).jax().device_kind

    def get_device_capability(self, device: Any = None) -> tuple[int, int]:
        """CUDA's compute capability, as (major, minor)."""
        told = getattr(self._device(device).jax(), "compute_capability", None)
        if told is None:
            raise RuntimeError(f"JAX does not tell the compute capability of {self.get_device_name(device)}")
        major, _, minor = str(told).partition(".")
        return int(major), int(minor or 0)

    # ---- memory ----------------------------------------------------------------------------------------------------

    def _stats(self, given: Any = None) -> dict[str, int]:
        if not self.is_available():
            return {}
        flush("statistics of memory are read")
        return self._device(given).jax().memory_stats() or {}

    def memory_allocated(self, device: Any = None) -> int:
        """Bytes in use by arrays."""
        return self._stats(device).get("bytes_in_use", 0)

    def max_memory_allocated(self, device: Any = None) -> int:
        """The most bytes in use at a time, since the start of the process."""
        return self._stats(device).get("peak_bytes_in_use", 0)

    def memory_reserved(self, device: Any = None) -> int:
        """Bytes that XLA's allocator holds."""
        told = self._stats(device)
        return max(told.get("pool_bytes", 0), told.get("bytes_reserved", 0), told.get("bytes_in_use", 0))

    def max_memory_reserved(self, device: Any = None) -> int:
        """The most bytes that XLA's allocator held, since the start of the process."""
        told = self._stats(device)
        return max(told.get("peak_pool_bytes", 0), told.get("peak_bytes_reserved", 0), told.get("peak_bytes_in_use", 0))

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        """(free, total) bytes that this process may use on the device."""
        told = self._stats(self._device(device).index)
        total = told.get("bytes_limit", 0)
        return total - told.get("bytes_in_use", 0), total

    def memory_stats(self, device: Any = None) -> OrderedDict[str, Any]:
        """Statistics under PyTorch's names, as far as XLA's allocator keeps them."""
        told = self._stats(device)
        if not told:
            return OrderedDict()
        found = {
            "allocated_bytes.all.current": told.get("bytes_in_use", 0),
            "allocated_bytes.all.peak": told.get("peak_bytes_in_use", 0),
            "reserved_bytes.all.current": self.memory_reserved(device),
            "reserved_bytes.all.peak": self.max_memory_reserved(device),
            "allocation.all.allocated": told.get("num_allocs", 0),
            "largest_allocation_bytes": told.get("largest_alloc_size", 0),
            "limit_bytes": told.get("bytes_limit", 0),
        }
        return OrderedDict(sorted(found.items()))

    def memory_stats_as_nested_dict(self, device: Any = None) -> dict[str, Any]:
        """:meth:`memory_stats`, nested at the dots."""
        out: dict[str, Any] = {}
        for name, value in self.memory_stats(device).items():
            *outer, last = name.split(".")
            at = out
            for part in outer:
                at = at.setdefault(part, {})
            at[last] = value
        return out

    def memory_summary(self, device: Any = None, abbreviated: bool = False) -> str:
        """A printable table of :meth:`memory_stats`; ``abbreviated`` leaves out what is not about bytes."""
        rows = [(n, v) for n, v in self.memory_stats(device).items() if not abbreviated or "bytes" in n]
        lines = [f"| {name:<34} | {value / 2**20:>14.1f} MiB |" if "bytes" in name else f"| {name:<34} | {value:>18} |"
                 for name, value in rows]  # fmt: skip
        bar = "|" + "=" * 57 + "|"
        return "\n".join([bar, f"| {'memory of ' + self.kind:<55} |", bar, *lines, bar])

    def empty_cache(self) -> None:
        """Execute what is pending, so that what it no longer needs is free; XLA's allocator keeps its pool."""
        flush("empty_cache")

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        """Warns if there is a device: XLA's allocator keeps its peaks from the start of the process on."""
        if self.is_available():
            warnings.warn(
                "reset_peak_memory_stats: XLA's allocator cannot forget its peaks; max_memory_allocated counts from "
                "the "
                "start of the process",
                UserWarning,
                stacklevel=2,
            )

    reset_accumulated_memory_stats = reset_max_memory_allocated = reset_peak_memory_stats
    reset_max_memory_cached = reset_peak_memory_stats

    def set_per_process_memory_fraction(self, fraction: float, device: Any = None) -> None:
        """Refused: XLA reads its share of the memory once, from ``XLA_PYTHON_CLIENT_MEM_FRACTION``, when it starts."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
        self._need()
        raise NotImplementedError(
            "set_per_process_memory_fraction: XLA reads its share when it starts; set XLA_PYTHON_CLIENT_MEM_FRACTION="
            f"{fraction} before the program"
        )

    def get_per_process_memory_fraction(self, device: Any = None) -> float:
        """The share of the memory that XLA was told to take: ``XLA_PYTHON_CLIENT_MEM_FRACTION``, 0.75 by default."""
        import os

        return float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75"))

    # ---- random numbers ----------------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> None:
        """Seed the generator of the current device; without devices nothing is to be seeded."""
        if self.is_available():
            generator_of(self._device()).manual_seed(int(seed))

    def manual_seed_all(self, seed: int) -> None:
        """Seed the generators of all devices of the type."""
        for index in range(device_count(self.kind)):
            generator_of(device(self.kind, index)).manual_seed(int(seed))

    def seed(self) -> None:
        """Seed the generator of the current device with a number from the operating system."""
        if self.is_available():
            generator_of(self._device()).seed()

    def seed_all(self) -> None:
        """Seed the generators of all devices with one number from the operating system."""
        import os

        self.manual_seed_all(int.from_bytes(os.urandom(8), "little"))

    def initial_seed(self) -> int:
        """The seed of the current device's generator."""
        return generator_of(self._device()).initial_seed()

    def get_rng_state(self, device: Any = None) -> Tensor:
        """State of a device's generator, as a CPU tensor of uint8."""
        return generator_of(self._device(device)).get_state()

    def set_rng_state(self, new_state: Tensor, device: Any = None) -> None:
        """Restore what :meth:`get_rng_state` returned."""
        generator_of(self._device(device)).set_state(new_state)

    def get_rng_state_all(self) -> list[Tensor]:
        """States of all devices' generators."""
        return [self.get_rng_state(i) for i in range(device_count(self.kind))]

    def set_rng_state_all(self, new_states: Iterable[Tensor]) -> None:
        """Restore what :meth:`get_rng_state_all` returned."""
        for i, state in enumerate(new_states):
            self.set_rng_state(state, i)
