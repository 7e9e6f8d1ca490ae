"""Kept for the modules' imports; the handle is shared with tensors."""

from ..utils.hooks import RemovableHandle as RemovableHandle
