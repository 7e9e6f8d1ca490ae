"""``torch.linalg`` as the layers see it: its operators, looked up at first use."""

from __future__ import annotations

from typing import Any

from ..tensor._names import find


def __getattr__(name: str) -> Any:
    found = None if name.startswith("__") else find("linalg", name)
    if found is None:
        raise AttributeError(f"module 'torch.linalg' has no attribute '{name}'")
    globals()[name] = found
    return found
