"""``torch.mps``: Apple's GPUs, for which there is no device type here: nothing is available."""

from __future__ import annotations

from typing import Any

from ._devices import DeviceModule
from ._streams import Event as Event

_module = DeviceModule("mps")
is_available = _module.is_available
device_count = _module.device_count
manual_seed = _module.manual_seed
seed = _module.seed
get_rng_state = _module.get_rng_state
set_rng_state = _module.set_rng_state
synchronize = _module.synchronize
empty_cache = _module.empty_cache
set_per_process_memory_fraction = _module.set_per_process_memory_fraction
current_allocated_memory = _module.memory_allocated
driver_allocated_memory = _module.memory_reserved


def recommended_max_memory() -> int:
    """Bytes that programs should use; RuntimeError without such a GPU."""
    return _module.mem_get_info()[1]


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"module 'torch.mps' has no attribute '{name}': pytorchlike lacks it (see docs/differences.md)"
    )
