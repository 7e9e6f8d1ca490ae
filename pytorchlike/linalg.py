"""``torch.linalg``: operators of the table, at first use."""

from __future__ import annotations

from typing import Any

from .tensor import functions as _functions
from .tensor._names import find, names

from .ops._matrices import LinAlgError as LinAlgError  # isort: skip


def __getattr__(name: str) -> Any:
    found = None if name.startswith("__") else find("linalg", name)
    if found is None:
        raise AttributeError(f"module 'torch.linalg' has no attribute '{name}' (see docs/differences.md)")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(names("linalg"))


_ = _functions
