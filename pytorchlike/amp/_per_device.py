"""The older ``torch.cuda.amp`` and ``torch.cpu.amp``: the same with the device type filled in, and a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from ..tensor import dtype as d
from ..tensor.device import device_count
from . import autocast_mode, grad_scaler


def _warn(device_type: str, name: str, instead: str) -> None:
    warnings.warn(
        f"`torch.{device_type}.amp.{name}(args...)` is deprecated. Please use `torch.amp.{instead}` instead.",
        FutureWarning,
        stacklevel=3,
    )


def autocast_for(device_type: str, default: d.dtype) -> type[autocast_mode.autocast]:
    """``autocast(enabled=True, dtype=default, cache_enabled=True)`` of one device type."""

    class autocast(autocast_mode.autocast):
        __doc__ = f"Deprecated: ``torch.autocast({device_type!r}, ...)``; dtype is {default} by default."

        def __init__(self, enabled: bool = True, dtype: d.dtype = default, cache_enabled: bool = True) -> None:
            _warn(device_type, "autocast", f"autocast('{device_type}', args...)")
            super().__init__(device_type, enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)

    return autocast


def scaler_for(device_type: str) -> type[grad_scaler.GradScaler]:
    """``GradScaler`` without its parameter ``device``."""

    class GradScaler(grad_scaler.GradScaler):
        __doc__ = f"Deprecated: ``torch.amp.GradScaler({device_type!r}, ...)``."

        def __init__(
            self, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
            growth_interval: int = 2000, enabled: bool = True,
        ) -> None:  # fmt: skip
            _warn(device_type, "GradScaler", f"GradScaler('{device_type}', args...)")
            super().__init__(device_type, init_scale, growth_factor, backoff_factor, growth_interval, enabled)

    return GradScaler


def custom_for(name: str, device_type: str) -> Callable[..., Any]:
    """``custom_fwd`` or ``custom_bwd`` without its parameter ``device_type``."""
    made = getattr(autocast_mode, name)

    @functools.wraps(made)
    def decorator(fn: Callable[..., Any] | None = None, **kwargs: Any) -> Callable[..., Any]:
        _warn(device_type, name, f"{name}(args..., device_type='{device_type}')")
        return made(fn, device_type=device_type, **kwargs)

    return decorator


def amp_definitely_not_available() -> bool:
    """Whether JAX has no GPU, so that ``torch.cuda.amp`` switches itself off."""
    return not device_count("cuda")
