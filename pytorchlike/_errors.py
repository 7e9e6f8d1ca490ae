"""Exception classes of accelerators."""

from __future__ import annotations

from .engine.errors import OutOfMemoryError

__all__ = ["AcceleratorError", "DeferredCudaCallError", "OutOfMemoryError"]


class AcceleratorError(RuntimeError):
    """An operation failed on an accelerator."""


class DeferredCudaCallError(Exception):
    """A call that was put off until CUDA's start has failed."""


for _each in (AcceleratorError, OutOfMemoryError):
    _each.__module__ = "torch"
