"""``torch.cuda.memory``: statistics of XLA's allocator."""

from __future__ import annotations

from typing import Any

from .._devices import DeviceModule
from .._errors import OutOfMemoryError as OutOfMemoryError

__all__ = [
    "empty_cache", "get_allocator_backend", "get_per_process_memory_fraction", "host_memory_stats",
    "host_memory_stats_as_nested_dict", "max_memory_allocated", "max_memory_cached", "max_memory_reserved",
    "mem_get_info", "memory_allocated", "memory_cached", "memory_reserved", "memory_snapshot", "memory_stats",
    "memory_stats_as_nested_dict", "memory_summary", "reset_accumulated_host_memory_stats",
    "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached",
    "reset_peak_host_memory_stats", "reset_peak_memory_stats", "set_per_process_memory_fraction",
]  # fmt: skip

_module = DeviceModule("cuda")
empty_cache = _module.empty_cache
get_per_process_memory_fraction = _module.get_per_process_memory_fraction
max_memory_allocated = _module.max_memory_allocated
max_memory_cached = max_memory_reserved = _module.max_memory_reserved
mem_get_info = _module.mem_get_info
memory_allocated = _module.memory_allocated
memory_cached = memory_reserved = _module.memory_reserved
memory_stats = _module.memory_stats
memory_stats_as_nested_dict = _module.memory_stats_as_nested_dict
memory_summary = _module.memory_summary
reset_accumulated_memory_stats = _module.reset_accumulated_memory_stats
reset_max_memory_allocated = _module.reset_max_memory_allocated
reset_max_memory_cached = _module.reset_max_memory_cached
reset_peak_memory_stats = _module.reset_peak_memory_stats
set_per_process_memory_fraction = _module.set_per_process_memory_fraction


def get_allocator_backend() -> str:
    """'xla': memory is XLA's."""
    return "xla"


def memory_snapshot(mempool_id: Any = None) -> list[dict[str, Any]]:
    """The arrays of this process on GPUs, one entry each: device, total_size, shape, dtype."""
    import jax

    from ..tensor.device import from_jax_device

    out = []
    for array in jax.live_arrays(platform="gpu") if _module.is_available() else ():
        for part in array.addressable_shards:
            at = from_jax_device(part.device)
            out.append({
                "device": at.index, "total_size": part.data.nbytes, "shape": part.data.shape, "dtype": str(array.dtype)
            })  # fmt: skip
    return out


def host_memory_stats() -> dict[str, Any]:
    """Empty: there is no pinned host memory of ours."""
    return {}


host_memory_stats_as_nested_dict = host_memory_stats


def reset_peak_host_memory_stats() -> None:
    """Nothing is to be reset: there is no pinned host memory of ours."""


reset_accumulated_host_memory_stats = reset_peak_host_memory_stats
