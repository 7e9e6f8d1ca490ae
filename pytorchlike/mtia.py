"""``torch.mtia``: Meta's accelerators, for which JAX has no platform: nothing is available."""

from __future__ import annotations

from ._devices import DeviceModule

_module = DeviceModule("mtia")
is_available = _module.is_available
device_count = _module.device_count
is_initialized = _module.is_initialized
