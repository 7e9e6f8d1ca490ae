"""``torch.utils._device``: the device that factories use when none is given."""

from __future__ import annotations

from typing import Any

from ..tensor.device import as_device, device

__all__ = ["DeviceContext"]


class DeviceContext:
    """``with DeviceContext("cpu"):`` is ``with torch.device("cpu"):``."""

    def __init__(self, device: Any) -> None:
        self.device: device = as_device(device)

    def __enter__(self) -> DeviceContext:
        self.device.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.device.__exit__(*error)


def __getattr__(name: str) -> Any:
    if name == "CURRENT_DEVICE":
        from ..tensor.device import _state

        return _state.stack[-1] if _state.stack else None
    raise AttributeError(f"module 'torch.utils._device' has no attribute '{name}': pytorchlike lacks it")
