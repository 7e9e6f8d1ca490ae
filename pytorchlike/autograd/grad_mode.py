"""PyTorch's name of the module with the modes."""

from __future__ import annotations

from .mode import _unsafe_preserve_version_counter as _unsafe_preserve_version_counter
from .mode import enable_grad as enable_grad
from .mode import enforce_grad_layout_policy as enforce_grad_layout_policy
from .mode import inference_mode as inference_mode
from .mode import no_grad as no_grad
from .mode import set_grad_enabled as set_grad_enabled
from .mode import set_multithreading_enabled as set_multithreading_enabled

__all__ = ["enable_grad", "enforce_grad_layout_policy", "inference_mode", "no_grad", "set_grad_enabled",
           "set_multithreading_enabled"]  # fmt: skip
