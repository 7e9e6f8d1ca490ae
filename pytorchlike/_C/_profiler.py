"""``torch._C._profiler``: a name that programs use."""

from __future__ import annotations

from ..autograd.profiler import ExperimentalConfig as _ExperimentalConfig

__all__ = ["_ExperimentalConfig"]
